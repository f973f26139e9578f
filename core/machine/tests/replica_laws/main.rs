//! The laws of a replica's state machine: which chats it acquires, and whether with a slot; heartbeats,
//! syncs, the bus, draining. First on random events, then claim by claim.

#[path = "../common/mod.rs"]
mod common;

mod claims;
mod rounds;
mod world;

use proptest::prelude::*;

use world::{World, steps};

/// `PROPTEST_CASES` asks for more, `LAWS_CASES` for fewer.
const CASES: u32 = 500;

proptest! {
    #![proptest_config(common::config(CASES))]

    #[test]
    fn a_replica_acquires_what_it_has_slots_for_and_each_chat_once(workers in 0usize..4, steps in steps(120)) {
        let mut world = World::new(workers);
        for step in steps {
            world.take(step);
        }
        world.recover();
    }
}
