//! What it costs to be seen and secured: 100 chats with 50 parts a second each, told by the replica that does not work. The CPU of both
//! replicas for each part, in rounds in which each way to run them has its turn,
//!
//! - plain: as they come;
//! - metrics: with internal listeners, scraped each second;
//! - traces: told to a collector;
//! - TLS: for clients and for the relay;
//! - earlier: plain, of the program that `MAINSTEM_BENCH_EARLIER` names, if it does.
//!
//! `cargo measure-operations` (the servers are what ships); with `-- --quick` it takes a fraction,
//! and says less. Medians are told, and ratios of medians to plain.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mainstem_tests::authority::Authority;
use mainstem_tests::client::Client;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::collector::Collector;
use mainstem_tests::measure::{median, time_of};
use mainstem_tests::scratch::Scratch;
use reqwest::Method;

const CHATS: u32 = 100;
const PARTS_A_SECOND: u32 = 50;
/// The program that is measured beside this one.
const EARLIER: &str = "MAINSTEM_BENCH_EARLIER";

/// One way to run two replicas.
struct Way {
    name: &'static str,
    cluster: Cluster,
    /// Of the one that tells.
    client: Client,
    is_scraped: bool,
    costs: Vec<f64>,
}

impl Way {
    fn of(name: &'static str, cluster: Cluster) -> Self {
        let client = cluster.replicas[1].client();
        Self { name, cluster, client, is_scraped: false, costs: vec![] }
    }
}

async fn two(flags: &[&str], environment: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::start(&[]).await;
    cluster.add_with("a", &[&["--workers", "200"], flags].concat(), environment).await;
    cluster.add_with("b", &[&["--workers", "0"], flags].concat(), environment).await;
    cluster
}

async fn secured(scratch: &Scratch) -> Way {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost", "127.0.0.1"]);
    let (certificate, key) =
        (scratch.file("cert.pem", &issued.certificate), scratch.file("key.pem", &issued.key));
    let trusted = scratch.file("ca.pem", &authority.pem());
    let public = ["--tls-cert", &certificate, "--tls-key", &key];
    let relay = ["--relay-tls-cert", &certificate, "--relay-tls-key", &key, "--relay-tls-ca", &trusted];
    // Whether it is ready is asked there.
    let internal = ["--internal-listen", "127.0.0.1:0"];
    let mut way = Way::of("TLS", two(&[&public[..], &relay, &internal].concat(), &[]).await);
    way.client = Client::trusting(&way.cluster.replicas[1].url(), &authority, false);
    way
}

async fn ways(scratch: &Scratch, collector: &Collector) -> Vec<Way> {
    let mut ways = vec![Way::of("plain", two(&[], &[]).await)];
    let metrics = two(&["--internal-listen", "127.0.0.1:0"], &[]).await;
    ways.push(Way { is_scraped: true, ..Way::of("metrics", metrics) });
    let environment = collector.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    ways.push(Way::of("traces", two(&[], &environment).await));
    ways.push(secured(scratch).await);
    if let Some(program) = std::env::var_os(EARLIER).map(PathBuf::from) {
        let mut cluster = Cluster::start(&[]).await;
        cluster.add_of(&program, "a", &["--workers", "200"]).await;
        cluster.add_of(&program, "b", &["--workers", "0"]).await;
        ways.push(Way::of("earlier", cluster));
    }
    ways
}

/// The microseconds of both replicas for each part.
async fn paced(way: &Way, window: Duration) -> f64 {
    let seconds = window.as_secs() as u32 + 4;
    let says = format!("/demo parts={} interval={}ms", PARTS_A_SECOND * seconds, 1000 / PARTS_A_SECOND);
    let mut reading = vec![];
    for _ in 0..CHATS {
        let chat = way.client.create(&says).await;
        let request = way.client.request(Method::GET, &format!("/v1/chats/{chat}/stream"));
        let mut stream = request.send().await.expect("a stream");
        assert_eq!(stream.status(), 200);
        reading.push(tokio::spawn(async move {
            while stream.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
        }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let replicas = &way.cluster.replicas;
    let (before, began) = (time_of(replicas), Instant::now());
    while began.elapsed() < window {
        if way.is_scraped {
            for replica in replicas {
                replica.internal().get("/metrics").await.expect(200);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (spent, took) = (time_of(replicas) - before, began.elapsed());
    reading.iter().for_each(tokio::task::JoinHandle::abort);
    spent.as_secs_f64() * 1e6 / (f64::from(CHATS * PARTS_A_SECOND) * took.as_secs_f64())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, window) = if is_quick { (1, 2) } else { (5, 8) };
    let (scratch, collector) = (Scratch::new(), Collector::start().await);
    let mut ways = ways(&scratch, &collector).await;
    for _ in 0..rounds {
        for way in &mut ways {
            let cost = paced(way, Duration::from_secs(window)).await;
            way.costs.push(cost);
            // The answers come to their end.
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }
    let plain = median(ways[0].costs.clone());
    for way in ways {
        let cost = median(way.costs);
        println!("{:<8} {cost:6.1} µs of CPU a part   {:4.2} × plain", way.name, cost / plain);
    }
}
