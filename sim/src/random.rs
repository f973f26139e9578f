//! `cargo sim run` and `cargo sim shrink`: random runs of the cluster, and the smallest one that still fails.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mainstem_oracles::Guarantee;
use mainstem_sim::batch::Batch;
use mainstem_sim::plan::Plan;
use mainstem_sim::run::RunOptions;
use mainstem_sim::shrink::{ShrinkError, shrink};

use crate::find::{commit, directory, find};

/// The default number of seeds.
const SEEDS: Range<u64> = 0..1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// `A..B`: from A up to, and not including, B.
    #[arg(long, value_parser = crate::seeds, conflicts_with = "limit")]
    seeds: Option<Range<u64>>,
    /// Runs seeds from 0 on for this long: 90s, 10m, 8h.
    #[arg(long = "for", value_parser = crate::span)]
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
pub(crate) struct ShrinkArgs {
    /// A seed, a scenario file whose sentences have times, or the name of one.
    file: String,
    /// Writes the scenario to this file [default: a file under scenarios/regressions].
    #[arg(short = 'o', long)]
    output: Option<PathBuf>,
    /// Time limit, by the wall clock.
    #[arg(long = "for", value_parser = crate::span, default_value = "60s")]
    limit: Duration,
    #[arg(long)]
    jobs: Option<usize>,
    /// Switches an oracle off, by the id of its guarantee.
    #[arg(long)]
    without_oracle: Option<Guarantee>,
}

/// Runs seeds, and returns the exit code.
pub(crate) fn random(args: RunArgs) -> anyhow::Result<u8> {
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

/// Shrinks a run, and returns the exit code of what is left.
pub(crate) fn smallest(args: ShrinkArgs) -> anyhow::Result<u8> {
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
