//! The zoo: bugs of the kind that such systems really had, each a file in `scenarios/bugs`. Each is planted
//! in a copy of the tree, and has to be caught by its story, by random runs and by walks of the pure world, by a
//! guarantee that it breaks (D3). A bug that walks cannot find says why.
//!
//! The working tree is never changed, and nothing is skipped silently: a bug that does not fit the source,
//! does not build or changes nothing is an error.

mod anchor;
mod build;
mod catch;
mod entry;
mod hunt;
mod measured;
mod plant;
mod report;
mod search;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mainstem_oracles::Guarantee;

use build::Builder;
use entry::Entry;
use hunt::{How, Hunter};
use measured::{Measured, Table};
use plant::Tree;
use report::{Report, Row};

const USAGE: u8 = 64;

/// The arguments of `cargo sim zoo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Names of bugs [default: all].
    names: Vec<String>,
    /// The directory of the bugs and of stories that belong to them [default: scenarios/bugs].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Skips random runs and walks. The report says so.
    #[arg(long)]
    stories_only: bool,
    /// Hunts by random runs also bugs that take thousands of them; otherwise only their stories are run.
    #[arg(long)]
    rare: bool,
    /// Shrinks the random runs that fail.
    #[arg(long)]
    shrink: bool,
    /// Switches the oracle of one guarantee off: bugs that only it catches are missed then.
    #[arg(long, value_name = "ID")]
    without_oracle: Option<Guarantee>,
    /// Begins no further bug after this time, like 10m.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    limit: Option<Duration>,
    /// Begins with this entry, modulo their number.
    #[arg(long, default_value_t = 0)]
    rotate: usize,
    /// The file for one line of JSON for each bug [default: under the target directory].
    #[arg(long)]
    results: Option<PathBuf>,
    /// Measures what each strategy takes to find each bug, five times over, and writes it to `zoo.toml` beside the
    /// stories.
    #[arg(long, conflicts_with_all = ["stories_only", "shrink", "without_oracle", "dir", "results"])]
    measure: bool,
    /// Measures only what the file has not got: goes on where measuring was broken off.
    #[arg(long, requires = "measure")]
    missing: bool,
}

/// A time like 90s or 10m.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let number: u64 = number.parse().map_err(|_| "a time is a number and s, m or h, like 10m".to_owned())?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err("a time is a number and s, m or h, like 10m".to_owned()),
    }
}

/// Runs the zoo of the tree under `root`, whose stories are in `scenarios`. Returns the exit code.
pub fn run(options: &Options, scenarios: &Path) -> anyhow::Result<u8> {
    let scenarios = scenarios.canonicalize().with_context(|| format!("finding {}", scenarios.display()))?;
    let root = scenarios.parent().context("the scenarios lie in no tree")?;
    let own = scenarios.join("bugs");
    let directory = options.dir.as_deref().unwrap_or(&own);
    let directory = directory.canonicalize().with_context(|| format!("finding {}", directory.display()))?;
    let mut files = self::files(&directory, "toml")?;
    if let Some(unknown) = options.names.iter().find(|name| !files.iter().any(|file| is(file, name))) {
        eprintln!("there is no bug {unknown:?} in {}", directory.display());
        return Ok(USAGE);
    }
    if !options.names.is_empty() {
        files.retain(|file| options.names.iter().any(|name| is(file, name)));
    }
    if files.is_empty() {
        bail!("{} has no file that ends with .toml", directory.display());
    }
    let begin = options.rotate % files.len();
    files.rotate_left(begin);
    let entries: Result<Vec<Entry>, _> =
        files.iter().map(|file| entry::read(file, std::slice::from_ref(&scenarios))).collect();
    let entries = entries?;

    let home = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let home = home.join("zoo");
    std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    let lock = std::fs::File::create(home.join("lock")).context("making a lock")?;
    lock.lock().context("waiting for another zoo")?;
    let start = Instant::now();
    println!("building the tree without a bug");
    let tree = Tree::refresh(root, home.join("tree"))?;
    let builder = Builder::new(tree, home.join("target"), home.join("bin"))?;
    let mut hunter = Hunter::new(
        builder.clean().to_owned(),
        home.join("out"),
        stories(&scenarios)?,
        How {
            stories_only: options.stories_only,
            shrink: options.shrink,
            rare: options.rare,
            without_oracle: options.without_oracle,
        },
    )?;
    let until = options.limit.map(|limit| start + limit);
    let file = scenarios.join(measured::FILE);
    let table = Table::read(&file)?;
    if options.measure {
        let wanted = entries.iter().filter(|entry| !entry.must_survive);
        let wanted: Vec<_> = wanted.filter(|entry| !options.missing || !table.has(&entry.name)).collect();
        measure_all(&wanted, until, table, &file, |entry| {
            let program = builder.plant(entry)?;
            let measured = Measured::of(entry, &mut hunter, &program);
            let _ = std::fs::remove_file(&program);
            measured
        })?;
        return Ok(0);
    }
    let results = options.results.clone().unwrap_or_else(|| home.join("results.jsonl"));
    let rows = hunt_all(&entries, &builder, hunter, until, &table, &results)?;
    let (stories_only, without_oracle) = (options.stories_only, options.without_oracle);
    let report = Report { rows, stories_only, without_oracle };
    println!("{report}");
    println!("results in {}", results.display());
    Ok(report.code())
}

/// Builds the next bug while the last one is hunted, at most one ahead.
fn hunt_all(
    entries: &[Entry],
    builder: &Builder,
    mut hunter: Hunter,
    until: Option<Instant>,
    table: &Table,
    results: &Path,
) -> anyhow::Result<Vec<Row>> {
    let mut results =
        std::fs::File::create(results).with_context(|| format!("making {}", results.display()))?;
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for entry in entries {
                let start = Instant::now();
                let built = match until {
                    Some(until) if start >= until => None,
                    _ => Some(builder.plant(entry)),
                };
                if sender.send((entry, built, start.elapsed())).is_err() {
                    return;
                }
            }
        });
        let mut rows = vec![];
        for (entry, built, built_in) in receiver {
            let row = match built {
                None => Row::not_reached(entry),
                Some(Err(error)) => Row::error(entry, &error),
                Some(Ok(program)) => {
                    let hunted = hunter.hunt(entry, &program, table.bounds(entry));
                    let _ = std::fs::remove_file(&program);
                    match hunted {
                        Ok(hunted) => Row::hunted(entry, hunted, built_in),
                        Err(error) => Row::error(entry, &error),
                    }
                }
            };
            println!("{:<5} {:?}: {}", row.name, row.fate, row.title);
            let line = serde_json::to_string(&row).context("writing a result")?;
            writeln!(results, "{line}").context("writing a result")?;
            rows.push(row);
        }
        Ok(rows)
    })
}

/// Measures one bug after the other, with nothing built meanwhile, and writes the file after each. One that cannot be
/// measured keeps what the file has of it, and the others go on.
fn measure_all(
    entries: &[&Entry],
    until: Option<Instant>,
    mut table: Table,
    file: &Path,
    mut measure: impl FnMut(&Entry) -> anyhow::Result<Measured>,
) -> anyhow::Result<()> {
    let mut failed = vec![];
    for entry in entries {
        if until.is_some_and(|until| Instant::now() >= until) {
            println!("{:<5} not reached", entry.name);
            continue;
        }
        match measure(entry) {
            Ok(measured) => {
                println!("{}", table.insert(&entry.name, measured));
                table.write(file)?;
            }
            Err(error) => {
                println!("{:<5} error: {error:#}", entry.name);
                failed.push(entry.name.as_str());
            }
        }
    }
    println!("written to {}", file.display());
    ensure!(failed.is_empty(), "not measured: {}", failed.join(" "));
    Ok(())
}

/// The names of all entries in `scenarios/bugs` of the tree under `root`. Fails if one of them is invalid, or
/// does not fit the current source, or if what was measured is not of them.
pub fn fitting(root: &Path) -> anyhow::Result<Vec<String>> {
    let scenarios = root.join("scenarios");
    let entries = files(&scenarios.join("bugs"), "toml")?.into_iter().map(|file| {
        let entry = entry::read(&file, std::slice::from_ref(&scenarios))?;
        plant::changed(root, &entry)?;
        Ok(entry)
    });
    let entries: Vec<Entry> = entries.collect::<anyhow::Result<_>>()?;
    Table::read(&scenarios.join(measured::FILE))?.check(&entries)?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

/// All stories, including those made from random runs.
fn stories(scenarios: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut stories = files(scenarios, "story")?;
    let regressions = scenarios.join("regressions");
    if regressions.is_dir() {
        stories.extend(files(&regressions, "story")?);
    }
    Ok(stories)
}

/// The files in a directory with this extension, sorted.
fn files(directory: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let files: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files = files.with_context(|| format!("reading {}", directory.display()))?;
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    Ok(files)
}

fn is(file: &Path, name: &str) -> bool {
    file.file_stem().is_some_and(|stem| stem == name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::time;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        assert!(time("").is_err() && time("10").is_err() && time("m").is_err() && time("10d").is_err());
    }
}
