//! Several replicas without failures: relay, resume, interrupt, queue, edit.

use mainstem_tests::client::{counted, is_counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::viewer::{Ended, Kind, Viewer};
use serde_json::json;

const KINDS: [Kind; 2] = [Kind::EventStream, Kind::WebSocket];

#[tokio::test]
async fn viewers_on_replicas_that_do_not_run_the_chat_see_every_part() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = b.create("/demo parts=150 interval=10ms").await;
    let mut viewers = vec![];
    for (client, kind) in [(&a, KINDS[0]), (&b, KINDS[0]), (&b, KINDS[1]), (&c, KINDS[1])] {
        viewers.push(Viewer::open(client, &chat, kind).await);
    }
    for viewer in &mut viewers {
        viewer.until("parts are shown while they are made", |s| s.status == "running" && s.seq > 0).await;
        assert_eq!(viewer.screen.worker.as_deref(), Some("a"));
    }
    for viewer in &mut viewers {
        viewer.until_idle().await;
        viewer.finish(&c).await;
        assert_eq!(viewer.screen.last_text(), counted(150));
        assert!(viewer.screen.resets.is_empty());
    }
}

#[tokio::test]
async fn a_stream_resumes_by_cursor_on_another_replica_in_the_middle_of_an_episode() {
    let cluster = Cluster::with_one_worker().await;
    let clients = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = clients[0].create("/demo parts=200 interval=10ms").await;
    let mut viewer = Viewer::open(&clients[1], &chat, Kind::EventStream).await;
    for (part, at) in [(20, 2), (50, 0), (80, 1), (110, 2)] {
        viewer.until("more parts are shown", |s| s.seq >= part).await;
        viewer.resume_as(&clients[at], KINDS[at % 2]).await;
    }
    viewer.until_idle().await;
    viewer.finish(&clients[0]).await;
    assert_eq!(viewer.screen.last_text(), counted(200));
}

#[tokio::test]
async fn after_id_is_answered_with_what_follows_it_and_nothing_else() {
    let cluster = Cluster::start(&[&[]]).await;
    let client = cluster.replicas[0].client();
    let chat = client.create("/demo parts=2 interval=0").await;
    client.until_idle(&chat).await;
    let ids: Vec<u64> = client.messages(&chat).await.iter().map(|message| message.id).collect();
    for (after, shown) in [(0, 2), (ids[0], 1), (ids[1], 0)] {
        let mut viewer = Viewer::open_with(&client, &chat, KINDS[0], &format!("?after_id={after}")).await;
        viewer.until("the catch-up is over", |s| s.is_synced).await;
        assert_eq!(viewer.screen.messages.len(), shown, "after {after}");
        assert_eq!(viewer.screen.history_resets, 0);
    }
    // Not a message of the history: the client has to drop what it has.
    let mut viewer = Viewer::open_with(&client, &chat, KINDS[0], "?after_id=4000").await;
    viewer.until("the catch-up is over", |s| s.is_synced).await;
    assert_eq!((viewer.screen.history_resets, viewer.screen.messages.len()), (1, 2));
}

#[tokio::test]
async fn an_interrupt_from_another_replica_keeps_the_partial_answer() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=5000 interval=10ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until("some parts", |s| s.seq >= 30).await;
    let (history, attempt) = (viewer.screen.history_version, viewer.screen.attempt);
    let path = format!("/v1/chats/{chat}/interrupt");
    let other = json!({"episode": {"history_version": history, "attempt": attempt + 1}});
    c.post(&path, other).await.expect_problem(409, "not_running");
    let this = json!({"episode": {"history_version": history, "attempt": attempt}});
    c.post(&path, this).await.expect(202);
    viewer.until_idle().await;
    viewer.finish(&a).await;
    let partial = viewer.screen.messages.last().expect("the partial answer").clone();
    assert!(partial.interrupted && partial.role == "assistant");
    assert!(is_counted(&partial.text()) && partial.text().len() >= counted(30).len(), "S4: {partial:?}");
    assert!(viewer.screen.resets.is_empty(), "S4: the preview is what was saved");
    c.interrupt(&chat).await.expect_problem(409, "not_running");
}

#[tokio::test]
async fn the_queue_is_first_in_first_out_but_for_what_is_promoted_or_withdrawn() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=5000 interval=10ms one").await;
    let mut viewer = Viewer::open(&c, &chat, Kind::EventStream).await;
    viewer.until("it runs", |s| s.seq > 0).await;
    let mut queued = vec![];
    for (text, client) in [("two", &b), ("three", &c), ("four", &a), ("five", &b)] {
        let sent = client.send(&chat, &format!("/demo parts=3 interval=0 {text}")).await;
        assert!(sent["message"].is_null());
        queued.push(sent["queued"]["id"].as_u64().expect("it is queued"));
    }
    viewer.until("all are queued", |s| s.queue.len() == 4).await;
    assert_eq!(viewer.screen.queue.iter().map(|q| q.id).collect::<Vec<_>>(), queued);
    b.delete(&format!("/v1/chats/{chat}/queue/{}", queued[1])).await.expect(204);
    b.delete(&format!("/v1/chats/{chat}/queue/{}", queued[1])).await.expect_problem(404, "no_such_queued");
    viewer.until("it is taken back", |s| s.queue.len() == 3).await;
    let promoted = c.post(&format!("/v1/chats/{chat}/queue/{}/promote", queued[3]), json!({})).await;
    assert_eq!(promoted.expect(202).body["queue"][0]["id"], queued[3]);
    viewer.until_idle().await;
    viewer.finish(&b).await;
    let users = viewer.screen.messages.iter().filter(|message| message.role == "user");
    let words: Vec<String> =
        users.map(|m| m.text().rsplit(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(words, ["one", "five", "two", "four"], "S6");
    assert!(viewer.screen.messages[1].interrupted && is_counted(&viewer.screen.messages[1].text()), "S8");
}

#[tokio::test]
async fn busy_says_whether_a_message_waits_interrupts_or_is_refused() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("").await;
    assert!(
        b.send_as(&chat, "/demo parts=5000 interval=10ms", "reject").await.expect(202).body["message"]
            .is_object()
    );
    let mut viewer = Viewer::open(&b, &chat, Kind::WebSocket).await;
    viewer.until("it runs", |s| s.seq > 3).await;
    c.send_as(&chat, "no", "reject").await.expect_problem(409, "busy");
    c.send_as(&chat, "/demo parts=2 interval=0 last", "queue").await.expect(202);
    let ahead = c.send_as(&chat, "/demo parts=1 interval=0 ahead", "interrupt").await.expect(202).body;
    assert!(ahead["queued"].is_object(), "{ahead}");
    viewer.until_idle().await;
    viewer.finish(&a).await;
    let texts = viewer.screen.texts();
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert!(texts[2].ends_with("ahead") && texts[4].ends_with("last"), "S6: {texts:?}");
    assert!(viewer.screen.messages[1].interrupted, "S8");
}

#[tokio::test]
async fn an_edit_cuts_the_history_for_everybody() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=3 interval=0").await;
    a.until_idle(&chat).await;
    b.send(&chat, "/demo parts=5000 interval=10ms").await;
    let mut viewers = vec![Viewer::open(&b, &chat, KINDS[0]).await, Viewer::open(&c, &chat, KINDS[1]).await];
    for viewer in &mut viewers {
        viewer.until("the second runs", |s| s.seq > 5).await;
    }
    c.send(&chat, "what waits goes").await;
    let first = a.messages(&chat).await[0].id;
    let path = format!("/v1/chats/{chat}/messages/{first}");
    let edited = c.patch(&path, json!({"content": "/demo parts=7"})).await.expect(202).body;
    assert!(edited["message"]["id"].as_u64() > Some(first), "ids are never used again");
    for viewer in &mut viewers {
        viewer.until("the history is cut", |s| s.history_resets == 1).await;
        viewer.until_idle().await;
        viewer.finish(&a).await;
        assert_eq!(viewer.screen.texts(), ["/demo parts=7".to_owned(), counted(7)]);
        assert_eq!(viewer.screen.resets, ["edit"]);
    }
    let answer = a.messages(&chat).await[1].id;
    let path = format!("/v1/chats/{chat}/messages/{answer}");
    a.patch(&path, json!({"content": "x"})).await.expect_problem(409, "not_editable");
}

#[tokio::test]
async fn who_joins_late_sees_what_who_was_there_sees() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=5000 interval=0 size=40 stall=500").await;
    let mut early = Viewer::open(&b, &chat, Kind::EventStream).await;
    b.send(&chat, "/demo fatal=4 interval=0").await;
    early.until("all is told", |s| s.seq == 500 && s.queue.len() == 1).await;
    for (client, kind) in [(&a, KINDS[0]), (&b, KINDS[1]), (&c, KINDS[0]), (&c, KINDS[1])] {
        let mut late = Viewer::open(client, &chat, kind).await;
        // The notice of the send may be on its way to this replica yet.
        late.until("the preview and the queue are told", |s| s.seq == 500 && s.queue.len() == 1).await;
        let shown = |s: &mainstem_tests::viewer::Screen| {
            (s.preview.clone(), s.status.clone(), s.worker.clone(), s.attempt, s.queue.clone(), s.texts())
        };
        assert_eq!(shown(&late.screen), shown(&early.screen), "S9");
        let parts = late.types_from(0).iter().filter(|kind| **kind == "message_part").count();
        assert!(parts < 50, "parts come joined: {parts}");
    }
    c.interrupt(&chat).await.expect(202);
    early.until("the second fails", |s| s.status == "error").await;
    let mut late = Viewer::open(&c, &chat, Kind::WebSocket).await;
    late.until("the error is told", |s| s.status == "error" && s.error["code"].is_string()).await;
    early.until("why is told", |s| s.error.is_object()).await;
    assert_eq!(early.screen.error, late.screen.error, "S9");
    early.finish(&a).await;
    assert_eq!(early.screen.last_text(), counted(4), "what there was is committed");
    assert!(early.screen.messages.last().is_some_and(|message| message.interrupted));
}

#[tokio::test]
async fn a_deleted_chat_ends_its_streams_on_every_replica() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=200 interval=10ms").await;
    let mut viewers =
        [Viewer::open(&b, &chat, Kind::EventStream).await, Viewer::open(&c, &chat, Kind::WebSocket).await];
    b.delete(&format!("/v1/chats/{chat}")).await.expect_problem(409, "busy");
    for viewer in &mut viewers {
        viewer.until_idle().await;
    }
    c.delete(&format!("/v1/chats/{chat}")).await.expect(204);
    assert_eq!(viewers[0].ended().await, Ended::Body);
    assert_eq!(viewers[1].ended().await, Ended::Closed(4404));
    for client in [&a, &b, &c] {
        client.get(&format!("/v1/chats/{chat}")).await.expect_problem(404, "no_such_chat");
        // Also on a replica that has not heard of it yet.
        let refused = Viewer::refused(client, &chat, Kind::WebSocket, "").await;
        assert_eq!(refused, (404, "no_such_chat".into()));
    }
}
