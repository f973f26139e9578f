//! One address that does all at once what wears a server out: heads and bodies that never end, answers that are not read, guesses of
//! tokens and tickets, names of other addresses. Who comes from elsewhere is served all the while (B3).

use std::time::{Duration, Instant};

use mainstem_tests::deadline::within;
use mainstem_tests::raw::status;
use mainstem_tests::viewer::{Kind, Viewer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::dice::Dice;
use super::{Server, memory_of, server};

const FLOODER: [u8; 4] = [127, 0, 0, 9];
const SEED: u64 = 31;

async fn connect(server: &Server, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("all of the loopback is ours");
    socket.connect(server.address().parse().expect("an address")).await.expect("it listens")
}

/// The status of a request from there, 0 if it was closed.
async fn asked(server: &Server, from: [u8; 4], fields: &str) -> u16 {
    let mut stream = connect(server, from).await;
    let request = format!("GET /v1/chats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
    let mut answer = vec![];
    let asking = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    within("it is answered or closed", asking).await.ok();
    status(&String::from_utf8_lossy(&answer))
}

#[tokio::test]
async fn who_wears_a_server_out_from_one_address_is_not_noticed_at_another() {
    println!("seed {SEED}");
    let flags = ["--address-connections-max", "300", "--request-rate", "50/s:200", "--client-timeout", "5s"];
    let server = server(&flags).await;
    let ann = server.client("anns").from_address([127, 0, 0, 2]);
    let chat = ann.create("/demo parts=100000 interval=2ms size=1024").await;
    let mut neighbour = Viewer::open(&ann, &chat, Kind::EventStream).await;
    neighbour.until("parts", |screen| screen.seq > 5).await;
    let before = memory_of(&server.replica);
    let begins: [&[u8]; 6] = [
        b"",
        b"G",
        b"GET /v1/chats HTTP/1.1\r\nhost: localhost\r\nx: ",
        b"POST /v1/chats HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer bobs\r\ncontent-length: 1000000\r\n\r\n{",
        b"POST /v1/chats HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer bobs\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"POST /v1/chats HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer bobs\r\nexpect: 100-continue\r\ncontent-length: 900000\r\n\r\n",
    ];
    let mut slow = vec![];
    for number in 0..600 {
        let mut stream = connect(&server, FLOODER).await;
        stream.write_all(begins[number % begins.len()]).await.ok();
        slow.push(stream);
    }
    let mut dice = Dice::new(SEED);
    for round in 0..60 {
        // A byte more now and then, so that it looks alive.
        for stream in &mut slow {
            if dice.below(10) == 0 {
                stream.write_all(b"a").await.ok();
            }
        }
        let token = format!("authorization: Bearer {}\r\n", dice.below(1000));
        assert!(matches!(asked(&server, [127, 0, 0, 8], &token).await, 401 | 429), "round {round}");
        let begun = Instant::now();
        assert_eq!(asked(&server, [127, 0, 0, 3], "authorization: Bearer anns\r\n").await, 200, "B3");
        assert!(begun.elapsed() < Duration::from_secs(2), "B3: {:?}", begun.elapsed());
        if round % 20 == 0 {
            let seq = neighbour.screen.seq;
            neighbour.until("B3: a neighbour's stream goes on", |screen| screen.seq > seq + 20).await;
        }
    }
    assert_eq!(asked(&server, FLOODER, "authorization: Bearer anns\r\n").await, 0, "it has what it may have");
    drop(slow);
    ann.get("/v1/chats").await.expect(200);
    server.is_unharmed().await;
    let after = memory_of(&server.replica);
    println!("memory: {before} kB, then {after} kB");
    assert!(after < before + 60_000, "B1: {before} kB became {after} kB");
}

#[tokio::test]
async fn whatever_names_an_address_gives_itself_it_pays_for_itself() {
    let flags = ["--request-rate", "1/h:10", "--trusted-proxy", "127.0.0.50"];
    let server = server(&flags).await;
    let forged = [
        "x-forwarded-for: 192.0.2.7\r\n",
        "x-forwarded-for: 127.0.0.50\r\n",
        "x-forwarded-for: 127.0.0.50, 192.0.2.8\r\nx-forwarded-for: 192.0.2.9\r\n",
        "forwarded: for=192.0.2.10\r\n",
        "x-real-ip: 192.0.2.11\r\n",
        "cf-connecting-ip: 192.0.2.12\r\ntrue-client-ip: 192.0.2.12\r\n",
        "client-ip: 192.0.2.13\r\nx-client-ip: 192.0.2.13\r\nx-cluster-client-ip: 192.0.2.13\r\n",
        "via: 1.1 192.0.2.14\r\n",
        "x-forwarded: for=192.0.2.15\r\n",
        "",
    ];
    // Ten without a good token: all of what it has.
    for fields in forged {
        assert!(matches!(asked(&server, FLOODER, fields).await, 400 | 401), "{fields:?}");
    }
    for fields in forged {
        assert_eq!(asked(&server, FLOODER, fields).await, 429, "{fields:?}");
    }
    // By way of a proxy that is trusted, what a client says to the left of itself counts for nothing.
    let proxy = [127, 0, 0, 50];
    for n in 0..10 {
        let fields = format!("x-forwarded-for: 198.51.100.{n}, 203.0.113.5\r\n");
        assert_eq!(asked(&server, proxy, &fields).await, 401);
    }
    for said in [
        "x-forwarded-for: 198.51.100.77, 203.0.113.5\r\n",
        "x-forwarded-for: 198.51.100.77\r\nx-forwarded-for: 203.0.113.5\r\n",
        "x-forwarded-for: 198.51.100.77,203.0.113.5:4711\r\n",
        "x-forwarded-for: 198.51.100.77, ::ffff:203.0.113.5\r\n",
        "x-forwarded-for: 198.51.100.77, 203.0.113.5, 127.0.0.50\r\n",
        "x-forwarded-for: 203.0.113.5\r\nforwarded: for=198.51.100.78\r\nx-real-ip: 198.51.100.79\r\n",
    ] {
        assert_eq!(asked(&server, proxy, said).await, 429, "{said:?}");
    }
    assert_eq!(
        asked(&server, proxy, "x-forwarded-for: 203.0.113.5, 198.51.100.77\r\n").await,
        401,
        "another's"
    );
    server.is_unharmed().await;
}

#[tokio::test]
async fn no_ticket_is_guessed_and_what_is_like_one_opens_nothing() {
    println!("seed {SEED}");
    let server = server(&[]).await;
    let ann = server.client("anns");
    let chat = ann.create("").await;
    let answer = ann.ask(ann.request(reqwest::Method::POST, "/v1/tickets").body("{}")).await.expect(201);
    let ticket = answer.body["ticket"].as_str().expect("a ticket").to_owned();
    let mut dice = Dice::new(SEED);
    let nobody = mainstem_tests::client::Client::new(&ann.base);
    let open =
        async |ticket: &str| nobody.get(&format!("/v1/chats/{chat}/stream?access_token={ticket}")).await;
    for _ in 0..200 {
        // Of one that is good, one letter is another: those of the end as well, of which some bits mean nothing.
        let at = 4 + dice.below(ticket.len() - 4);
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut other = ticket.clone().into_bytes();
        other[at] = letters[dice.below(letters.len())];
        let other = String::from_utf8(other).expect("letters");
        if other != ticket {
            let refused = open(&other).await.expect_problem(401, "unauthorized");
            assert!(!refused.text.contains(&other), "it is not repeated");
        }
    }
    for wrong in [
        format!("{ticket}="),
        format!("{ticket}%00"),
        format!("%20{ticket}"),
        ticket.to_lowercase(),
        ticket["mst_".len()..].to_owned(),
        "mst_".into(),
    ] {
        open(&wrong).await.expect_problem(401, "unauthorized");
    }
    // In a head it is no token, and takes nothing from the ticket.
    nobody.with_token(&ticket).get("/v1/chats").await.expect_problem(401, "unauthorized");
    let stream =
        nobody.request(reqwest::Method::GET, &format!("/v1/chats/{chat}/stream?access_token={ticket}"));
    assert_eq!(stream.send().await.expect("an answer").status(), 200, "it was never used");
    server.is_unharmed().await;
}
