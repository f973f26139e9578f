//! L5: if a worker dies and any other replica can work, then every viewer of its chats gets a `preview_reset`
//! or an end within `lease-ttl + 1 s`, or one `poll-interval` later without notifications.

use std::time::Duration;

use mainstem_machine::{Episode, Time};

use crate::{Evidence, EvidenceIndex, Life, Name, Oracle, Ruling, Seen, StreamId};

const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
pub(crate) struct Death {
    waiting: Vec<Waiting>,
}

/// A viewer that shows parts from a dead worker.
#[derive(Clone, Debug)]
struct Waiting {
    stream: StreamId,
    worker: Name,
    episode: Episode,
    until: Time,
}

impl Oracle for Death {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let index = seen.index;
        if !self.waiting.is_empty() {
            self.waiting.retain(|waiting| is_expected(index, waiting));
            if let Some(late) = self.waiting.iter().position(|waiting| waiting.until < seen.at) {
                let Waiting { stream, worker, episode, until } = self.waiting.remove(late);
                let who = index.watcher(stream).map_or("", |watcher| &*watcher.name);
                return Err(format!(
                    "{worker} is dead, and {who} got neither a reset nor an end of {episode:?} by {until:?}"
                ));
            }
        }
        match seen.evidence {
            Evidence::Lived { replica, life: Life::Crashed | Life::Vanished } => {
                self.record_death(seen, replica)
            }
            Evidence::Lived { life: Life::Paused | Life::Draining, .. }
            | Evidence::Fault { .. }
            | Evidence::MayWork { may: false, .. }
                if !index.lives.is_calm(seen.at) || index.lives.able().next().is_none() =>
            {
                self.waiting.clear();
            }
            _ => {}
        }
        Ok(())
    }
}

impl Death {
    fn record_death(&mut self, seen: &Seen<'_>, worker: &Name) {
        let index = seen.index;
        if !index.lives.is_calm(seen.at) || index.lives.able().next().is_none() {
            self.waiting.clear();
            return;
        }
        let notified = index.lives.is_notified(seen.at);
        let poll = if notified { Duration::ZERO } else { index.settings.poll_interval };
        let until = seen.at + index.settings.lease_ttl + poll + GRACE;
        let watching = index.watchers().iter().filter(|watcher| watcher.open && watcher.on != *worker);
        for watcher in watching {
            let Some(preview) = &watcher.view.preview else { continue };
            let run = index.run(watcher.chat, preview.episode);
            if run.is_some_and(|run| run.replica.as_str() == &**worker) {
                let (stream, worker, episode) = (watcher.stream, worker.clone(), preview.episode);
                self.waiting.push(Waiting { stream, worker, episode, until });
            }
        }
    }
}

/// Whether the same stream is still open and still shows that episode.
fn is_expected(index: &EvidenceIndex, waiting: &Waiting) -> bool {
    index.watcher(waiting.stream).is_some_and(|watcher| {
        let there = watcher.open && watcher.stream == waiting.stream && !index.lives.is_touched(&watcher.on);
        let shown = watcher.view.preview.as_ref().map(|preview| preview.episode);
        there && !index.lives.is_touched(&watcher.name) && shown == Some(waiting.episode)
    })
}
