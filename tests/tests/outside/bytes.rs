//! What is answered and what is kept has a bound of bytes.

use mainstem_tests::cluster::Cluster;
use serde_json::json;

const LARGE: usize = 500_000;

/// Bytes of idempotency records, as they are written, not as they are compressed.
fn records(cluster: &Cluster) -> usize {
    let bytes =
        "SELECT coalesce(sum(octet_length(coalesce(answer, '')) + octet_length(key)), 0) FROM receipts";
    cluster.postgres.sql(cluster.database_name(), bytes).expect("psql").parse().expect("a number")
}

#[tokio::test]
async fn small_commands_leave_small_records_and_a_queue_is_full_by_bytes() {
    let cluster = Cluster::start(&[&["--queue-max", "50"]]).await;
    let client = cluster.replicas[0].client();
    let chat = client.create("/demo parts=9 stall=3").await;
    client.until_running(&chat).await;
    let mut queued = vec![];
    let full = loop {
        let answer = client.send_as(&chat, &"q".repeat(LARGE), "queue").await;
        if answer.status != 202 {
            break answer;
        }
        queued.push(answer.body["queued"]["id"].as_u64().expect("an id"));
    };
    full.expect_problem(409, "queue_full");
    assert!((8..=9).contains(&queued.len()), "B1: {} of half a megabyte", queued.len());
    let reported = client.chat(&chat).await;
    let ids: Vec<_> =
        reported["queue"].as_array().expect("a queue").iter().map(|q| q["id"].as_u64()).collect();
    assert_eq!(ids, queued.iter().map(|id| Some(*id)).collect::<Vec<_>>(), "S6: first in, first out");

    // 15 promotes of all that waits, without a key and with one.
    let before = records(&cluster);
    assert!(before < 20_000, "B1: {before} bytes for {} sends of {LARGE}", queued.len());
    let path = |at: usize| format!("/v1/chats/{chat}/queue/{}/promote", queued[at % queued.len()]);
    client.post(&path(0), json!({})).await.expect(202);
    let (chats, mut answers) = (records(&cluster), vec![]);
    assert!(chats - before < 2_000, "B1: {} bytes for a promote", chats - before);
    let mut promoted = 0;
    for at in 1..=14 {
        let answer = client.post(&path(at), json!({})).await;
        promoted += usize::from(answer.status == 202);
        answers.push(answer.status);
    }
    assert!(promoted > 0 && answers.iter().all(|status| matches!(status, 202 | 404)), "{answers:?}");
    let after = records(&cluster);
    assert!(after - before < 20_000, "B1: {} bytes for 15 promotes", after - before);
}

#[tokio::test]
async fn what_a_key_answers_again_is_the_same_byte_for_byte() {
    let cluster = Cluster::start(&[&[]]).await;
    let client = cluster.replicas[0].client();
    let chat = client.create("/demo parts=9 stall=3").await;
    client.until_running(&chat).await;
    let path = format!("/v1/chats/{chat}");
    let sends = [
        (
            format!("{path}/messages"),
            json!({"content": [{"type": "text", "text": "é\u{1}\"x", "more": [1.50]}]}),
        ),
        (format!("{path}/messages"), json!({"content": "q".repeat(LARGE), "busy": "interrupt"})),
        (format!("{path}/interrupt"), json!({})),
        ("/v1/chats".to_owned(), json!({"title": "t"})),
    ];
    for (n, (path, body)) in sends.iter().enumerate() {
        let first = client.post_with_key(path, &format!("k{n}"), body).await;
        assert!(matches!(first.status, 201 | 202), "{path}: {}", first.text);
        client.send(&chat, "/demo parts=1 interval=0").await;
        let again = client.post_with_key(path, &format!("k{n}"), body).await;
        assert_eq!((again.status, again.text), (first.status, first.text), "S6: {path}");
    }
}

#[tokio::test]
async fn a_list_of_chats_with_full_queues_is_small() {
    let cluster = Cluster::start(&[&["--workers", "0"]]).await;
    let client = cluster.replicas[0].client();
    let mut chats = vec![];
    for n in 0..6 {
        let chat = client.create("hello").await;
        for _ in 0..3 {
            client.send(&chat, &n.to_string().repeat(LARGE)).await;
        }
        chats.push(chat);
    }
    let listed = client.get("/v1/chats").await.expect(200);
    assert!(listed.text.len() < 10_000, "B1: {} bytes", listed.text.len());
    let ids: Vec<_> =
        listed.body["chats"].as_array().expect("chats").iter().map(|c| c["id"].clone()).collect();
    assert!(chats.iter().rev().map(|chat| json!(chat)).eq(ids), "newest first");
    assert_eq!(
        client.chat(&chats[0]).await["queue"].as_array().map(Vec::len),
        Some(3),
        "the chat has its queue"
    );
    let page = client.get("/v1/chats?limit=4").await.expect(200).body;
    let rest = client.get(&format!("/v1/chats?before={}", page["next"].as_str().expect("more"))).await;
    assert_eq!(rest.expect(200).body["chats"].as_array().map(Vec::len), Some(2));
}
