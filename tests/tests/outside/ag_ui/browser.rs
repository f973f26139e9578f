//! TanStack's client in a real Chromium, on a page of another origin.

use mainstem_tests::browser;
use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::node::bundled;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::switch::Switch;
use mainstem_tests::web_site::WebSite;
use serde_json::{Value, json};

use super::agent::kept;

const TOKEN: &str = "s3cret";
const HTML: &str = "<!doctype html><meta charset=utf-8><body><script type=module src=/page.js></script>";

/// What the document shows.
const SHOWN: &str = "(() => {
    const main = document.querySelector('main');
    const messages = [...document.querySelectorAll('article')];
    return main && {
        status: main.dataset.status, error: main.dataset.error, requests: JSON.parse(main.dataset.requests),
        messages: messages.map((message) => [message.dataset.role, message.dataset.thoughts, message.textContent]),
    };
})()";

/// A user who types into the page.
struct User {
    page: browser::Page,
    site: WebSite,
    thread: String,
}

impl User {
    async fn open() -> Self {
        let site = WebSite::start(vec![
            ("/".into(), "text/html", HTML.as_bytes().to_vec()),
            ("/page.js".into(), "text/javascript", bundled("tanstack.js", &[])),
        ])
        .await;
        let page = browser::Page::open(&format!("{}/", site.origin)).await;
        Self { page, site, thread: String::new() }
    }

    /// Opens a thread that is new, or the same once more.
    async fn show(&mut self, thread: &str, server: &str) {
        self.thread = thread.to_owned();
        let encoded = |part: &str| part.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let parts = [thread, server, TOKEN].map(encoded);
        let url = format!("{}/?{}#{}", self.site.origin, uuid::Uuid::now_v7().simple(), parts.join("&"));
        self.page.go(&url).await;
        self.until("it is shown", |_| true).await;
    }

    async fn shown(&mut self) -> Value {
        self.page.evaluate(SHOWN).await
    }

    async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, async || Some(self.shown().await).filter(|shown| !shown.is_null() && is_it(shown))).await
    }

    async fn until_answering(&mut self) {
        self.until("an answer comes", |shown| last(shown).len() >= 20 && shown["status"] == "streaming")
            .await;
    }

    async fn until_answered(&mut self) -> Value {
        let is_over = |shown: &Value| !last(shown).is_empty() && shown["status"] != "streaming";
        let shown = self.until("it is over", is_over).await;
        assert_eq!((&shown["status"], &shown["error"]), (&json!("ready"), &json!("")), "{shown}");
        shown
    }

    async fn click(&mut self, button: &str) {
        self.page.evaluate(&format!("document.querySelector('#{button}').click()")).await;
    }

    async fn send(&mut self, text: &str) {
        self.page.evaluate(&format!("document.querySelector('#text').value = {}", json!(text))).await;
        self.click("send").await;
    }

    /// Asserts that the document shows what the database has, and answers the texts.
    async fn compare(&mut self, client: &Client) -> Vec<String> {
        let named = client.get(&format!("/v1/chats?external_id={}", self.thread)).await.expect(200).body;
        let chat = named["chats"][0]["id"].as_str().expect("the chat is there");
        client.until_idle(chat).await;
        let kept = kept(client, chat).await;
        let texts: Vec<Value> =
            kept.iter().map(|of| json!([of["role"], of["reasoning"], of["text"]])).collect();
        let shown = self.shown().await;
        assert_eq!(shown["messages"], json!(texts), "what is shown, and what the database has: {shown}");
        kept.iter().map(|of| of["text"].as_str().expect("a text").to_owned()).collect()
    }
}

fn last(shown: &Value) -> &str {
    let last = shown["messages"].as_array().and_then(|messages| messages.last());
    last.filter(|last| last[0] == "assistant").and_then(|last| last[2].as_str()).unwrap_or_default()
}

/// The requests of the page since it was loaded, but for what it renders first.
fn requests(shown: &Value) -> &[Value] {
    &shown["requests"].as_array().expect("requests")[1..]
}

#[tokio::test]
async fn tanstacks_client_shows_the_truth_in_a_browser() {
    let mut user = User::open().await;
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", &format!("[tokens]\n{TOKEN:?} = \"ann\"\n"));
    let origin = user.site.origin.clone();
    let flags = ["--auth-file", &file, "--allowed-origin", &origin];
    let serving = [&flags[..], &["--workers", "0"]].concat();
    let mut cluster = Cluster::start(&[&flags, &serving]).await;
    let [a, b] = [0, 1].map(|at| cluster.replicas[at].client().with_token(TOKEN));

    user.show("plain", &a.base).await;
    user.send("/demo parts=30 interval=5ms reasoning=3").await;
    user.until_answered().await;
    let plain = user.compare(&b).await;
    assert_eq!(plain.len(), 2);
    user.click("again").await;
    user.until("it is made again", |shown| requests(shown).len() == 2).await;
    user.until_answered().await;
    assert_eq!(user.compare(&b).await, plain);
    user.show("plain", &b.base).await;
    user.until_answered().await;
    assert_eq!(user.compare(&a).await, plain, "a first render");

    user.show("left", &a.base).await;
    user.send("/demo parts=1200 interval=5ms reasoning=3").await;
    user.until_answering().await;
    user.show("left", &b.base).await;
    user.until_answering().await;
    let shown = user.until_answered().await;
    let said = user.compare(&a).await[1].clone();
    assert_eq!(counted(3) + &said, counted(1200), "loaded again in the middle");
    assert_eq!(requests(&shown), ["GET"], "it joins what runs");

    // The worker dies, and not the replica of the page: all is told in the same stream.
    user.show("behind", &b.base).await;
    user.send("/demo parts=400 interval=10ms").await;
    user.until_answering().await;
    cluster.add("c", &flags).await;
    cluster.replicas[0].kill();
    let shown = user.until_answered().await;
    let said = user.compare(&b).await[1].clone();
    assert!(!said.is_empty() && counted(400).ends_with(&said), "{said}");
    assert_eq!(requests(&shown), ["POST"]);

    // The worker is the replica of the page: it goes on behind its last event at another one.
    let switch = Switch::start(cluster.port(2)).await.expect("a port");
    user.show("killed", &switch.base()).await;
    user.send("/demo parts=400 interval=10ms").await;
    user.until_answering().await;
    let chat = b.get("/v1/chats?external_id=killed").await.expect(200).body["chats"][0].clone();
    assert_eq!(chat["worker"], "c");
    cluster.add("d", &flags).await;
    switch.lead_to(cluster.port(1));
    cluster.replicas[2].kill();
    let shown = user.until_answered().await;
    let said = user.compare(&b).await[1].clone();
    assert!(!said.is_empty() && counted(400).ends_with(&said), "{said}");
    let (first, rest) = requests(&shown).split_first().expect("it asks");
    assert!(
        *first == "POST" && !rest.is_empty() && rest.iter().all(|request| *request == "POST behind an event"),
        "{shown}"
    );
    user.show("killed", &b.base).await;
    user.until_answered().await;
    assert_eq!(user.compare(&b).await[1], said, "loaded again");
}
