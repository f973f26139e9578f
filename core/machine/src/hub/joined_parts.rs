//! The text of the joined part that was told last, so that viewers at the same place share its bytes.
//!
//! It belongs to whoever drives a hub and is no part of the hub's state: with an empty one the hub says the same,
//! in bytes of its own.

use bytes::Bytes;

/// Hand the same one to each [`Hub::take`](super::Hub::take) of a hub.
#[derive(Clone, Debug, Default)]
pub struct JoinedParts {
    last: Bytes,
}

impl JoinedParts {
    /// Bytes that equal `text`: those told last, if they do, else a copy that is kept from now on.
    #[inline]
    pub(super) fn share(&mut self, text: &[u8]) -> Bytes {
        if self.last != text {
            self.last = Bytes::copy_from_slice(text);
        }
        self.last.clone()
    }
}
