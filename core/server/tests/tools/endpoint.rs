//! An endpoint for tests: HTTP/1.1 over real TCP. It plays one script, for each connection once.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Send(Vec<u8>),
    /// The same again and again, until nobody takes it.
    Repeat(Vec<u8>),
    /// Waits until the client disconnects.
    Hang,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Request { head: String, body: Value },
    ClientGone,
}

pub(crate) struct Endpoint {
    pub(crate) address: String,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Endpoint {
    pub(crate) async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (report, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, script.clone(), report.clone()));
            }
        });
        Self { address, seen }
    }

    /// The file with this endpoint as the tool `find`.
    pub(crate) fn file(&self, more: &str) -> String {
        let url = format!("http://{}/find", self.address);
        format!("[[tools]]\nname = \"find\"\nrun = \"http\"\nurl = \"{url}\"\n{more}")
    }

    pub(crate) async fn seen(&mut self) -> Seen {
        let seen = tokio::time::timeout(Duration::from_secs(20), self.seen.recv()).await;
        seen.expect("the endpoint sees something").expect("it lives as long as its test")
    }
}

/// A whole answer.
pub(crate) fn answer(status: &str, media_type: &str, body: &str) -> Act {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n");
    Act::Send(format!("{head}{body}").into())
}

async fn serve(mut stream: TcpStream, script: Vec<Act>, report: mpsc::UnboundedSender<Seen>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let _ = report.send(request);
    let (mut reader, mut writer) = stream.split();
    let play = async {
        for act in script {
            match act {
                Act::Send(bytes) => writer.write_all(&bytes).await?,
                Act::Repeat(bytes) => loop {
                    writer.write_all(&bytes).await?;
                },
                Act::Hang => std::future::pending().await,
            }
        }
        std::io::Result::Ok(())
    };
    let mut byte = [0];
    let played = tokio::select! {
        played = play => played,
        _ = reader.read(&mut byte) => Err(std::io::ErrorKind::ConnectionReset.into()),
    };
    if played.is_err() {
        let _ = report.send(Seen::ClientGone);
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = vec![];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = serde_json::from_slice(&bytes[end + 4..]).unwrap_or_default();
                return Some(Seen::Request { head, body });
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}
