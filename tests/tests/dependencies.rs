//! What others' code there is: from where it comes, under which licences, and what of it there is twice in what ships.
//!
//! Whether any of it has a known hole is not asked here: the database of advisories is on no registry of packages. `cargo deny check
//! advisories` asks it, where there is a network. All that is locked was compared with it by hand in November 2026, up to RUSTSEC-2026-0334;
//! `deny.toml` names what it has against us, and here it is held that none of that reaches what ships.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use mainstem_tests::shipped_binary::workspace_root;
use spdx::{Expression, ParseMode};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences that ask no more of who ships a binary than a notice.
const LICENCES: [&str; 11] = [
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "0BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    // For data: Mozilla's list of authorities.
    "CDLA-Permissive-2.0",
];

/// What ships in more than one version, and who is behind.
const TWICE: [(&[&str], &str); 6] = [
    (
        &["block-buffer", "const-oid", "cpufeatures", "crypto-common", "digest", "hkdf", "hmac", "sha2"],
        "RustCrypto: jsonwebtoken and its curves have yet to take the releases of 2026, which we and sqlx have",
    ),
    (
        &["getrandom", "rand", "rand_chacha", "rand_core"],
        "each of jsonwebtoken (0.8), opentelemetry_sdk (0.9), and async-nats, sqlx and tungstenite (0.10) has another one",
    ),
    (&["base64"], "rmcp and hyper-util are ahead of jsonwebtoken, reqwest and sqlx"),
    (
        &["foldhash", "hashbrown"],
        "petgraph, governor with sqlx, and indexmap have different ones; what builds messages has petgraph",
    ),
    (&["prettyplease", "syn"], "when it is built: macros are half way from syn 2 to 3"),
    (&["embedded-io"], "postcard names both, for platforms without an operating system"),
];

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(workspace_root().join("Cargo.toml")).features(CargoOpt::AllFeatures);
    let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned);
    command.other_options(options.to_vec()).exec().expect("cargo metadata")
}

fn name_of(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

/// Whether its licence can be met by ours alone. Older crates write `/` for `OR`.
fn is_free(licence: Option<&str>) -> bool {
    let parsed = licence.and_then(|licence| Expression::parse_mode(licence, ParseMode::LAX).ok());
    parsed.is_some_and(|licence| {
        licence.evaluate(|wanted| {
            let id = wanted.license.id();
            wanted.addition.is_none() && id.is_some_and(|id| LICENCES.contains(&id.name))
        })
    })
}

/// All that becomes part of this package, or is run to build it.
fn shipped<'a>(metadata: &'a Metadata, name: &str) -> Vec<&'a Package> {
    let resolve = metadata.resolve.as_ref().expect("it is resolved");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let root = metadata.packages.iter().find(|package| package.name.as_str() == name).expect("it is ours");
    let (mut seen, mut left) = (BTreeSet::new(), vec![&root.id]);
    while let Some(id) = left.pop() {
        if seen.insert(id) {
            let is_part =
                |kind: &DependencyKind| matches!(kind, DependencyKind::Normal | DependencyKind::Build);
            let deps = nodes[id].deps.iter();
            left.extend(
                deps.filter(|dep| dep.dep_kinds.iter().any(|kind| is_part(&kind.kind))).map(|dep| &dep.pkg),
            );
        }
    }
    metadata.packages.iter().filter(|package| seen.contains(&package.id)).collect()
}

fn twice<'a>(packages: impl Iterator<Item = &'a Package>) -> BTreeMap<&'a str, BTreeSet<String>> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(package.name.as_str()).or_default().insert(package.version.to_string());
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}

#[test]
fn all_code_of_others_is_of_cratesio_and_free() {
    let metadata = metadata();
    let theirs: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| !metadata.workspace_members.contains(&package.id))
        .collect();
    assert!(theirs.len() > 100, "they are found");
    let is_of = |package: &Package| package.source.as_ref().is_some_and(|source| source.repr == CRATES_IO);
    let elsewhere: Vec<_> =
        theirs.iter().filter(|package| !is_of(package)).map(|package| name_of(package)).collect();
    assert!(elsewhere.is_empty(), "not of crates.io: {elsewhere:?}");
    let bound: Vec<_> = theirs.iter().filter(|package| !is_free(package.license.as_deref())).collect();
    let bound: Vec<_> = bound.iter().map(|package| (name_of(package), &package.license)).collect();
    assert!(bound.is_empty(), "their licences ask for more than a notice, or say nothing: {bound:?}");
    let is_named =
        |id: &str| theirs.iter().any(|package| package.license.iter().any(|licence| licence.contains(id)));
    let unused: Vec<_> = LICENCES.iter().filter(|id| !is_named(id)).collect();
    assert!(unused.is_empty(), "nothing is under {unused:?} any more");
}

#[test]
fn what_ships_has_nothing_twice_without_a_reason() {
    let metadata = metadata();
    let twice = twice(shipped(&metadata, "mainstem").into_iter());
    let explained: BTreeSet<&str> = TWICE.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    let unexplained: Vec<_> = twice.iter().filter(|(name, _)| !explained.contains(*name)).collect();
    assert!(unexplained.is_empty(), "say why there are more of them, or make it one: {unexplained:?}");
    let over: Vec<_> = explained.iter().filter(|name| !twice.contains_key(**name)).collect();
    assert!(over.is_empty(), "there is but one of these by now: {over:?}");
}

/// Files of the server that have this word, tests aside.
fn server_files_with(word: &str) -> Vec<String> {
    let mut left = vec![workspace_root().join("core/server/src")];
    let mut found = vec![];
    while let Some(path) = left.pop() {
        let name = path.display().to_string();
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("a directory").flatten().map(|entry| entry.path()));
        } else if !name.ends_with("tests.rs")
            && std::fs::read_to_string(&path).is_ok_and(|text| text.contains(word))
        {
            found.push(name);
        }
    }
    found
}

#[test]
fn no_advisory_that_is_passed_over_reaches_what_ships() {
    let deny = std::fs::read_to_string(workspace_root().join("deny.toml")).expect("it is there");
    let passed_over: Vec<&str> =
        deny.lines().filter_map(|line| line.trim().strip_prefix("{ id = \"")).collect();
    let expected = ["RUSTSEC-2023-0071\"", "RUSTSEC-2025-0141\""];
    assert!(passed_over.iter().zip(expected).all(|(line, id)| line.starts_with(id)), "{passed_over:?}");
    assert_eq!(passed_over.len(), expected.len(), "each needs a reason that holds, below");
    let metadata = metadata();
    let ships =
        |name: &str| shipped(&metadata, "mainstem").iter().any(|package| package.name.as_str() == name);
    assert!(ships("rsa") && !ships("bincode"), "say in deny.toml what is so now");
    assert!(!server_files_with("DecodingKey").is_empty(), "it verifies");
    assert_eq!(server_files_with("EncodingKey"), [""; 0], "RUSTSEC-2023-0071: it would have private keys");
}

#[test]
fn a_licence_that_asks_for_more_is_seen() {
    for free in ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_free(Some(free)), "{free}");
    }
    for bound in
        ["GPL-3.0-only", "MIT AND MPL-2.0", "Apache-2.0 WITH LLVM-exception", "SSPL-1.0", "", "nonsense"]
    {
        assert!(!is_free(Some(bound)), "{bound}");
    }
    assert!(!is_free(None));
}
