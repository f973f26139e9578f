//! Programs of `clients/node` on the packages of the ecosystem, as they are published. They are installed once, in the
//! versions of the lock file, into a directory below `target`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use mainstem_programs::{NODE, NPM};
use serde_json::Value;

use crate::shipped_binary::workspace_root;

/// What the programs need, and what they are.
const FILES: [&str; 5] = ["package.json", "package-lock.json", "agent.mjs", "page.mjs", "use-chat.jsx"];
const LOCK_FILE: &str = "package-lock.json";

/// The directory from which the programs run.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(install)
}

fn install() -> PathBuf {
    let from = workspace_root().join("tests/clients/node");
    let to = workspace_root().join("target/clients/node");
    fs::create_dir_all(&to).expect("target can be written");
    // Tests run in several processes; one of them installs.
    let lock = File::create(to.join("install.lock")).expect("target can be written");
    lock.lock().expect("a file can be locked");
    let versions = fs::read(from.join(LOCK_FILE)).expect("the lock file is there");
    let is_there = fs::read(to.join("installed.json")).is_ok_and(|there| there == versions);
    for file in FILES {
        fs::copy(from.join(file), to.join(file)).expect("a file can be copied");
    }
    if !is_there {
        let npm = NPM.path().unwrap_or_else(|missing| panic!("{missing}"));
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let done = Command::new(npm).args(arguments).current_dir(&to).stdin(Stdio::null()).output();
        let done = done.expect("npm starts");
        assert!(done.status.success(), "npm ci failed: {}", String::from_utf8_lossy(&done.stderr));
        fs::write(to.join("installed.json"), versions).expect("target can be written");
    }
    to
}

/// A file of a package.
pub fn packaged(file: &str) -> String {
    fs::read_to_string(installed().join("node_modules").join(file)).expect("the package has it")
}

/// What the compiler of TypeScript objects to in a file of JavaScript, by the types that its comments give.
pub fn objections(file: &Path) -> String {
    let node = NODE.path().unwrap_or_else(|missing| panic!("{missing}"));
    let done = Command::new(node)
        .arg(installed().join("node_modules/typescript/bin/tsc"))
        .args(["--allowJs", "--checkJs", "--noEmit", "--strict", "--target", "es2023", "--module", "esnext"])
        .args(["--lib", "es2023,dom,dom.iterable"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("the compiler starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() { String::new() } else { said + &String::from_utf8_lossy(&done.stderr) }
}

/// The program as one script for browsers. `packages` are names as it imports them, with those that are installed.
pub fn bundled(program: &str, packages: &[(&str, &str)]) -> Vec<u8> {
    let directory = installed();
    let aliases = packages.iter().map(|(name, installed)| format!("--alias:{name}={installed}"));
    let node = NODE.path().unwrap_or_else(|missing| panic!("{missing}"));
    let done = Command::new(node)
        .arg(directory.join("node_modules/esbuild/bin/esbuild"))
        .args([program, "--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning"])
        .arg(r#"--define:process.env.NODE_ENV="production""#)
        .args(aliases)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("esbuild starts");
    assert!(done.status.success(), "esbuild failed: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// A program that answers each line with a line. It does not outlive its test.
#[derive(Debug)]
pub struct NodeProgram {
    child: Child,
    input: ChildStdin,
    output: Option<BufReader<ChildStdout>>,
}

impl NodeProgram {
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let node = NODE.path().unwrap_or_else(|missing| panic!("{missing}"));
        let mut command = Command::new(node);
        // Of itself, Node.js has it from version 22 on.
        command.arg("--experimental-websocket");
        command.arg(installed().join(program)).args(arguments).env("NODE_NO_WARNINGS", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("node starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output: Some(output) }
    }

    pub async fn ask(&mut self, line: &Value) -> Value {
        writeln!(self.input, "{line}").expect("the program reads");
        let mut output = self.output.take().expect("one line is asked at a time");
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| (line, output))
        });
        let (answer, output) = reading.await.expect("it does not panic").expect("a pipe can be read");
        self.output = Some(output);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("the program said {answer:?}: {error}"))
    }
}

impl Drop for NodeProgram {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
