//! L5: within `lease-ttl + 1 s` of a worker's death (without notifications, one `poll-interval` more), if any
//! replica can work, every viewer of its chats has been told: `preview_reset` or an end.

use std::time::Duration;

use mainstem_machine::{Episode, Time};

use crate::{Evidence, Known, Life, Name, Oracle, Ruling, Seen, StreamId};

const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Death {
    waiting: Vec<Waiting>,
}

/// A viewer that shows parts of a worker that is dead.
#[derive(Debug)]
struct Waiting {
    stream: StreamId,
    worker: Name,
    episode: Episode,
    until: Time,
}

impl Oracle for Death {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let known = seen.known;
        if !self.waiting.is_empty() {
            self.waiting.retain(|waiting| is_owed(known, waiting));
            if let Some(late) = self.waiting.iter().position(|waiting| waiting.until < seen.at) {
                let Waiting { stream, worker, episode, until } = self.waiting.remove(late);
                let who = known.watcher(stream).map_or("", |watcher| &*watcher.name);
                return Err(format!(
                    "{worker} is dead, and {who} was not told by {until:?} that {episode:?} will not go on"
                ));
            }
        }
        match seen.evidence {
            Evidence::Lived { replica, life: Life::Crashed | Life::Vanished } => self.mourn(seen, replica),
            Evidence::Lived { life: Life::Paused | Life::Draining, .. }
            | Evidence::Fault { .. }
            | Evidence::MayWork { may: false, .. }
                if !known.lives.is_calm(seen.at) || known.lives.able().next().is_none() =>
            {
                self.waiting.clear();
            }
            _ => {}
        }
        Ok(())
    }
}

impl Death {
    fn mourn(&mut self, seen: &Seen<'_>, worker: &Name) {
        let known = seen.known;
        if !known.lives.is_calm(seen.at) || known.lives.able().next().is_none() {
            self.waiting.clear();
            return;
        }
        let notified = known.lives.is_notified(seen.at);
        let poll = if notified { Duration::ZERO } else { known.settings.poll_interval };
        let until = seen.at + known.settings.lease_ttl + poll + GRACE;
        let watching = known.watchers().iter().filter(|watcher| watcher.open && watcher.on != *worker);
        for watcher in watching {
            let Some(preview) = &watcher.view.preview else { continue };
            let run = known.run(watcher.chat, preview.episode);
            if run.is_some_and(|run| run.replica.as_str() == &**worker) {
                let (stream, worker, episode) = (watcher.stream, worker.clone(), preview.episode);
                self.waiting.push(Waiting { stream, worker, episode, until });
            }
        }
    }
}

/// The stream goes on where it was, and still shows that episode.
fn is_owed(known: &Known, waiting: &Waiting) -> bool {
    known.watcher(waiting.stream).is_some_and(|watcher| {
        let there = watcher.open && watcher.stream == waiting.stream && !known.lives.is_touched(&watcher.on);
        let shown = watcher.view.preview.as_ref().map(|preview| preview.episode);
        there && !known.lives.is_touched(&watcher.name) && shown == Some(waiting.episode)
    })
}
