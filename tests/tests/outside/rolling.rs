//! Rolling upgrades: replicas of an earlier release and of this one work on the same database, and understand each other.

use std::path::PathBuf;

use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::server_binary;
use mainstem_tests::tool_endpoint::ToolEndpoint;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

/// Names the program of the earlier release.
const EARLIER: &str = "MAINSTEM_TEST_EARLIER";

fn earlier() -> PathBuf {
    std::env::var_os(EARLIER).unwrap_or_else(|| panic!("{EARLIER} names no program")).into()
}

/// A replica of the earlier release, `a`, and then one of this release, `b`. One of the two works.
async fn one_of_each(earlier_works: bool) -> Cluster {
    let serves: &[&str] = &["--workers", "0"];
    let (a, b): (&[&str], &[&str]) = if earlier_works { (&[], serves) } else { (serves, &[]) };
    let mut cluster = Cluster::start(&[]).await;
    cluster.add_of(&earlier(), "a", a).await;
    // It moves the database on while the other goes on.
    cluster.add("b", b).await;
    cluster
}

#[tokio::test]
#[ignore = "takes an earlier release: .ci/rolling builds it and runs this"]
async fn what_one_release_generates_is_shown_by_the_other() {
    for earlier_works in [true, false] {
        let cluster = one_of_each(earlier_works).await;
        let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
        for sender in [&a, &b] {
            let chat = sender.create("/demo parts=80 interval=20ms").await;
            let mut viewers = [
                Viewer::open(&a, &chat, Kind::EventStream).await,
                Viewer::open(&b, &chat, Kind::WebSocket).await,
            ];
            for viewer in &mut viewers {
                viewer.until("parts are shown", |s| s.seq > 5).await;
            }
            // A cursor of one release is good at the other.
            viewers[0].resume_on(&b).await;
            viewers[1].resume_on(&a).await;
            for (viewer, client) in viewers.iter_mut().zip([&a, &b]) {
                viewer.until_idle().await;
                viewer.finish(client).await;
                assert_eq!((viewer.screen.last_text(), viewer.screen.resets.len()), (counted(80), 0));
                assert!(viewer.events.iter().filter(|event| event["type"] == "message_part").count() > 20);
            }
            sender.send(&chat, "/demo parts=3").await;
            sender.until_idle(&chat).await;
            assert_eq!(a.messages(&chat).await.len(), 4, "S6");
        }
    }
}

/// Who knows nothing of blocks shows the first text, which is a prefix of what there is, and then the message.
#[tokio::test]
#[ignore = "takes an earlier release: .ci/rolling builds it and runs this"]
async fn an_earlier_release_shows_of_an_answer_of_many_blocks_what_it_can() {
    let cluster = one_of_each(false).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    for (asked, shown) in [("parts=4 reasoning=2 call=find", ""), ("parts=4 call=find calls=2", "1 2 3 4 ")] {
        let chat = a.create(&format!("/demo interval=100ms {asked}")).await;
        let mut viewer = Viewer::open(&a, &chat, Kind::WebSocket).await;
        let mut preview = String::new();
        viewer
            .until("the answer is there", |screen| {
                preview = std::cmp::max(preview.clone(), screen.preview.clone());
                screen.messages.len() == 2
            })
            .await;
        assert_eq!(preview, shown);
        let page = |client: Client| {
            let path = format!("/v1/chats/{chat}/messages");
            async move { client.get(&path).await.expect(200).body["messages"][1]["content"].clone() }
        };
        let told = viewer.events.iter().rfind(|event| event["type"] == "message").expect("the answer");
        let kept = page(b.clone()).await;
        assert_eq!((&told["message"]["content"], &page(a.clone()).await), (&kept, &kept), "S4");
    }
}

#[tokio::test]
#[ignore = "takes an earlier release: .ci/rolling builds it and runs this"]
async fn replicas_are_replaced_one_after_the_other_and_no_answer_loses_a_word() {
    let mut cluster = Cluster::start(&[]).await;
    for id in ["a", "b"] {
        cluster.add_of(&earlier(), id, &["--drain-timeout", "500ms"]).await;
    }
    let clients = [0, 1].map(|i| cluster.replicas[i].client());
    let chats = [
        clients[0].create("/demo parts=400 interval=20ms").await,
        clients[1].create("/demo parts=400 interval=20ms").await,
    ];
    let mut viewers = vec![];
    for chat in &chats {
        for client in &clients {
            let mut viewer = Viewer::open(client, chat, Kind::WebSocket).await;
            viewer.until("parts are shown", |s| s.seq > 5).await;
            viewers.push(viewer);
        }
    }
    for at in [0, 1] {
        cluster.replicas[at].terminate();
        assert_eq!(cluster.replicas[at].ended().await.code(), Some(0));
        for viewer in &mut viewers {
            viewer.resume_on(&clients[1 - at]).await;
        }
        cluster.replicas[at].program = server_binary().to_owned();
        cluster.replicas[at].start_again().await;
        for viewer in &mut viewers {
            viewer.until("it goes on", |s| s.seq > 5).await;
        }
        let sent = json!({"content": "/demo parts=2"});
        clients[at]
            .post_with_key(&format!("/v1/chats/{}/messages", chats[at]), "sent", &sent)
            .await
            .expect(202);
    }
    // What was acknowledged by one is known to the other, whatever release it was.
    for (at, chat) in chats.iter().enumerate() {
        let sent = json!({"content": "/demo parts=2"});
        clients[1 - at].post_with_key(&format!("/v1/chats/{chat}/messages"), "sent", &sent).await.expect(202);
    }
    for (viewer, chat) in viewers.iter_mut().zip([&chats[0], &chats[0], &chats[1], &chats[1]]) {
        viewer.until_idle().await;
        viewer.finish(&clients[0]).await;
        let texts: Vec<_> = clients[1].messages(chat).await.iter().map(|message| message.text()).collect();
        assert_eq!(viewer.screen.texts(), texts);
        assert_eq!(texts[1], counted(400));
        assert_eq!(texts[3..], [counted(2)], "S6: once");
    }
}

/// Three parts, if nothing is to be called, else a call first.
const CALLS: &str = "/demo parts=3 interval=10ms call=find";

/// A tool that answers when it may, and the flags of who may call it.
async fn tool(scratch: &Scratch) -> (ToolEndpoint, [String; 2]) {
    let tool = ToolEndpoint::start("found").await;
    let file = format!(
        "[[tools]]\nname = \"find\"\ndescription = \"it\"\nrun = \"http\"\nurl = {:?}\ninput_schema = {{ type = \"object\" }}\n",
        tool.url
    );
    let file = scratch.file("tools.toml", &file);
    (tool, ["--tools".to_owned(), file])
}

async fn until_called(tool: &ToolEndpoint) {
    until("the tool is called", async || (!tool.called().is_empty()).then_some(())).await;
}

/// The chat is at rest, takes another message, and has it answered.
async fn goes_on(client: &Client, chat: &str) {
    client.until_idle(chat).await;
    client.send(chat, "/demo parts=2").await;
    client.until_idle(chat).await;
    assert_eq!(client.messages(chat).await.last().map(|last| last.text()), Some(counted(2)), "S12");
}

#[tokio::test]
#[ignore = "takes an earlier release: .ci/rolling builds it and runs this"]
async fn an_earlier_release_that_stops_a_turn_leaves_no_call_behind() {
    for what in ["interrupt", "send", "edit"] {
        let (scratch, mut cluster) = (Scratch::new(), Cluster::start(&[]).await);
        let (tool, flags) = tool(&scratch).await;
        cluster.add_of(&earlier(), "a", &["--workers", "0"]).await;
        cluster.add("b", &[&*flags[0], &*flags[1]]).await;
        let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
        let chat = b.create(CALLS).await;
        until_called(&tool).await;
        let said = json!({"content": "/demo parts=5"});
        match what {
            "interrupt" => drop(a.interrupt(&chat).await.expect(202)),
            "send" => drop(a.send_as(&chat, "/demo parts=5", "interrupt").await.expect(202)),
            _ => drop(a.patch(&format!("/v1/chats/{chat}/messages/1"), said).await.expect(202)),
        }
        until("the call is given up", async || tool.called()[0].is_given_up.then_some(())).await;
        goes_on(&b, &chat).await;
        let texts: Vec<_> = b.messages(&chat).await.iter().map(|message| message.text()).collect();
        assert_eq!(texts.contains(&counted(5)), what != "interrupt", "S6: {texts:?}");
        assert_eq!(tool.called().len(), 1, "S11: {what}");
    }
}

#[tokio::test]
#[ignore = "takes an earlier release: .ci/rolling builds it and runs this"]
async fn an_earlier_release_that_takes_over_a_turn_leaves_no_call_behind() {
    let (scratch, mut cluster) = (Scratch::new(), Cluster::start(&[]).await);
    let (tool, flags) = tool(&scratch).await;
    cluster.add_of(&earlier(), "a", &[]).await;
    cluster.add("b", &[&*flags[0], &*flags[1]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    // Whoever is quicker has it, and the earlier release calls nothing: such a turn is soon over.
    let chat = loop {
        let chat = b.create(CALLS).await;
        let is_called = until("it is called, or the chat is at rest", async || {
            let is_at_rest = b.chat(&chat).await["status"] == "waiting";
            (is_at_rest || !tool.called().is_empty()).then_some(!is_at_rest)
        });
        if is_called.await {
            break chat;
        }
    };
    cluster.replicas[1].kill();
    a.until_idle(&chat).await;
    assert_eq!(a.messages(&chat).await.last().map(|last| last.text()), Some(counted(3)), "L3");
    cluster.replicas[1].start_again().await;
    goes_on(&b, &chat).await;
    assert_eq!(tool.called().len(), 1, "S11");
}
