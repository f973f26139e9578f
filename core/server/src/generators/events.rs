//! The events of an answer as they come, within the time and the bytes that are waited for.

use reqwest::Response;
use tokio::time::{Instant, timeout, timeout_at};

use super::fault::Fault;
use super::http::unreachable;
use super::patience::Patience;
use crate::limits::model::END_TIMEOUT;
use crate::sse::{SseDecoder, SseEvent, TooLong};

/// The longest event that is taken where an answer holds at most so much text: all of it may come in one
/// event, escaped to three times its length.
pub const fn event_bytes_max(episode_bytes_max: usize) -> usize {
    episode_bytes_max.saturating_mul(3).saturating_add(64 * 1024)
}

/// The body of an answer. The connection goes when it is dropped.
#[derive(Debug)]
pub(super) struct Events {
    response: Response,
    sse: SseDecoder,
    pub(super) patience: Patience,
    /// Whether the event that the body ends in came to its own end.
    is_complete: fn(&SseEvent) -> bool,
}

impl Events {
    pub(super) fn new(
        response: Response,
        sse: SseDecoder,
        patience: Patience,
        is_complete: fn(&SseEvent) -> bool,
    ) -> Self {
        Self { response, sse, patience, is_complete }
    }

    /// The next event; `None` at the end of the body. Where the answer `is_whole`, however it ends is an end.
    pub(super) async fn next(&mut self, is_whole: bool) -> Result<Option<SseEvent>, Fault> {
        let too_long = |TooLong| Fault::TooLong;
        loop {
            if let Some(event) = self.sse.next_event().map_err(too_long)? {
                return Ok(Some(event));
            }
            let read = timeout_at(self.patience.deadline(), self.response.chunk()).await;
            match read {
                Ok(Ok(Some(bytes))) => match self.patience.came(Instant::now(), bytes.len(), is_whole) {
                    Ok(()) => self.sse.feed(bytes),
                    Err(_) if is_whole => return Ok(None),
                    Err(fault) => return Err(fault),
                },
                Ok(Ok(None)) => {
                    let last = self.sse.finish().map_err(too_long)?;
                    let is_cut = last.as_ref().is_some_and(|last| !(self.is_complete)(last));
                    return match is_cut {
                        false => Ok(last),
                        // What was cut tells the cost, or that this is the end.
                        true if is_whole => Ok(None),
                        true => Err(Fault::CutShort),
                    };
                }
                // Nothing was missing.
                Ok(Err(_)) | Err(_) if is_whole => return Ok(None),
                Ok(Err(error)) => return Err(unreachable(error)),
                Err(_) => return Err(self.patience.fault()),
            }
        }
    }

    /// Waits a little for the end of the body, so that the connection ends in order or is used again.
    pub(super) async fn let_end(&mut self) {
        let end = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        let _ = timeout(END_TIMEOUT, end).await;
    }
}
