//! S1: applying the events of a viewer's streams, in order, gives exactly the committed history at some
//! version, and never an earlier one than before.

use mainstem_machine::{Body, Message};

use crate::chains::{self, Event};
use crate::past::{self, Moment};
use crate::{Record, View, Violation};

pub(crate) fn check(record: &Record, found: &mut Vec<Violation>) {
    let changes = record.by_chat();
    for chain in chains::of(record) {
        let past = changes.get(&chain.chat).map(|changes| past::of(changes)).unwrap_or_default();
        // The earliest moment that what was shown last can be of.
        let mut floor = 0;
        chain.walk(found, |view, event| {
            let Event::Told(event) = event else { return Ok(()) };
            match &event.body {
                Body::Message(message) => judge_message(&past, view, message),
                Body::HistoryReset => Ok(()),
                _ => {
                    let at = past[floor.min(past.len())..].iter().position(|m| shows(view, m));
                    floor += at.ok_or_else(|| {
                        let ids: Vec<_> = view.messages.iter().map(|m| m.id).collect();
                        ("S1", format!("the messages {ids:?} were the history at no version since the last"))
                    })?;
                    Ok(())
                }
            }
        });
    }
}

fn judge_message(past: &[Moment], view: &View, message: &Message) -> Result<(), (&'static str, String)> {
    if view.messages.last().is_some_and(|last| last.id >= message.id) {
        return Err(("S1", format!("message {} is told out of order, or again", message.id)));
    }
    let committed = past.iter().any(|moment| moment.history.contains(message));
    if !committed {
        return Err(("S1", format!("message {} is told, and was never committed like that", message.id)));
    }
    Ok(())
}

/// Whether the messages shown are the history of that moment.
pub(crate) fn shows(view: &View, moment: &Moment) -> bool {
    view.messages.len() == moment.history.len()
        && view.messages.iter().map(|message| &**message).eq(moment.history.iter())
}
