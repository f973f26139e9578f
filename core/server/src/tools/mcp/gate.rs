//! How the connection to an MCP server ends, told to everybody who has to do with it at once; and what of a server's
//! messages is too much.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits::mcp::{MESSAGE_BYTES_MAX, MESSAGES_MAX, MESSAGES_WINDOW, WRITE_TIMEOUT};

/// Why a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The program has ended.
    Exited(String),
    /// It closed its output, or the connection.
    Closed,
    /// A message was too long.
    TooLong,
    /// Too many messages came.
    TooMany,
    /// It does not read.
    Stuck,
    /// What it sent is not even text.
    NoText,
    /// It does not list its tools any more.
    Unlisted(String),
    /// This server is going away.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "has ended ({status})"),
            Self::Closed => f.write_str("has ended, or closed the connection"),
            Self::TooLong => {
                write!(f, "sent a message of more than {MESSAGE_BYTES_MAX} bytes, and was cut off")
            }
            Self::TooMany => {
                write!(f, "sent more than {MESSAGES_MAX} messages in {MESSAGES_WINDOW:?}, and was cut off")
            }
            Self::Stuck => {
                write!(f, "did not read what was sent to it for {WRITE_TIMEOUT:?}, and was cut off")
            }
            Self::NoText => f.write_str("sent what is no text in UTF-8, and was cut off"),
            Self::Unlisted(why) => write!(f, "does not list its tools: {why}"),
            Self::Stopped => f.write_str("is being stopped"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Gate {
    end: watch::Sender<Option<End>>,
    window: Mutex<Window>,
}

/// What came since a moment.
#[derive(Debug)]
struct Window {
    since: Instant,
    messages: u32,
    /// In all, of what is no message.
    nonsense: u64,
}

impl Gate {
    pub(super) fn new() -> Self {
        let window = Window { since: Instant::now(), messages: 0, nonsense: 0 };
        Self { end: watch::Sender::new(None), window: Mutex::new(window) }
    }

    /// Only the first reason counts.
    pub(super) fn close(&self, end: End) {
        self.end.send_if_modified(|kept| {
            let is_first = kept.is_none();
            kept.get_or_insert(end);
            is_first
        });
    }

    /// Why it has ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    pub(super) async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone()).unwrap_or(End::Stopped)
    }

    /// Whether one more message is taken. If not, the connection ends.
    pub(super) fn admit(&self) -> bool {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now - window.since > MESSAGES_WINDOW {
            (window.since, window.messages) = (now, 0);
        }
        window.messages += 1;
        let is_taken = window.messages <= MESSAGES_MAX;
        if !is_taken {
            self.close(End::TooMany);
        }
        is_taken
    }

    pub(super) fn count_nonsense(&self) {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).nonsense += 1;
    }

    pub(super) fn nonsense(&self) -> u64 {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).nonsense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_counted_within_a_window() {
        let (gate, mut now) = (Gate::new(), Instant::now());
        for _ in 0..3 {
            assert!((0..MESSAGES_MAX).all(|_| gate.admit_at(now)));
            now += MESSAGES_WINDOW * 2;
        }
        assert!((0..MESSAGES_MAX).all(|_| gate.admit_at(now)));
        assert!(!gate.admit_at(now));
        gate.close(End::Closed);
        assert_eq!(gate.ended().await, End::TooMany, "the first reason counts");
    }
}
