//! A face's stream: computed only when the connection can take more, and cut where what it tells comes to no end here.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::unfold;

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
pub(super) fn answer(grant: Grant, source: impl Source) -> Response {
    let body = unfold(Some(source), async |source| {
        let mut source = source?;
        let piece = source.next().await?;
        let source = piece.is_ok().then_some(source);
        Some((piece, source))
    });
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
