//! Tapes of real replicas: what every machine said under load, kills and bounds, it says again (D4).

use std::fs;
use std::path::{Path, PathBuf};

use mainstem_runtime::tape::{End, Ending, Machine, Replayed, Verdict, replay};
use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::process::{Replica, run};
use mainstem_tests::provider::{Provider, Reply};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

/// What only users say.
const MARKER: &str = "swordfish";

fn tapes_in(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).expect("there are tapes");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tape"));
    paths.sort();
    paths
}

/// Replays every tape of the directory. Each has to lead to the same outputs.
fn replayed(directory: &Path) -> Vec<Replayed> {
    let told = tapes_in(directory).into_iter().map(|path| {
        let tape = fs::read(&path).expect("a tape");
        let replayed = replay(&tape, &mut |_| ()).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert_eq!(replayed.verdict, Verdict::Same, "D4: {}: {}", path.display(), replayed.verdict);
        replayed
    });
    told.collect()
}

fn bytes_of(directory: &Path) -> u64 {
    // A tape may make room for another meanwhile.
    tapes_in(directory).iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum()
}

fn says(directory: &Path, word: &str) -> bool {
    let files = fs::read_dir(directory).expect("a directory").map(|file| file.expect("a file").path());
    files
        .map(|path| fs::read(path).expect("a file"))
        .any(|bytes| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
}

fn says_marker(directory: &Path) -> bool {
    says(directory, MARKER)
}

fn is_hub(replayed: &Replayed) -> bool {
    matches!(replayed.head.machine, Machine::Hub { .. })
}

#[tokio::test]
async fn tapes_of_replicas_under_load_and_kills_lead_to_the_same_outputs() {
    let scratch = Scratch::new();
    let directories = ["a", "b", "c"].map(|id| scratch.path().join(id));
    let names = directories.each_ref().map(|path| path.display().to_string());
    let [a, b, c] = names.each_ref().map(|path| ["--record", path]);
    let c = [&c[..], &["--workers", "0"]].concat();
    let mut cluster = Cluster::start(&[&a, &b, &c]).await;
    let there = cluster.replicas[2].client();
    let content = format!("/demo parts=150 interval=10ms {MARKER}");
    let chats = [there.create(&content).await, there.create(&content).await, there.create(&content).await];
    let dead = cluster.index_of(&there.until_running(&chats[0]).await);
    let survivor = cluster.replicas[1 - dead].client();
    let mut viewers = vec![];
    for chat in &chats {
        viewers.push(Viewer::open(&there, chat, Kind::EventStream).await);
        viewers.push(Viewer::open(&survivor, chat, Kind::WebSocket).await);
        there.send(chat, &format!("/demo parts=3 interval=0 {MARKER}")).await;
    }
    let (url, other) = (cluster.replicas[2].url(), cluster.replicas[1 - dead].url());
    let load = tokio::spawn(async move {
        run(&["load", "--server", &url, "--server", &other, "--chats", "3", "--duration", "1s"]).await
    });
    viewers[0].until("parts are shown", |screen| screen.seq > 20).await;
    cluster.replicas[dead].kill();
    cluster.replicas[dead].start_again().await;
    there.interrupt(&chats[1]).await;
    for viewer in &mut viewers {
        viewer.until_idle().await;
        viewer.finish(&there).await;
    }
    assert_eq!(viewers[0].screen.last_text(), counted(3));
    let loaded = load.await.expect("it ends");
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let (mut hubs, mut inputs, mut cut) = (0, 0, 0);
    for (replica, directory) in cluster.replicas.iter_mut().zip(&directories) {
        replica.terminate();
        assert!(replica.ended().await.success());
        let tapes = replayed(directory);
        hubs += tapes.iter().filter(|tape| is_hub(tape)).count();
        inputs += tapes.iter().map(|tape| tape.inputs).sum::<u64>();
        cut += tapes.iter().filter(|tape| matches!(tape.ending, Ending::Cut(_))).count();
        assert!(tapes.iter().any(|tape| !is_hub(tape)), "the replica's own machine has a tape");
        assert!(!says_marker(directory), "a text of a user is on a tape in {}", directory.display());
    }
    let lives = replayed(&directories[dead]).iter().filter(|tape| !is_hub(tape)).count();
    assert_eq!(lives, 2, "what was killed left its tapes, and has new ones");
    assert!(hubs >= 9 && inputs > 2000 && cut > 0, "{hubs} hubs, {inputs} inputs, {cut} cut");
}

#[tokio::test]
async fn texts_are_on_tapes_that_were_asked_for_them() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("tapes");
    let record = directory.display().to_string();
    let mut replica = alone(&scratch, &["--record", &record, "--record-content"]).await;
    let client = replica.client();
    let chat = client.create(&format!("/demo parts=20 interval=1ms {MARKER} \\\"é…𝄞\n")).await;
    let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    replica.terminate();
    assert!(replica.ended().await.success());
    let tapes = replayed(&directory);
    assert!(
        tapes.len() == 2 && tapes.iter().all(|tape| tape.head.has_content && tape.inputs > 5),
        "{tapes:?}"
    );
    assert!(says_marker(&directory));
}

/// A chat whose model calls the tool that is named by the marker, three times at once.
async fn calling(client: &Client, tools: &[&str]) -> String {
    let tool = |name: &&str| json!({"name": name, "description": MARKER, "input_schema": {"type": "object"}});
    let tools: Vec<_> = tools.iter().map(tool).collect();
    let content = format!("/demo parts=2 interval=0 call={MARKER} calls=3");
    let body = json!({"content": content, "tools": tools});
    let created = client.post("/v1/chats", body).await.expect(201).body;
    created["id"].as_str().expect("an id").to_owned()
}

/// What has no text of the calls says the same of them. Returns their ids.
async fn replayed_calls(mut replica: Replica, directory: &Path, chat: &str) -> Vec<String> {
    let client = replica.client();
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    let results = page["messages"][2]["content"].as_array().expect("results").clone();
    let ids: Vec<_> = results.iter().map(|result| result["tool_call_id"].as_str().expect("an id")).collect();
    assert_eq!(ids.iter().map(|id| id.len()).collect::<Vec<_>>(), [ids[0].len(); 3], "they are as long");
    replica.terminate();
    assert!(replica.ended().await.success());
    let tapes = replayed(directory);
    assert!(tapes.iter().any(|tape| is_hub(tape) && tape.inputs > 10), "{tapes:?}");
    assert!(tapes.iter().all(|tape| !tape.head.has_content));
    for word in ids.iter().chain([&MARKER]) {
        assert!(!says(directory, word), "{word} is on a tape");
    }
    ids.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn calls_that_a_client_answers_are_told_apart_on_tapes_without_their_names() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("tapes");
    let replica = alone(&scratch, &["--record", &directory.display().to_string()]).await;
    let client = replica.client();
    // Another one of its length that is not called.
    let chat = calling(&client, &["sawfishes", MARKER]).await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    let calls = until("the client is asked", async || {
        let told = client.chat(&chat).await;
        (told["status"] == "requires_action")
            .then(|| told["pending_calls"].as_array().expect("calls").clone())
    })
    .await;
    viewer.until("the client is asked", |screen| screen.status == "requires_action").await;
    let path = format!("/v1/chats/{chat}/tool_results");
    for call in calls.iter().rev() {
        let result = json!({"tool_call_id": call["tool_call_id"], "content": MARKER});
        client.post(&path, json!({"results": [result]})).await.expect(202);
        // Who comes back has a cursor of before.
        viewer.resume_on(&client).await;
    }
    viewer.until_idle().await;
    viewer.finish(&client).await;
    let ids = replayed_calls(replica, &directory, &chat).await;
    assert!(calls.iter().zip(&ids).all(|(call, id)| call["tool_call_id"] == **id), "S11: {ids:?}");
}

#[tokio::test]
async fn calls_that_the_server_carries_out_are_told_apart_on_tapes_without_their_names() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("tapes");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json".to_owned();
    let endpoint = Provider::start(vec![Reply::Raw(head, format!("{MARKER:?}"))]).await;
    let tool =
        |name: &str| format!("[[tools]]\nname = {name:?}\nrun = \"http\"\nurl = {:?}\n", endpoint.base_url);
    let tools = scratch.file("tools.toml", &[tool("sawfishes"), tool(MARKER)].concat());
    let flags = ["--record", &directory.display().to_string(), "--tools", &tools];
    let replica = alone(&scratch, &flags).await;
    let client = replica.client();
    let chat = calling(&client, &["shellfish"]).await;
    let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
    viewer.until_idle().await;
    viewer.finish(&client).await;
    let ids = replayed_calls(replica, &directory, &chat).await;
    let seen = endpoint.seen();
    let mut called: Vec<_> = seen.iter().map(|request| request.body["tool_call_id"].clone()).collect();
    called.sort_unstable_by_key(|id| id.to_string());
    assert_eq!(called, ids, "S11: each is carried out once");
    assert!(seen.iter().all(|request| request.body["name"] == MARKER));
}

#[tokio::test]
async fn tapes_keep_to_their_bounds_and_the_server_goes_on() {
    const BYTES_MAX: u64 = 1 << 20;
    let scratch = Scratch::new();
    let directory = scratch.path().join("tapes");
    let record = directory.display().to_string();
    let mut replica = alone(&scratch, &["--record", &record, "--record-bytes-max", "1MiB"]).await;
    let client = replica.client();
    let mut viewers = vec![];
    for _ in 0..10 {
        let chat = client.create("/demo parts=3000 interval=1ms size=64").await;
        viewers.push(Viewer::open(&client, &chat, Kind::WebSocket).await);
    }
    for viewer in &mut viewers {
        viewer.until_idle().await;
        viewer.finish(&client).await;
        assert_eq!(viewer.screen.messages.len(), 2);
        assert!(bytes_of(&directory) <= BYTES_MAX, "B1: {} bytes", bytes_of(&directory));
    }
    let second = ["serve", "--listen", "127.0.0.1:0", "--database", "sqlite::memory:", "--record", &record];
    let refused = run(&second).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("--record"), "{why}");
    until("the log tells of it", async || replica.log().contains("a tape ends before").then_some(())).await;
    replica.terminate();
    assert!(replica.ended().await.success());
    assert!(bytes_of(&directory) <= BYTES_MAX, "B1: {} bytes", bytes_of(&directory));
    let tapes = replayed(&directory);
    let is_full =
        |tape: &Replayed| matches!(tape.ending, Ending::Ended(End::TapeFull | End::Behind | End::Lost));
    assert!(tapes.len() > 5 && tapes.iter().any(is_full), "{tapes:?}");
}
