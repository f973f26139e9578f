//! Bodies that are too large, and are refused before they are sent.

use mainstem_tests::cluster::alone;
use mainstem_tests::deadline::until;
use mainstem_tests::process::Replica;
use mainstem_tests::raw::{Raw, exchange, status};
use mainstem_tests::scratch::Scratch;

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0", "--message-bytes-max", "1KiB"]).await;
    let chat = replica.client().create("").await;
    let head = |line: &str, length: usize| {
        format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let is_refused = |answer: &str, code: &str| {
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        assert!(!answer.contains("100 Continue") && head.contains("connection: close"), "{answer}");
        assert!(answer.contains(code) && head.contains("application/problem+json"), "{answer}");
    };
    for line in [
        "POST /v1/chats".to_owned(),
        format!("POST /v1/chats/{chat}/messages"),
        format!("PATCH /v1/chats/{chat}/messages/1"),
        format!("POST /v1/chats/{chat}/interrupt"),
    ] {
        for length in [200_000_usize, 1 << 40] {
            let mut connection = Raw::open(replica.address()).await;
            connection.send(head(&line, length).as_bytes()).await;
            // No byte of the body is sent, and the server ends the connection.
            let answer = connection.rest().await;
            assert_eq!(status(&answer), 413, "{line}: {answer}");
            is_refused(&answer, "too_large");
        }
    }
    // Whatever else is wrong is told before the body, too.
    for (line, code) in [
        ("POST /v1/chats/x/messages", "no_such_chat"),
        ("POST /nothing", "not_found"),
        ("PUT /v1/chats", "method_not_allowed"),
    ] {
        let mut connection = Raw::open(replica.address()).await;
        connection.send(head(line, 7).as_bytes()).await;
        is_refused(&connection.rest().await, code);
    }
    // One that fits is asked for, and the connection goes on.
    let body = "{\"content\":\"x\"}";
    let mut connection = Raw::open(replica.address()).await;
    for _ in 0..2 {
        connection.send(head("POST /v1/chats", body.len()).as_bytes()).await;
        connection.until("it is asked for", |came| came.ends_with("HTTP/1.1 100 Continue\r\n\r\n")).await;
        connection.send(body.as_bytes()).await;
        connection.until("it is taken", |came| came.ends_with('}')).await;
    }
    connection.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let came = connection.rest().await;
    assert_eq!((came.matches("201 Created").count(), came.matches("200 OK").count()), (2, 1), "{came}");
    // A client of HTTP/1.0 waits for nothing.
    let old = format!(
        "POST /v1/chats HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(status(&exchange(replica.address(), old.as_bytes()).await), 201);
}

#[tokio::test]
async fn a_length_beyond_all_numbers_is_too_large_and_what_is_none_is_malformed() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    for (length, expected) in [
        ("18446744073709551615", 413),
        ("18446744073709551614", 413),
        ("18446744073709551616", 413),
        ("99999999999999999999999999999999999999999", 413),
        ("-1", 400),
        ("1, 2", 400),
        ("0x7", 400),
        ("-18446744073709551616", 400),
    ] {
        for expect in ["", "expect: 100-continue\r\n"] {
            let head = format!(
                "POST /v1/chats HTTP/1.1\r\nhost: localhost\r\n{expect}content-length: {length}\r\n\r\n"
            );
            let answer = exchange(replica.address(), head.as_bytes()).await;
            assert_eq!(status(&answer), expected, "{length}: {answer}");
            let code = if expected == 413 { "too_large" } else { "malformed" };
            assert!(answer.contains(code) && answer.contains("application/problem+json"), "{answer}");
        }
    }
    replica.client().get("/healthz").await.expect(200);
}

/// A body that may be sent, of 7 MB; 19 of them are within the budget of 128 MiB.
const LARGE: usize = 7_000_000;
const LARGE_MAX: usize = 19;
const SENDERS: usize = 26;

fn head(line: &str, length: usize) -> String {
    format!("POST /v1/chats HTTP/1.1\r\nhost: localhost\r\n{line}content-length: {length}\r\n\r\n")
}

/// Whether a large body is asked for, of a client that waits for that.
async fn may_send(replica: &Replica) -> bool {
    let mut connection = Raw::open(replica.address()).await;
    connection.send(head("expect: 100-continue\r\n", LARGE).as_bytes()).await;
    let answer = connection.until("an answer", |answer| answer.contains("\r\n\r\n")).await;
    assert!(matches!(status(answer), 100 | 503), "{answer}");
    status(answer) == 100
}

/// Bytes that were sent to this address, and that nobody has read yet.
fn unread(address: &str) -> u64 {
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells");
    let hex = |digits: &str| u64::from_str_radix(digits, 16).expect("it is a number");
    let here = |end: &str| hex(end.rsplit(':').next().expect("it has a port")) == u64::from(port);
    let queues = sockets.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Local and remote address, state, and bytes to be sent and to be read.
    let bytes = |socket: Vec<&str>| match socket[4].split_once(':') {
        Some((_, to_read)) if here(socket[1]) => hex(to_read),
        Some((to_send, _)) if here(socket[2]) => hex(to_send),
        _ => 0,
    };
    queues.map(bytes).sum()
}

#[tokio::test]
async fn bodies_that_are_being_read_have_a_budget_together() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let client = replica.client();
    assert!(may_send(&replica).await, "nothing else is being sent");
    let begin = "{\"content\":\"hi\",\"more\":\"";
    let (body, last) = (format!("{begin}{}\"", "x".repeat(LARGE - begin.len() - 2)), b"}");
    let mut senders = vec![];
    for _ in 0..SENDERS {
        let (mut sender, body) = (Raw::open(replica.address()).await, body.clone());
        senders.push(tokio::spawn(async move {
            sender.send(head("", LARGE).as_bytes()).await;
            sender.send(body.as_bytes()).await;
            sender
        }));
    }
    // Who is refused is told at the end of what it sends. So nobody ends before all the rest was read.
    let mut sent = vec![];
    for sender in senders {
        sent.push(sender.await.expect("it sends"));
    }
    until("all is read", async || (unread(replica.address()) == 0).then_some(())).await;
    assert!(!may_send(&replica).await, "B1: the budget is used up");
    // What is small, or has no body, has its place.
    let chat = client.create("hello").await;
    client.interrupt(&chat).await;
    client.get(&format!("/v1/chats/{chat}")).await.expect(200);
    let mut refused = 0;
    for mut sender in sent {
        sender.send(last).await;
        let answer = sender.until("an answer", |answer| answer.ends_with('}')).await;
        let is_refused = status(answer) == 503 && answer.contains("\"overloaded\"");
        assert!(is_refused || status(answer) == 201, "{answer:.400}");
        assert_eq!(answer.to_ascii_lowercase().contains("retry-after: "), is_refused, "{answer:.400}");
        refused += usize::from(is_refused);
    }
    assert!((1..SENDERS).contains(&refused), "B1: {refused} are refused");
    until("all is given back", async || may_send(&replica).await.then_some(())).await;
}

#[tokio::test]
async fn who_hangs_up_gives_its_share_of_the_budget_back() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &["--workers", "0"]).await;
    let body = " ".repeat(LARGE - 1);
    let mut senders = vec![];
    for _ in 0..=LARGE_MAX {
        let mut sender = Raw::open(replica.address()).await;
        sender.send(head("", LARGE).as_bytes()).await;
        sender.send(body.as_bytes()).await;
        senders.push(sender);
    }
    until("B1: the budget is used up", async || (!may_send(&replica).await).then_some(())).await;
    drop(senders);
    until("it is given back", async || may_send(&replica).await.then_some(())).await;
    assert!(replica.log().contains("too many bytes of requests are held"), "it is logged");
}
