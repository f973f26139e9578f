//! The worker's side: one task with all that a peer follows here.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures::channel::mpsc;
use futures::stream::{BoxStream, Stream, StreamExt};
use mainstem_machine::{RelayFault, RelayFrame};
use tonic::{Status, Streaming};

use super::ready::{Ready, Turn};
use super::size;
use crate::limits::relay::{
    FOLLOW_WINDOW, FOLLOWS_ON_STREAM_MAX, JOINED_TEXT_BYTES_MAX, TELLS_MAX, TRACEPARENT_BYTES_MAX,
};
use crate::ports::Boxed;
use crate::relay::frames::Frames;
use crate::relay::proto::{self, ask, tell};
use crate::relay::server::RelaySource;
use crate::relay::wire::Follow;

type Told = Result<proto::Tells, Status>;

/// The task that answers one stream of asks, and what it tells. It goes on until the follower leaves or the stream of
/// what is told is dropped.
pub(in crate::relay) fn serve<H: RelaySource>(
    source: Arc<H>,
    asks: Streaming<proto::Asks>,
) -> (impl Future<Output = ()> + Send + 'static, mpsc::Receiver<Told>) {
    let (tells, told) = mpsc::channel(0);
    (Serving::new(source, asks, tells), told)
}

/// Generic in what the asks come from, for tests.
pub(super) struct Serving<H, A> {
    source: Arc<H>,
    asks: A,
    tells: mpsc::Sender<Told>,
    follows: BTreeMap<u64, Followed>,
    ready: Ready,
    last: u64,
}

/// One follow.
struct Followed {
    turn: Arc<Turn>,
    phase: Phase,
    /// How many bytes may be sent ahead of the follower. A frame is sent if it is any, and may be larger.
    window: i64,
    takes_blocks: bool,
}

enum Phase {
    Asked(Boxed<'static, Result<BoxStream<'static, RelayFrame>, RelayFault>>),
    Accepted(Frames),
}

impl<H: RelaySource, A: Stream<Item = Result<proto::Asks, Status>> + Unpin> Serving<H, A> {
    pub(super) fn new(source: Arc<H>, asks: A, tells: mpsc::Sender<Told>) -> Self {
        Self { source, asks, tells, follows: BTreeMap::new(), ready: Ready::default(), last: 0 }
    }

    fn handle(&mut self, proto::Ask { follow, kind }: proto::Ask) -> Result<(), Status> {
        match kind {
            Some(ask::Kind::Begin(begin)) => {
                if follow <= self.last {
                    return Err(Status::invalid_argument(
                        "a follow's number is not larger than those before",
                    ));
                }
                self.last = follow;
                self.begin(follow, begin);
            }
            Some(ask::Kind::Leave(proto::Leave {})) => drop(self.follows.remove(&follow)),
            // It may have ended meanwhile.
            Some(ask::Kind::Taken(bytes)) => {
                if let Some(followed) = self.follows.get_mut(&follow) {
                    followed.window =
                        followed.window.saturating_add_unsigned(bytes).min(FOLLOW_WINDOW as i64);
                    followed.turn.queue();
                }
            }
            None => {}
        }
        Ok(())
    }

    fn begin(&mut self, number: u64, proto::Begin { request, traceparent }: proto::Begin) {
        let is_crowded = self.follows.len() >= FOLLOWS_ON_STREAM_MAX;
        let request = request.ok_or(RelayFault::Nonsense).and_then(Follow::try_from);
        let request = if is_crowded { Err(RelayFault::Gone) } else { request };
        let takes_blocks = request.as_ref().is_ok_and(|request| request.takes_blocks);
        let is_said = !traceparent.is_empty() && traceparent.len() <= TRACEPARENT_BYTES_MAX;
        let traceparent = is_said.then(|| traceparent.into());
        let source = self.source.clone();
        let asked = async move { source.follow(Follow { traceparent, ..request? }).await };
        let turn = self.ready.admit(number);
        turn.queue();
        let phase = Phase::Asked(Box::pin(asked));
        self.follows.insert(number, Followed { turn, phase, window: FOLLOW_WINDOW as i64, takes_blocks });
    }

    /// What is ready, a frame of each follow in turn.
    fn collect(&mut self) -> Vec<proto::Tell> {
        let mut tells = vec![];
        let mut bytes = 0;
        while tells.len() < TELLS_MAX
            && bytes < JOINED_TEXT_BYTES_MAX
            && let Some(follow) = self.ready.next()
        {
            let Some(followed) = self.follows.get_mut(&follow) else { continue };
            let waker = followed.turn.begin();
            let Poll::Ready(kind) = followed.poll_next(&waker) else { continue };
            match &kind {
                tell::Kind::Ended(_) => drop(self.follows.remove(&follow)),
                tell::Kind::Frame(frame) => bytes += size(frame),
                tell::Kind::Accepted(_) => {}
            }
            tells.push(proto::Tell { follow, kind: Some(kind) });
        }
        tells
    }
}

impl Followed {
    /// What it is told next. It is queued again if there may be more.
    fn poll_next(&mut self, waker: &Waker) -> Poll<tell::Kind> {
        let context = &mut Context::from_waker(waker);
        let ended = |fault: RelayFault| {
            Poll::Ready(tell::Kind::Ended(proto::Ended { fault: proto::Fault::from(fault).into() }))
        };
        match &mut self.phase {
            Phase::Asked(asked) => match ready!(asked.as_mut().poll(context)) {
                Ok(frames) => {
                    self.phase = Phase::Accepted(Frames::new(frames, self.takes_blocks));
                    self.turn.queue();
                    Poll::Ready(tell::Kind::Accepted(proto::Accepted {}))
                }
                Err(fault) => ended(fault),
            },
            // It is queued when the follower has taken some.
            Phase::Accepted(_) if self.window <= 0 => Poll::Pending,
            Phase::Accepted(frames) => match ready!(frames.poll_next_unpin(context)) {
                Some(Ok(frame)) => {
                    self.window -= size(&frame) as i64;
                    if frames.may_have_more() {
                        self.turn.queue();
                    }
                    Poll::Ready(tell::Kind::Frame(frame))
                }
                Some(Err(_)) => ended(RelayFault::Nonsense),
                None => ended(RelayFault::Gone),
            },
        }
    }
}

impl<H: RelaySource, A: Stream<Item = Result<proto::Asks, Status>> + Unpin> Future for Serving<H, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Also while the follower takes nothing: whom it leaves is let go at once.
        while let Poll::Ready(asks) = this.asks.poll_next_unpin(context) {
            let Some(Ok(asks)) = asks else { return Poll::Ready(()) };
            for ask in asks.asks {
                if let Err(status) = this.handle(ask) {
                    tracing::warn!(%status, "a peer violated the relay protocol");
                    this.tells.try_send(Err(status)).ok();
                    return Poll::Ready(());
                }
            }
        }
        this.ready.register(context);
        loop {
            match ready!(this.tells.poll_ready(context)) {
                Ok(()) => {}
                Err(_) => return Poll::Ready(()),
            }
            let tells = this.collect();
            if tells.is_empty() {
                return Poll::Pending;
            }
            if this.tells.start_send(Ok(proto::Tells { tells })).is_err() {
                return Poll::Ready(());
            }
        }
    }
}
