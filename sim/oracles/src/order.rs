//! S8: status never runs ahead of the content it speaks of, and an answer stands where its question was.

use mainstem_machine::{Body, Episode};

use crate::chains::{self, Event};
use crate::history::shows;
use crate::past::{self, Moment};
use crate::{Record, Violation};

pub(crate) fn check(record: &Record, found: &mut Vec<Violation>) {
    let changes = record.by_chat();
    for (chat, changes) in &changes {
        for (moment, change) in past::of(changes).iter().zip(changes) {
            if let Some(why) = misplaced(moment) {
                let why = format!("chat {chat}: {why}");
                found.push(Violation { guarantee: "S8", at: change.at, why });
                break;
            }
        }
    }
    for chain in chains::of(record) {
        let past = changes.get(&chain.chat).map(|changes| past::of(changes)).unwrap_or_default();
        chain.walk(found, |view, event| {
            let Event::Told(event) = event else { return Ok(()) };
            let Body::Status { status, worker, history_version, attempt } = &event.body else {
                return Ok(());
            };
            let episode = Episode { history_version: *history_version, attempt: *attempt };
            let speaks_of = |moment: &&Moment| {
                let state = &moment.state;
                (state.status, &state.worker, state.present_episode()) == (*status, worker, episode)
            };
            let mut spoken_of = past.iter().filter(speaks_of).peekable();
            if spoken_of.peek().is_none() {
                return Err(("S8", format!("status {} of {episode:?} was never so", status.as_str())));
            }
            if !spoken_of.any(|moment| shows(view, moment)) {
                let name = status.as_str();
                return Err((
                    "S8",
                    format!("status {name} of {episode:?} comes before the messages it speaks of"),
                ));
            }
            Ok(())
        });
    }
}

/// An answer that does not stand right behind the history it answers.
fn misplaced(moment: &Moment) -> Option<String> {
    moment.history.windows(2).find_map(|pair| {
        let episode = pair[1].episode?;
        let right = pair[0].revision == episode.history_version || pair[0].episode == Some(episode);
        let (id, before) = (pair[1].id, pair[0].id);
        (!right).then(|| format!("message {id} answers {episode:?} and stands behind message {before}"))
    })
}
