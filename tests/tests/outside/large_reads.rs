//! Many readers of one large answer on SQLite: its content is read once for all who want it at the same time.

use mainstem_tests::cluster::alone;
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};

const READERS: usize = 30;
const VIEWERS: usize = 8;

/// Bytes that the process has read by system calls, those that the system had in memory included.
fn bytes_read(replica: &Replica) -> usize {
    let reported =
        std::fs::read_to_string(format!("/proc/{}/io", replica.process_id())).expect("the kernel tells");
    let line = reported.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("it counts");
    line.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_of_a_large_answer_share_what_is_read() {
    let directory = Scratch::new();
    let replica = alone(&directory, &[]).await;
    let client = replica.client();
    // Nearly as large as an answer may be, and no longer the newest.
    let chat = client.create("/demo parts=120 size=65000 interval=0").await;
    client.until_idle(&chat).await;
    client.send(&chat, "/demo parts=1 interval=0").await;
    client.until_idle(&chat).await;
    // A page by itself, behind the user's message.
    let path = format!("/v1/chats/{chat}/messages?after_id=1");
    let large = client.get(&path).await.expect(200).text.len();
    assert!(large > 7_000_000, "{large} bytes");

    let before = bytes_read(&replica);
    let pages = (0..READERS).map(|_| {
        let (client, path) = (client.clone(), path.clone());
        async move { client.get(&path).await.expect(200).text.len() }
    });
    let pages = futures::future::join_all(pages).await;
    assert!(pages.iter().all(|length| *length == large), "{pages:?}");
    let read = bytes_read(&replica) - before;
    assert!(read < READERS * large / 3, "B3: {} MiB read for {READERS} pages", read >> 20);

    let before = bytes_read(&replica);
    let viewers = (0..VIEWERS).map(|_| async {
        let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
        viewer.until("all of it", |s| s.messages.len() == 4).await;
        viewer.screen.texts()[1].len()
    });
    let reported = futures::future::join_all(viewers).await;
    assert!(reported.iter().all(|length| *length > 7_000_000), "S1: {reported:?}");
    let read = bytes_read(&replica) - before;
    assert!(read < VIEWERS * large / 2, "B3: {} MiB read for {VIEWERS} viewers", read >> 20);
}
