//! What a part costs that is told at the pace of a model, and how long it takes to a viewer at the replica that does not work. Who watches is
//! `mainstem load` of the program that ships, whichever serves: it judges every stream.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::database::Database;
use super::figures::{Measured, figures};
use super::{Program, Stage};
use crate::deadline::until;
use crate::measure::time_of_process;
use crate::process::Running;

const PARTS_A_SECOND: u32 = 50;
/// From when all chats run until the window, and from its end until `load` stops counting.
const MARGIN: Duration = Duration::from_secs(1);

figures! {
    /// CPU is measured within the time that `load` counts.
    Figures {
        parts_per_second,
        servers_cpu_us_per_part,
        worker_cpu_us_per_part,
        telling_cpu_us_per_part,
        latency_p50_ms,
        latency_p99_ms,
    }
}

/// What `mainstem load` does.
pub(super) struct Load {
    pub(super) chats: usize,
    /// Parts a second of each chat. 0: as many as there can be.
    pub(super) rate: u32,
    pub(super) window: Duration,
    /// Of both replicas.
    pub(super) flags: &'static [&'static str],
}

/// What came of it. CPU: of the worker and of who tells, in seconds for each part.
pub(super) struct Told {
    pub(super) parts_per_second: f64,
    pub(super) cpu_per_part: [f64; 2],
    pub(super) latency_p50_ms: f64,
    pub(super) latency_p99_ms: f64,
}

impl Told {
    pub(super) fn servers_cpu_us_per_part(&self) -> f64 {
        self.cpu_per_part.iter().sum::<f64>() * 1e6
    }
}

fn load_of(is_quick: bool) -> Load {
    let (chats, seconds) = if is_quick { (10, 1) } else { (100, 10) };
    Load { chats, rate: PARTS_A_SECOND, window: Duration::from_secs(seconds), flags: &[] }
}

pub(super) fn extent(is_quick: bool) -> Measured {
    let Load { chats, window, .. } = load_of(is_quick);
    vec![
        ("chats", chats as f64),
        ("parts_per_second_of_a_chat", f64::from(PARTS_A_SECOND)),
        ("window_seconds", window.as_secs_f64()),
    ]
}

pub(super) async fn measure(stage: &Stage, program: &Program) -> anyhow::Result<Measured> {
    let told = told(stage, program, load_of(stage.is_quick)).await?;
    let figures = Figures {
        parts_per_second: told.parts_per_second,
        servers_cpu_us_per_part: told.servers_cpu_us_per_part(),
        worker_cpu_us_per_part: told.cpu_per_part[0] * 1e6,
        telling_cpu_us_per_part: told.cpu_per_part[1] * 1e6,
        latency_p50_ms: told.latency_p50_ms,
        latency_p99_ms: told.latency_p99_ms,
    };
    Ok(figures.named())
}

/// One viewer of each chat, at the replica that does not work.
pub(super) async fn told(stage: &Stage, program: &Program, load: Load) -> anyhow::Result<Told> {
    let Load { chats, rate, window, flags } = load;
    let mut database = Database::fresh(&stage.postgres).await?;
    let workers = (2 * chats).to_string();
    let works = [&["--workers", &workers][..], flags].concat();
    let worker = program.serve("works", &database.url, &works).await;
    let telling = program.serve("serves", &database.url, &[&["--workers", "0"], flags].concat()).await;
    let duration = format!("{}s", (window + 2 * MARGIN).as_secs());
    let (chats_asked, rate) = (chats.to_string(), rate.to_string());
    let (worker_url, telling_url) = (worker.url(), telling.url());
    let arguments = [
        &["load", "--server", &worker_url, "--server", &telling_url, "--viewers", "1", "--json"][..],
        &["--chats", &chats_asked, "--rate", &rate, "--duration", &duration],
    ];
    let load = Running::start(&arguments.concat());
    // It counts from when all viewers are there, and only then sends.
    until("all chats run", async || {
        let now = database.now().await.expect("the database answers");
        (now.runnable >= chats as f64).then_some(())
    })
    .await;
    tokio::time::sleep(MARGIN).await;
    let cpu = || [&worker, &telling].map(|replica| time_of_process(replica.process_id()));
    let before = cpu();
    let began = std::time::Instant::now();
    tokio::time::sleep(window).await;
    let (after, seconds) = (cpu(), began.elapsed().as_secs_f64());
    let ended = load.ended().await.context("mainstem load does not end")?;
    let told = || String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.success(), "mainstem load ended with {}: {}", ended.status, told());
    let said: Value = serde_json::from_slice(&ended.stdout).context("mainstem load prints JSON")?;
    let number =
        |value: &Value| value.as_f64().with_context(|| format!("mainstem load says so much: {said}"));
    drop((worker, telling));
    database.remove(&stage.postgres).await?;

    let parts_per_second = number(&said["parts_per_second"])?;
    let each = |at: usize| (after[at] - before[at]).as_secs_f64() / (parts_per_second * seconds);
    Ok(Told {
        parts_per_second,
        cpu_per_part: [each(0), each(1)],
        latency_p50_ms: number(&said["latency_us"]["p50"])? / 1e3,
        latency_p99_ms: number(&said["latency_us"]["p99"])? / 1e3,
    })
}
