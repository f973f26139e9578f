//! Streams behind proxies that collect and compress: what a model says comes while it says it, not at the
//! end.
//!
//! The model stops in the middle of its answer and says no more until it is interrupted, so that what was
//! seen before came before the end, whatever the clock says.

use std::io::Write;

use flate2::write::GzDecoder;
use mainstem_tests::client::{Client, counted};
use mainstem_tests::cluster::alone;
use mainstem_tests::deadline::within;
use mainstem_tests::proxy::Proxy;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::viewer::{Kind, Viewer};
use reqwest::Method;

const STALLS: &str = "/demo parts=9 interval=0 stall=3";

/// A stream as a browser reads it: it takes what is compressed.
struct Compressed {
    response: reqwest::Response,
    decoder: Option<GzDecoder<Vec<u8>>>,
    reported: Vec<u8>,
}

impl Compressed {
    async fn open(client: &Client, chat: &str) -> Self {
        let request = client.request(Method::GET, &format!("/v1/chats/{chat}/stream"));
        let request = request.header("accept-encoding", "gzip").header("accept", "text/event-stream");
        let response = within("a proxy hands on the head", request.send()).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let is_compressed = response.headers().get("content-encoding").is_some_and(|coding| coding == "gzip");
        let decoder = is_compressed.then(|| GzDecoder::new(vec![]));
        Self { response, decoder, reported: vec![] }
    }

    fn reported(&self) -> &str {
        let reported = self.decoder.as_ref().map_or(&self.reported, |decoder| decoder.get_ref());
        std::str::from_utf8(reported).expect("UTF-8")
    }

    async fn until(&mut self, what: &str, is_wanted: impl Fn(&str) -> bool) {
        while !is_wanted(self.reported()) {
            let chunk = within(what, self.response.chunk()).await.expect("it does not break");
            let chunk =
                chunk.unwrap_or_else(|| panic!("it ended instead of: {what}; after {}", self.reported()));
            match &mut self.decoder {
                Some(decoder) => decoder.write_all(&chunk).and_then(|()| decoder.flush()).expect("gzip"),
                None => self.reported.extend_from_slice(&chunk),
            }
        }
    }
}

/// Follows an answer through a proxy, and interrupts it. Whether it was compressed on the way.
async fn follow_and_interrupt(direct: &Client, proxied: &Client) -> bool {
    let chat = direct.create(STALLS).await;
    let mut stream = Compressed::open(proxied, &chat).await;
    stream
        .until("the first parts come while the model is silent", |reported| {
            reported.contains("\"last_seq\":3")
        })
        .await;
    assert_eq!(direct.chat(&chat).await["status"], "running", "they came before the end");
    proxied.interrupt(&chat).await.expect(202);
    stream.until("the partial answer comes", |reported| reported.contains("\"interrupted\":true")).await;
    stream.decoder.is_some()
}

#[tokio::test]
async fn a_stream_comes_in_time_through_an_nginx_that_compresses_and_collects() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let nginx = Proxy::nginx(replica.address()).await;
    // It compresses whatever it is told, but it does not wait.
    assert!(follow_and_interrupt(&replica.client(), &nginx.client()).await, "this one compresses");
}

#[tokio::test]
async fn a_stream_comes_in_time_through_an_nginx_that_was_told_nothing() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let nginx = Proxy::bare_nginx(replica.address()).await;
    assert!(!follow_and_interrupt(&replica.client(), &nginx.client()).await);
}

#[tokio::test]
async fn a_stream_is_not_compressed_by_a_proxy_that_asks_whether_it_may() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let haproxy = Proxy::haproxy(replica.address()).await;
    let list = haproxy.client().request(Method::GET, "/v1/chats").header("accept-encoding", "gzip");
    let list = within("a list comes", list.send()).await.expect("an answer");
    assert_eq!(list.headers()["content-encoding"], "gzip", "it compresses what it may");
    assert!(!follow_and_interrupt(&replica.client(), &haproxy.client()).await, "no-transform");
}

#[tokio::test]
async fn a_web_socket_and_an_event_stream_say_the_same_through_either_proxy() {
    let scratch = Scratch::new();
    let replica = alone(&scratch, &[]).await;
    let direct = replica.client();
    for proxy in [Proxy::nginx(replica.address()).await, Proxy::haproxy(replica.address()).await] {
        let proxied = proxy.client();
        let chat = direct.create(STALLS).await;
        let mut viewers = [
            Viewer::open(&proxied, &chat, Kind::WebSocket).await,
            Viewer::open(&proxied, &chat, Kind::EventStream).await,
        ];
        for viewer in &mut viewers {
            viewer.until("the first parts", |screen| screen.seq == 3).await;
            assert_eq!(viewer.screen.preview, counted(3));
        }
        proxied.interrupt(&chat).await.expect(202);
        for viewer in &mut viewers {
            viewer.until_idle().await;
            viewer.finish(&direct).await;
            assert_eq!(viewer.screen.last_text(), counted(3), "S4");
        }
    }
}
