//! `cargo sim`: runs scenarios and random seeds, replays and shrinks them, checks determinism, and runs the
//! zoo.
//!
//! Exit codes: 0 clean, 1 a guarantee was broken, 2 no progress, 3 not deterministic, 4 hang, 5 the harness
//! itself, 64 usage.

mod again;
mod find;
mod pure;
mod random;
mod scenarios;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mainstem_oracles::Guarantee;
use mainstem_sim::story;
use mainstem_sim::{batch, determinism, zoo};

use find::{NoSuchFile, Unreadable};

const BROKEN: u8 = 1;
const NOT_DETERMINISTIC: u8 = 3;
const HARNESS: u8 = 5;
const USAGE: u8 = 64;

/// Mainstem's simulator.
#[derive(Debug, Parser)]
#[command(name = "cargo sim", bin_name = "cargo sim")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs scenario files: all under scenarios/, or those named.
    Scenarios(scenarios::ScenariosArgs),
    /// Runs randomized simulations.
    Run(random::RunArgs),
    /// Runs the pure world at random.
    Walk(pure::WalkArgs),
    /// Visits every state of a small pure world, up to a number of faults and delays.
    Explore(pure::ExploreArgs),
    /// Runs one seed, one scenario file, or what `walk` or `explore` found, again; or tells a machine of a real server
    /// its tape.
    Replay {
        /// A seed, a scenario file, the name of one, a file of choices, or a tape.
        file: String,
        /// Prints it as a timeline.
        #[arg(long)]
        trace: bool,
        /// Writes it as a page with a space-time diagram.
        #[arg(long, value_name = "OUT")]
        html: Option<PathBuf>,
        /// Writes a page with the run beside the nearest one that is clean: one choice is another one.
        #[arg(long, value_name = "OUT")]
        beside: Option<PathBuf>,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Finds the commit since which a run fails: builds commits in a copy, and replays the run there.
    Bisect {
        /// A seed, a scenario file, the name of one, or a file of choices.
        file: String,
        /// `A..B`: it passes at A and fails at B.
        range: String,
    },
    /// Finds the smallest run that still fails, and writes it as a scenario file.
    Shrink(random::ShrinkArgs),
    /// Runs scenarios and seeds in two processes each and compares their traces.
    CheckDeterminism {
        /// Scenarios: all of them, if neither these nor seeds are given.
        names: Vec<String>,
        /// `A..B`: from A up to, and not including, B.
        #[arg(long, value_parser = seeds)]
        seeds: Option<Range<u64>>,
        /// Compares with this program instead of itself: the same one, built with another profile.
        #[arg(long, value_name = "PROGRAM")]
        beside: Vec<PathBuf>,
    },
    /// Plants each known bug in a copy of the tree, and requires that it is caught.
    Zoo(zoo::Options),
    /// Runs seeds that it reads from standard input.
    #[command(name = batch::WORKER_COMMAND, hide = true)]
    Worker {
        #[arg(long)]
        without_oracle: Option<Guarantee>,
    },
    /// Prints the trace of one seed or scenario.
    #[command(name = determinism::TRACE_COMMAND, hide = true)]
    PrintTrace {
        file: String,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.filter(|range| !range.is_empty()).ok_or_else(|| "expected a range like 0..1000".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}: expected a time like 90s, 10m or 8h"))
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Task::Run(args) => random::random(args),
        Task::Walk(args) => pure::walk(&args),
        Task::Explore(args) => pure::explore(&args),
        Task::Shrink(args) => random::smallest(args),
        Task::Worker { without_oracle } => batch::serve_worker(without_oracle).map(|()| 0),
        Task::Scenarios(args) => scenarios::scenarios(&args),
        Task::Replay { file, beside: Some(out), .. } => pure::beside(&file, &out),
        Task::Replay { file, trace, html, seed, .. } => again::replay(&file, trace, html.as_deref(), seed),
        Task::Bisect { file, range } => again::bisect(&file, &range),
        Task::CheckDeterminism { names, seeds, beside } => again::check_determinism(&names, seeds, &beside),
        Task::Zoo(options) => zoo::run(&options, &find::directory()),
        Task::PrintTrace { file, seed } => again::print_trace(&file, seed),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            let is_usage =
                error.is::<story::Problem>() || error.is::<NoSuchFile>() || error.is::<Unreadable>();
            ExitCode::from(if is_usage { USAGE } else { HARNESS })
        }
    }
}
