//! `useChat` in a real Chromium, on a page of another origin, which reaches whatever replica an address leads to.

use mainstem_tests::browser;
use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::node::bundled;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::workspace_root;
use mainstem_tests::switch::Switch;
use mainstem_tests::web_site::WebSite;
use serde_json::{Value, json};

use super::page::kept;

const TOKEN: &str = "s3cret";
const HTML: &str =
    "<!doctype html><meta charset=utf-8><div id=root></div><script type=module src=/page.js></script>";

/// What the document shows.
const SHOWN: &str = "(() => {
    const main = document.querySelector('main');
    const messages = [...document.querySelectorAll('article')];
    return main && {
        status: main.dataset.status, error: main.dataset.error,
        messages: messages.map((message) => [message.dataset.role, message.textContent]),
    };
})()";

/// A user who types into the page.
struct User {
    page: browser::Page,
    site: WebSite,
    server: String,
    query: &'static str,
    /// Whether the page makes its chat itself.
    own: bool,
    chat: String,
}

impl User {
    async fn open(version: u64, query: &'static str, own: bool, server: String) -> Self {
        let (ai, react) = (format!("ai{version}"), format!("ai-sdk-react-{version}"));
        let script = bundled("use-chat.jsx", &[("ai", &ai), ("@ai-sdk/react", &react)]);
        let site = WebSite::start(vec![
            ("/".into(), "text/html", HTML.as_bytes().to_vec()),
            ("/page.js".into(), "text/javascript", script),
        ])
        .await;
        let page = browser::Page::open(&format!("{}/", site.origin)).await;
        Self { page, site, server, query, own, chat: String::new() }
    }

    /// Opens a chat that is new, or the same once more.
    async fn show(&mut self, chat: &str) {
        self.chat = chat.to_owned();
        let resume = if self.resumes() { "resume" } else { "" };
        let own = if self.own { "own" } else { "" };
        let encoded = |part: &str| part.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let parts = [chat, &self.server, TOKEN, self.query, resume, own].map(encoded);
        let url = format!("{}/?{}#{}", self.site.origin, uuid::Uuid::now_v7().simple(), parts.join("&"));
        self.page.go(&url).await;
        self.until("it is shown", |_| true).await;
    }

    /// Whether what is told anew takes the place of what was shown: else nothing is.
    fn resumes(&self) -> bool {
        !["?ai=5", "?ai=6"].contains(&self.query)
    }

    async fn shown(&mut self) -> Value {
        self.page.evaluate(SHOWN).await
    }

    async fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, async || Some(self.shown().await).filter(|shown| !shown.is_null() && is_it(shown))).await
    }

    async fn until_status(&mut self, status: &str) -> Value {
        self.until(&format!("the page is {status}"), |shown| shown["status"] == status).await
    }

    async fn until_answering(&mut self) {
        self.until("an answer comes", |shown| last(shown).len() >= 20 && shown["status"] == "streaming")
            .await;
    }

    async fn click(&mut self, button: &str) {
        self.page.evaluate(&format!("document.querySelector('#{button}').click()")).await;
    }

    async fn send(&mut self, text: &str) {
        let typed = format!(
            "(() => {{
                const field = document.querySelector('#text');
                const {{ set }} = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');
                set.call(field, {});
                field.dispatchEvent(new Event('input', {{ bubbles: true }}));
            }})()",
            json!(text)
        );
        self.page.evaluate(&typed).await;
        let is_typed = format!("document.querySelector('#text').value == {}", json!(text));
        until("it is typed", async || (self.page.evaluate(&is_typed).await == true).then_some(())).await;
        self.click("send").await;
    }

    /// Comes back to the page, which takes up what was cut.
    async fn look_again(&mut self) {
        self.page.evaluate("void document.dispatchEvent(new Event('visibilitychange'))").await;
    }

    /// Asserts that the document shows what the database has, and answers the texts.
    async fn compare(&mut self, client: &Client) -> Vec<String> {
        let named = client.get(&format!("/v1/chats?external_id={}", self.chat)).await.expect(200).body;
        let chat = named["chats"][0]["id"].as_str().expect("the chat is there");
        client.until_idle(chat).await;
        let kept = kept(client, chat).await;
        let kept: Vec<Value> = kept.iter().map(|message| json!([message["role"], message["text"]])).collect();
        let shown = self.shown().await;
        assert_eq!(shown["messages"], json!(kept), "what is shown, and what the database has: {shown}");
        kept.iter().map(|message| message[1].as_str().expect("a text").to_owned()).collect()
    }
}

fn last(shown: &Value) -> &str {
    let last = shown["messages"].as_array().and_then(|messages| messages.last());
    last.filter(|last| last[0] == "assistant").and_then(|last| last[1].as_str()).unwrap_or_default()
}

/// Whatever happens in the middle of an answer, the page shows the truth in the end.
async fn shows_the_truth(version: u64, query: &'static str, own: bool) {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", &format!("[tokens]\n{TOKEN:?} = \"ann\"\n"));
    let flags = ["--auth-file", &file, "--drain-timeout", "200ms", "--allowed-origin", "*"];
    let mut cluster = Cluster::start(&[&flags, &flags, &flags]).await;
    let [a, b, c] = [0, 1, 2].map(|at| cluster.replicas[at].client().with_token(TOKEN));
    let switch = Switch::start(cluster.port(0)).await.expect("a port");
    let mut user = User::open(version, query, own, switch.base()).await;
    let resumes = user.resumes();

    user.show("plain").await;
    user.send("/demo parts=30 interval=5ms").await;
    user.until("it is answered", |shown| last(shown) == counted(30) && shown["status"] == "ready").await;
    user.click("again").await;
    user.until_status("ready").await;
    assert_eq!(user.compare(&b).await, ["/demo parts=30 interval=5ms", &counted(30)], "{version}");
    user.show("plain").await;
    user.until_status("ready").await;
    assert_eq!(user.compare(&b).await.len(), 2, "{version}: a first render");

    user.show("stopped").await;
    user.send("/demo parts=3000 interval=5ms").await;
    user.until_answering().await;
    user.click("stop").await;
    let shown = user.until_status("ready").await;
    assert_eq!(shown["error"], "");
    let texts = user.compare(&b).await;
    assert!(!texts[1].is_empty() && counted(3000).starts_with(&texts[1]), "S7: {version}");

    user.show("left").await;
    user.send("/demo parts=600 interval=5ms").await;
    user.until_answering().await;
    user.show("left").await;
    if resumes {
        user.until_answering().await;
        user.until_status("ready").await;
    } else {
        let chat = b.get("/v1/chats?external_id=left").await.expect(200).body;
        b.until_idle(chat["chats"][0]["id"].as_str().expect("the chat is there")).await;
        user.show("left").await;
    }
    assert_eq!(user.compare(&b).await[1], counted(600), "{version}: loaded again in the middle");

    for (name, at, client) in [("killed", 0, &b), ("drained", 1, &c)] {
        user.show(name).await;
        user.send("/demo parts=400 interval=10ms").await;
        user.until_answering().await;
        if name == "killed" {
            cluster.replicas[at].kill();
        } else {
            cluster.replicas[at].terminate();
        }
        let cut = user.until_status("error").await;
        assert_eq!(cut["error"], "network error", "{version}: it is no end");
        assert!(counted(400).starts_with(last(&cut)), "{version}: no wrong text, {cut}");
        switch.lead_to(cluster.port(at + 1));
        let goes_on = async || {
            user.look_again().await;
            let shown = user
                .until("it is over", |shown| shown["status"] == "ready" || shown["status"] == "error")
                .await;
            assert!(counted(400).starts_with(last(&shown)), "{version}: no wrong text, {shown}");
            (shown["status"] == "ready").then_some(())
        };
        if resumes {
            until("it is taken up", goes_on).await;
        } else {
            user.look_again().await;
            let chat = client.get(&format!("/v1/chats?external_id={name}")).await.expect(200).body;
            client.until_idle(chat["chats"][0]["id"].as_str().expect("the chat is there")).await;
            let shown = user.shown().await;
            assert!(
                shown["status"] == "error" && counted(400).starts_with(last(&shown)),
                "no wrong text: {shown}"
            );
            user.show(name).await;
        }
        assert_eq!(user.compare(client).await[1], counted(400), "{version}: {name}");
    }
    drop(a);
}

#[tokio::test]
async fn version_5_shows_the_truth_in_a_browser() {
    shows_the_truth(5, "?ai=5", false).await;
}

#[tokio::test]
async fn version_6_shows_the_truth_in_a_browser() {
    shows_the_truth(6, "?ai=6", false).await;
}

#[tokio::test]
async fn version_6_resumes_in_a_browser_where_the_page_makes_the_chat() {
    shows_the_truth(6, "", true).await;
}

#[tokio::test]
async fn version_7_shows_the_truth_in_a_browser() {
    shows_the_truth(7, "", false).await;
    shows_the_truth(7, "?ai=7", false).await;
}

#[test]
fn the_lines_of_the_document_are_those_that_were_tried() {
    let read = |path: &str| std::fs::read_to_string(workspace_root().join(path)).expect("a file");
    let page = read("tests/clients/node/use-chat.jsx");
    let page = page
        .replace("/ai/chat${query}", "/ai/chat?ai=7")
        .replace("resume: resume === 'resume'", "resume: true");
    let document = read("docs/faces/ai-sdk.md");
    let lines = document.split("```jsx\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines");
    assert!(page.contains(lines), "{lines}");
    let lines = document.split("```jsx\n").nth(2).and_then(|rest| rest.split("```").next()).expect("lines");
    let alone = lines.lines().find(|line| line.contains("slice(-1)")).expect("a line");
    assert!(read("tests/clients/node/page.mjs").contains(alone.trim()), "{alone}");
}
