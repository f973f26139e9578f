//! B3: a slow client, a hanging dial, a slow database, a stalled model or one hot chat delays nobody else.
//!
//! If a part follows another one of its episode on the same stream, the path from the worker to the viewer is
//! established. Unless a fault affects the worker, the viewer's replica or the viewer, the part has to be
//! sent and received within these bounds, whatever happens elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{Body, Episode, Seq, Time};

use crate::on_time::OnTime;
use crate::shared::Shared;
use crate::{Evidence, Oracle, Ruling, Seen, StreamId};

/// From the model to the edge of a replica that relays the part.
const SENT_WITHIN: Duration = Duration::from_millis(250);
/// From the model to the viewer.
const READ_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default)]
pub(crate) struct Isolation {
    sent: Shared<BTreeMap<StreamId, Progress>>,
    read: Shared<BTreeMap<StreamId, Progress>>,
    on_time: OnTime,
}

/// The newest part of a stream, and when it was sent or received.
#[derive(Clone, Copy, Debug)]
struct Progress {
    episode: Episode,
    last: Seq,
    at: Time,
}

impl Oracle for Isolation {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        self.on_time.observe(seen)?;
        let (stream, event, progress, within, what) = match seen.evidence {
            Evidence::Sent { stream, event } => (stream, event, &mut self.sent, SENT_WITHIN, "sent"),
            Evidence::Saw { stream, event } => (stream, event, &mut self.read, READ_WITHIN, "read"),
            Evidence::StreamEnded { stream, .. } => {
                for told in [&mut self.sent, &mut self.read] {
                    if told.contains_key(stream) {
                        told.remove(stream);
                    }
                }
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
        // The part may have been generated before the path was established.
        let Some(said) = run.said_at(*first_seq).filter(|said| *said >= before.at) else { return Ok(()) };
        // The previous part came from the same run.
        let since = run.said_at(before.last).map_or(before.at, |said| said.min(before.at));
        let (worker, on, viewer) = (run.replica.as_str(), &*watcher.on, &*watcher.name);
        let late = seen.at.since(said);
        seen.ask();
        if late > within {
            let marks = &index.lives.marks;
            let own = [worker, on, viewer].iter().find_map(|name| marks.host(name, since));
            let links = || marks.link(worker, on, since).or_else(|| marks.link(on, viewer, since));
            // What is left of an answer that is saved comes with its message, which may have to be read.
            let is_saved = index.past(watcher.chat).is_some_and(|past| past.has_saved(*episode));
            let read = || marks.database(on, watcher.chat, since).filter(|_| is_saved);
            let expired = || index.may_have_expired(seen.at, run);
            if seen.is_excused(own.or_else(links).or_else(read).or_else(expired)) {
                return Ok(());
            }
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
