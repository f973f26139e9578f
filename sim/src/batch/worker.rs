//! The worker process: runs the seeds that it reads from standard input, one after the other.

use std::io::{BufRead as _, Write as _};
use std::time::Instant;

use anyhow::Context;
use mainstem_oracles::Guarantee;

use super::result::{Kind, SeedResult};
use crate::plan::Plan;
use crate::run::{RunOptions, run};

/// The internal subcommand of a worker.
pub const COMMAND: &str = "worker";

/// Answers each line, which is a seed, with the line of its result. Exits after a run that hangs, because its
/// thread cannot be stopped.
pub fn serve(without_oracle: Option<Guarantee>) -> anyhow::Result<()> {
    // The text of a panic is in the result.
    std::panic::set_hook(Box::new(|_| {}));
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading a seed")?;
        let seed: u64 = line.trim().parse().with_context(|| format!("{line:?} is no seed"))?;
        let began = Instant::now();
        let story = Plan::draw(seed).to_story().with_context(|| format!("the plan of seed {seed}"))?;
        let outcome = run(&story, seed, &RunOptions { without_oracle, ..RunOptions::default() });
        let wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let result = SeedResult::of(seed, outcome, wall_ms);
        let hung = result.verdict == Kind::Hung;
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &result).context("writing a result")?;
        out.write_all(b"\n").and_then(|()| out.flush()).context("writing a result")?;
        if hung {
            return Ok(());
        }
    }
    Ok(())
}
