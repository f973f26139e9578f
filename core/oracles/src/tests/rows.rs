//! What an accepted change may not do to the row of its chat, and what a stream may not tell: found by damaging what
//! the judges were told in clean runs.

use std::sync::Arc;

use mainstem_machine::{
    Body, ChatState, Command, Content, Cursor, Lease, MessageId, ReplicaId, RunError, SendMode, Status,
    StreamEvent, Version,
};

use super::scene::{Scene, queue, send};
use crate::{Begin, Committed, Evidence, FaultKind, Guarantee, Life, RunEnd, StreamEnd};

fn alter(change: &mut Committed, alter: impl FnOnce(&mut ChatState)) {
    let mut state = ChatState::clone(&change.state);
    alter(&mut state);
    change.state = Arc::new(state);
}

/// A message is queued behind a run, and the row is not what the command makes of it.
#[track_caller]
fn queued(wrong: impl FnOnce(&mut ChatState), guarantee: &str) {
    let mut scene = Scene::new("A");
    scene.ask_only("k1", Some("two"));
    let mut change = scene.change(Some("k1"), queue("two"));
    alter(&mut change, wrong);
    scene.take(change);
    scene.expect(guarantee);
}

#[test]
fn s1_a_version_that_is_left_out_is_found() {
    queued(|state| state.snapshot_version = state.snapshot_version.next(), "S1");
    queued(|state| state.history_version = state.history_version.next(), "S1");
}

#[test]
fn s1_a_cut_elsewhere_than_asked_is_found() {
    for cut in [None, Some(MessageId(0))] {
        let mut scene = Scene::new("A");
        scene.ask_only("k1", Some("other"));
        let edit = Command::Edit { message: MessageId(1), content: Content::text("other") };
        let mut change = scene.change(Some("k1"), edit);
        change.cut_from = cut;
        scene.take(change);
        scene.expect("S1");
    }
}

#[test]
fn s1_a_message_twice_in_the_history_is_found() {
    let mut scene = Scene::new("A");
    scene.end_run(RunEnd::Done(mainstem_machine::Completion::STOPPED));
    let (fence, answer) = (scene.fence(), Some(Content::text("")));
    let completion = mainstem_machine::Completion::STOPPED;
    let mut change = scene.change(None, Command::FinishTurn { fence, answer, completion });
    change.inserted.push(change.inserted[0].clone());
    scene.take(change);
    scene.expect("S1");
}

/// What a viewer is told next, with a cursor that is not where it ought to be.
#[track_caller]
fn told_with(wrong: impl FnOnce(&mut Cursor), guarantee: &str) {
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    let mut event = scene.event(Cursor::default(), Body::QueueUpdate(scene.state().queue.clone().into()));
    wrong(&mut event.cursor);
    scene.observe(Evidence::Saw { stream: scene.stream, event });
    scene.expect(guarantee);
}

#[test]
fn s1_a_cursor_that_would_resume_elsewhere_is_found() {
    told_with(|cursor| cursor.message = MessageId(2), "S1");
    told_with(|cursor| cursor.message = MessageId(0), "S1");
    told_with(|cursor| cursor.snapshot_version = Version(99), "S1");
    // What was not told would be left out.
    told_with(|cursor| cursor.status = mainstem_machine::Fingerprint(1), "S1");
    told_with(|cursor| cursor.retry = mainstem_machine::Fingerprint(1), "S1");
}

#[test]
fn s1_a_cursor_that_goes_back_is_found() {
    let mut scene = Scene::new("A");
    for (version, found) in [(2, None), (1, Some(Guarantee::S1))] {
        let cursor = Cursor { snapshot_version: Version(version), ..scene.cursor };
        let event = StreamEvent { cursor, body: Body::Synced };
        scene.observe(Evidence::Saw { stream: scene.stream, event });
        assert_eq!(scene.judge.verdict().map(|found| found.guarantee), found);
    }
}

#[test]
fn s1_a_viewer_told_that_the_chat_is_gone_while_it_is_there_is_found() {
    let mut scene = Scene::new("A");
    scene.observe(Evidence::StreamEnded { stream: scene.stream, how: StreamEnd::Deleted });
    scene.expect("S1");
}

/// A database was restored from a backup: the viewer has seen more than there is.
#[test]
fn s1_a_viewer_from_a_future_keeps_nothing_of_it() {
    let future = Cursor { snapshot_version: Version(99), message: MessageId(1), ..Cursor::default() };
    let resumed = || {
        let mut scene = Scene::new("A");
        scene.watch("V", "C", Begin::At(future));
        scene
    };
    let mut scene = resumed();
    scene.cursor.snapshot_version = Version(1);
    scene.show(Body::HistoryReset);
    scene.show(Body::Message(scene.message(0)));
    scene.show_status();
    scene.expect_nothing();

    let mut scene = resumed();
    scene.show_status();
    scene.expect("S1");

    // Once there is as much again, nobody can tell.
    let mut scene = resumed();
    scene.ask_only("k1", Some("two"));
    let mut change = scene.change(Some("k1"), queue("two"));
    alter(&mut change, |state| state.snapshot_version = Version(99));
    scene.take(change);
    let before = scene.judge.found().len();
    scene.show(Body::Synced);
    assert_eq!(scene.judge.found().len(), before, "{:?}", scene.judge.found());
}

#[test]
fn s5_a_lease_or_an_attempt_that_moves_by_itself_is_found() {
    queued(|state| state.lease = Lease(state.lease.0 + 1), "S5");
    queued(|state| state.worker = Some(ReplicaId::new("B").unwrap()), "S5");
    queued(|state| state.attempt += 1, "S5");
}

#[test]
fn s5_an_acquisition_in_the_name_of_another_is_found() {
    let mut scene = Scene::new("A");
    let release = Command::Release { replica: scene.fence().replica, lease: scene.fence().lease };
    scene.commit(release);
    let replica = ReplicaId::new("B").unwrap();
    let mut change = scene.change(None, Command::Acquire { replica, interrupting_only: false });
    change.by = "C".into();
    scene.take(change);
    scene.expect("S5");
}

#[test]
fn s6_a_queued_message_that_says_something_else_in_its_turn_is_found() {
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    scene.end_run(RunEnd::Done(mainstem_machine::Completion::STOPPED));
    let (fence, completion) = (scene.fence(), mainstem_machine::Completion::STOPPED);
    let mut change = scene.change(None, Command::FinishTurn { fence, answer: None, completion });
    change.inserted[0].content = Content::text("three");
    scene.take(change);
    scene.expect("S6");
}

#[test]
fn s7_an_interrupt_that_is_taken_back_or_has_no_effect_is_found() {
    let mut scene = Scene::new("A");
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    scene.ask_only("k2", Some("two"));
    let mut change = scene.change(Some("k2"), queue("two"));
    alter(&mut change, |state| state.status = Status::Running);
    scene.take(change);
    scene.expect("S7");

    let mut scene = Scene::new("A");
    scene.ask_only("k1", Some("two"));
    let mut change = scene.change(Some("k1"), send("two", SendMode::Interrupt));
    alter(&mut change, |state| state.status = Status::Running);
    scene.take(change);
    scene.expect("S7");

    let mut scene = Scene::new("A");
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    scene.end_run(RunEnd::Cancelled);
    let mut change = scene.change(None, Command::FinishInterruption { fence: scene.fence(), partial: None });
    alter(&mut change, |state| state.status = Status::Interrupting);
    scene.take(change);
    scene.expect("S7");
}

#[test]
fn s9_an_error_that_does_not_belong_to_its_status_is_found() {
    let error = || RunError { code: "other".into(), message: "".into() };
    queued(|state| state.error = Some(error()), "S9");
    queued(|state| state.status = Status::Error, "S9");
}

#[test]
fn s9_a_queue_from_before_what_is_shown_is_found() {
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    let old = scene.state().queue.clone();
    scene.ask("k2", queue("three"), Some("three"));
    scene.show(Body::QueueUpdate(old.into()));
    scene.expect("S9");
}

#[test]
fn l1_a_viewer_that_was_never_told_to_have_it_all_is_found() {
    let mut scene = Scene::new("A");
    scene.watch("V", "C", Begin::Fresh);
    scene.show(Body::Message(scene.message(0)));
    scene.show_status();
    assert!(scene.judge.missing(&[Guarantee::L1], &scene.facts()).is_some());
    scene.show(Body::Synced);
    assert_eq!(scene.judge.missing(&[Guarantee::L1], &scene.facts()), None);
}

#[test]
fn l3_a_turn_that_ends_and_leaves_the_chat_running_is_found() {
    let mut scene = Scene::new("A");
    scene.end_run(RunEnd::Done(mainstem_machine::Completion::STOPPED));
    let (fence, completion) = (scene.fence(), mainstem_machine::Completion::STOPPED);
    let mut change = scene.change(None, Command::FinishTurn { fence, answer: None, completion });
    alter(&mut change, |state| state.status = Status::Running);
    scene.take(change);
    scene.expect("L3");
}

#[test]
fn b2_a_model_that_runs_for_nothing_is_found() {
    let mut scene = Scene::new("A");
    assert_eq!(scene.judge.missing(&[Guarantee::B2], &scene.facts()), None, "its chat is live");
    let edit = Command::Edit { message: MessageId(1), content: Content::text("other") };
    scene.ask("k1", edit, Some("other"));
    assert!(scene.judge.missing(&[Guarantee::B2], &scene.facts()).is_some());
    scene.live("A", Life::Paused);
    assert_eq!(scene.judge.missing(&[Guarantee::B2], &scene.facts()), None, "it cannot know yet");
    scene.live("A", Life::Resumed);
    scene.observe(Evidence::Fault { kind: FaultKind::Pause, who: "A".into(), other: None, chat: None });
    scene.end_run(RunEnd::Cancelled);
    assert_eq!(scene.judge.missing(&[Guarantee::B2], &scene.facts()), None);
}
