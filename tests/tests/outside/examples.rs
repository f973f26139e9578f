//! What `examples` has, as somebody would try it.

use std::process::Stdio;

use mainstem_tests::browser;
use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::{until, within};
use mainstem_tests::shipped_binary::workspace_root;
use mainstem_tests::switch::Switch;
use mainstem_tests::web_site::WebSite;
use mainstem_tests::{node, python};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// The texts of the newest chat.
async fn kept(client: &Client) -> Vec<String> {
    let chats = client.get("/v1/chats?limit=1").await.expect(200).body;
    let chat = chats["chats"][0]["id"].as_str().expect("there is one").to_owned();
    client.until_idle(&chat).await;
    let page = client.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    let messages = page["messages"].as_array().expect("messages");
    messages
        .iter()
        .map(|message| message["content"][0]["text"].as_str().expect("a text").to_owned())
        .collect()
}

#[tokio::test]
async fn the_script_goes_on_at_another_replica_where_it_stopped() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|at| cluster.replicas[at].url());
    let question = "/demo parts=80 interval=10ms \"quoted\"";
    let mut script = Command::new("sh");
    script.arg(workspace_root().join("examples/curl.sh")).arg(question).stdin(Stdio::null());
    let done = within("the script ends", script.env("MAINSTEM", a).env("MAINSTEM_2", b).output()).await;
    let done = done.expect("a shell starts");
    let said = String::from_utf8(done.stdout).expect("it says text");
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("lost the connection behind "), "{said}");
    let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let (parts, rest): (Vec<Value>, Vec<Value>) = events.partition(|event| event["type"] == "message_part");
    let told: String = parts.iter().map(|part| part["part"]["text"].as_str().expect("a text")).collect();
    assert_eq!(told, counted(80), "each word once, in order");
    let kept = kept(&cluster.replicas[2].client()).await;
    assert_eq!(kept, [question.to_owned(), told]);
    let history = rest.last().expect("the history comes last");
    assert_eq!(history["messages"][1]["content"][0]["text"], kept[1]);
}

#[tokio::test]
async fn the_program_of_python_loses_no_word_with_its_replica() {
    let mut cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
    let [a, b] = [0, 1].map(|at| cluster.replicas[at].url());
    let mut program = python::command();
    program.arg(workspace_root().join("examples/openai_chat.py")).env("MAINSTEM", format!("{b},{a}"));
    let mut program = Command::from(program);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut program = program.spawn().expect("Python starts");
    let mut input = program.stdin.take().expect("it is piped");
    let questions = "/demo parts=300 interval=10ms\n/demo parts=3 interval=1ms\n";
    input.write_all(questions.as_bytes()).await.expect("it reads");
    drop(input);
    let mut output = program.stdout.take().expect("it is piped");
    let (mut said, mut some) = (vec![], [0; 64]);
    while said.len() < 60 {
        let read = within("an answer comes", output.read(&mut some)).await.expect("a pipe can be read");
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..read]);
    }
    cluster.replicas[1].kill();
    within("the program ends", output.read_to_end(&mut said)).await.expect("a pipe can be read");
    let said = String::from_utf8(said).expect("it says text");
    let expected = format!("{}\n[completed]\n{}\n[completed]\n", counted(300), counted(3));
    assert_eq!(said, expected, "each word once, in order");
    let kept = kept(&cluster.replicas[0].client()).await;
    assert_eq!((&kept[1], &kept[3]), (&counted(300), &counted(3)));
}

/// The texts that the document shows.
const SHOWN: &str = "[...document.querySelectorAll('li p')].map((text) => text.textContent)";

#[tokio::test]
async fn the_page_of_next_js_goes_on_when_it_is_loaded_again() {
    // Where it leads is known when there are replicas, which are told who may ask.
    let switch = Switch::start(1).await.expect("a free port");
    let site = WebSite::start(node::next_chat(&switch.base())).await;
    let flags = ["--allowed-origin", &site.origin];
    let serving = [&flags[..], &["--workers", "0"]].concat();
    let cluster = Cluster::start(&[&flags, &serving]).await;
    let [a, b] = [0, 1].map(|at| cluster.port(at));
    switch.lead_to(a);
    let address = format!("{}/?chat=next-1", site.origin);
    let mut page = browser::Page::open(&address).await;
    until("the field has the focus", async || {
        page.evaluate("document.querySelector('#question')?.focus()").await;
        (page.evaluate("document.activeElement?.id").await == "question").then_some(())
    })
    .await;
    page.type_text("/demo parts=300 interval=10ms").await;
    page.press("Enter", &[]).await;
    let begun = async |page: &mut browser::Page| {
        let texts = page.evaluate(SHOWN).await;
        texts[1].as_str().filter(|text| text.len() > 40).map(str::to_owned)
    };
    until("an answer comes", async || begun(&mut page).await).await;
    switch.lead_to(b);
    page.evaluate("location.reload(); null").await;
    until("it is told on", async || begun(&mut page).await).await;
    let whole = counted(300);
    until("it is all there", async || {
        let texts = page.evaluate(SHOWN).await;
        (texts[1] == *whole).then_some(())
    })
    .await;
    until("it may be asked again", async || {
        (page.evaluate("document.querySelector('form button').textContent").await == "Send").then_some(())
    })
    .await;
    let kept = kept(&cluster.replicas[0].client()).await;
    assert_eq!(page.evaluate(SHOWN).await, serde_json::json!(kept));
    assert_eq!(page.evaluate("document.querySelector('[role=alert]')?.textContent ?? ''").await, "");
    let picture = workspace_root().join("target/tmp/next-chat.png");
    std::fs::create_dir_all(picture.parent().expect("it is in target")).expect("target can be written");
    std::fs::write(picture, page.screenshot().await).expect("target can be written");
}
