//! Runs many seeds in worker processes under a watchdog, so that a run that hangs, runs out of memory or
//! kills its process affects no other run. The output is one line of JSON for each seed, and a summary.

mod progress;
mod result;
mod summary;
mod supervisor;
mod worker;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use mainstem_oracles::Guarantee;

pub use result::{Kind as ResultKind, SeedResult};
pub use summary::Summary;
pub use worker::{COMMAND as WORKER_COMMAND, serve as serve_worker};

/// The options of a batch.
#[derive(Clone, Debug)]
pub struct Batch {
    pub seeds: std::ops::Range<u64>,
    /// No seed begins later than this after the start of the batch.
    pub limit: Option<Duration>,
    pub jobs: usize,
    /// Stop at the first seed that is not clean.
    pub stop: bool,
    /// The file for the lines.
    pub results: PathBuf,
    /// A guarantee whose oracle is switched off.
    pub without_oracle: Option<Guarantee>,
}

/// In a batch with at least this many seeds, a planned kind of fault that never took effect is a failure
/// (D2).
pub const SEEDS_FOR_FAULTS: u64 = 100;
/// In a batch with at least this many seeds, a mark that was never reached is a failure.
pub const SEEDS_FOR_MARKS: u64 = 1_000;

impl Batch {
    /// Runs all seeds. Results come in the order in which runs end.
    pub fn run(&self) -> anyhow::Result<Summary> {
        let file = std::fs::File::create(&self.results)
            .with_context(|| format!("creating {}", self.results.display()))?;
        let mut file = std::io::BufWriter::new(file);
        let began = Instant::now();
        let results = supervisor::run(self, began)?;
        let mut progress = progress::Progress::new(self, began);
        let mut summary = Summary::default();
        summary.without_oracle = self.without_oracle;
        for result in results {
            let result = result?;
            serde_json::to_writer(&mut file, &result).context("writing a result")?;
            file.write_all(b"\n").and_then(|()| file.flush()).context("writing a result")?;
            progress.advance(&result);
            summary.add(result);
        }
        progress.finish();
        summary.took = began.elapsed();
        Ok(summary)
    }
}
