//! Tapes of real replicas: what every machine said under load, kills and bounds, it says again (D4).

use std::fs;
use std::path::{Path, PathBuf};

use mainstem_runtime::tape::{End, Ending, Machine, Replayed, Verdict, replay};
use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::process::run;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};

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

fn says_marker(directory: &Path) -> bool {
    let files = fs::read_dir(directory).expect("a directory").map(|file| file.expect("a file").path());
    files
        .map(|path| fs::read(path).expect("a file"))
        .any(|bytes| bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()))
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
