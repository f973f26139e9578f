//! Bodies of requests: each is read whole, within its bound and its time, and all that are held at the same time are
//! within a budget of bytes. What comes beyond it is read and dropped, so that its sender gets the answer.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt;
use mainstem_runtime::ports::Env;
use mainstem_runtime::{EdgeError, LogRate};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Problem;
use crate::TokioEnv;
use crate::limits::edge::{
    BODIES_BYTES_MAX, BODY_SLACK_BYTES, BODY_TIMEOUT, DISCARDED_BYTES_MAX, ESCAPED_BYTES_MAX,
};

/// What a body may have for a message of `message_bytes_max`: its text, however it is escaped, and as much
/// again.
fn body_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_mul(ESCAPED_BYTES_MAX + 1).saturating_add(BODY_SLACK_BYTES)
}

/// What reads all bodies of a server.
#[derive(Debug)]
pub struct Bodies {
    bytes_max: usize,
    /// In bytes.
    budget: Arc<Semaphore>,
    env: TokioEnv,
    refused: LogRate,
}

/// A body that was read. It takes its share of the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Collected {
    bytes: Vec<u8>,
    share: Option<OwnedSemaphorePermit>,
}

impl Deref for Collected {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body is not collected.
enum Beyond {
    Bound,
    Budget,
}

impl Bodies {
    /// For messages of up to so many bytes. The largest body is within the budget.
    pub fn new(message_bytes_max: usize) -> Self {
        let bytes_max = body_bytes_max(message_bytes_max);
        let budget = Arc::new(Semaphore::new(BODIES_BYTES_MAX.max(bytes_max).min(Semaphore::MAX_PERMITS)));
        Self { bytes_max, budget, env: TokioEnv::new(), refused: LogRate::new() }
    }

    /// The whole body, within [`BODY_TIMEOUT`]. A client that `waits` need not send one that is known to be too
    /// large.
    pub(super) async fn read(&self, body: Body, waits: bool) -> Result<Collected, Problem> {
        let announced = body.size_hint().lower();
        if waits && announced > self.bytes_max as u64 {
            return Err(self.problem(&Beyond::Bound));
        }
        if waits && announced > self.budget.available_permits() as u64 {
            return Err(self.problem(&Beyond::Budget));
        }
        within(BODY_TIMEOUT, self.collect(body)).await.ok_or_else(Problem::body_too_slow)?
    }

    async fn collect(&self, mut body: Body) -> Result<Collected, Problem> {
        let mut collected = Ok(Collected { bytes: Vec::new(), share: None });
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::malformed("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            received += data.len();
            if received > DISCARDED_BYTES_MAX && collected.is_err() {
                break;
            }
            // Read on, because closing with unread data would reset the connection and lose the answer.
            collected = match collected {
                _ if received > self.bytes_max => Err(Beyond::Bound),
                Ok(collected) => self.add(collected, &data),
                Err(beyond) => Err(beyond),
            };
        }
        collected.map_err(|beyond| self.problem(&beyond))
    }

    fn add(&self, mut collected: Collected, data: &[u8]) -> Result<Collected, Beyond> {
        let length = u32::try_from(data.len()).map_err(|_| Beyond::Budget)?;
        let more = self.budget.clone().try_acquire_many_owned(length).map_err(|_| Beyond::Budget)?;
        match &mut collected.share {
            Some(share) => share.merge(more),
            None => collected.share = Some(more),
        }
        collected.bytes.extend_from_slice(data);
        Ok(collected)
    }

    fn problem(&self, beyond: &Beyond) -> Problem {
        match beyond {
            Beyond::Bound => Problem::too_large("a request's body", self.bytes_max),
            Beyond::Budget => {
                if let Some(suppressed) = self.refused.admit(self.env.now()) {
                    tracing::warn!(
                        suppressed,
                        "a request was answered with 503: too many bytes of requests are held"
                    );
                }
                EdgeError::Overloaded("too many bytes of requests are being read here").into()
            }
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(bytes_max: usize, budget: usize) -> Bodies {
        Bodies { bytes_max, budget: Arc::new(Semaphore::new(budget)), ..Bodies::new(0) }
    }

    #[tokio::test]
    async fn a_body_beyond_the_bound_is_too_large() {
        let bodies = bodies(4, 100);
        for waits in [false, true] {
            assert_eq!(bodies.read(Body::from("1234"), waits).await.as_deref(), Ok(&b"1234"[..]));
            let beyond = bodies.read(Body::from("12345"), waits).await;
            assert_eq!(beyond.map(drop).map_err(|p| p.code), Err("too_large"));
        }
        assert_eq!(bodies.budget.available_permits(), 100, "B1: all is given back");
    }

    #[tokio::test]
    async fn a_body_beyond_the_budget_is_to_be_sent_again() {
        let bodies = bodies(8, 10);
        let first = bodies.read(Body::from("12345678"), false).await.expect("it is within the budget");
        for waits in [false, true] {
            let beyond = bodies.read(Body::from("123"), waits).await;
            assert_eq!(
                beyond.map(drop).map_err(|p| (p.status.as_u16(), p.code)),
                Err((503, "overloaded")),
                "B1"
            );
        }
        assert_eq!(bodies.read(Body::from("12"), false).await.as_deref(), Ok(&b"12"[..]));
        drop(first);
        assert!(bodies.read(Body::from("12345678"), true).await.is_ok());
        assert_eq!(bodies.budget.available_permits(), 10, "B1: all is given back");
    }

    #[test]
    fn the_largest_body_is_within_the_budget() {
        for message_bytes_max in [0, 1 << 20, crate::limits::settings::MESSAGE_BYTES_MAX] {
            let bodies = Bodies::new(message_bytes_max);
            assert!(bodies.budget.available_permits() >= bodies.bytes_max);
        }
    }
}
