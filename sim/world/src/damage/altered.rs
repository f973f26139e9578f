//! What could be told in place of what is so: each with the name of what is wrong about it.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Accepted, Block, Body, CallResult, ChatState, Content, Lease, Message, MessageId, PreviewProgress,
    ReplicaId, Status, StreamEvent, Turn, TurnStatus, Version,
};
use mainstem_oracles::{Answer, Committed, Evidence, Guarantee, Life, Operation, RunEnd};

use crate::damage::edit::Edit;
use crate::damage::testimony::Heard;

/// Longer than it may take until a death is told, or a tool has failed.
const SILENCE: Duration = Duration::from_secs(120);

/// Somebody to whom no chat of any world is given.
const STRANGER: &str = "somebody else";

/// The damages of this piece that are of its own kind.
pub(super) fn alterations(told: &[Heard], place: usize) -> Vec<(&'static str, Edit)> {
    let (at, evidence) = match &told[place] {
        Heard::Evidence(at, evidence) => (*at, evidence),
        Heard::Holds(guarantees, facts) => return at_the_end(guarantees, facts),
        Heard::Finished(_) => return vec![],
    };
    let mut followed = followed(evidence);
    followed.extend(death(told, place, evidence));
    followed.extend(silence(&told[place], evidence));
    let others = match evidence {
        Evidence::Saw { stream, event } => {
            let saw = |(name, event)| (name, Evidence::Saw { stream: *stream, event });
            events(event).into_iter().map(saw).collect()
        }
        Evidence::Committed(change) => {
            let committed = |(name, change)| (name, Evidence::Committed(Box::new(change)));
            changes(change).into_iter().map(committed).collect()
        }
        other => plain(other),
    };
    let altered =
        others.into_iter().map(|(name, other)| (name, Edit::Altered(Box::new(Heard::Evidence(at, other)))));
    followed.extend(altered);
    followed
}

fn at_the_end(guarantees: &[Guarantee], facts: &mainstem_oracles::WorldFacts) -> Vec<(&'static str, Edit)> {
    let mut found = vec![];
    let mut add = |name, facts| {
        found.push((name, Edit::Altered(Box::new(Heard::Holds(guarantees.to_vec(), facts)))));
    };
    if guarantees.contains(&Guarantee::L1) && !facts.viewers.is_empty() {
        let mut cut_off = facts.clone();
        cut_off.viewers[0].connected = false;
        add("with a viewer cut off", cut_off);
    }
    if guarantees.contains(&Guarantee::L3) {
        add("with a request unanswered", mainstem_oracles::WorldFacts { unanswered: 1, ..facts.clone() });
    }
    if guarantees.contains(&Guarantee::B2) {
        let left = vec!["a: a connection is open".into()];
        add("with a connection left", mainstem_oracles::WorldFacts { left, ..facts.clone() });
    }
    found
}

fn followed(evidence: &Evidence) -> Vec<(&'static str, Edit)> {
    match evidence {
        Evidence::Operated { replica, .. } => {
            let again = Evidence::Operated { replica: replica.clone(), what: Operation::Database };
            vec![("ten thousand times", Edit::Followed(vec![again; 10_000]))]
        }
        Evidence::Dialed { from, to } => {
            let denied = Evidence::Denies { from: from.clone(), to: to.clone() };
            let again = Evidence::Dialed { from: from.clone(), to: to.clone() };
            let more = std::iter::once(denied).chain(vec![again; 40]).collect();
            vec![("again and again though denied", Edit::Followed(more))]
        }
        Evidence::RunSaid { .. } => {
            let what = "a buffer";
            vec![(
                "while a buffer overflows",
                Edit::Followed(vec![Evidence::Measured { what, value: 9, max: 8 }]),
            )]
        }
        Evidence::Committed(change) if change.state.status == Status::Interrupting => {
            vec![("and nothing more", Edit::Last)]
        }
        _ => vec![],
    }
}

/// The worker of the parts that come dies, and nobody takes note.
fn death(told: &[Heard], place: usize, evidence: &Evidence) -> Option<(&'static str, Edit)> {
    let Evidence::Saw { event: StreamEvent { body: Body::Parts { episode: of, .. }, .. }, .. } = evidence
    else {
        return None;
    };
    let worker = told[..place].iter().rev().find_map(|heard| match heard {
        Heard::Evidence(_, Evidence::RunStarted { replica, episode, .. }) if episode == of => Some(replica),
        _ => None,
    })?;
    let died = Evidence::Lived { replica: worker.clone().into(), life: Life::Crashed };
    let at = told[place].at();
    let later = Heard::Evidence(at + SILENCE, Evidence::FaultsCleared);
    let instead = vec![told[place].clone(), Heard::Evidence(at, died), later];
    Some(("and then its worker is dead", Edit::Instead(instead)))
}

/// A tool that is called never says anything, or nobody writes what it said.
fn silence(heard: &Heard, evidence: &Evidence) -> Option<(&'static str, Edit)> {
    let name = match evidence {
        Evidence::CallBegun { .. } => "and then its tools are silent",
        Evidence::CallReturned { .. } => "and then nobody writes it",
        _ => return None,
    };
    let later = Heard::Evidence(heard.at() + SILENCE, Evidence::FaultsCleared);
    Some((name, Edit::Instead(vec![heard.clone(), later])))
}

fn other_text(content: &Content) -> Content {
    Content::text(&format!("{}!", content.to_text()))
}

fn nobody() -> ReplicaId {
    ReplicaId::new("nobody").expect("a word is an id")
}

fn events(event: &StreamEvent) -> Vec<(&'static str, StreamEvent)> {
    let mut found = vec![];
    let mut add = |name, body| found.push((name, StreamEvent { body, ..event.clone() }));
    match &event.body {
        Body::Message(message) => {
            let other = |change: &dyn Fn(&mut Message)| {
                let mut other = (**message).clone();
                change(&mut other);
                Body::Message(Arc::new(other))
            };
            add("of another text", other(&|m| m.content = other_text(&m.content)));
            add("of another id", other(&|m| m.id = m.id.next()));
            add("of another revision", other(&|m| m.revision = Version(m.revision.0 + 1)));
            add("cut short or not", other(&|m| m.interrupted = !m.interrupted));
        }
        Body::QueueUpdate(queue) if !queue.is_empty() => {
            add("with one missing", Body::QueueUpdate(queue[1..].into()));
            if queue.len() > 1 {
                add("in another order", Body::QueueUpdate(queue.iter().rev().cloned().collect()));
            }
        }
        Body::Status { status, worker, history_version, attempt, turn, calls } => {
            let (status, worker, history_version, attempt) =
                (*status, worker.clone(), *history_version, *attempt);
            let other = match status {
                Status::Waiting => Status::Running,
                _ => Status::Waiting,
            };
            let of = |status, worker, history_version, attempt| Body::Status {
                status,
                worker,
                history_version,
                attempt,
                turn: *turn,
                calls: calls.clone(),
            };
            let of_another = turn.map_or(MessageId(1), MessageId::next);
            add("of another status", of(other, worker.clone(), history_version, attempt));
            add("of another worker", of(status, Some(nobody()), history_version, attempt));
            add("of the next attempt", of(status, worker.clone(), history_version, attempt + 1));
            add("of a later history", of(status, worker.clone(), Version(history_version.0 + 1), attempt));
            let turn = Some(of_another);
            add(
                "of another turn",
                Body::Status { status, worker, history_version, attempt, turn, calls: calls.clone() },
            );
        }
        Body::Error(error) => {
            let mut error = error.clone();
            error.code = "another".into();
            add("of another code", Body::Error(error));
        }
        Body::Retry(Some(retry)) => {
            let mut retry = retry.clone();
            retry.delay_ms += 1;
            add("of another delay", Body::Retry(Some(retry)));
        }
        Body::Parts { episode, first_seq, last_seq, place, block, text } => {
            let (episode, first, last, place) = (*episode, *first_seq, *last_seq, *place);
            let of = |episode, first_seq, last_seq, place, block: &Block, text: &[u8]| Body::Parts {
                episode,
                first_seq,
                last_seq,
                place,
                block: block.clone(),
                text: text.to_vec().into(),
            };
            let mut other = text.to_vec();
            other.reverse();
            if other != text[..] {
                add("of another text", of(episode, first, last, place, block, &other));
            }
            let mut later = episode;
            later.attempt += 1;
            add("of the next attempt", of(later, first, last, place, block, text));
            add("one part on", of(episode, first.next(), last.next(), place, block, text));
            add("one block on", of(episode, first, last, place + 1, block, text));
            let other = if *block == Block::Text { Block::Reasoning } else { Block::Text };
            add("of another kind", of(episode, first, last, place, &other, text));
        }
        Body::PreviewReset { episode, reason } => {
            let mut later = *episode;
            later.attempt += 1;
            add("of another episode", Body::PreviewReset { episode: later, reason: *reason });
        }
        _ => {}
    }
    let mut moved = event.clone();
    moved.cursor.message = moved.cursor.message.next();
    found.push(("with the cursor of a later message", moved));
    let mut moved = event.clone();
    moved.cursor.snapshot_version = Version(moved.cursor.snapshot_version.0 + 1_000);
    found.push(("with the cursor of a future", moved));
    if let Some(preview) = event.cursor.preview
        && let PreviewProgress::Seq(seq) = preview.to
    {
        let mut moved = event.clone();
        moved.cursor.preview.as_mut().expect("it is there").to = PreviewProgress::Seq(seq.next());
        found.push(("with the cursor of a later part", moved));
    }
    found
}

fn changes(change: &Committed) -> Vec<(&'static str, Committed)> {
    let mut found = vec![];
    let mut add = |name, alter: &dyn Fn(&mut Committed)| {
        let mut other = change.clone();
        alter(&mut other);
        found.push((name, other));
    };
    let state = |alter: &dyn Fn(&mut ChatState), change: &mut Committed| {
        let mut state = (*change.state).clone();
        alter(&mut state);
        change.state = Arc::new(state);
    };
    if change.caller.is_some() {
        add("for a stranger", &|c| c.caller = Some(STRANGER.into()));
    } else {
        add("by another replica", &|c| c.by = "nobody".into());
    }
    if !change.deleted {
        add("into another status", &|c| {
            state(
                &|s| {
                    s.status = match s.status {
                        Status::Running => Status::Interrupting,
                        _ => Status::Running,
                    }
                },
                c,
            );
        });
        add("with another worker", &|c| state(&|s| s.worker = Some(nobody()), c));
        add("with another lease", &|c| state(&|s| s.lease = Lease(s.lease.0 + 1), c));
        add("into another attempt", &|c| state(&|s| s.attempt += 1, c));
        add("with an error", &|c| {
            let error = mainstem_machine::RunError { code: "another".into(), message: "".into() };
            state(&|s| s.error = Some(error.clone()), c);
        });
        add("at another version", &|c| state(&|s| s.snapshot_version = Version(s.snapshot_version.0 + 1), c));
    }
    if !change.state.queue.is_empty() {
        add("with one less queued", &|c| state(&|s| drop(s.queue.remove(0)), c));
    }
    if change.state.queue.len() > 1 {
        add("with the queue turned round", &|c| state(&|s| s.queue.reverse(), c));
    }
    if !change.inserted.is_empty() {
        add("without its message", &|c| drop(c.inserted.remove(0)));
        add("with its message twice", &|c| c.inserted.insert(0, c.inserted[0].clone()));
        add("with another text", &|c| c.inserted[0].content = other_text(&c.inserted[0].content));
        add("with its message in another turn", &|c| {
            c.inserted[0].turn = c.inserted[0].turn.map(MessageId::next);
        });
    }
    if let Some(turn) = change.ended.first() {
        add("without the end of its turn", &|c| c.ended = vec![]);
        add("with the end of another turn", &|c| c.ended = vec![Turn { id: turn.id.next(), ..turn.clone() }]);
        let status =
            if turn.status == TurnStatus::Completed { TurnStatus::Failed } else { TurnStatus::Completed };
        add("with another end of its turn", &|c| c.ended = vec![Turn { status, ..turn.clone() }]);
    }
    if let Some(from) = change.cut_from {
        add("that cuts nothing", &|c| c.cut_from = None);
        add("that cuts more", &|c| c.cut_from = Some(MessageId(from.0.saturating_sub(1))));
    }
    found
}

fn plain(evidence: &Evidence) -> Vec<(&'static str, Evidence)> {
    match evidence.clone() {
        Evidence::Watches { stream, viewer, chat, on, from, .. } => {
            let caller = STRANGER.into();
            vec![("of a stranger", Evidence::Watches { stream, viewer, caller, chat, on, from })]
        }
        Evidence::Answered { caller, key, chat, answer } => {
            let of = |answer| Evidence::Answered { caller: caller.clone(), key: key.clone(), chat, answer };
            let Answer::Accepted(accepted) = answer else { return vec![] };
            let stranger = Evidence::Answered {
                caller: STRANGER.into(),
                key: key.clone(),
                chat,
                answer: Answer::Accepted(accepted.clone()),
            };
            let mut found = vec![("as refused", of(Answer::Refused)), ("to a stranger", stranger)];
            if let Accepted::Sent { mut message, mut queued, snapshot_version } = accepted {
                message.iter_mut().for_each(|message| message.id = message.id.next());
                queued.iter_mut().for_each(|queued| queued.id = queued.id.next());
                let accepted = Accepted::Sent { message, queued, snapshot_version };
                found.push(("with another id", of(Answer::Accepted(accepted))));
            }
            found
        }
        Evidence::Announced { replica, chat, .. } => vec![(
            "at a version that is not",
            Evidence::Announced { replica: replica.clone(), chat, version: Version(99_999) },
        )],
        Evidence::RunStarted { run, chat, mut episode, replica } => {
            let by = Evidence::RunStarted { run, chat, episode, replica: nobody() };
            episode.attempt += 1;
            vec![
                ("by another replica", by),
                ("of the next attempt", Evidence::RunStarted { run, chat, episode, replica }),
            ]
        }
        Evidence::Prompted { run, history } => {
            let cut = r#"{"type":"tool_call","id":"cut","name":"find","input_text":"{"}"#;
            let cut = |message: &Arc<Message>| {
                let parts = message.content.as_json().trim_end_matches(']');
                let comma = if parts == "[" { "" } else { "," };
                let content = Content::from_stored(format!("{parts}{comma}{cut}]"));
                Arc::new(Message { content, ..Message::clone(message) })
            };
            let of = |history: &[Arc<Message>]| Evidence::Prompted { run, history: history.into() };
            vec![
                ("with one message less", of(&history[1..])),
                ("with calls that were cut short", of(&history.iter().map(cut).collect::<Vec<_>>())),
            ]
        }
        Evidence::RunSaid { run, begins, text } => {
            let other: String = text.chars().rev().collect();
            match other == text {
                true => vec![],
                false => vec![("something else", Evidence::RunSaid { run, begins, text: other })],
            }
        }
        Evidence::RunEnded { run, how: RunEnd::Done(_) } => {
            vec![
                ("as failed", Evidence::RunEnded { run, how: RunEnd::Failed }),
                ("as cancelled", Evidence::RunEnded { run, how: RunEnd::Cancelled }),
            ]
        }
        Evidence::CallBegun { replica, chat, of, is_repeatable, .. } => {
            let another = Evidence::CallBegun { replica, chat, of, call: "another".into(), is_repeatable };
            vec![("for another call", another)]
        }
        Evidence::CallReturned { replica, chat, of, call, .. } => {
            let result = CallResult::error("another");
            vec![("with another result", Evidence::CallReturned { replica, chat, of, call, result })]
        }
        Evidence::Lived { replica, life: Life::Up } => {
            vec![("as a crash", Evidence::Lived { replica, life: Life::Crashed })]
        }
        _ => vec![],
    }
}
