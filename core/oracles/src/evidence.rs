//! The evidence, passed in as it happens: what the database committed, what models produced, what was sent
//! and received, what was requested and answered, which replicas were up, and which faults were in force.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Accepted, Block, CallResult, ChatId, ChatState, Command, Completion, Cursor, Episode, Lease, Message,
    MessageId, ReplicaId, StreamEvent, Time, Turn, Version,
};

use crate::FaultKind;

/// The name of a replica, a client or a user.
pub type Name = Arc<str>;

/// One run of a model. Chosen by the observer, and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub usize);

/// One stream, from the request to its end. Chosen by the observer, and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// The settings of the run. Comes first.
    Settings(Settings),
    Committed(Box<Committed>),
    /// The database renewed a lease. The replica had asked at `sent`.
    Confirmed {
        replica: ReplicaId,
        chat: ChatId,
        lease: Lease,
        sent: Time,
    },
    /// The replica received that confirmation.
    Assured {
        replica: ReplicaId,
        chat: ChatId,
        lease: Lease,
        sent: Time,
    },
    /// The replica received the recorded answer of an earlier request.
    Replayed {
        replica: Name,
        chat: ChatId,
    },
    Announced {
        replica: Name,
        chat: ChatId,
        version: Version,
    },
    /// The replica started an operation on the database or the bus.
    Operated {
        replica: Name,
        what: Operation,
    },
    /// `from` dials `to`.
    Dialed {
        from: Name,
        to: Name,
    },
    /// From now on, `to` rejects the credentials of `from`.
    Denies {
        from: Name,
        to: Name,
    },

    RunStarted {
        run: RunId,
        replica: ReplicaId,
        chat: ChatId,
        episode: Episode,
    },
    /// A model was given this history, oldest first.
    Prompted {
        run: RunId,
        history: Arc<[Arc<Message>]>,
    },
    /// The replica received this from its model: a piece of the block before it, or of one that it begins.
    RunSaid {
        run: RunId,
        begins: Option<Block>,
        text: String,
    },
    RunEnded {
        run: RunId,
        how: RunEnd,
    },

    /// A replica has a tool of the server begin with a call: of the history that ends with it.
    CallBegun {
        replica: Name,
        chat: ChatId,
        of: Version,
        call: Arc<str>,
        /// Whether its tool may be begun again.
        is_repeatable: bool,
    },
    /// A call came to its end, and whoever carries it out is told so.
    CallReturned {
        replica: Name,
        chat: ChatId,
        of: Version,
        call: Arc<str>,
        result: CallResult,
    },

    /// A viewer requests a stream. Streams of one viewer and chat come one after the other.
    Watches {
        stream: StreamId,
        viewer: Name,
        caller: Name,
        chat: ChatId,
        on: Name,
        from: Begin,
    },
    /// The replica's edge wrote the event to the socket.
    Sent {
        stream: StreamId,
        event: StreamEvent,
    },
    /// The client received the event.
    Saw {
        stream: StreamId,
        event: StreamEvent,
    },
    StreamEnded {
        stream: StreamId,
        how: StreamEnd,
    },

    /// A user sends a request under an idempotency key, for the first time or again after a lost answer.
    /// `text`: the content of the message. `on`: the replica that is asked.
    Asked {
        caller: Name,
        key: Name,
        chat: ChatId,
        on: Name,
        text: Option<String>,
        /// It has an idempotency key, so a refusal is kept. What a client calls a message says only that it was sent.
        keyed: bool,
    },
    Answered {
        caller: Name,
        key: Name,
        chat: ChatId,
        answer: Answer,
    },
    /// The answer to a request without a key was lost. It is not asked again: it may have happened or not.
    Unanswered {
        caller: Name,
        key: Name,
        chat: ChatId,
    },

    Lived {
        replica: Name,
        life: Life,
    },
    /// Whether the replica may acquire chats.
    MayWork {
        replica: Name,
        may: bool,
    },
    /// A fault took effect, or is in force from now on. It affects `who`, or the link from `who` to `other`; if it
    /// names a chat, only what is done there for that chat.
    Fault {
        kind: FaultKind,
        who: Name,
        other: Option<Name>,
        chat: Option<ChatId>,
    },
    /// That fault is over: it was taken away, or the operation that it struck was answered.
    FaultOver {
        kind: FaultKind,
        who: Name,
        other: Option<Name>,
        chat: Option<ChatId>,
    },
    /// The rate of the replica's clock differs by this many thousandths.
    Drifts {
        replica: Name,
        per_mille: u32,
    },
    /// All faults were cleared.
    FaultsCleared,
    /// The measured size of something that has a bound (B1).
    Measured {
        what: &'static str,
        value: u64,
        max: u64,
    },
}

/// The settings that all replicas of a run share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub lease_ttl: Duration,
    pub poll_interval: Duration,
    pub workers: usize,
    pub episode_bytes_max: usize,
    /// How long a replica that drains lets runs go on; zero if it may end that wait at any time.
    pub drain_timeout: Duration,
    /// After this, a call of a server's tool has failed.
    pub tool_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (lease_ttl, poll_interval) = (Duration::from_secs(15), Duration::from_secs(5));
        let (drain_timeout, tool_timeout) = (Duration::from_secs(10), Duration::from_secs(120));
        let episode_bytes_max = 8 << 20;
        Self { lease_ttl, poll_interval, workers: 64, episode_bytes_max, drain_timeout, tool_timeout }
    }
}

/// One accepted change.
#[derive(Clone, Debug)]
pub struct Committed {
    pub chat: ChatId,
    /// The replica that sent the command, and when.
    pub by: Name,
    pub asked: Time,
    /// The user on whose behalf; `None` for the replica itself.
    pub caller: Option<Name>,
    pub key: Option<Name>,
    pub command: Command,
    /// The state after the change.
    pub state: Arc<ChatState>,
    pub deleted: bool,
    pub cut_from: Option<MessageId>,
    pub inserted: Vec<Message>,
    /// The turns that ended with it.
    pub ended: Vec<Turn>,
    pub accepted: Accepted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Database,
    Bus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunEnd {
    /// It said that the answer is complete, and what else it said of it.
    Done(Completion),
    Failed,
    /// The replica cancelled the run.
    Cancelled,
}

/// Where the requested stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Begin {
    Fresh,
    /// The viewer has the messages up to this one.
    After(MessageId),
    /// Where an earlier stream of this viewer ended.
    At(Cursor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamEnd {
    /// The chat was deleted.
    Deleted,
    /// The viewer was told that the chat is not shared with it any more.
    Unshared,
    /// The replica asked the viewer to resume at another one.
    Leaving,
    /// The request was rejected.
    Refused,
    /// The connection broke, or the viewer left.
    Broken,
}

#[expect(clippy::large_enum_variant, reason = "few are kept, and most are accepted")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted(Accepted),
    /// Rejected for good.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    Up,
    /// The process died.
    Crashed,
    /// The machine vanished without closing its connections.
    Vanished,
    Paused,
    Resumed,
    Draining,
}

/// The id that the user's message got.
pub(crate) fn taken_as(accepted: &Accepted) -> Option<MessageId> {
    match accepted {
        Accepted::Chat(state) => Some(state.last_id),
        Accepted::Sent { message: Some(message), .. } => Some(message.id),
        Accepted::Sent { queued, .. } => queued.as_ref().map(|queued| queued.id),
        Accepted::Found(_) | Accepted::Gone => None,
    }
}
