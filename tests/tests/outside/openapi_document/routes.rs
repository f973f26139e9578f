//! What the document names is there, under its methods and no others.

use std::collections::BTreeSet;

use mainstem_tests::cluster::alone;
use mainstem_tests::openapi::{Document, filled};
use mainstem_tests::scratch::Scratch;
use reqwest::Method;
use serde_json::{Value, json};

const NOBODYS: &str = "0190d6f1-0000-7000-8000-000000000001";

#[tokio::test]
async fn the_document_is_public_and_need_not_be_fetched_twice() {
    let scratch = Scratch::new();
    let auth = scratch.file("auth.toml", "[tokens]\n\"t-ann\" = \"ann\"\n");
    let replica = alone(&scratch, &["--auth-file", &auth]).await;
    let client = replica.client();
    let first = client.get("/openapi.json").await.expect(200);
    assert_eq!(
        (&first.body["openapi"], &first.headers["content-type"]),
        (&json!("3.1.0"), &"application/json".parse().expect("a value"))
    );
    let tag = first.headers["etag"].clone();
    for (named, status) in [(tag.to_str().expect("text"), 304), ("\"other\"", 200)] {
        let request = client.request(Method::GET, "/openapi.json").header("if-none-match", named);
        let answer = client.ask(request).await.expect(status);
        assert_eq!((&answer.headers["etag"], answer.text.is_empty()), (&tag, status == 304));
        assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    }
}

/// Every reference that stands anywhere in a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_schema_is_one_and_is_used_and_every_reference_leads_somewhere() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let document = Document::of(&replica.client()).await;
    let mut found = BTreeSet::new();
    references(&document.json, &mut found);
    for reference in &found {
        let place = reference.strip_prefix('#').expect("it is in this document");
        assert!(document.json.pointer(place).is_some(), "nothing is at {reference}");
    }
    for name in document.schemas() {
        document.validator(&format!("components/schemas/{name}"));
        assert!(found.contains(&*format!("#/components/schemas/{name}")), "nothing refers to {name}");
    }
    let ids: BTreeSet<String> = document.requests().into_iter().map(|request| request.id).collect();
    assert_eq!(ids.len(), document.requests().len(), "each request has a name of its own");
}

#[tokio::test]
async fn every_path_takes_the_methods_that_the_document_names_and_no_others() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let client = replica.client();
    let document = Document::of(&client).await;
    let paths: BTreeSet<String> = document.requests().into_iter().map(|request| request.path).collect();
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let of_path = document.requests().into_iter().filter(|request| request.path == path);
        let mut named: BTreeSet<String> = of_path.map(|request| request.method.to_string()).collect();
        // What is got may be asked for without its body.
        if named.contains("GET") {
            named.insert("HEAD".into());
        }
        let odd = Method::from_bytes(b"PROPFIND").expect("a method");
        let answer = client.ask(client.request(odd, &filled(&path, &[NOBODYS, "1"]))).await;
        let answer = answer.expect_problem(405, "method_not_allowed");
        let allowed = answer.headers["allow"].to_str().expect("text").split(',');
        let allowed: BTreeSet<String> = allowed.map(|method| method.trim().to_owned()).collect();
        assert_eq!(allowed, named, "{path}");
    }
}
