//! What replicas cost their database, each and together, on one machine: 1, 4 and 16 processes with `--workers 0` on a PostgreSQL
//! with 10,000 chats, and 16 with NATS for their bus,
//!
//! - idle: nobody watches;
//! - open: each chat has a stream, spread evenly over the replicas, and nothing happens;
//! - busy: the same, and titles of chats change, so many a second.
//!
//! `cargo measure-cluster` (the servers are what ships); with `-- --quick` it takes a fraction, and
//! says less. Told are, for each second, the CPU time of PostgreSQL with all its processes, its transactions (which it counts late),
//! and the CPU time of the replicas; and the memory that these have. docs/operations.md makes a model of them.

use std::time::{Duration, Instant};

use mainstem_tests::bus_server::{BusServer, Kind};
use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::measure::{time_of, time_of_tree};
use mainstem_tests::postgres::{Postgres, Setup};
use mainstem_tests::process::Replica;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Requests in flight while chats are created.
const CREATING: usize = 16;

struct Extent {
    replicas: Vec<usize>,
    chats: usize,
    window: Duration,
    changes_a_second: u32,
}

/// What was spent so far.
struct Reading {
    at: Instant,
    postgres: f64,
    transactions: f64,
    replicas: f64,
}

fn reading(cluster: &Cluster) -> Reading {
    let name = cluster.database_name();
    let asked = format!("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{name}'");
    let transactions = cluster.postgres.sql("postgres", &asked).expect("it counts");
    Reading {
        at: Instant::now(),
        postgres: time_of_tree(cluster.postgres.process_id()).as_secs_f64(),
        transactions: transactions.trim().parse().expect("a number"),
        replicas: time_of(&cluster.replicas).as_secs_f64(),
    }
}

/// What a second costs, from now on.
async fn measured(cluster: &Cluster, window: Duration) -> [f64; 3] {
    let before = reading(cluster);
    tokio::time::sleep(window).await;
    let after = reading(cluster);
    let seconds = (after.at - before.at).as_secs_f64();
    [
        (after.postgres - before.postgres) * 1e3 / seconds,
        (after.transactions - before.transactions) / seconds,
        (after.replicas - before.replicas) * 1e3 / seconds,
    ]
}

fn tell(cluster: &Cluster, bus: &str, what: &str, [postgres, transactions, servers]: [f64; 3]) {
    let replicas = cluster.replicas.len();
    let memory =
        cluster.replicas.iter().map(Replica::resident_bytes).sum::<u64>() as f64 / f64::from(1 << 20);
    println!(
        "{replicas:>8}  {bus:<8}  {what:<6} {postgres:>17.1} {transactions:>17.1} {servers:>17.1} {memory:>17.1}"
    );
}

async fn create(client: &Client, chats: usize) -> Vec<String> {
    let (mut ids, mut left) = (vec![], chats);
    while left > 0 {
        let now = left.min(CREATING);
        let asked = (0..now).map(|_| client.post("/v1/chats", json!({})));
        for answer in futures::future::join_all(asked).await {
            ids.push(answer.expect(201).body["id"].as_str().expect("an id").to_owned());
        }
        left -= now;
    }
    ids
}

/// Reads a stream until it ends.
async fn watch(address: String, chat: String) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let request = format!("GET /v1/chats/{chat}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut space = vec![0; 4096];
    if stream.write_all(request.as_bytes()).await.is_ok() {
        while stream.read(&mut space).await.is_ok_and(|read| read > 0) {}
    }
}

async fn change(clients: &[Client], chats: &[String], a_second: u32, until: Instant) -> u32 {
    let mut changes = 0;
    let begun = Instant::now();
    let mut asked = JoinSet::new();
    while Instant::now() < until {
        let chat = &chats[changes as usize * 7919 % chats.len()];
        let client = clients[changes as usize % clients.len()].clone();
        let path = format!("/v1/chats/{chat}");
        asked.spawn(async move { client.patch(&path, json!({"title": "changed"})).await.expect(200) });
        changes += 1;
        let due = begun + Duration::from_secs_f64(f64::from(changes) / f64::from(a_second));
        tokio::time::sleep_until(due.into()).await;
    }
    while asked.join_next().await.is_some() {}
    changes
}

async fn measure(replicas: usize, bus: Option<&BusServer>, extent: &Extent) {
    let postgres = Arc::new(Postgres::with(Setup::default()).expect("a PostgreSQL"));
    let (name, url) = bus.map_or(("postgres", "postgres".to_owned()), |bus| ("nats", bus.url()));
    // As replicas are set up: their own intervals, not those of tests.
    let mut cluster = Cluster::start_on(postgres, &[]).await;
    let flags = ["--workers", "0", "--database-connections", "4", "--bus", &url];
    for replica in 0..replicas {
        cluster.add_bare(&format!("r{replica}"), &flags).await;
    }
    let clients: Vec<Client> = cluster.replicas.iter().map(|replica| replica.client()).collect();
    let chats = create(&clients[0], extent.chats).await;
    cluster.postgres.sql(cluster.database_name(), "VACUUM ANALYZE").expect("it is tidied");
    tokio::time::sleep(Duration::from_secs(2)).await;
    tell(&cluster, name, "idle", measured(&cluster, extent.window).await);
    let mut streams = JoinSet::new();
    for (at, chat) in chats.iter().enumerate() {
        streams.spawn(watch(cluster.replicas[at % replicas].address().to_owned(), chat.clone()));
        if at % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(streams.len(), extent.chats, "all streams go on");
    tell(&cluster, name, "open", measured(&cluster, extent.window).await);
    let until = Instant::now() + extent.window;
    let changing = change(&clients, &chats, extent.changes_a_second, until);
    let (cost, changes) = tokio::join!(measured(&cluster, extent.window), changing);
    tell(&cluster, name, "busy", cost);
    println!("{:>8}  ({:.0} changes a second)", "", f64::from(changes) / extent.window.as_secs_f64());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let extent = if quick {
        Extent { replicas: vec![1, 2], chats: 200, window: Duration::from_secs(2), changes_a_second: 50 }
    } else {
        let window = Duration::from_secs(30);
        Extent { replicas: vec![1, 4, 16], chats: 10_000, window, changes_a_second: 200 }
    };
    println!("{} chats; for each second:", extent.chats);
    println!(
        "{:>8}  {:<8}  {:<6} {:>17} {:>17} {:>17} {:>17}",
        "replicas", "bus", "", "PostgreSQL, ms", "transactions", "replicas, ms", "their MiB"
    );
    for &replicas in &extent.replicas {
        measure(replicas, None, &extent).await;
    }
    let nats = BusServer::start(Kind::Nats).await.expect("a NATS");
    let most = extent.replicas.iter().copied().max().expect("there are replicas");
    measure(most, Some(&nats), &extent).await;
}
