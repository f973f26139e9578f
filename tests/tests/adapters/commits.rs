//! Connections that break when a change is committed, so that the outcome is unknown to the client.

use mainstem::adapters::open;
use mainstem_machine::{ChatId, Command, Content, SendMode};
use mainstem_runtime::ports::{Effect, Fault, IdempotencyKey, Request, Store};
use mainstem_tests::database_proxy::{DatabaseProxy, Fate};
use mainstem_tests::postgres::Postgres;

use crate::{LEASE_TTL, create, eventually, fresh_id};

fn send(chat: ChatId, key: &str) -> Request {
    let content = Content::text(key);
    let command = Command::Send { content, mode: SendMode::Queue, queue_max: 20, client_id: None };
    let idempotency_key =
        IdempotencyKey { caller: "ada".into(), key: key.into(), body: [7; 32], keep: Default::default() };
    Request { chat, command, by: None, idempotency_key: Some(idempotency_key) }
}

async fn version(store: &dyn Store, chat: ChatId) -> u64 {
    let state = store.state(chat).await.expect("the store answers").expect("it exists");
    state.snapshot_version.0
}

#[tokio::test]
async fn an_answer_that_is_lost_at_commit_is_unknown_and_asking_again_does_it_once() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let proxy = DatabaseProxy::start(postgres.port()).await.unwrap();
    let (near, _) = open(&proxy.url(&url, postgres.port()), LEASE_TTL).await.unwrap();
    let (sure, _) = open(&url, LEASE_TTL).await.unwrap();
    let chat = fresh_id();
    near.apply(&create(chat)).await.unwrap();
    for (round, cut) in
        [Fate::CutAfter, Fate::CutBefore, Fate::CutAfter, Fate::CutBefore].into_iter().enumerate()
    {
        let key = format!("key {round}");
        let request = send(chat, &key);
        let before = version(&*sure, chat).await;
        // What is written under the key is committed with it.
        proxy.next(key.as_bytes(), cut);
        let outcome = near.apply(&request).await;
        assert!(matches!(outcome, Err(Fault::Unknown(_))), "S6: nobody can know: {outcome:?}");
        assert_eq!(proxy.met(), round + 1, "D2: the fault landed");
        assert_eq!(version(&*sure, chat).await, before + u64::from(cut == Fate::CutAfter));
        let again = eventually("the store", async || near.apply(&request).await).await;
        match cut {
            Fate::CutAfter => {
                assert!(again.effect == Effect::Replayed && again.answer.is_ok(), "S6: {again:?}")
            }
            _ => assert!(again.change().is_some(), "S6: {again:?}"),
        }
        assert_eq!(version(&*sure, chat).await, before + 1, "S6: once");
    }
}
