//! Connections that are opened and kept, as many as there may be and more: who comes new is served, as soon as an idle one has had the
//! time that it has to give way.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mainstem_tests::authority::Authority;
use mainstem_tests::client::Client;
use mainstem_tests::cluster::TIMES;
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::server_binary;

use super::frames::{Connection, HEADERS, get};
use super::{TOKENS, is_sound};

/// More than a process of so many files has connections.
const FILES: usize = 180;

#[tokio::test]
async fn idle_connections_of_http2_that_answer_nothing_give_way_to_whoever_comes() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let issued = authority.issue(&["localhost", "127.0.0.1"]);
    let shell = format!("#!/bin/sh\nulimit -n {FILES}\nexec {} \"$@\"\n", server_binary().display());
    let program = scratch.file("limited", &shell);
    set_permissions(&program, Permissions::from_mode(0o700)).expect("it is ours");
    let files = [
        ("--tls-cert", scratch.file("leaf.pem", &issued.certificate)),
        ("--tls-key", scratch.file("leaf-key.pem", &issued.key)),
        ("--auth-file", scratch.file("auth.toml", TOKENS)),
        ("--database", scratch.sqlite_url()),
        ("--internal-listen", "127.0.0.1:0".to_owned()),
    ];
    let flags: Vec<&str> = files.iter().flat_map(|(flag, value)| [*flag, value]).chain(TIMES).collect();
    let replica = Replica::start_of(Path::new(&program), "alone", &flags, &[]).await;
    let mut kept = vec![];
    for number in 0..2 * FILES {
        let mut connection = Connection::open(replica.address(), &authority, &[]).await;
        connection.send(&get(1, "/healthz", "anns")).await;
        loop {
            let frame = connection.next().await;
            let frame = frame.unwrap_or_else(|| panic!("B3: connection {number} was not served"));
            if frame.kind == HEADERS {
                break;
            }
        }
        // It is not read from any more: nothing that it is asked is answered.
        kept.push(connection);
    }
    for _ in 0..10 {
        let client = Client::trusting(&replica.url(), &authority, true).with_token("anns");
        client.get("/v1/chats").await.expect(200);
    }
    assert!(!replica.log().contains("turned away"), "B3: {}", replica.log());
    is_sound(&replica);
}
