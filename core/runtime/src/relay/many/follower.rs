//! The follower's side: an inbox for each follow, into which one task puts what the worker tells, and what is to be asked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use futures::stream::{Stream, StreamExt};
use mainstem_machine::RelayFault;
use tonic::Status;

use super::size;
use crate::limits::relay::{ASKS_MAX, FOLLOW_WINDOW, FRAME_BYTES_MAX};
use crate::relay::proto::{self, ask, tell};
use crate::relay::wire::{self, Follow};
use crate::sync::{AtomicWaker, Mutex, MutexGuard};

/// All that is followed over one connection. Cheap to clone; all clones share it.
#[derive(Clone, Default)]
pub(in crate::relay) struct Many(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Of who sends the asks.
    asker: AtomicWaker,
}

#[derive(Default)]
struct State {
    last: u64,
    /// The last one whose begin was sent.
    begun: u64,
    /// At most one begin and one leave of each, and one or two of what it has taken since.
    asks: VecDeque<proto::Ask>,
    inboxes: BTreeMap<u64, Arc<Inbox>>,
    is_over: bool,
}

#[derive(Default)]
struct Inbox {
    news: Mutex<News>,
    reader: AtomicWaker,
}

#[derive(Default)]
struct News {
    is_accepted: bool,
    /// With their sizes.
    frames: VecDeque<(usize, proto::Frame)>,
    bytes: usize,
    ended: Option<RelayFault>,
}

impl Many {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing can be followed over it any more.
    pub(in crate::relay) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// What is to be sent to the worker, until it is over.
    pub(in crate::relay) fn asks(&self) -> impl Stream<Item = proto::Asks> + Send + 'static {
        let many = self.clone();
        futures::stream::poll_fn(move |context| many.poll_asks(context))
    }

    fn poll_asks(&self, context: &mut Context<'_>) -> Poll<Option<proto::Asks>> {
        self.0.asker.register(context.waker());
        let mut state = self.lock();
        let count = state.asks.len().min(ASKS_MAX);
        let asks: Vec<_> = state.asks.drain(..count).collect();
        if asks.is_empty() {
            state.asks.shrink_to(ASKS_MAX);
            return if state.is_over { Poll::Ready(None) } else { Poll::Pending };
        }
        let begins = |ask: &&proto::Ask| matches!(ask.kind, Some(ask::Kind::Begin(_)));
        if let Some(begun) = asks.iter().rfind(begins) {
            state.begun = begun.follow;
        }
        Poll::Ready(Some(proto::Asks { asks }))
    }

    /// Hears what the worker tells until that ends. Then, or when it is dropped, all follows are over.
    pub(in crate::relay) fn hear<T>(&self, mut told: T) -> impl Future<Output = ()> + Send + 'static
    where
        T: Stream<Item = Result<proto::Tells, Status>> + Unpin + Send + 'static,
    {
        let mut hearing = Hearing { many: self.clone(), fault: RelayFault::Gone };
        async move {
            while let Some(told) = told.next().await {
                match told {
                    Ok(tells) => hearing.many.deliver(tells),
                    Err(status) => hearing.fault = wire::fault(&status),
                }
            }
        }
    }

    fn deliver(&self, proto::Tells { tells }: proto::Tells) {
        let mut state = self.lock();
        for proto::Tell { follow, kind } in tells {
            // Those that were left are not known any more.
            let (Some(inbox), Some(kind)) = (state.inboxes.get(&follow), kind) else { continue };
            match inbox.put(kind) {
                Put::More => {}
                Put::Last => drop(state.inboxes.remove(&follow)),
                // The reader, who is woken, goes, and wakes who asks.
                Put::TooMuch => state.leave(follow),
            }
        }
    }

    fn end(&self, fault: RelayFault) {
        let inboxes = {
            let mut state = self.lock();
            state.is_over = true;
            state.asks.clear();
            std::mem::take(&mut state.inboxes)
        };
        for inbox in inboxes.into_values() {
            inbox.end(fault);
        }
        self.0.asker.wake();
    }

    /// Asks to follow, and waits until the worker has agreed.
    pub(in crate::relay) async fn follow(&self, request: Follow) -> Result<ManyFrames, RelayFault> {
        let traceparent = request.traceparent.as_deref().unwrap_or_default().to_owned();
        let begin = proto::Begin { request: Some(request.into()), traceparent };
        let inbox = Arc::<Inbox>::default();
        let number = {
            let mut state = self.lock();
            if state.is_over {
                return Err(RelayFault::Gone);
            }
            state.last += 1;
            let number = state.last;
            state.inboxes.insert(number, inbox.clone());
            state.asks.push_back(proto::Ask { follow: number, kind: Some(ask::Kind::Begin(begin)) });
            number
        };
        self.0.asker.wake();
        let mut frames = ManyFrames { many: self.clone(), number, inbox, taken: 0 };
        std::future::poll_fn(|context| frames.poll_accepted(context)).await?;
        Ok(frames)
    }

    fn ask(&self, follow: u64, kind: ask::Kind) {
        let mut state = self.lock();
        // Those that have ended need nothing.
        if state.inboxes.contains_key(&follow) {
            state.asks.push_back(proto::Ask { follow, kind: Some(kind) });
            drop(state);
            self.0.asker.wake();
        }
    }

    fn leave(&self, follow: u64) {
        self.lock().leave(follow);
        self.0.asker.wake();
    }
}

impl State {
    fn leave(&mut self, follow: u64) {
        if self.inboxes.remove(&follow).is_none() {
            return;
        }
        if follow > self.begun {
            self.asks.retain(|ask| ask.follow != follow);
        } else {
            self.asks.push_back(proto::Ask { follow, kind: Some(ask::Kind::Leave(proto::Leave {})) });
        }
    }
}

/// Ends all follows when it is dropped.
struct Hearing {
    many: Many,
    fault: RelayFault,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.many.end(self.fault);
    }
}

enum Put {
    More,
    /// It was the last.
    Last,
    /// It is more than the worker may send ahead.
    TooMuch,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, kind: tell::Kind) -> Put {
        let mut news = self.lock();
        let put = match kind {
            tell::Kind::Accepted(proto::Accepted {}) => {
                news.is_accepted = true;
                Put::More
            }
            tell::Kind::Frame(frame) => {
                let size = size(&frame);
                news.bytes += size;
                news.frames.push_back((size, frame));
                // B1: a worker that sends more than it was allowed.
                let is_too_much = news.bytes > FOLLOW_WINDOW + FRAME_BYTES_MAX;
                if is_too_much { Put::TooMuch } else { Put::More }
            }
            tell::Kind::Ended(ended) => {
                let fault = proto::Fault::try_from(ended.fault).map_or(RelayFault::Gone, RelayFault::from);
                news.ended = Some(fault);
                Put::Last
            }
        };
        if matches!(put, Put::TooMuch) {
            *news = News { ended: Some(RelayFault::Nonsense), ..News::default() };
        }
        drop(news);
        self.reader.wake();
        put
    }

    fn end(&self, fault: RelayFault) {
        self.lock().ended.get_or_insert(fault);
        self.reader.wake();
    }
}

/// What is told of one follow. Dropping it leaves.
pub(in crate::relay) struct ManyFrames {
    many: Many,
    number: u64,
    inbox: Arc<Inbox>,
    /// Bytes that were read, and of which the worker does not know.
    taken: usize,
}

impl ManyFrames {
    fn poll_accepted(&mut self, context: &mut Context<'_>) -> Poll<Result<(), RelayFault>> {
        self.inbox.reader.register(context.waker());
        let news = self.inbox.lock();
        match (news.is_accepted, news.ended) {
            (true, _) => Poll::Ready(Ok(())),
            (false, Some(fault)) => Poll::Ready(Err(fault)),
            (false, None) => Poll::Pending,
        }
    }

    /// The next frame, or why there is none any more.
    pub(in crate::relay) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<proto::Frame, RelayFault>> {
        self.inbox.reader.register(context.waker());
        let frame = {
            let mut news = self.inbox.lock();
            match (news.frames.pop_front(), news.ended) {
                (Some((size, frame)), _) => {
                    news.bytes -= size;
                    self.taken += size;
                    frame
                }
                (None, Some(fault)) => return Poll::Ready(Err(fault)),
                (None, None) => return Poll::Pending,
            }
        };
        if self.taken >= FOLLOW_WINDOW / 2 {
            let taken = std::mem::take(&mut self.taken);
            self.many.ask(self.number, ask::Kind::Taken(taken as u64));
        }
        Poll::Ready(Ok(frame))
    }
}

impl Drop for ManyFrames {
    fn drop(&mut self) {
        self.many.leave(self.number);
    }
}

impl fmt::Debug for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many").field("follows", &self.lock().inboxes.len()).finish()
    }
}

impl fmt::Debug for ManyFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManyFrames").field("follow", &self.number).finish_non_exhaustive()
    }
}
