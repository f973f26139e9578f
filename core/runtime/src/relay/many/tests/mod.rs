//! Each side alone, and both with a link between them.

mod follower;
mod linked;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::SinkExt;
use futures::channel::mpsc;
use futures::stream::{self, BoxStream, StreamExt};
use mainstem_machine::{ChatId, Episode, Lease, Part, RelayFault, RelayFrame, ReplicaId, Seq, Version};
use shuttle::future::spawn;
use tonic::Status;
use uuid::Uuid;

use super::proto::{self, ask, tell};
use crate::limits::relay::{
    ASKS_BYTES_MAX, ASKS_MAX, FRAME_BYTES_MAX, FRAME_TEXT_BYTES_MAX, REQUEST_BYTES_MAX, TELLS_BYTES_MAX,
    TELLS_MAX, TRACEPARENT_BYTES_MAX,
};
use crate::relay::server::RelaySource;
use crate::relay::wire::Follow;

type Asks = Result<proto::Asks, Status>;
type Told = Result<proto::Tells, Status>;

const EPISODE: Episode = Episode { history_version: Version(1), attempt: 1 };

fn part(seq: u64, bytes: usize) -> RelayFrame {
    RelayFrame::Parts { episode: EPISODE, first_seq: Seq(seq), parts: vec![Part::piece("x".repeat(bytes))] }
}

fn request(chat: u128) -> Follow {
    Follow {
        chat: ChatId(Uuid::from_u128(chat)),
        follower: ReplicaId::new("f").unwrap(),
        worker: ReplicaId::new("w").unwrap(),
        position: None,
        takes_blocks: true,
        traceparent: None,
    }
}

fn begin(follow: u64, chat: u128) -> proto::Ask {
    let begin = proto::Begin { request: Some(request(chat).into()), traceparent: String::new() };
    proto::Ask { follow, kind: Some(ask::Kind::Begin(begin)) }
}

fn leave(follow: u64) -> proto::Ask {
    proto::Ask { follow, kind: Some(ask::Kind::Leave(proto::Leave {})) }
}

fn taken(follow: u64, bytes: u64) -> proto::Ask {
    proto::Ask { follow, kind: Some(ask::Kind::Taken(bytes)) }
}

/// Chat 0 is refused. Others are told parts of this many bytes without end, or that many parts of one byte.
#[derive(Clone, Default)]
struct Source {
    bytes: usize,
    parts: Option<u64>,
    /// They come from another task, one by one.
    is_slow: bool,
    /// Streams that there are, and bytes that were taken from all.
    live: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source {
    fn of(bytes: usize) -> Self {
        Self { bytes, ..Self::default() }
    }

    fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl RelaySource for Source {
    async fn follow(&self, request: Follow) -> Result<BoxStream<'static, RelayFrame>, RelayFault> {
        if request.chat.0.is_nil() {
            return Err(RelayFault::NotWorker);
        }
        self.live.fetch_add(1, Ordering::SeqCst);
        let (bytes, counted, live) = (self.bytes, self.taken.clone(), Live(self.live.clone()));
        let told = move |seq| {
            let _live = &live;
            counted.fetch_add(bytes, Ordering::SeqCst);
            part(seq, bytes)
        };
        if self.is_slow {
            let (mut feeding, fed) = mpsc::channel(0);
            let parts = self.parts.expect("it ends");
            spawn(async move {
                for part in (1..=parts).map(told) {
                    if feeding.send(part).await.is_err() {
                        return;
                    }
                }
            });
            return Ok(fed.boxed());
        }
        Ok(match self.parts {
            Some(parts) => stream::iter(1..=parts).map(told).boxed(),
            None => stream::iter(1..).map(told).boxed(),
        })
    }
}

fn accepted(follow: u64) -> (u64, tell::Kind) {
    (follow, tell::Kind::Accepted(proto::Accepted {}))
}

fn ended(follow: u64, fault: RelayFault) -> (u64, tell::Kind) {
    (follow, tell::Kind::Ended(proto::Ended { fault: proto::Fault::from(fault).into() }))
}

#[test]
fn the_largest_messages_are_within_their_bounds() {
    use prost::Message;
    let long = "x".repeat(64);
    let mut largest = request(u128::MAX);
    (largest.follower, largest.worker) = (ReplicaId::new(&*long).unwrap(), ReplicaId::new(&*long).unwrap());
    let request = proto::FollowRequest::from(largest);
    assert!(request.encoded_len() <= REQUEST_BYTES_MAX);
    let begin = proto::Begin { request: Some(request), traceparent: "x".repeat(TRACEPARENT_BYTES_MAX) };
    let ask = proto::Ask { follow: u64::MAX, kind: Some(ask::Kind::Begin(begin)) };
    assert!(proto::Asks { asks: vec![ask; ASKS_MAX] }.encoded_len() <= ASKS_BYTES_MAX);
    let frame: proto::Frame = part(u64::MAX / 2, FRAME_TEXT_BYTES_MAX).into();
    assert!(frame.encoded_len() <= FRAME_BYTES_MAX);
    let tell = |kind| proto::Tell { follow: u64::MAX, kind: Some(kind) };
    let small: proto::Frame = RelayFrame::Opened { episode: EPISODE, lease: Lease(u64::MAX) }.into();
    let mut tells = vec![tell(tell::Kind::Frame(small)); TELLS_MAX];
    tells.push(tell(tell::Kind::Frame(frame)));
    assert!(proto::Tells { tells }.encoded_len() <= TELLS_BYTES_MAX);
}
