//! One replica: its hub of the chat, and what the driver holds on the hub's behalf.

use std::collections::{BTreeMap, VecDeque};

use mainstem_machine::{
    CachedVersions, ChatState, Command, DialId, Episode, FollowerId, GenerationId, Lease, MessageId, OpId,
    Page, Rejection, RelayFrame, RelayPosition, ReplicaId, Snapshot, Time, Version,
};
use std::sync::Arc;

use crate::told::Hub;

pub(crate) type Acceptance = Result<Arc<ChatState>, Rejection>;

/// A pending operation, with its result once the database has executed it.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    Bus { op: OpId },
    Snapshot { op: OpId, cached: Option<CachedVersions>, read: Option<Option<Snapshot>> },
    Page { op: OpId, after: MessageId, until: MessageId, read: Option<Option<Page>> },
    History { op: OpId, read: Option<Version> },
    Apply { op: OpId, command: Command, done: Option<Acceptance> },
}

impl Pending {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bus { .. } => "bus",
            Self::Snapshot { .. } => "snapshot",
            Self::Page { .. } => "page",
            Self::History { .. } => "history",
            Self::Apply { command, .. } => command.name(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    /// When the request that the database confirmed last was sent.
    pub(crate) confirmed_at: Time,
    /// The same, before the event that is being handled.
    pub(crate) was_confirmed_at: Time,
    pub(crate) handing_over: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) generation: GenerationId,
    pub(crate) episode: Episode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Dialing,
    Following,
    /// Closed by the hub, or broken. Frames in flight still arrive.
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Frame(RelayFrame),
    End,
}

/// A dial, and then the relay.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) dial: DialId,
    pub(crate) peer: usize,
    pub(crate) position: Option<RelayPosition>,
    pub(crate) link: Link,
    /// The follower's id at the worker's hub, if the worker is a hub.
    pub(crate) follower: Option<FollowerId>,
    /// At the rival: the episode it sent last, and how many parts of it.
    pub(crate) sent: Option<(Episode, usize)>,
    pub(crate) under_way: VecDeque<Sent>,
    /// The worker's hub had no frame for it, and it waits for news.
    pub(crate) idle: bool,
    pub(crate) asked_to_close: bool,
    /// The worker's lease, as the hub knew it when it dialed.
    pub(crate) lease: Lease,
    /// It has carried a frame that a correct worker would not send.
    pub(crate) spoiled: bool,
}

impl Connection {
    pub(crate) fn new(dial: DialId, peer: usize, position: Option<RelayPosition>, lease: Lease) -> Self {
        let (follower, sent, under_way) = (None, None, VecDeque::new());
        let (link, idle, asked_to_close) = (Link::Dialing, false, false);
        let spoiled = false;
        Self { dial, peer, position, link, follower, sent, under_way, idle, asked_to_close, lease, spoiled }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: ReplicaId,
    pub(crate) hub: Option<Hub>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) established: bool,
    /// A hint was lost since the subscription was established.
    pub(crate) missed: bool,
    pub(crate) hints: Vec<Version>,
    pub(crate) held: Option<Held>,
    pub(crate) acquired: Option<(Arc<ChatState>, Time, bool)>,
    pub(crate) heartbeats: Vec<(Lease, Time)>,
    /// What is at hand, by the operation that loaded it.
    pub(crate) histories: BTreeMap<OpId, Version>,
    pub(crate) model: Option<Model>,
    /// The current part exceeds the maximum size of an answer.
    pub(crate) outgrown: bool,
    pub(crate) cancelled: Vec<GenerationId>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) last_id: u64,
}

impl Node {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: ReplicaId::new(id).expect("a replica's id"),
            hub: None,
            pending: Vec::new(),
            established: false,
            missed: false,
            hints: Vec::new(),
            held: None,
            acquired: None,
            heartbeats: Vec::new(),
            histories: BTreeMap::new(),
            model: None,
            outgrown: false,
            cancelled: Vec::new(),
            connections: Vec::new(),
            last_id: 0,
        }
    }

    /// Drops everything that belonged to the hub.
    pub(crate) fn forget_hub(&mut self) {
        let (held, acquired) = (self.held.take(), self.acquired.take());
        *self = Self { held, acquired, last_id: self.last_id, ..Self::new(self.id.as_str()) };
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.connections.iter().filter(|connection| connection.link != Link::Closed).count()
    }
}
