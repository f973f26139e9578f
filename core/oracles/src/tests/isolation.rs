//! The oracle of B3.

use std::time::Duration;

use mainstem_machine::{Body, ChatId, Command};

use super::scene::{CHAT, OTHER, Scene, parts, queue};
use crate::{Answer, Begin, Committed, Evidence, FaultKind, Life, Operation};

/// A part comes late after another one.
fn late(spoil: impl FnOnce(&mut Scene), after: Duration) -> Scene {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("a ");
    scene.show_parts(episode, 1, &["a "]);
    spoil(&mut scene);
    scene.say("b ");
    scene.pass(after);
    scene.show_parts(episode, 2, &["b "]);
    scene
}

#[test]
fn b3_a_part_that_is_late_with_nothing_in_its_way_is_found() {
    late(|_| {}, Duration::from_millis(240)).expect_nothing();
    late(|_| {}, Duration::from_millis(260)).expect("B3");
    // A fault elsewhere is no excuse.
    let fault = |kind, who: &str, other: Option<&str>| Evidence::Fault {
        kind,
        who: who.into(),
        other: other.map(Into::into),
        chat: None,
    };
    late(|scene| scene.observe(fault(FaultKind::DialsRuled, "C", Some("B"))), Duration::from_millis(1100))
        .expect("B3");
    late(|scene| scene.observe(fault(FaultKind::ViewerStopsReading, "W", None)), Duration::from_millis(1100))
        .expect("B3");
    late(|scene| scene.observe(fault(FaultKind::Clog, "A", Some("C"))), Duration::from_millis(1100))
        .expect_nothing();
    late(|scene| scene.observe(fault(FaultKind::Reset, "A", Some("C"))), Duration::from_millis(1100))
        .expect_nothing();
    late(|scene| scene.observe(fault(FaultKind::ViewerStopsReading, "V", None)), Duration::from_millis(1100))
        .expect_nothing();
}

#[test]
fn b3_what_affected_a_link_before_the_last_part_came_over_it_excuses_nothing() {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.observe(Evidence::Fault {
        kind: FaultKind::Reset,
        who: "A".into(),
        other: Some("C".into()),
        chat: None,
    });
    scene.pass(Duration::from_millis(1));
    scene.say("a ");
    scene.show_parts(episode, 1, &["a "]);
    scene.say("b ");
    scene.pass(Duration::from_millis(260));
    scene.show_parts(episode, 2, &["b "]);
    scene.expect("B3");
}

#[test]
fn b3_a_part_that_a_client_gets_late_is_found() {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("a ");
    scene.show_parts(episode, 1, &["a "]);
    scene.say("b ");
    let (cursor, body) = parts(scene.state().lease, episode, 2, &["b "]);
    let (stream, event) = (scene.stream, scene.event(cursor, body));
    scene.observe(Evidence::Sent { stream, event: event.clone() });
    scene.pass(Duration::from_millis(2100));
    scene.observe(Evidence::Saw { stream, event });
    scene.expect("B3");
}

/// A message is queued, and nobody is told for so long. `befalls`: what happens before.
fn untold(befalls: impl FnOnce(&mut Scene), span: Duration) -> Scene {
    let mut scene = Scene::new("A");
    befalls(&mut scene);
    scene.ask("k1", queue("two"), Some("two"));
    scene.pass(span);
    scene.observe(Evidence::Operated { replica: "B".into(), what: Operation::Database });
    scene
}

#[test]
fn b3_news_that_comes_late_for_another_chats_sake_is_found() {
    let late = Duration::from_millis(1100);
    untold(|_| (), Duration::from_millis(900)).expect_nothing();
    untold(|_| (), late).expect("B3");
    // Who is in the way elsewhere excuses nothing.
    let elsewhere: [fn(&mut Scene); 4] = [
        |scene| scene.observe(fault(FaultKind::DatabaseSlow, "B", None)),
        |scene| scene.observe(fault(FaultKind::ViewerStopsReading, "W", None)),
        |scene| scene.observe(fault(FaultKind::DialHanging, "C", Some("A"))),
        |scene| scene.observe(fault(FaultKind::Clog, "B", Some("V"))),
    ];
    for befalls in elsewhere {
        untold(befalls, late).expect("B3");
    }
    let here: [fn(&mut Scene); 4] = [
        |scene| scene.observe(fault(FaultKind::DatabaseSlow, "C", None)),
        |scene| scene.observe(fault(FaultKind::ViewerStopsReading, "V", None)),
        |scene| scene.observe(fault(FaultKind::Clog, "C", Some("V"))),
        |scene| scene.leave(),
    ];
    for befalls in here {
        untold(befalls, late).expect_nothing();
    }
    // Without a notice it is found when the replica looks by itself, and no later.
    let lost = |scene: &mut Scene| scene.observe(fault(FaultKind::NoticeLost, "C", None));
    untold(lost, Duration::from_millis(5900)).expect_nothing();
    untold(lost, Duration::from_millis(6100)).expect("B3");
}

#[test]
fn b3_news_is_due_again_after_other_news() {
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    let first = scene.state().queue.clone();
    scene.pass(Duration::from_millis(700));
    scene.cursor.snapshot_version = scene.state().snapshot_version;
    scene.show(Body::QueueUpdate(first.into()));
    scene.ask("k2", queue("three"), Some("three"));
    scene.pass(Duration::from_millis(700));
    scene.observe(Evidence::FaultsCleared);
    scene.expect_nothing();
    scene.pass(Duration::from_secs(1));
    scene.observe(Evidence::FaultsCleared);
    scene.expect("B3");
}

/// What changed back is shown already, and what came after it was committed by a replica that tells nobody any more.
#[test]
fn b3_news_is_due_from_who_committed_what_is_not_shown() {
    let mut scene = Scene::new("A");
    scene.ask("k1", queue("two"), Some("two"));
    let queued = scene.state().queue[0].id;
    scene.commit_for(Some("k2"), Command::DeleteQueued { queued });
    scene.pass(Duration::from_millis(500));
    scene.ask_only("k3", Some("three"));
    let committed = Committed { by: "B".into(), ..scene.change(Some("k3"), queue("three")) };
    scene.live("B", Life::Up);
    scene.live("B", Life::Crashed);
    let accepted = scene.take(committed);
    scene.answer("k3", Answer::Accepted(accepted));
    for (span, is_due) in [(700, false), (5000, false), (400, true)] {
        scene.pass(Duration::from_millis(span));
        scene.observe(Evidence::Operated { replica: "A".into(), what: Operation::Database });
        match is_due {
            true => scene.expect("B3"),
            false => scene.expect_nothing(),
        }
    }
}

#[test]
fn b3_a_request_that_is_answered_late_for_another_chats_sake_is_found() {
    let asked = |befalls: &dyn Fn(&mut Scene), answered: bool| {
        let mut scene = Scene::new("A");
        scene.leave();
        befalls(&mut scene);
        scene.ask_only("k1", None);
        if answered {
            let accepted = scene.commit_for(Some("k1"), Command::Interrupt { episode: None });
            scene.answer("k1", Answer::Accepted(accepted));
        }
        scene.pass(Duration::from_millis(2100));
        scene.observe(Evidence::Operated { replica: "B".into(), what: Operation::Database });
        scene
    };
    asked(&|_| (), false).expect("B3");
    asked(&|_| (), true).expect_nothing();
    asked(&|scene| scene.observe(fault(FaultKind::DatabaseSlow, "A", None)), false).expect("B3");
    asked(&|scene| scene.observe(fault(FaultKind::DatabaseSlow, "C", None)), false).expect_nothing();
    asked(&|scene| scene.observe(fault(FaultKind::Clog, "u", Some("C"))), false).expect_nothing();
    asked(&|scene| scene.live("C", Life::Draining), false).expect_nothing();
}

fn fault(kind: FaultKind, who: &str, other: Option<&str>) -> Evidence {
    Evidence::Fault { kind, who: who.into(), other: other.map(Into::into), chat: None }
}

/// A fault of what a replica does for one chat.
fn fault_for(chat: ChatId, kind: FaultKind, who: &str) -> Evidence {
    Evidence::Fault { kind, who: who.into(), other: None, chat: Some(chat) }
}

fn over(kind: FaultKind, who: &str, other: Option<&str>, chat: Option<ChatId>) -> Evidence {
    Evidence::FaultOver { kind, who: who.into(), other: other.map(Into::into), chat }
}

#[test]
fn b3_what_befalls_the_database_for_one_chat_excuses_no_other() {
    let late = Duration::from_millis(1100);
    untold(|scene| scene.observe(fault_for(OTHER, FaultKind::DatabaseSlow, "C")), late).expect("B3");
    untold(|scene| scene.observe(fault_for(CHAT, FaultKind::DatabaseSlow, "C")), late).expect_nothing();
    // What asks for no chat in particular, like a heartbeat, is for all of them.
    untold(|scene| scene.observe(fault(FaultKind::DatabaseSlow, "C", None)), late).expect_nothing();
}

#[test]
fn b3_a_fault_excuses_for_a_moment_after_it_is_over_and_no_longer() {
    let late = Duration::from_millis(1100);
    let slow = |calls: u64, answered: u64, ago: u64| {
        untold(
            |scene| {
                (0..calls).for_each(|_| scene.observe(fault_for(CHAT, FaultKind::DatabaseSlow, "C")));
                let answer = over(FaultKind::DatabaseSlow, "C", None, Some(CHAT));
                (0..answered).for_each(|_| scene.observe(answer.clone()));
                scene.pass(Duration::from_secs(ago));
            },
            late,
        )
    };
    slow(1, 1, 1).expect_nothing();
    slow(1, 1, 3).expect("B3");
    // One that was not answered has timed out and been asked again.
    slow(2, 1, 3).expect_nothing();
    slow(2, 1, 12).expect_nothing();
    slow(2, 1, 14).expect("B3");
    let again = |kind, who: &'static str, other: Option<&'static str>, ago: u64| {
        untold(
            |scene| {
                scene.observe(fault(kind, who, other));
                scene.pass(Duration::from_secs(20));
                scene.observe(over(kind, who, other, None));
                scene.pass(Duration::from_secs(ago));
            },
            late,
        )
    };
    for (kind, who, other) in [
        (FaultKind::ViewerStopsReading, "V", None),
        (FaultKind::Clog, "C", Some("V")),
        (FaultKind::LinkSlow, "V", Some("C")),
    ] {
        again(kind, who, other, 1).expect_nothing();
        again(kind, who, other, 3).expect("B3");
    }
    // Notices come again, and those of then may still be on their way.
    again(FaultKind::NoticeLost, "C", None, 12).expect_nothing();
    again(FaultKind::NoticeLost, "C", None, 14).expect("B3");
}

#[test]
fn b3_the_end_of_one_fault_ends_no_other() {
    let both = |ends: FaultKind| {
        untold(
            |scene| {
                scene.observe(fault(FaultKind::Clog, "C", Some("V")));
                scene.observe(fault(FaultKind::LinkSlow, "C", Some("V")));
                scene.observe(over(ends, "C", Some("V"), None));
                scene.pass(Duration::from_secs(3));
            },
            Duration::from_millis(1100),
        )
    };
    both(FaultKind::Clog).expect_nothing();
    both(FaultKind::LinkSlow).expect_nothing();
}

#[test]
fn b3_a_viewer_that_is_not_told_what_there_is_for_another_chats_sake_is_found() {
    let begins = |befalls: &dyn Fn(&mut Scene), told: bool| {
        let mut scene = Scene::new("A");
        scene.leave();
        befalls(&mut scene);
        scene.watch("W", "C", Begin::Fresh);
        scene.show(Body::Message(scene.message(0)));
        if told {
            scene.show_status();
            scene.show(Body::Synced);
        }
        scene.pass(Duration::from_millis(2100));
        scene.observe(Evidence::Operated { replica: "B".into(), what: Operation::Database });
        scene
    };
    begins(&|_| (), false).expect("B3");
    begins(&|_| (), true).expect_nothing();
    begins(&|scene| scene.observe(fault(FaultKind::DialHanging, "C", Some("A"))), false).expect("B3");
    begins(&|scene| scene.observe(fault(FaultKind::DatabaseSlow, "C", None)), false).expect_nothing();
    begins(&|scene| scene.observe(fault(FaultKind::ViewerStopsReading, "W", None)), false).expect_nothing();
}

#[test]
fn b3_a_replica_that_died_while_it_stood_still_is_excused_until_it_is_up() {
    let mut scene = Scene::new("A");
    scene.leave();
    scene.live("C", Life::Paused);
    scene.live("C", Life::Vanished);
    scene.live("C", Life::Resumed);
    scene.pass(Duration::from_secs(3));
    scene.ask_only("k1", None);
    scene.pass(Duration::from_millis(1500));
    scene.live("C", Life::Up);
    scene.pass(Duration::from_millis(600));
    scene.observe(Evidence::Operated { replica: "B".into(), what: Operation::Database });
    scene.expect_nothing();
}
