//! The buses on servers: the contracts, against real servers and links that fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mainstem::adapters::open_bus;
use mainstem::config::Bus as Choice;
use mainstem_runtime::contract::{bus, bus_faults};
use mainstem_runtime::ports::Bus;
use mainstem_tests::bus_server::{BusServer, Kind};
use mainstem_tests::link::Link;

use crate::sleeps;

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
    bus_faults::all(&bus_faults::Subject { here, there, faults: world, sleep: sleeps() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nats_keeps_the_contract() {
    keeps_the_contract(Kind::Nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nats_withstands_the_faults_of_servers_and_links() {
    withstands_faults(Kind::Nats).await;
}
