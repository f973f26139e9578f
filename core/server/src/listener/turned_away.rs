//! Connections for which there is no place. Their requests are answered with 503, except those for an event
//! stream: an `EventSource` gives up for good at an error, and is asked to come back. So the head is read first,
//! within a bound of bytes and of time, of a few connections at once. Further ones get their 503 unread.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use httparse::{EMPTY_HEADER, Status};
use mainstem_runtime::EdgeError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::delivery::head;
use crate::http::{Problem, come_back, is_for_event_stream};
use crate::limits::edge::{
    CONNECTION_BUFFER_BYTES, DISCARDED_BYTES_MAX, HEADERS_MAX, TURN_AWAY_MAX, TURN_AWAY_TIMEOUT,
};

/// Those that are being answered.
#[derive(Debug)]
pub(super) struct TurnedAway {
    more: Arc<Semaphore>,
}

impl TurnedAway {
    pub(super) fn new() -> Self {
        Self { more: Arc::new(Semaphore::new(TURN_AWAY_MAX)) }
    }

    /// Answers a connection, and closes it.
    pub(super) fn take(&self, mut stream: TcpStream) {
        let Ok(permit) = self.more.clone().try_acquire_owned() else {
            // What came of its request is read: closing with something unread would reset the connection.
            let _ = stream.try_read(&mut [0; 4096]);
            let _ = stream.try_write(&bytes(refusal()));
            return;
        };
        tokio::spawn(async move {
            let _permit = permit;
            let deadline = Instant::now() + TURN_AWAY_TIMEOUT;
            let streams = timeout_at(deadline, asks_for_event_stream(&mut stream)).await.unwrap_or(false);
            let answer = bytes(if streams { come_back() } else { refusal() });
            // If the time is over, it takes this at once or not at all.
            if stream.try_write(&answer).is_ok_and(|written| written == answer.len()) {
                let _ = timeout_at(deadline, closed(&mut stream)).await;
            }
        });
    }
}

/// Reads until it is known what the request asks for.
async fn asks_for_event_stream(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    loop {
        let mut rest = (&mut *stream).take((CONNECTION_BUFFER_BYTES - read.len()) as u64);
        if !matches!(rest.read_buf(&mut read).await, Ok(1..)) {
            return false;
        }
        let mut fields = [EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&read) {
            Ok(Status::Complete(_)) => return is_event_stream(&request),
            Ok(Status::Partial) => {}
            Err(_) => return false,
        }
    }
}

fn is_event_stream(request: &httparse::Request<'_, '_>) -> bool {
    let method = request.method.and_then(|method| method.parse::<Method>().ok());
    let uri = request.path.and_then(|target| target.parse::<Uri>().ok());
    let fields = request.headers.iter().filter_map(|field| {
        Some((HeaderName::try_from(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?))
    });
    let fields = fields.collect::<HeaderMap>();
    method.zip(uri).is_some_and(|(method, uri)| is_for_event_stream(&method, &uri, &fields))
}

fn refusal() -> Response {
    Problem::from(EdgeError::Overloaded("all connections are in use")).into_response()
}

fn bytes(response: Response) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).now_or_never().and_then(Result::ok).expect("a body in memory");
    let mut answer = head(&parts, &format!("connection: close\r\ncontent-length: {}\r\n", body.len()));
    answer.extend_from_slice(&body);
    answer
}

/// Waits for the other side to close: closing with unread data would reset the connection, and the answer might be
/// lost.
async fn closed(stream: &mut TcpStream) -> std::io::Result<u64> {
    stream.shutdown().await?;
    let mut rest = stream.take(DISCARDED_BYTES_MAX as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
}
