//! The yardstick beside `turns`: graphile-worker, a queue of jobs on PostgreSQL of Node.js, as it is published and as its lock file has it, on the
//! same PostgreSQL. Its jobs do nothing. Judged is that all were carried out.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use mainstem_programs::NODE;
use serde_json::{Value, json};

use super::Stage;
use super::database::Database;
use super::figures::{Measured, figures};
use crate::client_project::installed;
use crate::line_program::LineProgram;
use crate::measure::time_of_tree;
use crate::node::{LOCK_FILE, install};

pub(super) const NAME: &str = "yardstick";
const FILES: [&str; 3] = ["package.json", LOCK_FILE, "jobs.mjs"];
const CONCURRENCY: u64 = 64;
/// Connections: what it has if nobody says anything, and one for each job at once.
pub(super) const POOLS: [u64; 2] = [10, 64];

figures! {
    /// From its start, in a process that runs, until no job is left. Flushes and transactions until it has ended.
    Figures {
        jobs_per_second,
        postgres_cpu_us_per_job,
        worker_cpu_us_per_job,
        wal_flushes_per_job,
        wal_bytes_per_job,
        transactions_per_job,
    }
}

pub(super) fn extent(jobs: usize) -> Measured {
    vec![("jobs", jobs as f64), ("concurrency", CONCURRENCY as f64)]
}

/// Where it is.
fn directory() -> std::path::PathBuf {
    installed("tests/clients/jobs", &FILES, LOCK_FILE, install)
}

/// Which one it is, as its package says.
pub(super) fn version() -> anyhow::Result<String> {
    let package = directory().join("node_modules/graphile-worker/package.json");
    let package: Value = serde_json::from_str(&fs::read_to_string(package)?)?;
    let version = package["version"].as_str().context("a package has a version")?;
    let node = NODE.path().map_err(|missing| anyhow::anyhow!("{missing}"))?;
    let said = Command::new(node).arg("--version").output()?;
    Ok(format!("graphile-worker {version}, Node.js {}", String::from_utf8_lossy(&said.stdout).trim()))
}

fn start(directory: &Path, database: &str) -> anyhow::Result<LineProgram> {
    let node = NODE.path().map_err(|missing| anyhow::anyhow!("{missing}"))?;
    Ok(LineProgram::start(Command::new(node).arg("jobs.mjs").arg(database).current_dir(directory)))
}

pub(super) async fn measure(stage: &Stage, pool: u64) -> anyhow::Result<Measured> {
    let (jobs, directory) = (stage.turns, directory());
    let mut database = Database::fresh(&stage.postgres).await?;
    start(&directory, &database.url)?.ask(&json!({"queue": jobs})).await;
    database.tidied().await?;
    let (queued, log) = database.jobs().await?;
    ensure!(queued == i64::try_from(jobs)?, "{queued} of {jobs} jobs are queued");
    let counted = database.counted_alone().await?;

    let mut worker = start(&directory, &database.url)?;
    let before = time_of_tree(stage.postgres.process_id());
    let said = worker.ask(&json!({"work": jobs, "concurrency": CONCURRENCY, "pool": pool})).await;
    let spent = time_of_tree(stage.postgres.process_id()) - before;
    let (rest, log_after) = database.jobs().await?;
    ensure!(rest == 0, "{rest} of {jobs} jobs are left");
    drop(worker);
    let after = database.counted_alone().await?;
    database.remove(&stage.postgres).await?;

    let number = |name: &str| said[name].as_f64().with_context(|| format!("it tells {name}: {said}"));
    let jobs = jobs as f64;
    let figures = Figures {
        jobs_per_second: jobs / number("seconds")?,
        postgres_cpu_us_per_job: spent.as_secs_f64() * 1e6 / jobs,
        worker_cpu_us_per_job: number("cpu_us")? / jobs,
        wal_flushes_per_job: (after.wal_flushes - counted.wal_flushes) / jobs,
        transactions_per_job: (after.transactions - counted.transactions) / jobs,
        wal_bytes_per_job: (log_after - log) / jobs,
    };
    Ok(figures.named())
}
