//! Builds the copy, in a target directory of its own that is kept. The program is copied away after each
//! build, so that the next build can begin while it runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::entry::Entry;
use super::plant::Tree;
use crate::copied_build;

/// Lines of the compiler's output in a report.
const LINES_MAX: usize = 30;

/// Builds the states of one tree, one after the other.
#[derive(Debug)]
pub(super) struct Builder {
    tree: Tree,
    target: PathBuf,
    binaries: PathBuf,
    clean: PathBuf,
}

impl Builder {
    /// A builder of the tree.
    pub(super) fn new(tree: Tree, target: PathBuf, binaries: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&binaries).with_context(|| format!("making {}", binaries.display()))?;
        copied_build::spare_the_libraries(&target);
        let clean = binaries.join("clean");
        let builder = Self { tree, target, binaries, clean };
        builder.build(&builder.clean).context("the tree does not build without any bug")?;
        Ok(builder)
    }

    /// The program without a bug.
    pub(super) fn clean(&self) -> &Path {
        &self.clean
    }

    /// Builds the program with the bug. Restores the tree afterwards in any case.
    pub(super) fn plant(&self, entry: &Entry) -> anyhow::Result<PathBuf> {
        let binary = self.binaries.join(&entry.name);
        let planted = self.tree.plant(entry)?;
        let built = self.build(&binary);
        planted.restore()?;
        built.with_context(|| format!("{}: the bug does not build", entry.path.display()))?;
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
        if read(&binary)? == read(&self.clean)? {
            bail!("{}: the program is the same with the bug as without it", entry.path.display());
        }
        Ok(binary)
    }

    fn build(&self, binary: &Path) -> anyhow::Result<()> {
        let mut command = copied_build::command(self.tree.root(), &self.target);
        let output = command.output().context("running cargo")?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr);
            let errors: Vec<_> = output.lines().skip_while(|line| !line.starts_with("error")).collect();
            bail!("{}", errors[..errors.len().min(LINES_MAX)].join("\n"));
        }
        let built = copied_build::program(&self.target);
        // A new file, because the old one may be running.
        let _ = std::fs::remove_file(binary);
        std::fs::copy(&built, binary).with_context(|| format!("copying {}", built.display()))?;
        Ok(())
    }
}
