//! A model provider of the tests' own: HTTP on the loopback, Chat Completions streamed as the protocol has
//! them. The n-th request is answered by the n-th reply, and every later one by the last.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These texts, one part each, and the end.
    Parts(Vec<&'static str>),
    /// A status, perhaps with the header `retry-after`.
    Status(u16, &'static str),
    /// These texts, and then the connection breaks off.
    Broken(Vec<&'static str>),
}

#[derive(Debug)]
pub struct Provider {
    pub base_url: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Provider {
    pub async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("it is bound"));
        let seen = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let seen_by_task = seen.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One request for each connection, one after the other.
                answer(stream, &replies, &seen_by_task).await.ok();
            }
        });
        Self { base_url, seen, serving }
    }

    /// The heads and the bodies of the requests so far.
    pub fn seen(&self) -> Vec<(String, Value)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    replies: &[Reply],
    seen: &Mutex<Vec<(String, Value)>>,
) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    let reply = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(request);
        replies[(seen.len() - 1).min(replies.len() - 1)].clone()
    };
    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n";
    let chunks = |texts: &[&str]| -> String {
        let chunk = |text: &&str| {
            let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
            format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": [choice]}))
        };
        texts.iter().map(chunk).collect()
    };
    let bytes = match reply {
        Reply::Parts(texts) => {
            let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
            format!("{STREAM}\r\n{}data: {end}\n\ndata: [DONE]\n\n", chunks(&texts))
        }
        Reply::Status(status, retry_after) => {
            let body = json!({"error": {"message": "the provider says no", "type": "test"}}).to_string();
            let retry = if retry_after.is_empty() {
                String::new()
            } else {
                format!("retry-after: {retry_after}\r\n")
            };
            format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{retry}content-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Reply::Broken(texts) => format!("{STREAM}content-length: 100000\r\n\r\n{}", chunks(&texts)),
    };
    stream.write_all(bytes.as_bytes()).await?;
    stream.shutdown().await
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<(String, Value)> {
    let mut bytes = vec![];
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_str(body) {
            return Ok((head.to_owned(), body));
        }
    }
}
