//! A whole replica: its own task, a run of the model, and how it goes away.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstem_machine::limits::HUB_RETENTION;
use mainstem_machine::replica::ReplicaEvent;
use mainstem_machine::{Body, Ending, RelayFrame, ReplicaId, Resume};
use shuttle::future::{JoinHandle, block_on, spawn};

use super::env::StillEnv;
use super::store::RIVAL;
use super::world::{Fluent, OWNER, TwoParts, World, is_message, is_synced, until};
use crate::driver::{Followed, Next, Vitals};
use crate::ports::{Env, NoTools, Ports, Untraced};
use crate::sync::explore;
use crate::{EdgeError, Node, NodeConfig};

const ANSWER: &str = "yes, I do";

#[test]
fn viewers_and_followers_get_the_whole_answer() {
    explore(|| {
        block_on(async {
            let world = World::with(Some("do you?"));
            let running = world.env.spawn(crate::driver::run_replica(world.shared.clone()));
            let viewing = world.clone();
            let viewing = spawn(async move {
                let (_, mut watch) = viewing.subscribe().expect("there is room");
                let mut shown = String::new();
                loop {
                    let Next::Events(events) = watch.next().await else { panic!("nobody ends it") };
                    for event in events {
                        match event.body {
                            Body::Parts { text, .. } => shown += str::from_utf8(&text).expect("UTF-8"),
                            Body::Message(message) if message.content.to_text() == ANSWER => {
                                assert!(ANSWER.starts_with(&shown), "S2: {shown}");
                                return;
                            }
                            _ => {}
                        }
                    }
                }
            });
            let following = world.clone();
            let following = spawn(async move {
                let shared = &following.shared;
                let entered = shared.registry.enter(shared, following.chat, |cell, entry| {
                    let follower = entry.follow(None)?;
                    Some(Followed::new(shared.clone(), cell.clone(), follower))
                });
                let mut followed = entered.flatten().expect("there is room");
                let mut relayed = String::new();
                while let Some(frame) = followed.next().await {
                    if let RelayFrame::Parts { parts, .. } = frame {
                        parts.iter().for_each(|part| relayed += str::from_utf8(&part.text).expect("UTF-8"));
                    }
                }
                assert!(ANSWER.ends_with(&relayed), "S2: {relayed}");
            });
            viewing.await.expect("no panic");
            following.await.expect("no panic");
            drop(running);
            world.end().await;
        });
    });
}

#[test]
fn a_model_that_says_much_at_once_is_heard_to_its_end() {
    explore(|| {
        block_on(async {
            let world = World::with_model(Some("do you?"), Arc::new(Fluent));
            let running = world.env.spawn(crate::driver::run_replica(world.shared.clone()));
            let (_, mut watch) = world.subscribe().expect("there is room");
            assert_eq!(until(&mut watch, is_message(&Fluent::answer())).await, None, "L1, L2");
            drop((watch, running));
            world.end().await;
        });
    });
}

#[test]
fn a_message_is_answered_though_no_poll_comes() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let running = world.env.spawn(crate::driver::run_replica(world.shared.clone()));
            let (_, mut watch) = world.subscribe().expect("there is room");
            assert_eq!(until(&mut watch, is_synced).await, None, "L1");
            world.shared.apply(&world.send("do you?")).await.expect("the store answers");
            assert_eq!(until(&mut watch, is_message(ANSWER)).await, None, "L3");
            drop((watch, running));
            world.end().await;
        });
    });
}

#[test]
fn a_replica_hears_of_each_run_that_is_gone_with_its_hub() {
    explore(|| {
        block_on(async {
            let world = World::with(Some("do you?"));
            let replica = &world.shared.replica;
            let running = world.env.spawn(crate::driver::run_replica(world.shared.clone()));
            // Another ends the hub, whatever it is at.
            let ending = world.clone();
            let ending = spawn(async move {
                let (cell, watch) = ending.subscribe().expect("there is room");
                cell.end();
                drop(watch);
            });
            replica.handle(&world.env, ReplicaEvent::Drain);
            loop {
                let mut news = std::pin::pin!(replica.news());
                news.as_mut().enable();
                if replica.is_drained() {
                    break;
                }
                news.await;
            }
            ending.await.expect("no panic");
            drop(running);
            world.end().await;
        });
    });
}

#[test]
fn a_replica_that_panics_in_the_hands_of_another_ends_its_own_task() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let vitals = Arc::new(Vitals::default());
            let (vital, shared) = (vitals.guard("replica"), world.shared.clone());
            let running = world.env.spawn(async move {
                let _vital = vital;
                crate::driver::run_replica(shared).await;
            });
            let bringing = world.clone();
            let bringing = spawn(async move {
                bringing.shared.replica.handle(&bringing.env.broken(), ReplicaEvent::Wake);
            });
            assert_eq!(vitals.failure().await, "replica");
            bringing.await.expect("B3: who brought the event goes on");
            world.shared.replica.handle(&world.env, ReplicaEvent::Wake);
            drop(running);
            world.end().await;
        });
    });
}

async fn node(world: &World) -> Node<StillEnv> {
    let config = NodeConfig {
        replica: ReplicaId::new("here").expect("an id"),
        incarnation: 1,
        workers: 1,
        lease_ttl: Duration::from_secs(15),
        heartbeat: Duration::from_secs(5),
        poll_interval: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(5),
        episode_bytes_max: 1 << 20,
        tool_steps_max: 32,
        relay: None,
        recording: None,
    };
    let (store, bus) = (world.store.clone(), world.bus.clone());
    let ports = Ports {
        store,
        bus,
        generator: Arc::new(TwoParts),
        tools: Arc::new(NoTools),
        hops: Arc::new(Untraced),
    };
    Node::start(world.env.clone(), config, ports).await.expect("it listens nowhere")
}

/// Somebody subscribes, and stays until the stream ends.
fn come(node: &Node<StillEnv>, world: &World) -> JoinHandle<Option<Ending>> {
    let (node, chat) = (node.clone(), world.chat);
    spawn(async move {
        match node.subscribe(&OWNER.into(), chat, Resume::Fresh).await {
            Ok(mut viewer) => until(&mut viewer, |_| false).await,
            Err(EdgeError::Overloaded(_)) => Some(Ending::Leaving),
            Err(other) => panic!("{other}"),
        }
    })
}

async fn nothing_is_left(world: &World, node: &Node<StillEnv>) {
    let membership = world.store.membership.lock().expect("no panic").clone();
    assert_eq!(membership.last(), Some(&"deregister"), "a late heartbeat takes the name again");
    world.env.pass(HUB_RETENTION);
    world.env.all_tasks_ended().await;
    assert_eq!(node.open_hubs(), 0, "B2");
}

#[test]
fn who_comes_while_the_replica_drains_is_sent_elsewhere() {
    explore(|| {
        block_on(async {
            let world = World::new();
            let node = node(&world).await;
            let coming = come(&node, &world);
            node.drain().await;
            let ending = coming.await.expect("no panic");
            assert_eq!(ending, Some(Ending::Leaving), "no stream is silent for ever");
            nothing_is_left(&world, &node).await;
        });
    });
}

#[test]
fn a_drain_does_not_sleep_over_the_end_of_the_last_run() {
    explore(|| {
        block_on(async {
            let world = World::with(Some("do you?"));
            let version = || world.store.version_of(world.chat);
            let before = version();
            let node = node(&world).await;
            let viewer = node.subscribe(&OWNER.into(), world.chat, Resume::Fresh).await;
            let mut viewer = viewer.expect("there is room");
            assert_eq!(until(&mut viewer, is_synced).await, None, "L1");
            let viewing = spawn(async move { until(&mut viewer, |_| false).await });
            node.drain().await;
            let told = world.bus.published.lock().expect("no panic").iter().map(|n| n.snapshot_version).max();
            let changed = (version() != before).then(version);
            assert_eq!(told, changed, "L3: others hear of its last change before it leaves");
            assert_eq!(viewing.await.expect("no panic"), Some(Ending::Leaving));
            nothing_is_left(&world, &node).await;
        });
    });
}

#[test]
fn whoever_waits_for_the_loss_of_the_name_is_told() {
    explore(|| {
        block_on(async {
            let world = World::new();
            world.store.has_rival.store(true, SeqCst);
            let node = node(&world).await;
            assert_eq!(&*node.name_lost().await, RIVAL);
            node.abandon().await;
            world.env.all_tasks_ended().await;
        });
    });
}

#[test]
fn nothing_is_left_of_a_replica_that_is_ended() {
    explore(|| {
        block_on(async {
            let world = World::with(Some("do you?"));
            let node = node(&world).await;
            let coming = come(&node, &world);
            node.end();
            let ending = coming.await.expect("no panic");
            assert_eq!(ending, Some(Ending::Leaving), "no stream is silent for ever");
            world.env.all_tasks_ended().await;
            assert_eq!(node.open_hubs(), 0, "B2");
        });
    });
}
