//! The small cells: notices, heartbeats, vital tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use mainstem_machine::announce::AnnouncerEvent;
use mainstem_machine::limits::ANNOUNCEMENTS_MAX;
use mainstem_machine::{ChatId, ChatState, Command, Effect, StoreFacts, Version, WallTime};
use shuttle::future::{block_on, spawn};
use uuid::Uuid;

use super::world::World;
use crate::driver::{Vitals, yield_now};
use crate::ports::{Env, Store};
use crate::sync::explore;

/// What is told of a chat that was changed, up to this version.
fn committed(chat: u128, version: u64) -> AnnouncerEvent {
    let (chat, owner) = (ChatId(Uuid::from_u128(chat)), Arc::from("ada"));
    let create = Command::Create { chat, owner, settings: Default::default(), messages: vec![] };
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let Effect::Changed(change) = create.apply_to(None, Some("ada"), &facts).effect else {
        panic!("created")
    };
    let state = Arc::new(ChatState { snapshot_version: Version(version), ..ChatState::clone(&change.state) });
    AnnouncerEvent::Committed { state, appended: Some([].into()), next_row: None, deleted: false }
}

#[test]
fn the_newest_notice_of_each_chat_is_published_and_the_publishers_end() {
    explore(|| {
        block_on(async {
            let world = World::new();
            // More than there are publishers, so that some wait, and one of each of the last chats comes late.
            let all = ANNOUNCEMENTS_MAX as u128 + 2;
            let announcing = [(1, 2), (2, 1)].map(|(first, second)| {
                let world = world.clone();
                spawn(async move {
                    for (chat, version) in
                        (1..=all).map(|chat| (chat, first)).chain([(all, second), (1, second)])
                    {
                        world.shared.announce(committed(chat, version));
                        yield_now().await;
                    }
                })
            });
            for announcing in announcing {
                announcing.await.expect("no panic");
            }
            world.env.all_tasks_ended().await;
            let mut newest = BTreeMap::new();
            for notice in world.bus.published.lock().expect("no panic").iter() {
                let told = newest.entry(notice.chat.0.as_u128()).or_insert(0);
                *told = notice.snapshot_version.0.max(*told);
            }
            let expected = (1..=all).map(|chat| (chat, 2)).collect();
            assert_eq!(newest, expected, "L1: others are told of the newest");
        });
    });
}

#[test]
fn a_bus_or_a_database_that_panics_keeps_nobody_waiting_for_what_is_announced() {
    explore(|| {
        block_on(async {
            let world = World::new();
            world.bus.is_broken.store(true, SeqCst);
            world.store.is_broken.store(true, SeqCst);
            let told = (1..=ANNOUNCEMENTS_MAX as u128 + 2).map(|chat| committed(chat, 1));
            told.chain([AnnouncerEvent::Replayed { chat: world.chat }])
                .for_each(|event| world.shared.announce(event));
            world.env.all_tasks_ended().await;
            assert!(world.shared.announcer.is_idle(), "B2: a place is given back");
        });
    });
}

#[test]
fn who_deregisters_waits_for_the_heartbeats_in_flight() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let beating = [world.clone(), world.clone()]
                .map(|world| spawn(async move { world.shared.heartbeat(vec![]).await.is_ok() }));
            let deregistering = world.clone();
            let deregistering = spawn(async move {
                deregistering.shared.heartbeats.end().await;
                deregistering.store.deregister(&deregistering.shared.row).await.expect("the store answers");
            });
            let [patient, impatient] = beating;
            // Who asked for it waits no longer: it is on its way all the same.
            impatient.abort();
            let _ = (impatient.await, patient.await);
            deregistering.await.expect("no panic");
            assert!(world.shared.heartbeat(vec![]).await.is_err(), "none begins from then on");
            world.env.all_tasks_ended().await;
            let membership = world.store.membership.lock().expect("no panic");
            assert_eq!(membership.last(), Some(&"deregister"), "a late heartbeat takes the name again");
        });
    });
}

#[test]
fn the_end_of_a_vital_task_is_told() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let vitals = Arc::new(Vitals::default());
            let guard = vitals.guard("replica");
            world.env.spawn(async move { drop(guard) }).detach();
            let waiting = vitals.clone();
            let waiting = spawn(async move { waiting.failure().await });
            assert_eq!(vitals.failure().await, "replica");
            assert_eq!(waiting.await.expect("no panic"), "replica");
            assert!(vitals.is_failed());
        });
    });
}
