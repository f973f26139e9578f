//! A stream as Server-Sent Events. Events are computed only when the connection can take more.

use std::convert::Infallible;
use std::time::Duration;
use std::vec;

use async_stream::stream;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, header};
use mainstem_runtime::Next;
use mainstem_runtime::ports::Env;
use rand::rngs::OsRng;
use rand::{Rng, TryRngCore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::auth::Grant;
use super::viewing::{Place, Viewing};
use crate::insight::Closed;
use crate::limits::edge::{COME_BACK_DELAY_MAX, COME_BACK_DELAY_MIN, PING_INTERVAL};

pub(super) const PING: Bytes = Bytes::from_static(b": ping\n\n");

/// Marks a streaming response, from whose connection nothing is read until its end. It may be cut off when its caller is
/// not let in any more.
#[derive(Clone, Debug)]
pub struct Streamed {
    grant: Grant,
    keeps_connection: bool,
}

impl Streamed {
    /// One that the connection outlives.
    pub(super) fn on_a_connection_that_stays(grant: Grant) -> Self {
        Self { grant, keeps_connection: true }
    }

    #[cfg(test)]
    pub(crate) fn to_anybody() -> Self {
        Self { grant: Grant::of_anybody(), keeps_connection: false }
    }

    /// Whether the connection serves other requests after it.
    pub fn keeps_connection(&self) -> bool {
        self.keeps_connection
    }

    /// Whether the caller's token is revoked.
    pub fn is_revoked(&self) -> bool {
        self.grant.is_revoked()
    }

    /// Waits until the caller's token is revoked.
    pub async fn revoked(&self) {
        self.grant.revoked().await;
    }
}

struct SseStream<E: Env> {
    viewer: Viewing<E>,
    grant: Grant,
    place: Place,
    pings: Interval,
    /// What is left of the last events, or of what comes before all.
    chunks: vec::IntoIter<Bytes>,
}

pub(super) fn answer<E: Env>(viewer: Viewing<E>, grant: Grant, place: Place) -> Response {
    let streamed = Streamed { grant: grant.clone(), keeps_connection: false };
    let retry = Bytes::from(format!(": the stream begins\n{}\n", retry(Duration::ZERO)));
    let source = SseStream { viewer, grant, place, pings: pings(), chunks: vec![retry].into_iter() };
    let mut response = event_stream(Body::from_stream(chunks(source)));
    response.extensions_mut().insert(streamed);
    response
}

/// The source stays where it is, while `unfold` would move it with each chunk.
fn chunks<E: Env>(mut source: SseStream<E>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream! {
        while let Some(chunk) = source.next().await {
            yield Ok(chunk);
        }
    }
}

/// The answer where nothing can be told now. A browser's `EventSource` gives up for good at a status that is
/// an error, and comes back after an end (WHATWG HTML, section 9.2.3).
pub fn come_back() -> Response {
    come_back_after(Duration::ZERO)
}

/// The same, and not before so long.
pub(super) fn come_back_after(wait: Duration) -> Response {
    event_stream(Body::from(format!(": this replica cannot serve the stream now\n{}\n", retry(wait))))
}

/// After how long an `EventSource` whose connection ends comes back: not all at once.
fn retry(wait: Duration) -> String {
    let delay = wait + OsRng.unwrap_err().random_range(COME_BACK_DELAY_MIN..COME_BACK_DELAY_MAX);
    format!("retry: {}\n", delay.as_millis())
}

pub(super) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // A proxy that compresses collects first, and so does nginx, which has to be told in its own words.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    // Others are asked in the words that are becoming a standard (draft-ietf-httpbis-incremental).
    headers.insert("incremental", HeaderValue::from_static("?1"));
    response
}

pub(super) fn pings() -> Interval {
    let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

impl<E: Env> SseStream<E> {
    async fn next(&mut self) -> Option<Bytes> {
        let chunk = match self.chunks.next() {
            Some(chunk) => chunk,
            // Timers are looked at only where there is nothing to tell.
            None => tokio::select! {
                biased;
                next = self.viewer.next() => match next {
                    Next::Events(events) => {
                        let (first, others) = self.viewer.server_sent(&events);
                        self.chunks = others.into_iter();
                        first
                    }
                    Next::End(ending) => {
                        self.place.closes(ending.into());
                        return None;
                    }
                },
                () = self.grant.revoked() => PING,
                _ = self.pings.tick() => PING,
            },
        };
        // Nothing is told to whoever is not let in any more, whatever came first (S10).
        if self.grant.is_revoked() {
            self.place.closes(Closed::Revoked);
            return None;
        }
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokioEnv;

    /// Of what an open stream waits with. docs/operations.md has what else one holds.
    const CHUNKS_BYTES_MAX: usize = 640;

    fn bytes_of<A, R>(_: impl FnOnce(A) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn what_an_open_stream_waits_with_is_small() {
        let bytes = bytes_of(chunks::<TokioEnv>);
        assert!(bytes <= CHUNKS_BYTES_MAX, "B1: {bytes} bytes for each viewer");
    }
}
