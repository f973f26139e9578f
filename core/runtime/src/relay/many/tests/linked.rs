//! A worker and a follower, in every order of their tasks.

use std::sync::Arc;

use futures::SinkExt;
use futures::channel::mpsc;
use futures::stream::StreamExt;
use mainstem_machine::RelayFrame;
use shuttle::future::{block_on, spawn};

use super::super::Many;
use super::super::worker::Serving;
use super::{Source, request};
use crate::limits::relay::{FOLLOW_WINDOW, FRAME_TEXT_BYTES_MAX};
use crate::sync::explore;

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
