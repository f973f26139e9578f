//! The buses on servers: the contracts, against real servers and links that fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstem::adapters::{open, open_bus};
use mainstem::config::Bus as Choice;
use mainstem_runtime::contract::{bus, bus_faults};
use mainstem_runtime::ports::{Bus, Topic};
use mainstem_tests::bus_server::{BusServer, Kind};
use mainstem_tests::link::Link;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::switch::Switch;

use crate::{CALL_MAX, LEASE_TTL, delivers, ended, eventually, fresh_id, notice, sleeps};

const PREFIX: &str = "mainstem";
const DATABASE: &str = "d";

struct World {
    server: BusServer,
    link: Link,
}

impl World {
    async fn new(kind: Kind) -> Arc<Self> {
        let server = BusServer::start(kind).await.unwrap();
        let link = Link::start(server.port()).await.unwrap();
        Arc::new(Self { server, link })
    }

    async fn here(&self) -> Arc<dyn Bus> {
        open_at(&self.server.url_at(self.link.port())).await
    }

    async fn there(&self) -> Arc<dyn Bus> {
        open_at(&self.server.url()).await
    }
}

async fn open_at(url: &str) -> Arc<dyn Bus> {
    let choice = Choice::on_server(url, PREFIX).unwrap();
    open_bus(&choice, DATABASE).await
}

#[async_trait]
impl bus_faults::Faults for World {
    async fn kill(&self) {
        self.server.kill();
    }

    async fn start(&self) {
        self.server.start_again().await.unwrap();
    }

    async fn pause(&self) {
        self.server.pause();
    }

    async fn resume(&self) {
        self.server.resume();
    }

    async fn cut(&self) {
        self.link.cut();
    }

    async fn stall(&self) {
        self.link.stall(true);
    }

    async fn heal(&self) {
        self.link.stall(false);
    }

    async fn slow(&self, delay: Duration) {
        self.link.slow(delay);
    }

    async fn drown(&self) {
        self.server.drown(&self.server.channel(PREFIX, DATABASE)).await;
    }

    async fn babble(&self) {
        let nonsense = ["", "{}", "[1]", "{\"probe\":\"x\"}", "\u{0}"].map(|text| text.as_bytes().to_vec());
        let all = [&nonsense[..], &[vec![0xff; 100_000]]].concat();
        self.server.say(&self.server.channel(PREFIX, DATABASE), &all).await;
    }
}

async fn keeps_the_contract(kind: Kind) {
    let world = World::new(kind).await;
    bus::all(&bus::Subject { bus: world.there().await, sleep: sleeps() }).await;
}

async fn withstands_faults(kind: Kind) {
    let world = World::new(kind).await;
    let (here, there) = (world.here().await, world.there().await);
    let refusal_max = Duration::from_secs(1);
    bus_faults::all(&bus_faults::Subject { here, there, faults: world, refusal_max, sleep: sleeps() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nats_keeps_the_contract() {
    keeps_the_contract(Kind::Nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nats_withstands_the_faults_of_servers_and_links() {
    withstands_faults(Kind::Nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_keeps_the_contract() {
    keeps_the_contract(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_withstands_the_faults_of_servers_and_links() {
    withstands_faults(Kind::Redis).await;
}

/// A failover as it comes without a word to clients: nobody ends their connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_became_a_replica_is_left_for_the_primary() {
    let (old, new) =
        (BusServer::start(Kind::Redis).await.unwrap(), BusServer::start(Kind::Redis).await.unwrap());
    let switch = Switch::start(old.port()).await.unwrap();
    let here = open_at(&old.url_at(switch.port())).await;
    let there = open_at(&new.url()).await;
    let chat = fresh_id();
    let mut subscription = here.subscribe(Topic::Chat(chat)).await.unwrap();
    delivers(&here, &mut subscription, notice(chat, 1)).await;
    old.order(&format!("REPLICAOF 127.0.0.1 {}", new.port())).await;
    ended(&mut subscription).await;
    assert!(here.subscribe(Topic::Chat(chat)).await.is_err(), "what is published there goes nowhere else");
    switch.lead_to(new.port());
    let mut again = eventually("the bus", async || here.subscribe(Topic::Chat(chat)).await).await;
    delivers(&there, &mut again, notice(chat, 2)).await;
    let mut over_there = eventually("the bus", async || there.subscribe(Topic::Chat(chat)).await).await;
    delivers(&here, &mut over_there, notice(chat, 3)).await;
}

/// Users may do only what the documents ask for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_user_needs_the_rights_of_the_documents_and_no_more() {
    let server = BusServer::start(Kind::Redis).await.unwrap();
    let port = server.port();
    let grant = "resetchannels &mainstem:* -@all +publish +subscribe +ping +hello";
    server.order(&format!("ACL SETUSER ann on >right {grant}")).await;
    server.order(&format!("ACL SETUSER bob on >right {grant} -publish")).await;
    let bus = open_at(&format!("redis://ann:right@127.0.0.1:{port}")).await;
    let chat = fresh_id();
    let mut subscription = eventually("the bus", async || bus.subscribe(Topic::Chat(chat)).await).await;
    delivers(&bus, &mut subscription, notice(chat, 1)).await;
    for (user, says) in
        [("ann:wrong", "user and password"), ("bob:right", "permissions"), ("eve:x", "user and password")]
    {
        let bus = open_at(&format!("redis://{user}@127.0.0.1:{port}")).await;
        let Err(error) = bus.subscribe(Topic::Work).await else { panic!("{user} is refused") };
        assert!(error.to_string().contains(says) && !error.to_string().contains("wrong"), "{user}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_nats_user_needs_the_rights_of_the_documents_and_no_more() {
    let users = "authorization: { users: [
        { user: ann, password: right, permissions: { publish: \"mainstem.>\", subscribe: \"mainstem.>\" } },
        { user: bob, password: right, permissions: { publish: \"mainstem.*.echo.>\", subscribe: \"mainstem.>\" } },
        { user: cat, password: right, permissions: { publish: \"mainstem.>\", subscribe: \"mainstem.*.echo.>\" } } ] }";
    let server = BusServer::configured(Kind::Nats, users).await.unwrap();
    let port = server.port();
    let bus = open_at(&format!("nats://ann:right@127.0.0.1:{port}")).await;
    let chat = fresh_id();
    let mut subscription = eventually("the bus", async || bus.subscribe(Topic::Chat(chat)).await).await;
    delivers(&bus, &mut subscription, notice(chat, 1)).await;
    for (user, says) in [
        ("ann:wrong", "user and password"),
        ("bob:right", "ermissions"),
        ("cat:right", "ermissions"),
        ("eve:x", "user and password"),
    ] {
        let bus = open_at(&format!("nats://{user}@127.0.0.1:{port}")).await;
        let Err(error) = bus.subscribe(Topic::Work).await else { panic!("{user} is refused") };
        assert!(error.to_string().contains(says) && !error.to_string().contains("wrong"), "{user}: {error}");
    }
}

/// Clusters on one server hear nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clusters_and_databases_on_one_server_do_not_mix() {
    for kind in [Kind::Nats, Kind::Redis] {
        let server = BusServer::start(kind).await.unwrap();
        let of = async |prefix: &str, database: &str| {
            open_bus(&Choice::on_server(&server.url(), prefix).unwrap(), database).await
        };
        let (ours, theirs, other) = (of("blue", "d").await, of("green", "d").await, of("blue", "e").await);
        let chat = fresh_id();
        let mut subscription = eventually("the bus", async || ours.subscribe(Topic::Chat(chat)).await).await;
        for (bus, version) in [(&theirs, 1), (&other, 2)] {
            eventually("publishing", async || bus.publish(notice(chat, version)).await).await;
        }
        // The server has had the others, so they would have come first.
        delivers(&ours, &mut subscription, notice(chat, 3)).await;
    }
}

/// PostgreSQL lets go of nobody who is slow, but we do.
struct PostgresWorld {
    postgres: Postgres,
    link: Link,
}

impl PostgresWorld {
    async fn open_at(&self, port: u16) -> Arc<dyn Bus> {
        let url = self.postgres.url("bus").replacen(
            &format!(":{}/", self.postgres.port()),
            &format!(":{port}/"),
            1,
        );
        open(&url, LEASE_TTL).await.unwrap().1
    }

    fn notify(&self, payload: &str) {
        self.postgres.sql("bus", &format!("SELECT pg_notify('mainstem', {payload})")).unwrap();
    }
}

#[async_trait]
impl bus_faults::Faults for PostgresWorld {
    async fn kill(&self) {
        self.postgres.stop();
    }

    async fn start(&self) {
        self.postgres.start().unwrap();
    }

    async fn pause(&self) {
        self.postgres.pause();
    }

    async fn resume(&self) {
        self.postgres.resume();
    }

    async fn cut(&self) {
        self.link.cut();
    }

    async fn stall(&self) {
        self.link.stall(true);
    }

    async fn heal(&self) {
        self.link.stall(false);
    }

    async fn slow(&self, delay: Duration) {
        self.link.slow(delay);
    }

    async fn drown(&self) {
        // The same text twice in one transaction is one notification.
        self.notify("repeat('x', 7000) || number) FROM generate_series(1, 2000) AS number -- ");
    }

    async fn babble(&self) {
        for payload in ["''", "'{}'", "'[1]'", "'{\"probe\":\"x\"}'", "repeat('y', 7900)"] {
            self.notify(payload);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bus_on_postgresql_withstands_the_faults_of_servers_and_links() {
    let postgres = Postgres::new().unwrap();
    postgres.create_database("bus").unwrap();
    let link = Link::start(postgres.port()).await.unwrap();
    let world = Arc::new(PostgresWorld { postgres, link });
    let (here, there) = (world.open_at(world.link.port()).await, world.open_at(world.postgres.port()).await);
    // Its connections are the pool's, which waits for one that may come.
    let refusal_max = CALL_MAX;
    bus_faults::all(&bus_faults::Subject { here, there, faults: world, refusal_max, sleep: sleeps() }).await;
}
