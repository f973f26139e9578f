//! S4: what a viewer saw is what is saved. An answer is what the model said; every preview is a prefix of the
//! answer that ends it, or was taken back first. S5: an episode is generated once.

use mainstem_machine::{Body, Message, Role};

use crate::chains::{self, Event};
use crate::{Committed, Record, View, Violation};

pub(crate) fn check(record: &Record, found: &mut Vec<Violation>) {
    for change in &record.committed {
        for message in &change.inserted {
            if let Err(why) = judge_answer(record, change, message) {
                found.push(Violation { guarantee: "S4", at: change.at, why });
            }
        }
    }
    for (n, run) in record.runs.iter().enumerate() {
        if record.runs[..n].iter().any(|other| other.chat == run.chat && other.episode == run.episode) {
            let why = format!("{:?} was generated twice, the second time on {}", run.episode, run.replica);
            found.push(Violation { guarantee: "S5", at: run.started, why });
        }
    }
    for chain in chains::of(record) {
        chain.walk(found, |view, event| match event {
            Event::Begins(_) => Ok(()),
            Event::Told(event) => judge_event(view, &event.body),
        });
    }
}

fn judge_answer(record: &Record, change: &Committed, message: &Message) -> Result<(), String> {
    let (Some(episode), Role::Assistant) = (message.episode, message.role) else { return Ok(()) };
    if change.command == "commit_step" {
        return Ok(());
    }
    let id = message.id;
    let Some(run) = record.run(change.chat, episode) else {
        return Err(format!("message {id} is of {episode:?}, which no model was asked for"));
    };
    let text = message.content.to_text();
    let whole = run.parts.concat();
    if change.command == "finish_turn" {
        if !run.done {
            return Err(format!("message {id} is kept as complete, and the model had not finished"));
        }
        return match text == whole {
            true => Ok(()),
            false => Err(format!("message {id} is not what the model said in {episode:?}")),
        };
    }
    let mut said = 0;
    let ends_at_a_part = text.is_empty()
        || run.parts.iter().any(|part| {
            said += part.len();
            said == text.len()
        });
    if whole.starts_with(&text) && ends_at_a_part {
        Ok(())
    } else {
        Err(format!("message {id} is no run of whole parts of {episode:?}, from the first on"))
    }
}

fn judge_event(view: &View, body: &Body) -> Result<(), (&'static str, String)> {
    let Some(preview) = &view.preview else { return Ok(()) };
    let (shown, last) = (preview.episode, preview.last_seq);
    match body {
        Body::Message(message) if message.episode == Some(shown) => {
            if message.content.to_text().starts_with(&preview.text) {
                return Ok(());
            }
            Err((
                "S4",
                format!("parts up to {last} of {shown:?} were shown, and message {} differs", message.id),
            ))
        }
        Body::Message(message) => {
            let id = message.id;
            Err(("S4", format!("message {id} follows parts of {shown:?}, neither kept nor taken back")))
        }
        Body::Parts { episode, .. } if *episode != shown => Err((
            "S4",
            format!("parts of {episode:?} follow parts of {shown:?}, neither kept nor taken back"),
        )),
        _ => Ok(()),
    }
}
