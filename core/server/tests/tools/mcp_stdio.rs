//! MCP servers that are programs.

use std::path::Path;
use std::time::{Duration, Instant};

use mainstem_machine::Block;
use mainstem_programs::PYTHON;
use mainstem_runtime::ports::Tools;
use serde_json::{Value, json};

use crate::{SECRET, Toolbox, call, call_of, eventually, failure, offered, toolbox};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/server.py");

fn python() -> String {
    PYTHON.path().unwrap().to_str().expect("a path in UTF-8").to_owned()
}

pub(crate) fn file(modes: &[&str], more: &str) -> String {
    let args: Vec<_> = [SERVER].iter().chain(modes).collect();
    format!("[mcp.tests]\ncommand = {:?}\nargs = {args:?}\n{more}\n", python())
}

async fn server(more: &str) -> Toolbox {
    let tools = toolbox(&file(&[], more)).await;
    eventually("the server's tools", async || offered(&tools, "echo").is_some()).await;
    tools
}

/// After a server was lost: it is started again, and works.
async fn works_again(tools: &Toolbox) {
    eventually("the server works again", async || {
        offered(tools, "echo").is_some() && !call(tools, "echo", "{}").await.1
    })
    .await;
}

fn is_alive(process: &str) -> bool {
    // A zombie has ended.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !matches!(rest.trim().chars().next(), None | Some('Z' | 'X')))
}

#[tokio::test]
async fn tools_come_from_all_pages_with_their_hints() {
    let tools = server("timeout = \"9s\"").await;
    for (name, is_repeatable) in
        [("echo", true), ("twice", true), ("fails", false), ("endless_events", false)]
    {
        let tool = offered(&tools, name).unwrap_or_else(|| panic!("{name} is offered"));
        assert_eq!((tool.is_repeatable, tool.timeout.as_secs()), (is_repeatable, 9), "{name}");
        assert_eq!(&*tool.tool.description, format!("It is called {name}"));
        assert!(tool.tool.input_schema.contains("\"integer\""), "{}", tool.tool.input_schema);
    }
    assert_eq!(offered(&tools, "not.a.name"), None, "no model takes such a name");
}

#[tokio::test]
async fn only_what_is_allowed_is_offered() {
    let tools = server("allow = [\"echo\", \"nothing\"]").await;
    assert_eq!(tools.list().len(), 1);
    assert!(failure(&tools, "twice", "{}").await.contains("not called"));
}

#[tokio::test]
async fn of_two_tools_of_one_name_the_earlier_entry_has_it() {
    let http = "[[tools]]\nname = \"echo\"\nrun = \"http\"\nurl = \"http://127.0.0.1:9/\"\n";
    for (toml, is_mcp) in [(file(&[], "") + http, true), (http.to_owned() + &file(&[], ""), false)] {
        let tools = toolbox(&toml).await;
        eventually("the server's tools", async || offered(&tools, "twice").is_some()).await;
        let named: Vec<_> = tools.list().iter().filter(|tool| &*tool.tool.name == "echo").cloned().collect();
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].is_repeatable, is_mcp, "{toml}");
    }
}

#[tokio::test]
async fn what_a_server_answers_becomes_a_result() {
    let tools = server("").await;
    let echoed = (json!("{\"n\": 1}"), false);
    assert_eq!(call(&tools, "echo", r#"{"n":1}"#).await, echoed);
    let picture = json!([
        { "type": "file", "media_type": "image/png", "data": "AA==" },
        { "type": "text", "text": "x" },
    ]);
    assert_eq!(call(&tools, "picture", "{}").await, (picture, false));
    assert_eq!(call(&tools, "structured", "{}").await, (json!("{\"n\":1}"), false));
    assert_eq!(call(&tools, "fails", "{}").await, (json!("out of order"), true));
    let told = failure(&tools, "refuses", "{}").await;
    assert!(told.contains("never\nthat (code -32602)"), "{told}");
    assert!(failure(&tools, "echo", "[1]").await.contains("has to be a JSON object"));
    assert!(failure(&tools, "asks", "{}").await.contains("more input"));
    let told = failure(&tools, "large", r#"{"n":100000}"#).await;
    assert!(told.contains("too large"), "{told}");
    // What it says can be kept.
    let output = tools.call(call_of("picture", "{}")).await.content;
    assert!(Block::Whole.takes(&format!("{{\"type\":\"tool_result\",\"content\":{output}}}")));
    assert_eq!(call(&tools, "echo", r#"{"n":1}"#).await, echoed);
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_and_the_server_is_told() {
    let tools = server("timeout = \"400ms\"").await;
    let told = failure(&tools, "hangs", "{}").await;
    assert_eq!(told, "the MCP server \"tests\" did not answer within 400ms");
    cancelled(&tools, 1).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_at_the_server() {
    let tools = server("").await;
    let running = tokio::spawn(tools.call(call_of("hangs", "{}")));
    eventually("the call hangs", async || seen(&tools).await["hanging"].as_array().unwrap().len() == 1).await;
    running.abort();
    cancelled(&tools, 1).await;
}

async fn seen(tools: &Toolbox) -> Value {
    let (Value::String(seen), false) = call(tools, "seen", "{}").await else {
        panic!("it tells what it saw")
    };
    serde_json::from_str(&seen).unwrap()
}

/// So many calls hang, and each was cancelled.
async fn cancelled(tools: &Toolbox, count: usize) {
    eventually("the server is told that nobody waits", async || {
        let seen = seen(tools).await;
        seen["hanging"] == seen["cancelled"] && seen["hanging"].as_array().unwrap().len() == count
    })
    .await;
}

#[tokio::test]
async fn a_server_that_dies_costs_its_calls_and_is_started_again() {
    let tools = server("").await;
    let other = tokio::spawn(tools.call(call_of("hangs", "{}")));
    eventually("the call hangs", async || seen(&tools).await["hanging"].as_array().unwrap().len() == 1).await;
    let began = Instant::now();
    for told in [failure(&tools, "dies", "{}").await, other.await.unwrap().content.to_string()] {
        assert!(told.contains("has ended") && told.contains("nobody knows"), "{told}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for the time-out of 20 s");
    works_again(&tools).await;
}

#[tokio::test]
async fn a_server_that_floods_is_cut_off_and_started_again() {
    let tools = server("").await;
    let told = failure(&tools, "floods", "{}").await;
    assert!(told.contains("sent a message of more than 4194304 bytes"), "{told}");
    works_again(&tools).await;
    let told = failure(&tools, "chatters", "{}").await;
    assert!(told.contains("sent more than 10000 messages"), "{told}");
    works_again(&tools).await;
}

#[tokio::test]
async fn a_server_that_does_not_read_is_cut_off_and_started_again() {
    let tools = server("").await;
    // More than a pipe holds.
    let much = json!({ "n": "x".repeat(1 << 20) }).to_string();
    let (deaf, told) = tokio::join!(failure(&tools, "deaf", "{}"), failure(&tools, "echo", &much));
    for told in [told, deaf] {
        assert!(told.contains("did not read what was sent to it for 10s"), "{told}");
    }
    works_again(&tools).await;
}

#[tokio::test]
async fn nonsense_costs_one_call() {
    let tools = server("timeout = \"400ms\"").await;
    let told = failure(&tools, "babbles", "{}").await;
    assert!(
        told.ends_with("within 400ms; so far it sent 2 lines that are no messages of the protocol"),
        "{told}"
    );
    let told = failure(&tools, "malformed", "{}").await;
    assert!(told.contains("its answer is not"), "{told}");
    assert!(!call(&tools, "echo", "{}").await.1);
}

#[tokio::test]
async fn tools_that_come_later_are_offered() {
    let tools = server("").await;
    assert_eq!(offered(&tools, "grown"), None);
    call(&tools, "grows", "{}").await;
    eventually("the new tool", async || offered(&tools, "grown").is_some()).await;
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_call_may_list_its_tools_later() {
    let tools = server("").await;
    // Longer than it is waited for a list.
    assert_eq!(call(&tools, "grows", r#"{"n":12}"#).await, (json!("done"), false));
    eventually("the new tool", async || offered(&tools, "grown").is_some()).await;
}

#[tokio::test]
async fn a_program_gets_what_the_file_gives_it_and_nothing_secret() {
    let tools = server("env = { GIVEN = \"something plain\", FROM = \"${KEY}\" }").await;
    let (Value::String(environment), false) = call(&tools, "environment", "{}").await else {
        panic!("it tells")
    };
    let environment: Value = serde_json::from_str(&environment).unwrap();
    assert_eq!((&environment["GIVEN"], &environment["FROM"]), (&json!("something plain"), &json!("…")));
    assert!(environment.get("PATH").is_some());
    // Of this process, and of no use to a program.
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some() && environment.get("CARGO_MANIFEST_DIR").is_none()
    );
}

#[tokio::test]
async fn what_a_server_says_again_of_the_file_is_not_told() {
    let tools = server("env = { SAID = \"${KEY}\" }").await;
    let described = offered(&tools, "echo").unwrap().tool.description.clone();
    assert_eq!(&*described, "It is called echo…");
    let said = json!({ "n": [SECRET, SECRET] }).to_string();
    assert_eq!(call(&tools, "echo", &said).await, (json!("{\"n\": [\"…\", \"…\"]}"), false));
    // An error is cut, and no begin of a secret is before the cut.
    for place in [0, 490, 499, 600] {
        let said = json!({ "say": format!("{}{SECRET}{}", "x".repeat(place), "y".repeat(1000)) }).to_string();
        let told = failure(&tools, "refuses", &said).await;
        assert!(told.contains("… (code -32602)") && !told.contains("sk-"), "S10: {told}");
    }
}

#[tokio::test]
async fn what_a_program_started_ends_with_it() {
    for in_order in [true, false] {
        let tools = server("").await;
        let (Value::String(process), false) = call(&tools, "spawns", "{}").await else { panic!("it tells") };
        assert!(is_alive(&process));
        if in_order {
            tools.stop().await;
            assert!(tools.list().is_empty());
        }
        drop(tools);
        eventually("the program of the program is gone", async || !is_alive(&process)).await;
    }
}

/// Whether this process has one end of the pipe.
fn holds(pipe: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|other| other == pipe)
}

#[tokio::test]
async fn who_holds_the_standard_error_of_a_program_that_is_gone_is_not_listened_to() {
    let tools = server("").await;
    let (Value::String(process), false) = call(&tools, "leaves", "{}").await else { panic!("it tells") };
    // In a session of its own, nobody kills it with the program.
    let pipe = std::fs::read_link(format!("/proc/{process}/fd/2")).unwrap();
    assert!(holds(&pipe) && pipe.to_str().is_some_and(|pipe| pipe.starts_with("pipe:")), "{pipe:?}");
    assert!(failure(&tools, "dies", "{}").await.contains("has ended"));
    works_again(&tools).await;
    assert!(is_alive(&process));
    eventually("the end of its standard error is closed (B2)", async || !holds(&pipe)).await;
    assert!(is_alive(&process));
    std::process::Command::new("kill").arg(&process).status().unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_or_exits_holds_up_nobody() {
    let began = Instant::now();
    let missing = "[mcp.missing]\ncommand = \"/nowhere/at/all\"\n".to_owned();
    let exits = file(&["--exits"], "").replace("tests]", "exits]");
    let endless = file(&["--endless"], "").replace("tests]", "endless]");
    let tools = toolbox(&(missing + &exits + &endless)).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    eventually("of an endless list as many as are taken", async || tools.list().len() == 64).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_at_its_start_is_not_waited_for_long() {
    let began = Instant::now();
    let tools = toolbox(&file(&["--silent"], "")).await;
    assert!(began.elapsed() < Duration::from_secs(15) && tools.list().is_empty());
    tools.stop().await;
    assert!(began.elapsed() < Duration::from_secs(15));
}
