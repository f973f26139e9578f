//! A worker that is asked by a test.

use std::sync::Arc;

use futures::FutureExt;
use futures::channel::mpsc;
use futures::stream::StreamExt;
use mainstem_machine::RelayFault;
use tonic::{Code, Status};

use super::super::proto::{self, ask, tell};
use super::super::size;
use super::super::worker::Serving;
use super::{Asks, Source, Told, accepted, begin, ended, leave, taken};
use crate::limits::relay::{FOLLOW_WINDOW, FOLLOWS_ON_STREAM_MAX, JOINED_TEXT_BYTES_MAX, TELLS_MAX};
use crate::sync::once;

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
                Some(tell::Kind::Frame(frame)) => Some(size(frame)),
                _ => None,
            });
            let before_the_last = frames.clone().sum::<usize>() - frames.clone().next_back().unwrap_or(0);
            assert!(before_the_last < JOINED_TEXT_BYTES_MAX && tells.tells.len() <= TELLS_MAX, "B1");
            all.extend(tells.tells.into_iter().map(|tell| (tell.follow, tell.kind.unwrap())));
        }
    }
}

fn bytes_of(told: &[(u64, tell::Kind)], of: u64) -> usize {
    let frames = told.iter().filter(|(follow, _)| *follow == of).filter_map(|(_, kind)| match kind {
        tell::Kind::Frame(frame) => Some(size(frame)),
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
