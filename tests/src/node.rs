//! Programs of `clients/node` on the packages of the ecosystem, as they are published, in the versions of the lock
//! file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use mainstem_programs::{NODE, NPM};

use crate::client_project::{carry_out, installed};
use crate::line_program::LineProgram;
use crate::web_site::Page;

/// What the programs need, and what they are.
const FILES: [&str; 7] =
    ["package.json", LOCK_FILE, "agent.mjs", "openai.mjs", "page.mjs", "tanstack.js", "use-chat.jsx"];
pub(crate) const LOCK_FILE: &str = "package-lock.json";

/// The directory from which the programs run.
fn directory() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| installed("tests/clients/node", &FILES, LOCK_FILE, install))
}

/// Installs the packages that the lock file there names.
pub(crate) fn install(to: &Path) {
    let npm = NPM.path().unwrap_or_else(|missing| panic!("{missing}"));
    carry_out(Command::new(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(to));
}

/// The pages of `examples/next-chat`, which talk to this server: their paths, media types and contents.
pub fn next_chat(server: &str) -> Vec<Page> {
    const FILES: [&str; 7] = [
        "package.json",
        LOCK_FILE,
        "next.config.mjs",
        "tsconfig.json",
        "app/layout.tsx",
        "app/page.tsx",
        "app/page.css",
    ];
    let directory = installed("examples/next-chat", &FILES, LOCK_FILE, install);
    let node = NODE.path().unwrap_or_else(|missing| panic!("{missing}"));
    let mut build = Command::new(node);
    build.args(["node_modules/next/dist/bin/next", "build"]).current_dir(&directory);
    carry_out(build.env("NEXT_PUBLIC_MAINSTEM", server).env("NEXT_TELEMETRY_DISABLED", "1"));
    let out = directory.join("out");
    let mut pages = vec![("/".into(), "text/html", fs::read(out.join("index.html")).expect("it was built"))];
    let mut directories = vec![out.clone()];
    while let Some(directory) = directories.pop() {
        for file in fs::read_dir(directory).expect("it was built") {
            let path = file.expect("a directory can be read").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let kind = match path.extension().and_then(|extension| extension.to_str()) {
                Some("js") => "text/javascript",
                Some("css") => "text/css",
                Some("html") => "text/html",
                _ => "application/octet-stream",
            };
            let name = path.strip_prefix(&out).expect("it is below").to_str().expect("a name in UTF-8");
            pages.push((format!("/{name}").into(), kind, fs::read(&path).expect("it can be read")));
        }
    }
    pages
}

/// A file of a package.
pub fn packaged(file: &str) -> String {
    fs::read_to_string(directory().join("node_modules").join(file)).expect("the package has it")
}

/// What the compiler of TypeScript objects to in a file of JavaScript, by the types that its comments give.
pub fn objections(file: &Path) -> String {
    let node = NODE.path().unwrap_or_else(|missing| panic!("{missing}"));
    let done = Command::new(node)
        .arg(directory().join("node_modules/typescript/bin/tsc"))
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
    let directory = directory();
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

/// Starts a program of the project.
pub fn start(program: &str, arguments: &[&str]) -> LineProgram {
    let node = NODE.path().unwrap_or_else(|missing| panic!("{missing}"));
    let mut command = Command::new(node);
    // Of itself, Node.js has it from version 22 on.
    command.arg("--experimental-websocket");
    LineProgram::start(command.arg(directory().join(program)).args(arguments).env("NODE_NO_WARNINGS", "1"))
}
