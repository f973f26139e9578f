//! The laws of a replica's own machine: which chats it acquires, and with what place for them; heartbeats,
//! looks at everything, the bus, draining. First on random events, then claim by claim.

mod claims;
mod world;

use proptest::prelude::*;
use proptest::test_runner::Config;

use world::{World, steps};

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: Config::default().cases.max(500), ..Config::default() })]

    #[test]
    fn a_replica_acquires_what_it_has_slots_for_and_each_chat_once(workers in 0usize..4, steps in steps(120)) {
        let mut world = World::new(workers);
        for step in steps {
            world.take(step);
        }
        world.recover();
    }
}
