//! What a database committed, as the database itself keeps it: triggers copy each row that a transaction writes, within
//! that transaction, so that what was rolled back is not there, and what was committed is there whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{ChatId, ChatState, Command, Lease, ReplicaId, Time};
use mainstem_oracles::Committed;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row, query, raw_sql};

use super::rows::{ChatRow, MessageRow, ReceiptRow, TurnRow, read};
use super::transitions::{Explained, Step};

/// Servers say who they are by a setting of their sessions.
const WITNESS: &str = "
    CREATE TABLE witness (
        seq bigserial PRIMARY KEY,
        tx bigint NOT NULL DEFAULT txid_current(),
        at bigint NOT NULL DEFAULT extract(epoch FROM clock_timestamp()) * 1000000,
        asked bigint NOT NULL DEFAULT extract(epoch FROM now()) * 1000000,
        by text NOT NULL DEFAULT coalesce(current_setting('witness.replica', true), ''),
        what text NOT NULL,
        row jsonb NOT NULL
    );
    CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO witness (what, row) VALUES (TG_TABLE_NAME || ' gone', to_jsonb(OLD));
        ELSIF TG_OP = 'UPDATE' AND to_jsonb(NEW) - 'lease_expires_at' = to_jsonb(OLD) - 'lease_expires_at' THEN
            INSERT INTO witness (what, row) VALUES ('renewed', to_jsonb(NEW));
        ELSE
            INSERT INTO witness (what, row) VALUES (TG_TABLE_NAME, to_jsonb(NEW));
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON chats FOR EACH ROW EXECUTE FUNCTION witness();
    CREATE TRIGGER witness AFTER INSERT OR DELETE ON messages FOR EACH ROW EXECUTE FUNCTION witness();
    CREATE TRIGGER witness AFTER INSERT ON turns FOR EACH ROW EXECUTE FUNCTION witness();
    CREATE TRIGGER witness AFTER INSERT ON receipts FOR EACH ROW EXECUTE FUNCTION witness();";

/// The URL of a database, for a replica whose commits are to be known as its own.
pub fn replica_url(url: &str, replica: &str) -> String {
    format!("{url}?options[witness.replica]={replica}")
}

/// What the database says.
#[derive(Debug)]
pub(super) enum Fact {
    /// The database did this at `at`, by its clock, for who had asked at `asked`.
    Committed {
        change: Box<Committed>,
        at: i64,
        asked: i64,
    },
    Renewed {
        replica: ReplicaId,
        chat: ChatId,
        lease: Lease,
        at: i64,
        asked: i64,
    },
}

/// One row that a transaction wrote.
#[derive(Debug)]
struct Copied {
    tx: i64,
    at: i64,
    asked: i64,
    by: String,
    what: String,
    row: String,
}

#[derive(Debug)]
pub(super) struct Witness {
    connection: PgConnection,
    lease_ttl: Duration,
    chats: BTreeMap<ChatId, Arc<ChatState>>,
}

impl Witness {
    pub(super) async fn call(url: &str, lease_ttl: Duration) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("the database is there");
        raw_sql(WITNESS).execute(&mut connection).await.expect("the servers' tables are there");
        Self { connection, lease_ttl, chats: BTreeMap::new() }
    }

    /// What was committed since this was asked last, each at the time of its row's copy.
    pub(super) async fn commits(&mut self) -> Vec<(i64, Fact)> {
        let take = "WITH taken AS (DELETE FROM witness RETURNING *) \
                    SELECT tx, at, asked, by, what, row::text AS row FROM taken ORDER BY seq";
        let rows = query(take).fetch_all(&mut self.connection).await.expect("the database answers");
        let mut transactions: Vec<Vec<Copied>> = vec![];
        for row in rows {
            let copied = Copied {
                tx: row.get("tx"),
                at: row.get("at"),
                asked: row.get("asked"),
                by: row.get("by"),
                what: row.get("what"),
                row: row.get("row"),
            };
            match transactions.iter_mut().find(|rows| rows[0].tx == copied.tx) {
                Some(rows) => rows.push(copied),
                None => transactions.push(vec![copied]),
            }
        }
        // A chat's row is copied under its lock: that is the order of its commits. What else a transaction wrote may
        // have come before it had the lock.
        let order = |rows: &Vec<Copied>| {
            rows.iter().find(|row| row.what.starts_with("chats")).map_or(0, |row| row.at)
        };
        transactions.sort_by_key(order);
        transactions.iter().flat_map(|rows| self.facts(rows)).collect()
    }

    fn facts(&mut self, rows: &[Copied]) -> Vec<(i64, Fact)> {
        let renewed = rows.iter().filter(|row| row.what == "renewed").filter_map(|row| {
            let chat: ChatRow = read(&row.row);
            let (expires, ttl) = (chat.lease_expires_at?, i64::try_from(self.lease_ttl.as_micros()).ok()?);
            let (at, asked) = (expires * 1000 - ttl, row.asked);
            let (replica, chat, lease) = (chat.worker?, chat.id, chat.lease);
            Some((row.at, Fact::Renewed { replica, chat, lease, at, asked }))
        });
        let mut facts: Vec<_> = renewed.collect();
        if let Some(row) = rows.iter().find(|row| row.what == "chats" || row.what == "chats gone") {
            facts.push((row.at, self.committed(row, rows)));
        }
        facts
    }

    fn committed(&mut self, row: &Copied, rows: &[Copied]) -> Fact {
        let deleted = row.what == "chats gone";
        let state = Arc::new(read::<ChatRow>(&row.row).state());
        let of = |what: &str| {
            rows.iter().filter(move |row| row.what == what).map(|row| &*row.row).collect::<Vec<_>>()
        };
        let messages = |what: &str| of(what).into_iter().map(|row| read::<MessageRow>(row).message());
        let inserted: Vec<_> = messages("messages").collect();
        let cut_from = messages("messages gone").map(|message| message.id).min().filter(|_| !deleted);
        let by =
            ReplicaId::new(&*row.by).unwrap_or_else(|_| panic!("S5: {:?} writes to {}", row.by, row.row));
        let before = self.chats.get(&state.id).cloned();
        let after = Some(&*state).filter(|_| !deleted);
        let ended: Vec<_> = of("turns").into_iter().map(|row| read::<TurnRow>(row).turn()).collect();
        let step =
            Step { before: before.as_deref(), after, cut_from, inserted: &inserted, ended: &ended, by: &by };
        let (command, Explained { accepted, state, cut_from }) =
            step.explain().unwrap_or_else(|| panic!("S1: no command of a chat does this: {step:#?}"));
        match deleted {
            true => drop(self.chats.remove(&state.id)),
            false => drop(self.chats.insert(state.id, state.clone())),
        }
        let key = of("receipts").first().map(|row| read::<ReceiptRow>(row).given().into());
        let caller = is_of_a_user(&command).then(|| (*state.owner).into());
        let change = Committed {
            chat: state.id,
            by: by.as_str().into(),
            asked: Time::START,
            caller,
            key,
            command,
            state: state.clone(),
            deleted,
            cut_from,
            inserted,
            ended,
            accepted,
        };
        let at = if deleted { row.at } else { state.updated_at.0 * 1000 };
        Fact::Committed { change: Box::new(change), at, asked: row.asked }
    }
}

/// Whether a user asks for it, and not a worker.
fn is_of_a_user(command: &Command) -> bool {
    matches!(
        command,
        Command::Create { .. }
            | Command::Send { .. }
            | Command::Configure(_)
            | Command::ToolResults { .. }
            | Command::Edit { .. }
            | Command::Regenerate { .. }
            | Command::Interrupt { .. }
            | Command::DeleteQueued { .. }
            | Command::Promote { .. }
            | Command::Delete
            | Command::Share { .. }
            | Command::Unshare { .. }
    )
}
