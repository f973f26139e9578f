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

struct Extent {
    chats: usize,
    window: Duration,
}

fn extent_of(is_quick: bool) -> Extent {
    let (chats, seconds) = if is_quick { (10, 1) } else { (100, 10) };
    Extent { chats, window: Duration::from_secs(seconds) }
}

pub(super) fn extent(is_quick: bool) -> Measured {
    let Extent { chats, window } = extent_of(is_quick);
    vec![
        ("chats", chats as f64),
        ("parts_per_second_of_a_chat", f64::from(PARTS_A_SECOND)),
        ("window_seconds", window.as_secs_f64()),
    ]
}

pub(super) async fn measure(stage: &Stage, program: &Program) -> anyhow::Result<Measured> {
    let Extent { chats, window } = extent_of(stage.is_quick);
    let mut database = Database::fresh(&stage.postgres).await?;
    let workers = (2 * chats).to_string();
    let worker = program.serve("works", &database.url, &["--workers", &workers]).await;
    let telling = program.serve("serves", &database.url, &["--workers", "0"]).await;
    let duration = format!("{}s", (window + 2 * MARGIN).as_secs());
    let (chats_asked, rate) = (chats.to_string(), PARTS_A_SECOND.to_string());
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
    let each = |at: usize| (after[at] - before[at]).as_secs_f64() * 1e6 / (parts_per_second * seconds);
    let figures = Figures {
        parts_per_second,
        servers_cpu_us_per_part: each(0) + each(1),
        worker_cpu_us_per_part: each(0),
        telling_cpu_us_per_part: each(1),
        latency_p50_ms: number(&said["latency_us"]["p50"])? / 1e3,
        latency_p99_ms: number(&said["latency_us"]["p99"])? / 1e3,
    };
    Ok(figures.named())
}
