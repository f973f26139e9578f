//! Frames of one follow on a worker's side before they are sent: parts that are ready at the same time are joined into one
//! frame, and frames are split to keep to the limits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::stream::{BoxStream, Fuse, Stream, StreamExt};
use mainstem_machine::{Block, Episode, Part, RelayFrame, Seq};
use tonic::Status;

use super::proto;
use crate::limits::relay::{FRAME_PARTS_MAX, FRAME_TEXT_BYTES_MAX, JOINED_TEXT_BYTES_MAX};

/// What is sent of one follow.
pub(super) struct Frames {
    source: Fuse<BoxStream<'static, RelayFrame>>,
    /// Parts that did not fit the last frame.
    held: Option<RelayFrame>,
    /// The source had nothing more when it was last asked.
    is_waiting: bool,
    /// For a follower that takes no blocks.
    first_text: Option<FirstText>,
}

impl Frames {
    pub(super) fn new(source: BoxStream<'static, RelayFrame>, takes_blocks: bool) -> Self {
        let first_text = (!takes_blocks).then(FirstText::default);
        Self { source: source.fuse(), held: None, is_waiting: false, first_text }
    }

    /// Whether there may be another frame already. If not, who polled last is woken when there is.
    pub(super) fn may_have_more(&self) -> bool {
        self.held.is_some() || !self.is_waiting
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<RelayFrame>> {
        match self.held.take() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => {
                let polled = self.source.poll_next_unpin(cx);
                self.is_waiting = polled.is_pending();
                let mut frame = ready!(polled);
                if let (Some(frame), Some(first_text)) = (&mut frame, &mut self.first_text) {
                    first_text.cut(frame);
                }
                Poll::Ready(frame)
            }
        }
    }
}

impl Stream for Frames {
    type Item = Result<proto::Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut run: Option<Run> = None;
        let ended = loop {
            let Poll::Ready(frame) = self.poll_frame(cx) else { break false };
            let Some(frame) = frame else { break true };
            match (&mut run, frame) {
                // An empty frame.
                (_, RelayFrame::Parts { parts, .. }) if parts.is_empty() => continue,
                (None, RelayFrame::Parts { episode, first_seq, parts }) => {
                    let mut next_run = Run { episode, first_seq, bytes: 0, parts: Vec::new() };
                    self.held = next_run.take_from(first_seq, parts);
                    run = Some(next_run);
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
                break false;
            }
        };
        match run {
            Some(run) => Poll::Ready(Some(run.into_frame().map(proto::Frame::from))),
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// What a replica of an earlier release takes of an answer: its first block, if that is a text. Its parts keep their
/// numbers, and what follows is not sent: a follower that took it for text would show what is kept nowhere (S4).
#[derive(Debug, Default)]
struct FirstText {
    ended: Option<Episode>,
}

impl FirstText {
    fn cut(&mut self, frame: &mut RelayFrame) {
        let RelayFrame::Parts { episode, first_seq, parts } = frame else { return };
        let goes_on = |(part, seq): (&Part, u64)| match part.begins {
            None => true,
            Some(Block::Text) => seq == 1,
            Some(_) => false,
        };
        let kept = match self.ended {
            Some(ended) if ended == *episode => 0,
            _ => parts.iter().zip(first_seq.0..).take_while(|at| goes_on(*at)).count(),
        };
        if kept < parts.len() {
            self.ended = Some(*episode);
            parts.truncate(kept);
        }
    }
}

/// Consecutive parts.
struct Run {
    episode: Episode,
    first_seq: Seq,
    parts: Vec<Part>,
    bytes: usize,
}

impl Run {
    fn goes_on_with(&self, episode: Episode, first_seq: Seq) -> bool {
        episode == self.episode && first_seq.0 == self.first_seq.0 + self.parts.len() as u64
    }

    /// Takes what fits, at least one, and returns the rest.
    fn take_from(&mut self, first_seq: Seq, mut parts: Vec<Part>) -> Option<RelayFrame> {
        let mut fit = 0;
        for part in &parts {
            let full = self.bytes + part.bytes() > JOINED_TEXT_BYTES_MAX
                || self.parts.len() + fit == FRAME_PARTS_MAX;
            if full && self.parts.len() + fit > 0 {
                break;
            }
            self.bytes += part.bytes();
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

    /// Fails if a single part is too large, which the contract of `RelaySource` forbids.
    fn into_frame(self) -> Result<RelayFrame, Status> {
        if self.bytes > FRAME_TEXT_BYTES_MAX {
            tracing::error!(
                bytes = self.bytes,
                expected_max = FRAME_TEXT_BYTES_MAX,
                "a part is too large for the relay: split parts where they are made"
            );
            return Err(Status::internal("a part is too large"));
        }
        Ok(RelayFrame::Parts { episode: self.episode, first_seq: self.first_seq, parts: self.parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::stream;
    use mainstem_machine::{Lease, Version};

    const EPISODE: Episode = Episode { history_version: Version(1), attempt: 1 };

    fn parts(first_seq: u64, parts: &[&str]) -> RelayFrame {
        let parts = parts.iter().map(|part| Part::piece(part.to_string())).collect();
        RelayFrame::Parts { episode: EPISODE, first_seq: Seq(first_seq), parts }
    }

    fn opened() -> RelayFrame {
        RelayFrame::Opened { episode: EPISODE, lease: Lease(1) }
    }

    /// The frames that are sent if the source has all of `said` ready at once.
    fn sent(said: Vec<RelayFrame>) -> Vec<Result<RelayFrame, ()>> {
        let frames = Frames::new(stream::iter(said).boxed(), true);
        let sent: Vec<_> = frames.collect().now_or_never().expect("all of it is ready");
        sent.into_iter().map(|frame| frame.map(|frame| frame.try_into().unwrap()).map_err(drop)).collect()
    }

    #[test]
    fn parts_that_are_ready_together_travel_together() {
        let said = vec![opened(), parts(1, &["a"]), parts(2, &[]), parts(2, &["b", "c"]), parts(9, &["i"])];
        assert_eq!(sent(said), [Ok(opened()), Ok(parts(1, &["a", "b", "c"])), Ok(parts(9, &["i"]))]);
    }

    #[test]
    fn parts_wait_for_none_that_is_not_ready() {
        let said = stream::iter([parts(1, &["a"]), parts(2, &["b"])]).chain(stream::pending());
        let mut frames = Frames::new(said.boxed(), true);
        let first = frames.next().now_or_never().expect("ready").expect("not over").expect("no fault");
        assert_eq!(RelayFrame::try_from(first), Ok(parts(1, &["a", "b"])));
        assert!(frames.next().now_or_never().is_none());
    }

    #[test]
    fn a_long_run_is_split_within_the_limits() {
        let half = "x".repeat(JOINED_TEXT_BYTES_MAX / 2);
        let large = "x".repeat(FRAME_TEXT_BYTES_MAX);
        let said = vec![parts(1, &[&half, &half, "a", &large, "b"]), parts(6, &["c"])];
        let expected =
            [parts(1, &[&half, &half]), parts(3, &["a"]), parts(4, &[&large]), parts(5, &["b", "c"])];
        assert_eq!(sent(said), expected.map(Ok));

        let many = vec!["x"; FRAME_PARTS_MAX + 1];
        assert_eq!(
            sent(vec![parts(1, &many)]),
            [Ok(parts(1, &many[1..])), Ok(parts(1 + FRAME_PARTS_MAX as u64, &["x"]))]
        );
    }

    /// A replica of an earlier release would take a call for text.
    #[test]
    fn a_follower_that_takes_no_blocks_gets_the_first_text_and_no_more_of_the_answer() {
        let next = Episode { history_version: Version(2), attempt: 1 };
        let said = |parts: Vec<Part>| RelayFrame::Parts { episode: EPISODE, first_seq: Seq(1), parts };
        let sent = |said: Vec<RelayFrame>| -> Vec<RelayFrame> {
            let frames = Frames::new(stream::iter(said).boxed(), false);
            let sent: Vec<_> = frames.collect().now_or_never().expect("all of it is ready");
            sent.into_iter().map(|frame| frame.unwrap().try_into().unwrap()).collect()
        };
        let of_text = || vec![Part::beginning(Block::Text, "a"), Part::piece("b")];
        let mixed = [of_text(), vec![Part::beginning(Block::Reasoning, "c"), Part::piece("d")]].concat();
        let closed = || RelayFrame::Closed { episode: EPISODE };
        let other = || RelayFrame::Parts { episode: next, first_seq: Seq(1), parts: of_text() };
        let later = parts(5, &["e"]);
        let told = sent(vec![opened(), said(mixed), later, closed(), other()]);
        assert_eq!(told, [opened(), said(of_text()), closed(), other()]);
        let call = vec![Part::beginning(Block::tool_call("c", "find"), ""), Part::piece("{}")];
        assert_eq!(sent(vec![opened(), said(call), closed()]), [opened(), closed()]);
        let texts = vec![Part::piece("a"), Part::beginning(Block::Text, "b")];
        assert_eq!(sent(vec![said(texts)]), [said(vec![Part::piece("a")])], "it would join the two");
    }

    #[test]
    fn a_part_beyond_the_limit_is_not_sent() {
        let too_large = "x".repeat(FRAME_TEXT_BYTES_MAX + 1);
        assert_eq!(sent(vec![parts(1, &["a", &too_large])]), [Ok(parts(1, &["a"])), Err(())]);
    }
}
