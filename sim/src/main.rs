//! `cargo sim`: runs scenarios, tells one as a timeline, checks that runs repeat themselves.
//!
//! Exit codes: 0 clean, 1 a guarantee was broken, 2 no progress, 3 not deterministic, 4 hang, 5 the harness
//! itself, 64 usage.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use mainstem_sim::plan::Plan;
use mainstem_sim::run::{Outcome, Verdict, run};
use mainstem_sim::story::{self, Story};
use mainstem_sim::{determinism, timeline};

const NOT_DETERMINISTIC: u8 = 3;
const HARNESS: u8 = 5;
const USAGE: u8 = 64;

/// Mainstem's laboratory.
#[derive(Debug, Parser)]
#[command(name = "cargo sim", bin_name = "cargo sim")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs scenario files: all under scenarios/, or those named.
    Scenarios { names: Vec<String> },
    /// Runs one scenario file again.
    Replay {
        /// A scenario file, or the name of one.
        file: String,
        /// Tells it as a timeline.
        #[arg(long)]
        trace: bool,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Runs each scenario in two processes and compares their traces.
    CheckDeterminism { names: Vec<String> },
    /// Prints the trace of one scenario.
    #[command(name = determinism::TRACE_COMMAND, hide = true)]
    PrintTrace {
        file: String,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
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
        Task::Scenarios { names } => scenarios(&names),
        Task::Replay { file, trace, seed } => replay(&file, trace, seed),
        Task::CheckDeterminism { names } => check_determinism(&names),
        Task::PrintTrace { file, seed } => print_trace(&file, seed),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.is::<story::Problem>() || error.is::<NoSuchFile>() {
                USAGE
            } else {
                HARNESS
            })
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there is no scenario {0:?}: give a file, or the name of one under scenarios/")]
struct NoSuchFile(String);

/// Where scenarios are: below the working directory, or else where this was built.
fn directory() -> PathBuf {
    let here = PathBuf::from("scenarios");
    if here.is_dir() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios") }
}

fn find(names: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    if names.is_empty() {
        let directory = directory();
        let entries =
            std::fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "story"));
        paths.sort();
        if paths.is_empty() {
            bail!("{} has no file that ends with .story", directory.display());
        }
        return Ok(paths);
    }
    names
        .iter()
        .map(|name| {
            let named = directory().join(format!("{name}.story"));
            [PathBuf::from(name), named]
                .into_iter()
                .find(|path| path.is_file())
                .ok_or_else(|| NoSuchFile(name.clone()).into())
        })
        .collect()
}

/// A seed's plan, or a scenario file.
fn find_one(seed_or_file: &str) -> anyhow::Result<(PathBuf, Story)> {
    if let Ok(seed) = seed_or_file.parse::<u64>() {
        let story = Plan::draw(seed).to_story().context("a plan that is no story")?;
        return Ok((PathBuf::from(seed_or_file), story));
    }
    let path = find(&[seed_or_file.to_owned()])?.remove(0);
    let story = read(&path)?;
    Ok((path, story))
}

fn read(path: &Path) -> anyhow::Result<Story> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    story::parse(&name, &text)
        .map_err(|problem| anyhow::Error::new(problem).context(path.display().to_string()))
}

fn scenarios(names: &[String]) -> anyhow::Result<u8> {
    let mut worst = 0;
    let mut last = None;
    for path in find(names)? {
        let story = read(&path)?;
        let start = std::time::Instant::now();
        let outcome = run(&story, 0);
        let (name, took) = (&story.name, start.elapsed().as_millis());
        match &outcome.verdict {
            Verdict::Clean => println!("ok     {name:<8} guards {:<12} {took:>5} ms", story.guards.join(" ")),
            verdict => {
                println!("FAILED {name}");
                worst = worst.max(verdict.code());
                last = Some((path, outcome));
            }
        }
    }
    if let Some((path, outcome)) = last {
        report(&path, &outcome, 0);
    }
    Ok(worst)
}

/// The last lines name the guarantee, the scenario, the commit, and the command that replays it.
fn report(path: &Path, outcome: &Outcome, seed: u64) {
    eprintln!("{}", outcome.verdict);
    eprintln!("scenario {}, seed {seed}", path.display());
    if let Some(commit) = commit() {
        eprintln!("commit {commit}");
    }
    eprintln!("cargo sim replay {} --seed {seed} --trace", path.display());
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

fn replay(file: &str, trace: bool, seed: u64) -> anyhow::Result<u8> {
    let (path, story) = find_one(file)?;
    let outcome = run(&story, seed);
    if trace {
        print!("{}", timeline::in_columns(&outcome.lines));
    }
    for (fault, count) in &outcome.faults {
        println!("fault  {fault}: {count}");
    }
    println!("digest {:016x}, {} lines", outcome.digest, outcome.lines.len());
    match &outcome.verdict {
        Verdict::Clean => println!("ok     {}", story.name),
        _ => report(&path, &outcome, seed),
    }
    Ok(outcome.verdict.code())
}

fn print_trace(file: &str, seed: u64) -> anyhow::Result<u8> {
    let (_, story) = find_one(file)?;
    let outcome = run(&story, seed);
    let lines: String = outcome.lines.iter().map(|line| format!("{line}\n")).collect();
    print!("{lines}digest {:016x}\n{}\n", outcome.digest, outcome.verdict);
    Ok(outcome.verdict.code())
}

fn check_determinism(names: &[String]) -> anyhow::Result<u8> {
    let program = std::env::current_exe().context("finding this program")?;
    for path in find(names)? {
        let file = path.to_string_lossy();
        if let Some(difference) = determinism::check(&program, &file, 0)? {
            let shown = |line: Option<String>| line.unwrap_or_else(|| "(the trace has ended)".into());
            eprintln!("D1: two runs differ at line {} of their traces", difference.line);
            eprintln!("one:   {}\nother: {}", shown(difference.first), shown(difference.second));
            eprintln!("scenario {file}, seed 0");
            if let Some(commit) = commit() {
                eprintln!("commit {commit}");
            }
            eprintln!("cargo sim check-determinism {file}");
            return Ok(NOT_DETERMINISTIC);
        }
        println!("same   {}", path.file_stem().unwrap_or_default().to_string_lossy());
    }
    Ok(0)
}
