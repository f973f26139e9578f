//! Finds what the command line names: stories, plans, the commit.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use mainstem_sim::plan::Plan;
use mainstem_sim::story::{self, Story};

#[derive(Debug, thiserror::Error)]
#[error("there is no scenario {0:?}: give a file, or the name of one under scenarios/")]
pub(crate) struct NoSuchFile(String);

/// A file of choices that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
pub(crate) struct Unreadable(pub(crate) String, #[source] pub(crate) mainstem_world::NotARecording);

/// The directory of the scenarios: under the working directory, or else in the tree where this was built.
pub(crate) fn directory() -> PathBuf {
    let here = PathBuf::from("scenarios");
    if here.is_dir() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios") }
}

pub(crate) fn find(names: &[String]) -> anyhow::Result<Vec<PathBuf>> {
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
pub(crate) fn find_one(seed_or_file: &str) -> anyhow::Result<(PathBuf, Story)> {
    if let Ok(seed) = seed_or_file.parse::<u64>() {
        let story = Plan::draw(seed).to_story().context("a plan that is no story")?;
        return Ok((PathBuf::from(seed_or_file), story));
    }
    let path = find(&[seed_or_file.to_owned()])?.remove(0);
    let story = read(&path)?;
    Ok((path, story))
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Story> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    story::parse(&name, &text)
        .map_err(|problem| anyhow::Error::new(problem).context(path.display().to_string()))
}

/// The commit that is checked out, if there is one.
pub(crate) fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
