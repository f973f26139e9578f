//! A follower whose worker is a test.

use futures::FutureExt;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use mainstem_machine::RelayFault;
use tonic::Status;

use super::super::proto::{self, tell};
use super::super::{Many, ManyFrames, size};
use super::{Told, accepted, begin, ended, leave, part, request, taken};
use crate::limits::relay::{ASKS_MAX, FOLLOW_WINDOW, FRAME_TEXT_BYTES_MAX};
use crate::sync::once;

/// Asks, whose worker is a test.
struct Following {
    many: Many,
    asks: BoxStream<'static, proto::Asks>,
    tells: Option<mpsc::UnboundedSender<Told>>,
    hearing: BoxFuture<'static, ()>,
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
    next.now_or_never().map(|frame| frame.map(|frame| size(&frame)))
}

#[test]
fn what_is_read_is_told_when_it_is_half_the_window() {
    once(|| {
        let mut following = Following::new();
        let mut frames = following.followed(1);
        let size = size(&part(1, 10_000).into());
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
