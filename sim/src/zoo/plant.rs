//! The copy of the tree in which bugs are planted. It is kept between runs, so that builds are incremental.
//!
//! It equals the working tree, uncommitted changes included. A file is written only if its content differs,
//! and gets a new time stamp then, so that the build tool sees each change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::anchor::places;
use super::entry::{Entry, Problem};

/// The copy.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Makes the copy under `root` equal to the working tree under `source`.
    pub(super) fn refresh(source: &Path, root: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let wanted = files(source)?;
        for stale in kept(&root, &root)? {
            if wanted.binary_search(&stale).is_err() {
                std::fs::remove_file(root.join(&stale)).with_context(|| format!("removing {stale}"))?;
            }
        }
        for file in &wanted {
            // A deleted file that git still lists is deleted in the copy too.
            match std::fs::read(source.join(file)) {
                Ok(content) => write_if_new(&root.join(file), &content)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let copy = root.join(file);
                    if copy.exists() {
                        std::fs::remove_file(&copy).with_context(|| format!("removing {file}"))?;
                    }
                }
                Err(error) => return Err(error).with_context(|| format!("reading {file}")),
            }
        }
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes all changes of an entry, or none.
    pub(super) fn plant(&self, entry: &Entry) -> anyhow::Result<Planted> {
        let changed = changed(&self.root, entry)?;
        for (file, (_, text)) in &changed {
            std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        let originals = changed.into_iter().map(|(file, (original, _))| (file, original));
        Ok(Planted { originals: originals.collect() })
    }
}

/// The files that an entry changes, each with its original and its new content.
pub(super) fn changed(root: &Path, entry: &Entry) -> Result<BTreeMap<PathBuf, (String, String)>, Problem> {
    let mut files = BTreeMap::new();
    for (at, change) in entry.changes.iter().enumerate() {
        let problem = |what: String| Problem { path: entry.path.clone(), what };
        let file = root.join(&change.file);
        if !files.contains_key(&file) {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| problem(format!("change[{at}].file: {}: {error}", change.file)))?;
            files.insert(file.clone(), (text.clone(), text));
        }
        let (_, text) = files.get_mut(&file).expect("inserted above");
        let found = places(text, &change.find, change.within.as_deref());
        let [place] = &found[..] else {
            let within = change.within.iter().map(|name| format!("fn {name} of ")).collect::<String>();
            let what =
                format!("stands {} times in {within}{}, and has to stand once", found.len(), change.file);
            return Err(problem(format!("change[{at}].find: {what}")));
        };
        text.replace_range(place.clone(), change.replace.trim());
    }
    Ok(files)
}

/// A planted bug, until the copy is restored.
#[must_use = "what is planted has to be restored"]
#[derive(Debug)]
pub(super) struct Planted {
    originals: BTreeMap<PathBuf, String>,
}

impl Planted {
    /// Restores the original files, with new time stamps.
    pub(super) fn restore(self) -> anyhow::Result<()> {
        for (file, text) in &self.originals {
            std::fs::write(file, text).with_context(|| format!("restoring {}", file.display()))?;
        }
        Ok(())
    }
}

/// The files of the tree: tracked ones, and new ones that are not ignored. Sorted.
fn files(source: &Path) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new("git");
    command.current_dir(source).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = command.output().context("running git")?;
    ensure!(
        listed.status.success(),
        "git cannot list the files of {}: {}",
        source.display(),
        String::from_utf8_lossy(&listed.stderr).trim()
    );
    let names = String::from_utf8(listed.stdout).context("a file's name is no text")?;
    let mut names: Vec<_> = names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if !names.iter().any(|name| name == "Cargo.toml") {
        bail!("{} is not the root of a workspace", source.display());
    }
    Ok(names)
}

/// The files of the copy, relative to its root.
fn kept(root: &Path, directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = vec![];
    let entries = std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        if path.is_dir() {
            names.extend(kept(root, &path)?);
        } else if let Ok(name) = path.strip_prefix(root) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn write_if_new(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(file).is_ok_and(|present| present == content) {
        return Ok(());
    }
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    std::fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::{Duration, SystemTime};

    use super::Tree;
    use crate::zoo::entry::{Change, Entry};

    /// A git working tree with one file, which is removed after the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mainstem-zoo-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(path.join("source")).unwrap();
            let scratch = Self(path);
            scratch.write("Cargo.toml", "[workspace]\n");
            scratch.write("a.rs", "let one = 1;\nlet two = 2;\n");
            let git = Command::new("git").arg("-C").arg(scratch.source()).args(["init", "-q"]).status();
            assert!(git.unwrap().success());
            scratch
        }

        fn source(&self) -> PathBuf {
            self.0.join("source")
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.source().join(name), text).unwrap();
        }

        fn tree(&self) -> Tree {
            Tree::refresh(&self.source(), self.0.join("tree")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn entry(changes: &[(&str, &str)]) -> Entry {
        let changes = changes.iter().map(|(find, replace)| {
            let [find, replace] = [find, replace].map(|text| (*text).to_owned());
            Change { file: "a.rs".into(), within: None, find, replace }
        });
        Entry {
            name: "R01".into(),
            path: "R01.toml".into(),
            title: String::new(),
            breaks: vec![mainstem_oracles::Guarantee::S3],
            story: None,
            by_determinism: false,
            seeds: 1,
            rare: false,
            walk: Some(4),
            must_survive: false,
            changes: changes.collect(),
        }
    }

    fn stamp(path: &Path) -> SystemTime {
        std::fs::metadata(path).unwrap().modified().unwrap()
    }

    fn age(path: &Path) {
        let old = SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn the_copy_follows_the_working_tree_and_leaves_alone_what_is_the_same() {
        let scratch = Scratch::new("refresh");
        scratch.write("gone.rs", "");
        let tree = scratch.tree();
        age(&tree.root().join("Cargo.toml"));
        let before = stamp(&tree.root().join("Cargo.toml"));
        scratch.write("a.rs", "let three = 3;\n");
        std::fs::remove_file(scratch.source().join("gone.rs")).unwrap();
        scratch.write("new.rs", "// new\n");
        let tree = scratch.tree();
        assert_eq!(std::fs::read_to_string(tree.root().join("a.rs")).unwrap(), "let three = 3;\n");
        assert!(tree.root().join("new.rs").exists() && !tree.root().join("gone.rs").exists());
        assert_eq!(stamp(&tree.root().join("Cargo.toml")), before);
    }

    #[test]
    fn planting_and_restoring_each_leave_a_fresh_time_stamp() {
        let scratch = Scratch::new("stamps");
        let tree = scratch.tree();
        let file = tree.root().join("a.rs");
        age(&file);
        let old = stamp(&file);
        let planted = tree.plant(&entry(&[("one = 1", "one = 7"), ("two = 2", "two = 7")])).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "let one = 7;\nlet two = 7;\n");
        assert!(stamp(&file) > old);
        age(&file);
        planted.restore().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "let one = 1;\nlet two = 2;\n");
        assert!(stamp(&file) > old);
    }

    #[test]
    fn a_change_that_does_not_stand_exactly_once_is_an_error_and_leaves_nothing() {
        let scratch = Scratch::new("once");
        let tree = scratch.tree();
        for (find, key) in [("let", "stands 2 times in a.rs"), ("three", "stands 0 times in a.rs")] {
            let output =
                tree.plant(&entry(&[("one = 1", "one = 7"), (find, "x")])).expect_err(find).to_string();
            assert!(output.starts_with("R01.toml: change[1].find: ") && output.contains(key), "{output}");
            let text = std::fs::read_to_string(tree.root().join("a.rs")).unwrap();
            assert_eq!(text, "let one = 1;\nlet two = 2;\n");
        }
    }
}
