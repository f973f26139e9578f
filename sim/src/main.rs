//! `cargo sim`: runs scenarios and random seeds, replays and shrinks them, checks determinism, and runs the
//! zoo.
//!
//! Exit codes: 0 clean, 1 a guarantee was broken, 2 no progress, 3 not deterministic, 4 hang, 5 the harness
//! itself, 64 usage.

mod pure;
mod scenarios;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use mainstem_oracles::Guarantee;
use mainstem_runtime::tape::is_tape;
use mainstem_sim::batch::{self, Batch};
use mainstem_sim::plan::Plan;
use mainstem_sim::run::{Outcome, RunOptions, Verdict, run};
use mainstem_sim::shrink::{ShrinkError, shrink};
use mainstem_sim::story::{self, Story};
use mainstem_sim::visualize::{html, timeline};
use mainstem_sim::{bisect, determinism, tapes, zoo};
use mainstem_world::Recording;

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
    Run(RunArgs),
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
    Shrink(ShrinkArgs),
    /// Runs scenarios and seeds in two processes each and compares their traces.
    CheckDeterminism {
        /// Scenarios: all of them, if neither these nor seeds are given.
        names: Vec<String>,
        /// `A..B`: from A up to, and not including, B.
        #[arg(long, value_parser = seeds)]
        seeds: Option<Range<u64>>,
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

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// `A..B`: from A up to, and not including, B.
    #[arg(long, value_parser = seeds, conflicts_with = "limit")]
    seeds: Option<Range<u64>>,
    /// Runs seeds from 0 on for this long: 90s, 10m, 8h.
    #[arg(long = "for", value_parser = span)]
    limit: Option<Duration>,
    /// Number of worker processes [default: the number of cores].
    #[arg(long)]
    jobs: Option<usize>,
    /// Stops at the first seed that is not clean.
    #[arg(long)]
    stop: bool,
    /// Writes the results to this file, one line of JSON for each seed.
    #[arg(long, default_value = "target/sim-results.jsonl")]
    results: PathBuf,
    /// Switches an oracle off, by the id of its guarantee.
    #[arg(long)]
    without_oracle: Option<Guarantee>,
}

#[derive(Debug, clap::Args)]
struct ShrinkArgs {
    /// A seed, a scenario file whose sentences have times, or the name of one.
    file: String,
    /// Writes the scenario to this file [default: a file under scenarios/regressions].
    #[arg(short = 'o', long)]
    output: Option<PathBuf>,
    /// Time limit, by the wall clock.
    #[arg(long = "for", value_parser = span, default_value = "60s")]
    limit: Duration,
    #[arg(long)]
    jobs: Option<usize>,
    /// Switches an oracle off, by the id of its guarantee.
    #[arg(long)]
    without_oracle: Option<Guarantee>,
}

fn smallest(args: ShrinkArgs) -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = match args.file.parse::<u64>() {
        Ok(seed) => Plan::draw(seed),
        Err(_) => {
            let path = find(std::slice::from_ref(&args.file))?.remove(0);
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Plan::parse(&name, &text)
                .map_err(|why| anyhow::Error::new(why).context(path.display().to_string()))?
        }
    };
    std::panic::set_hook(Box::new(|_| {}));
    let options = RunOptions { without_oracle: args.without_oracle, ..RunOptions::default() };
    let name = plan.name.clone();
    let shrunk = match shrink(plan, &options, args.jobs.unwrap_or(cores), args.limit) {
        Err(ShrinkError::Clean) => {
            println!("{name} runs clean: there is nothing to shrink");
            return Ok(0);
        }
        shrunk => shrunk?,
    };
    let story = shrunk.plan.to_story()?;
    let faults = shrunk.plan.faults()?;
    let guarantee = shrunk.verdict.guarantee();
    let output = args.output.unwrap_or_else(|| {
        let of = guarantee.map_or("none", Guarantee::as_str).to_lowercase();
        directory().join("regressions").join(format!("{of}-{}.story", name.replace(' ', "-")))
    });
    if let Some(parent) = output.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    let why = shrunk.verdict.to_string();
    let mut text = format!("# Found by {name}.\n");
    for line in why.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(&guarding(&shrunk.plan, guarantee).to_string());
    std::fs::write(&output, text).with_context(|| format!("writing {}", output.display()))?;
    println!("{why}");
    println!(
        "shrunk to {faults} faults and {} other lines in {} runs and {:.1} s{}",
        story.sentences.len() - faults,
        shrunk.runs,
        shrunk.took.as_secs_f64(),
        if shrunk.is_minimal { "" } else { ", when the time was over" }
    );
    println!("written to {}", output.display());
    Ok(shrunk.verdict.code())
}

/// The plan as a story that guards the guarantee it broke.
fn guarding(plan: &Plan, guarantee: Option<Guarantee>) -> Plan {
    let mut plan = plan.clone();
    if let (Some(id), Some(line)) =
        (guarantee, plan.heading.iter_mut().find(|line| line.starts_with("guards ")))
    {
        *line = format!("guards {id}");
    }
    plan
}

/// The default number of seeds.
const SEEDS: Range<u64> = 0..1_000;

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.filter(|range| !range.is_empty()).ok_or_else(|| "expected a range like 0..1000".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}: expected a time like 90s, 10m or 8h"))
}

fn random(args: RunArgs) -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds = match (args.seeds, args.limit) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => 0..u64::MAX,
        (None, None) => SEEDS,
    };
    if let Some(parent) = args.results.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    let (results, without_oracle) = (args.results.clone(), args.without_oracle);
    let jobs = args.jobs.unwrap_or(cores);
    let summary = Batch { seeds, limit: args.limit, jobs, stop: args.stop, results, without_oracle }.run()?;
    println!("{summary}results     {}", args.results.display());
    let mut failed: Vec<_> = summary.failed.iter().collect();
    failed.sort_by_key(|result| (result.verdict, result.seed));
    for result in failed.iter().skip(1).take(20).rev() {
        let why = result.why.lines().next().unwrap_or_default();
        println!("FAILED seed {}: {:?} {}", result.seed, result.verdict, why);
    }
    if let Some(first) = failed.first() {
        let guarantee = first.guarantee.map_or("no guarantee named", Guarantee::as_str);
        eprintln!("{guarantee}: {:?}: {}", first.verdict, first.why);
        eprintln!("seed {}", first.seed);
        if let Some(commit) = commit() {
            eprintln!("commit {commit}");
        }
        eprintln!("cargo sim replay {} --trace", first.seed);
    }
    Ok(summary.code())
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
        Task::Run(args) => random(args),
        Task::Walk(args) => pure::walk(&args),
        Task::Explore(args) => pure::explore(&args),
        Task::Shrink(args) => smallest(args),
        Task::Worker { without_oracle } => batch::serve_worker(without_oracle).map(|()| 0),
        Task::Scenarios(args) => scenarios::scenarios(&args),
        Task::Replay { file, beside: Some(out), .. } => pure::beside(&file, &out),
        Task::Replay { file, trace, html, seed, .. } => replay(&file, trace, html.as_deref(), seed),
        Task::Bisect { file, range } => bisect(&file, &range),
        Task::CheckDeterminism { names, seeds } => check_determinism(&names, seeds),
        Task::Zoo(options) => zoo::run(&options, &directory()),
        Task::PrintTrace { file, seed } => print_trace(&file, seed),
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

#[derive(Debug, thiserror::Error)]
#[error("there is no scenario {0:?}: give a file, or the name of one under scenarios/")]
struct NoSuchFile(String);

/// A file of choices that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
pub(crate) struct Unreadable(pub(crate) String, #[source] pub(crate) mainstem_world::NotARecording);

/// The directory of the scenarios: under the working directory, or else in the tree where this was built.
fn directory() -> PathBuf {
    let here = PathBuf::from("scenarios");
    if here.is_dir() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios") }
}

fn find(names: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    if names.is_empty() {
        let directory = directory();
        let mut paths = stories(&directory)?;
        if directory.join("regressions").is_dir() {
            paths.extend(stories(&directory.join("regressions"))?);
        }
        if paths.is_empty() {
            bail!("{} has no file that ends with .story", directory.display());
        }
        return Ok(paths);
    }
    names
        .iter()
        .map(|name| {
            let file = format!("{name}.story");
            [PathBuf::from(name), directory().join(&file), directory().join("regressions").join(&file)]
                .into_iter()
                .find(|path| path.is_file())
                .ok_or_else(|| NoSuchFile(name.clone()).into())
        })
        .collect()
}

/// The stories of one directory, by name.
fn stories(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "story"));
    paths.sort();
    Ok(paths)
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

/// Prints how to reproduce a failure: the guarantee, the seed or scenario, the commit, and the command.
fn report(path: &Path, outcome: &Outcome, seed: u64) {
    let what = path.display();
    eprintln!("{}", outcome.verdict);
    let is_seed = path.to_string_lossy().parse::<u64>().is_ok();
    if is_seed {
        eprintln!("seed {what}");
    } else {
        eprintln!("scenario {what}, seed {seed}");
    }
    if let Some(commit) = commit() {
        eprintln!("commit {commit}");
    }
    let seed = if is_seed || seed == 0 { String::new() } else { format!(" --seed {seed}") };
    eprintln!("cargo sim replay {what}{seed} --trace");
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

fn replay(file: &str, trace: bool, html: Option<&Path>, seed: u64) -> anyhow::Result<u8> {
    if let Some(tape) = tape(Path::new(file))? {
        return replay_tape(file, &tape, trace, html);
    }
    let choices = std::fs::read_to_string(file).ok().filter(|text| Recording::looks_like(text));
    let (path, name, seed, outcome) = match choices {
        Some(text) => {
            let recording = Recording::parse(&text).map_err(|why| Unreadable(file.to_owned(), why))?;
            let outcome = pure::replay(&recording);
            println!("{}{}", bisect::IMPOSSIBLE, pure::impossible(&recording));
            (PathBuf::from(file), file.to_owned(), 0, outcome)
        }
        None => {
            let (path, story) = find_one(file)?;
            let outcome = run(&story, seed, &RunOptions { trace: true, ..RunOptions::default() });
            (path, story.name, story.seed.unwrap_or(seed), outcome)
        }
    };
    if trace {
        anstream::print!("{}", timeline::render(&outcome.lines));
    }
    if let Some(out) = html {
        let page = html::page(&name, seed, &outcome);
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    for (fault, count) in &outcome.counts.faults {
        println!("fault  {fault}: {count}");
    }
    println!("digest {:016x}, {} lines", outcome.digest, outcome.lines.len());
    match &outcome.verdict {
        Verdict::Clean => println!("ok     {name}"),
        _ => report(&path, &outcome, seed),
    }
    Ok(outcome.verdict.code())
}

fn bisect(file: &str, range: &str) -> anyhow::Result<u8> {
    let root = directory().join("..");
    let home = root.join("target/bisect");
    // Another commit may draw another plan from the seed.
    let path = match file.parse::<u64>() {
        Ok(seed) => {
            std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
            let path = home.join(format!("seed-{seed}.story"));
            let plan = Plan::draw(seed);
            std::fs::write(&path, plan.to_string()).with_context(|| format!("writing {}", path.display()))?;
            path
        }
        Err(_) if Path::new(file).is_file() => PathBuf::from(file),
        Err(_) => find(&[file.to_owned()])?.remove(0),
    };
    bisect::run(&root, &path, range, &home)?;
    Ok(0)
}

/// What the file has, if it is a tape.
fn tape(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(is_tape(&bytes).then_some(bytes))
}

fn replay_tape(file: &str, tape: &[u8], trace: bool, html: Option<&Path>) -> anyhow::Result<u8> {
    // A machine that panics is told of, like all that differs.
    std::panic::set_hook(Box::new(|_| {}));
    let told = tapes::tell(tape, trace || html.is_some()).with_context(|| file.to_owned())?;
    let is_clean = told.is_clean();
    if trace || !is_clean {
        anstream::print!("{}", timeline::render(&told.lines));
    }
    println!("{told}");
    let verdict = told.replayed.verdict.clone();
    if let Some(out) = html {
        let page = html::page(file, 0, &told.into_outcome());
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    if is_clean {
        println!("ok     {verdict}");
        return Ok(0);
    }
    eprintln!("{verdict}");
    if let Some(commit) = commit() {
        eprintln!("commit {commit}");
    }
    eprintln!("cargo sim replay {file} --trace");
    Ok(BROKEN)
}

fn print_trace(file: &str, seed: u64) -> anyhow::Result<u8> {
    let (_, story) = find_one(file)?;
    let outcome = run(&story, seed, &RunOptions { trace: true, ..RunOptions::default() });
    let lines: String = outcome.lines.iter().map(|line| format!("{line}\n")).collect();
    print!("{lines}digest {:016x}\n{}\n", outcome.digest, outcome.verdict);
    Ok(outcome.verdict.code())
}

fn check_determinism(names: &[String], seeds: Option<Range<u64>>) -> anyhow::Result<u8> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut subjects: Vec<String> = seeds.iter().cloned().flatten().map(|seed| seed.to_string()).collect();
    if !names.is_empty() || subjects.is_empty() {
        subjects.extend(find(names)?.iter().map(|path| path.to_string_lossy().into_owned()));
    }
    for subject in &subjects {
        if let Some(difference) = determinism::check(&program, subject, 0)? {
            let shown = |line: Option<String>| line.unwrap_or_else(|| "(the trace has ended)".into());
            eprintln!("D1: two runs differ at line {} of their traces", difference.line);
            eprintln!("one:   {}\nother: {}", shown(difference.first), shown(difference.second));
            eprintln!("run {subject}");
            if let Some(commit) = commit() {
                eprintln!("commit {commit}");
            }
            match subject.parse::<u64>() {
                Ok(seed) => eprintln!("cargo sim check-determinism --seeds {seed}..{}", seed + 1),
                Err(_) => eprintln!("cargo sim check-determinism {subject}"),
            }
            return Ok(NOT_DETERMINISTIC);
        }
    }
    println!("{} runs have the same trace in two processes", subjects.len());
    Ok(0)
}
