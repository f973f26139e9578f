//! A failover: the address of the database leads to a standby that only lets read, then to a primary again.
//! The address is the test's own, and works while the test waits for a process to start.

use mainstem_tests::client::counted;
use mainstem_tests::cluster::TIMES;
use mainstem_tests::deadline::until;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::Replica;
use mainstem_tests::switch::Switch;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::json;

struct Pair {
    primary: Postgres,
    standby: Postgres,
    address: Switch,
    replica: Replica,
}

async fn pair() -> Pair {
    let primary = Postgres::new().expect("a PostgreSQL");
    let standby = primary.standby().expect("a standby");
    let database = primary.create_database("chats").expect("a database");
    let address = Switch::start(primary.port()).await.expect("an address");
    let through = address.url(&database, primary.port());
    let replica = Replica::start("a", &[&TIMES[..], &["--database", &through]].concat()).await;
    Pair { primary, standby, address, replica }
}

impl Pair {
    async fn until_status(&self, what: &str, status: u16) {
        let client = self.replica.client();
        until(what, async || (client.get("/readyz").await.status == status).then_some(())).await;
    }

    /// The address leads to the standby, and who was connected to the primary is not any more.
    async fn fail_over(&self) {
        self.address.lead_to(self.standby.port());
        self.address.cut();
        self.until_status("a replica that cannot write is not ready", 503).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_standby_a_replica_is_not_ready_until_it_is_promoted() {
    let pair = pair().await;
    let client = pair.replica.client();
    let chat = client.create("/demo parts=3 interval=0").await;
    client.until_idle(&chat).await;
    let count = "SELECT count(*) FROM messages";
    until("the standby has it all", async || (pair.standby.sql("chats", count).ok()? == "2").then_some(()))
        .await;

    pair.fail_over().await;
    let refused = client.post(&format!("/v1/chats/{chat}/messages"), json!({"content": "x"})).await;
    refused.expect(503).expect_document();
    assert_eq!(client.messages(&chat).await.len(), 2, "what can be read is read");
    assert!(pair.replica.log().contains("read-only"), "it says why: {}", pair.replica.log());

    pair.standby.promote().expect("a promotion");
    pair.until_status("a replica on a new primary is ready", 200).await;
    let mut viewer = Viewer::open(&client, &chat, Kind::EventStream).await;
    client.send(&chat, "/demo parts=9 interval=0").await;
    viewer.until("the answer", |s| s.messages.len() == 4 && s.status == "waiting").await;
    viewer.finish(&client).await;
    assert_eq!(viewer.screen.texts()[3], counted(9), "S4, S6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_standby_are_not_kept_when_the_address_leads_to_a_primary() {
    let pair = pair().await;
    let client = pair.replica.client();
    pair.fail_over().await;
    // Many readers at once: the pool has connections to the standby, and they are in order.
    let reads = (0..40).map(|_| {
        let client = client.clone();
        async move { client.get("/v1/chats").await.expect(200) }
    });
    futures::future::join_all(reads).await;
    let to_standby = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'chats'";
    assert_ne!(pair.standby.sql("postgres", to_standby).expect("psql"), "0", "reads go to the standby");

    // Nobody ends them: the standby lives on, and the address leads elsewhere.
    pair.address.lead_to(pair.primary.port());
    pair.until_status("a replica finds the primary", 200).await;
    let sends = (0..30).map(|_| {
        let client = client.clone();
        async move { client.create("/demo parts=2 interval=0").await }
    });
    let chats = futures::future::join_all(sends).await;
    for chat in &chats {
        client.until_idle(chat).await;
    }
    until("no connection to the standby is left", async || {
        client.get("/v1/chats").await.expect(200);
        (pair.standby.sql("postgres", to_standby).ok()? == "0").then_some(())
    })
    .await;
}
