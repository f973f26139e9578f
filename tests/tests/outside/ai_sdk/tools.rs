//! Calls and what came of them, thoughts, files and sources.

use serde_json::{Value, json};

use super::ALL;
use super::page::{Page, cluster, messages, shown};

#[tokio::test]
async fn calls_and_thoughts_are_shown_and_results_let_the_answer_go_on() {
    let (_cluster, [a, b, c]) = cluster().await;
    let tools = json!({"find": {"description": "finds it", "parameters": {"type": "object"}}});
    for (version, query) in ALL {
        let chat = format!("chat-{}", uuid::Uuid::now_v7().simple());
        let mut page = Page::open(version, query, &a, &chat, json!({"automatic": true}));
        let text = "/demo parts=4 interval=1ms reasoning=2 call=find calls=2";
        page.tell(json!({"do": "body", "text": text, "body": {"tools": tools}})).await;
        let asked = |state: &Value| {
            state["status"] == "ready"
                && messages(state).last().is_some_and(|last| last["role"] == "assistant")
        };
        let state = page.until("the page is asked", asked).await;
        let calls = shown(&messages(&state)[1])["calls"].clone();
        assert_eq!((calls.as_array().map(Vec::len), &calls[1][2]), (Some(2), &json!({"n": 2})), "{version}");
        page.tell(json!({"do": "go", "to": b.base})).await;
        for (at, output) in [(0, json!({"found": [1.5, null]})), (1, json!("a string"))] {
            page.tell(json!({"do": "output", "tool": "find", "toolCallId": calls[at][0], "output": output}))
                .await;
        }
        page.until("it goes on", |state| {
            state["requests"] == json!(["POST", "POST"]) && state["status"] == "ready"
        })
        .await;
        let texts = page.compare(&c).await;
        assert_eq!(texts.len(), 2);
        let state = page.state().await;
        let shown = shown(&messages(&state)[1]);
        assert_eq!(
            (&shown["steps"], &shown["calls"][0][3]),
            (&json!(2), &json!({"found": [1.5, null]})),
            "S11"
        );
        assert_eq!(shown["reasoning"], "1 2 1 2 ", "{version}: {shown}");
        // The same results again change nothing, and are answered with the rest.
        let body = json!({"id": chat, "messages": [messages(&state)[1]], "trigger": "submit-message"});
        let again = a.post("/ai/chat", body).await.expect(200).text;
        assert!(again.contains("finish-step") && again.ends_with("data: [DONE]\n\n"), "{again}");
        page.compare(&a).await;
    }
}
