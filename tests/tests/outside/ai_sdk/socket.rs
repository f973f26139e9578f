//! The WebSocket transport.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use serde_json::json;

use super::page::Page;

#[tokio::test]
async fn a_socket_carries_many_answers_and_its_stop_is_no_leaving() {
    let cluster = Cluster::start(&[&["--drain-timeout", "200ms"], &[], &["--workers", "0"]]).await;
    let [a, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client());
    let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
    let mut page = Page::open(7, "", &a, &chat, json!({"socket": true}));
    page.send("/demo parts=60 interval=1ms").await;
    page.until_status("ready").await;
    assert_eq!(page.compare(&b).await[1], counted(60));
    page.tell(json!({"do": "resume"})).await;
    page.until_status("ready").await;
    // A stop is one.
    page.send("/demo parts=3000 interval=5ms").await;
    page.until_shown(20).await;
    page.tell(json!({"do": "stop"})).await;
    let id = page.chat_id(&a).await;
    b.until_idle(&id).await;
    let turn = b.chat(&id).await["turn"].clone();
    let turn = b.get(&format!("/v1/chats/{id}/turns/{turn}")).await.expect(200).body;
    assert_eq!(turn["status"], "interrupted", "leaving is another thing");
    page.send("").await;
    let state = page.until_status("error").await;
    assert!(state["error"].as_str().is_some_and(|error| error.contains("content")), "{state}");

    // Its replica drains: the socket is closed, and all is told again elsewhere.
    let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
    let mut page = Page::open(7, "", &a, &chat, json!({"socket": true}));
    page.send("/demo parts=250 interval=10ms").await;
    page.until_shown(20).await;
    cluster.replicas[0].terminate();
    let state = page.until_status("error").await;
    assert!(state["error"].as_str().is_some_and(|error| error.contains("1001")), "{state}");
    page.tell(json!({"do": "go", "to": c.base})).await;
    page.tell(json!({"do": "resume"})).await;
    page.until_status("streaming").await;
    page.until_status("ready").await;
    assert_eq!(page.compare(&c).await[1], counted(250));
    assert_eq!(page.state().await["requests"], json!(["SOCKET", "SOCKET"]));
    let answer = c.get("/ai/chat/socket").await;
    assert_eq!((answer.status, answer.text.contains("WebSocket")), (400, true));
}
