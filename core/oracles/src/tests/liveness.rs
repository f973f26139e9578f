//! The oracles of L1 to L5, B1 and B2.

use std::time::Duration;

use mainstem_machine::{Body, ChatId, Command, Content, MessageId};

use super::scene::{CHAT, OTHER, Scene, queue};
use crate::{Evidence, FaultKind, Guarantee, Judge, Life, Operation, RunEnd, Settings};

#[track_caller]
fn expect_missing(scene: &Scene, guarantee: Guarantee) {
    let missing = scene.judge.missing(&[guarantee], &scene.facts());
    assert_eq!(missing.map(|(id, _)| id), Some(guarantee));
    scene.expect_nothing();
}

#[test]
fn l1_a_screen_that_differs_from_the_database_is_found() {
    let mut scene = Scene::new("A");
    assert_eq!(scene.judge.missing(&[Guarantee::L1], &scene.facts()), None);
    scene.ask("k1", queue("two"), Some("two"));
    expect_missing(&scene, Guarantee::L1);

    let mut scene = Scene::new("A");
    scene.say("a ");
    assert_eq!(scene.judge.missing(&[Guarantee::L1], &scene.facts()), None);
    scene.pass(Duration::from_secs(1));
    expect_missing(&scene, Guarantee::L1);

    let scene = Scene::new("A");
    let mut facts = scene.facts();
    facts.viewers[0].connected = false;
    assert!(scene.judge.missing(&[Guarantee::L1], &facts).is_some());
}

#[test]
fn what_is_missing_at_the_end_of_its_bound_is_a_verdict() {
    let mut scene = Scene::new("A");
    let (id, why) =
        scene.judge.missing(&[Guarantee::L2, Guarantee::L3], &scene.facts()).expect("the chat runs");
    scene.judge.overdue(scene.clock, id, why);
    scene.expect("L3");
}

#[test]
fn l2_a_chat_that_stays_interrupting_is_found() {
    let mut scene = Scene::new("A");
    assert_eq!(scene.judge.missing(&[Guarantee::L2], &scene.facts()), None);
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    expect_missing(&scene, Guarantee::L2);
}

fn free(scene: &mut Scene) {
    let state = scene.state().clone();
    scene.drain("A");
    scene.end_run(RunEnd::Cancelled);
    scene.commit(Command::Release { replica: state.worker.unwrap(), lease: state.lease });
}

#[test]
fn l3_work_that_nobody_takes_up_is_found() {
    let mut scene = Scene::new("A");
    free(&mut scene);
    scene.pass(Duration::from_millis(900));
    scene.ask("k1", queue("two"), Some("two"));
    scene.pass(Duration::from_millis(900));
    scene.ask("k2", queue("three"), Some("three"));
    scene.pass(Duration::from_millis(1100));
    scene.observe(Evidence::FaultsCleared);
    scene.expect("L3");
}

#[test]
fn l3_work_that_is_taken_up_or_that_nobody_can_take_up_is_fine() {
    let mut scene = Scene::new("A");
    scene.leave();
    free(&mut scene);
    scene.acquire("B");
    scene.pass(Duration::from_secs(2));
    scene.observe(Evidence::FaultsCleared);
    scene.expect_nothing();

    let mut scene = Scene::new("A");
    scene.leave();
    for name in ["B", "C"] {
        scene.observe(Evidence::MayWork { replica: name.into(), may: false });
    }
    free(&mut scene);
    scene.pass(Duration::from_secs(20));
    scene.observe(Evidence::FaultsCleared);
    scene.expect_nothing();
}

/// The one slot of the one replica that works is taken by another chat, and comes back.
#[test]
fn l3_work_waits_for_a_slot_and_no_longer() {
    // What happens to the other chat does not follow from its past.
    let mut scene = Scene::judged_by(Judge::without(&[Guarantee::S1, Guarantee::S5]), "A");
    scene.leave();
    scene.observe(Evidence::Settings(Settings { workers: 1, ..Settings::default() }));
    for name in ["B", "C"] {
        scene.observe(Evidence::MayWork { replica: name.into(), may: false });
    }
    let release =
        Command::Release { replica: scene.state().worker.clone().unwrap(), lease: scene.state().lease };
    let held = scene.change(None, Command::Edit { message: MessageId(1), content: Content::text("two") });
    let released = scene.change(None, release.clone());
    scene.commit(release);
    scene.end_run(RunEnd::Cancelled);
    scene.commit_elsewhere(&held);
    scene.pass(Duration::from_secs(20));
    scene.observe(Evidence::FaultsCleared);
    scene.expect_nothing();
    scene.commit_elsewhere(&released);
    scene.pass(Duration::from_secs(2));
    scene.observe(Evidence::FaultsCleared);
    scene.expect("L3");
}

/// While a slot is kept for a chat whose acquisition is slow, the next one waits, if that was the last slot.
#[test]
fn l3_work_waits_for_a_slot_that_is_kept_for_a_slow_chat_and_for_no_other_reason() {
    let late = |workers: usize, slow: &[(&str, ChatId)]| {
        let mut scene = Scene::new("A");
        scene.leave();
        scene.observe(Evidence::Settings(Settings { workers, ..Settings::default() }));
        for (who, chat) in slow {
            let (who, chat) = ((*who).into(), Some(*chat));
            scene.observe(Evidence::Fault { kind: FaultKind::DatabaseSlow, who, other: None, chat });
        }
        free(&mut scene);
        scene.pass(Duration::from_secs(2));
        scene.observe(Evidence::FaultsCleared);
        scene
    };
    late(1, &[]).expect("L3");
    late(1, &[("B", OTHER), ("C", OTHER)]).expect_nothing();
    late(2, &[("B", OTHER), ("C", OTHER)]).expect("L3");
    late(1, &[("B", OTHER)]).expect("L3");
    late(2, &[("B", CHAT), ("C", CHAT)]).expect_nothing();
}

/// Whoever freed it never learned that it did, and told nobody; the others were busy with a slow database then.
#[test]
fn l3_work_that_nobody_was_told_of_is_found_by_the_next_look_and_no_later() {
    let mut scene = Scene::judged_by(Judge::without(&[Guarantee::S1, Guarantee::S5]), "A");
    scene.leave();
    let poll_interval = Duration::from_secs(30);
    scene.observe(Evidence::Settings(Settings { poll_interval, ..Settings::default() }));
    let fault = |kind, who: &str| Evidence::Fault { kind, who: who.into(), other: None, chat: None };
    scene.observe(fault(FaultKind::AnswerLost, "A"));
    for name in ["B", "C"] {
        scene.observe(fault(FaultKind::DatabaseSlow, name));
    }
    let held = scene.change(None, Command::Edit { message: MessageId(1), content: Content::text("two") });
    free(&mut scene);
    scene.pass(Duration::from_secs(2));
    scene.observe(Evidence::Operated { replica: "B".into(), what: Operation::Database });
    scene.pass(Duration::from_secs(14));
    scene.commit_elsewhere(&held);
    scene.pass(Duration::from_secs(2));
    scene.observe(Evidence::Operated { replica: "B".into(), what: Operation::Database });
    scene.expect_nothing();
    scene.pass(poll_interval);
    scene.observe(Evidence::Operated { replica: "B".into(), what: Operation::Database });
    scene.expect("L3");
}

/// Finishing an interruption needs no slot.
#[test]
fn l2_an_interruption_waits_for_no_slot() {
    let mut scene = Scene::new("A");
    scene.observe(Evidence::Settings(Settings { workers: 0, ..Settings::default() }));
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    scene.end_run(RunEnd::Cancelled);
    let (replica, lease) = (scene.state().worker.clone().unwrap(), scene.state().lease);
    scene.commit(Command::Release { replica, lease });
    scene.pass(Duration::from_secs(2));
    scene.observe(Evidence::FaultsCleared);
    scene.expect("L2");
}

#[test]
fn l4_a_replica_that_turns_without_input_is_found() {
    let operation = |scene: &mut Scene, times: u64| {
        for _ in 0..times {
            scene.observe(Evidence::Operated { replica: "A".into(), what: Operation::Database });
        }
    };
    let mut scene = Scene::new("A");
    for _ in 0..60 {
        scene.pass(Duration::from_secs(1));
        operation(&mut scene, 80);
    }
    scene.expect_nothing();
    scene.pass(Duration::from_secs(1));
    operation(&mut scene, 81);
    scene.expect("L4");
}

#[test]
fn l4_a_time_that_stands_still_is_found() {
    let mut scene = Scene::new("A");
    for _ in 0..200_001 {
        let measured = Evidence::Measured { what: "queue", value: 1, max: 2 };
        scene.judge.observe(scene.clock, measured);
    }
    scene.expect("L4");
}

#[test]
fn l5_a_viewer_that_is_not_told_of_a_death_is_found() {
    for told in [false, true] {
        let mut scene = Scene::new("A");
        let episode = scene.episode();
        scene.say("a ");
        scene.show_parts(episode, 1, &["a "]);
        scene.live("A", Life::Crashed);
        scene.pass(Duration::from_secs(15));
        if told {
            scene.acquire("B");
            let reason = mainstem_machine::ResetReason::Takeover;
            scene.show(Body::PreviewReset { episode, reason });
            scene.show_status();
        }
        scene.pass(Duration::from_secs(6));
        scene.observe(Evidence::FaultsCleared);
        if told { scene.expect_nothing() } else { scene.expect("L5") }
    }
}

#[test]
fn l5_nothing_is_promised_while_nobody_can_work() {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("a ");
    scene.show_parts(episode, 1, &["a "]);
    for name in ["B", "C"] {
        scene.observe(Evidence::MayWork { replica: name.into(), may: false });
    }
    scene.live("A", Life::Vanished);
    scene.pass(Duration::from_secs(60));
    scene.observe(Evidence::FaultsCleared);
    scene.expect_nothing();
}

#[test]
fn l5_only_a_fault_in_the_way_excuses() {
    for (kind, who, excuses) in [
        (FaultKind::DialHanging, "C", false),
        (FaultKind::AskedTwice, "user", false),
        // C can work, and its viewer is told by it.
        (FaultKind::DatabaseSlow, "B", false),
        (FaultKind::DatabaseSlow, "C", true),
        (FaultKind::ViewerStopsReading, "V", true),
    ] {
        let mut scene = Scene::new("A");
        let episode = scene.episode();
        scene.say("a ");
        scene.show_parts(episode, 1, &["a "]);
        scene.observe(Evidence::Fault { kind, who: who.into(), other: None, chat: None });
        scene.live("A", Life::Crashed);
        scene.pass(Duration::from_secs(60));
        scene.observe(Evidence::FaultsCleared);
        if excuses { scene.expect_nothing() } else { scene.expect("L5") }
    }
}

#[test]
fn b1_what_is_larger_than_its_maximum_is_found() {
    let mut scene = Scene::new("A");
    scene.observe(Evidence::Measured { what: "queue", value: 20, max: 20 });
    scene.expect_nothing();
    scene.observe(Evidence::Measured { what: "queue", value: 21, max: 20 });
    scene.expect("B1");
}

#[test]
fn b2_what_is_left_is_found() {
    let scene = Scene::new("A");
    let mut facts = scene.facts();
    assert_eq!(scene.judge.missing(&[Guarantee::B2], &facts), None);
    facts.left.push("C still has 1 dials".into());
    assert!(scene.judge.missing(&[Guarantee::B2], &facts).is_some());
}
