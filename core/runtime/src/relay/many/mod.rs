//! One stream for all that one replica follows at another: `FollowMany` of `proto/relay.proto`.
//!
//! A stream of its own for each chat costs a task, a window and a wake-up at both ends. Here both write once for all that
//! is ready at a moment. What HTTP/2 did for each stream is done here for each follow: a worker sends a bounded
//! amount ahead of whoever reads (B1), follows take turns (B3), and one that ends leaves nothing behind (B2).

mod follower;
mod ready;
mod worker;

use mainstem_machine::RelayFault;
use prost::Message;

pub(super) use self::follower::{Many, ManyFrames};
pub(super) use self::worker::serve;
use super::proto;

/// What a frame takes of a follow's window.
fn size(frame: &proto::Frame) -> usize {
    frame.encoded_len()
}

impl From<RelayFault> for proto::Fault {
    fn from(fault: RelayFault) -> Self {
        match fault {
            RelayFault::Gone => Self::Gone,
            RelayFault::NotWorker => Self::NotWorker,
            RelayFault::Denied => Self::Denied,
            RelayFault::Nonsense => Self::Nonsense,
        }
    }
}

impl From<proto::Fault> for RelayFault {
    fn from(fault: proto::Fault) -> Self {
        match fault {
            proto::Fault::Gone => Self::Gone,
            proto::Fault::NotWorker => Self::NotWorker,
            proto::Fault::Denied => Self::Denied,
            proto::Fault::Nonsense => Self::Nonsense,
        }
    }
}

#[cfg(test)]
mod tests;
