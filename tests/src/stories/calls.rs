//! Faults of single calls, each of a command by its name. Only the database knows which command a transaction is of, by
//! what it does to the chat's row: it refuses the transaction itself, and says to the way to it, which cuts the
//! connection, that the answer is to be lost.

use mainstem_story::{CallFault, PlannedFault};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, query, raw_sql};

/// What the database says of an answer that is to be lost, and when it refuses.
pub(super) const LOST: &str = "story: the answer is lost";
pub(super) const REFUSED: &str = "story: refused";
pub(super) const CONFLICT: &str = "story: conflict";

/// Commands whose next one can be struck.
pub(super) const STRUCK: [&str; 3] = ["send", "finish_turn", "record_retry"];

/// How often a fault has struck counts a sequence: what a transaction that fails has counted stays counted.
const FAULTS: &str = "
    CREATE TABLE story_faults (id bigint PRIMARY KEY, op text NOT NULL, replica text, kind text NOT NULL, times bigint NOT NULL);
    CREATE FUNCTION story_op(old chats, new chats) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT CASE
        WHEN new.snapshot_version = old.snapshot_version THEN ''
        WHEN old.retry IS NULL AND new.retry IS NOT NULL THEN 'record_retry'
        WHEN new.reset_version <> old.reset_version OR new.lease <> old.lease THEN ''
        WHEN old.status = 'running' AND old.begun IS NOT NULL AND new.begun IS NULL AND new.error IS NULL
            THEN 'finish_turn'
        WHEN new.last_id > old.last_id AND old.status <> 'interrupting' THEN 'send'
        ELSE '' END $$;
    CREATE FUNCTION story_strike() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE fault story_faults; BEGIN
        FOR fault IN SELECT * FROM story_faults WHERE op = story_op(OLD, NEW)
            AND (replica IS NULL OR replica = current_setting('witness.replica', true)) ORDER BY id LOOP
            IF nextval('story_fault_' || fault.id) <= fault.times THEN
                CASE fault.kind
                    WHEN 'refused' THEN RAISE EXCEPTION 'story: refused';
                    WHEN 'conflict' THEN RAISE EXCEPTION 'story: conflict' USING ERRCODE = '40001';
                    ELSE RAISE NOTICE 'story: the answer is lost';
                END CASE;
                EXIT;
            END IF;
        END LOOP;
        RETURN NEW;
    END $$;
    CREATE TRIGGER story_strike BEFORE UPDATE ON chats FOR EACH ROW EXECUTE FUNCTION story_strike();";

#[derive(Debug)]
pub(super) struct Calls {
    connection: PgConnection,
    planned: i64,
}

impl Calls {
    pub(super) async fn open(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("the database is there");
        raw_sql(FAULTS).execute(&mut connection).await.expect("the servers' tables are there");
        Self { connection, planned: 0 }
    }

    pub(super) async fn plan(&mut self, fault: &PlannedFault) {
        let kind = match fault.call_fault {
            CallFault::Refused => "refused",
            CallFault::Conflict => "conflict",
            CallFault::AnswerLost => "lost",
            CallFault::AnswerLate(_) => panic!("{fault:?} is not told here"),
        };
        self.planned += 1;
        let sequence = format!("CREATE SEQUENCE story_fault_{}", self.planned);
        query(sqlx::AssertSqlSafe(sequence)).execute(&mut self.connection).await.expect("a new sequence");
        let plan = query("INSERT INTO story_faults VALUES ($1, $2, $3, $4, $5)").bind(self.planned);
        let plan = plan.bind(fault.op.as_deref()).bind(fault.replica.as_deref()).bind(kind);
        let planned = plan.bind(i64::from(fault.times)).execute(&mut self.connection).await;
        planned.expect("a fault is planned");
    }

    /// All faults are over.
    pub(super) async fn recover(&mut self) {
        query("DELETE FROM story_faults").execute(&mut self.connection).await.expect("faults are forgotten");
    }
}
