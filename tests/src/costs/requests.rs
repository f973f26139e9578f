//! Requests over connections that stay open, at the least cost to whoever asks: written by hand, and of an answer no more is read
//! than its status and its length (RFC 9112). It promises to take no other answer for one that it understands.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Its body.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const READ_BYTES: usize = 4096;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    host: String,
    came: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("{address} does not listen"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: address.to_owned(), came: vec![] })
    }

    /// Posts a body of JSON, and gives the body of the answer, which has to have this status.
    pub(super) async fn post(&mut self, path: &str, body: &str, status: u16) -> anyhow::Result<String> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.context("the server does not read")?;
        let (answered, body) = self.answer().await?;
        ensure!(answered == status, "{path} was answered {answered} instead of {status}: {body}");
        Ok(body)
    }

    async fn answer(&mut self) -> anyhow::Result<(u16, String)> {
        let head = loop {
            // What came since the last look is short.
            if let Some(end) = self.came.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            ensure!(
                self.came.len() <= HEAD_BYTES_MAX,
                "the head of an answer has more than {HEAD_BYTES_MAX} bytes"
            );
            self.more().await?;
        };
        let (status, length) = parse(std::str::from_utf8(&self.came[..head]).context("a head is not text")?)?;
        let end = head + 4 + length;
        while self.came.len() < end {
            self.more().await?;
        }
        ensure!(self.came.len() == end, "something came behind an answer");
        let body = String::from_utf8(self.came.split_off(head + 4)).context("a body is not text")?;
        self.came.clear();
        Ok((status, body))
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        self.came.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.came).await.context("the connection broke")?;
        ensure!(read > 0, "the server closed instead of answering");
        Ok(())
    }
}

/// The status and the length of an answer with this head.
fn parse(head: &str) -> anyhow::Result<(u16, usize)> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.with_context(|| format!("an answer begins with {first:?}"))?;
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':').with_context(|| format!("a header is {line:?}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().with_context(|| format!("a length is {value:?}"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("an answer comes in pieces: {value}");
        }
    }
    let length = length.context("an answer has no length")?;
    ensure!(length <= BODY_BYTES_MAX, "an answer has {length} bytes, more than {BODY_BYTES_MAX}");
    Ok((status, length))
}

/// The id of a chat out of an answer.
pub(super) fn id_of(chat: &str) -> anyhow::Result<String> {
    let found = chat.split_once("\"id\":\"").and_then(|(_, rest)| rest.split_once('"'));
    Ok(found.with_context(|| format!("a chat has an id: {chat}"))?.0.to_owned())
}

/// The body of a request with this content.
pub(super) fn says(content: &str) -> String {
    serde_json::json!({ "content": content }).to_string()
}

/// Creates so many chats with this content, so many at once, and gives their ids.
pub(super) async fn create(
    address: &str,
    chats: usize,
    at_once: usize,
    content: &str,
) -> anyhow::Result<Vec<String>> {
    let (begun, body) = (AtomicUsize::new(0), says(content));
    let creating = (0..at_once.min(chats)).map(|_| async {
        let (mut connection, mut ids) = (Connection::open(address).await?, vec![]);
        while begun.fetch_add(1, Ordering::Relaxed) < chats {
            ids.push(id_of(&connection.post("/v1/chats", &body, 201).await?)?);
        }
        anyhow::Ok(ids)
    });
    Ok(try_join_all(creating).await?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood_or_refused() {
        assert_eq!(parse("HTTP/1.1 201 Created\r\nContent-Length: 7\r\nx: y").unwrap(), (201, 7));
        for refused in [
            "HTTP/1.1 201 Created\r\nx: y",
            "HTTP/1.1 201 Created\r\ncontent-length: x",
            "HTTP/1.1 201 Created\r\ncontent-length: 99999999",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 7",
            "HTTP/1.0 201 Created\r\ncontent-length: 7",
            "HTTP/1.1 2",
            "",
        ] {
            assert!(parse(refused).is_err(), "{refused:?}");
        }
    }
}
