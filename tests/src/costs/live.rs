//! What a chat costs while its answer is told at the pace of a slow model, with one viewer each at the replica that does not work. Of `live`, no
//! answer ends. Of `live-turns`, answers are short, and whoever has watched one asks for the next.

use std::time::Duration;

use anyhow::ensure;
use futures::future::try_join_all;

use super::audience::Audience;
use super::database::Database;
use super::figures::{Measured, figures};
use super::requests::{Connection, create, says};
use super::{Program, Stage};
use crate::measure::{need_open_files, time_of_process, time_of_tree};
use crate::process::Replica;

const PARTS_A_SECOND: u32 = 5;
const INTERVAL_MS: u32 = 1000 / PARTS_A_SECOND;
/// More than there is time for.
const LONG: u32 = 1_000_000;
/// Of an answer of `live-turns`.
const SHORT: u32 = 10;
const CREATED_AT_ONCE: usize = 16;
/// Connections by which the next messages are sent.
const SENT_AT_ONCE: usize = 16;
/// Until everybody does what will be measured.
const SETTLING: Duration = Duration::from_secs(3);
/// Of this process and of each server, beside those of viewers.
const FILES_BESIDE: u64 = 200;

figures! {
    /// Within the window. Memory: at its end, and before there was a chat.
    Figures {
        parts_per_second,
        servers_cpu_us_per_part,
        worker_cpu_us_per_part,
        telling_cpu_us_per_part,
        postgres_cpu_ms_per_second,
        worker_rss_kib_per_chat,
        telling_rss_kib_per_chat,
        watching_cpu_us_per_part,
    }
}

figures! {
    /// The same, with what turns cost.
    TurnsFigures {
        turns_per_second,
        parts_per_second,
        servers_cpu_us_per_turn,
        postgres_cpu_us_per_turn,
        servers_cpu_us_per_part,
        worker_rss_kib_per_chat,
        telling_rss_kib_per_chat,
        watching_cpu_us_per_part,
    }
}

fn chats(is_quick: bool) -> usize {
    if is_quick { 50 } else { 2000 }
}

fn window(is_quick: bool) -> Duration {
    Duration::from_secs(if is_quick { 2 } else { 10 })
}

pub(super) fn extent(is_quick: bool, has_turns: bool) -> Measured {
    let mut extent = vec![
        ("chats", chats(is_quick) as f64),
        ("parts_per_second_of_a_chat", f64::from(PARTS_A_SECOND)),
        ("window_seconds", window(is_quick).as_secs_f64()),
    ];
    if has_turns {
        extent.push(("parts_of_an_answer", f64::from(SHORT)));
    }
    extent
}

/// What has been spent and done so far.
struct Reading {
    at: std::time::Instant,
    parts: f64,
    sent: f64,
    worker: Duration,
    telling: Duration,
    postgres: Duration,
    watching: Duration,
}

/// Both replicas, and those who watch.
struct Scene<'a> {
    stage: &'a Stage,
    worker: Replica,
    telling: Replica,
    audience: Audience,
    chats: Vec<String>,
    connections: Vec<Connection>,
    content: String,
    sent: usize,
}

impl Scene<'_> {
    fn read(&mut self) -> anyhow::Result<Reading> {
        let parts = self.audience.sweep()?;
        Ok(Reading {
            at: std::time::Instant::now(),
            parts,
            sent: self.sent as f64,
            worker: time_of_process(self.worker.process_id()),
            telling: time_of_process(self.telling.process_id()),
            postgres: time_of_tree(self.stage.postgres.process_id()),
            watching: time_of_process(std::process::id()),
        })
    }

    /// Watches for so long, and asks on where an answer has ended.
    async fn go_on(&mut self, time: Duration, has_turns: bool) -> anyhow::Result<()> {
        if !has_turns {
            return self.audience.watch(time).await;
        }
        let end = std::time::Instant::now() + time;
        while std::time::Instant::now() < end {
            let rested = self.audience.rested();
            self.sent += rested.len();
            let body = says(&self.content);
            let chats = &self.chats;
            let (rested, body) = (&rested, &body);
            let sending = self.connections.iter_mut().enumerate().map(|(first, connection)| async move {
                for chat in rested.iter().skip(first).step_by(SENT_AT_ONCE) {
                    let path = format!("/v1/chats/{}/messages", chats[*chat]);
                    connection.post(&path, body, 202).await?;
                }
                anyhow::Ok(())
            });
            let (_, watched) =
                tokio::join!(try_join_all(sending), self.audience.watch(Duration::from_millis(100)));
            watched?;
        }
        Ok(())
    }
}

pub(super) async fn measure(stage: &Stage, program: &Program, has_turns: bool) -> anyhow::Result<Measured> {
    let (chats, window) = (chats(stage.is_quick), window(stage.is_quick));
    need_open_files(chats as u64 + FILES_BESIDE)?;
    let database = Database::fresh(&stage.postgres).await?;
    let workers = (chats + 100).to_string();
    let worker = program.serve("works", &database.url, &["--workers", &workers]).await;
    let telling = program.serve("serves", &database.url, &["--workers", "0"]).await;
    let memory = [worker.resident_bytes(), telling.resident_bytes()];
    let parts = if has_turns { SHORT } else { LONG };
    let content = format!("/demo parts={parts} interval={INTERVAL_MS}ms");
    let ids = create(telling.address(), chats, CREATED_AT_ONCE, &content).await?;
    let audience = Audience::of(telling.address(), ids.iter().map(|id| &**id)).await?;
    let mut connections = vec![];
    for _ in 0..SENT_AT_ONCE {
        connections.push(Connection::open(telling.address()).await?);
    }
    let mut scene = Scene { stage, worker, telling, audience, chats: ids, connections, content, sent: 0 };
    scene.go_on(SETTLING, has_turns).await?;
    let before = scene.read()?;
    scene.go_on(window, has_turns).await?;
    let after = scene.read()?;
    let resident = [scene.worker.resident_bytes(), scene.telling.resident_bytes()];
    drop(scene);
    database.remove(&stage.postgres).await?;

    let seconds = (after.at - before.at).as_secs_f64();
    let (parts, turns) = (after.parts - before.parts, after.sent - before.sent);
    ensure!(parts > 0.0 && (turns > 0.0) == has_turns, "{parts} parts came, and {turns} turns began");
    let us = |from: Duration, to: Duration| (to - from).as_secs_f64() * 1e6;
    let (worker, telling) = (us(before.worker, after.worker), us(before.telling, after.telling));
    let postgres = us(before.postgres, after.postgres);
    let watching_cpu_us_per_part = us(before.watching, after.watching) / parts;
    let grown = |at: usize| (resident[at] as f64 - memory[at] as f64) / 1024.0 / chats as f64;
    let [worker_rss_kib_per_chat, telling_rss_kib_per_chat] = [grown(0), grown(1)];
    let parts_per_second = parts / seconds;
    let servers_cpu_us_per_part = (worker + telling) / parts;
    if has_turns {
        let figures = TurnsFigures {
            turns_per_second: turns / seconds,
            parts_per_second,
            servers_cpu_us_per_turn: (worker + telling) / turns,
            postgres_cpu_us_per_turn: postgres / turns,
            servers_cpu_us_per_part,
            worker_rss_kib_per_chat,
            telling_rss_kib_per_chat,
            watching_cpu_us_per_part,
        };
        return Ok(figures.named());
    }
    let figures = Figures {
        parts_per_second,
        servers_cpu_us_per_part,
        worker_cpu_us_per_part: worker / parts,
        telling_cpu_us_per_part: telling / parts,
        postgres_cpu_ms_per_second: postgres / 1e3 / seconds,
        worker_rss_kib_per_chat,
        telling_rss_kib_per_chat,
        watching_cpu_us_per_part,
    };
    Ok(figures.named())
}
