//! Who may take up chats is decided by the database: it asks a table. Whoever may from now on is told of what waits.

use std::collections::BTreeMap;

use mainstem_machine::ChatState;
use mainstem_oracles::Evidence;
use mainstem_runtime::ports::Notice;
use mainstem_story::Workers;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, query, raw_sql};

use crate::court::Ledger;

const WORKERS: &str = "
    CREATE TABLE story_workers (id text PRIMARY KEY);
    CREATE FUNCTION story_may_work() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.worker IS NOT NULL AND (NEW.worker, NEW.lease) IS DISTINCT FROM (OLD.worker, OLD.lease)
            AND NOT EXISTS (SELECT FROM story_workers WHERE id = NEW.worker) THEN
            RAISE EXCEPTION 'the story lets % take up no chat', NEW.worker;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER story_may_work BEFORE UPDATE ON chats FOR EACH ROW EXECUTE FUNCTION story_may_work();";

#[derive(Debug)]
pub(super) struct Gatekeeper {
    connection: PgConnection,
    may: BTreeMap<String, bool>,
    ledger: Ledger,
}

impl Gatekeeper {
    /// Everybody may work.
    pub(super) async fn open(url: &str, replicas: &[String], ledger: Ledger) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("the database is there");
        raw_sql(WORKERS).execute(&mut connection).await.expect("the servers' tables are there");
        let may = replicas.iter().map(|name| (name.clone(), true)).collect();
        let mut gatekeeper = Self { connection, may, ledger };
        gatekeeper.write().await;
        gatekeeper
    }

    async fn write(&mut self) {
        let may: Vec<_> = self.may.iter().filter(|(_, may)| **may).map(|(name, _)| name.clone()).collect();
        let write = "WITH gone AS (DELETE FROM story_workers WHERE id <> ALL($1)) \
                     INSERT INTO story_workers SELECT unnest($1) ON CONFLICT DO NOTHING";
        query(write).bind(may).execute(&mut self.connection).await.expect("who may work is written");
    }

    /// `waiting`: the chats that nobody holds.
    pub(super) async fn let_work(&mut self, workers: &Workers, waiting: &[ChatState]) {
        let before = self.may.clone();
        for (name, may) in &mut self.may {
            *may = match workers {
                Workers::Only(only) => name == only,
                Workers::Also(also) => *may || name == also,
                Workers::Everybody => true,
                Workers::Nobody => false,
            };
        }
        // Who may not any more is not expected to, before it cannot; who may from now on only after it can.
        self.tell(&before, false);
        self.write().await;
        self.tell(&before, true);
        for state in waiting {
            let notice = Notice {
                chat: state.id,
                snapshot_version: state.snapshot_version,
                history_version: state.history_version,
                queue_version: state.queue_version,
                status: state.status,
                free: state.worker.is_none(),
                deleted: false,
                row: None,
            };
            let payload = serde_json::to_string(&notice).expect("a notice is written as JSON");
            let notify = query("SELECT pg_notify('mainstem', $1)").bind(payload);
            notify.execute(&mut self.connection).await.expect("a notice is sent");
        }
    }

    fn tell(&self, before: &BTreeMap<String, bool>, of: bool) {
        for (name, may) in self.may.iter().filter(|(name, may)| **may == of && before[*name] != of) {
            self.ledger.say(Evidence::MayWork { replica: name.as_str().into(), may: *may });
        }
    }
}
