//! What happens in this world is told to the judges of the laboratory, which know nothing about hubs. They judge what
//! viewers are shown and what is committed: history, parts, what is stale, what is kept, interrupts, order and phase.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::ModelEvent;
use mainstem_machine::{Block, Episode, ReplicaId, StreamEvent, Time};
use mainstem_oracles::{
    Begin, Committed, Evidence, FaultKind, Guarantee, Judge, Life, Name, RunEnd, RunId, Settings, StreamEnd,
};
use mainstem_oracles::{StreamId, View};

use crate::database::{CHAT, LEASE_TTL};

/// Those that need users with keys, several chats, whole replicas, or a time in which all is well.
const NOT_ASKED: [Guarantee; 11] = {
    use Guarantee::{B1, B2, B3, L1, L2, L3, L4, L5, S5, S6, S10};
    [S5, S6, S10, L1, L2, L3, L4, L5, B1, B2, B3]
};

/// What a viewer had been sent when it left, from the beginning of its first stream.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) began: Begin,
    pub(crate) events: Arc<Vec<StreamEvent>>,
}

#[derive(Debug)]
pub(crate) struct Court {
    judge: Judge,
    streams: u64,
    /// The episode of each run, in the order in which they began.
    runs: Vec<Episode>,
}

impl Court {
    /// Over replicas that live.
    pub(crate) fn new(episode_bytes_max: usize, replicas: impl IntoIterator<Item = ReplicaId>) -> Self {
        let mut court = Self { judge: Judge::without(&NOT_ASKED), streams: 0, runs: vec![] };
        let settings = Settings {
            lease_ttl: LEASE_TTL,
            episode_bytes_max,
            // A hub is told to hand over at any time.
            drain_timeout: Duration::ZERO,
            ..Settings::default()
        };
        court.tell(Time::START, Evidence::Settings(settings));
        for replica in replicas {
            court.tell(Time::START, Evidence::Lived { replica: replica.into(), life: Life::Up });
        }
        court
    }

    /// # Panics
    ///
    /// If it breaks a guarantee.
    pub(crate) fn tell(&mut self, at: Time, evidence: Evidence) {
        let found = self.judge.observe(at, evidence);
        assert!(found.is_empty(), "{found:?}");
    }

    pub(crate) fn committed(&mut self, at: Time, committed: Committed) {
        self.tell(at, Evidence::Committed(committed.into()));
    }

    pub(crate) fn started(&mut self, at: Time, replica: &ReplicaId, episode: Episode) {
        let (run, replica) = (RunId(self.runs.len()), replica.clone());
        self.runs.push(episode);
        self.tell(at, Evidence::RunStarted { run, replica, chat: CHAT, episode });
    }

    fn run(&self, episode: Episode) -> RunId {
        RunId(self.runs.iter().rposition(|run| *run == episode).expect("it began"))
    }

    pub(crate) fn said(&mut self, at: Time, episode: Episode, begins: Option<Block>, text: &str) {
        let run = self.run(episode);
        self.tell(at, Evidence::RunSaid { run, begins, text: text.into() });
    }

    pub(crate) fn ended(&mut self, at: Time, episode: Episode, how: RunEnd) {
        let run = self.run(episode);
        self.tell(at, Evidence::RunEnded { run, how });
    }

    /// A viewer comes to a replica, with what it remembers: that was told elsewhere, and judged when it was told.
    pub(crate) fn watches(
        &mut self,
        at: Time,
        viewer: &str,
        on: &ReplicaId,
        from: Begin,
        memory: Option<&Memory>,
    ) -> StreamId {
        if let Some(Memory { began, events }) = memory {
            let stream = self.watch(at, viewer, "elsewhere".into(), *began);
            for event in events.iter() {
                self.tell(at, Evidence::Saw { stream, event: event.clone() });
            }
            self.tell(at, Evidence::StreamEnded { stream, how: StreamEnd::Broken });
        }
        self.watch(at, viewer, on.clone().into(), from)
    }

    fn watch(&mut self, at: Time, viewer: &str, on: Name, from: Begin) -> StreamId {
        self.streams += 1;
        let (stream, viewer) = (StreamId(self.streams), Name::from(viewer));
        self.tell(at, Evidence::Watches { stream, viewer, caller: "owner".into(), chat: CHAT, on, from });
        stream
    }

    /// No heartbeat of a replica was answered in time.
    pub(crate) fn is_not_confirmed(&mut self, at: Time, replica: &ReplicaId) {
        let (kind, who, other, chat) = (FaultKind::DatabaseSlow, replica.clone().into(), None, None);
        self.tell(at, Evidence::Fault { kind, who, other, chat });
    }

    /// A replica is to hand over what it runs.
    pub(crate) fn drains(&mut self, at: Time, replica: &ReplicaId) {
        self.tell(at, Evidence::Lived { replica: replica.clone().into(), life: Life::Draining });
    }

    /// What is on the screen of a viewer.
    pub(crate) fn view(&self, viewer: &str) -> &View {
        self.judge.index().view(&Name::from(viewer), CHAT).expect("it has come")
    }
}

/// How a run ends by this event.
pub(crate) fn end_of(event: &ModelEvent) -> Option<RunEnd> {
    match event {
        ModelEvent::Done { completion, .. } => Some(RunEnd::Done(*completion)),
        ModelEvent::Failed { .. } | ModelEvent::BrokeOff { .. } => Some(RunEnd::Failed),
        ModelEvent::Generated { .. } => None,
    }
}
