//! One replica: its machines, and everything that is open on their behalf. What the driver of the product keeps in
//! tasks is plain data here.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use mainstem_machine::announce::Notice;
use mainstem_machine::drain::Drain;
use mainstem_machine::hub::{Hub, HubConfig};
use mainstem_machine::replica::{Heartbeat, Replica, SyncResult};
use mainstem_machine::store::{ReplicaRow, Request};
use mainstem_machine::{
    Accepted, Appended, CachedVersions, ChatId, ChatState, DialId, Episode, FollowerId, GenerationId, Lease,
    Message, MessageId, NextRow, OpId, Page, Rejection, RelayFrame, RelayPosition, ReplicaId, Snapshot, Time,
    Version,
};
use mainstem_oracles::RunId;

use crate::choice::{ChatAt, Kind, NodeAt};
use crate::clock::Clock;
use crate::hashed::Hashed;
use crate::tools::Call;

/// A name that says nothing of how things stand: states that differ only in it are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label<T>(pub(crate) T);

impl<T> PartialEq for Label<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Label<T> {}

impl<T> Hash for Label<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A history that was loaded for a model: its version says which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Loaded {
    pub(crate) version: Version,
    pub(crate) history: Label<Arc<[Arc<Message>]>>,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Life {
    Up,
    Paused,
    Down,
    /// It does not start again.
    Lost,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) id: ReplicaId,
    /// As which its process is known to the others.
    pub(crate) row: Arc<ReplicaRow>,
    pub(crate) life: Life,
    pub(crate) clock: Clock,
    pub(crate) drain: Drain,
    pub(crate) replica: Hashed<Replica>,
    pub(crate) config: Arc<HubConfig>,
    /// Notices of work come.
    pub(crate) work_bus: bool,
    pub(crate) hubs: BTreeMap<ChatAt, Hashed<Open>>,
    pub(crate) operations: Vec<Operation>,
    /// Notices on their way here, and whether they take their time.
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) notices_held: bool,
    /// It may take up chats.
    pub(crate) may_work: bool,
    /// It has another secret than its peers.
    pub(crate) amiss: bool,
}

/// A hub, and what is open on its behalf.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub(crate) hub: Hub,
    /// Notices of the chat come.
    pub(crate) bus: bool,
    pub(crate) link: Option<Link>,
    /// The histories at hand, by the operations that loaded them.
    pub(crate) histories: BTreeMap<OpId, Loaded>,
    pub(crate) model: Option<Model>,
    /// What tools carry out, oldest first.
    pub(crate) calls: Vec<Call>,
    /// The lease under which the hub has a runner.
    pub(crate) assigned: Option<Lease>,
    /// The last id of a viewer or follower.
    pub(crate) last_id: Label<u64>,
}

/// The follower's end of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) dial: DialId,
    pub(crate) worker: Option<NodeAt>,
    pub(crate) stage: LinkStage,
    /// On their way here.
    pub(crate) frames: VecDeque<RelayFrame>,
    /// The worker had nothing to say, and has no news since.
    pub(crate) idle: bool,
    /// It takes its time.
    pub(crate) held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LinkStage {
    Dialing(Option<RelayPosition>),
    Following(Label<FollowerId>),
    /// The worker has closed it, or is gone.
    Over,
}

/// A model's run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Model {
    pub(crate) generation: GenerationId,
    pub(crate) run: Label<RunId>,
    pub(crate) episode: Episode,
    pub(crate) parts: u64,
}

/// An operation in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operation {
    pub(crate) chat: Option<ChatAt>,
    pub(crate) op: OpId,
    pub(crate) task: Task,
    pub(crate) asked: Time,
    pub(crate) stage: Stage,
    /// It takes its time.
    pub(crate) held: bool,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    Bus,
    Snapshot(Option<CachedVersions>),
    Page {
        after: MessageId,
        until: MessageId,
    },
    History,
    Apply(Request),
    Sync {
        /// The chats of the open hubs, each with the version that its hub knew.
        asked: Vec<(ChatId, Version)>,
        runnable_max: usize,
    },
    Acquire(Request),
    Heartbeat(Vec<(ChatId, Lease)>),
    /// A heartbeat that renews nothing.
    LookUp,
    Publish(Notice),
    /// A user's request, by its place among all.
    User(usize, Request),
}

impl Task {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Bus => Kind::Bus,
            Self::Snapshot(_) => Kind::Snapshot,
            Self::Page { .. } => Kind::Page,
            Self::History => Kind::History,
            Self::Apply(_) => Kind::Apply,
            Self::Sync { .. } => Kind::Sync,
            Self::Acquire(_) => Kind::Acquire,
            Self::Heartbeat(_) | Self::LookUp => Kind::Heartbeat,
            Self::Publish(_) => Kind::Publish,
            Self::User(..) => Kind::Request,
        }
    }

    /// Whether it changes the database.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Apply(_) | Self::Acquire(_) | Self::Heartbeat(_) | Self::LookUp | Self::User(..))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Asked,
    /// It happened, and this is the answer, which takes its time.
    Happened(Box<Reply>),
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Bus,
    Snapshot(Option<Snapshot>),
    Page(Option<Page>),
    History(Option<Loaded>),
    /// What the caller is told, the row after a change, what was appended to the history, what was made of the row before if
    /// that is all, whether the chat is gone with it, and whether there was a record.
    Applied {
        answer: Result<Accepted, Rejection>,
        state: Option<Arc<ChatState>>,
        appended: Option<Appended>,
        next_row: Option<Box<NextRow>>,
        deleted: bool,
        replayed: bool,
    },
    Sync(SyncResult),
    Heartbeat(Heartbeat),
    Published,
}

impl Node {
    /// Its entry in the table of members, at one of its two places.
    pub(crate) fn row_at(id: &ReplicaId, place: u8) -> Arc<ReplicaRow> {
        // A process that has died never beats again here, so names are not contended for.
        Arc::new(ReplicaRow { replica: id.clone(), address: format!("{id}:{place}"), incarnation: 0 })
    }

    /// Whether there is a process.
    pub(crate) fn is_there(&self) -> bool {
        matches!(self.life, Life::Up | Life::Paused)
    }

    /// Whether it does anything now.
    pub(crate) fn is_up(&self) -> bool {
        self.life == Life::Up
    }

    /// The first operation of this kind that does, or does not, take its time.
    pub(crate) fn find(&self, chat: Option<ChatAt>, kind: Kind, held: bool) -> Option<usize> {
        self.operations.iter().position(|operation| {
            operation.held == held && operation.chat == chat && operation.task.kind() == kind
        })
    }
}

impl Open {
    pub(crate) fn new(now: Time, config: Arc<HubConfig>) -> Self {
        let hub = Hub::new(now, config);
        Self {
            hub,
            bus: false,
            link: None,
            histories: BTreeMap::new(),
            model: None,
            calls: vec![],
            assigned: None,
            last_id: Label(0),
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id.0 += 1;
        self.last_id.0
    }
}
