//! The actions that a hub asks for, and when a machine wants to be woken.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::replica::ReplicaEvent;
use crate::{
    CachedVersions, Command, DialId, Episode, GenerationId, Message, MessageId, OpId, Prompt, RelayPosition,
    ReplicaId, Time, Version,
};

/// What a hub asks for. Each operation is answered by the event that names its `op`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HubAction {
    /// Subscribe to the chat's notices. Answered by [`BusEvent::Subscribed`](super::BusEvent::Subscribed).
    BusSubscribe {
        /// Names the operation.
        op: OpId,
    },
    /// The subscription is of no use any more.
    BusUnsubscribe,
    /// Read the chat. Answered by [`DatabaseEvent::SnapshotRead`](super::DatabaseEvent::SnapshotRead).
    ReadSnapshot {
        /// Names the operation.
        op: OpId,
        /// What the hub has already and need not be sent again.
        cached: Option<CachedVersions>,
    },
    /// The messages after `after`, up to and with `until`, as many as fit a page.
    ReadPage {
        /// Names the operation.
        op: OpId,
        /// The messages after this one.
        after: MessageId,
        /// Up to and with this one.
        until: MessageId,
    },
    /// Read the whole history, all of one version (as [`HistoryLoad`](crate::history::HistoryLoad) does), and keep it
    /// at hand for a `Start` that names this operation, until a `DropHistory` does.
    LoadHistory {
        /// Names the operation.
        op: OpId,
    },
    /// Keep this history at hand, as if this operation had loaded it: the hub has all of it. It is not answered.
    KeepHistory {
        /// Names it.
        op: OpId,
        /// Of the history.
        version: Version,
        /// Its messages, oldest first.
        messages: Vec<Arc<Message>>,
    },
    /// What this operation loaded is of no use any more.
    DropHistory {
        /// The operation that loaded it.
        op: OpId,
    },
    /// Apply a command and commit it. Answered by [`DatabaseEvent::Applied`](super::DatabaseEvent::Applied).
    Apply {
        /// Names the operation.
        op: OpId,
        /// The command.
        command: Command,
    },
    /// Follow what `worker` generates. Answered by `Dialed` or `RelayGone`, unless closed before.
    Dial {
        /// Names the dial, and the relay that comes of it.
        dial: DialId,
        /// Whom to dial.
        worker: ReplicaId,
        /// Where its relay is reached.
        address: Arc<str>,
        /// What the hub has already.
        position: Option<RelayPosition>,
    },
    /// Abort the dial or the relay. No more of its events are delivered.
    CloseDial {
        /// Which one.
        dial: DialId,
    },
    /// Run the model over the history that `history` loaded.
    Start {
        /// Names the run.
        generation: GenerationId,
        /// What the run generates.
        episode: Episode,
        /// What the model is asked with.
        prompt: Prompt,
        /// The operation that loaded the history.
        history: OpId,
    },
    /// Stop the model's run. Nothing of it is told any more.
    Cancel {
        /// Which run.
        generation: GenerationId,
    },
    /// Have a tool of the server carry out a call. Answered by [`ToolEvent::Returned`](super::ToolEvent::Returned), in
    /// bounded time, whatever the tool does.
    Call {
        /// Names the operation.
        op: OpId,
        /// The user's message whose turn the call is of.
        turn: MessageId,
        /// The version of the history that ends with the call.
        of: Version,
        /// The model's name for the call.
        id: Arc<str>,
        /// The tool's name.
        name: Arc<str>,
        /// JSON text on one line.
        input: Arc<str>,
        /// A worker that does not know what became of it begins it again: only a repeatable tool may get it.
        is_repeatable: bool,
    },
    /// Nobody waits for this call any more. Nothing of it is told, unless it is on its way.
    GiveUpCall {
        /// The operation that is of no use.
        op: OpId,
    },
    /// Tell this replica's own machine.
    ToReplica(ReplicaEvent),
}

/// Why a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// To subscribe to the bus again, or to wait no longer for the answer.
    BusRetry,
    /// To try a read again.
    ReadRetry,
    /// A dial was not answered in time.
    DialTimeout,
    /// To dial again.
    DialRetry,
    /// To go on after an operation that failed.
    RunnerRetry,
    /// The next attempt of a failed generation is due.
    GenerationRetry,
    /// The lease expires by this replica's own clock.
    LeaseRunsOut,
    /// An episode that has ended need not be kept any longer.
    EpisodeRetention,
    /// Nobody has cared for the hub for a while.
    HubRetention,
    /// Leases are to be renewed, or a heartbeat's answer is overdue.
    Heartbeat,
    /// The periodic sync is due, or its answer is overdue.
    Sync,
    /// To acquire again after a failure.
    AcquireRetry,
}

/// When a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline {
    /// When.
    pub at: Time,
    /// Why.
    pub reason: Reason,
}
