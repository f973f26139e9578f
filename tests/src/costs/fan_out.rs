//! What it costs to tell one part to many: few chats with many viewers each at the replica that does not work.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::audience::Audience;
use super::database::Database;
use super::figures::{Measured, figures};
use super::requests::create;
use super::{Program, Stage};
use crate::measure::{need_open_files, time_of_process};

const CHATS: usize = 10;
const PARTS_A_SECOND: u32 = 20;
/// Until everybody does what will be measured.
const SETTLING: Duration = Duration::from_secs(2);
/// Of this process and of each server, beside those of viewers.
const FILES_BESIDE: u64 = 200;

figures! {
    /// A delivery is one part told to one viewer.
    Figures {
        deliveries_per_second,
        servers_cpu_us_per_delivery,
        worker_cpu_us_per_delivery,
        telling_cpu_us_per_delivery,
        watching_cpu_us_per_delivery,
    }
}

/// Of each chat, and for how long.
fn viewers(is_quick: bool) -> (usize, Duration) {
    let (viewers, seconds) = if is_quick { (20, 2) } else { (200, 10) };
    (viewers, Duration::from_secs(seconds))
}

pub(super) fn extent(is_quick: bool) -> Measured {
    let (viewers, window) = viewers(is_quick);
    vec![
        ("chats", CHATS as f64),
        ("viewers_of_a_chat", viewers as f64),
        ("parts_per_second_of_a_chat", f64::from(PARTS_A_SECOND)),
        ("window_seconds", window.as_secs_f64()),
    ]
}

pub(super) async fn measure(stage: &Stage, program: &Program) -> anyhow::Result<Measured> {
    let (viewers, window) = viewers(stage.is_quick);
    need_open_files((CHATS * viewers) as u64 + FILES_BESIDE)?;
    let database = Database::fresh(&stage.postgres).await?;
    let worker = program.serve("works", &database.url, &["--workers", "64"]).await;
    let telling = program.serve("serves", &database.url, &["--workers", "0"]).await;
    let content = format!("/demo parts=1000000 interval={}ms", 1000 / PARTS_A_SECOND);
    let chats = create(telling.address(), CHATS, CHATS, &content).await?;
    let watched = chats.iter().flat_map(|chat| std::iter::repeat_n(&**chat, viewers));
    let mut audience = Audience::of(telling.address(), watched).await?;
    audience.watch(SETTLING).await?;
    let ids = [worker.process_id(), telling.process_id(), std::process::id()];
    let (told, before, began) = (audience.sweep()?, ids.map(time_of_process), Instant::now());
    audience.watch(window).await?;
    let (deliveries, after, took) = (audience.sweep()? - told, ids.map(time_of_process), began.elapsed());
    drop((worker, telling));
    database.remove(&stage.postgres).await?;

    ensure!(deliveries > 0.0, "nothing was delivered");
    let each = |at: usize| (after[at] - before[at]).as_secs_f64() * 1e6 / deliveries;
    let figures = Figures {
        deliveries_per_second: deliveries / took.as_secs_f64(),
        servers_cpu_us_per_delivery: each(0) + each(1),
        worker_cpu_us_per_delivery: each(0),
        telling_cpu_us_per_delivery: each(1),
        watching_cpu_us_per_delivery: each(2),
    };
    Ok(figures.named())
}
