//! The import table of ARCHITECTURE.md agrees with the workspace's manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{DependencyKind, MetadataCommand};
use mainstem_tests::shipped_binary::workspace_root;

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The table with the columns `package | may import`.
fn table(text: &str) -> Imports {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| cells(line) != ["package", "may import"]).skip(2);
    let rows = std::iter::from_fn(|| lines.next().filter(|line| line.trim_start().starts_with('|')));
    rows.map(|row| {
        let mut cells = cells(row).into_iter();
        let package = cells.next().expect("a row has a first cell");
        let imports = cells.next().unwrap_or_default();
        let named = imports.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        (package, named.collect())
    })
    .collect()
}

#[test]
fn packages_import_what_the_architecture_says_and_nothing_else() {
    let text = fs::read_to_string(workspace_root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let said = table(&text);
    assert!(!said.is_empty(), "ARCHITECTURE.md has a table `package | may import`");
    let manifest = workspace_root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let imports: Imports = metadata
        .packages
        .iter()
        .map(|package| {
            let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
            let named = normal.map(|d| d.name.clone()).filter(|name| ours.contains(name));
            (package.name.to_string(), named.collect())
        })
        .collect();
    assert_eq!(imports, said, "left: what is imported; right: what ARCHITECTURE.md says");
}

#[test]
fn the_table_is_read_as_it_is_written() {
    let text = "x\n\n| package | may import |\n| --- | --- |\n| a | |\n| `b` | a, `c` |\n\n| d | e |\n";
    let table = table(text);
    assert_eq!(table.len(), 2);
    assert!(table["a"].is_empty() && table["b"].iter().eq(["a", "c"]));
}
