//! The command lines: start, output, and end of each.

use std::process::Output;

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::{Running, free_port, run, run_with};
use mainstem_tests::scratch::Scratch;
use serde_json::Value;

/// Asserts that it ended with `code` and one line that contains `said`.
#[track_caller]
fn assert_ended(output: &Output, code: i32, said: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.contains("INFO")).collect();
    assert_eq!(lines.len(), 1, "one line: {stderr}");
    assert!(lines[0].starts_with("error: ") && lines[0].contains(said), "{said:?} is missing: {stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn what_makes_no_sense_ends_with_64_and_a_line_that_names_it() {
    let scratch = Scratch::new();
    let database = scratch.sqlite_url();
    let unknown_key = scratch.file("unknown.toml", "lissten = \"127.0.0.1:0\"\n");
    let short_secret = scratch.file("short", "abc");
    let no_tokens = scratch.file("auth.toml", "hush = 3\n");
    let no_tool = scratch.file("no_tool.toml", "[[tools]]\nname = \"a b\"\nrun = \"http\"\n");
    let cases: &[(&[&str], &str)] = &[
        (&["--nonsense"], "--nonsense"),
        (&["--workers", "many"], "--workers"),
        (&["--lease-ttl", "15"], "--lease-ttl"),
        (&["--poll-interval", "8s"], "--poll-interval"),
        (&["--lease-ttl", "4s", "--poll-interval", "2001ms", "--heartbeat", "1s"], "half"),
        (&["--heartbeat", "20s"], "--heartbeat"),
        (&["--database", "mysql://x/y"], "--database"),
        (&["--generator", "oracle"], "--generator"),
        (&["--generator", "openai"], "--openai-model"),
        (&["--config", &unknown_key], "lissten"),
        (&["--peer-secret-file", &short_secret], "--peer-secret-file"),
        (&["--auth-file", &no_tokens], "--auth-file"),
        (&["--tools", &no_tool], "[[tools]] \"a b\": name: expected"),
        (&["--tool-timeout", "15"], "--tool-timeout"),
        (&["--tool-result-bytes-max", "1GiB"], "--tool-result-bytes-max"),
        (&["--tool-steps-max", "0"], "--tool-steps-max"),
        (&["--listen", "0.0.0.0:0"], "--auth-file"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--replica", "two words"], "--replica"),
        (&["--log", "=,=="], "--log"),
        (&["--message-bytes-max", "0"], "--message-bytes-max"),
    ];
    for (flags, said) in cases {
        let mut args = vec!["serve"];
        if !flags.contains(&"--database") {
            args.extend(["--database", &*database]);
        }
        args.extend(*flags);
        assert_ended(&run(&args).await, 64, said);
    }
    let (blank, long) = (scratch.file("blank", " \n"), scratch.file("long", &"x".repeat((256 << 10) + 1)));
    for (file, said) in [(&blank, "is empty"), (&long, "more than 262144 bytes")] {
        let args = ["serve", "--database", &database, "--instructions-file", file];
        assert_ended(&run(&args).await, 64, said);
    }
    assert_ended(&run(&["sreve"]).await, 64, "sreve");
    assert_ended(&run(&["tail"]).await, 64, "CHAT");
    assert_ended(&run(&["load"]).await, 64, "--server");
    assert_ended(&run(&["tail", "x", "--server", "ftp://x"]).await, 64, "--server");
    let output = run_with(&["serve", "--database", &database], &[("MAINSTEM_WORKERS", "x")], "").await;
    assert_eq!(output.status.code(), Some(64));
    assert!(
        !String::from_utf8_lossy(&run(&["serve", "--auth-file", &no_tokens]).await.stderr).contains("hush")
    );
}

#[tokio::test]
async fn what_is_not_there_ends_with_1_and_a_line_that_names_it() {
    let scratch = Scratch::new();
    let database = scratch.sqlite_url();
    let nobody = format!("postgres://x@127.0.0.1:{}/x", free_port());
    assert_ended(&run(&["serve", "--listen", "127.0.0.1:0", "--database", &nobody]).await, 1, "--database");
    let no_such = Postgres::shared().expect("a PostgreSQL").url("no_such_database");
    assert_ended(
        &run(&["serve", "--listen", "127.0.0.1:0", "--database", &no_such]).await,
        1,
        "no_such_database",
    );
    let tool = "[[tools]]\nname = \"a\"\nrun = \"http\"\nurl = \"https://a.example/${NO_SUCH_VARIABLE}\"\n";
    let keyless = scratch.file("tools.toml", tool);
    for (flag, value, said) in [
        ("--config", "/no/such/file", "--config"),
        ("--tools", "/no/such/file", "--tools /no/such/file"),
        ("--tools", &keyless, "NO_SUCH_VARIABLE"),
        ("--instructions-file", "/no/such/file", "--instructions-file /no/such/file"),
        ("--peer-secret-file", "/no/such/file", "/no/such/file"),
        ("--auth-file", "/no/such/file", "/no/such/file"),
        ("--database", "sqlite:/no/such/directory/x.db", "--database"),
    ] {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", flag, value];
        if flag != "--database" {
            args.extend(["--database", &*database]);
        }
        assert_ended(&run(&args).await, 1, said);
    }
    let server = format!("http://127.0.0.1:{}", free_port());
    assert_ended(&run(&["load", "--server", &server, "--duration", "1s"]).await, 1, &server);
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["serve", "--help"], &["load", "--help"]] {
        let output = run(args).await;
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        assert!(!output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_port_or_a_file_that_another_server_has_is_told() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let other = scratch.path().join("other.db");
    let other = format!("sqlite:{}", other.display());
    let taken = run(&["serve", "--listen", replica.address(), "--database", &other]).await;
    assert_ended(&taken, 1, replica.address());
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--database", &scratch.sqlite_url()]).await;
    assert_ended(&second, 1, "--database");
    // The first server is not affected.
    let client = replica.client();
    let chat = client.create("/demo parts=2 interval=0").await;
    client.until_idle(&chat).await;
    let relay = format!("127.0.0.1:{}", replica.address().rsplit(':').next().expect("a port"));
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let args = ["serve", "--listen", "127.0.0.1:0", "--database", &database, "--relay-listen", &relay];
    assert_ended(&run(&args).await, 1, "--relay-listen");
}

#[tokio::test]
async fn tail_prints_a_stream_and_goes_on_where_its_server_comes_back() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("/demo parts=3 interval=0").await;
    client.until_idle(&chat).await;
    let url = replica.url();
    let tail = Running::start(&["tail", &chat, "--json", "--server", &url]);
    until("it prints the history", async || tail.said().contains("\"synced\"").then_some(())).await;
    replica.kill();
    replica.start_again().await;
    client.send(&chat, "/demo parts=2 interval=0 again").await;
    // It may have resumed after the end: then `synced` is the last event.
    let is_over = |said: &str| {
        said.rsplit_once("again").is_some_and(|(_, since)| since.contains("\"status\":\"waiting\""))
    };
    until("it goes on", async || is_over(&tail.said()).then_some(())).await;
    let events: Vec<Value> =
        tail.said().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let messages = events.iter().filter(|event| event["type"] == "message").count();
    assert_eq!(messages, 4, "S1: nothing twice");
    // After a cursor, only what follows.
    let synced = events.iter().find(|event| event["type"] == "synced").expect("it was told");
    let after = synced["cursor"].as_str().expect("a cursor");
    let rest = Running::start(&["tail", &chat, "--json", "--server", &url, "--after", after]);
    until("it prints the rest", async || rest.said().contains("\"synced\"").then_some(())).await;
    assert_eq!(rest.said().matches("\"type\":\"message\"").count(), 2);
    // The deletion of the chat ends it.
    client.delete(&format!("/v1/chats/{chat}")).await.expect(204);
    let output = tail.ended().await.expect("it ends");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && why.contains("404"), "{:?}: {why}", output.status);
    let gone = run(&["tail", &chat, "--server", &url]).await;
    assert_ended(&gone, 1, "404");
}

#[tokio::test]
async fn chat_sends_what_it_reads_and_shows_the_answer() {
    let scratch = Scratch::new();
    let auth = scratch.file("auth.toml", "[tokens]\n\"t-ann\" = \"ann\"\n");
    let token = scratch.file("token", "t-ann\n");
    let replica = alone(&scratch, &["--auth-file", &auth]).await;
    let args = ["chat", "--server", &replica.url(), "--token-file", &token];
    let output = run_with(&args, &[], "/demo parts=4 interval=5ms\n").await;
    let (said, reported) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{reported}");
    assert!(said.contains(&counted(4)), "{said}");
    let refused = run_with(&["chat", "--server", &replica.url()], &[], "hi\n").await;
    assert_ended(&refused, 1, "401");
}

#[tokio::test]
async fn load_on_a_cluster_finds_no_violation() {
    let cluster = Cluster::with_one_worker().await;
    let urls: Vec<String> = cluster.replicas.iter().map(|replica| replica.url()).collect();
    let mut args =
        vec!["load", "--chats", "4", "--viewers", "3", "--rate", "100", "--duration", "3s", "--json"];
    for url in &urls {
        args.extend(["--server", url]);
    }
    let output = run(&args).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said).expect("a report");
    assert_eq!(report["violations"], 0);
    assert!(report["parts"].as_u64() > Some(1000), "{report}");
    let left = cluster.replicas[0].client().get("/v1/chats").await.expect(200).body;
    assert_eq!(left["chats"], serde_json::json!([]), "a clean run leaves nothing");
}
