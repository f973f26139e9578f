//! `deploy/compose.yaml` and `deploy/haproxy.cfg`. The schema of Compose and HAProxy itself have nothing against them, what a replica
//! is told starts one, and the proxy leads to real ones; no containers run.

use std::collections::BTreeMap;
use std::process::Command;

use mainstem_programs::HAPROXY;
use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::deadline::until;
use mainstem_tests::deploy::{compose_objections, documents, path, text};
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::Replica;
use mainstem_tests::proxy::Proxy;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::Value;

use crate::{end, seconds};

fn compose() -> Value {
    documents(&text("compose.yaml")).remove(0)
}

fn replicas(compose: &Value) -> BTreeMap<&str, &Value> {
    let services = compose["services"].as_object().expect("services");
    let replicas = services.iter().filter(|(name, _)| name.starts_with("replica-"));
    replicas.map(|(name, service)| (&**name, service)).collect()
}

#[test]
fn the_schema_of_compose_has_nothing_against_the_file() {
    assert_eq!(compose_objections(&path("compose.yaml")), "");
    let scratch = Scratch::new();
    let bad = scratch.file(
        "compose.yaml",
        &text("compose.yaml").replace("stop_grace_period: 30s", "stop_grace_periods: 30s"),
    );
    assert_ne!(compose_objections(std::path::Path::new(&bad)), "", "it would");
}

#[test]
fn each_replica_has_a_name_of_its_own_time_to_end_and_no_published_port() {
    let compose = compose();
    let replicas = replicas(&compose);
    assert_eq!(replicas.len(), 3);
    let mut names = vec![];
    for (service, replica) in &replicas {
        let environment = &replica["environment"];
        names.push(environment["MAINSTEM_REPLICA"].as_str().expect("a name"));
        assert_eq!(environment["MAINSTEM_RELAY_ADVERTISE"], format!("{service}:9400"));
        assert_eq!(environment["MAINSTEM_RELAY_LISTEN"], "0.0.0.0:9400");
        let drain = seconds(environment["MAINSTEM_DRAIN_TIMEOUT"].as_str().expect("a span"));
        let grace = seconds(replica["stop_grace_period"].as_str().expect("a span"));
        assert!(grace >= drain + end(), "{grace:?} is for {drain:?} and {:?}", end());
        assert!(replica["ports"].is_null(), "no port of {service} is published");
        assert_eq!(replica["read_only"], true);
    }
    names.dedup();
    assert_eq!(names.len(), 3);
    let config = text("haproxy.cfg");
    for service in replicas.keys() {
        assert!(config.contains(&format!(" {service}:8080")), "the proxy leads to {service}");
    }
    let images =
        compose["services"].as_object().expect("services").values().map(|service| service["image"].as_str());
    for image in images {
        let image = image.expect("an image");
        assert!(image.contains(':') && !image.ends_with(":latest"), "{image}");
    }
}

#[tokio::test]
async fn what_the_file_tells_a_replica_starts_one() {
    let compose = compose();
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let scratch = Scratch::new();
    let tokens = scratch.file("tokens.toml", "[tokens]\n\"a-long-token\" = \"ann\"\n");
    let secret = scratch.file("peer-secret", "0123456789abcdef0123456789abcdef");
    let environment = replicas(&compose)["replica-a"]["environment"].as_object().expect("variables");
    let here = |(name, value): (&String, &Value)| {
        let value = match &**name {
            "MAINSTEM_DATABASE" => database.clone(),
            "MAINSTEM_AUTH_FILE" => tokens.clone(),
            "MAINSTEM_PEER_SECRET_FILE" => secret.clone(),
            "MAINSTEM_RELAY_LISTEN" | "MAINSTEM_INTERNAL_LISTEN" => "127.0.0.1:0".to_owned(),
            _ => value.as_str().expect("a text").to_owned(),
        };
        (name.clone(), value)
    };
    let environment: Vec<_> = environment.iter().map(here).collect();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let mut replica = Replica::start_with("a", &[], &environment).await;
    assert_eq!(replica.client().get("/v1/chats").await.status, 401, "it asks for tokens");
    replica.terminate();
    assert!(replica.ended().await.success());
}

#[test]
fn haproxy_takes_its_file() {
    let haproxy = HAPROXY.path().unwrap_or_else(|missing| panic!("{missing}"));
    let checked =
        Command::new(haproxy).arg("-c").arg("-f").arg(path("haproxy.cfg")).output().expect("it starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[tokio::test]
async fn the_proxy_leads_to_replicas_that_are_ready_and_streams_stay_whole() {
    let mut cluster = Cluster::start(&[&[], &[], &[]]).await;
    let at: Vec<String> = cluster.replicas.iter().map(|replica| replica.address().to_owned()).collect();
    let proxy = Proxy::haproxy_with(|port| {
        let mut config = text("haproxy.cfg").replace("bind :8080", &format!("bind 127.0.0.1:{port}"));
        // Here each has a port of its own, at which the same is asked.
        config = config.replace("check port 9090 ", "check ").replace("inter 2s", "inter 100ms");
        for (service, address) in ["replica-a:8080", "replica-b:8080", "replica-c:8080"].iter().zip(&at) {
            assert!(config.contains(service));
            config = config.replace(service, address);
        }
        // The limit of open files here is the machine's.
        config.replace("log stdout format raw local0", "").replace("maxconn 20000", "maxconn 64")
    })
    .await;
    let client = proxy.client();
    until("a replica is found ready", async || (client.get("/readyz").await.status == 200).then_some(()))
        .await;
    let chat = client.create("/demo parts=100 interval=5ms").await;
    for kind in [Kind::EventStream, Kind::WebSocket] {
        let mut viewer = Viewer::open(&client, &chat, kind).await;
        viewer.until("it is answered", |screen| screen.last_text() == counted(100)).await;
        viewer.finish(&client).await;
    }
    cluster.replicas[0].kill();
    until("only those that live are asked", async || {
        let mut all_well = true;
        for _ in 0..6 {
            all_well &= proxy.client().get("/readyz").await.status == 200;
        }
        all_well.then_some(())
    })
    .await;
}
