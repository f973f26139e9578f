//! One process at a time has a replica's name.

use std::time::{Duration, Instant};

use mainstem_tests::cluster::{Cluster, LEASE_TTL, TIMES};
use mainstem_tests::database_proxy::{DatabaseProxy, Fate};
use mainstem_tests::deadline::until;
use mainstem_tests::process::{Replica, run};
use mainstem_tests::viewer::{Kind, Viewer};

/// What starting takes, and ending, beside waiting for a lease.
const SLACK: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_second_replica_of_a_name_does_not_start_while_the_first_is_alive() {
    let cluster = Cluster::start(&[&[], &["--workers", "0"]]).await;
    let chat = cluster.replicas[0].client().create("/demo parts=150 interval=20ms").await;
    let mut viewer = Viewer::open(&cluster.replicas[1].client(), &chat, Kind::EventStream).await;
    let flags = [&["serve", "--listen", "127.0.0.1:0", "--replica", "a"], &TIMES[..]].concat();
    let second = run(&[&flags[..], &["--database", &cluster.database]].concat()).await;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("--replica a") && said.contains("127.0.0.1:") && said.contains("3s"), "{said}");
    // The first has not noticed.
    viewer.until("the answer", |s| s.messages.len() == 2 && s.status == "waiting").await;
    viewer.finish(&cluster.replicas[0].client()).await;
    let lease = format!("SELECT lease FROM chats WHERE id = '{chat}'");
    assert_eq!(cluster.postgres.sql(cluster.database_name(), &lease).expect("psql"), "1", "S5");
}

#[tokio::test]
async fn a_name_is_taken_over_at_once_after_an_orderly_end_and_after_a_lease_else() {
    let mut cluster = Cluster::start(&[&[]]).await;
    for crash in [false, true] {
        let replica = &mut cluster.replicas[0];
        if crash {
            replica.kill();
        } else {
            replica.terminate();
            assert!(replica.ended().await.success());
        }
        let ended = Instant::now();
        replica.start_again().await;
        let took = ended.elapsed();
        let most = if crash { LEASE_TTL + SLACK } else { LEASE_TTL - Duration::from_millis(200) };
        assert!(took < most, "L3: it took {took:?} after {}", if crash { "a crash" } else { "an end" });
        let waited = replica.log().contains("waiting for its lease to run out");
        assert_eq!(waited, crash, "{}", replica.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_is_late_does_not_take_the_name_again_after_an_orderly_end() {
    const ADVERTISED: &str = "late.example:7";
    let cluster = Cluster::start(&[]).await;
    let proxy = DatabaseProxy::start(cluster.postgres.port()).await.expect("a proxy");
    let through = proxy.url(&cluster.database, cluster.postgres.port());
    let flags = [&TIMES[..], &["--database", &through, "--relay-advertise", ADVERTISED]].concat();
    let mut replica = Replica::start("late", &flags).await;
    // Only heartbeats tell it.
    proxy.next(ADVERTISED.as_bytes(), Fate::Held);
    until("a heartbeat is on its way", async || (proxy.met() == 1).then_some(())).await;
    replica.terminate();
    // It may end in the meantime, or wait for the heartbeat.
    let ended = tokio::time::timeout(Duration::from_millis(1500), replica.ended()).await;
    proxy.release();
    let status = match ended {
        Ok(status) => status,
        Err(_) => replica.ended().await,
    };
    assert_eq!(status.code(), Some(0), "{}", replica.log());
    until("the heartbeat arrives", async || (proxy.answered() == 1).then_some(())).await;
    let members = "SELECT count(*) FROM replicas";
    let members = cluster.postgres.sql(cluster.database_name(), members).expect("psql");
    assert_eq!(members, "0", "S5: the name is free");
    replica.start_again().await;
    assert!(!replica.log().contains("waiting for its lease to run out"), "{}", replica.log());
}

#[tokio::test]
async fn a_replica_that_lost_its_name_while_it_was_stopped_ends() {
    let mut cluster = Cluster::start(&[&[]]).await;
    let first = cluster.replicas.remove(0);
    let chat = first.client().create("/demo parts=1000 interval=20ms").await;
    first.client().until_running(&chat).await;
    first.pause();
    let flags = [&TIMES[..], &["--database", &cluster.database]].concat();
    let second = Replica::start("a", &flags).await;
    let mut first = first;
    first.resume();
    let status = first.ended().await;
    assert_eq!(status.code(), Some(1), "{}", first.log());
    assert!(first.log().contains("has this name by now"), "{}", first.log());
    let client = second.client();
    client.interrupt(&chat).await.expect(202);
    until("the chat comes to rest", async || (client.chat(&chat).await["status"] == "waiting").then_some(()))
        .await;
    assert!(client.messages(&chat).await.len() <= 2, "S5: one of them wrote");
}

#[tokio::test]
async fn a_start_that_failed_keeps_no_name() {
    let mut cluster = Cluster::start(&[&[]]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let relay = taken.local_addr().expect("it is bound").to_string();
    let flags = [&["serve", "--listen", "127.0.0.1:0", "--replica", "b"], &TIMES[..]].concat();
    let failed =
        run(&[&flags[..], &["--database", &cluster.database, "--relay-listen", &relay]].concat()).await;
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(failed.status.code() == Some(1) && said.contains("--relay-listen"), "{said}");
    cluster.add("b", &[]).await;
    let log = cluster.replicas[1].log();
    assert!(!log.contains("waiting for its lease to run out"), "{log}");
}
