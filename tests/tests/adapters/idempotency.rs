//! Idempotency records are kept for a day, and not for ever (B1).

use std::sync::Arc;

use mainstem::adapters::open;
use mainstem_machine::ReplicaId;
use mainstem_runtime::ports::{Effect, IdempotencyKey, ReplicaRow, Request, Store};
use mainstem_tests::postgres::Postgres;
use sqlx::{Connection, SqliteConnection};

use crate::{LEASE_TTL, Scratch, create, fresh_id};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MINUTE_MS: i64 = 60 * 1000;
/// The records that one heartbeat removes at most, and the number of old records.
const PURGED_MAX: usize = 1000;
const MANY: usize = PURGED_MAX + 200;

fn keyed(key: &str) -> Request {
    let idempotency_key =
        IdempotencyKey { caller: "ada".into(), key: key.into(), body: [7; 32], keep: Default::default() };
    Request { idempotency_key: Some(idempotency_key), ..create(fresh_id()) }
}

async fn heartbeat(store: &dyn Store) {
    let row = ReplicaRow { replica: ReplicaId::new("a").unwrap(), address: String::new(), incarnation: 1 };
    store.heartbeat(&row, &[]).await.expect("the store answers");
}

fn older(key: &str, by: i64) -> String {
    format!("UPDATE receipts SET created_at = created_at - {by} WHERE key = '{key}'")
}

/// Ages one idempotency record to more than a day and another one to almost a day, and adds many old ones.
fn ageing(blob: &str) -> Vec<String> {
    let many = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
         INSERT INTO receipts (caller, key, body, created_at) SELECT 'many', 'k' || i, {blob}, 1 FROM n"
    );
    vec![older("old", DAY_MS + MINUTE_MS), older("young", DAY_MS - MINUTE_MS), many]
}

const COUNT: &str = "SELECT count(*) FROM receipts WHERE caller = 'many'";

#[tokio::test]
async fn postgres_forgets_idempotency_records_after_a_day_some_at_a_time() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let sql = |text: &str| postgres.sql(&database, text).unwrap();
    let (store, _) = open(&url, LEASE_TTL).await.unwrap();
    let requests = asked(&store).await;
    ageing("'\\x00'::bytea").iter().for_each(|text| drop(sql(text)));
    heartbeat(&*store).await;
    assert_eq!(sql(COUNT), (MANY - PURGED_MAX).to_string(), "B1, B3: some at a time");
    heartbeat(&*store).await;
    assert_eq!(sql(COUNT), "0", "B1: all in the end");
    assert_forgotten(&*store, requests).await;
}

#[tokio::test]
async fn sqlite_forgets_idempotency_records_after_a_day_some_at_a_time() {
    let scratch = Scratch::new();
    let (store, _) = open(&scratch.url(), LEASE_TTL).await.unwrap();
    let requests = asked(&store).await;
    let mut beside = SqliteConnection::connect(&scratch.url()).await.unwrap();
    for text in ageing("x'00'") {
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut beside).await.unwrap();
    }
    heartbeat(&*store).await;
    let left: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut beside).await.unwrap();
    assert_eq!(left, (MANY - PURGED_MAX) as i64, "B1, B3: some at a time");
    heartbeat(&*store).await;
    let left: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut beside).await.unwrap();
    assert_eq!(left, 0, "B1: all in the end");
    assert_forgotten(&*store, requests).await;
}

async fn asked(store: &Arc<dyn Store>) -> [Request; 3] {
    let requests = ["old", "young", "new"].map(keyed);
    for request in &requests {
        let applied = store.apply(request).await.unwrap();
        assert!(applied.change().is_some(), "{applied:?}");
    }
    requests
}

async fn assert_forgotten(store: &dyn Store, [old, young, new]: [Request; 3]) {
    for request in [young, new] {
        let applied = store.apply(&request).await.unwrap();
        assert!(
            applied.effect == Effect::Replayed && applied.answer.is_ok(),
            "S6: within a day it is known: {applied:?}"
        );
    }
    // The same key for another request: the record was removed, so it is a new request.
    let idempotency_key =
        old.idempotency_key.map(|idempotency_key| IdempotencyKey { body: [8; 32], ..idempotency_key });
    let applied = store.apply(&Request { idempotency_key, ..create(fresh_id()) }).await.unwrap();
    assert!(applied.change().is_some(), "{applied:?}");
}
