//! A worker, a follower, and a network between them that a test controls.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, Stream, StreamExt};
use mainstem::TokioEnv;
use mainstem_machine::{ChatId, Episode, Lease, Part, RelayFault, RelayFrame, ReplicaId, Seq, Version};
use mainstem_runtime::ports::Env;
use mainstem_runtime::relay::{Follow, Peers, RelayServer, RelaySource, RelayStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

pub(crate) const SECRET: &[u8] = b"what all replicas of a cluster know";
/// Long enough for anything that takes no time of its own, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// How a worker answers.
type Serve = fn(&TokioEnv, TcpListener, Arc<[u8]>, Arc<Source>) -> RelayServer;

pub(crate) struct World {
    pub(crate) source: Arc<Source>,
    pub(crate) server: Option<RelayServer>,
    /// The server's own address.
    pub(crate) address: String,
    /// The proxy between the two.
    pub(crate) proxy: Proxy,
    pub(crate) peers: Peers<TokioEnv>,
    /// The worker is of an earlier release.
    pub(crate) is_earlier: bool,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(RelayServer::serve, false).await
    }

    /// One whose worker is of this release, and one where it is of an earlier one.
    pub(crate) async fn of_each_release() -> [Self; 2] {
        [Self::start().await, Self::start_with(RelayServer::serve_calls, true).await]
    }

    async fn start_with(serve: Serve, is_earlier: bool) -> Self {
        let env = TokioEnv::new();
        let source = Arc::new(Source::default());
        // Small buffers here and at the proxy: less than what may be on its way, so that a stall reaches the worker.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(32 * 1024).unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = env.local_address(&listener).unwrap();
        let server = serve(&env, listener, SECRET.into(), source.clone());
        let proxy = Proxy::start(address.clone()).await;
        Self { source, server: Some(server), address, proxy, peers: peers_with(SECRET), is_earlier }
    }

    /// Follows through the proxy, one at a time.
    pub(crate) async fn follow(&self, chat: u128) -> (Worker, RelayStream) {
        let stream = self.peers.follow(&self.proxy.address, follow(chat)).await.expect("the worker agrees");
        (self.source.worker().await, stream)
    }
}

pub(crate) fn peers_with(secret: &[u8]) -> Peers<TokioEnv> {
    Peers::new(TokioEnv::new(), secret.into())
}

pub(crate) fn follow(chat: u128) -> Follow {
    Follow {
        chat: ChatId(Uuid::from_u128(chat)),
        follower: ReplicaId::new("follower").unwrap(),
        worker: ReplicaId::new("worker").unwrap(),
        position: None,
        takes_blocks: true,
        traceparent: None,
    }
}

pub(crate) fn episode() -> Episode {
    Episode { history_version: Version(1), attempt: 1 }
}

pub(crate) fn opened() -> RelayFrame {
    RelayFrame::Opened { episode: episode(), lease: Lease(1) }
}

pub(crate) fn part(seq: u64, text: &str) -> RelayFrame {
    parts(seq, [text])
}

pub(crate) fn parts<'a>(first_seq: u64, parts: impl IntoIterator<Item = &'a str>) -> RelayFrame {
    let parts = parts.into_iter().map(|text| Part::piece(text.to_owned())).collect();
    RelayFrame::Parts { episode: episode(), first_seq: Seq(first_seq), parts }
}

pub(crate) fn text_of(frame: Result<RelayFrame, RelayFault>) -> Vec<u8> {
    match frame.expect("no fault") {
        RelayFrame::Parts { parts, .. } => parts.iter().flat_map(|part| part.text.to_vec()).collect(),
        other => panic!("expected parts, got {other:?}"),
    }
}

pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

pub(crate) async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let ends = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < ends, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What the source does with new follows.
#[derive(Clone, Copy, Default)]
pub(crate) enum Script {
    /// A stream that the test feeds through its [`Worker`].
    #[default]
    Fed,
    /// Parts without end, as fast as they are taken.
    Flood,
    /// No answer.
    Undecided,
    Refuse(RelayFault),
}

#[derive(Default)]
pub(crate) struct Source {
    script: Mutex<Script>,
    workers: Mutex<Vec<Worker>>,
    asked: AtomicUsize,
    live: Arc<AtomicUsize>,
    undecided: Arc<AtomicUsize>,
    flooded: Arc<AtomicUsize>,
}

impl Source {
    pub(crate) fn script(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    pub(crate) async fn worker(&self) -> Worker {
        soon("a worker agreed", || !self.workers.lock().unwrap().is_empty()).await;
        self.workers.lock().unwrap().remove(0)
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The number of streams.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    pub(crate) fn undecided(&self) -> usize {
        self.undecided.load(Ordering::SeqCst)
    }

    /// The amount of text taken from floods.
    pub(crate) fn flooded(&self) -> usize {
        self.flooded.load(Ordering::SeqCst)
    }
}

impl RelaySource for Source {
    async fn follow(&self, _request: Follow) -> Result<BoxStream<'static, RelayFrame>, RelayFault> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let script = *self.script.lock().unwrap();
        match script {
            Script::Fed => {
                let (frames, taken) = mpsc::channel(64);
                self.workers.lock().unwrap().push(Worker(frames));
                Ok(Fed { frames: taken, _counted: Counted::new(&self.live) }.boxed())
            }
            Script::Flood => {
                let flooded = self.flooded.clone();
                let counted = Counted::new(&self.live);
                let flood = futures::stream::iter(1..).map(move |seq| {
                    let _ = &counted;
                    flooded.fetch_add(1000, Ordering::SeqCst);
                    part(seq, &"x".repeat(1000))
                });
                Ok(flood.boxed())
            }
            Script::Undecided => {
                let _counted = Counted::new(&self.undecided);
                std::future::pending().await
            }
            Script::Refuse(fault) => Err(fault),
        }
    }
}

/// Counts while it exists.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Fed {
    frames: mpsc::Receiver<RelayFrame>,
    _counted: Counted,
}

impl Stream for Fed {
    type Item = RelayFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RelayFrame>> {
        self.frames.poll_recv(cx)
    }
}

/// The worker's end of one follow.
pub(crate) struct Worker(mpsc::Sender<RelayFrame>);

impl Worker {
    pub(crate) async fn say(&self, frame: RelayFrame) {
        self.0.send(frame).await.expect("somebody follows");
    }

    /// Whether the follower is gone.
    pub(crate) fn is_left(&self) -> bool {
        self.0.is_closed()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum LinkState {
    Fair,
    Stalled,
    AnswersStalled,
    Corrupting,
    /// Connections up to this number are cut.
    Cut(usize),
}

/// The network: a listener that forwards bytes, or applies a fault.
pub(crate) struct Proxy {
    pub(crate) address: String,
    link_state: watch::Sender<LinkState>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (link_state, seen) = watch::channel(LinkState::Fair);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            let mut links = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let target = target.clone();
                let mut seen = seen.clone();
                links.spawn(async move {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.set_recv_buffer_size(64 * 1024).unwrap();
                    let far = socket.connect(target.parse().unwrap()).await.unwrap();
                    near.set_nodelay(true).unwrap();
                    far.set_nodelay(true).unwrap();
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    let cut = seen.clone();
                    let there = pass(near_in, far_out, seen.clone(), &[LinkState::Stalled]);
                    let back = pass(far_in, near_out, cut, &[LinkState::Stalled, LinkState::AnswersStalled]);
                    tokio::select! {
                        biased;
                        _ = seen.wait_for(|w| matches!(w, LinkState::Cut(upto) if number <= *upto)) => {}
                        () = there => {}
                        () = back => {}
                    }
                });
            }
        });
        Self { address, link_state, connections, task }
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Silently forwards nothing.
    pub(crate) fn stall(&self) {
        self.link_state.send_replace(LinkState::Stalled);
    }

    /// Forwards requests, but no answers.
    pub(crate) fn stall_answers(&self) {
        self.link_state.send_replace(LinkState::AnswersStalled);
    }

    pub(crate) fn resume(&self) {
        self.link_state.send_replace(LinkState::Fair);
    }

    /// Corrupts all bytes.
    pub(crate) fn corrupt(&self) {
        self.link_state.send_replace(LinkState::Corrupting);
    }

    /// Ends all current connections.
    pub(crate) fn cut(&self) {
        self.link_state.send_replace(LinkState::Cut(self.connections()));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut link_state: watch::Receiver<LinkState>,
    stalled: &[LinkState],
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        if link_state.wait_for(|link_state| !stalled.contains(link_state)).await.is_err() {
            return;
        }
        let read = match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if link_state.wait_for(|link_state| !stalled.contains(link_state)).await.is_err() {
            return;
        }
        if *link_state.borrow() == LinkState::Corrupting {
            bytes[..read].fill(0xa5);
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
