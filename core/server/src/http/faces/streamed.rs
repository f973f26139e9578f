//! A face's stream: computed only when the connection can take more, and cut where what it tells comes to no end here.

use async_stream::stream;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;

use super::super::Problem;
use super::super::auth::Grant;
use super::super::request::Parameters;
use super::super::sse::{Streamed, event_stream};

/// Why a body has no end.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the answer is told elsewhere")]
pub(super) struct CutOff;

/// What is told, piece by piece.
pub(super) trait Source: Send + 'static {
    /// The next piece; `None` behind the end. Nothing follows what is cut.
    fn next(&mut self) -> impl Future<Output = Option<Result<Bytes, CutOff>>> + Send;
}

/// The stream, on a connection that outlives it.
pub(super) fn answer(grant: Grant, mut source: impl Source) -> Response {
    let body = stream! {
        while let Some(piece) = source.next().await {
            let is_cut = piece.is_err();
            yield piece;
            if is_cut {
                break;
            }
        }
    };
    let mut response = event_stream(Body::from_stream(body));
    response.extensions_mut().insert(Streamed::on_a_connection_that_stays(grant));
    response
}

/// Whether a client that leaves stops its turn: `?on_close=stop`.
pub(super) fn stops_on_close(query: &Parameters) -> Result<bool, Problem> {
    match query.text("on_close")? {
        None => Ok(false),
        Some("stop") => Ok(true),
        Some(_) => Err(Problem::malformed("`on_close` is `stop`, or is left out")),
    }
}
