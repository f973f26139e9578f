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

/// Ends of the names that bounds have.
const BOUNDS: [&str; 7] = ["_MAX", "_MIN", "_TIMEOUT", "_DELAY", "_INTERVAL", "_RETENTION", "_BUDGET"];

/// The bounds that a source defines outside its tests.
fn bounds(source: &str) -> Vec<String> {
    let product = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let names = product.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        line.trim_start_matches("pub ").strip_prefix("const ")?.split(':').next().map(str::to_owned)
    });
    names.filter(|name| BOUNDS.iter().any(|end| name.ends_with(end))).collect()
}

/// All Rust sources below a directory.
fn sources(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn all_bounds_of_what_ships_are_in_one_file_of_each_package() {
    let mut elsewhere = vec![];
    for package in ["core/machine/src", "core/runtime/src", "core/server/src"] {
        let root = workspace_root().join(package);
        let limits = fs::read_to_string(root.join("limits.rs")).expect("a package has its limits");
        assert!(bounds(&limits).len() > 10, "B1: {package}/limits.rs has the bounds");
        for path in sources(&root) {
            let is_exempt =
                path.ends_with("limits.rs") || path.components().any(|part| part.as_os_str() == "contract");
            if !is_exempt {
                let source = fs::read_to_string(&path).expect("a source");
                elsewhere
                    .extend(bounds(&source).into_iter().map(|name| format!("{name} in {}", path.display())));
            }
        }
    }
    assert!(elsewhere.is_empty(), "B1: {}", elsewhere.join("\n"));
}

#[test]
fn a_bound_is_seen_wherever_it_stands() {
    let source = "const A_MAX: usize = 1;\nimpl X {\n    pub const B_TIMEOUT: Duration = Y;\n}\nconst NAME: u8 = 1;\n\
                  #[cfg(test)]\nmod tests {\n    const C_MAX: u8 = 1;\n}\n";
    assert_eq!(bounds(source), ["A_MAX", "B_TIMEOUT"]);
}
