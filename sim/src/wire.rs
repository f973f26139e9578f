//! What simulated clients and replicas say to each other: one JSON object a line. The edge's meaning is the
//! product's; only its spelling here is our own.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mainstem_machine::{
    Accepted, Block, Body, ChatId, Cursor, Ending, Episode, Message, MessageId, OpenCall, QueuedMessage,
    ReplicaId, ResetReason, Resume, Retry, RunError, Seq, Status, StreamEvent, Version,
};
use mainstem_oracles::Begin;
pub use mainstem_story::Order;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::net::Stream;

/// One line is no longer than this (B1).
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a client asks, once per connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    Execute {
        by: String,
        chat: ChatId,
        order: Order,
        key: Option<String>,
    },
    /// `stream` is the client's name for it, for the judges.
    Subscribe {
        by: String,
        chat: ChatId,
        from: From,
        stream: u64,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum From {
    Fresh,
    After(MessageId),
    /// The cursor's bytes.
    At(Vec<u8>),
}

impl std::convert::From<Begin> for From {
    fn from(begin: Begin) -> Self {
        match begin {
            Begin::Fresh => Self::Fresh,
            Begin::After(id) => Self::After(id),
            Begin::At(cursor) => Self::At(cursor.to_bytes()),
        }
    }
}

impl From {
    pub fn into_resume(self) -> Option<Resume> {
        Some(match self {
            Self::Fresh => Resume::Fresh,
            Self::After(id) => Resume::After(id),
            Self::At(bytes) => Resume::At(Cursor::from_bytes(&bytes).ok()?),
        })
    }
}

/// What a replica answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    Accepted(Accepted),
    /// Refused for good.
    Rejected(String),
    /// Not now.
    Unavailable(String),
    Events(Vec<Event>),
    /// Nothing new, and the replica is there.
    Alive,
    /// The stream has ended.
    End(Ended),
}

impl Reply {
    pub fn end(ending: Ending) -> Self {
        Self::End(match ending {
            Ending::Deleted => Ended::Deleted,
            Ending::Unshared => Ended::Unshared,
            Ending::Leaving => Ended::Leaving,
        })
    }
}

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    Deleted,
    Unshared,
    Leaving,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    cursor: Vec<u8>,
    body: Said,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Said {
    Message(Arc<Message>),
    Queue(Arc<[QueuedMessage]>),
    Status {
        status: Status,
        worker: Option<ReplicaId>,
        history_version: Version,
        attempt: u64,
        turn: Option<MessageId>,
        calls: Arc<[OpenCall]>,
    },
    Error(RunError),
    Retry(Option<Retry>),
    Parts {
        episode: Episode,
        first: Seq,
        last: Seq,
        place: u32,
        block: Block,
        text: String,
    },
    PreviewReset {
        episode: Episode,
        reason: String,
    },
    HistoryReset,
    Synced,
}

impl std::convert::From<StreamEvent> for Event {
    fn from(event: StreamEvent) -> Self {
        let body = match event.body {
            Body::Message(message) => Said::Message(message),
            Body::QueueUpdate(queue) => Said::Queue(queue),
            Body::Status { status, worker, history_version, attempt, turn, calls } => {
                Said::Status { status, worker, history_version, attempt, turn, calls }
            }
            Body::Error(error) => Said::Error(error),
            Body::Retry(retry) => Said::Retry(retry),
            Body::Parts { episode, first_seq: first, last_seq: last, place, block, text } => {
                let text = String::from_utf8(text.to_vec()).expect("S2: parts are text");
                Said::Parts { episode, first, last, place, block, text }
            }
            Body::PreviewReset { episode, reason } => {
                Said::PreviewReset { episode, reason: reason.as_str().into() }
            }
            Body::HistoryReset => Said::HistoryReset,
            Body::Synced => Said::Synced,
        };
        Self { cursor: event.cursor.to_bytes(), body }
    }
}

impl Event {
    pub fn into_event(self) -> io::Result<StreamEvent> {
        let nonsense = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let body = match self.body {
            Said::Message(message) => Body::Message(message),
            Said::Queue(queue) => Body::QueueUpdate(queue),
            Said::Status { status, worker, history_version, attempt, turn, calls } => {
                Body::Status { status, worker, history_version, attempt, turn, calls }
            }
            Said::Error(error) => Body::Error(error),
            Said::Retry(retry) => Body::Retry(retry),
            Said::Parts { episode, first: first_seq, last: last_seq, place, block, text } => {
                Body::Parts { episode, first_seq, last_seq, place, block, text: Bytes::from(text) }
            }
            Said::PreviewReset { episode, reason } => {
                let known = [ResetReason::Retry, ResetReason::Takeover, ResetReason::Edit];
                let reason = known.into_iter().find(|known| known.as_str() == reason);
                Body::PreviewReset { episode, reason: reason.ok_or_else(|| nonsense("an unknown reason"))? }
            }
            Said::HistoryReset => Body::HistoryReset,
            Said::Synced => Body::Synced,
        };
        let cursor = Cursor::from_bytes(&self.cursor).map_err(|_| nonsense("no cursor"))?;
        Ok(StreamEvent { cursor, body })
    }
}

/// What is said, in few words, without what users or models wrote.
pub trait Described {
    fn describe(&self) -> String;
}

impl Described for Ask {
    fn describe(&self) -> String {
        match self {
            Self::Execute { order, key, .. } => {
                format!("{}, {}", order.name(), key.as_deref().unwrap_or("without a key"))
            }
            Self::Subscribe { from: From::Fresh, .. } => "subscribe".into(),
            Self::Subscribe { from: From::After(id), .. } => format!("subscribe after {id}"),
            Self::Subscribe { from: From::At(_), .. } => "subscribe at a cursor".into(),
        }
    }
}

impl Described for Reply {
    fn describe(&self) -> String {
        match self {
            Self::Alive => "alive".into(),
            Self::Accepted(_) => "accepted".into(),
            Self::Rejected(_) => "rejected".into(),
            Self::Unavailable(_) => "unavailable".into(),
            Self::End(Ended::Deleted) => "end, deleted".into(),
            Self::End(Ended::Unshared) => "end, unshared".into(),
            Self::End(Ended::Leaving) => "end, go elsewhere".into(),
            Self::Events(events) => {
                let described =
                    events.iter().take(DESCRIBED_MAX).map(Event::describe).collect::<Vec<_>>().join(", ");
                if events.len() > DESCRIBED_MAX {
                    format!("{described}, … {}", events.len())
                } else {
                    described
                }
            }
        }
    }
}

/// Events of one line that are described.
const DESCRIBED_MAX: usize = 3;

impl Event {
    fn describe(&self) -> String {
        match &self.body {
            Said::Message(message) => format!("message {}", message.id),
            Said::Queue(queue) => format!("queue of {}", queue.len()),
            Said::Status { status, .. } => format!("status {}", status.as_str()),
            Said::Error(_) => "error".into(),
            Said::Retry(Some(_)) => "retry".into(),
            Said::Retry(None) => "retry over".into(),
            Said::Parts { first, last, .. } if first == last => format!("part {first}"),
            Said::Parts { first, last, .. } => format!("parts {first}..{last}"),
            Said::PreviewReset { reason, .. } => format!("preview_reset {reason}"),
            Said::HistoryReset => "history_reset".into(),
            Said::Synced => "synced".into(),
        }
    }
}

/// One line. Flushed when it returns.
pub async fn write_line(
    to: &mut BufReader<Stream>,
    value: &(impl Serialize + Described + Sync),
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.get_mut().label(|| value.describe());
    to.write_all(&line).await?;
    to.flush().await
}

/// One line; `None` at the end of the stream.
pub async fn read_line<S: tokio::io::AsyncRead + Unpin, T: for<'a> Deserialize<'a>>(
    from: &mut BufReader<S>,
) -> io::Result<Option<T>> {
    let mut line = vec![];
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        if line.len() as u64 == LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
        }
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}
