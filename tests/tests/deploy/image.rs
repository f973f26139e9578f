//! `deploy/Dockerfile`. It is linted and looked at, and what it would be given is enough for cargo; no image is built.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use mainstem_tests::deploy::{lint_dockerfile, path, text};
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::workspace_root;

/// The instructions, each as one line.
fn instructions(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_linter_has_nothing_to_say_of_the_dockerfile() {
    assert_eq!(lint_dockerfile(&path("Dockerfile")), "");
    let scratch = Scratch::new();
    let bad = scratch.file("Dockerfile", &text("Dockerfile").replace("WORKDIR /source", "WORKDR /source"));
    assert!(lint_dockerfile(Path::new(&bad)).contains("WORKDR"), "it would have something to say");
}

#[test]
fn the_last_stage_has_a_user_without_rights_and_nothing_to_build_with() {
    let all = instructions(&text("Dockerfile"));
    let stages: Vec<_> = all.iter().filter(|line| line.starts_with("FROM ")).collect();
    assert!(stages.len() >= 2 && all.iter().all(|line| !line.contains("latest")), "{stages:?}");
    for stage in stages {
        let image = stage.split(' ').nth(1).expect("an image");
        assert!(image.contains(':'), "a version is named: {stage}");
    }
    let last = all.iter().rposition(|line| line.starts_with("FROM ")).expect("a stage");
    let last = &all[last..];
    let of = |name: &str| {
        last.iter().rfind(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {last:?}"))
    };
    let user = of("USER ")
        .trim_start_matches("USER ")
        .split(':')
        .map(str::parse::<u32>)
        .collect::<Result<Vec<_>, _>>();
    assert!(user.is_ok_and(|ids| ids.len() == 2 && ids.iter().all(|id| *id > 0)), "by number, and not root");
    let installed: Vec<_> = last.iter().filter(|line| line.contains("apt-get install")).collect();
    assert!(
        installed.len() == 1 && installed[0].contains("--no-install-recommends ca-certificates && rm"),
        "{installed:?}"
    );
    assert_eq!(
        (&**of("ENTRYPOINT "), &**of("CMD ")),
        ("ENTRYPOINT [\"mainstem\"]", "CMD [\"serve\"]"),
        "signals reach it"
    );
    assert!(
        all.iter().any(|line| line.starts_with("RUN cargo build --locked --release --package mainstem ")),
        "{all:?}"
    );
    let oldest = fs::read_to_string(workspace_root().join("Cargo.toml")).expect("it is there");
    let oldest = oldest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert!(
        all.contains(&format!("ARG RUST={}", oldest.trim_matches('"'))),
        "the compiler that the workspace asks for"
    );
}

#[test]
fn what_the_image_is_built_of_is_a_workspace_and_no_more() {
    let ignore = text("Dockerfile.dockerignore");
    let kept: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.starts_with("*\n") && kept.contains(&"core"), "{kept:?}");
    let scratch = Scratch::new();
    let root = workspace_root();
    let names = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    let names = String::from_utf8(names.expect("git starts").stdout).expect("UTF-8");
    let is_kept = |name: &str| {
        kept.iter().any(|kept| match kept.strip_suffix('*') {
            Some(begin) => name.starts_with(begin) && !name.contains('/'),
            None => name == *kept || name.strip_prefix(kept).is_some_and(|rest| rest.starts_with('/')),
        })
    };
    for name in names.lines().filter(|name| is_kept(name)) {
        let to = scratch.path().join(name);
        fs::create_dir_all(to.parent().expect("it is below")).expect("a directory");
        fs::copy(root.join(name), to).expect("a file");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--locked", "--offline", "--format-version", "1"]).current_dir(scratch.path());
    let done = metadata.stdin(Stdio::null()).output().expect("cargo starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!scratch.path().join(".git").exists() && !scratch.path().join("deploy").exists());
}
