//! The shipped binary contains nothing of the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};
use mainstem_tests::shipped_binary::{server_binary, workspace_root};

/// Names that only the simulator has.
const FOREIGN: [&str; 3] = ["madsim", "mainstem_sim", "mainstem-sim"];

#[test]
fn no_symbol_and_no_text_of_the_simulator_is_in_what_ships() {
    let mut bytes = fs::read(server_binary()).expect("the binary can be read");
    bytes.make_ascii_lowercase();
    let has = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    // So that a stripped binary is not taken for a clean one.
    assert!(has("mainstem_machine") && has("mainstem_runtime"), "the binary has its names");
    for name in FOREIGN {
        assert!(!has(name), "{name} is in {}", server_binary().display());
    }
}

#[test]
fn nothing_that_ships_depends_on_the_simulator() {
    let manifest = workspace_root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).exec().expect("cargo metadata");
    let nodes = metadata.resolve.expect("dependencies are resolved").nodes;
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let names: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, &*package.name)).collect();
    let server = names.iter().find(|(_, name)| **name == "mainstem").expect("the server is a package").0;
    let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
    let mut next = vec![*server];
    while let Some(id) = next.pop() {
        if seen.insert(id) {
            let ships = nodes[id].deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            });
            next.extend(ships.map(|dependency| &dependency.pkg));
        }
    }
    assert!(seen.len() > 50, "the walk went somewhere");
    for id in seen {
        assert!(!FOREIGN.iter().any(|name| names[id].starts_with(name)), "{id}");
    }
}

#[test]
fn nothing_that_ships_turns_on_what_is_for_tests() {
    let manifest = workspace_root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let server = metadata.packages.iter().find(|package| package.name == "mainstem").expect("the server");
    let ships =
        server.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    let ours: Vec<_> = ships.filter(|dependency| dependency.name.starts_with("mainstem")).collect();
    assert!(ours.iter().any(|dependency| dependency.name == "mainstem-runtime"), "it imports the runtime");
    for dependency in ours {
        assert!(dependency.features.is_empty(), "{}: {:?}", dependency.name, dependency.features);
    }
}
