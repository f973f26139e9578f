//! Requests as bytes: what no well-behaved client would send, and what comes back.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::deadline::within;

/// Sends bytes as they are and ends, and gives what comes until the other side closes.
pub async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut connection = Raw::open(address).await;
    // It may close before it has read all.
    connection.stream.write_all(bytes).await.ok();
    connection.stream.shutdown().await.ok();
    connection.rest().await
}

/// The same without an end: who has ended is taken for gone, and is not answered by all.
pub async fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut connection = Raw::open(address).await;
    connection.send(bytes).await;
    connection.rest().await
}

/// The status of an answer, 0 if there is none.
pub fn status(answer: &str) -> u16 {
    let line = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
    line.and_then(|line| line.get(..3)?.parse().ok()).unwrap_or(0)
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    came: String,
}

impl Raw {
    pub async fn open(address: &str) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("it listens"), came: String::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        within("the server reads", self.stream.write_all(bytes)).await.expect("it is open");
    }

    /// Sends as much as the other side takes before it closes.
    pub async fn send_some(&mut self, bytes: &[u8]) {
        within("the server reads or closes", self.stream.write_all(bytes)).await.ok();
    }

    /// Reads on until all that came is as wanted, and gives it.
    pub async fn until(&mut self, what: &str, is_wanted: impl Fn(&str) -> bool) -> &str {
        let mut chunk = [0; 4096];
        while !is_wanted(&self.came) {
            let length = within(what, self.stream.read(&mut chunk)).await.expect("it is open");
            assert!(length > 0, "it ended instead of: {what}; after {:?}", self.came);
            self.came.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
        &self.came
    }

    /// All that came and comes, and how the other side ends.
    pub async fn end(mut self) -> (String, Result<(), std::io::ErrorKind>) {
        let mut rest = vec![];
        let ended = within("the server closes", self.stream.read_to_end(&mut rest)).await;
        self.came.push_str(&String::from_utf8_lossy(&rest));
        (self.came, ended.map(drop).map_err(|error| error.kind()))
    }

    /// Ends, and gives all that came and comes until the other side closes, or for so long: a stream need not end.
    pub async fn ended(mut self, wait: Duration) -> String {
        self.stream.shutdown().await.ok();
        let mut rest = vec![];
        timeout(wait, self.stream.read_to_end(&mut rest)).await.ok();
        self.came.push_str(&String::from_utf8_lossy(&rest));
        self.came
    }

    /// All that came and comes until the other side closes.
    pub async fn rest(mut self) -> String {
        let mut rest = vec![];
        within("the server answers or closes", self.stream.read_to_end(&mut rest)).await.ok();
        self.came.push_str(&String::from_utf8_lossy(&rest));
        self.came
    }
}
