//! A web site of somebody else's: pages that were there when it was started, and nothing more.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A path, a media type, and what is there.
pub type Page = (Cow<'static, str>, &'static str, Vec<u8>);

/// A request's head is no longer than this.
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub struct WebSite {
    pub origin: String,
    serving: JoinHandle<()>,
}

impl WebSite {
    pub async fn start(pages: Vec<Page>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("it is bound"));
        let pages = Arc::new(pages);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let pages = Arc::clone(&pages);
                connections.spawn(async move { serve(stream, &pages).await.ok() });
            }
        });
        Self { origin, serving }
    }
}

impl Drop for WebSite {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, pages: &[Page]) -> std::io::Result<()> {
    let (mut head, mut bytes) = (vec![], [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut bytes).await?;
        if length == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(&bytes[..length]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).and_then(|target| target.split('?').next()).unwrap_or_default();
    let page = pages.iter().find(|(there, ..)| *there == path);
    let (status, kind, body) =
        page.map_or(("404 Not Found", "text/plain", &[][..]), |(_, kind, body)| ("200 OK", kind, body));
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}
