//! Files that users send, and files and sources of answers.

use mainstem_tests::client::counted;
use serde_json::{Value, json};

use super::ALL;
use super::page::{Page, cluster, messages, shown};

const PICTURE: &str = "data:image/png;base64,iVBORw0KGgo=";

#[tokio::test]
async fn files_and_what_is_said_of_a_message_are_kept_with_it() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let mut page = Page::fresh(version, query, &a);
        let files = json!([
            {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": PICTURE},
            {"type": "file", "mediaType": "application/pdf", "url": "https://x.example/b.pdf"},
        ]);
        let text = "/demo parts=3 interval=1ms";
        page.tell(json!({"do": "send", "text": text, "files": files, "metadata": {"at": 1.5}})).await;
        page.until_status("ready").await;
        assert_eq!(page.compare(&b).await[1], counted(3), "{version}");
        let first = c.get(&format!("/ai/chat/{}/messages", page.chat)).await.expect(200).body;
        let state = page.state().await;
        let beside = shown(&messages(&state)[0])["beside"].clone();
        let expected =
            json!([["file", "image/png", PICTURE], ["file", "application/pdf", "https://x.example/b.pdf"]]);
        assert_eq!((&beside, &first[0]["metadata"]), (&expected, &json!({"at": 1.5})), "{version}");
        let names: Vec<&Value> =
            first[0]["parts"].as_array().expect("parts").iter().map(|part| &part["filename"]).collect();
        assert!(names.contains(&&json!("a.png")), "{first}");
    }
}

#[tokio::test]
async fn an_answer_with_files_and_sources_is_shown_first_as_it_is_kept() {
    let (_cluster, [a, b, c]) = cluster().await;
    for (version, query) in ALL {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let answer = json!([
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "so"},
            {"type": "source", "url": "https://x.example/", "title": "X"},
            {"type": "source", "url": "https://y.example/"},
            {"type": "file", "media_type": "image/png", "data": "iVBORw0KGgo="},
            {"type": "data", "name": "place", "data": {"n": 1}, "id": "p"},
        ]);
        let said = json!([{"role": "user", "content": "x", "client_id": "u1"}, {"role": "assistant", "content": answer}]);
        a.post("/v1/chats", json!({"external_id": chat, "messages": said})).await.expect(201);
        let first = b.get(&format!("/ai/chat/{chat}/messages")).await.expect(200).body;
        let mut page = Page::open(version, query, &b, &chat, json!({"messages": first}));
        page.compare(&c).await;
        let state = page.state().await;
        let beside = shown(&messages(&state)[1])["beside"].clone();
        let expected = json!([
            ["source", "https://x.example/", "X"],
            ["source", "https://y.example/", null],
            ["file", "image/png", PICTURE],
            ["data", "place", {"n": 1}, "p"],
        ]);
        assert_eq!(beside, expected, "{version}");
        // The page sends all of it with the next question: what is here counts.
        page.send("/demo parts=3 interval=1ms").await;
        page.until("it is answered", |state| messages(state).len() == 4 && state["status"] == "ready").await;
        assert_eq!(page.compare(&a).await[3], counted(3), "{version}");
    }
}

/// A chat that this server does not know goes on from what the page brings.
#[tokio::test]
async fn a_chat_of_elsewhere_is_brought_whole() {
    let (_cluster, [a, b, _]) = cluster().await;
    for (version, query) in ALL {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let parts = json!([
            {"type": "step-start"},
            {"type": "tool-find", "toolCallId": "a", "state": "output-available", "input": {"n": 1}, "output": {"found": 2}},
            {"type": "step-start"},
            {"type": "text", "text": "so", "state": "done", "providerMetadata": {"p": {"id": 1}}},
            {"type": "source-url", "sourceId": "s", "url": "https://x.example/"},
        ]);
        let begin = json!([
            {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "x"}]},
            {"id": "a1", "role": "assistant", "parts": parts, "metadata": {"by": "m"}},
        ]);
        let mut page = Page::open(version, query, &a, &chat, json!({"messages": begin}));
        page.send("/demo parts=3 interval=1ms").await;
        page.until("it is answered", |state| messages(state).len() == 4 && state["status"] == "ready").await;
        assert_eq!(
            page.compare(&b).await,
            ["x", "so", "/demo parts=3 interval=1ms", &counted(3)],
            "{version}"
        );
        let first = b.get(&format!("/ai/chat/{chat}/messages")).await.expect(200).body;
        assert_eq!(
            (&first[1]["metadata"], &first[1]["id"]),
            (&json!({"by": "m"}), &json!("a1")),
            "{version}"
        );
    }
}
