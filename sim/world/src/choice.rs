//! The choices of the world: whatever may happen next, each under a name that stays the same however a run came
//! there. A choice that is not possible does nothing, so every list of choices is a run.

mod words;

use std::time::Duration;

use mainstem_machine::{Access, MessageId, SendMode};

pub use words::NotAChoice;

/// A replica, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAt(pub u8);

/// A chat, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChatAt(pub u8);

/// A viewer, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerAt(pub u8);

/// A kind of operation. Of each kind, a machine's first one that does not take its time is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A hub, or the replica, subscribes to the bus.
    Bus,
    /// A hub reads the chat.
    Snapshot,
    /// A hub reads older messages.
    Page,
    /// A hub reads the whole history.
    History,
    /// A runner writes.
    Apply,
    /// A replica looks for work and news.
    Sync,
    /// A replica acquires a chat.
    Acquire,
    /// A replica renews its leases.
    Heartbeat,
    /// A notice goes to the bus.
    Publish,
    /// A user's request.
    Request,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// It happens, and its answer comes.
    Carry,
    /// It happens, and its answer takes its time.
    Happen,
    /// It takes its time.
    Hold,
    /// The first one that takes its time goes on: it happens, if it has not yet, and its answer comes.
    Late,
    /// It does not happen, and whoever asked is told.
    Refuse,
    /// It may happen later, and whoever asked is told that nobody knows.
    LoseRequest,
    /// It happens, and whoever asked is told that nobody knows.
    LoseAnswer,
}

/// Where a viewer's stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum From {
    /// With nothing.
    Fresh,
    /// Where its last one ended.
    Newest,
    /// After the last message that it has.
    Message,
    /// After a message that it has, this many before the last.
    Before(u8),
    /// After this message, whether it has it or not.
    After(MessageId),
    /// After a message that was there and is not any more.
    Gone,
    /// After a message that never was.
    Never,
    /// Where it was this many events ago, with what it had seen then.
    Back(u16),
    /// In a future that the database does not know, as after it was restored from a backup.
    Future,
    /// Likewise, with more messages.
    FutureMessages,
}

impl From {
    /// Whether it is something else than what the viewer has, or nothing.
    pub(crate) fn is_a_claim(self) -> bool {
        !matches!(self, Self::Fresh | Self::Newest | Self::Message)
    }
}

/// What a user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// Says something.
    Send(SendMode),
    /// Says something else instead of the last message of a user.
    Edit,
    /// Has the last message of a user answered again.
    Regenerate(SendMode),
    /// Has the message of a user before that answered again, whatever runs.
    RegenerateEarlier,
    /// Stops what runs.
    Interrupt,
    /// Takes the last message of the queue first.
    Promote,
    /// Takes the first message out of the queue.
    DeleteQueued,
    /// Answers the calls that wait for the client.
    Answer,
    /// Deletes the chat.
    Delete,
    /// Shares the chat with another user.
    Share(Access),
    /// Takes it from that user again.
    Unshare,
    /// Says something else instead of this message.
    EditThis(MessageId),
    /// Has this message answered again.
    RegenerateThis(MessageId, SendMode),
    /// Takes this message of the queue first.
    PromoteThis(MessageId),
    /// Takes this message out of the queue.
    DeleteThisQueued(MessageId),
}

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// Something becomes of the first operation of this kind.
    Operation {
        /// Whose.
        node: NodeAt,
        /// About which chat, if it is about one.
        chat: Option<ChatAt>,
        /// Which.
        kind: Kind,
        /// What.
        how: How,
    },
    /// The first operation that nobody waits for any more happens.
    Stray,
    /// The first notice to a replica comes.
    Notice(NodeAt),
    /// The first notice to a replica is lost.
    LoseNotice(NodeAt),
    /// The first notice to a replica comes, and comes again.
    RepeatNotice(NodeAt),
    /// Notices to a replica take their time.
    HoldNotices(NodeAt),
    /// A replica's connection to the bus breaks.
    BreakBus(NodeAt),
    /// A replica's dial for a chat is answered.
    AnswerDial(NodeAt, ChatAt),
    /// A replica takes the next frame of the relay for a chat.
    Relay(NodeAt, ChatAt),
    /// The link for a chat takes its time.
    HoldLink(NodeAt, ChatAt),
    /// The link for a chat breaks.
    BreakLink(NodeAt, ChatAt),
    /// A model says a part.
    Say(NodeAt, ChatAt),
    /// A model says more than fits one part.
    SayMuch(NodeAt, ChatAt),
    /// A model says many parts at once.
    SayMany(NodeAt, ChatAt),
    /// A model ends its answer.
    Finish(NodeAt, ChatAt),
    /// A model fails; another attempt may go better.
    Fail(NodeAt, ChatAt),
    /// A model fails, and asks to be left alone for so long.
    FailFor(NodeAt, ChatAt, Duration),
    /// A model fails for good.
    FailForGood(NodeAt, ChatAt),
    /// The first of the calls that a replica carries out for a chat comes to its end.
    Return(NodeAt, ChatAt),
    /// The last of them does.
    ReturnLast(NodeAt, ChatAt),
    /// The first of them fails.
    FailCall(NodeAt, ChatAt),
    /// A viewer begins a stream.
    Watch(ViewerAt, NodeAt, From),
    /// A viewer that has seen nothing comes to have what the first one has.
    Share(ViewerAt, ViewerAt),
    /// A viewer is sent the next event, and reads it.
    Read(ViewerAt),
    /// A viewer is sent the next event, which is lost with its stream.
    Lose(ViewerAt),
    /// A viewer leaves.
    Leave(ViewerAt),
    /// A viewer stops reading.
    Stall(ViewerAt),
    /// A user asks for something, at a replica.
    Ask(NodeAt, ChatAt, Order),
    /// A user asks for something without a key, at a replica, and does not ask again.
    AskOnce(NodeAt, ChatAt, Order),
    /// A user asks for the same in each chat at the same moment, in every other one without a key.
    AskEach(NodeAt, Order),
    /// A user sends the last request again under its key, at a replica, whatever became of it.
    Repeat(NodeAt),
    /// Somebody asks for something in a chat of another user, at a replica.
    Try(NodeAt, ChatAt, Order),
    /// Somebody sends the last request of another user under its key, at a replica.
    Steal(NodeAt),
    /// Somebody asks to watch a chat of another user, at a replica.
    Peep(NodeAt, ChatAt),
    /// A user creates a chat that is not there yet, with a message, at a replica.
    Create(NodeAt, ChatAt),
    /// A user asks again for the first thing that was not answered, at a replica.
    AskAgain(NodeAt),
    /// Time passes, until something is due.
    Pass,
    /// Time passes, until something is due, but no longer than this.
    PassAtMost(Duration),
    /// A replica may take up chats from now on.
    MayWork(NodeAt),
    /// A replica may take up no chat from now on.
    MayNotWork(NodeAt),
    /// A replica's process dies.
    Crash(NodeAt),
    /// A replica's process dies, and does not start again.
    Lost(NodeAt),
    /// A replica's process starts.
    Start(NodeAt),
    /// A replica's process starts with another secret than its peers, which deny it.
    StartAmiss(NodeAt),
    /// A replica stands still.
    Pause(NodeAt),
    /// A replica goes on.
    Resume(NodeAt),
    /// A replica's clock runs fast by this many thousandths from now on; slow if negative.
    Drift(NodeAt, i16),
    /// A replica begins to drain.
    Drain(NodeAt),
    /// A draining replica hands over what still runs.
    HandOver(NodeAt),
    /// A draining replica ends.
    Exit(NodeAt),
}

/// What kind of thing a choice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What was asked for goes on.
    Progress,
    /// What took its time, or stood still, goes on.
    Late,
    /// A model says something.
    Model,
    /// A user or viewer does something.
    User,
    /// Something takes its time.
    Delay,
    /// Something goes wrong.
    Fault,
    /// Time passes.
    Time,
}

impl Class {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Progress, Self::Late, Self::Model, Self::User, Self::Delay, Self::Fault, Self::Time];
}

impl Choice {
    /// What kind of thing it is, if nothing of it takes its time.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Operation { how: How::Carry, .. }
            | Self::Notice(_)
            | Self::AnswerDial(..)
            | Self::Relay(..)
            | Self::Read(_)
            | Self::Exit(_) => Class::Progress,
            Self::Operation { how: How::Late, .. } | Self::Start(_) | Self::Resume(_) => Class::Late,
            Self::Say(..)
            | Self::SayMuch(..)
            | Self::SayMany(..)
            | Self::Finish(..)
            | Self::Return(..)
            | Self::ReturnLast(..)
            | Self::FailCall(..) => Class::Model,
            Self::Watch(..)
            | Self::Leave(_)
            | Self::Share(..)
            | Self::Create(..)
            | Self::Ask(..)
            | Self::AskOnce(..)
            | Self::AskEach(..)
            | Self::AskAgain(_)
            | Self::Repeat(_)
            | Self::Try(..)
            | Self::Steal(_)
            | Self::Peep(..) => Class::User,
            Self::Operation { how: How::Happen | How::Hold, .. }
            | Self::HoldNotices(_)
            | Self::HoldLink(..)
            | Self::Stall(_) => Class::Delay,
            Self::Operation { how: How::Refuse | How::LoseRequest | How::LoseAnswer, .. }
            | Self::Stray
            | Self::LoseNotice(_)
            | Self::RepeatNotice(_)
            | Self::BreakBus(_)
            | Self::BreakLink(..)
            | Self::Fail(..)
            | Self::FailFor(..)
            | Self::FailForGood(..)
            | Self::Lose(_)
            | Self::Crash(_)
            | Self::Lost(_)
            | Self::Pause(_)
            | Self::Drift(..)
            | Self::StartAmiss(_)
            | Self::Drain(_)
            | Self::HandOver(_) => Class::Fault,
            Self::MayWork(_) | Self::MayNotWork(_) => Class::User,
            Self::Pass | Self::PassAtMost(_) => Class::Time,
        }
    }
}
