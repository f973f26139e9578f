//! What the faces cost beside our own stream, on two replicas and a PostgreSQL of this machine:
//!
//! - paced: 100 chats with 50 parts a second each, all told by the replica that does not work. Its CPU for each part, in rounds in which
//!   each kind of stream has its turn;
//! - resumed: an answer of 5,000 parts that stands still. Until the first byte, and until all of it is there;
//! - the page at `/`: until the browser has painted something.
//!
//! `cargo bench --profile dev -p mainstem-tests --bench faces` (the servers are what ships); with `-- --quick` it takes a fraction, and
//! says less. Medians are told, and ratios of medians.

use std::fmt::Write;
use std::time::{Duration, Instant};

use mainstem_tests::browser::Page;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::measure::{median, time_of_process};
use mainstem_tests::process::Replica;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

const CHATS: u32 = 100;
const PARTS_A_SECOND: u32 = 50;
const PARTS_RESUMED: u32 = 5000;
const KINDS: [Kind; 4] = [Kind::Native, Kind::AiSdk, Kind::AgUi, Kind::OpenAi];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Native,
    AiSdk,
    AgUi,
    OpenAi,
}

/// How much is measured.
struct Extent {
    rounds: usize,
    window: Duration,
    resumed: usize,
}

/// A request, as it is written.
fn request(method: &str, path: &str, body: Option<&Value>) -> String {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n");
    match body {
        Some(body) => {
            let body = body.to_string();
            let length = body.len();
            write!(request, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
                .expect("a string takes it");
        }
        None => request.push_str("\r\n"),
    }
    request
}

/// A chat that answers this is begun, and its stream asked for.
async fn asked(kind: Kind, replica: &Replica, says: &str) -> String {
    let id = Uuid::now_v7().to_string();
    match kind {
        Kind::Native => {
            let chat = replica.client().post("/v1/chats", json!({"content": says})).await.expect(201).body;
            let chat = chat["id"].as_str().expect("an id").to_owned();
            request("GET", &format!("/v1/chats/{chat}/stream"), None)
        }
        Kind::AiSdk => {
            let message = json!({"id": "u1", "role": "user", "parts": [{"type": "text", "text": says}]});
            let body = json!({"id": id, "messages": [message], "trigger": "submit-message"});
            request("POST", "/ai/chat?ai=7", Some(&body))
        }
        Kind::AgUi => {
            let message = json!({"id": "u1", "role": "user", "content": says});
            let body = json!({
                "threadId": id, "runId": "r1", "protocolVersion": "1.0", "state": {}, "messages": [message],
                "tools": [], "context": [], "forwardedProps": {},
            });
            request("POST", "/ag-ui", Some(&body))
        }
        Kind::OpenAi => {
            request("POST", "/v1/responses", Some(&json!({"model": "demo", "input": says, "stream": true})))
        }
    }
}

/// What asks for an answer that is there, from its begin.
async fn resuming(kind: Kind, replica: &Replica, chat: &str) -> String {
    let client = replica.client();
    match kind {
        Kind::Native => request("GET", &format!("/v1/chats/{chat}/stream"), None),
        Kind::AiSdk => request("GET", &format!("/ai/chat/{chat}/stream?ai=7"), None),
        Kind::AgUi => {
            let there = client.get(&format!("/ag-ui?threadId={chat}")).await.expect(200).body;
            let run = there["activeRun"]["runId"].as_str().expect("it runs").to_owned();
            request("GET", &format!("/ag-ui?offset=-1&runId={run}"), None)
        }
        Kind::OpenAi => {
            let turn = client.get(&format!("/v1/chats/{chat}")).await.expect(200).body["turn"].clone();
            let response = format!("resp_{}_{turn}", chat.replace('-', ""));
            request("GET", &format!("/v1/responses/{response}?stream=true"), None)
        }
    }
}

async fn opened(replica: &Replica, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(replica.address()).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    stream
}

/// The microseconds for each part at the replica that tells, and how many events that were for each.
async fn paced(kind: Kind, cluster: &Cluster, window: Duration) -> (f64, f64) {
    let told = &cluster.replicas[1];
    let seconds = window.as_secs() as u32 + 4;
    let says = format!("/demo parts={} interval={}ms", PARTS_A_SECOND * seconds, 1000 / PARTS_A_SECOND);
    let mut reading = vec![];
    for _ in 0..CHATS {
        let mut stream = opened(told, &asked(kind, told, &says).await).await;
        reading.push(tokio::spawn(async move {
            let (mut bytes, mut events) = (vec![0; 64 * 1024], 0);
            let until = Instant::now() + window + Duration::from_secs(2);
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                match tokio::time::timeout(left, stream.read(&mut bytes)).await {
                    Ok(Ok(read)) if read > 0 => {
                        events += bytes[..read].windows(6).filter(|bytes| *bytes == b"data: ").count();
                    }
                    _ => break,
                }
            }
            events
        }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = time_of_process(told.process_id());
    let began = Instant::now();
    tokio::time::sleep(window).await;
    let (spent, took) = (time_of_process(told.process_id()) - before, began.elapsed());
    let mut events = 0;
    for reading in reading {
        events += reading.await.expect("it does not panic");
    }
    let parts = f64::from(CHATS * PARTS_A_SECOND) * took.as_secs_f64();
    let all = f64::from(CHATS * PARTS_A_SECOND) * (took.as_secs_f64() + 2.0);
    (spent.as_secs_f64() * 1e6 / parts, f64::from(u32::try_from(events).expect("fewer")) / all)
}

/// Milliseconds until the first byte of the answer, and until its last part.
async fn resumed(replica: &Replica, request: &str) -> (f64, f64) {
    let began = Instant::now();
    let mut stream = opened(replica, request).await;
    let (mut bytes, mut all, mut first) = (vec![0; 256 * 1024], vec![], None);
    let last = format!("{PARTS_RESUMED} ");
    loop {
        let read = stream.read(&mut bytes).await.expect("it tells");
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&all));
        first.get_or_insert_with(|| began.elapsed());
        all.extend_from_slice(&bytes[..read]);
        let tail = all.len().saturating_sub(read + last.len());
        if all[tail..].windows(last.len()).any(|bytes| bytes == last.as_bytes()) {
            let first = first.expect("it was told");
            return (first.as_secs_f64() * 1e3, began.elapsed().as_secs_f64() * 1e3);
        }
    }
}

async fn measure(extent: &Extent) {
    let cluster = Cluster::start(&[&["--workers", "200"], &["--workers", "0"]]).await;
    let mut costs = [(); KINDS.len()].map(|()| (vec![], vec![]));
    for _ in 0..extent.rounds {
        for (kind, (cost, events)) in KINDS.iter().zip(&mut costs) {
            let (each, told) = paced(*kind, &cluster, extent.window).await;
            cost.push(each);
            events.push(told);
            // The answers come to their end.
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }
    let native = median(costs[0].0.clone());
    for (kind, (cost, events)) in KINDS.iter().zip(costs) {
        let (cost, events) = (median(cost), median(events));
        let ratio = cost / native;
        println!(
            "paced    {kind:<8?} {cost:6.1} µs of CPU a part   {ratio:4.2} × native   {events:4.2} events a part"
        );
    }

    let says = format!("/demo parts={} interval=0 stall={PARTS_RESUMED}", PARTS_RESUMED + 1);
    let told = &cluster.replicas[1];
    let chat = told.client().post("/v1/chats", json!({"content": says})).await.expect(201).body;
    let chat = chat["id"].as_str().expect("an id").to_owned();
    for kind in KINDS {
        let request = loop {
            let there = told.client().get(&format!("/v1/chats/{chat}")).await.expect(200).body;
            if there["attempt"] == 1 {
                break resuming(kind, told, &chat).await;
            }
        };
        resumed(told, &request).await;
        let (mut first, mut all) = (vec![], vec![]);
        for _ in 0..extent.resumed {
            let (begun, ended) = resumed(told, &request).await;
            first.push(begun);
            all.push(ended);
        }
        let (first, all) = (median(first), median(all));
        println!(
            "resumed  {kind:<8?} {first:6.2} ms to the first byte   {all:6.2} ms to all of {PARTS_RESUMED} parts"
        );
    }

    let mut page = Page::open(&format!("{}/", told.url())).await;
    let mut paints = vec![];
    for _ in 0..extent.resumed.min(11) {
        page.evaluate("location.reload(); null").await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let paint = page.evaluate("performance.getEntriesByName('first-paint')[0]?.startTime ?? null").await;
        paints.extend(paint.as_f64());
    }
    println!("page     first paint after {:.0} ms ({} of its loads)", median(paints.clone()), paints.len());
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let extent = if is_quick {
        Extent { rounds: 1, window: Duration::from_secs(1), resumed: 3 }
    } else {
        Extent { rounds: 3, window: Duration::from_secs(8), resumed: 21 }
    };
    measure(&extent).await;
}
