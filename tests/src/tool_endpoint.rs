//! A tool behind an HTTP endpoint, of the tests' own: it notes what it is called with, and answers when it may.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A call, as the endpoint got it.
#[derive(Clone, Debug)]
pub struct Called {
    /// The header `idempotency-key`.
    pub key: String,
    pub body: Value,
    /// Whoever called has gone before there was an answer.
    pub is_given_up: bool,
}

#[derive(Debug)]
pub struct ToolEndpoint {
    pub url: String,
    called: Arc<Mutex<Vec<Called>>>,
    may_answer: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl ToolEndpoint {
    /// It answers `{"content": CONTENT}`, once it may.
    pub async fn start(content: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/call", listener.local_addr().expect("it is bound"));
        let (may_answer, may) = watch::channel(false);
        let called = Arc::<Mutex<Vec<Called>>>::default();
        let (noted, body) = (called.clone(), serde_json::json!({ "content": content }).to_string());
        let serving = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, may, body) = (noted.clone(), may.clone(), body.clone());
                calls.spawn(async move { serve(stream, &noted, may, &body).await.ok() });
            }
        });
        Self { url, called, may_answer, serving }
    }

    /// Answers what waits, and what comes from now on.
    pub fn answer(&self) {
        self.may_answer.send_replace(true);
    }

    /// The calls so far.
    pub fn called(&self) -> Vec<Called> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ToolEndpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    called: &Mutex<Vec<Called>>,
    mut may: watch::Receiver<bool>,
    body: &str,
) -> std::io::Result<()> {
    let (head, asked) = read_request(&mut stream).await?;
    let key = idempotency_key(&head);
    let at = {
        let mut called = called.lock().unwrap_or_else(PoisonError::into_inner);
        called.push(Called { key, body: asked, is_given_up: false });
        called.len() - 1
    };
    let mut byte = [0];
    let is_given_up = tokio::select! {
        _ = async { may.wait_for(|may| *may).await.is_ok() } => false,
        _ = stream.read(&mut byte) => true,
    };
    if is_given_up {
        called.lock().unwrap_or_else(PoisonError::into_inner)[at].is_given_up = true;
        return Ok(());
    }
    respond(&mut stream, body).await
}

/// The header `idempotency-key` of this head.
pub(crate) fn idempotency_key(head: &str) -> String {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let key = headers.find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
    key.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// Answers with a body of JSON, and says nothing more.
pub(crate) async fn respond(stream: &mut TcpStream, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes()).await?;
    stream.shutdown().await
}

/// The head of a request, and its body of JSON.
pub(crate) async fn read_request(stream: &mut TcpStream) -> std::io::Result<(String, Value)> {
    let (mut request, mut bytes) = (vec![], [0; 4096]);
    loop {
        let length = stream.read(&mut bytes).await?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&bytes[..length]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return Ok((head.to_owned(), body));
        }
    }
}
