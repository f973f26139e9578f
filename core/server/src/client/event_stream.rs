//! The events of a response, as a client reads them.

use reqwest::Response;

use super::CallError;
use crate::limits::client::EVENT_BYTES_MAX;
use crate::sse::{SseDecoder, TooLong};

/// An event as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSent {
    /// Empty if it has none.
    pub id: String,
    pub data: String,
}

/// The events of a response.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    decoder: SseDecoder,
}

impl EventStream {
    pub(super) fn new(response: Response) -> Self {
        Self { response, decoder: SseDecoder::new(EVENT_BYTES_MAX) }
    }

    /// Waits for more bytes; `false` if there are no more. Only after [`Self::next_event`] had no more to
    /// give. Cancel-safe.
    pub async fn fill(&mut self) -> Result<bool, CallError> {
        match self.response.chunk().await {
            Ok(Some(chunk)) => {
                self.decoder.feed(chunk);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => Err(CallError::Unreachable(error.to_string())),
        }
    }

    /// The next whole event among the bytes that came.
    pub fn next_event(&mut self) -> Option<Result<ServerSent, CallError>> {
        let event = match self.decoder.next_event() {
            Ok(event) => event?,
            Err(TooLong) => return Some(Err(CallError::Unreachable("an event has no end".into()))),
        };
        let text = |bytes| {
            String::from_utf8(bytes).map_err(|_| CallError::Unreachable("the stream is not UTF-8".into()))
        };
        Some(text(event.id).and_then(|id| Ok(ServerSent { id, data: text(event.data)? })))
    }
}
