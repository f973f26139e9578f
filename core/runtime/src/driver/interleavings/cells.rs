//! The small cells: notices, heartbeats, vital tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::{ChatId, Status, Version};
use shuttle::future::{block_on, spawn};
use uuid::Uuid;

use super::world::World;
use crate::driver::{Vitals, yield_now};
use crate::limits::driver::ANNOUNCEMENTS_MAX;
use crate::ports::{Env, Notice, Store};
use crate::sync::explore;

fn notice(chat: u128, version: u64) -> Notice {
    let version = Version(version);
    Notice {
        chat: ChatId(Uuid::from_u128(chat)),
        snapshot_version: version,
        history_version: version,
        queue_version: version,
        status: Status::Waiting,
        free: false,
        deleted: false,
    }
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
                        world.shared.announcer.announce(&world.shared, notice(chat, version));
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
