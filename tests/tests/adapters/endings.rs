//! A database from before answers said why they ended: it is brought up to date, and its messages say nothing.

use mainstem::adapters::open;
use mainstem_machine::MessageId;
use mainstem_tests::postgres::Postgres;

use crate::{LEASE_TTL, create, fresh_id};

const BEFORE: &str = "ALTER TABLE messages DROP COLUMN finish_reason, DROP COLUMN input_tokens, \
                      DROP COLUMN output_tokens; DELETE FROM mainstem_migrations WHERE version = 2";

#[tokio::test]
async fn old_messages_are_kept_and_say_nothing_of_their_ending() {
    let postgres = Postgres::shared().unwrap();
    let url = postgres.fresh_database().unwrap();
    let chat = fresh_id();
    let (store, bus) = open(&url, LEASE_TTL).await.unwrap();
    store.apply(&create(chat)).await.unwrap();
    drop((store, bus));
    postgres.sql(url.rsplit('/').next().unwrap(), BEFORE).unwrap();
    let (store, _bus) = open(&url, LEASE_TTL).await.unwrap();
    let page = store.page(chat, MessageId(0), None, 10).await.unwrap().expect("the chat is there");
    let said: Vec<_> =
        page.messages.iter().map(|m| (m.content.to_text(), m.finish_reason, m.usage)).collect();
    assert_eq!(said, [("hello".to_owned(), None, None)]);
}
