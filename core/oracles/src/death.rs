//! L5: if a worker dies and any other replica can work, then every viewer of its chats gets a `preview_reset`
//! or an end within `lease-ttl + 1 s`, or one `poll-interval` later without notifications.

use std::time::Duration;

use mainstem_machine::{Episode, Time};

use crate::{Evidence, EvidenceIndex, Life, Name, Oracle, Ruling, Seen, Settings, StreamId};

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
    /// When it died, or when somebody came who can work instead.
    since: Time,
    /// When it is judged next.
    until: Time,
}

impl Oracle for Death {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let index = seen.index;
        if !self.waiting.is_empty() {
            self.waiting.retain(|waiting| is_expected(index, waiting));
            if let Some(late) = self.waiting.iter().position(|waiting| waiting.until < seen.at) {
                match judge(seen, &self.waiting[late]) {
                    Judged::Later(until) => self.waiting[late].until = until,
                    Judged::Excused => drop(self.waiting.remove(late)),
                    Judged::Late => {
                        let Waiting { stream, worker, episode, until, .. } = self.waiting.remove(late);
                        let who = index.watcher(stream).map_or("", |watcher| &*watcher.name);
                        return Err(format!(
                            "{worker} is dead, and {who} got neither a reset nor an end of {episode:?} by {until:?}"
                        ));
                    }
                }
            }
        }
        match seen.evidence {
            Evidence::Lived { replica, life } => {
                self.begin_again(seen);
                if matches!(life, Life::Crashed | Life::Vanished) {
                    self.record_death(seen, replica);
                }
            }
            Evidence::MayWork { .. } => self.begin_again(seen),
            // Until a slot is free again, nobody can work.
            Evidence::Committed(_) if !self.waiting.is_empty() && index.with_a_slot().next().is_none() => {
                self.waiting.clear();
            }
            _ => {}
        }
        Ok(())
    }
}

enum Judged {
    Late,
    Excused,
    Later(Time),
}

/// Somebody has to see that the worker is dead, and the viewer's replica has to see that somebody did.
fn judge(seen: &Seen<'_>, waiting: &Waiting) -> Judged {
    let (index, lives) = (seen.index, &seen.index.lives);
    let Some(watcher) = index.watcher(waiting.stream) else { return Judged::Excused };
    let (on, since) = (&watcher.on, waiting.since);
    let own = lives.hampered(on, watcher.chat, since).or_else(|| lives.marks.host(&watcher.name, since));
    if seen.is_excused(own.or_else(|| lives.marks.link(on, &watcher.name, since))) {
        return Judged::Excused;
    }
    let mut excuse = None;
    let mut later = None;
    for name in index.with_a_slot() {
        if let Some(kind) = index.kept_from_a_slot(name, watcher.chat, since) {
            excuse = excuse.or(Some(kind));
            continue;
        }
        let Settings { lease_ttl, poll_interval, .. } = index.settings;
        let told = lives.marks.bus(name, since).is_none() && lives.marks.bus(on, since).is_none();
        // Who looks seldom, as no server does, may not know of the lease when it runs out: a worker that dies at once tells
        // of none, nor does a heartbeat that renews one.
        let looks = poll_interval <= lease_ttl / 2;
        let poll = if told && looks { Duration::ZERO } else { poll_interval };
        let span = lease_ttl + poll;
        let until = since + lives.longest(name, span).max(lives.longest(on, span)) + GRACE;
        if until < seen.at {
            return Judged::Late;
        }
        later = later.max(Some(until));
    }
    seen.is_excused(excuse.filter(|_| later.is_none()));
    later.map_or(Judged::Excused, Judged::Later)
}

impl Death {
    /// Who comes to work now has as long as if the worker had died now.
    fn begin_again(&mut self, seen: &Seen<'_>) {
        for waiting in &mut self.waiting {
            (waiting.since, waiting.until) = (seen.at, seen.at + seen.index.settings.lease_ttl + GRACE);
        }
    }

    fn record_death(&mut self, seen: &Seen<'_>, worker: &Name) {
        let index = seen.index;
        let until = seen.at + index.settings.lease_ttl + GRACE;
        let watching = index.watchers().filter(|watcher| watcher.open && watcher.on != *worker);
        for watcher in watching {
            let Some(preview) = &watcher.view.preview else { continue };
            let run = index.run(watcher.chat, preview.episode);
            if run.is_some_and(|run| run.replica.as_str() == &**worker) {
                seen.ask();
                let (stream, worker, episode) = (watcher.stream, worker.clone(), preview.episode);
                self.waiting.push(Waiting { stream, worker, episode, since: seen.at, until });
            }
        }
    }
}

/// Whether the same stream is still open and still shows that episode.
fn is_expected(index: &EvidenceIndex, waiting: &Waiting) -> bool {
    index.watcher(waiting.stream).is_some_and(|watcher| {
        let there = watcher.open && watcher.stream == waiting.stream;
        let shown = watcher.view.preview.as_ref().map(|preview| preview.episode);
        there && shown == Some(waiting.episode)
    })
}
