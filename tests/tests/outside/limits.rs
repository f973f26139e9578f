//! What a limit counts, and what is told when it is reached.

use mainstem_tests::cluster::alone;
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
use serde_json::json;

const MEBIBYTE: usize = 1 << 20;

#[tokio::test]
async fn a_limit_counts_the_text_however_it_is_written() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    let create = async |content: String| {
        let request = client.request(Method::POST, "/v1/chats").body(format!("{{\"content\":{content}}}"));
        client.ask(request).await
    };
    for (escaped, bytes) in [(r"\u0436", 2), (r"\u0041", 1), (r"\ud83e\udd80", 4), (r"\u0001", 1), ("ж", 2)]
    {
        let text = |count: usize| format!("\"{}\"", escaped.repeat(count));
        let created = create(text(MEBIBYTE / bytes)).await.expect(201).body;
        let chat = created["id"].as_str().expect("an id");
        assert_eq!(client.messages(chat).await[0].text().len(), MEBIBYTE, "{escaped}");
        create(text(MEBIBYTE / bytes + 1)).await.expect_problem(413, "too_large");
        let part = format!(r#"[{{"type":"text","text":{}}}]"#, text(MEBIBYTE / bytes));
        create(part).await.expect(201);
    }
    let beside = |bytes: usize| format!(r#"[{{"type":"text","text":"x","beside":"{}"}}]"#, "y".repeat(bytes));
    create(beside(MEBIBYTE - 100)).await.expect(201);
    create(beside(MEBIBYTE)).await.expect_problem(413, "too_large");
    create(beside(64 * MEBIBYTE)).await.expect_problem(413, "too_large");
}

#[tokio::test]
async fn a_type_that_nobody_knows_is_told_shortened() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    let kind = format!("\u{1b}[2J{}", "k".repeat(100_000));
    let refused = client.post("/v1/chats", json!({"content": [{"type": kind}]})).await;
    let refused = refused.expect_problem(400, "malformed");
    assert!(refused.text.len() < 500 && refused.text.contains("kkkk"), "{}", refused.text);
    let refused = client.post("/v1/chats", json!({"content": [{"type": "image"}]})).await;
    assert!(refused.expect_problem(400, "malformed").text.contains("image"));
}
