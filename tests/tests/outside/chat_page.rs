//! The chat page in a real browser: what it shows is what the database has, whatever happens to the connection, the replica
//! and the page.

use std::path::Path;

use mainstem_tests::browser::Page;
use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::node::{objections, packaged};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::workspace_root;
use mainstem_tests::web_site::WebSite;
use serde_json::{Value, json};

/// What the page shows: who says what, entry by entry, and whether it is complete.
const SHOWN: &str = "[...document.querySelectorAll('#log > li')].map((entry) => [
    entry.className, entry.querySelector('.content').innerText.trim(),
    entry.querySelector('[aria-busy]') === null])";
const CHAT: &str = "new URLSearchParams(location.search).get('chat')";

async fn click(page: &mut Page, words: &str) {
    let find = format!(
        "[...document.querySelectorAll('button, a')].findLast((node) => node.checkVisibility() && node.textContent === {words:?})"
    );
    until("there is something to click", async || {
        (page.evaluate(&format!("{find} !== undefined")).await == true).then_some(())
    })
    .await;
    page.evaluate(&format!("{find}.click()")).await;
}

async fn send(page: &mut Page, text: &str) {
    page.evaluate("document.getElementById('field').focus()").await;
    page.type_text(text).await;
    page.press("Enter", &[]).await;
}

async fn until_true(page: &mut Page, what: &str, expression: &str) {
    until(what, async || (page.evaluate(expression).await == true).then_some(())).await;
}

/// The chat that the page has opened.
async fn opened(page: &mut Page) -> String {
    until("the chat has a name", async || page.evaluate(CHAT).await.as_str().map(str::to_owned)).await
}

/// Waits until it answers, and shows some words of it.
async fn until_telling(page: &mut Page) {
    let telling = "document.querySelector('#log [aria-busy] .text')?.innerText.length > 20";
    until_true(page, "words are shown", telling).await;
}

/// What the history has, as the page shows it.
async fn kept(client: &Client, chat: &str) -> Value {
    let messages = client.messages(chat).await;
    messages
        .iter()
        .map(|message| {
            let who = if message.role == "user" { "user" } else { "answer" };
            json!([who, message.text().trim(), true])
        })
        .collect()
}

/// The page shows what the database has, and no more.
async fn agrees(page: &mut Page, client: &Client, chat: &str) -> Value {
    client.until_idle(chat).await;
    let kept = kept(client, chat).await;
    until("the page shows the history", async || (page.evaluate(SHOWN).await == kept).then_some(())).await;
    kept
}

#[tokio::test]
async fn an_answer_is_shown_whole_through_a_reload_and_the_death_of_its_worker() {
    let mut cluster = Cluster::start(&[&[], &[]]).await;
    let [a, b] = [0, 1].map(|at| cluster.replicas[at].client());
    let urls = [0, 1].map(|at| cluster.replicas[at].url());
    let (mut page, mut other) =
        (Page::open(&format!("{}/", urls[0])).await, Page::open(&format!("{}/", urls[1])).await);
    send(&mut page, "/demo parts=600 interval=20ms").await;
    let chat = opened(&mut page).await;
    until_telling(&mut page).await;
    page.evaluate("location.reload()").await;
    until_telling(&mut page).await;
    // The same on another replica, at the same time.
    other.evaluate(&format!("location.href = '/?chat={chat}'")).await;
    until_telling(&mut other).await;

    let worker = cluster.index_of(a.chat(&chat).await["worker"].as_str().expect("a worker"));
    cluster.replicas[worker].kill();
    let (left, client) = if worker == 0 { (&mut other, &b) } else { (&mut page, &a) };
    let kept = agrees(left, client, &chat).await;
    assert_eq!(kept[1][1], counted(600).trim(), "S1");
    cluster.replicas[worker].start_again().await;
    for page in [&mut page, &mut other] {
        assert_eq!(
            agrees(page, client, &chat).await,
            kept,
            "both pages, also the one whose replica was away"
        );
    }
    send(&mut page, "/demo parts=3").await;
    until("both show what one of them asked", async || {
        let shown = other.evaluate(SHOWN).await;
        (shown[2] == json!(["user", "/demo parts=3", true])).then_some(())
    })
    .await;
    agrees(&mut other, client, &chat).await;
}

#[tokio::test]
async fn a_page_that_was_offline_shows_the_rest_and_nothing_twice() {
    let cluster = Cluster::start(&[&[]]).await;
    let client = cluster.replicas[0].client();
    let mut page = Page::open(&format!("{}/", cluster.replicas[0].url())).await;
    page.command("Network.enable", json!({})).await;
    let network = |offline: bool| json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    send(&mut page, "/demo parts=200 interval=20ms").await;
    let chat = opened(&mut page).await;
    until_telling(&mut page).await;
    page.command("Network.emulateNetworkConditions", network(true)).await;
    until_true(&mut page, "it says so", "!document.getElementById('connection').hidden").await;
    // What is sent meanwhile is not lost, and comes to its chat, whatever is open then.
    send(&mut page, "/demo parts=2").await;
    click(&mut page, "New chat").await;
    until("another may begin", async || (page.evaluate(SHOWN).await == json!([])).then_some(())).await;
    page.command("Network.emulateNetworkConditions", network(false)).await;
    until("it comes to the server", async || {
        let waits = client.chat(&chat).await["queue"] != json!([]);
        (waits || client.messages(&chat).await.len() > 2).then_some(())
    })
    .await;
    page.evaluate("history.back()").await;
    let kept = agrees(&mut page, &client, &chat).await;
    assert_eq!(
        (&kept[1][1], &kept[3][1]),
        (&json!(counted(200).trim()), &json!(counted(2).trim())),
        "S1, S6"
    );
    until_true(&mut page, "it is quiet again", "document.getElementById('connection').hidden").await;
}

#[tokio::test]
async fn by_keys_alone_it_is_asked_queued_stopped_edited_and_regenerated() {
    let cluster = Cluster::start(&[&[]]).await;
    let client = cluster.replicas[0].client();
    let mut page = Page::open(&format!("{}/", cluster.replicas[0].url())).await;
    assert_eq!(page.evaluate("document.activeElement.id").await, "field");
    page.type_text("/demo parts=2000").await;
    page.press("Enter", &["Shift"]).await;
    page.type_text("interval=20ms").await;
    page.press("Enter", &[]).await;
    let chat = opened(&mut page).await;
    until_telling(&mut page).await;
    assert_eq!(page.evaluate("document.getElementById('go').textContent").await, "Stop");
    send(&mut page, "/demo parts=4").await;
    send(&mut page, "never").await;
    let queued = "[...document.querySelectorAll('#queued span')].map((node) => node.textContent)";
    until("both wait", async || {
        (page.evaluate(queued).await == json!(["/demo parts=4", "never"])).then_some(())
    })
    .await;
    click(&mut page, "Take back").await;
    until("one waits", async || (page.evaluate(queued).await == json!(["/demo parts=4"])).then_some(()))
        .await;
    page.press("Escape", &[]).await;
    let kept = agrees(&mut page, &client, &chat).await;
    assert_eq!(kept.as_array().map(Vec::len), Some(4), "S6: {kept}");
    assert_eq!(kept[3][1], counted(4).trim());
    until_true(
        &mut page,
        "it says that it was stopped",
        "document.querySelectorAll('#log .meta')[1].innerText.includes('Stopped')",
    )
    .await;

    page.press("ArrowUp", &[]).await;
    assert_eq!(page.evaluate("document.getElementById('field').value").await, "/demo parts=4");
    page.evaluate("document.getElementById('field').select()").await;
    page.type_text("/demo parts=5").await;
    page.press("Enter", &["Control"]).await;
    let fifth = json!(["answer", counted(5).trim(), true]);
    until("the edited message is answered", async || {
        (kept_at(&client, &chat, 3).await == fifth).then_some(())
    })
    .await;
    agrees(&mut page, &client, &chat).await;
    let before = client.chat(&chat).await["history_version"].clone();
    click(&mut page, "Regenerate").await;
    until("it is answered again", async || {
        let now = client.chat(&chat).await;
        (now["history_version"] != before && now["status"] == "waiting").then_some(())
    })
    .await;
    agrees(&mut page, &client, &chat).await;
}

#[test]
fn the_client_library_keeps_to_its_types() {
    let library = workspace_root().join("core/server/page/mainstem.js");
    assert_eq!(objections(&library), "");
}

/// What the accessibility checker finds wrong in the page as it is (axe-core: rules of WCAG up to 2.2 AA, and good practice).
async fn barriers(page: &mut Page) -> Value {
    page.evaluate(&format!("{}; void 0", packaged("axe-core/axe.min.js"))).await;
    let run = "axe.run(document).then(({violations}) => violations.map(({id, nodes}) =>
        [id, nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary)]))";
    page.evaluate(run).await
}

async fn kept_at(client: &Client, chat: &str, at: usize) -> Value {
    kept(client, chat).await[at].clone()
}

/// What a model might say to do harm, and what it says to be read.
const ANSWER: &str = "# Title\n\nA *word*, **two words**, `code <b>` and [a link](https://example.org/a_(b)).\n\n\
    - one\n- two\n  1. deep\n\n| a | b |\n|---|--:|\n| 1 | x\\|y |\n\n```rust\nlet x = \"<script>\";\n```\n\n\
    <script>alert(1)</script> <img src=x onerror=alert(1)> ![alt](https://evil.example/x.png) [bad](javascript:alert(1))\n\n\
    snake_case_name costs $5 or $6, and $a_b^2$ is math.";

#[tokio::test]
async fn what_a_model_writes_is_read_as_markdown_and_does_nothing() {
    let cluster = Cluster::start(&[&[]]).await;
    let client = cluster.replicas[0].client();
    let answer = json!([
        {"type": "reasoning", "text": "hm"},
        {"type": "tool_call", "id": "c1", "name": "find", "input": {"q": 1}},
    ]);
    let result =
        json!([{"type": "tool_result", "tool_call_id": "c1", "content": "found", "is_error": false}]);
    let messages = json!([
        {"role": "user", "content": "<b>hi</b>"}, {"role": "assistant", "content": answer},
        {"role": "tool", "content": result}, {"role": "assistant", "content": ANSWER},
    ]);
    let created = client.post("/v1/chats", json!({"title": "t", "messages": messages})).await.expect(201);
    let chat = created.body["id"].as_str().expect("an id").to_owned();
    let mut page = Page::open(&format!("{}/?chat={chat}", cluster.replicas[0].url())).await;
    until_true(&mut page, "all is shown", "document.querySelectorAll('#log > li').length === 3").await;
    let seen = "(() => {
        const log = document.getElementById('log');
        const texts = (what) => [...log.querySelectorAll(what)].map((node) => node.textContent);
        return {
            user: texts('.user .content'), h3: texts('h3'), em: texts('em'), strong: texts('strong'), code: texts('p code'),
            block: texts('pre code'), language: texts('figcaption span'), li: log.querySelectorAll('ul > li').length,
            deep: texts('ul ol li'), cells: texts('td'), math: texts('.math'),
            links: [...log.querySelectorAll('a')].map((link) => [link.href, link.rel, link.target]),
            harm: log.querySelectorAll('script, img, iframe, [onerror]').length,
            called: texts('details summary'),
        };
    })()";
    let seen = page.evaluate(seen).await;
    let link = |url: &str| json!([url, "noopener noreferrer", "_blank"]);
    assert_eq!(
        seen,
        json!({
            "user": ["<b>hi</b>"], "h3": ["Title"], "em": ["word"], "strong": ["two words"], "code": ["code <b>"],
            "block": ["let x = \"<script>\";"], "language": ["rust"], "li": 2,
            "deep": ["deep"], "cells": ["1", "x|y"], "math": ["$a_b^2$"],
            "links": [link("https://example.org/a_(b)"), link("https://evil.example/x.png")],
            "harm": 0, "called": ["What it thought", "It called find"],
        })
    );
    let text = page.evaluate("document.getElementById('log').innerText").await;
    let text = text.as_str().expect("a text");
    for said in ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "snake_case_name", "$5 or $6"] {
        assert!(text.contains(said), "{text}");
    }
}

/// A chat with something of everything, its page, and the pictures of it.
#[tokio::test]
async fn nothing_stands_out_sideways_in_narrow_windows_and_with_large_text() {
    let cluster = Cluster::start(&[&[]]).await;
    let client = cluster.replicas[0].client();
    let wide = format!("{}\n\n{}", "w".repeat(300), ANSWER);
    let messages = json!([{"role": "user", "content": "What is it? ".repeat(20)}, {"role": "assistant", "content": wide}]);
    let title = "A title that is longer than the place that there is for it in a narrow window";
    let created = client.post("/v1/chats", json!({"title": title, "messages": messages})).await.expect(201);
    let chat = created.body["id"].as_str().expect("an id").to_owned();
    let mut page = Page::open(&format!("{}/?chat={chat}", cluster.replicas[0].url())).await;
    send(&mut page, "/demo parts=400 interval=50ms reasoning=30").await;
    send(&mut page, "and then").await;
    until_true(&mut page, "it is all there", "document.querySelectorAll('#queued li').length === 1").await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, width, scheme, scale) in [
        ("wide-light", 1280, "light", "100%"),
        ("wide-dark", 1280, "dark", "100%"),
        ("narrow-light", 320, "light", "100%"),
        ("narrow-dark", 320, "dark", "100%"),
        ("large-text", 640, "light", "200%"),
    ] {
        page.look(width, 720, scheme).await;
        page.evaluate(&format!("document.documentElement.style.fontSize = '{scale}'")).await;
        let beyond = "[document.documentElement, document.getElementById('scroll'), document.getElementById('composer')]
            .map((node) => node.scrollWidth - node.clientWidth)";
        until(name, async || (page.evaluate(beyond).await == json!([0, 0, 0])).then_some(())).await;
        let small = "[...document.querySelectorAll('button, a.copy, summary, nav a')]
            .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 44)
            .map((node) => node.textContent)";
        assert_eq!(page.evaluate(small).await, json!([]), "{name}: large enough for a finger");
        assert_eq!(barriers(&mut page).await, json!([]), "{name}");
        std::fs::write(pictures.join(format!("page-{name}.png")), page.screenshot().await)
            .expect("it can be written");
    }
    page.evaluate("document.querySelector('label[for=field]').remove(), document.getElementById('field').placeholder = ''").await;
    assert_ne!(barriers(&mut page).await, json!([]), "the checker finds what is wrong");
}

#[tokio::test]
async fn who_has_a_token_signs_in_renames_and_deletes() {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", "[tokens]\n\"s3cret\" = \"ann\"\n");
    let replica = alone(&scratch, &["--auth-file", &file]).await;
    let ann = replica.client().with_token("s3cret");
    let chat = ann.create("/demo parts=3 interval=1ms").await;
    let mut page = Page::open(&format!("{}/?chat={chat}", replica.url())).await;
    for (token, words) in [("wrong", "asks for a token"), ("s3cret", "does not know")] {
        let asks = format!("document.querySelector('dialog[open]')?.innerText.includes({words:?})");
        until_true(&mut page, "it asks", &asks).await;
        page.type_text(token).await;
        page.press("Enter", &[]).await;
    }
    agrees(&mut page, &ann, &chat).await;
    // A reload asks no more.
    page.evaluate("location.reload()").await;
    agrees(&mut page, &ann, &chat).await;

    let label = |what: &str| format!("document.querySelector('#list button[aria-label^={what}]')");
    until_true(&mut page, "the list is there", &format!("{} !== null", label("Rename"))).await;
    page.evaluate(&format!("{}.click()", label("Rename"))).await;
    page.type_text("Rivers").await;
    page.press("Enter", &[]).await;
    until_true(&mut page, "its title is shown", "document.getElementById('title').textContent === 'Rivers'")
        .await;
    assert_eq!(ann.chat(&chat).await["title"], "Rivers");
    page.evaluate(&format!("{}.click()", label("Delete"))).await;
    until_true(&mut page, "it asks", "document.querySelector('dialog[open]') !== null").await;
    page.press("Enter", &[]).await;
    until("it is gone", async || (ann.get(&format!("/v1/chats/{chat}")).await.status == 404).then_some(()))
        .await;
    until_true(
        &mut page,
        "another may begin",
        "location.search === '' && document.querySelectorAll('#log > li').length === 0",
    )
    .await;
}

/// Those of the document, on a page of somebody else's.
#[tokio::test]
async fn the_lines_of_the_document_follow_a_chat() {
    let document = std::fs::read_to_string(workspace_root().join("docs/faces/page.md")).expect("it is there");
    let (_, lines) = document.split_once("```html\n").expect("it has lines");
    let (lines, _) = lines.split_once("```").expect("they end");
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--insecure", "--allowed-origin", "*"]).await;
    let lines = lines.replace("\"/mainstem.js\"", &format!("\"{}/mainstem.js\"", replica.url()));
    let lines = lines.replace("new Mainstem()", &format!("new Mainstem({{ url: \"{}\" }})", replica.url()));
    let site = WebSite::start(vec![("/".into(), "text/html", lines.into_bytes())]).await;
    let mut page = Page::open(&format!("{}/", site.origin)).await;
    let said = json!(format!("/demo parts=50 interval=100ms\n{}", counted(50)));
    until("all is shown", async || {
        (page.evaluate("document.getElementById('out').textContent").await == said).then_some(())
    })
    .await;
}
