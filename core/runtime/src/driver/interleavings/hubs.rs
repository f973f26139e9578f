//! Hubs, those who watch them, and the table of those that are open.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstem_machine::hub::{ChatEvent, HubEvent};
use mainstem_machine::limits::HUB_RETENTION;
use mainstem_machine::{Ending, Version};
use shuttle::future::{block_on, spawn};

use super::world::{World, is_message, is_synced, until};
use crate::sync::explore;

#[test]
fn a_viewer_never_sleeps_over_news() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let (_, mut watch) = world.subscribe().expect("there is room");
            let sending = world.clone();
            let sending = spawn(async move {
                sending.shared.apply(&sending.send("news")).await.expect("the store answers");
            });
            assert_eq!(until(&mut watch, is_message("news")).await, None, "L1");
            sending.await.expect("no panic");
            drop(watch);
            world.end().await;
        });
    });
}

fn hint(snapshot_version: Version) -> HubEvent {
    HubEvent::Chat(ChatEvent::Hint { snapshot_version })
}

#[test]
fn an_event_that_is_handed_in_is_acted_on_even_if_the_task_was_about_to_sleep() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let (_, mut watch) = world.subscribe().expect("there is room");
            assert_eq!(until(&mut watch, is_synced).await, None, "L1");
            let hinting = world.clone();
            let hinting = spawn(async move {
                let applied = hinting.store.commit(&hinting.send("news"));
                let version = applied.change().expect("it is accepted").state.snapshot_version;
                hinting.shared.registry.deliver(&hinting.env, hinting.chat, hint(version));
            });
            // It is nothing but the task's own read that can bring it.
            assert_eq!(until(&mut watch, is_message("news")).await, None, "L1");
            hinting.await.expect("no panic");
            drop(watch);
            world.end().await;
        });
    });
}

#[test]
fn a_hub_that_finishes_while_somebody_enters_is_replaced() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let (_, mut watch) = world.subscribe().expect("there is room");
            assert_eq!(until(&mut watch, is_synced).await, None, "L1");
            drop(watch);
            let last = Duration::from_millis(1);
            world.env.pass(HUB_RETENTION - last);
            let coming = [world.clone(), world.clone()].map(|world| {
                spawn(async move {
                    let (cell, mut watch) = world.subscribe().expect("there is room");
                    assert_eq!(until(&mut watch, is_synced).await, None, "nobody gets a hub that has ended");
                    (cell, watch)
                })
            });
            world.env.pass(last);
            let mut came = Vec::new();
            for coming in coming {
                came.push(coming.await.expect("no panic"));
            }
            let open = world.shared.registry.find(world.chat).expect("a hub with viewers is open");
            for (cell, _) in &came {
                assert!(Arc::ptr_eq(cell, &open), "B2: a chat has one hub, and it is the one that is known");
            }
            drop(came);
            world.end().await;
        });
    });
}

#[test]
fn a_viewer_that_is_dropped_while_it_waits_leaves() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let (_, mut watch) = world.subscribe().expect("there is room");
            let viewing = spawn(async move { until(&mut watch, is_message("never")).await });
            let sending = world.clone();
            let sending = spawn(async move {
                sending.shared.apply(&sending.send("news")).await.expect("the store answers");
            });
            viewing.abort();
            assert!(viewing.await.is_err(), "it was told of no such message");
            sending.await.expect("no panic");
            world.env.pass(HUB_RETENTION);
            // B2: the hub ends by itself, because nobody is there.
            world.env.all_tasks_ended().await;
            assert_eq!(world.shared.registry.chats(), [], "B2");
        });
    });
}

/// Two viewers, of which one comes while the hub ends, and both are sent elsewhere.
async fn both_are_sent_elsewhere(end: impl FnOnce(World) + Send + 'static) {
    let world = World::new();
    let (cell, mut first) = world.subscribe().expect("there is room");
    assert_eq!(until(&mut first, is_synced).await, None, "L1");
    let (of_second, mut second) = world.subscribe().expect("there is room");
    assert!(Arc::ptr_eq(&cell, &of_second));
    let viewing = spawn(async move { until(&mut first, is_message("never")).await });
    let ending = world.clone();
    let ending = spawn(async move { end(ending) });
    assert_eq!(until(&mut second, is_message("never")).await, Some(Ending::Leaving), "L1");
    assert_eq!(viewing.await.expect("no panic"), Some(Ending::Leaving), "L1");
    ending.await.expect("no panic");
    drop((second, cell, of_second));
    world.env.all_tasks_ended().await;
    assert_eq!(world.shared.registry.chats(), [], "B2: no hub is left that has ended");

    // The next viewer gets a hub that works.
    world.store.is_broken.store(false, SeqCst);
    let (_, mut next) = world.subscribe().expect("there is room");
    assert_eq!(until(&mut next, is_synced).await, None, "L1");
    drop(next);
    world.end().await;
}

#[test]
fn viewers_of_a_hub_whose_task_panics_are_sent_elsewhere() {
    explore(|| {
        block_on(both_are_sent_elsewhere(|world| {
            world.store.is_broken.store(true, SeqCst);
            world.shared.registry.deliver(&world.env, world.chat, hint(Version(99)));
        }));
    });
}

#[test]
fn viewers_of_a_hub_that_is_ended_are_sent_elsewhere() {
    explore(|| {
        block_on(both_are_sent_elsewhere(|world| {
            world.shared.registry.find(world.chat).expect("it has viewers").end();
        }));
    });
}

#[test]
fn viewers_of_a_hub_that_panics_in_the_hands_of_another_are_sent_elsewhere() {
    explore(|| {
        block_on(both_are_sent_elsewhere(|world| {
            let entered = world.shared.registry.enter_open(&world.env, world.chat, |_, _| {
                resume_unwind(Box::new("a machine is broken"));
            });
            assert_eq!(entered, None::<()>, "B3: who brought the event goes on");
        }));
    });
}
