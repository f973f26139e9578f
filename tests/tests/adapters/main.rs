//! The production adapters of database and bus: the contract suites, and real failures of a database, which
//! terminates connections, stops answering, and comes back.

mod batches;
mod buses;
mod commits;
mod endings;
mod idempotency;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::StreamExt;
use mainstem::adapters::{LocalBus, SqliteStore, open, open_with};
use mainstem::config::{Bus as Choice, Pooler as Shared};
use mainstem_machine::{
    ChatId, Command as ChatCommand, Content, Lease, NewMessage, ReplicaId, Status, Version,
};
use mainstem_runtime::contract::{bus, store};
use mainstem_runtime::ports::{Bus, BusSubscription, Fault, Held, Notice, ReplicaRow, Request, Store, Topic};
use mainstem_tests::pooler::Pooler;
use mainstem_tests::postgres::Postgres;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// Short, so that tests can wait for it.
const LEASE_TTL: Duration = Duration::from_millis(900);
const SEEDS: u64 = 4;
/// Long enough for anything that happens at all.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The longest time of a call, whatever the database does.
const CALL_MAX: Duration = Duration::from_secs(10);

fn sleeps() -> store::Sleep {
    Arc::new(|duration| Box::pin(sleep(duration)))
}

/// A directory that is gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mainstem-adapters-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.join("test.db").display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn create(chat: ChatId) -> Request {
    let content = Some(Content::text("hello"));
    let command = ChatCommand::Create {
        chat,
        owner: "ada".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    };
    Request { chat, command, by: None, idempotency_key: None }
}

fn fresh_id() -> ChatId {
    static MADE: AtomicU64 = AtomicU64::new(1);
    ChatId(Uuid::from_u128((0x7000_u128 << 64) | u128::from(MADE.fetch_add(1, Ordering::Relaxed))))
}

fn notice(chat: ChatId, version: u64) -> Notice {
    Notice {
        chat,
        snapshot_version: Version(version),
        history_version: Version(0),
        queue_version: Version(0),
        status: Status::Running,
        free: false,
        deleted: false,
        row: None,
    }
}

/// Retries until it works, as a machine would.
async fn eventually<T, E: std::fmt::Debug>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(error) if Instant::now() > deadline => panic!("{what} does not come back: {error:?}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn ended(subscription: &mut BusSubscription) {
    let end = async { while subscription.next().await.is_some() {} };
    timeout(WAIT_MAX, end).await.expect("L1: a lost subscription ends, so that its owner polls");
}

async fn delivers(bus: &Arc<dyn Bus>, subscription: &mut BusSubscription, notice: Notice) {
    eventually("publishing", async || bus.publish(notice.clone()).await).await;
    let received = timeout(WAIT_MAX, subscription.next()).await.expect("a notice arrives");
    assert_eq!(received, Some(notice));
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let scratch = Scratch::new();
    let (sqlite, _) = open(&scratch.url(), LEASE_TTL).await.unwrap();
    store::all(&store::Subject::new(sqlite, LEASE_TTL, sleeps()), SEEDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_the_contract() {
    let postgres = Postgres::shared().unwrap();
    let (store, bus) = open(&postgres.fresh_database().unwrap(), LEASE_TTL).await.unwrap();
    store::all(&store::Subject::new(store, LEASE_TTL, sleeps()), SEEDS).await;
    bus::all(&bus::Subject { bus, sleep: sleeps() }).await;
}

/// Each transaction has another session than the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_behind_a_pooler_of_transactions_keeps_the_contract() {
    let postgres = Postgres::shared().unwrap();
    let pooler = Pooler::that_mixes_sessions(&postgres).unwrap();
    let url = pooler.url(&postgres.fresh_database().unwrap(), postgres.port());
    let store = pooled(&url).await.unwrap();
    store::all(&store::Subject::new(store, LEASE_TTL, sleeps()), SEEDS).await;
}

async fn pooled(url: &str) -> anyhow::Result<Arc<dyn Store>> {
    open_with(url, LEASE_TTL, 8, Shared::Transaction, &Choice::Local).await.map(|(store, _)| store)
}

/// Whether they have a session or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_behind_poolers_and_before_them_migrate_once() {
    let postgres = Postgres::shared().unwrap();
    let pooler = Pooler::that_mixes_sessions(&postgres).unwrap();
    for _ in 0..3 {
        let direct = postgres.fresh_database().unwrap();
        let through = pooler.url(&direct, postgres.port());
        let opened: Vec<_> = (0..8)
            .map(|number| {
                let (direct, through) = (direct.clone(), through.clone());
                tokio::spawn(async move {
                    match number % 2 {
                        0 => open(&direct, LEASE_TTL).await.map(drop),
                        _ => pooled(&through).await.map(drop),
                    }
                })
            })
            .collect();
        for outcome in futures::future::join_all(opened).await {
            outcome.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn the_bus_within_a_process_keeps_the_contract() {
    bus::all(&bus::Subject { bus: Arc::new(LocalBus::default()), sleep: sleeps() }).await;
}

#[tokio::test]
async fn a_second_server_on_a_sqlite_file_is_refused_while_the_first_is_there() {
    let scratch = Scratch::new();
    let chat = fresh_id();
    let first = SqliteStore::open(&scratch.url(), LEASE_TTL).await.unwrap();
    first.apply(&create(chat)).await.unwrap();
    let link = scratch.0.join("link.db");
    std::os::unix::fs::symlink(scratch.0.join("test.db"), &link).unwrap();
    for url in [scratch.url(), format!("sqlite:{}", link.display())] {
        let error = SqliteStore::open(&url, LEASE_TTL).await.expect_err("S5: one file, one server");
        assert!(error.to_string().contains("in use by another mainstem"), "{error:#}");
    }
    drop(first);
    let second = SqliteStore::open(&scratch.url(), LEASE_TTL).await.unwrap();
    let snapshot = second.snapshot(chat, None).await.unwrap().expect("S6: what was accepted is kept");
    assert_eq!(snapshot.state.snapshot_version, Version(1));
}

#[tokio::test]
async fn a_dropped_call_leaves_sqlite_usable() {
    let scratch = Scratch::new();
    let sqlite = SqliteStore::open(&scratch.url(), LEASE_TTL).await.unwrap();
    let mut dropped = [0, 0];
    for round in 0..50 {
        let chat = fresh_id();
        let request = create(chat);
        // Dropped at one step or another. A thread of its own works for it meanwhile.
        let mut call = sqlite.apply(&request);
        let mut in_flight = true;
        for step in 0..=round % 10 {
            std::thread::sleep(Duration::from_micros(100) * step);
            in_flight = in_flight && futures::poll!(&mut call).is_pending();
        }
        drop(call);
        sqlite.apply(&create(fresh_id())).await.unwrap();
        // The outcome is unknown, but definite.
        let known = sqlite.snapshot(chat, None).await.unwrap();
        dropped[usize::from(known.is_some())] += usize::from(in_flight);
        let again = sqlite.apply(&request).await.unwrap();
        assert_eq!(known.is_none(), again.change().is_some(), "{again:?}");
    }
    assert!(dropped[0] >= 5, "calls were dropped, before their commit and after it: {dropped:?}");
}

#[tokio::test]
async fn what_is_no_database_is_refused_in_one_line() {
    let scratch = Scratch::new();
    let broken = scratch.0.join("broken.db");
    std::fs::write(&broken, "this is no database, and longer than its header would be ".repeat(9)).unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, says) in [
        ("mainstem.db".to_owned(), "sqlite:FILE"),
        ("mysql://localhost/x".to_owned(), "sqlite:FILE"),
        ("sqlite::memory:".to_owned(), "memory"),
        (format!("sqlite:{}", broken.display()), "not a database"),
        (format!("sqlite:{}/nowhere/a.db", scratch.0.display()), "nowhere"),
        ("postgres://host:port/name".to_owned(), "postgres://USER@HOST/NAME"),
        (format!("postgres://u:hidden@127.0.0.1:{unused}/name"), "cannot connect"),
    ] {
        let Err(error) = open(&url, LEASE_TTL).await else { panic!("{url} is refused") };
        let received = format!("{error:#}");
        assert!(received.contains(says), "{url}: {received}");
        assert!(!received.contains('\n') && !received.contains("hidden"), "{url}: {received}");
    }
}

#[tokio::test]
async fn a_later_schema_is_worked_on_unless_it_bars_earlier_releases() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let database = url.rsplit('/').next().unwrap();
    let later = |version: u32| {
        let insert = "INSERT INTO mainstem_migrations (version, description, success, checksum, execution_time) VALUES";
        postgres.sql(database, &format!("{insert} ({version}, 'from the future', true, '', 0)")).unwrap();
    };
    drop(open(&url, LEASE_TTL).await.unwrap());
    later(999);
    drop(open(&url, LEASE_TTL).await.expect("a rollback starts"));
    later(1000);
    let Err(error) = open(&url, LEASE_TTL).await else {
        panic!("a schema that bars this release is refused")
    };
    assert!(format!("{error:#}").contains("schema version 1000"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_at_once_migrate_once() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let opened: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { open(&url, LEASE_TTL).await.map(drop) })
        })
        .collect();
    for outcome in futures::future::join_all(opened).await {
        outcome.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn notices_pass_between_replicas() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let (_, here) = open(&url, LEASE_TTL).await.unwrap();
    let (_, there) = open(&url, LEASE_TTL).await.unwrap();
    let chat = fresh_id();
    let mut subscription = there.subscribe(Topic::Chat(chat)).await.unwrap();
    delivers(&here, &mut subscription, notice(chat, 1)).await;
    // Many at once: each arrives once, in the order of publishing.
    let many = (2..500).map(|version| here.publish(notice(chat, version)));
    for outcome in futures::future::join_all(many).await {
        outcome.unwrap();
    }
    for version in 2..500 {
        let received = timeout(WAIT_MAX, subscription.next()).await.expect("a notice arrives");
        assert_eq!(received, Some(notice(chat, version)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ended_connections_end_subscriptions_and_are_replaced() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let database = url.rsplit('/').next().unwrap();
    let (store, bus) = open(&url, LEASE_TTL).await.unwrap();
    for round in 1..=3 {
        let chat = fresh_id();
        let mut subscription =
            eventually("subscribing", async || bus.subscribe(Topic::Chat(chat)).await).await;
        delivers(&bus, &mut subscription, notice(chat, round)).await;
        store.apply(&create(chat)).await.unwrap();
        assert!(postgres.terminate_backends(database).unwrap() > 0);
        // The store recovers at once: a transaction that failed before its commit is retried.
        store.ping().await.unwrap();
        store.apply(&create(fresh_id())).await.unwrap();
        ended(&mut subscription).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stops_and_starts_is_used_again() {
    let postgres = Postgres::new().unwrap();
    let (store, bus) = open(&postgres.create_database("stopped").unwrap(), LEASE_TTL).await.unwrap();
    let chat = fresh_id();
    store.apply(&create(chat)).await.unwrap();
    let mut subscription = bus.subscribe(Topic::Work).await.unwrap();
    postgres.stop();
    ended(&mut subscription).await;
    let asked = Instant::now();
    assert!(bus.subscribe(Topic::Work).await.is_err(), "degraded is a state: nobody listens now");
    assert!(asked.elapsed() < Duration::from_secs(1), "B3: and that is said at once");
    let failed = store.apply(&create(fresh_id())).await.expect_err("there is no database");
    // What goes in one statement by a connection that has ended since may have come to the server, for all one knows.
    assert!(matches!(failed, Fault::Refused(_) | Fault::Unknown(_)), "S6: {failed}");
    assert!(asked.elapsed() < CALL_MAX, "B3: nobody hangs");
    postgres.start().unwrap();
    eventually("the store", async || store.ping().await).await;
    let kept = store.snapshot(chat, None).await.unwrap().expect("S6: it is kept");
    assert_eq!(kept.state.id, chat);
    store.apply(&create(fresh_id())).await.unwrap();
    let mut again = eventually("the bus", async || bus.subscribe(Topic::Chat(chat)).await).await;
    delivers(&bus, &mut again, notice(chat, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_hangs_hangs_nobody() {
    let postgres = Postgres::new().unwrap();
    let (store, bus) = open(&postgres.create_database("paused").unwrap(), LEASE_TTL).await.unwrap();
    let chat = fresh_id();
    store.apply(&create(chat)).await.unwrap();
    let mut subscription = bus.subscribe(Topic::Chat(chat)).await.unwrap();
    postgres.pause();
    let asked = Instant::now();
    // More than there are connections.
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.snapshot(chat, None).await })
        })
        .collect();
    let applied = store.apply(&create(fresh_id())).await;
    // Whether it had a connection for it or not.
    assert!(applied.is_err(), "S6: {applied:?}");
    for call in futures::future::join_all(calls).await {
        assert!(call.unwrap().is_err());
    }
    assert!(asked.elapsed() < CALL_MAX, "B3: all are answered in time, after {:?}", asked.elapsed());
    ended(&mut subscription).await;
    postgres.resume();
    eventually("the store", async || store.apply(&create(fresh_id())).await).await;
    let mut again = eventually("the bus", async || bus.subscribe(Topic::Chat(chat)).await).await;
    delivers(&bus, &mut again, notice(chat, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_locked_chat_delays_no_other() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let (store, _bus) = open(&url, LEASE_TTL).await.unwrap();
    let (stuck, free, renewed) = (fresh_id(), fresh_id(), fresh_id());
    for chat in [stuck, free, renewed] {
        store.apply(&create(chat)).await.unwrap();
    }
    for chat in [stuck, renewed] {
        let replica = ReplicaId::new("a").unwrap();
        let command = ChatCommand::Acquire { replica, interrupting_only: false };
        store.apply(&Request { chat, command, by: None, idempotency_key: None }).await.unwrap();
    }
    let mut holder = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--dbname", &url, "--command"])
        .arg(
            "BEGIN; SELECT 1 FROM chats FOR UPDATE; SELECT pg_sleep(60)"
                .replace("chats FOR", &format!("chats WHERE id = '{stuck}' FOR")),
        )
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let database = url.rsplit('/').next().unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active' \
                    AND wait_event = 'PgSleep'";
    eventually("the lock", async || match postgres.sql(database, sleeping).as_deref() {
        Ok("1") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let interrupt = |chat| Request {
        chat,
        command: ChatCommand::Interrupt { episode: None },
        by: None,
        idempotency_key: None,
    };
    let asked = Instant::now();
    let row =
        ReplicaRow { replica: ReplicaId::new("a").unwrap(), address: "127.0.0.1:1".into(), incarnation: 1 };
    let both = [stuck, renewed].map(|chat| Held { chat, lease: Lease(1) });
    let (held, other, read, heartbeat) = futures::join!(
        async {
            let refused = store.apply(&interrupt(stuck)).await;
            (refused, asked.elapsed())
        },
        async { (store.apply(&interrupt(free)).await, asked.elapsed()) },
        async { (store.snapshot(stuck, None).await, asked.elapsed()) },
        async { (store.heartbeat(&row, &both).await, asked.elapsed()) },
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(matches!(held.0, Err(Fault::Refused(_))), "{held:?}");
    assert!(held.1 < CALL_MAX, "B3: it is told in time");
    assert!(
        other.0.as_ref().is_ok_and(|applied| applied.change().is_some()) && other.1 < Duration::from_secs(3),
        "B3: {other:?}"
    );
    assert!(matches!(read.0, Ok(Some(_))) && read.1 < Duration::from_secs(3), "B3: {read:?}");
    let confirmed = heartbeat.0.as_ref().map(|report| report.confirmed.clone());
    assert!(confirmed == Ok(vec![both[1]]) && heartbeat.1 < Duration::from_secs(3), "B3: {heartbeat:?}");
    postgres.terminate_backends(database).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_chats_are_synced_at_once() {
    let postgres = Postgres::shared().unwrap();
    let scratch = Scratch::new();
    let (on_postgres, _bus) = open(&postgres.fresh_database().unwrap(), LEASE_TTL).await.unwrap();
    let (on_sqlite, _bus) = open(&scratch.url(), LEASE_TTL).await.unwrap();
    for store in [on_postgres, on_sqlite] {
        let exists: Vec<_> = (0..50).map(|_| fresh_id()).collect();
        for chat in &exists {
            store.apply(&create(*chat)).await.unwrap();
        }
        let chats = exists.iter().copied().chain((0..10_000).map(|_| fresh_id())).collect();
        let request = mainstem_runtime::ports::SyncRequest { chats, runnable_max: 20 };
        let asked = Instant::now();
        let report = store.sync(&request).await.unwrap();
        assert_eq!((report.versions.len(), report.runnable.len()), (50, 20));
        assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    }
}
