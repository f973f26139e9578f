//! Conversion between the relay's protobuf messages and the machine's types.
//!
//! An invalid message is [`RelayFault::Nonsense`]: a missing field, an invalid id, a part that is not UTF-8, a
//! whole one that is no object on one line, a seq out of range, or more than the limits allow.

use std::sync::Arc;

use bytes::Bytes;
use mainstem_machine::{
    Block, ChatId, Episode, Lease, Part, RelayFault, RelayFrame, RelayPosition, ReplicaId, Seq, Version,
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
    /// Whether it reads of which blocks parts are. A replica of an earlier release does not.
    pub takes_blocks: bool,
    /// What the follower says of its end for those who trace, in W3C's words. It goes in the call's metadata.
    pub traceparent: Option<Arc<str>>,
}

/// The name of that in the metadata.
pub(super) const TRACEPARENT: &str = "traceparent";

impl From<Follow> for proto::FollowRequest {
    fn from(follow: Follow) -> Self {
        Self {
            chat: Bytes::copy_from_slice(follow.chat.0.as_bytes()),
            follower: follow.follower.as_str().to_owned(),
            worker: follow.worker.as_str().to_owned(),
            position: follow
                .position
                .map(|at| proto::Position { episode: Some(at.episode.into()), seq: at.seq.0 }),
            takes_blocks: follow.takes_blocks,
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
            takes_blocks: request.takes_blocks,
            traceparent: None,
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
                let first_seq = first_seq.0;
                let beginning = |(at, part): (usize, &Part)| {
                    let block = part.begins.as_ref().map(proto::beginning::Block::from)?;
                    Some(proto::Beginning { part: at as u32, block: Some(block) })
                };
                let beginnings = parts.iter().enumerate().filter_map(beginning).collect();
                let parts = parts.into_iter().map(|part| part.text).collect();
                Kind::Parts(proto::Parts { episode: Some(episode.into()), first_seq, parts, beginnings })
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
            Kind::Parts(proto::Parts { episode: of, first_seq, parts, beginnings }) => {
                let count = parts.len();
                let in_order = first_seq > 0 && first_seq.checked_add(count as u64).is_some();
                if !in_order || !(1..=FRAME_PARTS_MAX).contains(&count) {
                    return Err(RelayFault::Nonsense);
                }
                let parts = with_beginnings(parts, beginnings)?;
                let bytes: usize = parts.iter().map(Part::bytes).sum();
                if bytes > FRAME_TEXT_BYTES_MAX || !parts.iter().all(is_text) {
                    return Err(RelayFault::Nonsense);
                }
                Self::Parts { episode: episode(of)?, first_seq: Seq(first_seq), parts }
            }
            Kind::Closed(closed) => Self::Closed { episode: episode(closed.episode)? },
        })
    }
}

impl From<&Block> for proto::beginning::Block {
    fn from(block: &Block) -> Self {
        match block {
            Block::Text => Self::Text(proto::Text {}),
            Block::Reasoning => Self::Reasoning(proto::Reasoning {}),
            Block::ToolCall(call) => Self::ToolCall(proto::ToolCall {
                id: call.id.as_ref().into(),
                name: call.name.as_ref().into(),
            }),
            Block::Whole => Self::Whole(proto::Whole {}),
            Block::Unknown => unreachable!("what is generated here is of a kind that is known here"),
        }
    }
}

fn block(told: Option<proto::beginning::Block>) -> Block {
    use proto::beginning::Block as Told;
    match told {
        Some(Told::Text(_)) => Block::Text,
        Some(Told::Reasoning(_)) => Block::Reasoning,
        Some(Told::ToolCall(call)) => Block::tool_call(&call.id, &call.name),
        Some(Told::Whole(_)) => Block::Whole,
        None => Block::Unknown,
    }
}

fn with_beginnings(texts: Vec<Bytes>, beginnings: Vec<proto::Beginning>) -> Result<Vec<Part>, RelayFault> {
    let mut parts: Vec<Part> = texts.into_iter().map(Part::piece).collect();
    let mut from = 0;
    for proto::Beginning { part, block: told } in beginnings {
        let named = parts.get_mut(part as usize).filter(|_| part as usize >= from);
        named.ok_or(RelayFault::Nonsense)?.begins = Some(block(told));
        from = part as usize + 1;
    }
    Ok(parts)
}

/// Whether it can be shown as what it says it is.
fn is_text(part: &Part) -> bool {
    let takes = |text| part.begins.as_ref().is_none_or(|block| block.takes(text));
    std::str::from_utf8(&part.text).is_ok_and(takes)
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
        let kind = proto::Parts { episode: Some(EPISODE.into()), first_seq, parts, beginnings: vec![] };
        proto::Frame { kind: Some(Kind::Parts(kind)) }
    }

    #[test]
    fn what_a_machine_says_arrives_as_it_was_said() {
        for frame in [
            RelayFrame::Opened { episode: EPISODE, lease: Lease(3) },
            RelayFrame::Parts {
                episode: EPISODE,
                first_seq: Seq(5),
                parts: vec![
                    Part::piece("a"),
                    Part::beginning(Block::Reasoning, "ü "),
                    Part::piece("ü "),
                    Part::beginning(Block::tool_call("c", "find"), ""),
                    Part::beginning(Block::Whole, "{}"),
                    Part::beginning(Block::Text, "b"),
                ],
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
                takes_blocks: true,
                traceparent: None,
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

    /// The kinds that a later release may add.
    #[test]
    fn a_block_of_a_kind_that_is_not_known_keeps_its_place() {
        let Kind::Parts(mut kind) = parts(1, vec![Bytes::from("a"), Bytes::from("b")]).kind.unwrap() else {
            unreachable!("it was made of parts")
        };
        kind.beginnings = vec![proto::Beginning { part: 1, block: None }];
        let frame = RelayFrame::try_from(proto::Frame { kind: Some(Kind::Parts(kind)) });
        let read = vec![Part::piece("a"), Part::beginning(Block::Unknown, "b")];
        assert_eq!(frame, Ok(RelayFrame::Parts { episode: EPISODE, first_seq: Seq(1), parts: read }));
    }

    #[test]
    fn beginnings_are_in_their_order_and_of_parts_that_come() {
        let with = |begun: &[u32], block: Block, text: &'static str| {
            let Kind::Parts(mut kind) = parts(1, vec![Bytes::from(text); 2]).kind.unwrap() else {
                unreachable!("it was made of parts")
            };
            let block = Some(proto::beginning::Block::from(&block));
            kind.beginnings =
                begun.iter().map(|part| proto::Beginning { part: *part, block: block.clone() }).collect();
            RelayFrame::try_from(proto::Frame { kind: Some(Kind::Parts(kind)) }).map(drop)
        };
        assert_eq!(with(&[0, 1], Block::Text, "x"), Ok(()));
        for begun in [&[1, 0][..], &[0, 0], &[2]] {
            assert_eq!(with(begun, Block::Text, "x"), Err(RelayFault::Nonsense), "{begun:?}");
        }
        assert_eq!(with(&[0], Block::Whole, "x"), Err(RelayFault::Nonsense), "it is no object");
        assert_eq!(with(&[0], Block::Whole, "{}"), Ok(()));
        let long = Block::tool_call(&"x".repeat(FRAME_TEXT_BYTES_MAX), "find");
        assert_eq!(with(&[0], long, ""), Err(RelayFault::Nonsense), "B1");
    }

    #[test]
    fn a_request_that_makes_no_sense_is_told_as_such() {
        let good = proto::FollowRequest {
            chat: Bytes::from_static(&[1; 16]),
            follower: "f".into(),
            worker: "w".into(),
            position: None,
            takes_blocks: false,
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
