//! Both sides, alone and with each other, under many schedules.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Count;

use futures::channel::mpsc;
use futures::stream::{self, BoxStream, StreamExt};
use futures::{FutureExt, SinkExt};
use mainstem_machine::{ChatId, Episode, Lease, Part, RelayFault, RelayFrame, ReplicaId, Seq, Version};
use shuttle::future::{block_on, spawn};
use tonic::{Code, Status};
use uuid::Uuid;

use super::proto::{self, ask, tell};
use super::worker::Serving;
use super::{Many, ManyFrames};
use crate::limits::relay::{
    ASKS_BYTES_MAX, ASKS_MAX, FOLLOW_WINDOW, FOLLOWS_ON_STREAM_MAX, FRAME_BYTES_MAX, FRAME_TEXT_BYTES_MAX,
    JOINED_TEXT_BYTES_MAX, REQUEST_BYTES_MAX, TELLS_BYTES_MAX, TELLS_MAX, TRACEPARENT_BYTES_MAX,
};
use crate::relay::server::RelaySource;
use crate::relay::wire::Follow;
use crate::sync::{explore, once};

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
    /// Streams that there are, whom it was asked for, and what was taken from them.
    live: Arc<Count>,
    taken: Arc<Count>,
}

struct Live(Arc<Count>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Source {
    fn of(bytes: usize) -> Self {
        Self { bytes, ..Self::default() }
    }

    fn live(&self) -> usize {
        self.live.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn taken(&self) -> usize {
        self.taken.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl RelaySource for Source {
    async fn follow(&self, request: Follow) -> Result<BoxStream<'static, RelayFrame>, RelayFault> {
        if request.chat.0.is_nil() {
            return Err(RelayFault::NotWorker);
        }
        self.live.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let (bytes, counted, live) = (self.bytes, self.taken.clone(), Live(self.live.clone()));
        let told = move |seq| {
            let _live = &live;
            counted.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
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

/// A worker, whom a test asks.
struct Asked {
    asks: mpsc::UnboundedSender<Asks>,
    serving: Serving<Source, mpsc::UnboundedReceiver<Asks>>,
    told: mpsc::Receiver<Told>,
}

impl Asked {
    fn new(source: &Source) -> Self {
        let (asks, asked) = mpsc::unbounded();
        let (tells, told) = mpsc::channel(0);
        Self { asks, serving: Serving::new(Arc::new(source.clone()), asked, tells), told }
    }

    fn ask(&mut self, asks: impl IntoIterator<Item = proto::Ask>) {
        self.asks.unbounded_send(Ok(proto::Asks { asks: asks.into_iter().collect() })).unwrap();
    }

    /// Lets it work without taking what it tells. Whether it is over.
    fn work(&mut self) -> bool {
        (&mut self.serving).now_or_never().is_some()
    }

    /// All that it tells until it waits.
    fn told(&mut self) -> Vec<(u64, tell::Kind)> {
        let mut all = vec![];
        loop {
            self.work();
            let Some(Some(Ok(tells))) = self.told.next().now_or_never() else { return all };
            let frames = tells.tells.iter().filter_map(|tell| match &tell.kind {
                Some(tell::Kind::Frame(frame)) => Some(super::size(frame)),
                _ => None,
            });
            let before_the_last = frames.clone().sum::<usize>() - frames.clone().next_back().unwrap_or(0);
            assert!(before_the_last < JOINED_TEXT_BYTES_MAX && tells.tells.len() <= TELLS_MAX, "B1");
            all.extend(tells.tells.into_iter().map(|tell| (tell.follow, tell.kind.unwrap())));
        }
    }
}

fn accepted(follow: u64) -> (u64, tell::Kind) {
    (follow, tell::Kind::Accepted(proto::Accepted {}))
}

fn ended(follow: u64, fault: RelayFault) -> (u64, tell::Kind) {
    (follow, tell::Kind::Ended(proto::Ended { fault: proto::Fault::from(fault).into() }))
}

fn bytes_of(told: &[(u64, tell::Kind)], of: u64) -> usize {
    let frames = told.iter().filter(|(follow, _)| *follow == of).filter_map(|(_, kind)| match kind {
        tell::Kind::Frame(frame) => Some(super::size(frame)),
        _ => None,
    });
    frames.sum()
}

#[test]
fn a_follow_that_is_not_read_is_sent_its_window_and_no_other_waits_for_it() {
    once(|| {
        let mut worker = Asked::new(&Source::of(1000));
        worker.ask([begin(1, 1), begin(2, 2)]);
        let told = worker.told();
        for follow in [1, 2] {
            let sent = bytes_of(&told, follow);
            let bound = FOLLOW_WINDOW + JOINED_TEXT_BYTES_MAX + 1000;
            assert!((FOLLOW_WINDOW..bound).contains(&sent), "B1: {sent} of {follow}");
        }
        worker.ask([taken(2, 40_000)]);
        let told = worker.told();
        assert_eq!(bytes_of(&told, 1), 0, "B1");
        assert!(bytes_of(&told, 2) > 0, "B3: who reads is served");
        // What nobody was sent widens no window.
        worker.ask([taken(1, u64::MAX)]);
        assert!(bytes_of(&worker.told(), 1) < FOLLOW_WINDOW + JOINED_TEXT_BYTES_MAX + 1000, "B1");
    });
}

#[test]
fn follows_take_turns() {
    once(|| {
        let mut worker = Asked::new(&Source::of(JOINED_TEXT_BYTES_MAX));
        worker.ask([begin(1, 1), begin(2, 2), begin(3, 3)]);
        let frames: Vec<u64> = worker.told().into_iter().map(|(follow, _)| follow).collect();
        assert_eq!(frames, [1, 2, 3, 1, 2, 3, 1, 2, 3], "B3: accepted, and two frames each");
    });
}

#[test]
fn each_follow_is_accepted_or_ended_first_and_what_ends_is_told_last() {
    once(|| {
        let source = Source { parts: Some(2), ..Source::of(1) };
        let mut worker = Asked::new(&source);
        let nonsense = proto::Ask {
            follow: 3,
            kind: Some(ask::Kind::Begin(proto::Begin { request: None, traceparent: String::new() })),
        };
        let unknown = proto::Ask { follow: 9, kind: None };
        worker.ask([begin(1, 1), unknown, begin(2, 0), nonsense, leave(8), taken(8, 1)]);
        let told = worker.told();
        let frame = |kind: &tell::Kind| matches!(kind, tell::Kind::Frame(_));
        let (frames, rest): (Vec<_>, Vec<_>) = told.into_iter().partition(|(_, kind)| frame(kind));
        assert_eq!(frames.len(), 1, "two parts that were ready together");
        let expected = [
            accepted(1),
            ended(2, RelayFault::NotWorker),
            ended(3, RelayFault::Nonsense),
            ended(1, RelayFault::Gone),
        ];
        assert_eq!(rest, expected);
        assert_eq!(source.live(), 0, "B2");
    });
}

#[test]
fn whoever_is_left_is_let_go_though_nothing_that_is_told_is_taken() {
    once(|| {
        let source = Source::of(1000);
        let mut worker = Asked::new(&source);
        worker.ask([begin(1, 1), begin(2, 2)]);
        assert!(!worker.work());
        assert_eq!(source.live(), 2);
        let taken = source.taken();
        worker.ask([leave(1)]);
        assert!(!worker.work());
        assert_eq!((source.live(), source.taken()), (1, taken), "B2");
        drop(worker.told);
        assert!((&mut worker.serving).now_or_never().is_some(), "B2: nobody hears it");
    });
}

#[test]
fn a_worker_ends_with_its_follower_and_a_number_that_is_used_again_ends_the_stream() {
    once(|| {
        let source = Source::of(1);
        for asks in [vec![begin(1, 1), begin(1, 2)], vec![begin(2, 2), begin(1, 1)], vec![begin(0, 1)]] {
            let mut worker = Asked::new(&source);
            worker.ask(asks);
            assert!(worker.work());
            let told = worker.told.next().now_or_never().flatten().expect("it says why");
            assert_eq!(told.unwrap_err().code(), Code::InvalidArgument);
        }
        for end in [None, Some(Status::cancelled("it was reset"))] {
            let mut worker = Asked::new(&source);
            worker.ask([begin(1, 1)]);
            assert!(!worker.work());
            if let Some(status) = end {
                worker.asks.unbounded_send(Err(status)).unwrap();
            }
            worker.asks.close_channel();
            assert!(worker.work());
            drop(worker);
            assert_eq!(source.live(), 0, "B2");
        }
    });
}

#[test]
fn a_follow_too_many_is_ended_and_takes_nobodys_place() {
    once(|| {
        let source = Source { parts: None, ..Source::of(FOLLOW_WINDOW) };
        let mut worker = Asked::new(&source);
        worker.ask((1..=FOLLOWS_ON_STREAM_MAX as u64 + 1).map(|follow| begin(follow, 1)));
        let told = worker.told();
        assert!(told.contains(&ended(FOLLOWS_ON_STREAM_MAX as u64 + 1, RelayFault::Gone)), "B1");
        assert_eq!(source.live(), FOLLOWS_ON_STREAM_MAX);
    });
}

/// Asks, whose worker is a test.
struct Following {
    many: Many,
    asks: BoxStream<'static, proto::Asks>,
    tells: Option<mpsc::UnboundedSender<Told>>,
    hearing: futures::future::BoxFuture<'static, ()>,
}

impl Following {
    fn new() -> Self {
        let many = Many::default();
        let (tells, told) = mpsc::unbounded();
        Self { asks: many.asks().boxed(), hearing: many.hear(told).boxed(), many, tells: Some(tells) }
    }

    fn asked(&mut self) -> Vec<proto::Ask> {
        let mut all = vec![];
        while let Some(Some(asks)) = self.asks.next().now_or_never() {
            assert!(asks.asks.len() <= ASKS_MAX, "B1");
            all.extend(asks.asks);
        }
        all
    }

    fn tell(&mut self, tells: impl IntoIterator<Item = (u64, tell::Kind)>) {
        let tells = tells.into_iter().map(|(follow, kind)| proto::Tell { follow, kind: Some(kind) });
        let told = self.tells.as_ref().expect("it goes on");
        told.unbounded_send(Ok(proto::Tells { tells: tells.collect() })).unwrap();
        assert!((&mut self.hearing).now_or_never().is_none());
    }

    /// One that was accepted.
    fn followed(&mut self, number: u64) -> ManyFrames {
        let many = self.many.clone();
        let mut asking = Box::pin(many.follow(request(1)));
        assert!((&mut asking).now_or_never().is_none(), "the worker has not agreed");
        assert_eq!(self.asked(), [begin(number, 1)]);
        self.tell([accepted(number)]);
        asking.now_or_never().expect("it is accepted").expect("it is accepted")
    }
}

fn frame(bytes: usize) -> tell::Kind {
    tell::Kind::Frame(part(1, bytes).into())
}

fn read(frames: &mut ManyFrames) -> Option<Result<usize, RelayFault>> {
    let next = std::future::poll_fn(|context| frames.poll_frame(context));
    next.now_or_never().map(|frame| frame.map(|frame| super::size(&frame)))
}

#[test]
fn what_is_read_is_told_when_it_is_half_the_window() {
    once(|| {
        let mut following = Following::new();
        let mut frames = following.followed(1);
        let size = super::size(&part(1, 10_000).into());
        following.tell([(1, frame(10_000)), (1, frame(10_000)), (1, frame(10_000)), (1, frame(10_000))]);
        for _ in 0..3 {
            assert_eq!(read(&mut frames), Some(Ok(size)));
        }
        assert_eq!(following.asked(), []);
        assert_eq!(read(&mut frames), Some(Ok(size)));
        assert_eq!(following.asked(), [taken(1, 4 * size as u64)]);
        assert_eq!(read(&mut frames), None);
        drop(frames);
        assert_eq!(following.asked(), [leave(1)], "B2");
    });
}

#[test]
fn a_follow_that_was_given_up_before_it_was_sent_is_not_sent() {
    once(|| {
        let mut following = Following::new();
        let many = following.many.clone();
        let mut given_up = Box::pin(many.follow(request(1)));
        let mut kept = Box::pin(many.follow(request(2)));
        assert!((&mut given_up).now_or_never().is_none() && (&mut kept).now_or_never().is_none());
        drop(given_up);
        assert_eq!(following.asked(), [begin(2, 2)]);
        drop(kept);
        assert_eq!(following.asked(), [leave(2)], "B2");
        // What is told of either comes too late.
        following.tell([accepted(1), (1, frame(1)), accepted(2), ended(2, RelayFault::Denied)]);
        assert_eq!(following.asked(), []);
    });
}

#[test]
fn a_worker_that_sends_more_than_it_may_is_left_and_others_go_on() {
    once(|| {
        let mut following = Following::new();
        let (mut flooded, mut other) = (following.followed(1), following.followed(2));
        let most = FRAME_TEXT_BYTES_MAX;
        following.tell([(1, frame(FOLLOW_WINDOW - 100)), (1, frame(most))]);
        assert_eq!(following.asked(), [], "it may send that");
        following.tell([(1, frame(20_000)), (1, frame(1)), (2, frame(1))]);
        assert_eq!(following.asked(), [leave(1)], "B1");
        assert_eq!(read(&mut flooded), Some(Err(RelayFault::Nonsense)));
        assert!(matches!(read(&mut other), Some(Ok(_))), "B3");
    });
}

#[test]
fn what_was_told_before_the_end_is_read_before_it() {
    once(|| {
        for (end, fault) in [
            (None, RelayFault::Gone),
            (Some(Status::invalid_argument("what was asked")), RelayFault::Nonsense),
            (Some(Status::from_error("broken".into())), RelayFault::Gone),
        ] {
            let mut following = Following::new();
            let (mut first, mut second) = (following.followed(1), following.followed(2));
            following.tell([(1, frame(1)), ended(1, RelayFault::NotWorker)]);
            let tells = following.tells.take().expect("it goes on");
            if let Some(status) = end {
                tells.unbounded_send(Err(status)).unwrap();
            }
            drop(tells);
            assert!((&mut following.hearing).now_or_never().is_some());
            assert!(matches!(read(&mut first), Some(Ok(_))));
            assert_eq!(read(&mut first), Some(Err(RelayFault::NotWorker)));
            assert_eq!(read(&mut second), Some(Err(fault)));
            assert!(following.many.is_over());
            let refused = following.many.follow(request(3)).now_or_never().expect("it is over");
            assert_eq!(refused.err(), Some(RelayFault::Gone));
            drop((first, second));
            assert_eq!(following.asks.next().now_or_never(), Some(None), "nothing is left to ask");
        }
    });
}

#[test]
fn a_kind_that_is_not_known_changes_nothing() {
    once(|| {
        let mut following = Following::new();
        let mut frames = following.followed(1);
        let tells = following.tells.as_ref().expect("it goes on");
        let unknown = proto::Tell { follow: 1, kind: None };
        tells.unbounded_send(Ok(proto::Tells { tells: vec![unknown] })).unwrap();
        following.tell([(7, frame(1)), (1, frame(1))]);
        assert!(matches!(read(&mut frames), Some(Ok(_))));
        // A fault of a later release is one that passes.
        following.tell([(1, tell::Kind::Ended(proto::Ended { fault: 99 }))]);
        assert_eq!(read(&mut frames), Some(Err(RelayFault::Gone)));
        drop(frames);
        assert_eq!(following.asked(), [], "what has ended needs not be left");
    });
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

/// A worker and a follower with a link between them, in tasks of their own.
fn linked(source: &Source) -> (Many, [shuttle::future::JoinHandle<()>; 3]) {
    let many = Many::default();
    let (mut to_worker, asked) = mpsc::channel(0);
    let (tells, told) = mpsc::channel(0);
    let mut asks = many.asks().boxed();
    let tasks = [
        spawn(async move {
            while let Some(asks) = asks.next().await {
                if to_worker.send(Ok(asks)).await.is_err() {
                    return;
                }
            }
        }),
        spawn(Serving::new(Arc::new(source.clone()), asked, tells)),
        spawn(many.hear(told)),
    ];
    (many, tasks)
}

/// The parts that one follow gets, until its end.
async fn parts(many: &Many, most: usize) -> usize {
    let mut frames = many.follow(request(1)).await.expect("it is accepted");
    let mut next = 1;
    while next <= most
        && let Ok(frame) = std::future::poll_fn(|context| frames.poll_frame(context)).await
    {
        let RelayFrame::Parts { first_seq, parts, .. } = frame.try_into().unwrap() else { unreachable!() };
        assert_eq!(first_seq.0, next as u64, "S2, S3: in order, each once");
        next += parts.len();
    }
    next - 1
}

#[test]
fn every_part_comes_once_in_order_whoever_goes_first_and_nothing_is_left() {
    explore(|| {
        block_on(async {
            let source = Source { parts: Some(40), is_slow: true, ..Source::of(4000) };
            let (many, tasks) = linked(&source);
            let other = many.clone();
            let leaving = many.clone();
            let others = spawn(async move { parts(&other, usize::MAX).await });
            // One that leaves in the middle.
            let left = spawn(async move { parts(&leaving, 10).await });
            assert_eq!(parts(&many, usize::MAX).await, 40, "L1: nobody sleeps over what is told");
            assert_eq!(others.await.expect("no panic"), 40);
            assert!(left.await.expect("no panic") >= 10);
            let [asking, serving, hearing] = tasks;
            hearing.abort();
            asking.await.ok();
            serving.await.ok();
            while source.live() > 0 {
                shuttle::future::yield_now().await;
            }
        });
    });
}

#[test]
fn parts_of_any_size_fit_the_window_while_they_are_read() {
    explore(|| {
        block_on(async {
            for bytes in [FOLLOW_WINDOW / 3, FOLLOW_WINDOW - 100, FRAME_TEXT_BYTES_MAX / 4] {
                let source = Source { parts: Some(5), ..Source::of(bytes) };
                let (many, _tasks) = linked(&source);
                assert_eq!(parts(&many, usize::MAX).await, 5, "B1, L1");
            }
        });
    });
}
