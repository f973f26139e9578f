//! The simulated database, bus and models pass the same contract suites as the real ones.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use madsim::runtime::Runtime;
use mainstem_runtime::contract::{bus, store};
use mainstem_sim::bus::Messenger;
use mainstem_sim::database::Database;
use mainstem_sim::env::SimEnv;
use mainstem_sim::net::Net;
use mainstem_sim::trace::Trace;
use mainstem_sim::world::World;

const LEASE_TTL: Duration = Duration::from_secs(15);
const DIFFERENTIAL_SEEDS: u64 = 20;

fn simulate<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let runtime = Runtime::with_seed_and_config(1, madsim::Config::default());
    runtime.block_on(async { test(World::new(1, Trace::default())).await });
}

fn sleep(world: &World) -> store::Sleep {
    let world = world.clone();
    Arc::new(move |span| world.sleep(span).boxed())
}

#[test]
fn the_simulated_database_keeps_the_contract_of_stores() {
    simulate(|world| async move {
        let env = SimEnv::new(&world, &Net::new(&world), "A");
        let store = Arc::new(Database::new(&world, LEASE_TTL).store(&env, "A"));
        store::all(&store::Subject::new(store, LEASE_TTL, sleep(&world)), DIFFERENTIAL_SEEDS).await;
    });
}

#[test]
fn the_simulated_bus_keeps_the_contract_of_buses() {
    simulate(|world| async move {
        let bus = Arc::new(Messenger::new(&world).bus("A"));
        bus::all(&bus::Subject { bus, sleep: sleep(&world) }).await;
    });
}
