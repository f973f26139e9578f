//! Clients of HTTP/2 that open no window: what they asked for waits in memory, so they are cut off like those that read nothing.

use std::time::Duration;

use mainstem_tests::client::counted;
use mainstem_tests::deadline::within;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

use super::frames::{Connection, HEADERS, get, setting};
use super::secured;

/// How much a client takes of each stream before it says more.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Long enough that who is kept does not look cut, on a busy machine.
const CUT_MAX: Duration = Duration::from_secs(15);

#[tokio::test]
async fn who_opens_no_window_for_an_answer_of_any_kind_is_cut_off_in_time() {
    let server = secured(&["--client-timeout", "1s"]).await;
    let ann = server.client("anns");
    // Who has taken all that there was is no such client, however long nothing happens.
    let quiet = ann.create("").await;
    let mut watching = Viewer::open(&ann, &quiet, Kind::EventStream).await;
    watching.until_idle().await;
    let long = json!({"messages": [{"role": "system", "content": "x".repeat(900_000)}]});
    let chat = ann.post("/v1/chats", long).await.expect(201).body["id"].as_str().expect("an id").to_owned();
    let paths =
        [format!("/v1/chats/{chat}/messages"), format!("/v1/chats/{chat}/stream"), "/openapi.json".into()];
    for window in [0, 1, 16384] {
        for path in &paths {
            let settings = setting(INITIAL_WINDOW_SIZE, window);
            let mut client = Connection::open(server.address(), &server.authority, &settings).await;
            for stream in 0..20 {
                client.send(&get(2 * stream + 1, path, "anns")).await;
            }
            while client.next().await.expect("it answers").kind != HEADERS {}
            let cut = tokio::time::timeout(CUT_MAX, client.until_cut()).await;
            assert!(cut.is_ok(), "B1: {path} with a window of {window}: it was not cut off");
        }
    }
    ann.send(&quiet, "/demo parts=3 interval=0").await;
    watching.until("what is said now is told", |screen| screen.last_text() == counted(3)).await;
    within("others are served", ann.get("/v1/chats")).await.expect(200);
    server.is_unharmed().await;
}
