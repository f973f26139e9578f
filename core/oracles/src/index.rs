//! An index of all evidence so far, shared by the oracles.

use std::collections::BTreeMap;

use mainstem_machine::{ChatId, Episode, Time};

use crate::lives::Lives;
use crate::marks::Struck;
use crate::runs::{Run, Runs};
use crate::shared::Shared;
use crate::watcher::{Expected, Watcher};
use crate::{Answer, Evidence, FaultKind, Name, Past, RunId, Settings, StreamId, View};

#[derive(Clone, Debug, Default)]
pub struct EvidenceIndex {
    pub settings: Settings,
    pub(crate) lives: Shared<Lives>,
    chats: BTreeMap<ChatId, Shared<Past>>,
    runs: Shared<Runs>,
    watchers: Vec<Shared<Watcher>>,
    by_name: Shared<BTreeMap<(Name, ChatId), usize>>,
    streams: Shared<BTreeMap<StreamId, Stream>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) watcher: usize,
    pub(crate) caller: Name,
    pub(crate) chat: ChatId,
    pub(crate) on: Name,
}

/// How long after a lease was confirmed again late events may still arrive.
const RECOVERY: std::time::Duration = std::time::Duration::from_millis(500);

impl EvidenceIndex {
    /// Adds a piece of evidence, before the oracles see it.
    pub(crate) fn enter(&mut self, at: Time, evidence: &Evidence) {
        match evidence {
            Evidence::Settings(settings) => self.settings = *settings,
            Evidence::Committed(change) => {
                let hampered = self.lives.hampered(&change.by, change.chat, at);
                self.chats.entry(change.chat).or_default().commit(at, change, hampered);
            }
            Evidence::Confirmed { chat, lease, .. } => {
                if let Some(tenure) = self.chats.get_mut(chat).and_then(|past| past.tenure_mut(*lease)) {
                    tenure.confirmed = tenure.confirmed.max(at);
                }
            }
            Evidence::Assured { replica, chat, lease, sent } => {
                let ttl = self.lives.shortest(replica.as_str(), self.settings.lease_ttl);
                if let Some(tenure) = self.chats.get_mut(chat).and_then(|past| past.tenure_mut(*lease)) {
                    tenure.assure(at, *sent, ttl);
                }
            }
            Evidence::RunStarted { run, replica, chat, episode } => {
                let mut started = Run::new(*chat, *episode, replica.clone());
                started.life = self.lives.replica(replica.as_str()).map_or(0, |replica| replica.life);
                if let Some(past) = self.chats.get(chat) {
                    started.beginning = past.beginning(*episode);
                    started.lease = started.beginning.map(|at| past.moments[at].state.lease);
                }
                self.runs.start(*run, started);
            }
            Evidence::RunSaid { run, begins, text } => {
                if let Some(run) = self.runs.run_mut(*run) {
                    run.say(at, begins.as_ref(), text);
                }
            }
            Evidence::RunEnded { run, how } => {
                if let Some(run) = self.runs.run_mut(*run) {
                    run.ended = run.ended.or(Some(*how));
                }
            }
            Evidence::Watches { stream, viewer, caller, chat, on, from } => {
                let expected = self.expected(*chat, on, viewer);
                let new = self.watchers.len();
                let watcher = *self.by_name.entry((viewer.clone(), *chat)).or_insert(new);
                if watcher == new {
                    self.watchers.push(Watcher::new(viewer.clone(), *chat, on.clone(), *stream).into());
                }
                let past = self.chats.get(chat).map(|past| &**past);
                self.watchers[watcher].begin(*stream, on.clone(), *from, past, expected);
                let (caller, chat, on) = (caller.clone(), *chat, on.clone());
                self.streams.insert(*stream, Stream { watcher, caller, chat, on });
            }
            Evidence::Saw { stream, event } => {
                if let Some(stream) = self.streams.get(stream) {
                    let past = self.chats.get(&stream.chat).map(|past| &**past);
                    self.watchers[stream.watcher].settle(&event.body, past);
                }
            }
            Evidence::StreamEnded { stream, .. } => {
                if let Some(ended) = self.streams.get(stream) {
                    let watcher = &mut self.watchers[ended.watcher];
                    if watcher.stream == *stream {
                        watcher.open = false;
                    }
                }
            }
            Evidence::Lived { replica, life } => self.lives.live(at, replica, *life),
            Evidence::MayWork { replica, may } => self.lives.may_work(replica, *may),
            Evidence::Fault { kind, who, other, chat } => {
                self.lives.marks.strike(at, *kind, &Struck { who, other: other.as_ref(), chat: *chat });
            }
            Evidence::FaultOver { kind, who, other, chat } => {
                self.lives.marks.over(at, *kind, &Struck { who, other: other.as_ref(), chat: *chat });
            }
            Evidence::Drifts { replica, per_mille } => self.lives.drift(replica, *per_mille),
            Evidence::FaultsCleared => self.lives.marks.clear(at),
            Evidence::Sent { .. }
            | Evidence::Prompted { .. }
            | Evidence::CallBegun { .. }
            | Evidence::CallReturned { .. }
            | Evidence::Replayed { .. }
            | Evidence::Announced { .. }
            | Evidence::Operated { .. }
            | Evidence::Dialed { .. }
            | Evidence::Denies { .. }
            | Evidence::Asked { .. }
            | Evidence::Answered { .. }
            | Evidence::Unanswered { .. }
            | Evidence::Measured { .. } => {}
        }
    }

    /// Updates the viewer's screen, after the oracles have seen the event.
    pub(crate) fn leave(&mut self, evidence: &Evidence) {
        if let Evidence::Saw { stream, event } = evidence
            && let Some(stream) = self.streams.get(stream)
        {
            let past = self.chats.get(&stream.chat).map(|past| &**past);
            self.watchers[stream.watcher].apply(event, past);
        }
    }

    /// What other viewers of the chat at that replica have seen, which a new viewer there must see too.
    fn expected(&self, chat: ChatId, on: &Name, viewer: &Name) -> Expected {
        let mut expected = Expected {
            life: self.lives.replica(on).map_or(0, |replica| replica.life),
            ..Expected::default()
        };
        let there = |w: &&Watcher| {
            w.open && w.started && !w.tainted && w.chat == chat && w.on == *on && w.name != *viewer
        };
        for watcher in self.watchers().filter(there).filter(|w| w.expected.life == expected.life) {
            expected.floor = expected.floor.max(watcher.floor);
            expected.parts = expected.parts.max(watcher.reached);
        }
        expected
    }

    pub(crate) fn taint(&mut self, stream: StreamId) {
        if let Some(stream) = self.streams.get(&stream) {
            self.watchers[stream.watcher].tainted = true;
        }
    }

    pub fn past(&self, chat: ChatId) -> Option<&Past> {
        self.chats.get(&chat).map(|past| &**past)
    }

    pub fn chats(&self) -> impl Iterator<Item = (ChatId, &Past)> {
        self.chats.iter().map(|(chat, past)| (*chat, &**past))
    }

    /// Replicas that can acquire a chat now and have a free slot.
    pub(crate) fn with_a_slot(&self) -> impl Iterator<Item = &Name> {
        self.lives.able().filter(move |name| self.slots(name) > 0)
    }

    fn slots(&self, name: &str) -> usize {
        let workers = self.chats().filter_map(|(_, past)| past.present()?.state.worker.as_ref());
        self.settings.workers.saturating_sub(workers.filter(|worker| worker.as_str() == name).count())
    }

    /// What may have kept a replica from taking a chat into a slot at once, at some time since then. A slot is kept for
    /// a chat while that one is acquired, so that as many slow chats as there are free slots hold up this one.
    pub(crate) fn kept_from_a_slot(&self, name: &str, chat: ChatId, since: Time) -> Option<FaultKind> {
        let of_others = || {
            let struck = self.lives.marks.database_of_others(name, chat, since);
            struck.first().copied().filter(|_| struck.len() >= self.slots(name))
        };
        self.lives.hampered(name, chat, since).or_else(of_others)
    }

    /// The run that generated an episode.
    pub fn run(&self, chat: ChatId, episode: Episode) -> Option<&Run> {
        self.runs.of(chat, episode)
    }

    /// The run that generated an episode, of whichever chat came first.
    pub fn run_of(&self, episode: Episode) -> Option<&Run> {
        self.runs.any(episode)
    }

    /// A model that still runs at a replica that is up, and whose answer nobody can save any more.
    pub(crate) fn goes_on_for_nothing(&self) -> Option<String> {
        self.runs.all().find_map(|run| {
            let replica = self.lives.replica(run.replica.as_str())?;
            let there = replica.up && !replica.paused && replica.life == run.life;
            let live = self.past(run.chat).and_then(|past| past.present()?.live()).map(|(live, _)| live);
            (run.ended.is_none() && there && live != Some(run.episode))
                .then(|| format!("{}: the model of {:?} runs for nothing", run.replica, run.episode))
        })
    }

    pub(crate) fn run_by_id(&self, id: RunId) -> Option<&Run> {
        self.runs.run(id)
    }

    pub(crate) fn first_run(&self, chat: ChatId, episode: Episode) -> Option<RunId> {
        self.runs.first(chat, episode)
    }

    pub(crate) fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// The viewer that a stream belongs to.
    pub fn watcher(&self, id: StreamId) -> Option<&Watcher> {
        self.streams.get(&id).map(|stream| &*self.watchers[stream.watcher])
    }

    pub fn watchers(&self) -> impl Iterator<Item = &Watcher> {
        self.watchers.iter().map(|watcher| &**watcher)
    }

    pub(crate) fn watcher_of(&self, viewer: &str, chat: ChatId) -> Option<&Watcher> {
        self.by_name.get(&(Name::from(viewer), chat)).map(|at| &*self.watchers[*at])
    }

    /// The user for whom a viewer watches.
    pub(crate) fn caller(&self, viewer: &str, chat: ChatId) -> Option<&str> {
        let watcher = self.watcher_of(viewer, chat)?;
        self.stream(watcher.stream).map(|stream| &*stream.caller)
    }

    /// What a viewer's screen shows.
    pub fn view(&self, viewer: &str, chat: ChatId) -> Option<&View> {
        self.watcher_of(viewer, chat).map(|watcher| &watcher.view)
    }

    /// Why the lease of a run may have expired as far as its holder knows, now or a moment ago. Then missing
    /// parts and late events are no breach. Without a fault of the holder or of its way to the database since the
    /// last confirmation, no lease expires.
    pub(crate) fn may_have_expired(&self, at: Time, run: &Run) -> Option<FaultKind> {
        let tenure = run.lease.and_then(|lease| self.past(run.chat)?.tenure(lease))?;
        let holder = run.replica.as_str();
        let ttl = self.lives.shortest(holder, self.settings.lease_ttl);
        let recovering =
            tenure.recovered.filter(|(_, at_last)| at < *at_last + RECOVERY).map(|(since, _)| since);
        let since = recovering.or_else(|| (at >= tenure.may_expire_at(ttl)).then_some(tenure.assured))?;
        self.lives.marks.worker(holder, run.chat, since)
    }
}

impl Answer {
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}
