//! The progress of a batch: on a terminal, a bar with rate and remaining time; nothing elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::Batch;
use super::result::{Kind, SeedResult};

const WIDTH: usize = 30;
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Progress {
    began: Instant,
    limit: Option<Duration>,
    all: u64,
    done: u64,
    failed: u64,
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    pub(super) fn new(batch: &Batch, began: Instant) -> Self {
        let all = batch.seeds.end - batch.seeds.start;
        let is_terminal = std::io::stderr().is_terminal();
        Self { began, limit: batch.limit, all, done: 0, failed: 0, shown: None, is_terminal }
    }

    pub(super) fn advance(&mut self, result: &SeedResult) {
        self.done += 1;
        self.failed += u64::from(result.verdict != Kind::Clean);
        if self.is_terminal && self.shown.is_none_or(|at| at.elapsed() >= PAUSE) {
            self.shown = Some(Instant::now());
            // A failure to draw the bar is ignored.
            let _ = write!(std::io::stderr(), "\r{}", self.line());
        }
    }

    pub(super) fn finish(&self) {
        if self.is_terminal {
            let _ = writeln!(std::io::stderr(), "\r{}", self.line());
        }
    }

    fn line(&self) -> String {
        let took = self.began.elapsed();
        let rate = self.done as f64 / took.as_secs_f64().max(0.001);
        let by_count = self.done as f64 / self.all.max(1) as f64;
        let by_time = self.limit.map_or(0.0, |limit| took.as_secs_f64() / limit.as_secs_f64().max(0.001));
        let share = by_count.max(by_time).min(1.0);
        let filled = (share * WIDTH as f64) as usize;
        let left = if share > 0.0 { took.mul_f64((1.0 - share) / share) } else { Duration::ZERO };
        format!(
            "[{}{}] {} seeds, {} failed, {rate:.1}/s, {} s left   ",
            "#".repeat(filled),
            ".".repeat(WIDTH - filled),
            self.done,
            self.failed,
            left.as_secs()
        )
    }
}
