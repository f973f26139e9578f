//! Replicas whose notices are carried by something else than PostgreSQL, or by nothing.

use std::time::{Duration, Instant};

use mainstem_tests::bus_server::{BusServer, Kind as BusKind};
use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL, LEASE_TTL, POLL_INTERVAL, TIMES};
use mainstem_tests::deadline::until;
use mainstem_tests::metrics::Metrics;
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::{Replica, run};
use mainstem_tests::viewer::{Kind, Viewer};

/// L1.
const CONVERGENCE_MAX: Duration = Duration::from_secs(2 * POLL_INTERVAL.as_secs() + LEASE_TTL.as_secs() + 5);
/// For what takes a poll, on a machine that does much else.
const SLACK: Duration = Duration::from_secs(2);

/// The log has no line of this level.
fn assert_unlogged(cluster: &Cluster, level: &str) {
    for replica in &cluster.replicas {
        let log = replica.log();
        let line = log.lines().find(|line| line.contains(level));
        assert_eq!(line, None, "{}: {log}", replica.id);
    }
}

#[tokio::test]
async fn replicas_without_a_bus_find_work_and_changes_by_polling() {
    let none = ["--bus", "none"];
    let serving = ["--bus", "none", "--workers", "0"];
    let cluster = Cluster::start(&[&none, &serving, &serving]).await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    // The worker hears of nothing that is sent elsewhere, and viewers hear of nothing that the worker commits.
    let asked = Instant::now();
    let chat = b.create("/demo parts=5000 interval=10ms").await;
    let mut viewers =
        [Viewer::open(&b, &chat, Kind::EventStream).await, Viewer::open(&c, &chat, Kind::WebSocket).await];
    b.until_running(&chat).await;
    assert!(asked.elapsed() < POLL_INTERVAL + SLACK, "L3: within one poll, not {:?}", asked.elapsed());
    for viewer in &mut viewers {
        viewer.until("parts are relayed", |s| s.seq > 20).await;
    }
    assert!(asked.elapsed() < CONVERGENCE_MAX, "L1: {:?}", asked.elapsed());
    let interrupted = Instant::now();
    c.interrupt(&chat).await.expect(202);
    for viewer in &mut viewers {
        viewer.until_idle().await;
        assert!(interrupted.elapsed() < CONVERGENCE_MAX, "L1, L2: {:?}", interrupted.elapsed());
    }
    b.send(&chat, "/demo parts=30 interval=5ms").await;
    for viewer in &mut viewers {
        viewer.until("the next answer", |s| s.messages.len() == 4).await;
        viewer.until_idle().await;
        viewer.finish(&a).await;
        assert_eq!(viewer.screen.last_text(), counted(30), "S4");
    }
    for client in [&a, &b, &c] {
        client.get("/readyz").await.expect(200);
    }
    assert_unlogged(&cluster, " WARN ");
    assert_unlogged(&cluster, " ERROR ");
    let database = cluster.database_name();
    let listening = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE 'LISTEN%'"
    );
    assert_eq!(cluster.postgres.sql("postgres", &listening).expect("psql"), "0", "nobody listens");
}

#[tokio::test]
async fn what_is_no_bus_is_refused_and_its_password_is_not_repeated() {
    for (database, bus, says) in [
        ("sqlite:x.db", "none", "SQLite"),
        ("postgres://u@127.0.0.1:1/x", "amqp://u:hidden@127.0.0.1:1", "--bus: expected"),
    ] {
        let flags = ["serve", "--listen", "127.0.0.1:0", "--database", database, "--bus", bus];
        let ended = run(&[&flags[..], &TIMES].concat()).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(64), "{said}");
        assert!(
            said.contains(says) && !said.contains("hidden") && said.trim().lines().count() == 1,
            "{said}"
        );
    }
}

fn kinds() -> [BusKind; 2] {
    [BusKind::Nats, BusKind::Redis]
}

/// The first replica works, the others serve viewers, and all have their notices from there.
async fn cluster_on(bus: &BusServer) -> Cluster {
    let url = bus.url();
    let working = [&INTERNAL[..], &["--bus", &*url]].concat();
    let serving = [&working[..], &["--workers", "0"]].concat();
    Cluster::start(&[&working, &serving, &serving]).await
}

#[tokio::test]
async fn notices_by_a_server_beside_the_database_spare_the_polling() {
    for kind in kinds() {
        let bus = BusServer::start(kind).await.expect("a bus");
        let url = bus.url();
        // Polls are so far apart that only a notice brings anything in time.
        let rare = ["--bus", &*url, "--lease-ttl", "150s", "--heartbeat", "20s", "--poll-interval", "70s"];
        let serving = [&rare[..], &["--workers", "0"]].concat();
        let mut cluster = Cluster::start(&[]).await;
        for (id, flags) in [("a", &rare[..]), ("b", &serving), ("c", &serving)] {
            cluster.add_bare(id, flags).await;
        }
        let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
        let chat = b.create("/demo parts=5000 interval=10ms").await;
        let mut viewers = [
            Viewer::open(&b, &chat, Kind::EventStream).await,
            Viewer::open(&c, &chat, Kind::WebSocket).await,
        ];
        for viewer in &mut viewers {
            viewer.until("parts are relayed", |s| s.seq > 10).await;
        }
        c.interrupt(&chat).await.expect(202);
        for viewer in &mut viewers {
            viewer.until_idle().await;
            viewer.finish(&a).await;
        }
        assert_unlogged(&cluster, " WARN ");
        let database = cluster.database_name();
        let listening = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE 'LISTEN%'"
        );
        assert_eq!(cluster.postgres.sql("postgres", &listening).expect("psql"), "0", "nobody listens");
    }
}

#[tokio::test]
async fn a_bus_that_dies_in_the_middle_of_an_answer_costs_time_and_no_token() {
    for kind in kinds() {
        let bus = BusServer::start(kind).await.expect("a bus");
        let cluster = cluster_on(&bus).await;
        let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
        let chat = a.create("/demo parts=300 interval=10ms").await;
        let mut viewers = [
            Viewer::open(&b, &chat, Kind::EventStream).await,
            Viewer::open(&c, &chat, Kind::WebSocket).await,
        ];
        for viewer in &mut viewers {
            viewer.until("parts are relayed", |s| s.seq > 20).await;
        }
        let name = format!("{kind:?}").to_lowercase();
        let lost = async |index: usize| {
            Metrics::of(&cluster.replicas[index]).await.sum("mainstem_bus_lost_total", &[("bus", &name)])
        };
        let before = [lost(0).await, lost(1).await, lost(2).await];
        bus.kill();
        for viewer in &mut viewers {
            viewer.until("they go on", |s| s.seq > 120).await;
        }
        let after = [lost(0).await, lost(1).await, lost(2).await];
        // Of each replica, its own subscription and that of the chat that is open there.
        assert_eq!((before, after), ([0.0; 3], [2.0; 3]));
        // While it is away: an end, a queue, an interrupt, a new answer. Nobody is told of any of them.
        for viewer in &mut viewers {
            viewer.until_idle().await;
            assert_eq!(viewer.screen.last_text(), counted(300), "S4");
        }
        let sent = Instant::now();
        b.send(&chat, "/demo parts=5000 interval=10ms").await;
        for viewer in &mut viewers {
            viewer.until("the next answer", |s| s.seq > 10 && s.messages.len() == 3).await;
        }
        assert!(sent.elapsed() < CONVERGENCE_MAX, "L1, L3: {:?}", sent.elapsed());
        for client in [&a, &b, &c] {
            client.get("/readyz").await.expect(200);
        }
        let log = cluster.replicas[1].log();
        assert!(log.contains("could not publish a notice"), "what was sent there: {log}");
        for replica in &cluster.replicas {
            let failures = Metrics::of(replica).await.sum("mainstem_bus_failures_total", &[("bus", &name)]);
            assert!(failures >= 1.0);
        }
        bus.start_again().await.expect("the same bus");
        let interrupted = Instant::now();
        c.interrupt(&chat).await.expect(202);
        for viewer in &mut viewers {
            viewer.until_idle().await;
            assert!(interrupted.elapsed() < CONVERGENCE_MAX, "L1, L2: {:?}", interrupted.elapsed());
        }
        b.send(&chat, "/demo parts=40 interval=5ms").await;
        for viewer in &mut viewers {
            viewer.until("the last answer", |s| s.messages.len() == 6 && s.status == "waiting").await;
            viewer.finish(&a).await;
            assert_eq!(viewer.screen.last_text(), counted(40), "S4");
            assert!(viewer.screen.resets.is_empty(), "{:?}", viewer.screen.resets);
        }
        for replica in &cluster.replicas {
            let log = replica.log();
            assert_eq!(log.matches("polling until it is there").count(), 1, "D2, and told once: {log}");
            assert_eq!(log.matches("by polling only").count(), 1, "told once: {log}");
            until("it is there again", async || {
                replica.log().contains("connected to the bus again").then_some(())
            })
            .await;
            assert!(!log.contains(" ERROR "), "{log}");
        }
    }
}

#[tokio::test]
async fn replicas_start_without_their_bus_and_take_it_when_it_is_there() {
    for kind in kinds() {
        let bus = BusServer::start(kind).await.expect("a bus");
        bus.kill();
        let url = bus.url().replacen("://", "://u:hidden@", 1);
        let cluster = Cluster::start(&[&["--bus", &url], &["--bus", &url, "--workers", "0"]]).await;
        let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
        let chat = b.create("/demo parts=20 interval=5ms").await;
        let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
        viewer.until("an answer", |s| s.messages.len() == 2).await;
        viewer.finish(&a).await;
        for replica in &cluster.replicas {
            replica.client().get("/readyz").await.expect(200);
            let log = replica.log();
            assert!(log.contains("polling until it is there"), "{log}");
            assert!(!log.contains("hidden") && !log.contains(" ERROR "), "{log}");
        }
        if kind == BusKind::Nats {
            // It takes any user if it knows none.
            bus.start_again().await.expect("the same bus");
            for replica in &cluster.replicas {
                until("it is there", async || {
                    replica.log().contains("connected to the bus again").then_some(())
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn a_bus_under_tls_is_taken_by_the_certificates_that_the_system_trusts() {
    let postgres = Postgres::shared().expect("a PostgreSQL");
    for kind in kinds() {
        let (bus, authority) = BusServer::with_tls(kind).await.expect("a bus");
        let (database, url) = (postgres.fresh_database().expect("a database"), bus.url());
        let flags = ["--database", &*database, "--bus", &*url];
        let trusts = Replica::start_with("a", &flags, &[("SSL_CERT_FILE", &*authority)]).await;
        let distrusts = Replica::start("b", &flags).await;
        let tells = async |replica: &Replica, what: &str| {
            until(what, async || replica.log().contains(what).then_some(())).await;
        };
        tells(&trusts, "connected to the bus").await;
        tells(&distrusts, "polling until it is there").await;
        assert!(!distrusts.log().contains("connected to the bus"), "{}", distrusts.log());
    }
}
