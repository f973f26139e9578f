//! A worker's frames on their way to the wire: parts that are ready together travel together, and none of
//! what is sent is larger than the limits say.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{BoxStream, Fuse, Stream, StreamExt};
use mainstem_machine::{Episode, RelayFrame, Seq};
use tonic::Status;

use super::limits::{FRAME_PARTS_MAX, FRAME_TEXT_BYTES_MAX, JOINED_TEXT_BYTES_MAX};
use super::proto;

/// The stream that answers a follow.
pub(super) struct Frames {
    source: Fuse<BoxStream<'static, RelayFrame>>,
    /// Came from the source and did not fit.
    held: Option<RelayFrame>,
}

impl Frames {
    pub(super) fn new(source: BoxStream<'static, RelayFrame>) -> Self {
        Self { source: source.fuse(), held: None }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<RelayFrame>> {
        match self.held.take() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.source.poll_next_unpin(cx),
        }
    }
}

impl Stream for Frames {
    type Item = Result<proto::Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut run: Option<Run> = None;
        while let Poll::Ready(frame) = self.poll_frame(cx) {
            let Some(frame) = frame else {
                return Poll::Ready(run.map(|run| Ok(run.into_frame().into())));
            };
            match (&mut run, frame) {
                // It says nothing.
                (_, RelayFrame::Parts { parts, .. }) if parts.is_empty() => continue,
                (None, RelayFrame::Parts { episode, first_seq, parts }) => {
                    let mut begun = Run { episode, first_seq, bytes: 0, parts: Vec::new() };
                    self.held = begun.take_from(first_seq, parts);
                    run = Some(begun);
                }
                (Some(run), RelayFrame::Parts { episode, first_seq, parts })
                    if run.goes_on_with(episode, first_seq) =>
                {
                    self.held = run.take_from(first_seq, parts);
                }
                (None, frame) => return Poll::Ready(Some(Ok(frame.into()))),
                (Some(_), frame) => self.held = Some(frame),
            }
            if self.held.is_some() {
                break;
            }
        }
        match run {
            Some(run) if run.bytes > FRAME_TEXT_BYTES_MAX => {
                tracing::error!(
                    bytes = run.bytes,
                    expected_max = FRAME_TEXT_BYTES_MAX,
                    "a part is too large for the relay: split parts where they are made"
                );
                Poll::Ready(Some(Err(Status::internal("a part is too large"))))
            }
            Some(run) => Poll::Ready(Some(Ok(run.into_frame().into()))),
            None => Poll::Pending,
        }
    }
}

/// Parts that follow each other.
struct Run {
    episode: Episode,
    first_seq: Seq,
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Run {
    fn goes_on_with(&self, episode: Episode, first_seq: Seq) -> bool {
        episode == self.episode && first_seq.0 == self.first_seq.0 + self.parts.len() as u64
    }

    /// Takes what fits, at least one, and returns the rest.
    fn take_from(&mut self, first_seq: Seq, mut parts: Vec<Bytes>) -> Option<RelayFrame> {
        let mut fit = 0;
        for part in &parts {
            let full =
                self.bytes + part.len() > JOINED_TEXT_BYTES_MAX || self.parts.len() + fit == FRAME_PARTS_MAX;
            if full && self.parts.len() + fit > 0 {
                break;
            }
            self.bytes += part.len();
            fit += 1;
        }
        let rest = parts.split_off(fit);
        if self.parts.is_empty() {
            self.parts = parts;
        } else {
            self.parts.append(&mut parts);
        }
        let first_seq = Seq(first_seq.0 + fit as u64);
        (!rest.is_empty()).then_some(RelayFrame::Parts { episode: self.episode, first_seq, parts: rest })
    }

    fn into_frame(self) -> RelayFrame {
        RelayFrame::Parts { episode: self.episode, first_seq: self.first_seq, parts: self.parts }
    }
}
