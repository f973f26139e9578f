//! Conversion between the relay's protobuf messages and the machine's types.
//!
//! An invalid message is [`RelayFault::Nonsense`]: a missing field, an invalid id, a part that is not UTF-8,
//! a seq out of range, or more than the limits allow.

use bytes::Bytes;
use mainstem_machine::{
    ChatId, Episode, Lease, RelayFault, RelayFrame, RelayPosition, ReplicaId, Seq, Version,
};
use tonic::{Code, Status};
use uuid::Uuid;

use super::proto;
use crate::limits::relay::{FRAME_PARTS_MAX, FRAME_TEXT_BYTES_MAX};

/// A follower's request to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    pub chat: ChatId,
    /// The replica that follows.
    pub follower: ReplicaId,
    /// The replica that the request is meant for. Any other one answers [`RelayFault::NotWorker`].
    pub worker: ReplicaId,
    /// The position of the follower's hub; `None` if it knows no episode.
    pub position: Option<RelayPosition>,
}

impl From<Follow> for proto::FollowRequest {
    fn from(follow: Follow) -> Self {
        Self {
            chat: Bytes::copy_from_slice(follow.chat.0.as_bytes()),
            follower: follow.follower.as_str().to_owned(),
            worker: follow.worker.as_str().to_owned(),
            position: follow
                .position
                .map(|at| proto::Position { episode: Some(at.episode.into()), seq: at.seq.0 }),
        }
    }
}

impl TryFrom<proto::FollowRequest> for Follow {
    type Error = RelayFault;

    fn try_from(request: proto::FollowRequest) -> Result<Self, RelayFault> {
        let replica = |id: String| ReplicaId::new(id).map_err(|_| RelayFault::Nonsense);
        let position = |at: proto::Position| -> Result<RelayPosition, RelayFault> {
            Ok(RelayPosition { episode: episode(at.episode)?, seq: Seq(at.seq) })
        };
        Ok(Self {
            chat: ChatId(Uuid::from_slice(&request.chat).map_err(|_| RelayFault::Nonsense)?),
            follower: replica(request.follower)?,
            worker: replica(request.worker)?,
            position: request.position.map(position).transpose()?,
        })
    }
}

impl From<Episode> for proto::Episode {
    fn from(episode: Episode) -> Self {
        Self { history_version: episode.history_version.0, attempt: episode.attempt }
    }
}

fn episode(episode: Option<proto::Episode>) -> Result<Episode, RelayFault> {
    let episode = episode.ok_or(RelayFault::Nonsense)?;
    Ok(Episode { history_version: Version(episode.history_version), attempt: episode.attempt })
}

impl From<RelayFrame> for proto::Frame {
    fn from(frame: RelayFrame) -> Self {
        use proto::frame::Kind;
        let kind = match frame {
            RelayFrame::Opened { episode, lease } => {
                Kind::Opened(proto::Opened { episode: Some(episode.into()), lease: lease.0 })
            }
            RelayFrame::Parts { episode, first_seq, parts } => {
                Kind::Parts(proto::Parts { episode: Some(episode.into()), first_seq: first_seq.0, parts })
            }
            RelayFrame::Closed { episode } => Kind::Closed(proto::Closed { episode: Some(episode.into()) }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<proto::Frame> for RelayFrame {
    type Error = RelayFault;

    fn try_from(frame: proto::Frame) -> Result<Self, RelayFault> {
        use proto::frame::Kind;
        Ok(match frame.kind.ok_or(RelayFault::Nonsense)? {
            Kind::Opened(opened) => {
                Self::Opened { episode: episode(opened.episode)?, lease: Lease(opened.lease) }
            }
            Kind::Parts(parts) => {
                let count = parts.parts.len();
                let in_order = parts.first_seq > 0 && parts.first_seq.checked_add(count as u64).is_some();
                let bounded = (1..=FRAME_PARTS_MAX).contains(&count)
                    && text_bytes(&parts.parts) <= FRAME_TEXT_BYTES_MAX;
                let text = parts.parts.iter().all(|part| std::str::from_utf8(part).is_ok());
                if !(in_order && bounded && text) {
                    return Err(RelayFault::Nonsense);
                }
                Self::Parts {
                    episode: episode(parts.episode)?,
                    first_seq: Seq(parts.first_seq),
                    parts: parts.parts,
                }
            }
            Kind::Closed(closed) => Self::Closed { episode: episode(closed.episode)? },
        })
    }
}

pub(super) fn text_bytes(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

/// The status with which a worker rejects a follow.
pub(super) fn to_status(fault: RelayFault) -> Status {
    match fault {
        RelayFault::NotWorker => Status::failed_precondition("this replica does not work on the chat"),
        RelayFault::Denied => Status::permission_denied("this replica may not follow the chat"),
        RelayFault::Nonsense => Status::invalid_argument("the request makes no sense"),
        RelayFault::Gone => Status::unavailable("not now"),
    }
}

/// The fault that a failed call stands for.
pub(super) fn fault(status: &Status) -> RelayFault {
    // A status with a source does not come from the peer: the connection or the stream broke.
    if is_broken(status) {
        return RelayFault::Gone;
    }
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => RelayFault::Denied,
        Code::FailedPrecondition => RelayFault::NotWorker,
        // tonic uses the last two for a frame that is too large or cannot be decoded.
        Code::InvalidArgument | Code::OutOfRange | Code::Internal => RelayFault::Nonsense,
        _ => RelayFault::Gone,
    }
}

/// Whether the transport failed, and not just the call.
pub(super) fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::frame::Kind;

    const EPISODE: Episode = Episode { history_version: Version(7), attempt: 2 };

    fn parts(first_seq: u64, parts: Vec<Bytes>) -> proto::Frame {
        let kind = proto::Parts { episode: Some(EPISODE.into()), first_seq, parts };
        proto::Frame { kind: Some(Kind::Parts(kind)) }
    }

    #[test]
    fn what_a_machine_says_arrives_as_it_was_said() {
        for frame in [
            RelayFrame::Opened { episode: EPISODE, lease: Lease(3) },
            RelayFrame::Parts {
                episode: EPISODE,
                first_seq: Seq(5),
                parts: vec![Bytes::from("a"), Bytes::from("ü ")],
            },
            RelayFrame::Closed { episode: EPISODE },
        ] {
            assert_eq!(RelayFrame::try_from(proto::Frame::from(frame.clone())), Ok(frame));
        }
        for position in [None, Some(RelayPosition { episode: EPISODE, seq: Seq(9) })] {
            let follow = Follow {
                chat: ChatId(Uuid::from_u128(0x0192_7c1a_0000_7000_8000_0000_0000_0001)),
                follower: ReplicaId::new("f").unwrap(),
                worker: ReplicaId::new("w").unwrap(),
                position,
            };
            assert_eq!(Follow::try_from(proto::FollowRequest::from(follow.clone())), Ok(follow));
        }
    }

    #[test]
    fn a_frame_that_makes_no_sense_is_told_as_such() {
        let text = || Bytes::from_static(b"x");
        for frame in [
            proto::Frame { kind: None },
            proto::Frame { kind: Some(Kind::Opened(proto::Opened { episode: None, lease: 1 })) },
            proto::Frame { kind: Some(Kind::Closed(proto::Closed { episode: None })) },
            parts(1, vec![]),
            parts(0, vec![text()]),
            parts(u64::MAX, vec![text()]),
            parts(1, vec![Bytes::from_static(b"\xff")]),
            parts(1, vec![text(); FRAME_PARTS_MAX + 1]),
            parts(1, vec![Bytes::from(vec![b'x'; FRAME_TEXT_BYTES_MAX]), text()]),
        ] {
            assert_eq!(RelayFrame::try_from(frame), Err(RelayFault::Nonsense));
        }
    }

    #[test]
    fn a_request_that_makes_no_sense_is_told_as_such() {
        let good = proto::FollowRequest {
            chat: Bytes::from_static(&[1; 16]),
            follower: "f".into(),
            worker: "w".into(),
            position: None,
        };
        assert!(Follow::try_from(good.clone()).is_ok());
        for request in [
            proto::FollowRequest { chat: Bytes::from_static(&[1; 15]), ..good.clone() },
            proto::FollowRequest { follower: String::new(), ..good.clone() },
            proto::FollowRequest { worker: "no/replica".into(), ..good.clone() },
            proto::FollowRequest { position: Some(proto::Position { episode: None, seq: 1 }), ..good },
        ] {
            assert_eq!(Follow::try_from(request), Err(RelayFault::Nonsense));
        }
    }

    #[test]
    fn every_fault_but_a_lost_peer_survives_the_wire() {
        for reported in [RelayFault::NotWorker, RelayFault::Denied, RelayFault::Nonsense, RelayFault::Gone] {
            assert_eq!(fault(&to_status(reported)), reported);
        }
        assert_eq!(fault(&Status::from_error("broken".into())), RelayFault::Gone);
    }
}
