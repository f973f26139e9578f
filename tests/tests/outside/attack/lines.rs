//! What strangers can have a server write into its log: a few lines for any number of them. Libraries say of their own accord, in lines
//! of their own, what clients do wrong.

use mainstem_tests::deadline::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::frames::{Connection, RST_STREAM, frame, get};
use super::secured;

/// How many strangers do each thing.
const STRANGERS: usize = 40;
const LINES_MAX: usize = 8;

#[tokio::test]
async fn strangers_fill_no_log_whatever_they_do_wrong_in_tls_and_http2() {
    let server = secured(&[]).await;
    let lines = || {
        let log = server.replica.log();
        log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).count()
    };
    let before = lines();
    let garbage: [&[u8]; 5] = [
        // Alerts of the level of a warning, before anything else and in numbers (RFC 8446, section 6).
        &b"\x15\x03\x03\x00\x02\x01\x5a".repeat(4),
        &b"\x15\x03\x01\x00\x02\x01\x00".repeat(9),
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x01x",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for _ in 0..STRANGERS {
        for bytes in garbage {
            let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
            stream.write_all(bytes).await.ok();
            stream.shutdown().await.ok();
            within("it closes", stream.read_to_end(&mut vec![])).await.ok();
        }
        // Requests that are taken back before anybody can have looked at them.
        let mut resetting = Connection::open(server.address(), &server.authority, &[]).await;
        let taken_back = |n: u32| {
            let id = 2 * n + 1;
            [get(id, "/v1/chats", "bobs"), frame(RST_STREAM, 0, id, &8u32.to_be_bytes())].concat()
        };
        resetting.send(&(0..200).flat_map(taken_back).collect::<Vec<_>>()).await;
        // And frames that are none.
        let mut senseless = Connection::open(server.address(), &server.authority, &[]).await;
        senseless.send(&frame(RST_STREAM, 0, 0, b"odd")).await;
        resetting.until_cut().await;
        senseless.until_cut().await;
    }
    let more = lines() - before;
    assert!(more <= LINES_MAX, "B1: {more} lines: {}", server.replica.log());
    server.is_unharmed().await;
}
