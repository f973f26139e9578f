//! Which network: whom a server trusts, what it says when it cannot reach its model, where the key goes, and that
//! nothing on this machine is sought through a proxy.

use mainstem_tests::cluster::{alone, alone_with};
use mainstem_tests::deadline::until;
use mainstem_tests::process::{Running, free_port, run_with};
use mainstem_tests::provider::{Provider, Reply};
use mainstem_tests::scratch::Scratch;
use serde_json::json;

use crate::providers::asking;

#[tokio::test]
async fn certificates_that_somebody_names_are_trusted_and_no_others() {
    let (provider, authority) = Provider::start_with_tls(vec![Reply::Parts(vec!["fine"])]).await;
    let url = format!("{}?api-key=geheim", provider.base_url);
    let flags = ["--generator", "openai", "--openai-model", "tiny", "--openai-base-url", &url];
    let scratch = Scratch::new();
    let file = scratch.file("authority.pem", &authority);
    // A directory of certificates has them by the hash of their subject.
    let directory = Scratch::new();
    directory.file("0a1b2c3d.0", &authority);
    let directory = directory.path().display().to_string();
    for (name, value) in [("SSL_CERT_FILE", &file), ("SSL_CERT_DIR", &directory)] {
        let scratch = Scratch::new();
        let replica = alone_with(&scratch, &flags, &[(name, value)]).await;
        let client = replica.client();
        let chat = client.create("hi").await;
        assert_eq!(client.until_idle(&chat).await["status"], "waiting", "{name}");
        assert_eq!(client.messages(&chat).await[1].text(), "fine", "{name}");
    }
    let replica = alone_with(&scratch, &flags, &[]).await;
    let client = replica.client();
    let chat = client.create("hi").await;
    until("the retry is told", async || client.chat(&chat).await["retry"].is_object().then_some(())).await;
    let log = replica.log();
    let reported = log.lines().find(|line| line.contains("WARN") && line.contains("certificate"));
    assert!(reported.is_some_and(|line| line.contains("UnknownIssuer")), "it says why: {log}");
    assert!(!log.contains("geheim"), "an address may hold secrets: {log}");
}

#[tokio::test]
async fn why_a_provider_cannot_be_reached_is_logged() {
    let scratch = Scratch::new();
    let replica = asking(&format!("http://127.0.0.1:{}/v1", free_port()), &scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("hi").await;
    until("it is logged", async || {
        let log = replica.log();
        log.lines().any(|line| line.contains("WARN") && line.contains("Connection refused")).then_some(())
    })
    .await;
    client.interrupt(&chat).await;
}

#[tokio::test]
async fn a_redirect_is_named_and_the_key_stays() {
    let elsewhere = Provider::start(vec![Reply::Parts(vec!["never"])]).await;
    let location = format!("HTTP/1.1 307 X\r\nlocation: {}/secret?k=geheim", elsewhere.base_url);
    let provider = Provider::start(vec![Reply::Raw(location, String::new())]).await;
    let scratch = Scratch::new();
    let replica = asking(&provider.base_url, &scratch, &[]).await;
    let client = replica.client();
    let chat = client.create("hi").await;
    let reported = client.until_idle(&chat).await;
    assert_eq!(
        (&reported["status"], &reported["error"]["code"]),
        (&json!("error"), &json!("provider_rejected"))
    );
    let message = reported["error"]["message"].as_str().expect("a message");
    let origin = elsewhere.base_url.trim_end_matches("/v1");
    assert!(message.contains(origin) && !message.contains("secret"), "{message}");
    assert_eq!((provider.seen().len(), elsewhere.seen().len()), (1, 0));
}

#[tokio::test]
async fn nothing_here_is_sought_through_a_proxy() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let proxies = [("HTTP_PROXY", &*nobody), ("http_proxy", &*nobody), ("ALL_PROXY", &*nobody)];
    let provider = Provider::start(vec![Reply::Parts(vec!["fine"])]).await;
    let scratch = Scratch::new();
    let flags = ["--generator", "openai", "--openai-model", "tiny", "--openai-base-url", &provider.base_url];
    let replica = alone_with(&scratch, &flags, &proxies).await;
    let said = run_with(&["chat", "--server", &replica.url()], &proxies, "hi\n").await;
    let (stdout, stderr) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && stdout.contains("fine"), "{stdout} {stderr}");
    let demo = Scratch::new();
    let demo = alone(&demo, &[]).await;
    let load = ["load", "--server", &demo.url(), "--chats", "1", "--viewers", "1", "--duration", "1s"];
    let output = run_with(&load, &proxies, "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let chat = replica.client().create("").await;
    let tail = Running::start_with(&["tail", &chat, "--server", &replica.url()], &proxies);
    until("it prints the stream", async || tail.said().contains("synced").then_some(())).await;
}
