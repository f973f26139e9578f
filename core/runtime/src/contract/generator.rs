//! What every generator must do, whatever model is behind it. Adapters pass a [`Subject`] to [`check`];
//! faults of a particular provider are left to the adapter's own tests.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use mainstem_machine::Time;

use crate::ports::{Boxed, Conversation, Generated, Generation, Generator};

/// The longest time that `start` may take.
pub const START_MAX: Duration = Duration::from_millis(500);
/// The longest time until a run yields something, or a dropped run has released everything.
pub const STEP_MAX: Duration = Duration::from_secs(20);
/// Events of one run that the suite checks at most.
pub const EVENTS_MAX: usize = 10_000;

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A generator under test, with what the suite needs from its environment.
pub trait Subject: Send + Sync {
    fn generator(&self) -> &dyn Generator;

    /// A conversation that must be answered completely, each time with the same text, in at least three parts
    /// of which the last takes a while.
    fn conversation(&self) -> Conversation;

    /// How many runs hold a resource: a connection, a timer, a task.
    fn runs_open(&self) -> usize;

    fn now(&self) -> Time;

    fn sleep(&self, duration: Duration) -> Boxed<'_, ()>;
}

/// Panics at the first requirement that is not met.
pub async fn check(subject: &impl Subject) {
    start_returns_at_once(subject).await;
    a_run_has_parts_then_one_end_and_nothing_after_it(subject).await;
    a_dropped_run_gives_back_what_it_held(subject).await;
    a_run_never_polled_gives_back_what_it_held(subject).await;
    runs_are_independent(subject).await;
}

async fn start_returns_at_once(subject: &impl Subject) {
    let started = subject.now();
    let run = subject.generator().start(subject.conversation());
    let took = subject.now().since(started);
    assert!(took <= START_MAX, "start returns at once: expected at most {START_MAX:?}, took {took:?}");
    drop(run);
    nothing_is_held(subject).await;
}

async fn a_run_has_parts_then_one_end_and_nothing_after_it(subject: &impl Subject) {
    let mut run = subject.generator().start(subject.conversation());
    let texts = texts_until_done(subject, &mut run).await;
    assert!(texts.len() >= 3, "the subject's answer has at least three parts, came {}", texts.len());
    for _ in 0..3 {
        let more = next(subject, &mut run).await;
        assert!(more.is_none(), "nothing follows the end of a run, came {more:?}");
    }
    drop(run);
    nothing_is_held(subject).await;
}

async fn a_dropped_run_gives_back_what_it_held(subject: &impl Subject) {
    for parts in 0..3 {
        let mut run = subject.generator().start(subject.conversation());
        for _ in 0..parts {
            text(next(subject, &mut run).await);
        }
        // Poll it once more, so that it is dropped while it waits.
        let _ = futures::poll!(run.next());
        assert!(parts == 0 || subject.runs_open() > 0, "the subject counts a run that is in the middle");
        drop(run);
        nothing_is_held(subject).await;
    }
}

async fn a_run_never_polled_gives_back_what_it_held(subject: &impl Subject) {
    drop(subject.generator().start(subject.conversation()));
    nothing_is_held(subject).await;
}

async fn runs_are_independent(subject: &impl Subject) {
    let mut alone = subject.generator().start(subject.conversation());
    let wanted = texts_until_done(subject, &mut alone).await.concat();

    let mut first = subject.generator().start(subject.conversation());
    let mut dropped = subject.generator().start(subject.conversation());
    let mut second = subject.generator().start(subject.conversation());
    let mut first_text = text(next(subject, &mut first).await);
    text(next(subject, &mut dropped).await);
    let mut second_text = text(next(subject, &mut second).await);
    drop(dropped);
    second_text += &texts_until_done(subject, &mut second).await.concat();
    first_text += &texts_until_done(subject, &mut first).await.concat();
    assert_eq!(first_text, wanted, "S2: a run has its own parts, beside others too");
    assert_eq!(second_text, wanted, "S2: a run has its own parts, beside others too");
    drop((alone, first, second));
    nothing_is_held(subject).await;
}

async fn texts_until_done(subject: &impl Subject, run: &mut Generation) -> Vec<String> {
    let mut texts = vec![];
    for _ in 0..EVENTS_MAX {
        match next(subject, run).await {
            Some(Generated::Done(_)) => return texts,
            other => texts.push(text(other)),
        }
    }
    panic!("B1: the subject's run ends within {EVENTS_MAX} events");
}

fn text(event: Option<Generated>) -> String {
    match event {
        Some(Generated::Part { begins, text }) => {
            let says = begins.as_ref().map_or(!text.is_empty(), |block| block.takes(&text));
            assert!(says, "S2: a part is never empty, unless it begins a call");
            text
        }
        other => panic!("expected text of a run that has not ended, came {other:?}"),
    }
}

async fn next(subject: &impl Subject, run: &mut Generation) -> Option<Generated> {
    match select(run.next(), subject.sleep(STEP_MAX)).await {
        Either::Left((event, _)) => event,
        Either::Right(_) => panic!("something comes of a run within {STEP_MAX:?}, nothing came"),
    }
}

/// Waits until nothing is held: a peer notices a closed connection only a little later.
async fn nothing_is_held(subject: &impl Subject) {
    let started = subject.now();
    while subject.runs_open() > 0 {
        let waited = subject.now().since(started);
        assert!(waited <= STEP_MAX, "B2: runs that are gone hold nothing, {} do", subject.runs_open());
        subject.sleep(POLL_INTERVAL).await;
    }
}
