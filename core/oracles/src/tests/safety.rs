//! The oracles of S1 to S10.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Accepted, Body, Command, Completion, Content, Cursor, Episode, Lease, MessageId, ReplicaId, ResetReason,
    Retry, RunError, SendMode, Status, StreamEvent, Time, Version, WallTime,
};

use super::scene::{CHAT, Scene, id_of, parts, queue, send};
use crate::{Answer, Begin, Evidence, FaultKind, Guarantee, Judge, Life, ORACLES, RunEnd, StreamId};

#[test]
fn a_run_that_keeps_its_promises_is_clean() {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("x ");
    scene.say("x ");
    scene.show_parts(episode, 1, &["x ", "x "]);
    scene.ask("k1", queue("two"), Some("two"));
    scene.show(Body::QueueUpdate(scene.state().queue.clone().into()));
    scene.finish("x x ");
    scene.show(Body::Message(scene.message(1)));
    scene.show(Body::Message(scene.message(2)));
    scene.show(Body::QueueUpdate([].into()));
    scene.show_status();
    scene.commit(Command::BeginAttempt { fence: scene.fence() });
    scene.start("A");
    scene.show_status();
    let episode = scene.episode();
    scene.say("y ");
    scene.show_parts(episode, 1, &["y "]);
    scene.ask("k2", Command::Interrupt { episode: None }, None);
    scene.show_status();
    scene.end_run(RunEnd::Cancelled);
    let partial = Some(Content::text("y "));
    scene.commit(Command::FinishInterruption { fence: scene.fence(), partial });
    scene.show(Body::Message(scene.message(3)));
    scene.show_status();
    assert_eq!(
        scene.judge.missing(&[Guarantee::L1, Guarantee::L2, Guarantee::L3, Guarantee::B2], &scene.facts()),
        None
    );
    scene.judge.finish(scene.clock);
    scene.expect_nothing();
}

#[test]
fn an_oracle_that_is_switched_off_says_nothing() {
    let mut scene = Scene::judged_by(Judge::without(&[Guarantee::S1]), "A");
    scene.show(Body::Message(scene.message(0)));
    scene.expect_nothing();
    let all: Vec<_> = ORACLES.iter().map(|entry| entry.id).collect();
    let mut scene = Scene::judged_by(Judge::without(&all), "A");
    scene.show(Body::Message(scene.message(0)));
    scene.finish("made up");
    scene.expect_nothing();
}

#[test]
fn a_judge_that_was_cloned_judges_on_from_there_and_the_other_does_not_learn_of_it() {
    let mut scene = Scene::new("A");
    let (episode, mut other) = (scene.episode(), scene.judge.clone());
    scene.show_parts(episode, 1, &["never said "]);
    let (stream, message) = (scene.stream, scene.message(0));
    let again = StreamEvent { cursor: Cursor::default(), body: Body::Message(message) };
    assert!(other.found().is_empty());
    other.observe(scene.clock, Evidence::Saw { stream, event: again });
    assert_eq!(other.found().iter().map(|found| found.guarantee).collect::<Vec<_>>(), [Guarantee::S1]);
    scene.expect("S2");
}

#[test]
fn s1_a_message_told_again_or_made_up_is_found() {
    let mut scene = Scene::new("A");
    scene.show(Body::Message(scene.message(0)));
    scene.expect("S1");

    let mut scene = Scene::new("A");
    let mut other = (*scene.message(0)).clone();
    other.id = other.id.next();
    scene.show(Body::Message(Arc::new(other)));
    scene.expect("S1");
}

#[test]
fn s1_a_message_left_out_or_of_a_deleted_suffix_is_found() {
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    scene.say("a");
    scene.finish("a");
    // The answer is skipped, and the question after it is sent.
    scene.show(Body::Message(scene.message(2)));
    scene.show(Body::QueueUpdate([].into()));
    scene.expect("S1");

    let mut scene = Scene::new("A");
    let command = Command::Edit { message: scene.messages[0].id, content: Content::text("other") };
    scene.ask("k1", command, Some("other"));
    scene.show(Body::Message(scene.message(0)));
    scene.show(Body::QueueUpdate([].into()));
    scene.expect("S1");
}

#[test]
fn s1_a_resumed_stream_that_begins_again_or_skips_is_found() {
    let mut scene = Scene::new("A");
    scene.watch("V", "C", Begin::At(Cursor::default()));
    scene.show(Body::Message(scene.message(0)));
    scene.expect("S1");

    let mut scene = Scene::new("A");
    scene.watch("W", "C", Begin::Fresh);
    scene.show(Body::Synced);
    scene.expect("S1");

    // A viewer that has the first message must not get it again.
    let mut scene = Scene::new("A");
    scene.watch("W", "C", Begin::After(MessageId(1)));
    scene.show_status();
    scene.show(Body::Synced);
    scene.expect_nothing();
}

#[test]
fn s1_a_reset_of_a_history_that_was_not_cut_is_found() {
    let mut scene = Scene::new("A");
    scene.show(Body::HistoryReset);
    scene.expect("S1");
}

#[test]
fn s1_a_message_that_never_was_and_that_a_viewer_is_believed_to_have_is_found() {
    for (message, is_found) in [(1, false), (9, true)] {
        let mut scene = Scene::new("A");
        scene.watch("W", "C", Begin::After(MessageId(message)));
        scene.show_with(
            Cursor { message: MessageId(message), ..Cursor::default() },
            Body::QueueUpdate([].into()),
        );
        if is_found { scene.expect("S1") } else { scene.expect_nothing() }
    }
    let mut scene = Scene::new("A");
    scene.watch("W", "C", Begin::After(MessageId(9)));
    scene.show(Body::HistoryReset);
    scene.expect_nothing();
}

#[test]
fn s2_a_gap_a_repeat_and_a_changed_part_are_found() {
    for (first, part) in [(1, "b "), (3, "b "), (2, "x ")] {
        let mut scene = Scene::new("A");
        let episode = scene.episode();
        scene.say("a ");
        scene.say("b ");
        scene.say("b ");
        scene.show_parts(episode, 1, &["a "]);
        scene.show_parts(episode, first, &[part]);
        scene.expect("S2");
    }
}

#[test]
fn s2_a_cursor_that_does_not_follow_is_found() {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("a ");
    let (_, body) = parts(Lease(1), episode, 1, &["a "]);
    scene.show_with(Cursor::default(), body);
    scene.expect("S2");
}

#[test]
fn s3_parts_of_an_old_worker_or_behind_their_end_are_found() {
    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.begin("B");
    scene.show_status();
    scene.show_parts(old, 1, &["a "]);
    scene.expect("S3");

    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.pass(Duration::from_secs(15));
    scene.acquire("B");
    scene.show_status();
    scene.show_parts(old, 1, &["a "]);
    scene.expect("S3");

    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.finish("a ");
    scene.show(Body::Message(scene.message(1)));
    scene.show_parts(old, 1, &["a "]);
    scene.expect("S3");

    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.show_parts(old, 1, &["a "]);
    scene.pass(Duration::from_secs(15));
    scene.acquire("B");
    scene.show(Body::PreviewReset { episode: old, reason: ResetReason::Takeover });
    scene.say("b ");
    scene.show_parts(old, 2, &["b "]);
    scene.expect("S3");
}

#[test]
fn s4_a_preview_is_taken_back_only_if_it_is_shown_and_over_and_for_its_reason() {
    let reset = |shown: bool, taken_over: bool, attempt: u64, reason: ResetReason| {
        let mut scene = Scene::new("A");
        let mut episode = scene.episode();
        scene.say("a ");
        if shown {
            scene.show_parts(episode, 1, &["a "]);
        }
        scene.pass(Duration::from_secs(15));
        if taken_over {
            scene.acquire("B");
        }
        episode.attempt += attempt;
        scene.show(Body::PreviewReset { episode, reason });
        scene
    };
    reset(true, true, 0, ResetReason::Takeover).expect_nothing();
    reset(false, true, 0, ResetReason::Takeover).expect("S4");
    reset(true, true, 1, ResetReason::Takeover).expect("S4");
    reset(true, false, 0, ResetReason::Takeover).expect("S4");
    reset(true, true, 0, ResetReason::Retry).expect("S4");
    reset(true, true, 0, ResetReason::Edit).expect("S4");
}

#[test]
fn s3_a_status_that_goes_back_is_found() {
    let mut scene = Scene::new("A");
    let Episode { history_version, attempt } = scene.episode();
    let (worker, turn) = (scene.state().worker.clone(), scene.state().turn_id());
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    scene.show_status();
    scene.show(Body::Status {
        status: Status::Running,
        worker,
        history_version,
        attempt,
        turn,
        calls: [].into(),
    });
    scene.expect("S3");
}

#[test]
fn s4_an_answer_that_differs_from_what_was_said_or_shown_is_found() {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.say("b ");
    scene.finish("a ");
    scene.expect("S4");

    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.commit(Command::FinishTurn {
        fence: scene.fence(),
        answer: Some(Content::text("a ")),
        completion: Completion::STOPPED,
    });
    scene.expect("S4");

    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("a ");
    scene.show_parts(episode, 1, &["a "]);
    scene.end_run(RunEnd::Failed);
    let error = RunError { code: "model_failed".into(), message: "it did".into() };
    scene.commit(Command::Fail { fence: scene.fence(), partial: Some(Content::text("")), error });
    scene.show(Body::Message(scene.message(1)));
    scene.expect("S4");
}

#[test]
fn s4_an_answer_that_is_kept_with_another_ending_is_found() {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.end_run(RunEnd::Done(Completion::default()));
    scene.commit(Command::FinishTurn {
        fence: scene.fence(),
        answer: Some(Content::text("a ")),
        completion: Completion::STOPPED,
    });
    scene.expect("S4");
}

#[test]
fn s4_a_preview_that_is_neither_kept_nor_taken_back_is_found() {
    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.show_parts(old, 1, &["a "]);
    scene.begin("B");
    scene.show_status();
    scene.expect("S4");

    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.show_parts(old, 1, &["a "]);
    let command = Command::Edit { message: scene.messages[0].id, content: Content::text("other") };
    scene.ask("k1", command, Some("other"));
    scene.show(Body::HistoryReset);
    scene.expect("S4");
}

#[test]
fn s4_a_reset_of_what_is_not_shown_is_found() {
    let shown = || {
        let mut scene = Scene::new("A");
        scene.say("a ");
        let old = scene.episode();
        scene.show_parts(old, 1, &["a "]);
        scene.pass(Duration::from_secs(15));
        scene.acquire("B");
        (scene, old)
    };
    let reset = |episode| Body::PreviewReset { episode, reason: ResetReason::Takeover };
    let (mut scene, old) = shown();
    scene.show(reset(old));
    scene.expect_nothing();
    scene.show(reset(old));
    scene.expect("S4");

    let (mut scene, old) = shown();
    scene.show(reset(Episode { attempt: old.attempt + 1, ..old }));
    scene.expect("S4");
}

#[test]
fn s5_an_episode_that_two_models_answer_is_found() {
    let mut scene = Scene::new("A");
    scene.start("A");
    scene.expect("S5");

    let mut scene = Scene::new("A");
    scene.acquire("A");
    scene.commit(Command::BeginAttempt { fence: scene.fence() });
    scene.start("B");
    scene.expect("S5");
}

#[test]
fn s5_a_write_under_a_lease_that_is_not_the_rows_is_found() {
    let mut scene = Scene::new("A");
    let old = scene.fence();
    scene.begin("B");
    let mut committed = scene.change(
        None,
        Command::RecordRetry {
            fence: scene.fence(),
            delay_ms: 500,
            error: RunError { code: "model_failed".into(), message: "it did".into() },
        },
    );
    let Command::RecordRetry { fence, .. } = &mut committed.command else { unreachable!() };
    *fence = old;
    committed.by = "A".into();
    scene.take(committed);
    scene.expect("S5");

    // Taken over before the lease has expired.
    let mut scene = Scene::new("A");
    scene.pass(Duration::from_secs(10));
    let (replica, chat) = (ReplicaId::new("A").unwrap(), CHAT);
    let sent = scene.clock;
    scene.observe(Evidence::Confirmed { replica, chat, lease: Lease(1), sent });
    scene.pass(Duration::from_secs(10));
    scene.acquire("B");
    scene.expect("S5");
}

#[test]
fn s5_parts_told_by_a_worker_whose_lease_has_run_out_are_found() {
    for (on, found) in [("A", true), ("C", false)] {
        let mut scene = Scene::new("A");
        let episode = scene.episode();
        scene.watch("W", on, Begin::Fresh);
        scene.catch_up();
        scene.pass(Duration::from_secs(16));
        scene.say("a ");
        scene.show_parts(episode, 1, &["a "]);
        if found { scene.expect("S5") } else { scene.expect_nothing() }
    }
}

#[test]
fn s5_an_announcement_of_what_another_committed_is_found() {
    let mut scene = Scene::new("A");
    let version = scene.state().snapshot_version;
    scene.observe(Evidence::Announced { replica: "A".into(), chat: CHAT, version });
    scene.expect_nothing();
    scene.observe(Evidence::Announced { replica: "B".into(), chat: CHAT, version });
    scene.expect("S5");

    let mut scene = Scene::new("A");
    scene.observe(Evidence::Announced { replica: "A".into(), chat: CHAT, version: Version(99) });
    scene.expect("S5");
}

#[test]
fn s6_a_send_that_is_lost_or_doubled_is_found() {
    let two = |scene: &mut Scene| scene.ask("k1", queue("two"), Some("two"));
    let mut scene = Scene::new("A");
    two(&mut scene);
    scene.ask("k2", queue("three"), Some("three"));
    scene.expect_nothing();
    let mut committed = scene.change(None, Command::BeginAttempt { fence: scene.fence() });
    Arc::make_mut(&mut committed.state).queue.remove(0);
    scene.take(committed);
    scene.expect("S6");

    // Done twice under one key.
    let mut scene = Scene::new("A");
    two(&mut scene);
    scene.commit_for(Some("k1"), queue("two"));
    scene.expect("S6");

    // The key was not passed on.
    let mut scene = Scene::new("A");
    two(&mut scene);
    scene.commit_for(Some("another"), queue("two"));
    scene.expect("S6");

    // Sent twice, committed once, answered twice: correct.
    let mut scene = Scene::new("A");
    scene.ask_only("k1", Some("two"));
    let accepted = scene.commit_for(Some("k1"), queue("two"));
    scene.ask_only("k1", Some("two"));
    scene.answer("k1", Answer::Accepted(accepted.clone()));
    scene.answer("k1", Answer::Accepted(accepted));
    scene.expect_nothing();
}

#[test]
fn s6_an_acknowledgement_of_what_was_not_taken_is_found() {
    let mut scene = Scene::new("A");
    scene.ask_only("k1", Some("two"));
    let accepted = scene.commit_for(Some("k1"), queue("two"));
    let Accepted::Sent { queued: Some(mut queued), snapshot_version, .. } = accepted else { unreachable!() };
    queued.id = queued.id.next();
    let queued = Some(queued);
    scene.answer("k1", Answer::Accepted(Accepted::Sent { message: None, queued, snapshot_version }));
    scene.expect("S6");

    let mut scene = Scene::new("A");
    scene.ask_only("k1", Some("two"));
    scene.commit_for(Some("k1"), queue("two"));
    scene.answer("k1", Answer::Refused);
    scene.expect("S6");
}

#[test]
fn s6_a_turn_out_of_order_is_found() {
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    scene.ask("k2", queue("three"), Some("three"));
    scene.state.as_mut().unwrap().queue.swap(0, 1);
    scene.say("a");
    scene.finish("a");
    scene.expect("S6");

    // Promoted messages and interrupting sends come first.
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    scene.ask("k2", queue("three"), Some("three"));
    let three = scene.state().queue[1].id;
    scene.ask("k3", Command::Promote { queued: three }, None);
    scene.ask("k4", send("four", SendMode::Interrupt), Some("four"));
    scene.end_run(RunEnd::Cancelled);
    scene.commit(Command::FinishInterruption { fence: scene.fence(), partial: None });
    scene.expect_nothing();
}

#[test]
fn s7_a_run_that_is_cancelled_without_cause_is_found() {
    let mut scene = Scene::new("A");
    scene.end_run(RunEnd::Cancelled);
    scene.expect("S7");

    // An event before the run began is no cause of its end, and neither is one that does not affect it.
    let mut scene = Scene::new("A");
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    scene.ask("k2", queue("two"), Some("two"));
    scene.end_run(RunEnd::Cancelled);
    scene.commit(Command::FinishInterruption { fence: scene.fence(), partial: None });
    scene.commit(Command::BeginAttempt { fence: scene.fence() });
    scene.start("A");
    scene.ask("k3", queue("three"), Some("three"));
    scene.expect_nothing();
    scene.end_run(RunEnd::Cancelled);
    scene.expect("S7");
}

#[test]
fn s7_causes_are_causes() {
    let causes: [fn(&mut Scene); 5] = [
        |scene| scene.ask("k1", Command::Interrupt { episode: None }, None),
        |scene| a_lease_ends(scene, Some("A")),
        |scene| scene.live("A", Life::Crashed),
        |scene| scene.drain("A"),
        |scene| {
            let command = Command::Edit { message: MessageId(1), content: Content::text("other") };
            scene.ask("k1", command, Some("other"));
        },
    ];
    for cause in causes {
        let mut scene = Scene::new("A");
        cause(&mut scene);
        scene.end_run(RunEnd::Cancelled);
        scene.expect_nothing();
    }
}

#[test]
fn s7_who_drains_lets_runs_go_on_for_its_time() {
    let mut scene = Scene::new("A");
    scene.live("A", Life::Draining);
    scene.pass(Duration::from_secs(9));
    scene.end_run(RunEnd::Cancelled);
    scene.expect("S7");
}

/// The time of a lease passes without a confirmation, because a database could not be reached.
fn a_lease_ends(scene: &mut Scene, of: Option<&str>) {
    if let Some(who) = of {
        let kind = FaultKind::DatabaseCutOff;
        scene.observe(Evidence::Fault { kind, who: who.into(), other: None, chat: None });
    }
    scene.pass(Duration::from_secs(15));
}

#[test]
fn s7_no_lease_ends_without_a_fault_of_its_holder() {
    for (of, excused) in [(None, false), (Some("B"), false), (Some("A"), true)] {
        let mut scene = Scene::new("A");
        a_lease_ends(&mut scene, of);
        scene.end_run(RunEnd::Cancelled);
        let counted = scene.judge.docket().excused();
        assert_eq!(counted.contains_key(&(Guarantee::S7, FaultKind::DatabaseCutOff)), excused, "{counted:?}");
        if excused { scene.expect_nothing() } else { scene.expect("S7") }
    }
}

#[test]
fn s7_an_interruption_that_nobody_asked_for_or_that_loses_the_partial_is_found() {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    scene.end_run(RunEnd::Cancelled);
    scene.commit(Command::FinishInterruption { fence: scene.fence(), partial: None });
    scene.expect("S7");

    // The model continues.
    let mut scene = Scene::new("A");
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    scene.commit(Command::FinishInterruption { fence: scene.fence(), partial: None });
    scene.expect("S7");

    let mut scene = Scene::new("A");
    scene.state.as_mut().unwrap().status = Status::Interrupting;
    scene.end_run(RunEnd::Done(Completion::STOPPED));
    scene.commit(Command::FinishInterruption { fence: scene.fence(), partial: None });
    scene.expect("S7");

    let mut scene = Scene::new("A");
    let mut committed = scene.change(Some("k1"), queue("two"));
    scene.ask_only("k1", Some("two"));
    Arc::make_mut(&mut committed.state).status = Status::Interrupting;
    scene.take(committed);
    scene.expect("S7");
}

#[test]
fn s8_a_status_that_runs_ahead_or_never_was_is_found() {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.finish("a ");
    scene.show_status();
    scene.expect("S8");

    let mut scene = Scene::new("A");
    let Episode { history_version, attempt } = scene.episode();
    let turn = scene.state().turn_id();
    scene.show(Body::Status {
        status: Status::Error,
        worker: None,
        history_version,
        attempt,
        turn,
        calls: [].into(),
    });
    scene.expect("S8");

    let mut scene = Scene::new("A");
    scene.acquire("A");
    scene.commit(Command::BeginAttempt { fence: scene.fence() });
    scene.start("A");
    scene.say("a ");
    let next = scene.episode();
    scene.show_parts(next, 1, &["a "]);
    scene.expect("S8");
}

#[test]
fn s8_a_status_before_the_first_messages_is_found() {
    let mut scene = Scene::new("A");
    scene.watch("W", "C", Begin::Fresh);
    scene.show_status();
    scene.expect("S8");
}

#[test]
fn s8_an_answer_behind_the_message_that_interrupted_it_is_found() {
    let mut scene = Scene::new("A");
    scene.ask("k1", send("two", SendMode::Interrupt), Some("two"));
    scene.end_run(RunEnd::Cancelled);
    let partial = Some(Content::text(""));
    let command = Command::FinishInterruption { fence: scene.fence(), partial };
    let mut committed = scene.change(None, command);
    committed.inserted.swap(0, 1);
    let ids = [committed.inserted[1].id, committed.inserted[0].id];
    (committed.inserted[0].id, committed.inserted[1].id) = (ids[0], ids[1]);
    scene.take(committed);
    scene.expect("S8");
}

#[test]
fn s9_a_late_joiner_that_lacks_what_others_see_is_found() {
    // The queue.
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    scene.show(Body::QueueUpdate(scene.state().queue.clone().into()));
    scene.say("a");
    scene.finish("a");
    scene.watch("W", "C", Begin::Fresh);
    scene.catch_up();
    scene.expect_nothing();

    let mut scene = Scene::new("A");
    let error = RunError { code: "model_failed".into(), message: "it did".into() };
    scene.end_run(RunEnd::Failed);
    scene.commit(Command::RecordRetry { fence: scene.fence(), delay_ms: 500, error: error.clone() });
    scene.watch("W", "C", Begin::Fresh);
    scene.show(Body::Message(scene.message(0)));
    scene.show_status();
    scene.show(Body::Retry(scene.state().retry.clone()));
    scene.show(Body::Synced);
    scene.expect_nothing();
    scene.pass(Duration::from_millis(500));
    scene.commit(Command::BeginAttempt { fence: scene.fence() });
    scene.watch("X", "C", Begin::Fresh);
    // A retry that is over.
    let stale = Retry { attempt: 1, delay_ms: 500, error, at: WallTime(500) };
    scene.show(Body::Message(scene.message(0)));
    scene.show_status();
    scene.show(Body::Retry(Some(stale)));
    scene.show(Body::Synced);
    scene.expect("S9");
}

#[test]
fn s9_a_retry_before_its_time_is_found_whoever_makes_it() {
    let retry = |takes_over: bool, drift: u32, waits_ms: u64| {
        let mut scene = Scene::new("A");
        scene.leave();
        for replica in ["A", "B"] {
            scene.observe(Evidence::Drifts { replica: replica.into(), per_mille: drift });
        }
        // The clock of another excuses nothing.
        scene.observe(Evidence::Drifts { replica: "C".into(), per_mille: 500 });
        scene.end_run(RunEnd::Failed);
        let error = RunError { code: "model_failed".into(), message: "it did".into() };
        scene.commit(Command::RecordRetry { fence: scene.fence(), delay_ms: 60_000, error });
        if takes_over {
            scene.pass(Duration::from_secs(20));
            scene.acquire("B");
        }
        scene.clock = Time::from_micros(waits_ms * 1000) + Duration::from_millis(1);
        scene.commit(Command::BeginAttempt { fence: scene.fence() });
        scene
    };
    for takes_over in [false, true] {
        retry(takes_over, 0, 60_000).expect_nothing();
        retry(takes_over, 0, 59_990).expect("S9");
        retry(takes_over, 20, 58_830).expect_nothing();
        retry(takes_over, 20, 58_800).expect("S9");
    }
    retry(true, 0, 20_001).expect("S9");

    // What ends the phase ends the wait.
    let mut scene = Scene::new("A");
    scene.leave();
    scene.end_run(RunEnd::Failed);
    let error = RunError { code: "model_failed".into(), message: "it did".into() };
    scene.commit(Command::RecordRetry { fence: scene.fence(), delay_ms: 60_000, error });
    let command = Command::Edit { message: MessageId(1), content: Content::text("other") };
    scene.ask("k1", command, Some("other"));
    scene.begin("B");
    scene.expect_nothing();
}

#[test]
fn s9_a_late_joiner_without_the_preview_that_others_see_is_found() {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("a ");
    scene.show_parts(episode, 1, &["a "]);
    // At another replica the parts may not be there yet.
    scene.watch("W", "B", Begin::Fresh);
    scene.catch_up();
    scene.expect_nothing();
    scene.watch("X", "C", Begin::Fresh);
    scene.catch_up();
    scene.expect("S9");

    let mut scene = Scene::new("A");
    scene.show(Body::QueueUpdate(
        [mainstem_machine::QueuedMessage {
            id: MessageId(9),
            content: Content::text("x"),
            created_at: WallTime(0),
            client_id: None,
            revision: Version(0),
        }]
        .into(),
    ));
    scene.expect("S9");
}

#[test]
fn s10_a_stranger_who_is_told_or_answered_is_found() {
    let mut scene = Scene::new("A");
    scene.watch_as("W", "stranger", "C", Begin::Fresh);
    scene.expect_nothing();
    scene.show(Body::Message(scene.message(0)));
    scene.expect("S10");

    let mut scene = Scene::new("A");
    let accepted = Answer::Accepted(Accepted::Gone);
    let (caller, key) = ("stranger".into(), "k1".into());
    scene.observe(Evidence::Answered { caller, key, chat: CHAT, answer: accepted });
    scene.expect("S10");

    let mut scene = Scene::new("A");
    let mut committed = scene.change(Some("k1"), Command::Interrupt { episode: None });
    committed.caller = Some("stranger".into());
    scene.take(committed);
    scene.expect("S10");
}

#[test]
fn s10_a_refusal_that_is_not_final_is_found() {
    let mut scene = Scene::new("A");
    scene.ask_only("k1", Some("two"));
    scene.answer("k1", Answer::Refused);
    let accepted = scene.commit_for(Some("k1"), queue("two"));
    assert!(id_of(&accepted) > MessageId(0));
    scene.answer("k1", Answer::Accepted(accepted));
    scene.expect("S10");

    let mut scene = Scene::new("A");
    scene.observe(Evidence::Denies { from: "C".into(), to: "A".into() });
    for _ in 0..5 {
        scene.observe(Evidence::Dialed { from: "C".into(), to: "A".into() });
    }
    scene.expect_nothing();
    scene.observe(Evidence::Dialed { from: "C".into(), to: "A".into() });
    scene.expect("S10");

    // Each viewer that comes anew is reason for one dial.
    let mut scene = Scene::new("A");
    scene.observe(Evidence::Denies { from: "C".into(), to: "A".into() });
    for _ in 0..9 {
        scene.leave();
        scene.watch("V", "C", Begin::Fresh);
        scene.observe(Evidence::Dialed { from: "C".into(), to: "A".into() });
    }
    scene.expect_nothing();
    for _ in 0..6 {
        scene.observe(Evidence::Dialed { from: "C".into(), to: "A".into() });
    }
    scene.expect("S10");
}

#[test]
fn what_nobody_knows_of_is_no_evidence() {
    let mut scene = Scene::new("A");
    let stream = StreamId(99);
    let event = mainstem_machine::StreamEvent { cursor: Cursor::default(), body: Body::Synced };
    scene.observe(Evidence::Saw { stream, event: event.clone() });
    scene.observe(Evidence::Sent { stream, event });
    scene.leave();
    scene.expect_nothing();
}
