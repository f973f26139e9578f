//! A whole replica: its own task, and a run of the model.

use mainstem_machine::{Body, RelayFrame};
use shuttle::future::{block_on, spawn};

use super::world::World;
use crate::driver::{Followed, Next};
use crate::ports::Env;
use crate::sync::explore;

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
                        parts.iter().for_each(|part| relayed += str::from_utf8(part).expect("UTF-8"));
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
