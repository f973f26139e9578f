//! A model provider of the tests' own: HTTP on the loopback, with or without TLS, Chat Completions streamed as
//! the protocol has them, or not. Each question has replies of its own: the n-th time it is asked, it is
//! answered by the n-th, and every later time by the last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::Authority;

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These texts, one part each, and the end.
    Parts(Vec<&'static str>),
    /// A status, perhaps with the header `retry-after`.
    Status(u16, &'static str),
    /// A status, with a date in `retry-after` that is so many seconds from then.
    StatusUntil(u16, u64),
    /// These texts, and then the connection breaks off.
    Broken(Vec<&'static str>),
    /// A stream with this body.
    Stream(String),
    /// The head of an answer, a line end excepted, and its body.
    Raw(String, String),
    /// The begin of a stream, and nothing more until the client goes.
    Silence(String),
    /// These texts, if roles alternate and nobody says nothing; else 400.
    Strict(Vec<&'static str>),
}

/// What was asked, and when.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: Value,
    pub at: Instant,
}

impl Request {
    /// What the last message says, in its last line.
    pub fn question(&self) -> &str {
        let last = self.body["messages"].as_array().and_then(|messages| messages.last());
        last.and_then(|last| last["content"].as_str()?.lines().last()).unwrap_or_default()
    }

    /// Who speaks, in order.
    pub fn roles(&self) -> Vec<&str> {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        messages.iter().filter_map(|message| message["role"].as_str()).collect()
    }

    fn is_strictly_alternating(&self) -> bool {
        let says = |message: &Value| message["content"].as_str().is_some_and(|text| !text.trim().is_empty());
        let alternate =
            self.roles().iter().enumerate().all(|(at, role)| *role == ["user", "assistant"][at % 2]);
        alternate && self.body["messages"].as_array().is_some_and(|messages| messages.iter().all(says))
    }
}

#[derive(Debug)]
pub struct Provider {
    pub base_url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    serving: tokio::task::JoinHandle<()>,
}

/// The replies of each question.
type Rows = Vec<(&'static str, Vec<Reply>)>;

impl Provider {
    /// Every question has these replies.
    pub async fn start(replies: Vec<Reply>) -> Self {
        Self::start_with(vec![("", replies)], None).await
    }

    /// The row answers whose name the question is, or one without a name.
    pub async fn start_rows(rows: Rows) -> Self {
        Self::start_with(rows, None).await
    }

    /// With TLS, for `localhost`. The certificate of who vouches for it, as PEM, is the second.
    pub async fn start_with_tls(replies: Vec<Reply>) -> (Self, String) {
        let authority = Authority::new();
        let leaf = authority.issue(&["localhost"]);
        let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("a key");
        let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a key for its certificate")));
        (Self::start_with(vec![("", replies)], Some(acceptor)).await, authority.pem())
    }

    async fn start_with(rows: Rows, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let base_url = match tls {
            Some(_) => format!("https://localhost:{port}/v1"),
            None => format!("http://127.0.0.1:{port}/v1"),
        };
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let (seen_by_task, rows) = (seen.clone(), Arc::new(rows));
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen_by_task, rows, tls) = (seen_by_task.clone(), rows.clone(), tls.clone());
                // One request for each connection.
                connections.spawn(async move {
                    match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, &rows, &seen_by_task).await.ok(),
                            Err(_) => None,
                        },
                        None => answer(stream, &rows, &seen_by_task).await.ok(),
                    }
                });
            }
        });
        Self { base_url, seen, serving }
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When this question was asked.
    pub fn asked(&self, question: &str) -> Vec<Instant> {
        let seen = self.seen();
        seen.iter().filter(|request| request.question() == question).map(|request| request.at).collect()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whatever chunks say, one event each.
pub fn events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

/// A piece of text, perhaps with a finish reason.
pub fn chunk(text: &str, reason: Value) -> Value {
    let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": reason});
    json!({"object": "chat.completion.chunk", "choices": [choice]})
}

/// The mark that nothing follows.
pub const DONE: &str = "data: [DONE]\n\n";

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n";

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    rows: &Rows,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    let (request, reply) = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |request: &Request| {
            rows.iter().position(|(name, _)| name.is_empty() || request.question() == *name)
        };
        let found = row(&request).ok_or(std::io::ErrorKind::NotFound)?;
        let before = seen.iter().filter(|earlier| row(earlier) == Some(found)).count();
        seen.push(request.clone());
        let replies = &rows[found].1;
        (request, replies[before.min(replies.len() - 1)].clone())
    };
    let parts = |texts: &[&str]| {
        let pieces: Vec<Value> = texts.iter().map(|text| chunk(text, Value::Null)).collect();
        events(&pieces)
    };
    let whole =
        |texts: &[&str]| format!("{STREAM}\r\n{}{}{DONE}", parts(texts), events(&[chunk("", "stop".into())]));
    let refusal = |status: u16, headers: &str| {
        let body = json!({"error": {"message": "the provider says no", "type": "test"}}).to_string();
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let bytes = match reply {
        Reply::Parts(texts) => whole(&texts),
        Reply::Status(status, "") => refusal(status, ""),
        Reply::Status(status, retry_after) => refusal(status, &format!("retry-after: {retry_after}\r\n")),
        Reply::StatusUntil(status, seconds) => {
            let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
            refusal(status, &format!("retry-after: {date}\r\n"))
        }
        Reply::Broken(texts) => format!("{STREAM}content-length: 100000\r\n\r\n{}", parts(&texts)),
        Reply::Stream(body) => format!("{STREAM}\r\n{body}"),
        Reply::Raw(head, body) => format!("{head}\r\nconnection: close\r\n\r\n{body}"),
        Reply::Strict(texts) if request.is_strictly_alternating() => whole(&texts),
        Reply::Strict(_) => refusal(400, ""),
        Reply::Silence(body) => {
            stream.write_all(format!("{STREAM}\r\n{body}").as_bytes()).await?;
            stream.flush().await?;
            // The client's end is all that can come.
            return stream.read(&mut [0]).await.map(drop);
        }
    };
    stream.write_all(bytes.as_bytes()).await?;
    stream.shutdown().await
}

/// Longer than a request takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Request> {
    let mut bytes = vec![];
    let mut chunk = [0; 4096];
    loop {
        let read = tokio::time::timeout(REQUEST_TIMEOUT, stream.read(&mut chunk)).await;
        let length = read.map_err(|_| std::io::ErrorKind::TimedOut)??;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_str(body) {
            return Ok(Request { head: head.to_owned(), body, at: Instant::now() });
        }
    }
}
