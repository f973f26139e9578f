//! The evidence, handed in as it happens: what the database committed, what models produced, what was told
//! and read, what was asked and answered, who lived and what was in the way.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Accepted, ChatId, ChatState, Command, Completion, Cursor, Episode, Lease, Message, MessageId, ReplicaId,
    StreamEvent, Time, Version,
};

/// A replica, a client, or a user, by name.
pub type Name = Arc<str>;

/// One run of a model; chosen by whoever observes, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub usize);

/// One stream, from asking for it to its end; chosen by whoever observes, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// What the run is about; before everything else.
    Settings(Settings),
    Committed(Box<Committed>),
    /// The database prolonged a lease; the replica had asked at `sent`.
    Confirmed {
        replica: ReplicaId,
        chat: ChatId,
        lease: Lease,
        sent: Time,
    },
    /// The replica has been told so.
    Assured {
        replica: ReplicaId,
        chat: ChatId,
        lease: Lease,
        sent: Time,
    },
    /// The replica was told what had been answered to a request before.
    Replayed {
        replica: Name,
        chat: ChatId,
    },
    Announced {
        replica: Name,
        chat: ChatId,
        version: Version,
    },
    /// The replica turned to the world outside.
    Operated {
        replica: Name,
        what: Operation,
    },
    /// `from` dials `to`.
    Dialed {
        from: Name,
        to: Name,
    },
    /// From now on `to` does not take the credentials of `from`.
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
    /// The replica took this from its model.
    RunSaid {
        run: RunId,
        text: String,
    },
    RunEnded {
        run: RunId,
        how: RunEnd,
    },

    /// A viewer asks for a stream. Those of one viewer and chat follow one another.
    Watches {
        stream: StreamId,
        viewer: Name,
        caller: Name,
        chat: ChatId,
        on: Name,
        from: Begin,
    },
    /// The replica's edge gave it to the socket.
    Sent {
        stream: StreamId,
        event: StreamEvent,
    },
    /// The client read it.
    Saw {
        stream: StreamId,
        event: StreamEvent,
    },
    StreamEnded {
        stream: StreamId,
        how: StreamEnd,
    },

    /// A user asks for something under a key; again, if the answer was lost. `text`: what is to be said.
    Asked {
        caller: Name,
        key: Name,
        chat: ChatId,
        text: Option<String>,
    },
    Answered {
        caller: Name,
        key: Name,
        chat: ChatId,
        answer: Answer,
    },

    Lived {
        replica: Name,
        life: Life,
    },
    /// Whether the replica may take up chats.
    MayWork {
        replica: Name,
        may: bool,
    },
    /// A fault took effect, or is in force from now on. It touches `who`, or the link from there to `other`.
    Fault {
        kind: &'static str,
        who: Name,
        other: Option<Name>,
    },
    /// The replica's clock differs by so many in a thousand.
    Drifts {
        replica: Name,
        per_mille: u32,
    },
    /// No fault is in force any more.
    FaultsCleared,
    /// Something that has a stated bound was as large as this (B1).
    Measured {
        what: &'static str,
        value: u64,
        max: u64,
    },
}

/// What all replicas of a run are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub lease_ttl: Duration,
    pub poll_interval: Duration,
    pub workers: usize,
    pub episode_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let (lease_ttl, poll_interval) = (Duration::from_secs(15), Duration::from_secs(5));
        Self { lease_ttl, poll_interval, workers: 64, episode_bytes_max: 8 << 20 }
    }
}

/// One accepted change.
#[derive(Clone, Debug)]
pub struct Committed {
    pub chat: ChatId,
    /// The replica that asked, and when it did.
    pub by: Name,
    pub asked: Time,
    /// The user it asked for; `None`: it asked for itself.
    pub caller: Option<Name>,
    pub key: Option<Name>,
    pub command: Command,
    /// After it.
    pub state: Arc<ChatState>,
    pub deleted: bool,
    pub cut_from: Option<MessageId>,
    pub inserted: Vec<Message>,
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
    /// Its replica wants no more of it.
    Cancelled,
}

/// Where a stream was asked to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Fresh,
    /// With the messages up to this one.
    After(MessageId),
    /// Where an earlier stream of this viewer stopped.
    At(Cursor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamEnd {
    /// The chat was deleted.
    Deleted,
    /// The replica sent the viewer elsewhere.
    Leaving,
    /// The viewer may not, or not now.
    Refused,
    /// The connection broke, or the viewer left.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted(Accepted),
    /// For good.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    Up,
    /// Its process is gone.
    Crashed,
    /// Its machine is gone: nobody is told.
    Vanished,
    Paused,
    Resumed,
    Draining,
}

/// The id under which what the user said was taken.
pub(crate) fn taken_as(accepted: &Accepted) -> Option<MessageId> {
    match accepted {
        Accepted::Chat(state) => Some(state.last_id),
        Accepted::Sent { message: Some(message), .. } => Some(message.id),
        Accepted::Sent { queued, .. } => queued.as_ref().map(|queued| queued.id),
        Accepted::Gone => None,
    }
}
