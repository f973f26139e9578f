//! S1: applying the events of a viewer's streams in order yields exactly the committed history at some
//! version, and never an older version than before.

use std::collections::BTreeMap;

use mainstem_machine::{Body, ChatId, Cursor, Fingerprint, Message, MessageId, StreamEvent, Version};

use crate::row::judge_versions;
use crate::watcher::is_status_of;
use crate::{Begin, Evidence, Moment, Oracle, Past, Ruling, Seen, StreamEnd, StreamId, View};

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Streams that resumed from a future, and from which version: they are to be told all anew.
    from_future: BTreeMap<StreamId, Version>,
    /// Where each open stream would resume.
    cursors: BTreeMap<StreamId, Cursor>,
    /// Messages that viewers say they have, on streams that were told nothing yet.
    claimed: BTreeMap<StreamId, MessageId>,
}

impl Oracle for History {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let (stream, event) = match seen.evidence {
            Evidence::Watches { stream, chat, from, .. } => {
                let cursor = match *from {
                    Begin::Fresh => Cursor::default(),
                    Begin::After(message) => Cursor { message, ..Cursor::default() },
                    Begin::At(cursor) => cursor,
                };
                self.cursors.insert(*stream, cursor);
                if let Begin::After(message) = *from {
                    self.claimed.insert(*stream, message);
                }
                if cursor.snapshot_version > newest(seen, *chat) {
                    self.from_future.insert(*stream, cursor.snapshot_version);
                }
                return Ok(());
            }
            Evidence::StreamEnded { stream, how } => {
                self.from_future.remove(stream);
                self.cursors.remove(stream);
                self.claimed.remove(stream);
                return judge_end(seen, *stream, *how);
            }
            Evidence::Committed(change) => {
                seen.ask();
                let Some(past) = seen.index.past(change.chat) else { return Ok(()) };
                let (before, after) = past.step();
                let ruling = judge_versions(before, after, change);
                return ruling.map_err(|why| format!("chat {}: {why}", change.chat));
            }
            Evidence::Saw { stream, event } => (stream, event),
            _ => return Ok(()),
        };
        let Some(watcher) = seen.index.watcher(*stream) else { return Ok(()) };
        seen.ask();
        let (viewer, on) = (&watcher.name, &watcher.on);
        let past = seen.index.past(watcher.chat);
        let base = self.cursors.get(stream).map(|cursor| cursor.message).unwrap_or_default();
        // What a viewer remembers was told at no replica, and judged when it was told.
        let is_told = seen.index.lives.replica(on).is_some() && !self.from_future.contains_key(stream);
        if event.body == Body::HistoryReset && is_told && is_there(past, base) {
            return Err(format!(
                "{viewer} on {on}: history is reset, and message {base}, its last one, is there"
            ));
        }
        if !matches!(event.body, Body::PreviewReset { .. })
            && let Some(claimed) = self.claimed.remove(stream)
            && event.body != Body::HistoryReset
            && claimed != MessageId::default()
            && past.is_none_or(|past| past.message(claimed).is_none())
        {
            return Err(format!(
                "{viewer} on {on} says that it has message {claimed}, and there never was one"
            ));
        }
        if !matches!(event.body, Body::PreviewReset { .. })
            && let Some(version) = self.from_future.remove(stream)
            && version > newest(seen, watcher.chat)
            && event.body != Body::HistoryReset
        {
            return Err(format!(
                "{viewer} on {on} has seen version {version}, which is not yet, and keeps what it has"
            ));
        }
        let future = self.from_future.contains_key(stream);
        judge_cursor(&watcher.view, event, newest(seen, watcher.chat), future)
            .map_err(|why| format!("{viewer} on {on}: {why}"))?;
        if let Some(before) = self.cursors.get_mut(stream) {
            let before = std::mem::replace(before, event.cursor);
            judge_move(before, event).map_err(|why| format!("{viewer} on {on}: {why}"))?;
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

/// A viewer is told that the chat is gone only if it is.
fn judge_end(seen: &Seen<'_>, stream: StreamId, how: StreamEnd) -> Ruling {
    let Some(watcher) = seen.index.watcher(stream).filter(|_| how == StreamEnd::Deleted) else {
        return Ok(());
    };
    let past = seen.index.past(watcher.chat);
    if past.is_some_and(|past| past.moments.iter().any(|moment| moment.deleted)) {
        return Ok(());
    }
    Err(format!("{} on {} is told that the chat is deleted, and it was not", watcher.name, watcher.on))
}

/// Where a stream would resume after an event: behind what is on the screen then, and at nothing that is yet to come.
fn judge_cursor(view: &View, event: &StreamEvent, newest: Version, future: bool) -> Ruling {
    let shown = match &event.body {
        Body::Message(message) => message.id,
        Body::HistoryReset => MessageId::default(),
        _ => view.messages.last().map(|message| message.id).unwrap_or_default(),
    };
    let StreamEvent { cursor, .. } = event;
    if cursor.message != shown {
        return Err(format!("the cursor is behind message {}, and {shown} was shown last", cursor.message));
    }
    if cursor.snapshot_version > newest && !future {
        return Err(format!(
            "the cursor is of version {}, and {newest} is the newest",
            cursor.snapshot_version
        ));
    }
    Ok(())
}

/// Between two events, the cursor moves by what is told: by less, and something is told again; by more, and something
/// is never told. Its preview is judged with the parts.
fn judge_move(before: Cursor, event: &StreamEvent) -> Ruling {
    let cursor = Cursor { preview: None, ..event.cursor };
    let Cursor { snapshot_version, message, queue_version, status, error, retry, .. } = cursor;
    let still = Cursor { preview: None, snapshot_version, ..before };
    let due = match &event.body {
        Body::HistoryReset => return Ok(()),
        Body::Message(_) => Cursor { message, ..still },
        Body::QueueUpdate(_) => Cursor { queue_version, ..still },
        // Who is told another status forgets the error.
        Body::Status { .. } if error == Fingerprint::NOTHING => Cursor { status, error, ..still },
        Body::Status { .. } => Cursor { status, ..still },
        Body::Error(_) => Cursor { error, ..still },
        Body::Retry(_) => Cursor { retry, ..still },
        Body::Parts { .. } | Body::PreviewReset { .. } | Body::Synced => still,
    };
    if cursor != due {
        return Err(format!("the cursor moves on by what was not told: {cursor:?}, expected {due:?}"));
    }
    if snapshot_version < before.snapshot_version {
        return Err(format!(
            "the cursor goes back from version {} to {snapshot_version}",
            before.snapshot_version
        ));
    }
    Ok(())
}

/// Whether a message is in the history, and was ever since it came: ids are never used again.
fn is_there(past: Option<&Past>, message: MessageId) -> bool {
    let present = past.and_then(Past::present);
    present.is_some_and(|moment| moment.history.iter().rev().any(|there| there.id == message))
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
