//! S1: applying the events of a viewer's streams in order yields exactly the committed history at some
//! version, and never an older version than before.

use std::collections::BTreeMap;

use mainstem_machine::{Body, ChatId, Message, Version};

use crate::watcher::is_status_of;
use crate::{Begin, Evidence, Moment, Oracle, Past, Ruling, Seen, StreamId, View};

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Streams that resumed from a future, and from which version: they are to be told all anew.
    from_future: BTreeMap<StreamId, Version>,
}

impl Oracle for History {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let (stream, event) = match seen.evidence {
            Evidence::Watches { stream, chat, from: Begin::At(cursor), .. } => {
                if cursor.snapshot_version > newest(seen, *chat) {
                    self.from_future.insert(*stream, cursor.snapshot_version);
                }
                return Ok(());
            }
            Evidence::StreamEnded { stream, .. } => {
                self.from_future.remove(stream);
                return Ok(());
            }
            Evidence::Saw { stream, event } => (stream, event),
            _ => return Ok(()),
        };
        let Some(watcher) = seen.index.watcher(*stream) else { return Ok(()) };
        seen.ask();
        let (viewer, on) = (&watcher.name, &watcher.on);
        if !matches!(event.body, Body::PreviewReset { .. })
            && let Some(version) = self.from_future.remove(stream)
            && version > newest(seen, watcher.chat)
            && event.body != Body::HistoryReset
        {
            return Err(format!(
                "{viewer} on {on} has seen version {version}, which is not yet, and keeps what it has"
            ));
        }
        if let Body::Message(message) = &event.body {
            let ruling = judge_message(seen.index.past(watcher.chat), &watcher.view, message);
            return ruling.map_err(|why| format!("{viewer} on {on}: {why}"));
        }
        if watcher.lost && !is_ahead(seen.index.past(watcher.chat), &watcher.view, &event.body) {
            let ids: Vec<_> = watcher.view.messages.iter().map(|message| message.id).collect();
            return Err(format!(
                "{viewer} on {on}: the messages {ids:?} were the history at no version since the last"
            ));
        }
        Ok(())
    }
}

/// The newest version that was ever committed.
fn newest(seen: &Seen<'_>, chat: ChatId) -> Version {
    let last = seen.index.past(chat).and_then(Past::last);
    last.map_or(Version(0), |moment| moment.state.snapshot_version)
}

/// Whether a status comes before some messages of its history: that breaks the order (S8), not the history.
fn is_ahead(past: Option<&Past>, view: &View, body: &Body) -> bool {
    let moments = past.map_or(&[][..], |past| &past.moments);
    let shown = || view.messages.iter().map(|message| message.id);
    let begins_so = |moment: &Moment| {
        let ids = moment.history.iter().take(view.messages.len()).map(|message| message.id);
        is_status_of(moment, body) && ids.eq(shown())
    };
    moments.iter().rev().any(begins_so)
}

fn judge_message(past: Option<&Past>, view: &View, message: &Message) -> Ruling {
    let id = message.id;
    if view.messages.last().is_some_and(|last| last.id >= id) {
        return Err(format!("message {id} comes out of order, or again"));
    }
    match past.and_then(|past| past.message(id)) {
        Some(committed) if **committed == *message => Ok(()),
        _ => Err(format!("message {id} comes with a content that was never committed")),
    }
}
