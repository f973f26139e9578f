//! B3: a slow client, a hanging dial, a slow database, a stalled model, or one hot chat delays nobody else.
//!
//! A part that follows another of its episode on the same stream goes a way that is open. If no fault touches
//! the worker, the viewer's replica or the viewer, then however it fares with everybody else, the part is told
//! and read within these bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{Body, Episode, Seq, Time};

use crate::{Evidence, Oracle, Ruling, Seen, StreamId};

/// From a model's part to its being told at the edge of a replica that relays it.
const SENT_WITHIN: Duration = Duration::from_millis(250);
/// And to its being read.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// What piled up while a fault was in force is on its way for so long.
const AFTERMATH: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Isolation {
    sent: BTreeMap<StreamId, Progress>,
    read: BTreeMap<StreamId, Progress>,
}

/// The newest part of a stream, and when it came.
#[derive(Clone, Copy, Debug)]
struct Progress {
    episode: Episode,
    last: Seq,
    at: Time,
}

impl Oracle for Isolation {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let (stream, event, progress, within, what) = match seen.evidence {
            Evidence::Sent { stream, event } => (stream, event, &mut self.sent, SENT_WITHIN, "told"),
            Evidence::Saw { stream, event } => (stream, event, &mut self.read, READ_WITHIN, "read"),
            Evidence::StreamEnded { stream, .. } => {
                self.sent.remove(stream);
                self.read.remove(stream);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Body::Parts { episode, first_seq, last_seq, .. } = &event.body else { return Ok(()) };
        let now = Progress { episode: *episode, last: *last_seq, at: seen.at };
        let before = progress.insert(*stream, now).filter(|before| before.episode == *episode);
        let Some(before) = before.filter(|before| before.last.next() == *first_seq) else { return Ok(()) };
        let index = seen.index;
        let Some(watcher) = index.watcher(*stream) else { return Ok(()) };
        let Some(run) = index.run(watcher.chat, *episode) else { return Ok(()) };
        // It may have been said before the way was open.
        let Some(said) = run.said_at(*first_seq).filter(|said| *said >= before.at) else { return Ok(()) };
        // The part before came over a good way, from where it was said.
        let since = run.said_at(before.last).map_or(before.at, |said| said.min(before.at));
        let lives = &index.lives;
        let (worker, on, viewer) = (run.replica.as_str(), &*watcher.on, &*watcher.name);
        let touched = [worker, on, viewer].iter().any(|name| lives.is_touched(name))
            || lives.is_link_touched(worker, on, since)
            || lives.is_link_touched(on, viewer, since);
        let recovering =
            lives.faults_cleared_at.is_some_and(|faults_cleared_at| said < faults_cleared_at + AFTERMATH);
        let late = seen.at.since(said);
        if late > within && !touched && !recovering && !index.may_have_expired(seen.at, run) {
            return Err(format!(
                "{} on {}: part {first_seq} of {episode:?} is {what} {} ms after it was said",
                watcher.name,
                watcher.on,
                late.as_millis()
            ));
        }
        Ok(())
    }
}
