//! Problem documents for malformed request heads. hyper answers such a head without a body, or not at all;
//! its responses are suppressed, and these are sent instead.

use axum::body::to_bytes;
use axum::response::IntoResponse;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client_stream::ClientStream;
use super::delivery::head;
use crate::http::Problem;
use crate::limits::edge::{CLOSE_TIMEOUT, DISCARDED_BYTES_MAX};

/// Answers the bytes at which a connection ended, if they need an answer. `unread` are the last bytes
/// received.
pub(super) async fn answer(mut stream: ClientStream, error: Option<&hyper::Error>, unread: &[u8]) {
    let refused = stream.refused.take();
    let problem = match refused {
        Some(_) if stream.length.is_too_large() => Some(Problem::large_length()),
        _ => problem(refused, error, unread),
    };
    let Some(problem) = problem else { return };
    let (parts, body) = problem.into_response().into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body in memory");
    let mut answer = head(&parts, &format!("connection: close\r\ncontent-length: {}\r\n", body.len()));
    answer.extend_from_slice(&body);
    let answering = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        // Closing with unread data would reset the connection, and the response might be lost.
        let mut rest = (&mut stream).take(DISCARDED_BYTES_MAX as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = timeout(CLOSE_TIMEOUT, answering).await;
}

fn problem(refused: Option<StatusCode>, error: Option<&hyper::Error>, unread: &[u8]) -> Option<Problem> {
    match (refused, error) {
        (Some(StatusCode::BAD_REQUEST), _) => Some(Problem::bad_head()),
        (Some(status), _) => Some(Problem::large_head(status)),
        // Without any bytes there is no response: an idle connection may end at any time.
        (None, Some(error)) if !unread.is_empty() => {
            if error.is_timeout() {
                Some(Problem::head_too_slow())
            } else if error.is_parse() || error.is_incomplete_message() {
                Some(Problem::bad_head())
            } else {
                None
            }
        }
        (None, _) => None,
    }
}
