//! A set of keys behind a URL, as an issuer of tokens has it: what it answers can be changed, and it counts who asks.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What it does when it is asked.
#[derive(Clone, Debug)]
pub enum Says {
    /// This status and body.
    Answer(u16, String),
    /// Nothing, for ever.
    Nothing,
}

#[derive(Debug, Default)]
struct Shared {
    says: Option<Says>,
    asked: usize,
}

#[derive(Debug)]
pub struct KeySet {
    pub port: u16,
    shared: Arc<Mutex<Shared>>,
    serving: JoinHandle<()>,
}

impl KeySet {
    /// One with these keys, on this port, or on a free one.
    pub async fn start_on(port: u16, keys: &[Value]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::<Mutex<Shared>>::default();
        let serving = tokio::spawn(serve(listener, shared.clone()));
        let set = Self { port, shared, serving };
        set.has(keys);
        set
    }

    pub async fn start(keys: &[Value]) -> Self {
        Self::start_on(0, keys).await
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/jwks.json", self.port)
    }

    /// From now on it has these keys.
    pub fn has(&self, keys: &[Value]) {
        self.says(Says::Answer(200, json!({"keys": keys}).to_string()));
    }

    pub fn says(&self, says: Says) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).says = Some(says);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).asked
    }
}

impl Drop for KeySet {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let (mut head, mut chunk) = (vec![], [0; 1024]);
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut chunk).await {
                    Ok(length @ 1..) => head.extend_from_slice(&chunk[..length]),
                    _ => return,
                }
            }
            let says = {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.asked += 1;
                shared.says.clone()
            };
            let Some(Says::Answer(status, body)) = says else {
                return std::future::pending().await;
            };
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok();
            stream.write_all(body.as_bytes()).await.ok();
        });
    }
}
