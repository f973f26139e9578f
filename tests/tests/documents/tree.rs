//! The texts of the repository, by their paths from its root.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mainstem_tests::shipped_binary::workspace_root;

const KINDS: [&str; 8] = ["rs", "md", "toml", "story", "proto", "sql", "js", "html"];

#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    pub(crate) fn read() -> Self {
        let mut tree = Self::default();
        tree.add(workspace_root(), "");
        assert!(tree.0.len() > 300 && tree.text("README.md").len() > 1000, "the repository is read");
        tree
    }

    /// For tests of the checks.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn add(&mut self, directory: &Path, below: &str) {
        for entry in fs::read_dir(directory).expect("a directory can be read") {
            let entry = entry.expect("it can be listed");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{below}{name}");
            let is_hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
            if is_hidden || name == "target" || name == "Cargo.lock" {
                continue;
            }
            if entry.path().is_dir() {
                self.add(&entry.path(), &format!("{path}/"));
            } else if below == ".ci/" || KINDS.iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
                let text = fs::read_to_string(entry.path()).expect("a text is UTF-8");
                // The tests of the checks have examples of what is wrong.
                let text = if below == "tests/tests/documents/" { String::new() } else { text };
                self.0.insert(path, text);
            } else {
                // That it is there is all that matters.
                self.0.insert(path, String::new());
            }
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files whose names end so, below a directory.
    pub(crate) fn below<'a>(
        &'a self,
        directory: &'a str,
        end: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| path.starts_with(directory) && path.ends_with(end))
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    /// Whether there is such a file or directory.
    pub(crate) fn has(&self, path: &str) -> bool {
        let directory = format!("{}/", path.trim_end_matches('/'));
        self.0.contains_key(path) || self.0.keys().any(|file| file.starts_with(&directory))
    }
}

/// The texts between backticks, of one line.
pub(crate) fn spans(line: &str) -> impl Iterator<Item = &str> {
    let closed = line.matches('`').count() / 2;
    line.split('`').skip(1).step_by(2).take(closed)
}
