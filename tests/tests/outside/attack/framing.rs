//! Requests of HTTP/1.1 of which two readers would not agree where they end (RFC 9112, section 11.2): what one of them takes for
//! a body and the other for a next request is never answered here, or was plainly said to be a request. And wherever a request is cut into pieces,
//! it is the same request.

use mainstem_tests::raw::{Raw, exchange, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server;

const HEAD: &str = "POST /v1/chats HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer anns\r\n";
/// What would be answered 404 where it is taken for a request. It ends the connection.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[tokio::test]
async fn where_the_end_of_a_request_is_not_agreed_on_nothing_behind_it_is_answered() {
    let server = server(&[]).await;
    let address = server.address();
    for fields in [
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 100\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "content-length: 2, 2\r\n\r\n{}",
        "content-length: +2\r\n\r\n{}",
        "content-length: 0x2\r\n\r\n{}",
        "content-length: \r\n\r\n{}",
        "content-length : 2\r\n\r\n{}",
        "content-length: 2\r\n content-length: 9\r\n\r\n{}",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: identity, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: \u{b}chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n",
        "transfer-encoding: chunked\r\n\r\n2;a\nxx\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}X0\r\n\r\n",
        "expect: 100-continue\r\ncontent-length: 2, 2\r\n\r\n{}",
        "x: a\rcontent-length: 2\r\n\r\n",
        "x: a\0b\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let answer = exchange(address, format!("{HEAD}{fields}{SMUGGLED}").as_bytes()).await;
        let told = statuses(&answer);
        assert!(
            told.len() <= 1 && told.iter().all(|status| matches!(status, 201 | 400)),
            "{fields:?}: {answer}"
        );
        assert!(told != [400] || answer.contains("\"code\":\"malformed\""), "{fields:?}: {answer}");
    }
    // And what is agreed on is two requests.
    for fields in [
        "content-length: 2\r\n\r\n{}",
        "transfer-encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\ncontent-length: 9\r\nauthorization: Bearer bobs\r\n\r\n",
    ] {
        let answer = exchange(address, format!("{HEAD}{fields}{SMUGGLED}").as_bytes()).await;
        assert_eq!(statuses(&answer), [201, 404], "{fields:?}: {answer}");
        assert!(answer.contains("\"owner\":\"ann\""), "a trailer is nobody's token: {answer}");
    }
    server.is_unharmed().await;
}

#[tokio::test]
async fn a_request_that_says_twice_who_asks_is_nobodys() {
    let server = server(&[]).await;
    let ask = async |target: &str, fields: &str| {
        let request =
            format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
        exchange(server.address(), request.as_bytes()).await
    };
    let chat = server.client("anns").create("").await;
    let path = format!("/v1/chats/{chat}");
    assert_eq!(status(&ask(&path, "authorization: Bearer anns\r\n").await), 200);
    for (target, fields) in [
        (path.clone(), "authorization: Bearer anns\r\nauthorization: Bearer bobs\r\n"),
        (path.clone(), "authorization: Bearer bobs\r\nauthorization: Bearer anns\r\n"),
        (path.clone(), "authorization: Bearer anns\r\nAuthorization: Bearer anns\r\n"),
        (path.clone(), "authorization: Basic YTpi\r\nauthorization: Bearer anns\r\n"),
        (format!("{path}/stream?access_token=anns&access_token=bobs"), ""),
        (format!("{path}/stream?access_token=bobs&access_%74oken=anns"), ""),
        (format!("{path}/stream?access_token=anns&access_token="), ""),
    ] {
        let answer = ask(&target, fields).await;
        assert_eq!(status(&answer), 400, "S10: {target} {fields:?}: {answer}");
        assert!(answer.contains("given more than once"), "{answer}");
    }
    for fields in [
        "authorization: Bearer anns, Bearer bobs\r\n",
        "authorization: Bearer anns bobs\r\n",
        "authorization: anns\r\n",
        "authorization: Bearer\tanns\r\n",
        "authorization: Bearer\r\n",
        "authorization: Basic anns\r\n",
        "authorization: Bearer Bearer anns\r\n",
        "authorization: Bearer \u{a0}anns\r\n",
    ] {
        assert_eq!(status(&ask(&path, fields).await), 401, "S10: {fields:?}");
    }
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        assert_eq!(
            status(&ask(&path, &format!("authorization: {scheme}   anns \r\n")).await),
            200,
            "{scheme}"
        );
    }
    server.is_unharmed().await;
}

#[tokio::test]
async fn a_request_is_the_same_in_whatever_pieces_it_comes() {
    let server = server(&[]).await;
    let bodies = [
        "content-length: 15\r\n\r\n{\"title\":\"pie\"}",
        "transfer-encoding: chunked\r\n\r\n5;x=y\r\n{\"tit\r\na\r\nle\":\"pie\"}\r\n0\r\nx: y\r\n\r\n",
    ];
    for body in bodies {
        let request = format!("{HEAD}connection: close\r\n{body}");
        for cut in 1..request.len() {
            let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
            stream.set_nodelay(true).expect("an option");
            let (first, rest) = request.as_bytes().split_at(cut);
            stream.write_all(first).await.expect("it reads");
            // So that it comes by itself.
            tokio::task::yield_now().await;
            stream.write_all(rest).await.expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("it answers and closes");
            assert!(statuses(&answer) == [201] && answer.contains("\"title\":\"pie\""), "{cut}: {answer}");
        }
    }
    // Many on one connection are answered in their order.
    let mut connection = Raw::open(server.address()).await;
    let ask = |number: usize| {
        let end = if number == 199 { "connection: close\r\n" } else { "" };
        format!(
            "GET /{number} HTTP/1.1\r\nhost: localhost\r\n{end}\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )
    };
    let all: String = (0..200).map(ask).collect();
    connection
        .send(&all.as_bytes()[..all.len() - "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".len()])
        .await;
    let expected: Vec<u16> = (0..399).map(|number| if number % 2 == 0 { 404 } else { 200 }).collect();
    assert_eq!(statuses(&connection.rest().await), expected);
    server.is_unharmed().await;
}
