//! What a viewer was told last, as it was written, for those at the same place who are told the same: it is written once, and not once for each of
//! them. What is written follows from the event alone, so an equal event is the same bytes, whoever is told it.
//!
//! One frame for each chat that is open, gone with its hub (B2). Whose events it is of and how they are written is left to who asks.

use bytes::Bytes;
use mainstem_machine::{Body, StreamEvent};

use super::lock;
use crate::limits::viewer::SHARED_BYTES_MAX;
use crate::sync::Mutex;

#[derive(Default)]
pub(super) struct SharedFrame(Mutex<Option<Box<(StreamEvent, Bytes)>>>);

impl SharedFrame {
    /// The bytes of an event. Those of small parts are kept until others come.
    pub(super) fn of(&self, event: &StreamEvent, write: impl FnOnce() -> Bytes) -> Bytes {
        if !matches!(&event.body, Body::Parts { text, .. } if text.len() <= SHARED_BYTES_MAX) {
            return write();
        }
        if let Some(told) = &*lock(&self.0)
            && told.0 == *event
        {
            return told.1.clone();
        }
        // Nobody waits meanwhile.
        let frame = write();
        *lock(&self.0) = Some(Box::new((event.clone(), frame.clone())));
        frame
    }
}

#[cfg(test)]
mod tests {
    use mainstem_machine::{Block, Cursor, Episode, MessageId, Seq, Version};

    use super::*;
    use crate::sync::once;

    fn parts(text: &str) -> StreamEvent {
        let episode = Episode { history_version: Version(1), attempt: 1 };
        let (first_seq, last_seq, text) = (Seq(1), Seq(2), Bytes::copy_from_slice(text.as_bytes()));
        let body = Body::Parts { episode, first_seq, last_seq, place: 0, block: Block::Text, text };
        StreamEvent { cursor: Cursor::default(), body }
    }

    /// The bytes of this event, and whether they were written for it.
    fn told(shared: &SharedFrame, event: &StreamEvent, bytes: &'static str) -> (Bytes, bool) {
        let mut is_written = false;
        let frame = shared.of(event, || {
            is_written = true;
            Bytes::from_static(bytes.as_bytes())
        });
        (frame, is_written)
    }

    #[test]
    fn the_same_event_is_written_once_and_no_other_is_taken_for_it() {
        once(|| {
            let shared = SharedFrame::default();
            let event = parts("a");
            assert_eq!(told(&shared, &event, "1"), (Bytes::from_static(b"1"), true));
            assert_eq!(told(&shared, &parts("a"), "2"), (Bytes::from_static(b"1"), false));
            // Its place differs, then its text, then what it is.
            let elsewhere =
                StreamEvent { cursor: Cursor { message: MessageId(1), ..event.cursor }, ..parts("a") };
            let others = [elsewhere, parts("b"), StreamEvent { body: Body::Synced, ..parts("") }];
            for other in &others {
                assert_eq!(told(&shared, other, "3"), (Bytes::from_static(b"3"), true), "S2: {other:?}");
            }
            assert_eq!(
                told(&shared, &others[1], "4"),
                (Bytes::from_static(b"3"), false),
                "the last parts are kept"
            );
        });
    }

    #[test]
    fn what_is_large_is_not_kept() {
        once(|| {
            let shared = SharedFrame::default();
            let event = parts(&"x".repeat(SHARED_BYTES_MAX + 1));
            for _ in 0..2 {
                assert!(told(&shared, &event, "1").1, "B1");
            }
        });
    }
}
