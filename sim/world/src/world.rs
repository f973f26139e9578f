//! The world: replicas, rows, bus, links, operations in flight, models, viewers and users, as one value.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::drain::Drain;
use mainstem_machine::hub::{HubConfig, JoinedParts};
use mainstem_machine::replica::{Replica, ReplicaConfig};
use mainstem_machine::store::Request;
use mainstem_machine::{ChatId, Cursor, ReplicaId, SubscriptionId, Time};
use mainstem_oracles::{
    Begin, Evidence, FaultKind, Judge, Life as Lived, Name, RunId, Settings, StreamId, Violation,
};
use mainstem_rows::Rows;
use mainstem_story::TOOL_TIMEOUT;
use uuid::Uuid;

use crate::choice::{ChatAt, NodeAt, ViewerAt};
use crate::claims::Memory;
use crate::clock::Clock;
use crate::damage::{Heard, Testimony};
use crate::hashed::Hashed;
use crate::node::{Label, Life, Node, Operation};
use crate::setup::{Budget, Setup};
use crate::trace::{Line, Told, Trace};
use crate::users::{friend_of, owner_of, users};
use crate::work::Work;

/// All of the world that decides what may happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: Time,
    pub(crate) rows: Hashed<Rows>,
    pub(crate) nodes: Vec<Hashed<Node>>,
    pub(crate) viewers: Vec<Viewer>,
    pub(crate) asks: Hashed<Vec<Ask>>,
    /// Operations that nobody waits for any more, and that may happen yet, with the replica they came from.
    pub(crate) strays: VecDeque<(NodeAt, Operation)>,
    pub(crate) budget: Budget,
    pub(crate) runs: Label<usize>,
    pub(crate) streams: Label<u64>,
    pub(crate) entropy: Label<u64>,
    /// Times in a row that something was due and was still due afterwards.
    pub(crate) stuck: u16,
}

/// A viewer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Viewer {
    pub(crate) name: Name,
    pub(crate) chat: ChatAt,
    /// The user who watches.
    pub(crate) caller: Name,
    pub(crate) stream: Option<Stream>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) memory: Hashed<Memory>,
    /// It was told that the chat is gone.
    pub(crate) over: bool,
    /// It reads nothing for a while.
    pub(crate) stalled: bool,
}

/// A viewer's stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) on: NodeAt,
    pub(crate) subscription: SubscriptionId,
    pub(crate) id: Label<StreamId>,
    /// There was nothing for it, and there was no news since.
    pub(crate) idle: bool,
}

/// A request of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) caller: Name,
    pub(crate) key: Name,
    pub(crate) text: Option<Arc<str>>,
    pub(crate) request: Request,
    pub(crate) stage: Asking,
    /// It was answered by a rejection.
    pub(crate) rejected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asking {
    /// At this replica.
    InFlight(NodeAt),
    /// Nobody knows what became of it: it may be asked again.
    Unanswered,
    /// Nobody knows what became of it, and nobody asks again.
    GivenUp,
    Answered,
}

/// The world, with the judges that watch it.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) setup: Arc<Setup>,
    pub(crate) users: Arc<[Name]>,
    pub(crate) state: State,
    pub(crate) judge: Judge,
    /// What the machines asked for and was not carried out yet: nothing, between two choices.
    pub(crate) work: VecDeque<Work>,
    pub(crate) working: bool,
    /// The machines are held to their laws.
    pub(crate) laws: bool,
    /// Where somebody watches a chat for the time of one choice, and is no viewer of the world.
    pub(crate) guest: Option<(NodeAt, ChatAt)>,
    /// With laws, one for all hubs, which is more than any driver would do.
    pub(crate) joined: JoinedParts,
    /// Lines of what happened, if they are kept.
    trace: Option<Trace>,
    /// What the judges are told, if it is kept.
    testimony: Option<Testimony>,
}

/// The chat at this place.
pub(crate) fn chat_id(chat: ChatAt) -> ChatId {
    ChatId(Uuid::from_u128(u128::from(chat.0) + 1))
}

/// The place of this chat.
pub(crate) fn chat_at(chat: ChatId) -> ChatAt {
    ChatAt(u8::try_from(chat.0.as_u128() - 1).expect("there are few chats"))
}

impl World {
    /// A world in which nothing has happened yet: all replicas are about to start.
    pub fn new(setup: Setup, judge: Judge) -> Self {
        Self::testified(setup, judge, None)
    }

    /// The same, and what the judges are told is kept.
    pub(crate) fn testified(setup: Setup, judge: Judge, testimony: Option<Testimony>) -> Self {
        let now = Time::from_micros(1_000_000);
        let node = |at: u8| {
            let id = ReplicaId::new(NodeAt(at).to_string()).expect("a letter is an id");
            let replica_config = ReplicaConfig {
                replica: id.clone(),
                workers: setup.workers,
                heartbeat: setup.heartbeat(),
                poll_interval: setup.poll_interval,
            };
            let config = HubConfig {
                replica: id.clone(),
                relays: setup.replicas > 1,
                lease_ttl: setup.lease_ttl,
                episode_bytes_max: setup.episode_bytes_max,
                tool_steps_max: 4,
            };
            Hashed::new(Node {
                row: Node::row_at(&id, 0),
                id,
                life: Life::Down,
                clock: Clock::default(),
                drain: Drain::default(),
                replica: Hashed::new(Replica::new(now, replica_config)),
                config: Arc::new(config),
                work_bus: false,
                hubs: Default::default(),
                operations: vec![],
                notices: VecDeque::new(),
                notices_held: false,
                may_work: true,
                amiss: false,
            })
        };
        let users = users(setup.users);
        let viewer = |at: u8| Viewer {
            name: ViewerAt(at).to_string().into(),
            chat: ChatAt(at % setup.chats.max(1)),
            caller: match at + setup.friends < setup.viewers {
                true => owner_of(&users, ChatAt(at % setup.chats.max(1))).clone(),
                false => friend_of(&users, ChatAt(at % setup.chats.max(1))),
            },
            stream: None,
            cursor: None,
            memory: Memory::of(Begin::Fresh),
            over: false,
            stalled: false,
        };
        let mut rows = Rows::new(setup.lease_ttl);
        rows.set_tail_messages_max(setup.tail_messages_max);
        let state = State {
            now,
            rows: Hashed::new(rows),
            nodes: (0..setup.replicas).map(node).collect(),
            viewers: (0..setup.viewers).map(viewer).collect(),
            asks: Hashed::new(vec![]),
            strays: VecDeque::new(),
            budget: setup.budget,
            runs: Label(0),
            streams: Label(0),
            entropy: Label(0),
            stuck: 0,
        };
        let mut world = Self {
            setup: Arc::new(setup),
            users,
            state,
            judge,
            work: VecDeque::new(),
            working: false,
            laws: false,
            guest: None,
            joined: JoinedParts::default(),
            trace: None,
            testimony,
        };
        world.observe(Evidence::Settings(Settings {
            lease_ttl: setup.lease_ttl,
            poll_interval: setup.poll_interval,
            workers: setup.workers,
            episode_bytes_max: setup.episode_bytes_max,
            // A replica may be told at any time to wait no longer.
            drain_timeout: Duration::ZERO,
            tool_timeout: TOOL_TIMEOUT,
        }));
        for at in 0..setup.replicas {
            world.start(NodeAt(at), false);
        }
        world.settle();
        for at in (0..setup.chats).filter(|_| !setup.empty) {
            world.create(NodeAt(0), ChatAt(at));
        }
        world
    }

    /// Keeps lines of what happens from now on. What is told is held to the laws as well.
    pub(crate) fn keep(&mut self, trace: Trace) {
        self.keep_laws();
        self.trace = Some(trace);
    }

    /// The first guarantee that was broken.
    pub fn verdict(&self) -> Option<&Violation> {
        self.judge.verdict()
    }

    /// The judges.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    pub(crate) fn note(&self, told: Told, line: impl FnOnce() -> (String, String)) {
        if let Some(trace) = &self.trace {
            let (who, what) = line();
            trace.push(Line { at: self.state.now, told, who, what });
        }
    }

    pub(crate) fn observe(&mut self, evidence: Evidence) {
        let before = self.judge.found().len();
        self.testify(|now| Heard::Evidence(now, evidence.clone()));
        self.judge.observe(self.state.now, evidence);
        if self.judge.found().len() > before {
            let found = self.judge.found()[before].to_string();
            self.note(Told::Broken, || ("judge".into(), found));
        }
    }

    pub(crate) fn testify(&self, heard: impl FnOnce(Time) -> Heard) {
        if let Some(testimony) = &self.testimony {
            testimony.push(heard(self.state.now));
        }
    }

    pub(crate) fn node(&mut self, at: NodeAt) -> &mut Node {
        &mut self.state.nodes[usize::from(at.0)]
    }

    pub(crate) fn peek(&self, at: NodeAt) -> Option<&Node> {
        self.state.nodes.get(usize::from(at.0)).map(|node| &**node)
    }

    pub(crate) fn name(&self, at: NodeAt) -> Name {
        self.state.nodes[usize::from(at.0)].id.clone().into()
    }

    pub(crate) fn fault(&mut self, kind: FaultKind, who: Name, other: Option<Name>) {
        self.note(Told::Fault, || (who.to_string(), kind.to_string()));
        self.observe(Evidence::Fault { kind, who, other, chat: None });
    }

    pub(crate) fn next_run(&mut self) -> RunId {
        self.state.runs.0 += 1;
        RunId(self.state.runs.0)
    }

    pub(crate) fn next_stream(&mut self) -> StreamId {
        self.state.streams.0 += 1;
        StreamId(self.state.streams.0)
    }

    pub(crate) fn next_entropy(&mut self) -> u64 {
        self.state.entropy.0 = self.state.entropy.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.state.entropy.0
    }

    /// Carries on with what was asked for, in order, until there is nothing left that does not need time.
    pub fn settle(&mut self) {
        while let Some(choice) = self.first_urgent() {
            self.step(choice);
        }
    }

    pub(crate) fn lived(&mut self, node: NodeAt, life: Lived) {
        let replica = self.name(node);
        self.note(Told::Happened, || (replica.to_string(), format!("{life:?}").to_lowercase()));
        self.observe(Evidence::Lived { replica, life });
    }
}
