//! What fails between replicas: the network, and the certificates that they show each other.

use mainstem_tests::authority::Authority;
use mainstem_tests::client::counted;
use mainstem_tests::cluster::{Cluster, INTERNAL};
use mainstem_tests::deadline::until;
use mainstem_tests::link::Link;
use mainstem_tests::process::{free_port, run};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};

use super::metric;

const DIALS: &str = "mainstem_relay_dials_total";

#[tokio::test]
async fn a_network_that_is_cut_between_two_replicas_costs_parts_and_no_message() {
    let port = free_port();
    let link = Link::start(port).await.expect("a link");
    let (listen, advertise) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", link.port()));
    let worker = [&INTERNAL[..], &["--relay-listen", &listen, "--relay-advertise", &advertise]].concat();
    let serving = [&INTERNAL[..], &["--workers", "0"]].concat();
    let cluster = Cluster::start(&[&worker, &serving]).await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let long = b.create("/demo parts=5000 interval=20ms").await;
    let mut viewer = Viewer::open(&b, &long, Kind::EventStream).await;
    viewer.until("parts are relayed", |s| s.seq > 10).await;
    assert_eq!(metric(&cluster.replicas[1], DIALS, &[("result", "gone")]).await, 0.0);

    link.stall(true);
    // Another answer begins and ends meanwhile.
    let short = b.create("/demo parts=20 interval=10ms").await;
    let mut beside = Viewer::open(&b, &short, Kind::WebSocket).await;
    beside.until_idle().await;
    beside.finish(&a).await;
    assert_eq!(beside.screen.last_text(), counted(20), "L1");
    assert!(!beside.types_from(0).contains(&"message_part"), "D2: the network was cut");
    until("who cannot be reached is counted", async || {
        (metric(&cluster.replicas[1], DIALS, &[("result", "gone")]).await >= 1.0).then_some(())
    })
    .await;
    for replica in &cluster.replicas {
        replica.client().get("/readyz").await.expect(200);
        assert_eq!(metric(replica, "mainstem_takeovers_total", &[]).await, 0.0, "the database reaches both");
    }
    let told = run(&["doctor", "--database", &cluster.database, "--listen", "127.0.0.1:0"]).await;
    let told = (told.status.code(), String::from_utf8_lossy(&told.stdout).into_owned());
    let names_it =
        told.1.lines().any(|line| line.starts_with("fail  peers: a at ") && line.contains(&advertise));
    assert!(told.0 == Some(1) && names_it, "{told:?}");

    link.stall(false);
    let seq = viewer.screen.seq;
    viewer.until("parts are relayed again", |s| s.seq > seq + 200).await;
    b.interrupt(&long).await.expect(202);
    viewer.until_idle().await;
    viewer.finish(&a).await;
    assert!(viewer.screen.resets.is_empty(), "S4: its worker lives");
}

/// Writes the files of a replica's certificate, under the names that its flags have.
fn issue(scratch: &Scratch, authority: &Authority, id: &str) -> [String; 2] {
    let issued = authority.issue(&["localhost", "127.0.0.1"]);
    let key = scratch.file(&format!("{id}-key.pem"), &issued.key);
    [scratch.file(&format!("{id}.pem"), &issued.certificate), key]
}

#[tokio::test]
async fn certificates_of_replicas_are_replaced_one_after_the_other_and_no_viewer_sees_it() {
    let (scratch, before, after) = (Scratch::new(), Authority::new(), Authority::new());
    // Whoever changes authorities trusts both meanwhile.
    let authorities = scratch.file("ca.pem", &format!("{}{}", before.pem(), after.pem()));
    let mut cluster = Cluster::start(&[]).await;
    for (id, more) in [("a", &[][..]), ("b", &["--workers", "0"])] {
        let [certificate, key] = issue(&scratch, &before, id);
        let tls =
            ["--relay-tls-cert", &*certificate, "--relay-tls-key", &*key, "--relay-tls-ca", &*authorities];
        cluster.add(id, &[&INTERNAL[..], &tls, more].concat()).await;
    }
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let chat = a.create("/demo parts=5000 interval=10ms").await;
    let mut viewer = Viewer::open(&b, &chat, Kind::EventStream).await;
    viewer.until("parts are relayed", |s| s.seq > 10).await;
    for replica in &cluster.replicas {
        issue(&scratch, &after, &replica.id);
        replica.hang_up();
        until("it is told", async || replica.log().contains("the file was read again").then_some(())).await;
        let seq = viewer.screen.seq;
        viewer.until("what was begun goes on", |s| s.seq > seq + 50).await;
        // What begins now is shown the new certificate of one side.
        let next = b.create("/demo parts=100 interval=10ms").await;
        let mut beside = Viewer::open(&b, &next, Kind::WebSocket).await;
        beside.until("parts are relayed", |s| s.seq > 10).await;
        beside.until_idle().await;
        beside.finish(&a).await;
    }
    a.interrupt(&chat).await.expect(202);
    viewer.until_idle().await;
    viewer.finish(&a).await;
    assert!(viewer.screen.resets.is_empty());
    assert_eq!(metric(&cluster.replicas[1], DIALS, &[("result", "accepted")]).await, 3.0);
    assert_eq!(metric(&cluster.replicas[1], DIALS, &[]).await, 3.0, "each was accepted at once");
}
