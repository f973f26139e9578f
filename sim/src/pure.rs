//! `cargo sim walk` and `cargo sim explore`: runs of the pure world, and what is said of those that fail.

use std::io::{IsTerminal as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context;
use mainstem_world::{
    Batch, Bounds, Budget, Neighbour, Only, Recording, Run, Seen, Setup, Told, Tools, Verdict, Walked,
};

use mainstem_oracles::Guarantee;
use mainstem_sim::arrows::Arrows;
use mainstem_sim::run::{self, Outcome};
use mainstem_sim::story::Failure;
use mainstem_sim::tally::Counts;
use mainstem_sim::trace::{Kind, Line};
use mainstem_sim::visualize::beside;

/// The exit code of a search that is clean, and has not seen everything that is allowed.
const INCOMPLETE: u8 = 6;
/// How often progress is shown.
const PAUSE: Duration = Duration::from_millis(200);

/// Options of `cargo sim walk`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WalkArgs {
    /// `A..B`: from A up to, and not including, B.
    #[arg(long, value_parser = crate::seeds, conflicts_with = "limit")]
    seeds: Option<Range<u64>>,
    /// Walks seeds from 0 on for this long: 90s, 10m, 8h.
    #[arg(long = "for", value_parser = crate::span)]
    limit: Option<Duration>,
    /// Number of threads [default: the number of cores].
    #[arg(long)]
    jobs: Option<usize>,
    /// Choices of a run, at the most; its recovery comes after them.
    #[arg(long, default_value_t = 300)]
    choices: usize,
    /// Stops at the first run that is not clean.
    #[arg(long)]
    stop: bool,
    /// Branches also at situations that were never seen. What a seed does depends on those before it then.
    #[arg(long)]
    branch_new: bool,
    /// Writes the smallest run that fails to this file.
    #[arg(short = 'o', long, default_value = "target/walk.world")]
    output: PathBuf,
    /// Writes the first runs that are not clean to this file, a line of JSON for each.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Switches an oracle off, by the id of its guarantee.
    #[arg(long)]
    without_oracle: Option<Guarantee>,
}

/// Options of `cargo sim explore`: the world, and what may happen in it that need not.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExploreArgs {
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=26))]
    replicas: u8,
    /// Chats. Each is created with a message.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=200))]
    chats: u8,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=200))]
    viewers: u8,
    /// Runs at once, at each replica.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Things that go wrong, at the most.
    #[arg(long, default_value_t = 1)]
    faults: u16,
    /// Things that take their time, at the most.
    #[arg(long, default_value_t = 0)]
    delays: u16,
    /// Requests of users, at the most.
    #[arg(long, default_value_t = 0)]
    requests: u16,
    /// Times that viewers come or go, at the most.
    #[arg(long, default_value_t = 1)]
    moves: u16,
    /// Parts that models say, at the most.
    #[arg(long, default_value_t = 1)]
    parts: u16,
    /// Times that nothing happens until something is due, at the most.
    #[arg(long, default_value_t = 1)]
    passes: u16,
    /// Users. The first has the first chat, and so on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=200))]
    users: u8,
    /// Times that viewers come with something else than what they have, or nothing, at the most.
    #[arg(long, default_value_t = 0)]
    claims: u16,
    /// What strangers try, users ask for twice, and replicas with another secret, at the most.
    #[arg(long, default_value_t = 0)]
    strangers: u16,
    /// Times that a clock changes its rate, at the most.
    #[arg(long, default_value_t = 0)]
    drifts: u16,
    /// What models call: nothing, tools that the first chat has too, or tools of the server.
    #[arg(long, value_enum, default_value = "none")]
    tools: Called,
    /// Of what goes wrong and what users do, only this: names of choices and of requests, such as `crash,interrupt`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Only>,
    /// Distinct states, at the most.
    #[arg(long, default_value_t = 1_000_000)]
    states: usize,
    /// Choices in a row, at the most.
    #[arg(long, default_value_t = 300)]
    depth: usize,
    /// Writes the smallest run that fails to this file.
    #[arg(short = 'o', long, default_value = "target/explore.world")]
    output: PathBuf,
    /// Writes what was found to this file, as a line of JSON.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Switches an oracle off, by the id of its guarantee.
    #[arg(long)]
    without_oracle: Option<Guarantee>,
}

/// What models call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Called {
    None,
    Client,
    Server,
}

impl From<Called> for Tools {
    fn from(called: Called) -> Self {
        match called {
            Called::None => Self::None,
            Called::Client => Self::Client,
            Called::Server => Self::Server,
        }
    }
}

/// The exit code for a verdict.
pub(crate) fn code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Clean => 0,
        Verdict::Broken(guarantee, _) if guarantee.is_liveness() => 2,
        Verdict::Broken(..) | Verdict::Panicked(_) => 1,
    }
}

/// Walks, and returns the exit code.
pub(crate) fn walk(args: &WalkArgs) -> anyhow::Result<u8> {
    let seeds = match (&args.seeds, args.limit) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(_)) => 0..u64::MAX,
        (None, None) => 0..10_000,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let without: Vec<_> = args.without_oracle.into_iter().collect();
    let (choices, jobs) = (args.choices, args.jobs.unwrap_or(cores));
    let all = seeds.end - seeds.start;
    let (limit, stop, branch_new) = (args.limit, args.stop, args.branch_new);
    let batch = Batch { seeds, limit, jobs, choices, stop, branch_new, without: &without };
    let progress = Progress::default();
    let walked = silently(|| {
        batch.run(|runs, took| {
            progress.show(|| {
                let rate = runs as f64 / took.as_secs_f64().max(0.001);
                match args.limit {
                    Some(limit) => {
                        format!("{runs} runs, {rate:.0}/s, {} s left", limit.saturating_sub(took).as_secs())
                    }
                    None => format!("{runs} of {all} runs, {rate:.0}/s"),
                }
            });
        })
    });
    progress.end();
    print!("{}", summary(&walked));
    if let Some(results) = &args.results {
        let line = |(seed, run): &(u64, Run)| format!("{}\n", result(*seed, &run.verdict));
        let lines: String = walked.first.iter().map(line).collect();
        std::fs::write(results, lines).with_context(|| format!("writing {}", results.display()))?;
    }
    for (seed, run) in walked.first.iter().skip(1).rev() {
        println!("FAILED seed {seed}: {}", first_line(&run.verdict));
    }
    let missed = walked.missed();
    for mark in &missed {
        println!("the mark {mark:?} was never passed in {} seeds", walked.seeds);
    }
    let held_nothing = held_nothing(&walked.held_nothing());
    let Some((seed, run)) = walked.first.first() else {
        return Ok(u8::from(held_nothing || !missed.is_empty()));
    };
    let whence = format!("seed {seed} of walk, {} choices", run.recording.choices.len());
    fail(run, &whence, &args.output, &without)
}

/// Says which judges held nothing, if any did.
fn held_nothing(guarantees: &[Guarantee]) -> bool {
    for guarantee in guarantees {
        println!("{guarantee}: whatever was judged was excused, so that nothing was held");
    }
    !guarantees.is_empty()
}

/// A line of results, as that of a run of the cluster.
fn result(seed: u64, verdict: &Verdict) -> serde_json::Value {
    let named = match verdict {
        Verdict::Clean => "clean",
        Verdict::Broken(..) => "broken",
        Verdict::Panicked(_) => "panicked",
    };
    let (guarantee, why) = (verdict.guarantee(), verdict.to_string());
    serde_json::json!({ "seed": seed, "verdict": named, "guarantee": guarantee, "why": why })
}

fn summary(walked: &Walked) -> String {
    let seconds = walked.took.as_secs_f64().max(0.001);
    let never = walked.never();
    let hit = walked.marks.len() - never.len();
    let mut text = format!(
        "runs        {} in {seconds:.1} s ({:.0} per second), of {} seeds\nchoices     {} ({:.0} per second)\n",
        walked.runs,
        walked.runs as f64 / seconds,
        walked.seeds,
        walked.choices,
        walked.choices as f64 / seconds,
    );
    text.push_str(&format!("marks       {hit} of {}", walked.marks.len()));
    if !never.is_empty() {
        text.push_str(&format!("; never: {}", never.join(", ")));
    }
    let seen = &walked.sightings;
    let (runs, at) = seen.since_new();
    text.push_str(&format!(
        "\nsituations  {} in {} runs, {} of them in one run only; the last new one {runs} runs and {:.1} s ago\n",
        seen.distinct(),
        seen.runs(),
        seen.once(),
        walked.took.saturating_sub(at).as_secs_f64(),
    ));
    text.push_str(&format!(
        "next run    shows a situation never seen with a chance of {:.1} %; {:.2} of them are expected\n",
        100.0 * seen.chance(),
        seen.expected_new(),
    ));
    text.push_str(&walked.dockets.to_string());
    text.push_str(&format!("not clean   {}\n", walked.failed));
    text
}

/// Explores, and returns the exit code.
pub(crate) fn explore(args: &ExploreArgs) -> anyhow::Result<u8> {
    let ExploreArgs { faults, delays, requests, moves, parts, passes, .. } = *args;
    let ExploreArgs { users, claims, strangers, drifts, .. } = *args;
    let budget = Budget { faults, delays, requests, moves, parts, passes, claims, strangers, drifts };
    let ExploreArgs { replicas, chats, viewers, workers, .. } = *args;
    let tools = args.tools.into();
    // A call needs its room.
    let episode_bytes_max = if tools == Tools::None { Setup::default().episode_bytes_max } else { 600 };
    let setup = Setup {
        replicas,
        chats,
        users,
        viewers,
        workers,
        tools,
        episode_bytes_max,
        budget,
        ..Setup::default()
    };
    let without: Vec<_> = args.without_oracle.into_iter().collect();
    let bounds = Bounds { states: args.states, depth: args.depth, only: &args.only };
    let progress = Progress::default();
    let (seen, marks) = silently(|| {
        mainstem_world::count_marks(|| {
            mainstem_world::explore(setup, bounds, &without, |seen| {
                progress.show(|| seen_so_far(seen, bounds))
            })
        })
    });
    progress.end();
    let seconds = seen.took.as_secs_f64().max(0.001);
    println!(
        "states      {} distinct, in {seconds:.1} s ({:.0} per second)",
        seen.states,
        seen.states as f64 / seconds
    );
    println!("choices     {} tried ({:.0} per second)", seen.steps, seen.steps as f64 / seconds);
    println!("depth       {} choices in a row, at the most", seen.depth);
    println!("ends        {} states in which nothing was left to happen, each with its recovery", seen.ends);
    let never: Vec<_> = marks.iter().filter(|(_, count)| **count == 0).map(|(mark, _)| *mark).collect();
    println!("marks       {} of {}; never: {}", marks.len() - never.len(), marks.len(), never.join(", "));
    if let Some(kib) = memory_kib() {
        println!("memory      {} MiB at the most", kib / 1024);
    }
    println!(
        "allowed     {faults} faults, {delays} delays, {requests} requests, {moves} moves of viewers, {parts} parts, {passes} passes of time, {claims} claims, {strangers} strangers, {drifts} drifts of clocks"
    );
    if !args.only.is_empty() {
        let only: Vec<_> = args.only.iter().map(ToString::to_string).collect();
        println!("only        {}", only.join(", "));
    }
    print!("{}", seen.dockets);
    let held_nothing = held_nothing(&seen.held_nothing());
    match (&seen.broken, seen.complete) {
        (Some(_), _) => println!("seen        up to the first that is not clean"),
        (None, true) => println!("seen        everything that is allowed"),
        (None, false) if seen.cut > 0 => {
            println!("seen        not everything: {} paths were cut at {} choices", seen.cut, args.depth);
        }
        (None, false) => {
            println!("seen        not everything: the bound of {} states was reached", args.states)
        }
    }
    if let Some(results) = &args.results {
        let mut line = result(0, seen.broken.as_ref().map_or(&Verdict::Clean, |run| &run.verdict));
        line["states"] = seen.states.into();
        std::fs::write(results, format!("{line}\n"))
            .with_context(|| format!("writing {}", results.display()))?;
    }
    let Some(run) = &seen.broken else {
        return Ok(match (held_nothing, seen.complete) {
            (true, _) => 1,
            (false, true) => 0,
            (false, false) => INCOMPLETE,
        });
    };
    let whence = format!("explore, {} choices", run.recording.choices.len());
    fail(run, &whence, &args.output, &without)
}

fn seen_so_far(seen: &Seen, bounds: Bounds<'_>) -> String {
    let rate = seen.states as f64 / seen.took.as_secs_f64().max(0.001);
    format!("{} of at most {} states, {rate:.0}/s, depth {}", seen.states, bounds.states, seen.depth)
}

/// Shrinks a run that failed, tells it, and writes it.
fn fail(run: &Run, whence: &str, output: &Path, without: &[Guarantee]) -> anyhow::Result<u8> {
    let (small, told) = silently(|| {
        let small = mainstem_world::shrink(run, without);
        let told = mainstem_world::tell(&small.recording, without);
        (small, told)
    });
    if let Some(parent) = output.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    let mut text = format!("# Found by {whence}.\n");
    for line in small.verdict.to_string().lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(&small.recording.to_string());
    std::fs::write(output, text).with_context(|| format!("writing {}", output.display()))?;
    for line in told.0 {
        println!("{line}");
    }
    eprintln!("{}", small.verdict);
    eprintln!("{whence}, shrunk to {}", small.recording.choices.len());
    if let Some(commit) = crate::find::commit() {
        eprintln!("commit {commit}");
    }
    if let Some(nearest) = silently(|| nearest(&small.recording, without)) {
        eprintln!("nearest clean run: {}", difference(&small.recording, &nearest));
    }
    eprintln!("cargo sim replay {} --trace", output.display());
    Ok(code(&small.verdict))
}

fn nearest(recording: &Recording, without: &[Guarantee]) -> Option<Neighbour> {
    mainstem_world::nearest(recording, |recording| mainstem_world::replay(recording, without))
}

/// In what a run differs from its neighbour.
fn difference(of: &Recording, Neighbour { at, instead, .. }: &Neighbour) -> String {
    let (chosen, number, all) = (of.choices[*at], at + 1, of.choices.len());
    match instead {
        Some(instead) => format!("choice {number} of {all} is `{instead}` instead of `{chosen}`"),
        None => format!("choice {number} of {all}, `{chosen}`, is left out"),
    }
}

/// Writes a page with a run that fails beside the nearest one that is clean, and returns the exit code of the first.
pub(crate) fn beside(file: &str, out: &Path) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let recording = Recording::parse(&text).map_err(|why| crate::find::Unreadable(file.to_owned(), why))?;
    let failing = replay(&recording);
    if matches!(failing.verdict, run::Verdict::Clean) {
        println!("ok     {file}: nothing is broken, so there is nothing to lay beside it");
        return Ok(0);
    }
    let Some(nearest) = silently(|| nearest(&recording, &[])) else {
        println!("whatever single choice is changed, something is broken: there is no clean run beside it");
        return Ok(failing.verdict.code());
    };
    let difference = difference(&recording, &nearest);
    let clean = replay(&nearest.recording);
    let headings = [failing.verdict.to_string(), format!("clean: {difference}")];
    let page = beside::page(file, (&headings[0], &failing.lines), (&headings[1], &clean.lines));
    std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    println!("nearest clean run: {difference}");
    eprintln!("{}", failing.verdict);
    Ok(failing.verdict.code())
}

/// How many choices of a recording do nothing.
pub(crate) fn impossible(recording: &Recording) -> usize {
    silently(|| mainstem_world::impossible(recording, &[]))
}

/// What becomes of a recording, told as a run of the cluster is.
pub(crate) fn replay(recording: &Recording) -> Outcome {
    let (told, verdict) = silently(|| mainstem_world::tell(recording, &[]));
    let mut counts = Counts::default();
    let mut lines = vec![];
    for mainstem_world::Line { at, told, who, what } in told {
        let kind = match told {
            Told::Chosen => Kind::Story,
            Told::Happened => Kind::Done,
            Told::Fault => Kind::Fault,
            Told::Broken => Kind::Broken,
        };
        if kind == Kind::Fault {
            *counts.faults.entry(what.clone()).or_default() += 1;
        }
        lines.push(Line { at, who, kind, what });
    }
    let verdict = match verdict {
        Verdict::Clean => run::Verdict::Clean,
        Verdict::Panicked(why) => run::Verdict::Panicked(why),
        Verdict::Broken(guarantee, why) => run::Verdict::Failed(Failure { guarantee, line: None, why }),
    };
    let digest = recording.fingerprint();
    Outcome { verdict, lines, arrows: Arrows::default(), digest, counts }
}

fn first_line(verdict: &Verdict) -> String {
    verdict.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Without a word of panics: what they say is in the verdict.
pub(crate) fn silently<T>(run: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = run();
    std::panic::set_hook(hook);
    done
}

/// The most memory that this process has had, where the system tells.
fn memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A line on the terminal that is written anew now and then; nothing elsewhere.
#[derive(Default)]
struct Progress(Mutex<Option<Instant>>);

impl Progress {
    fn show(&self, line: impl FnOnce() -> String) {
        let Ok(mut shown) = self.0.try_lock() else { return };
        if std::io::stderr().is_terminal() && shown.is_none_or(|at| at.elapsed() >= PAUSE) {
            *shown = Some(Instant::now());
            // A failure to draw it is ignored.
            let _ = write!(std::io::stderr(), "\r{}   ", line());
        }
    }

    fn end(&self) {
        if self.0.lock().is_ok_and(|shown| shown.is_some()) {
            let _ = writeln!(std::io::stderr());
        }
    }
}
