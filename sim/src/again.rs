//! `cargo sim replay`, `bisect` and `check-determinism`: what ran, once more.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use mainstem_runtime::tape::is_tape;
use mainstem_sim::plan::Plan;
use mainstem_sim::run::{Outcome, RunOptions, Verdict, run};
use mainstem_sim::visualize::{html, timeline};
use mainstem_sim::{bisect, determinism, tapes};
use mainstem_world::Recording;

use crate::find::{Unreadable, commit, directory, find, find_one};
use crate::{BROKEN, NOT_DETERMINISTIC, pure};

pub(crate) fn replay(file: &str, trace: bool, html: Option<&Path>, seed: u64) -> anyhow::Result<u8> {
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

pub(crate) fn bisect(file: &str, range: &str) -> anyhow::Result<u8> {
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

pub(crate) fn print_trace(file: &str, seed: u64) -> anyhow::Result<u8> {
    let (_, story) = find_one(file)?;
    let outcome = run(&story, seed, &RunOptions { trace: true, ..RunOptions::default() });
    let lines: String = outcome.lines.iter().map(|line| format!("{line}\n")).collect();
    print!("{lines}digest {:016x}\n{}\n", outcome.digest, outcome.verdict);
    Ok(outcome.verdict.code())
}

pub(crate) fn check_determinism(
    names: &[String],
    seeds: Option<Range<u64>>,
    beside: &[PathBuf],
) -> anyhow::Result<u8> {
    let program = std::env::current_exe().context("finding this program")?;
    let others = if beside.is_empty() { std::slice::from_ref(&program) } else { beside };
    let mut subjects: Vec<String> = seeds.iter().cloned().flatten().map(|seed| seed.to_string()).collect();
    if !names.is_empty() || subjects.is_empty() {
        subjects.extend(find(names)?.iter().map(|path| path.to_string_lossy().into_owned()));
    }
    for (subject, other) in
        subjects.iter().flat_map(|subject| others.iter().map(move |other| (subject, other)))
    {
        if let Some(difference) = determinism::check(&program, other, subject, 0)? {
            let shown = |line: Option<String>| line.unwrap_or_else(|| "(the trace has ended)".into());
            eprintln!("D1: two runs differ at line {} of their traces", difference.line);
            eprintln!("one:   {}\nother: {}", shown(difference.first), shown(difference.second));
            eprintln!("run {subject}, by {} and {}", program.display(), other.display());
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
    match beside.len() {
        0 => println!("{} runs have the same trace in two processes", subjects.len()),
        others => println!("{} runs have the same trace in {} programs", subjects.len(), others + 1),
    }
    Ok(0)
}

/// Prints how to reproduce a failure: the guarantee, the seed or scenario, the commit, and the command.
pub(crate) fn report(path: &Path, outcome: &Outcome, seed: u64) {
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
