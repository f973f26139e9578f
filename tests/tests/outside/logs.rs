//! A log that cannot be written costs its lines, and nothing else.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstem_tests::client::counted;
use mainstem_tests::deadline::{until, within};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shelled::Shelled;
use mainstem_tests::viewer::{Kind, Viewer};

/// What ending may take because nobody reads the last lines, with much to spare.
const STUCK_END_MAX: Duration = Duration::from_secs(8);
/// What fills any pipe many times over, in lines of the log.
const CHATS: usize = 20;

async fn start(scratch: &Scratch, prelude: &str, log: &str, stderr: Stdio) -> Shelled {
    let url = scratch.sqlite_url();
    let times = ["--lease-ttl", "3s", "--heartbeat", "500ms", "--poll-interval", "1s"];
    Shelled::start(prelude, &[&times[..], &["--log", log, "--database", &url]].concat(), stderr).await
}

/// Chats are answered, told to the end, and the replica is ready.
async fn assert_serves(replica: &Shelled) {
    let client = replica.client();
    for _ in 0..CHATS {
        let chat = client.create("/demo parts=50 interval=1ms").await;
        let mut viewer = Viewer::open(&client, &chat, Kind::WebSocket).await;
        viewer.until_idle().await;
        viewer.finish(&client).await;
        assert_eq!(viewer.screen.last_text(), counted(50), "L1");
    }
    client.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn a_log_whose_reader_has_gone_costs_nothing_but_lines() {
    let scratch = Scratch::new();
    let mut replica = start(&scratch, ":", "trace", Stdio::piped()).await;
    drop(replica.take_stderr());
    assert_serves(&replica).await;
    replica.terminate();
    assert_eq!(replica.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_log_on_a_full_disk_costs_nothing_but_lines() {
    let scratch = Scratch::new();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the kernel has it");
    let mut replica = start(&scratch, ":", "debug", full.into()).await;
    assert_serves(&replica).await;
    replica.terminate();
    assert_eq!(replica.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing_and_says_later_what_it_lost() {
    let scratch = Scratch::new();
    let mut replica = start(&scratch, ":", "trace", Stdio::piped()).await;
    let mut stderr = replica.take_stderr();
    let client = replica.client();
    // Without these the queue might still have room.
    for _ in 0..3 {
        client.create("/demo parts=3000 interval=0").await;
    }
    assert_serves(&replica).await;
    let reading = std::thread::spawn(move || {
        let mut log = vec![];
        let mut chunk = [0; 64 * 1024];
        while !String::from_utf8_lossy(&log).contains("log lines were lost") {
            match stderr.read(&mut chunk) {
                Ok(count @ 1..) => log.extend_from_slice(&chunk[..count]),
                other => panic!("{other:?} after {} bytes that do not tell of losses", log.len()),
            }
        }
        stderr
    });
    let reported = async || reading.is_finished().then_some(());
    until("it says that lines were lost", reported).await;
    let _stuck = reading.join().expect("it was told");
    // Nobody reads any more, and it ends all the same.
    assert_serves(&replica).await;
    replica.terminate();
    let ended = tokio::time::timeout(STUCK_END_MAX, replica.ended()).await;
    assert_eq!(ended.expect("it ends").code(), Some(0));
}

/// Sets how large its files may get, as a full disk does: beyond, writes fail.
fn limit_files(replica: &Shelled, bytes: &str) {
    let pid = replica.process_id().to_string();
    let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(set.expect("prlimit runs").success());
}

#[tokio::test]
async fn a_lone_server_whose_disk_was_full_converges_when_there_is_room_again() {
    let scratch = Scratch::new();
    let log = File::create(scratch.path().join("log")).expect("a file");
    // Otherwise the kernel kills who writes beyond the limit.
    let replica = start(&scratch, "trap '' XFSZ", "debug", log.into()).await;
    let client = replica.client();
    let chat = client.create("/demo parts=20 interval=1ms").await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    viewer.until_idle().await;
    let running = client.create("/demo parts=200 interval=10ms").await;
    let mut watching = Viewer::open(&client, &running, Kind::WebSocket).await;
    watching.until("parts are shown", |s| s.seq > 5).await;

    limit_files(&replica, "1");
    client
        .post(&format!("/v1/chats/{chat}/messages"), serde_json::json!({"content": "/demo parts=30"}))
        .await
        .expect(503);
    limit_files(&replica, "unlimited");

    let sent = async || {
        let answer = client.send_as(&chat, "/demo parts=40 interval=1ms", "queue").await;
        (answer.status == 202).then_some(())
    };
    until("the database takes writes again", sent).await;
    within("L1: the viewers converge", async {
        viewer.until("it is answered", |s| s.status == "waiting" && s.last_text() == counted(40)).await;
        watching.until_idle().await;
    })
    .await;
    viewer.finish(&client).await;
    watching.finish(&client).await;
    let lost = async || {
        let log = std::fs::read_to_string(scratch.path().join("log")).expect("text");
        log.contains("log lines were lost").then_some(())
    };
    until("the log says what it lost", lost).await;
    client.get("/readyz").await.expect(200);
}
