//! Every connection that requests may use is in use: requests are turned away, and leases go on.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, LEASE_TTL};
use mainstem_tests::deadline::until;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

/// More than the default number of connections.
const REQUESTS: usize = 80;

/// Holds the lock of a chat's row, from outside, until it is dropped.
struct RowLock<'a> {
    psql: Child,
    cluster: &'a Cluster,
}

impl<'a> RowLock<'a> {
    async fn take(cluster: &'a Cluster, chat: &str) -> Self {
        let lock = format!("BEGIN; SELECT 1 FROM chats WHERE id = '{chat}' FOR UPDATE; SELECT pg_sleep(600)");
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--dbname", &cluster.database, "--command", &lock]);
        let psql = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql starts");
        let holds = Self { psql, cluster };
        let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = \
                      current_database()";
        until("the row is locked", async || (holds.count(sleeps) == 1).then_some(())).await;
        holds
    }

    fn count(&self, sql: &str) -> usize {
        let reported = self.cluster.postgres.sql(self.cluster.database_name(), sql).expect("psql");
        reported.parse().expect("a count")
    }
}

impl Drop for RowLock<'_> {
    fn drop(&mut self) {
        self.psql.kill().ok();
        self.psql.wait().ok();
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep' \
                   AND datname = current_database()";
        self.cluster.postgres.sql(self.cluster.database_name(), end).ok();
    }
}

#[tokio::test]
async fn a_pool_full_of_requests_costs_no_lease_and_loses_no_request() {
    let cluster = Cluster::start(&[&[], &[]]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=500 interval=25ms").await;
    let worker = a.until_running(&chat).await;
    let busy = if worker == "a" { &a } else { &b };
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts are shown", |s| s.seq > 4).await;
    let locked = a.create("").await;
    a.chat(&locked).await;

    let lock = RowLock::take(&cluster, &locked).await;
    let asked = Instant::now();
    let send = |n: usize| {
        let (busy, path) = (busy.clone(), format!("/v1/chats/{locked}/messages"));
        async move {
            let content = format!("/demo parts=1 interval=0 n{n}");
            busy.post_with_key(&path, &format!("n{n}"), &json!({"content": content})).await
        }
    };
    let mut turned_away = 0;
    // Over and over, for longer than a lease lasts.
    while asked.elapsed() < LEASE_TTL + Duration::from_secs(2) {
        let answers = futures::future::join_all((0..REQUESTS).map(send)).await;
        for answer in &answers {
            assert_eq!(answer.status, 503, "B3: {}", answer.text);
            answer.clone().expect_document();
        }
        turned_away += answers.iter().filter(|answer| answer.body["code"] == "overloaded").count();
    }
    drop(lock);

    let lease = format!("SELECT lease FROM chats WHERE id = '{chat}'");
    let lease = cluster.postgres.sql(cluster.database_name(), &lease).expect("psql");
    assert_eq!(lease, "1", "S5, B3: the lease went on");
    assert!(turned_away > 0, "the pool was full, and that is said");
    // What was turned away is asked again, and happens once.
    let acknowledged = until("a send is acknowledged", async || {
        let answer = send(0).await;
        (answer.status == 202).then_some(answer.body)
    })
    .await;
    assert!(acknowledged["message"]["id"].is_u64() || acknowledged["queued"]["id"].is_u64(), "S6");
    let took = viewer.until("the end is shown", |s| s.messages.len() == 2 && s.status == "waiting").await;
    assert!(took < Duration::from_secs(30));
    viewer.finish(&a).await;
    assert_eq!(viewer.screen.texts()[1], counted(500), "S4: not interrupted by a lease that ran out");
    a.until_idle(&locked).await;
    let sent = a.messages(&locked).await;
    assert_eq!(sent.iter().filter(|message| message.role == "user").count(), 1, "S6: once");
}

#[tokio::test]
async fn at_start_it_says_how_many_connections_it_needs() {
    let cluster = Cluster::start(&[&["--workers", "0", "--database-connections", "5"]]).await;
    let log = cluster.replicas[0].log();
    let line = log.lines().find(|line| line.contains("needed")).expect("a line about it");
    assert!(line.contains("INFO") && line.contains("needed=8") && line.contains("requests=5"), "{line}");
    // All of them at once, and no more.
    let client = cluster.replicas[0].client();
    let reads = (0..200).map(|_| {
        let client = client.clone();
        async move { client.get("/v1/chats").await.expect(200) }
    });
    futures::future::join_all(reads).await;
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'mainstem'",
        cluster.database_name()
    );
    let open: u32 = cluster.postgres.sql("postgres", &open).expect("psql").parse().expect("a count");
    assert!((6..=8).contains(&open), "B1: {open} connections");
}
