//! Supervises worker processes: keeps them busy, and replaces those that died or do not answer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Batch;
use super::result::{Kind, SeedResult};
use super::worker::COMMAND;
use crate::run::WALL_LIMIT;

/// A worker that sends nothing for this long is killed: its own watchdog has failed.
const ANSWER_TIMEOUT: Duration = WALL_LIMIT.saturating_add(Duration::from_secs(10));
/// The memory limit of one worker, in KiB.
const MEMORY_MAX_KIB: u64 = 4 * 1024 * 1024;

/// The exit code of a shell that cannot find the program.
const NOT_STARTED: [i32; 2] = [126, 127];
/// Seeds after which a worker is replaced, to free memory that runs leave behind.
const SEEDS_PER_WORKER: u32 = 100;

/// The results as they arrive. The iterator ends when all seeds have been run, or the batch has to stop.
pub(super) fn run(
    batch: &Batch,
    began: Instant,
) -> anyhow::Result<mpsc::IntoIter<anyhow::Result<SeedResult>>> {
    let (sender, results) = mpsc::channel();
    let next = Arc::new(AtomicU64::new(batch.seeds.start));
    let stop = Arc::new(AtomicBool::new(false));
    for job in 0..batch.jobs.max(1) {
        let (sender, next, stop, batch) = (sender.clone(), next.clone(), stop.clone(), batch.clone());
        let lane = std::thread::Builder::new().name(format!("lane {job}"));
        lane.spawn(move || {
            let mut worker = None;
            while !stop.load(Ordering::Relaxed) && batch.limit.is_none_or(|limit| began.elapsed() < limit) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !batch.seeds.contains(&seed) {
                    return;
                }
                let result = run_one(&mut worker, &batch, seed);
                let over = match &result {
                    Ok(result) => batch.stop && result.verdict != Kind::Clean,
                    Err(_) => true,
                };
                stop.fetch_or(over, Ordering::Relaxed);
                if sender.send(result).is_err() {
                    return;
                }
            }
        })
        .context("starting a thread")?;
    }
    Ok(results.into_iter())
}

fn run_one(worker: &mut Option<Worker>, batch: &Batch, seed: u64) -> anyhow::Result<SeedResult> {
    let began = Instant::now();
    let busy = match worker {
        Some(worker) => worker,
        None => worker.insert(Worker::start(batch)?),
    };
    let wall_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = busy.ask(seed);
    let result = match answer {
        Ok(line) => serde_json::from_str(&line).with_context(|| format!("{line:?} is no result"))?,
        Err(Silent::Hangs) => {
            let why = format!("its process said nothing for {} s", ANSWER_TIMEOUT.as_secs());
            SeedResult::without_word(seed, Kind::Hung, why, wall_ms())
        }
        Err(Silent::Gone) => {
            let status = busy.child.wait().context("waiting for a worker process")?;
            if status.code().is_some_and(|code| NOT_STARTED.contains(&code)) {
                bail!("a worker process could not be started: was this program built anew meanwhile?");
            }
            let how = status.to_string();
            SeedResult::without_word(seed, Kind::Died, format!("its process ended: {how}"), wall_ms())
        }
    };
    busy.seeds_run += 1;
    if matches!(result.verdict, Kind::Hung | Kind::Died) || busy.seeds_run >= SEEDS_PER_WORKER {
        *worker = None;
    }
    Ok(result)
}

/// Why a worker gave no answer.
enum Silent {
    Hangs,
    Gone,
}

struct Worker {
    child: Child,
    seeds: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    seeds_run: u32,
}

impl Worker {
    fn start(batch: &Batch) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        // A shell's `ulimit` is the simplest way to limit memory.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -v {MEMORY_MAX_KIB}; exec \"$0\" \"$@\"")]);
        command.arg(program).arg(COMMAND);
        if let Some(oracle) = batch.without_oracle {
            command.args(["--without-oracle", oracle.as_str()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a worker process")?;
        let seeds = child.stdin.take();
        let out = child.stdout.take().context("a worker has an output")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, seeds, lines, seeds_run: 0 })
    }

    fn ask(&mut self, seed: u64) -> Result<String, Silent> {
        let seeds = self.seeds.as_mut().ok_or(Silent::Gone)?;
        writeln!(seeds, "{seed}").and_then(|()| seeds.flush()).map_err(|_| Silent::Gone)?;
        self.lines.recv_timeout(ANSWER_TIMEOUT).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Silent::Hangs,
            mpsc::RecvTimeoutError::Disconnected => Silent::Gone,
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.seeds.take());
        // A worker that hangs has to be killed; one that has ended is only reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
