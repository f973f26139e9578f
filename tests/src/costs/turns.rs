//! What a turn costs where many wait: chats that were created where nobody works, and then one replica that works. Judged is
//! that all of them have their answer.

use anyhow::ensure;

use super::database::Database;
use super::figures::{Measured, figures};
use super::requests::create;
use super::{Program, Stage};
use crate::measure::{time_of_process, time_of_tree};

/// What each chat is asked, and says.
pub(super) const CONTENT: &str = "/demo parts=3 interval=0";
pub(super) const ANSWER: &str = "1 2 3 ";
const CREATED_AT_ONCE: usize = 16;

figures! {
    /// From the worker's readiness until no chat is runnable. Flushes and transactions are counted from before its start until
    /// after its end.
    Figures {
        turns_per_second,
        postgres_cpu_us_per_turn,
        worker_cpu_us_per_turn,
        wal_flushes_per_turn,
        wal_bytes_per_turn,
        transactions_per_turn,
    }
}

pub(super) async fn measure(stage: &Stage, program: &Program) -> anyhow::Result<Measured> {
    let chats = stage.turns;
    let mut database = Database::fresh(&stage.postgres).await?;
    let mut creator = program.serve("creator", &database.url, &["--workers", "0"]).await;
    create(creator.address(), chats, CREATED_AT_ONCE, CONTENT).await?;
    creator.terminate();
    ensure!(creator.ended().await.success(), "the replica that created chats failed");
    database.tidied().await?;
    let counted = database.counted_alone().await?;

    let mut worker = program.serve("worker", &database.url, &["--workers", "64"]).await;
    let cpu = || (time_of_tree(stage.postgres.process_id()), time_of_process(worker.process_id()));
    let (postgres, own) = cpu();
    let begun = database.now().await?;
    ensure!(begun.runnable > 0.0, "all turns had ended before the worker was found ready");
    database.until_all_ended().await?;
    let spent = cpu();
    let ended = database.now().await?;
    let seconds = database.last_change().await? - begun.unix_seconds;
    worker.terminate();
    ensure!(worker.ended().await.success(), "the replica that worked failed");
    let after = database.counted_alone().await?;
    database.answered(chats, ANSWER).await?;
    database.remove(&stage.postgres).await?;

    let (turns, all) = (begun.runnable, chats as f64);
    let figures = Figures {
        turns_per_second: turns / seconds,
        postgres_cpu_us_per_turn: (spent.0 - postgres).as_secs_f64() * 1e6 / turns,
        worker_cpu_us_per_turn: (spent.1 - own).as_secs_f64() * 1e6 / turns,
        wal_flushes_per_turn: (after.wal_flushes - counted.wal_flushes) / all,
        wal_bytes_per_turn: (ended.wal_bytes - begun.wal_bytes) / turns,
        transactions_per_turn: (after.transactions - counted.transactions) / all,
    };
    Ok(figures.named())
}
