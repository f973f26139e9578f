//! A replica as a whole, seen by a peer that follows: who is answered, and what one costs who is not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::join_all;
use mainstem::TokioEnv;
use mainstem::adapters::{LocalBus, SqliteStore};
use mainstem_machine::{
    ChatId, Command, Content, Ending, MessageId, NewMessage, RelayFault, ReplicaId, Resume, Time, Turn,
};
use mainstem_runtime::demo::Demo;
use mainstem_runtime::ports::{
    Applied, CachedVersions, Env, Fault, HeartbeatReport, Held, Listed, Listing, NoTools, Page, Ports,
    ReplicaRow, Request, Snapshot, Stale, Store, SyncReport, SyncRequest, TaskHandle, Ticket, Untraced,
};
use mainstem_runtime::relay::Follow;
use mainstem_runtime::{Next, Node, NodeConfig, RelayConfig, Viewer};
use uuid::Uuid;

use crate::world::{SECRET, peers_with, soon, within};

const UNKNOWN_CHATS: usize = 30_000;
/// Follows that are asked for at once.
const AT_ONCE: usize = 1000;

/// A database that counts its reads of chats, and whose driver may have a defect.
struct Watched {
    inner: SqliteStore,
    reads: AtomicUsize,
    is_broken: AtomicBool,
}

#[async_trait]
impl Store for Watched {
    async fn apply(&self, request: &Request) -> Result<Applied, Fault> {
        self.inner.apply(request).await
    }

    async fn snapshot(&self, chat: ChatId, known: Option<CachedVersions>) -> Result<Option<Snapshot>, Fault> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.snapshot(chat, known).await
    }

    async fn page(
        &self,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        self.inner.page(chat, after, until, limit).await
    }

    async fn turn(&self, chat: ChatId, turn: MessageId) -> Result<Option<Turn>, Fault> {
        self.inner.turn(chat, turn).await
    }

    async fn message_ids(
        &self,
        chat: ChatId,
        first: MessageId,
        last: MessageId,
    ) -> Result<Vec<MessageId>, Fault> {
        self.inner.message_ids(chat, first, last).await
    }

    async fn list(
        &self,
        user: &str,
        listing: Listing,
        before: Option<ChatId>,
        limit: usize,
    ) -> Result<Listed, Fault> {
        self.inner.list(user, listing, before, limit).await
    }

    async fn stale(&self, after: Option<ChatId>, idle_for: Duration, limit: usize) -> Result<Stale, Fault> {
        self.inner.stale(after, idle_for, limit).await
    }

    async fn named_chat(&self, owner: &str, external_id: &str) -> Result<Option<ChatId>, Fault> {
        self.inner.named_chat(owner, external_id).await
    }

    async fn heartbeat(&self, replica: &ReplicaRow, held: &[Held]) -> Result<HeartbeatReport, Fault> {
        self.inner.heartbeat(replica, held).await
    }

    async fn deregister(&self, replica: &ReplicaRow) -> Result<(), Fault> {
        self.inner.deregister(replica).await
    }

    async fn sync(&self, request: &SyncRequest) -> Result<SyncReport, Fault> {
        assert!(!self.is_broken.load(Ordering::SeqCst), "a defect of the driver");
        self.inner.sync(request).await
    }

    async fn secret(&self, fresh: &[u8]) -> Result<Vec<u8>, Fault> {
        self.inner.secret(fresh).await
    }

    async fn keep_ticket(&self, ticket: &Ticket) -> Result<bool, Fault> {
        self.inner.keep_ticket(ticket).await
    }

    async fn take_ticket(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, Fault> {
        self.inner.take_ticket(digest).await
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.inner.ping().await
    }
}

struct Replica<E: Env> {
    node: Node<E>,
    store: Arc<Watched>,
    address: String,
    _folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn replica() -> Replica<TokioEnv> {
    replica_in(TokioEnv::new()).await
}

async fn replica_in<E: Env>(env: E) -> Replica<E> {
    let folder = std::env::temp_dir().join(format!("mainstem-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).expect("a folder");
    let url = format!("sqlite:{}", folder.join("chats.db").display());
    let inner = SqliteStore::open(&url, Duration::from_secs(3)).await.expect("a database");
    let store = Arc::new(Watched { inner, reads: AtomicUsize::new(0), is_broken: AtomicBool::new(false) });
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = probe.local_addr().expect("it is bound").to_string();
    drop(probe);
    let config = NodeConfig {
        replica: ReplicaId::new("worker").expect("an id"),
        incarnation: 1,
        workers: 4,
        lease_ttl: Duration::from_secs(3),
        heartbeat: Duration::from_millis(500),
        poll_interval: Duration::from_millis(200),
        drain_timeout: Duration::from_secs(1),
        episode_bytes_max: 1 << 20,
        tool_steps_max: 32,
        relay: Some(RelayConfig { listen: address.clone(), advertise: None, secret: SECRET.into() }),
        recording: None,
    };
    let demo = Arc::new(Demo::new(env.clone(), || 0));
    let bus = Arc::new(LocalBus::default());
    let ports = Ports {
        store: store.clone(),
        bus,
        generator: demo,
        tools: Arc::new(NoTools),
        hops: Arc::new(Untraced),
    };
    let node = Node::start(env, config, ports).await.expect("it starts");
    soon("it is ready", || node.is_ready()).await;
    Replica { node, store, address, _folder: Folder(folder) }
}

fn follow(chat: ChatId) -> Follow {
    let id = |id: &str| ReplicaId::new(id).expect("an id");
    Follow {
        chat,
        follower: id("follower"),
        worker: id("worker"),
        position: None,
        takes_blocks: true,
        traceparent: None,
    }
}

impl<E: Env> Replica<E> {
    async fn run_chat(&self, said: &str) -> ChatId {
        let chat = ChatId(Uuid::now_v7());
        let content = Some(Content::text(said));
        let create = Command::Create {
            chat,
            owner: "ann".into(),
            settings: Default::default(),
            messages: NewMessage::opening(content),
        };
        self.node.execute(&"ann".into(), chat, create, None).await.expect("it is created");
        chat
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_of_chats_that_nobody_works_on_open_no_hub_and_ask_no_database() {
    let replica = replica().await;
    let peers = peers_with(SECRET);
    let reads = replica.store.reads.load(Ordering::SeqCst);
    for first in (0..UNKNOWN_CHATS).step_by(AT_ONCE) {
        let asked = (0..AT_ONCE)
            .map(|at| peers.follow(&replica.address, follow(ChatId(Uuid::from_u128((first + at) as u128)))));
        for answer in join_all(asked).await {
            assert_eq!(answer.err(), Some(RelayFault::NotWorker), "B1");
        }
        assert_eq!(replica.node.open_hubs(), 0, "B1: no hub for a stranger's chat");
    }
    assert_eq!(replica.store.reads.load(Ordering::SeqCst), reads, "B3: the database is left alone");
    // What is worked on is followed all the same, also while nobody else watches.
    let chat = replica.run_chat("/demo parts=100 interval=20ms").await;
    soon("it is worked on", || replica.node.open_hubs() == 1).await;
    let mut stream = peers.follow(&replica.address, follow(chat)).await.expect("L5: it is the worker");
    assert!(stream.next().await.is_some_and(|frame| frame.is_ok()), "L1");
    replica.node.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_own_task_dies_says_so_and_sends_its_viewers_elsewhere() {
    let replica = replica().await;
    let chat = replica.run_chat("/demo parts=1000 interval=20ms").await;
    let mut viewer = replica.node.subscribe(&"ann".into(), chat, Resume::Fresh).await.expect("it is ann's");
    replica.store.is_broken.store(true, Ordering::SeqCst);
    let failed = within(Duration::from_secs(5), replica.node.failure()).await;
    assert_eq!((failed, replica.node.is_ready()), (Some("replica"), false));
    let abandoned = replica.node.clone();
    tokio::spawn(async move { abandoned.abandon().await });
    let ended = within(Duration::from_secs(10), until_ended(&mut viewer)).await;
    assert_eq!(ended, Some(Ending::Leaving), "L5");
}

async fn until_ended<E: Env>(viewer: &mut Viewer<E>) -> Ending {
    loop {
        if let Next::End(ending) = viewer.next().await {
            return ending;
        }
    }
}

/// An environment whose clock may jump back by an hour.
#[derive(Clone, Debug)]
struct Jumping {
    inner: TokioEnv,
    has_jumped: Arc<AtomicBool>,
}

impl Env for Jumping {
    type Stream = <TokioEnv as Env>::Stream;
    type Listener = <TokioEnv as Env>::Listener;
    type Sleep = <TokioEnv as Env>::Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.inner.spawn(task)
    }

    fn now(&self) -> Time {
        let hour = if self.has_jumped.load(Ordering::SeqCst) { 0 } else { 3600 };
        self.inner.now() + Duration::from_secs(hour)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.inner.sleep(duration)
    }

    async fn listen(&self, address: &str) -> io::Result<Self::Listener> {
        self.inner.listen(address).await
    }

    fn local_address(&self, listener: &Self::Listener) -> io::Result<String> {
        self.inner.local_address(listener)
    }

    fn accept<'a>(
        &self,
        listener: &'a mut Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send + use<'a> {
        self.inner.accept(listener)
    }

    async fn connect(&self, address: &str) -> io::Result<Self::Stream> {
        self.inner.connect(address).await
    }

    fn entropy(&self) -> u64 {
        self.inner.entropy()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_machine_panics_at_everything_sends_its_viewers_and_followers_elsewhere() {
    let has_jumped = Arc::new(AtomicBool::new(false));
    let replica = replica_in(Jumping { inner: TokioEnv::new(), has_jumped: has_jumped.clone() }).await;
    let (mut viewers, mut followers) = (vec![], vec![]);
    let peers = peers_with(SECRET);
    for _ in 0..3 {
        let chat = replica.run_chat("/demo parts=1000 interval=20ms").await;
        let viewer = replica.node.subscribe(&"ann".into(), chat, Resume::Fresh).await;
        viewers.push(viewer.expect("it is ann's"));
        let running = async {
            while peers
                .follow(&replica.address, follow(chat))
                .await
                .map(|stream| followers.push(stream))
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(Duration::from_secs(5), running).await.expect("it is worked on");
    }
    // Every event is one too many for the replica's machine from now on.
    has_jumped.store(true, Ordering::SeqCst);
    let failed = within(Duration::from_secs(5), replica.node.failure()).await;
    assert_eq!((failed, replica.node.is_ready()), (Some("replica"), false));
    let abandoned = replica.node.clone();
    let abandoning = tokio::spawn(async move { abandoned.abandon().await });
    for viewer in &mut viewers {
        assert_eq!(within(Duration::from_secs(10), until_ended(viewer)).await, Some(Ending::Leaving), "L5");
    }
    for follower in &mut followers {
        let ended = async { while let Some(Ok(_)) = follower.next().await {} };
        within(Duration::from_secs(10), ended).await.expect("L5: the follower's stream ends");
    }
    within(Duration::from_secs(10), abandoning).await.expect("it ends").expect("it does not panic");
}
