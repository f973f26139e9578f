//! Many seeds: each in a worker process under a watchdog, so that a run that hangs, runs out of memory or takes
//! its process with it costs itself alone. One line of JSON for each seed, and a summary of all of them.

mod progress;
mod result;
mod summary;
mod supervisor;
mod worker;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

pub use result::{Kind as ResultKind, SeedResult};
pub use summary::Summary;
pub use worker::{COMMAND as WORKER_COMMAND, serve as serve_worker};

/// What a batch is asked to do.
#[derive(Clone, Debug)]
pub struct Batch {
    pub seeds: std::ops::Range<u64>,
    /// No seed begins later than this after the start.
    pub limit: Option<Duration>,
    pub jobs: usize,
    /// Ends at the first seed that is not clean.
    pub stop: bool,
    /// Where the lines go.
    pub results: PathBuf,
    /// An oracle that is switched off.
    pub without_oracle: Option<String>,
}

/// Seeds that a batch must have for a fault that was asked for and never landed to be a failure (D2).
pub const SEEDS_FOR_FAULTS: u64 = 100;
/// Seeds that a batch must have for a mark that was never hit to be a failure.
pub const SEEDS_FOR_MARKS: u64 = 1_000;

impl Batch {
    /// Runs them all. Results come in the order in which runs end.
    pub fn run(&self) -> anyhow::Result<Summary> {
        let file = std::fs::File::create(&self.results)
            .with_context(|| format!("creating {}", self.results.display()))?;
        let mut file = std::io::BufWriter::new(file);
        let began = Instant::now();
        let results = supervisor::run(self, began)?;
        let mut progress = progress::Progress::new(self, began);
        let mut summary = Summary::default();
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
