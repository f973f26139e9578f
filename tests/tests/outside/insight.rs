//! What operators see: the internal listener, and the metrics that `docs/operations.md` has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL, alone};
use mainstem_tests::deadline::until;
use mainstem_tests::metrics::Metrics;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the tree")
}

/// The table of `docs/operations.md`: names with types and labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = fs::read_to_string(root().join("docs/operations.md")).expect("the document is there");
    let section = text.split("\n## Metrics\n").nth(1).expect("it has the table");
    let section = section.split("\n## ").next().expect("a split has a first piece");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), quoted(cells[3])))
    });
    rows.collect()
}

#[tokio::test]
async fn a_replica_shows_the_metrics_of_the_document_and_no_others() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &INTERNAL).await;
    let client = replica.client();
    let chat = client.create("/demo parts=3").await;
    client.until_idle(&chat).await;
    let evil = client.request(reqwest::Method::GET, "/v1/chats").header("host", "evil.example");
    client.ask(evil).await.expect_problem(421, "host_not_allowed");
    let metrics = Metrics::of(&replica).await;
    let shown: BTreeMap<_, _> = metrics
        .types
        .iter()
        .map(|(name, kind)| {
            let labels = metrics.labels(name).into_iter().map(str::to_owned).collect();
            (name.clone(), (kind.clone(), labels))
        })
        .collect();
    assert_eq!(shown, documented());
}

#[tokio::test]
async fn what_operators_see_is_not_on_the_public_listener() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &INTERNAL).await;
    let (public, internal) = (replica.client(), replica.internal());
    for path in ["/healthz", "/readyz", "/metrics", "/debug/replica", "/debug/chats"] {
        internal.get(path).await.expect(200);
    }
    for path in ["/metrics", "/debug/replica", "/debug/chats"] {
        public.get(path).await.expect_problem(404, "not_found");
    }
    for path in ["/", "/v1/chats", "/debug", "/debug/"] {
        internal.get(path).await.expect_problem(404, "not_found");
    }
    internal.post("/metrics", Value::Null).await.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn what_happens_in_a_cluster_is_counted_where_it_happens() {
    let viewers_only = [&INTERNAL[..], &["--workers", "0"]].concat();
    let mut cluster = Cluster::start(&[&INTERNAL, &viewers_only]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=40 interval=10ms").await;
    let mut watching = Viewer::open(&b, &chat, Kind::EventStream).await;
    let mut beside = Viewer::open(&b, &chat, Kind::WebSocket).await;
    watching.until("parts are shown", |screen| screen.seq > 5).await;
    let [worker, relaying] = [0, 1].map(|i| &cluster.replicas[i]);
    let (there, here) = (Metrics::of(worker).await, Metrics::of(relaying).await);
    let sum = |metrics: &Metrics, name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels);
    assert_eq!(sum(&there, "mainstem_chats_running", &[]), 1.0);
    assert_eq!(sum(&there, "mainstem_workers_free", &[]), 63.0);
    assert_eq!(sum(&there, "mainstem_chats_held", &[]), 1.0);
    assert_eq!(sum(&here, "mainstem_workers_free", &[]), 0.0);
    assert_eq!(sum(&here, "mainstem_relays_open", &[]), 1.0);
    assert_eq!(sum(&here, "mainstem_relay_dials_total", &[("result", "accepted")]), 1.0);
    for transport in ["sse", "websocket"] {
        let labels = [("face", "native"), ("transport", transport)];
        assert_eq!(sum(&here, "mainstem_viewers", &labels), 1.0);
    }
    watching.until_idle().await;
    beside.until_idle().await;
    for viewer in [&mut watching, &mut beside] {
        viewer.finish(&b).await;
        assert_eq!(viewer.screen.last_text(), counted(40));
    }
    drop((watching, beside));
    until("the streams have ended", async || {
        let here = Metrics::of(&cluster.replicas[1]).await;
        (here.sum("mainstem_viewers", &[]) == 0.0).then_some(())
    })
    .await;
    let (there, here) = (Metrics::of(&cluster.replicas[0]).await, Metrics::of(&cluster.replicas[1]).await);
    let text = counted(40).len() as f64;
    assert_eq!(sum(&there, "mainstem_parts_total", &[]), 40.0);
    assert_eq!(sum(&there, "mainstem_turns_total", &[("status", "completed")]), 1.0);
    assert_eq!(sum(&there, "mainstem_generations_total", &[("result", "completed")]), 1.0);
    assert_eq!(sum(&there, "mainstem_queue_wait_seconds_count", &[]), 1.0);
    assert_eq!(sum(&there, "mainstem_time_to_first_part_seconds_count", &[]), 1.0);
    for transport in ["sse", "websocket"] {
        let told = sum(&here, "mainstem_parts_bytes_total", &[("transport", transport)]);
        assert!(told > 0.0 && told <= text, "S2: {told} bytes of {text}");
    }
    assert!(sum(&here, "mainstem_delivery_latency_seconds_count", &[]) > 2.0);
    assert!(sum(&here, "mainstem_bus_hints_total", &[("bus", "postgres")]) > 0.0);
    assert_eq!(sum(&here, "mainstem_viewers_total", &[]), 2.0);
    assert_eq!(sum(&here, "mainstem_streams_closed_total", &[]), 2.0);
    let finish = [("op", "finish_turn")];
    assert_eq!(sum(&there, "mainstem_database_operation_seconds_count", &finish), 1.0);

    // One that is killed leaves a count at who goes on for it.
    cluster.add("c", &INTERNAL).await;
    let chat = a.create("/demo parts=400 interval=10ms").await;
    let worker = cluster.index_of(&b.until_running(&chat).await);
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |screen| screen.seq > 5).await;
    cluster.replicas[worker].kill();
    viewer.until("it is told of the death", |screen| !screen.resets.is_empty()).await;
    let successor = cluster.index_of(&b.until_running(&chat).await);
    let metrics = Metrics::of(&cluster.replicas[successor]).await;
    assert_eq!(metrics.sum("mainstem_takeovers_total", &[]), 1.0);

    // And one that comes back is counted as such.
    viewer.resume_as(&b, Kind::WebSocket).await;
    viewer.until("parts are shown again", |screen| screen.seq > 20).await;
    let metrics = Metrics::of(&cluster.replicas[1]).await;
    assert_eq!(metrics.sum("mainstem_streams_resumed_total", &[("result", "exact")]), 1.0);
    assert_eq!(metrics.sum("mainstem_streams_resumed_total", &[]), 1.0);
}

#[tokio::test]
async fn one_that_drains_is_not_ready_and_lives() {
    let scratch = Scratch::new();
    let mut replica = alone(&scratch, &[&INTERNAL[..], &["--drain-timeout", "8s"]].concat()).await;
    let (client, internal) = (replica.client(), replica.internal());
    let chat = client.create("/demo parts=150 interval=20ms").await;
    client.until_running(&chat).await;
    replica.terminate();
    until("it is not ready", async || (internal.get("/readyz").await.status == 503).then_some(())).await;
    internal.get("/healthz").await.expect(200);
    let metrics = Metrics::of(&replica).await;
    assert_eq!(metrics.sum("mainstem_ready", &[]), 0.0);
    assert_eq!(replica.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_internal_address_that_makes_no_sense_is_refused() {
    for (address, code, said) in
        [("nonsense", 64, "expected HOST:PORT"), ("192.0.2.1:1", 1, "--internal-listen 192.0.2.1:1")]
    {
        let scratch = Scratch::new();
        let url = scratch.sqlite_url();
        let flags = ["serve", "--listen", "127.0.0.1:0", "--database", &url, "--internal-listen", address];
        let ended = mainstem_tests::process::run(&flags).await;
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{errors}");
        assert!(errors.lines().last().is_some_and(|line| line.contains(said)), "{errors}");
    }
}

/// The names of metrics in a query: what is no function, no label and no variable of it.
fn metrics_of(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("mainstem_") || word.starts_with("process_")).collect()
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_exist() {
    let documented = documented();
    let text = fs::read_to_string(root().join("deploy/grafana/mainstem.json")).expect("it is there");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        for target in panel["targets"].as_array().expect("a panel asks for something") {
            let (query, legend) = (target["expr"].as_str(), target["legendFormat"].as_str());
            let (query, legend) = query.zip(legend).expect("a target has a query and a legend");
            let names = metrics_of(query);
            assert_eq!(names.len(), 1, "{query}");
            let name = names.first().expect("there is one");
            let family = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            let family =
                family.filter(|family| documented.get(*family).is_some_and(|(kind, _)| kind == "histogram"));
            let family = family.unwrap_or(name);
            let (kind, labels) =
                documented.get(family).unwrap_or_else(|| panic!("{panel}: {family} is no metric"));
            assert_eq!(
                kind == "histogram",
                family != *name,
                "{query}: a histogram has buckets, and nothing else has"
            );
            assert_eq!(
                kind == "gauge",
                !query.contains("rate("),
                "{query}: counts are asked for by their rate"
            );
            for label in
                legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label)
            {
                let is_there = labels.contains(label) || label == "instance";
                assert!(is_there, "{query}: {family} has no label {label}");
            }
            shown.insert(family.to_owned());
        }
    }
    let unseen: Vec<_> = documented.keys().filter(|name| !shown.contains(*name)).collect();
    let by_hand = [
        "mainstem_chats_held",
        "mainstem_hubs",
        "mainstem_streams_resumed_total",
        "mainstem_viewers_total",
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
    ];
    assert_eq!(unseen, by_hand, "what is worth counting is worth showing");
}
