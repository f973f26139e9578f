//! The state machines that take every decision of Mainstem, without IO.
//!
//! Events go in together with the current time, actions come out, and the driver asks for the next deadline.
//! Nothing here reads a clock, opens a socket, spawns a task or draws a random number: the crate is `no_std`,
//! so none of these can even be named.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod announce;
mod answer;
mod applied;
pub mod backoff;
mod block;
mod bus_subscription;
mod calls;
mod chat;
mod command;
mod compare;
mod content;
mod cursor;
mod draft;
pub mod drain;
pub mod history;
pub mod hub;
mod ids;
pub mod limits;
pub mod marks;
mod message;
mod new_message;
mod next_row;
mod peers;
mod reads;
mod record;
pub mod replica;
mod settings;
mod share;
pub mod store;
mod stream;
mod time;
mod transition;
mod turn;

pub use applied::{Accepted, Answer, Appended, Applied, Change, Effect, LeaseTerm, Rejection};
pub use block::{Block, Call, Part};
pub use calls::{CallResult, Carrier, OpenCall};
pub use chat::{ChatState, Retry, RunError, Status};
pub use command::{Command, Fence, Found, Known, SendMode, Sought, StoreFacts};
pub use compare::{Decision, KnownRow, Write};
pub use content::{Content, ContentError};
pub use cursor::{BadCursor, Cursor, Fingerprint, PreviewPosition, PreviewProgress};
pub use ids::{
    ChatId, DialId, Episode, FollowerId, GenerationId, Lease, MessageId, OpId, ReplicaId, ReplicaIdError,
    Seq, SubscriptionId, Version,
};
pub use message::{Completion, FinishReason, Message, QueuedMessage, Role, Usage};
pub use new_message::{HistoryError, NewMessage};
pub use next_row::NextRow;
pub use reads::{CachedVersions, Page, Snapshot, Tail};
pub use record::{AnswerRecord, Keep};
pub use settings::{NewSettings, Offered, Prompt, Settings, Tool};
pub use share::{Access, Share, Standing};
pub use stream::{Body, Ending, RelayFault, RelayFrame, RelayPosition, ResetReason, Resume, StreamEvent};
pub use time::{Time, WallTime};
pub use turn::{Turn, TurnStatus};
