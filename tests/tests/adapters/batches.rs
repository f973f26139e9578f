//! Commands that come at the same time, on a real PostgreSQL: what befalls one of them, or the connection on which they go
//! together, befalls no other. Sessions of the test's own hold locks, and most claims are of order: who is answered while the
//! lock is held.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use mainstem::adapters::open;
use mainstem_machine::{
    ChatId, ChatState, Command, Content, NewMessage, Rejection, ReplicaId, SendMode, Settings, Version,
};
use mainstem_runtime::ports::{Applied, Effect, Fault, Held, IdempotencyKey, ReplicaRow, Request, Store};
use mainstem_tests::database_proxy::{COMMIT, DatabaseProxy, Fate};
use mainstem_tests::pooler::Pooler;
use mainstem_tests::postgres::Postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use crate::{LEASE_TTL, WAIT_MAX, create, eventually, fresh_id, pooled};

/// Commands that come in the same instant: the first one goes alone, and the others gather behind it.
const AT_ONCE: usize = 32;
/// Nobody waits as long as a statement may take that waits for a lock.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// Two ways to the same database: the one that is tested, through a proxy, and a sure one.
struct Stage {
    postgres: Arc<Postgres>,
    url: String,
    proxy: DatabaseProxy,
    store: Arc<dyn Store>,
    sure: Arc<dyn Store>,
    pooler: Option<Pooler>,
}

impl Stage {
    async fn new(is_pooled: bool) -> Self {
        let postgres = Postgres::shared().unwrap();
        let url = postgres.fresh_database().unwrap();
        let pooler = is_pooled.then(|| Pooler::that_mixes_sessions(&postgres).unwrap());
        let (near, port) = match &pooler {
            Some(pooler) => (pooler.url(&url, postgres.port()), pooler.port()),
            None => (url.clone(), postgres.port()),
        };
        let proxy = DatabaseProxy::start(port).await.unwrap();
        let near = proxy.url(&near, port);
        let store = match is_pooled {
            true => pooled(&near).await.unwrap(),
            false => open(&near, LEASE_TTL).await.unwrap().0,
        };
        let sure = open(&url, LEASE_TTL).await.unwrap().0;
        Self { postgres, url, proxy, store, sure, pooler }
    }

    /// Chats that run, with their rows. The store has read the database's clock.
    async fn chats(&self, count: usize) -> Vec<Arc<ChatState>> {
        let chats: Vec<_> = (0..count).map(|_| fresh_id()).collect();
        let created = join_all(chats.iter().map(|chat| async {
            let applied = self.store.apply(&create(*chat)).await.expect("the store answers");
            applied.change().expect("it is new").state.clone()
        }));
        created.await
    }

    async fn version(&self, chat: ChatId) -> Version {
        self.sure.state(chat).await.expect("the store answers").expect("it exists").snapshot_version
    }

    /// A session that has done this, and holds what it locked.
    async fn holding(&self, sql: &str) -> PgConnection {
        let mut session = PgConnection::connect(&self.url).await.unwrap();
        for sql in ["BEGIN", sql] {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut session).await.unwrap();
        }
        session
    }

    /// Waits until somebody waits for a lock.
    async fn somebody_waits(&self) {
        let database = self.url.rsplit('/').next().unwrap();
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
        );
        eventually("the wait", async || match self.postgres.sql("postgres", &waiting).as_deref() {
            Ok("0") | Err(_) => Err("nobody waits"),
            Ok(_) => Ok(()),
        })
        .await;
    }
}

async fn release(mut session: PgConnection) {
    sqlx::raw_sql("ROLLBACK").execute(&mut session).await.unwrap();
}

fn send(chat: ChatId, text: &str, idempotency_key: Option<IdempotencyKey>) -> Request {
    let content = Content::text(text);
    let command = Command::Send { content, mode: SendMode::Queue, queue_max: 20, client_id: None };
    Request { chat, command, by: None, idempotency_key }
}

fn theirs(key: &str) -> IdempotencyKey {
    IdempotencyKey { caller: "ada".into(), key: key.into(), body: [7; 32], keep: Default::default() }
}

fn drawn(number: usize) -> IdempotencyKey {
    IdempotencyKey::drawn(&"ada".into(), [7, number as u64])
}

/// All are answered.
async fn all<T>(asked: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    timeout(WAIT_MAX, join_all(asked)).await.expect("all are answered")
}

async fn a_locked_chat_delays_nobody_who_came_with_it(stage: &Stage) {
    let rows = stage.chats(AT_ONCE).await;
    let locked = rows[AT_ONCE / 2].id;
    let session = stage.holding(&format!("SELECT 1 FROM chats WHERE id = '{locked}' FOR UPDATE")).await;
    let requests: Vec<_> = rows.iter().map(|row| send(row.id, "at once", Some(drawn(0)))).collect();
    let requests: Vec<_> = requests
        .into_iter()
        .enumerate()
        .map(|(at, request)| Request { idempotency_key: (at % 2 == 0).then(|| drawn(at)), ..request })
        .collect();
    let asked = requests.iter().zip(&rows).map(|(request, row)| async {
        (request.chat, stage.store.apply_knowing(request, row.clone()).await)
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    for _ in 1..AT_ONCE {
        let (chat, applied) = timeout(WAIT_MAX, asked.next()).await.expect("B3: in time").expect("one more");
        assert_ne!(chat, locked, "B3: it is locked, and waits for that alone: {applied:?}");
        assert!(applied.as_ref().is_ok_and(|applied| applied.change().is_some()), "B3: {applied:?}");
    }
    let written = format!(
        "SELECT count(DISTINCT xmin::text) FROM chats WHERE snapshot_version = 2 AND id <> '{locked}' AND id IN ({})",
        rows.iter().map(|row| format!("'{}'", row.id)).collect::<Vec<_>>().join(", ")
    );
    let transactions: usize = stage.postgres.sql_at(&stage.url, &written).unwrap().parse().unwrap();
    assert!(transactions < AT_ONCE / 2, "B3: they were left together, in {transactions} transactions");
    release(session).await;
    let (chat, applied) = timeout(WAIT_MAX, asked.next()).await.expect("in time").expect("the last one");
    assert!(chat == locked && applied.is_ok_and(|applied| applied.change().is_some()), "S6");
    for row in &rows {
        assert_eq!(stage.version(row.id).await, row.snapshot_version.next(), "S6: each once");
    }
}

/// What a session has under a key, nobody else waits for: neither who came in the same instant nor who asks for the same chat.
async fn a_receipt_that_is_held_delays_who_uses_its_key_alone(stage: &Stage, key: IdempotencyKey) {
    let rows = stage.chats(AT_ONCE).await;
    let first = rows[0].clone();
    let session = stage
        .holding(&format!(
            "INSERT INTO receipts (caller, key, body, created_at) VALUES ('{}', '{}', '\\x07'::bytea, 1)",
            key.caller, key.key
        ))
        .await;
    let keyed = send(first.id, "under the key", Some(key));
    let asked_at = Instant::now();
    let waits = async { stage.store.apply_knowing(&keyed, first.clone()).await };
    let others = async {
        let requests: Vec<_> = rows[1..].iter().map(|row| send(row.id, "at once", None)).collect();
        let asked = requests.iter().zip(&rows[1..]);
        let applied = all(asked.map(|(request, row)| stage.store.apply_knowing(request, row.clone()))).await;
        let changed = applied.iter().flatten().filter(|applied| applied.change().is_some()).count();
        assert_eq!(changed, AT_ONCE - 1, "B3: {applied:?}");
        stage.somebody_waits().await;
        // Of the same chat, by somebody else.
        let applied = stage.store.apply_knowing(&send(first.id, "without it", None), first.clone()).await;
        assert!(applied.as_ref().is_ok_and(|applied| applied.change().is_some()), "B3: {applied:?}");
        let delay = asked_at.elapsed();
        assert!(delay < DELAY_MAX, "B3: they waited for {delay:?}");
        release(session).await;
    };
    let mut is_over = false;
    let (mut waits, others) = (std::pin::pin!(waits), others);
    let mut others = std::pin::pin!(others);
    let applied = loop {
        tokio::select! {
            applied = &mut waits => break applied,
            () = &mut others, if !is_over => is_over = true,
        }
    };
    assert!(is_over, "S6: it waits for what there is under its key: {applied:?}");
    assert!(applied.as_ref().is_ok_and(|applied| applied.change().is_some()), "S6: {applied:?}");
    assert_eq!(stage.version(first.id).await, Version(first.snapshot_version.0 + 2), "S6: each once");
}

/// The server refuses one of those that came together.
async fn what_cannot_be_written_fails_alone(stage: &Stage) {
    let rows = stage.chats(AT_ONCE).await;
    let barred = rows[AT_ONCE / 2].id;
    let bar =
        format!("ALTER TABLE chats ADD CONSTRAINT bars CHECK (id <> '{barred}' OR snapshot_version < 2)");
    stage.postgres.sql_at(&stage.url, &bar).unwrap();
    let requests: Vec<_> = rows.iter().map(|row| send(row.id, "at once", None)).collect();
    let asked = requests.iter().zip(&rows);
    let applied = all(asked.map(|(request, row)| stage.store.apply_knowing(request, row.clone()))).await;
    fails_alone(&applied, AT_ONCE / 2);
    stage.postgres.sql_at(&stage.url, "ALTER TABLE chats DROP CONSTRAINT bars").unwrap();
    for row in &rows {
        let was = u64::from(row.id != barred);
        assert_eq!(stage.version(row.id).await.0, row.snapshot_version.0 + was, "S6: each once");
    }

    // One that is there already, and one whose title no database of PostgreSQL has.
    let mut news: Vec<_> = (0..AT_ONCE).map(|_| create(fresh_id())).collect();
    news[AT_ONCE / 3] = create(rows[0].id);
    let chat = news[AT_ONCE / 2].chat;
    news[AT_ONCE / 2].command = Command::Create {
        chat,
        owner: "ada".into(),
        settings: Settings { title: Some("a\0b".into()), ..Settings::default() },
        messages: NewMessage::opening(None),
    };
    let mut applied = all(news.iter().map(|request| stage.store.apply(request))).await;
    let twice = applied.remove(AT_ONCE / 3);
    assert!(twice.as_ref().is_ok_and(|applied| applied.answer.is_err()), "S12: it is there: {twice:?}");
    fails_alone(&applied, AT_ONCE / 2 - 1);

    // One that nobody can read.
    let rows = stage.chats(AT_ONCE).await;
    let unreadable = rows[AT_ONCE / 2].id;
    let spoil = format!("UPDATE chats SET queue = 'spoilt' WHERE id = '{unreadable}'");
    stage.postgres.sql_at(&stage.url, &spoil).unwrap();
    let requests: Vec<_> = rows.iter().map(|row| send(row.id, "at once", None)).collect();
    let applied = all(requests.iter().map(|request| stage.store.apply(request))).await;
    fails_alone(&applied, AT_ONCE / 2);
}

fn fails_alone(applied: &[Result<Applied, Fault>], place: usize) {
    for (at, applied) in applied.iter().enumerate() {
        match at == place {
            true => assert!(matches!(applied, Err(Fault::Refused(_))), "it did not happen: {applied:?}"),
            false => {
                assert!(applied.as_ref().is_ok_and(|applied| applied.change().is_some()), "B3: {applied:?}")
            }
        }
    }
}

/// The connection is cut on which several commands are: what came of each is found out, by its key or by a look.
async fn a_lost_answer_is_unknown_to_all_and_settled_by_each(stage: &Stage, at_commit: bool, cut: Fate) {
    let rows = stage.chats(AT_ONCE).await;
    let met = stage.proxy.met();
    let keyed = |at: usize| at.is_multiple_of(2).then(|| drawn(1000 * (met + 1) + at));
    let requests: Vec<_> =
        rows.iter().enumerate().map(|(at, row)| send(row.id, "at once", keyed(at))).collect();
    let within = rows[AT_ONCE / 2].id.to_string();
    stage.proxy.next(if at_commit { COMMIT } else { within.as_bytes() }, cut);
    let asked = requests.iter().zip(&rows);
    let applied = all(asked.map(|(request, row)| stage.store.apply_knowing(request, row.clone()))).await;
    assert_eq!(stage.proxy.met(), met + 1, "D2: the fault landed");
    let (mut unknown, mut happened) = (0, BTreeMap::<bool, usize>::new());
    for ((request, row), applied) in requests.iter().zip(&rows).zip(&applied) {
        let was = eventually("the end of what was cut", async || {
            let now = stage.version(request.chat).await;
            let was = now == row.snapshot_version.next();
            assert!(was || now == row.snapshot_version, "S6: nothing happens twice");
            // The server may not have heard yet that nobody waits for it.
            if was || applied.is_err() { Ok(was) } else { Err("it is not there") }
        })
        .await;
        match applied {
            Ok(applied) => assert!(applied.change().is_some() && was, "S6: {applied:?}"),
            Err(fault) => {
                assert!(matches!(fault, Fault::Unknown(_)), "S6: nobody can know: {fault:?}");
                unknown += 1;
                *happened.entry(was).or_default() += 1;
                if request.idempotency_key.is_some() {
                    let again = eventually("the store", async || {
                        stage.store.apply_knowing(request, row.clone()).await
                    });
                    let again = again.await;
                    let is_it = if was { again.effect == Effect::Replayed } else { again.change().is_some() };
                    assert!(is_it && again.answer.is_ok(), "S6: {was}, {again:?}");
                    assert_eq!(stage.version(request.chat).await, row.snapshot_version.next(), "S6: once");
                }
            }
        }
    }
    let least = if at_commit { 1 } else { 2 };
    assert!(unknown >= least, "D2: several went together: {applied:?}");
    assert!(happened.len() == 1, "all of a statement happen, or none: {happened:?}");
    // A pooler's transaction ends with its COMMIT.
    let does_happen = cut == Fate::CutAfter && (stage.pooler.is_none() || at_commit);
    assert!(happened.contains_key(&does_happen), "S6: {happened:?}");
}

/// The lease had run out when the row was read, and is renewed before it is written.
async fn nobody_acquires_a_chat_whose_lease_was_renewed_meanwhile(stage: &Stage) {
    let [holder, rival] = ["holder", "rival"].map(|name| ReplicaId::new(name).unwrap());
    let chat = stage.chats(1).await[0].id;
    let acquire = |replica: &ReplicaId| {
        let command = Command::Acquire { replica: replica.clone(), interrupting_only: false };
        Request { chat, command, by: None, idempotency_key: None }
    };
    let held = stage.sure.apply(&acquire(&holder)).await.expect("the store answers");
    let held = [Held { chat, lease: held.change().expect("nobody has it").state.lease }];
    sleep(LEASE_TTL + LEASE_TTL / 3).await;
    let met = stage.proxy.met();
    stage.proxy.next(b"rival", Fate::Held);
    let request = acquire(&rival);
    let acquired = async { stage.store.apply(&request).await };
    let renewed = async {
        eventually(
            "the write",
            async || if stage.proxy.met() > met { Ok(()) } else { Err("it is not here") },
        )
        .await;
        let row = ReplicaRow { replica: holder, address: String::new(), incarnation: 1 };
        let report = stage.sure.heartbeat(&row, &held).await.expect("the store answers");
        stage.proxy.release();
        report.confirmed
    };
    let (acquired, renewed) = futures::join!(acquired, renewed);
    assert_eq!(renewed, held, "S5: nobody else has it");
    assert_eq!(acquired, Ok(Applied::rejected(Rejection::NotFree)), "S5: it is held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_acquires_what_was_renewed_meanwhile() {
    nobody_acquires_a_chat_whose_lease_was_renewed_meanwhile(&Stage::new(false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_chat_that_is_locked_delays_nobody_who_came_with_it() {
    a_locked_chat_delays_nobody_who_came_with_it(&Stage::new(false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_receipt_that_somebody_holds_delays_who_uses_its_key_alone() {
    let stage = Stage::new(false).await;
    a_receipt_that_is_held_delays_who_uses_its_key_alone(&stage, theirs("held")).await;
    a_receipt_that_is_held_delays_who_uses_its_key_alone(&stage, drawn(usize::MAX)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_the_server_refuses_fails_alone() {
    what_cannot_be_written_fails_alone(&Stage::new(false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_connection_leaves_all_that_went_together_unknown() {
    let stage = Stage::new(false).await;
    for cut in [Fate::CutAfter, Fate::CutBefore, Fate::CutAfter] {
        a_lost_answer_is_unknown_to_all_and_settled_by_each(&stage, false, cut).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_a_pooler_of_transactions_it_is_the_same() {
    let stage = Stage::new(true).await;
    a_locked_chat_delays_nobody_who_came_with_it(&stage).await;
    a_receipt_that_is_held_delays_who_uses_its_key_alone(&stage, theirs("held")).await;
    a_receipt_that_is_held_delays_who_uses_its_key_alone(&stage, drawn(usize::MAX)).await;
    what_cannot_be_written_fails_alone(&stage).await;
    nobody_acquires_a_chat_whose_lease_was_renewed_meanwhile(&stage).await;
    for (at_commit, cut) in
        [(false, Fate::CutAfter), (false, Fate::CutBefore), (true, Fate::CutAfter), (true, Fate::CutBefore)]
    {
        a_lost_answer_is_unknown_to_all_and_settled_by_each(&stage, at_commit, cut).await;
    }
}
