//! A follower: a replica to which the parts generated here are relayed. Like a viewer, it is a position and
//! not a queue.

use super::episodes::{Buffer, Episodes, Source};
use super::reader::ReadMark;
use crate::limits::{FRAME_BYTES_MAX, FRAME_PARTS_MAX};
use crate::{RelayFrame, RelayPosition, Seq};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    position: Option<RelayPosition>,
    /// Which frames of the episode at `position` were sent.
    sent: Sent,
    /// A read that began before this says nothing about whether we are the worker (R18).
    pub(super) came: ReadMark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sent {
    Nothing,
    Opened,
    Closed,
}

impl Follower {
    pub(super) fn new(position: Option<RelayPosition>, came: ReadMark) -> Self {
        Self { position, sent: Sent::Nothing, came }
    }

    /// The next frame: for each episode `Opened`, its parts, `Closed`; then the next episode.
    pub(super) fn next_frame(&mut self, episodes: &Episodes) -> Option<RelayFrame> {
        let Some(at) = self.position else {
            return Some(self.enter(episodes.newest_local()?, Seq(0)));
        };
        let held = episodes.find(at.episode).filter(|buffer| buffer.source == Source::Local);
        match (held, self.sent) {
            (None, _) | (Some(_), Sent::Closed) => {
                Some(self.enter(episodes.local_after(at.episode)?, Seq(0)))
            }
            // A position beyond the last part cannot have come from this replica.
            (Some(buffer), Sent::Nothing) => Some(self.enter(buffer, at.seq.min(buffer.last()))),
            (Some(buffer), Sent::Opened) if at.seq < buffer.last() => {
                let parts = buffer.parts_after(at.seq, FRAME_PARTS_MAX, FRAME_BYTES_MAX);
                let first_seq = at.seq.next();
                self.position = Some(RelayPosition { seq: Seq(at.seq.0 + parts.len() as u64), ..at });
                Some(RelayFrame::Parts { episode: at.episode, first_seq, parts })
            }
            (Some(buffer), Sent::Opened) if buffer.is_settled() => {
                self.sent = Sent::Closed;
                Some(RelayFrame::Closed { episode: at.episode })
            }
            (Some(_), Sent::Opened) => None,
        }
    }

    fn enter(&mut self, buffer: &Buffer, seq: Seq) -> RelayFrame {
        self.position = Some(RelayPosition { episode: buffer.episode, seq });
        self.sent = Sent::Opened;
        RelayFrame::Opened { episode: buffer.episode, lease: buffer.lease }
    }
}
