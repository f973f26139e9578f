//! A provider for tests. It speaks HTTP/1.1 over real TCP, and misbehaves as its scripts say. The n-th
//! request gets the n-th script, and every later one the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// The same again and again, so far apart, until nobody takes it.
    Repeat(Vec<u8>, Duration),
    /// Nothing, until the test says go.
    Await(Arc<Semaphore>),
    Sleep(Duration),
    /// Waits until the client disconnects.
    Hang,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
}

/// What a test learns from the provider.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Request {
        head: String,
        body: Value,
    },
    /// The client closed the connection while it was being answered.
    ClientGone,
}

pub(crate) struct Provider {
    pub(crate) base_url: String,
    /// Requests that are being answered.
    open: Arc<AtomicUsize>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Provider {
    pub(crate) async fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (report, seen) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let world = World { scripts, started: AtomicUsize::new(0), open: open.clone(), report };
        tokio::spawn(async move {
            let world = Arc::new(world);
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(world.clone().serve(stream));
            }
        });
        Self { base_url, open, seen }
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// The next thing that happened.
    pub(crate) async fn seen(&mut self) -> Seen {
        tokio::time::timeout(Duration::from_secs(20), self.seen.recv())
            .await
            .expect("the provider sees something within 20 s")
            .expect("the provider lives as long as its test")
    }
}

struct World {
    scripts: Vec<Vec<Act>>,
    started: AtomicUsize,
    open: Arc<AtomicUsize>,
    report: mpsc::UnboundedSender<Seen>,
}

impl World {
    /// Answers the requests of one connection.
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some((head, body)) = read_request(&mut stream).await {
            self.open.fetch_add(1, SeqCst);
            let number = self.started.fetch_add(1, SeqCst).min(self.scripts.len() - 1);
            let _ = self.report.send(Seen::Request { head, body });
            let goes_on = self.answer(&mut stream, &self.scripts[number]).await;
            self.open.fetch_sub(1, SeqCst);
            if !goes_on {
                return;
            }
        }
    }

    /// Whether the connection takes another request.
    async fn answer(&self, stream: &mut TcpStream, script: &[Act]) -> bool {
        let (mut reader, mut writer) = stream.split();
        let play = async {
            for act in script {
                match act {
                    Act::Send(bytes) => writer.write_all(bytes).await?,
                    Act::Repeat(bytes, pause) => loop {
                        writer.write_all(bytes).await?;
                        tokio::time::sleep(*pause).await;
                    },
                    Act::Await(go) => go.acquire().await.unwrap().forget(),
                    Act::Sleep(duration) => tokio::time::sleep(*duration).await,
                    Act::Hang => std::future::pending().await,
                    Act::Close => return Ok(Some(Act::Close)),
                    Act::Reset => return Ok(Some(Act::Reset)),
                }
            }
            std::io::Result::Ok(None)
        };
        let mut byte = [0];
        let end = tokio::select! {
            end = play => end,
            // The client sends no further request before it was answered, so only its end can come.
            read = reader.read(&mut byte) => {
                assert!(!matches!(read, Ok(1)), "the client sent more than its request");
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
        };
        match end {
            Ok(None) => return true,
            Ok(Some(Act::Reset)) => stream.set_zero_linger().unwrap(),
            Ok(Some(_)) => {}
            Err(_) => {
                let _ = self.report.send(Seen::ClientGone);
            }
        }
        false
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = vec![];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let total = head_end + length.expect("a request has a length");
    while bytes.len() < total {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, serde_json::from_slice(&bytes[head_end..total]).unwrap()))
}

/// The head of an answer whose body comes in chunks.
pub(crate) fn head() -> Act {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    Act::Send(head.into())
}

/// One chunk of the body.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(chunk_bytes(bytes))
}

pub(crate) fn chunk_bytes(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The end of the body.
pub(crate) fn end() -> Act {
    Act::Send(b"0\r\n\r\n".to_vec())
}

/// A complete answer that is not a stream.
pub(crate) fn plain(status: &str, kind: &str, body: &str) -> Vec<Act> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    vec![Act::Send([head, body.into()].concat().into())]
}
