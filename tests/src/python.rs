//! Programs of `clients/python` on the packages of the ecosystem, as they are published, in the versions of the lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use mainstem_programs::{PIP, PYTHON};

use crate::client_project::{carry_out, installed};
use crate::line_program::LineProgram;

const FILES: [&str; 4] = [LOCK_FILE, "openai_client.py", "schemathesis.toml", "schemathesis_hooks.py"];
const LOCK_FILE: &str = "requirements.txt";
const PACKAGES: &str = "packages";

fn python() -> PathBuf {
    PYTHON.path().unwrap_or_else(|missing| panic!("{missing}"))
}

/// Beside the program, since Debian's Python has no `venv` of itself and lets nobody install among its own.
fn install(to: &Path) {
    // It is there or comes as a package; what is started is the one of this Python.
    PIP.path().unwrap_or_else(|missing| panic!("{missing}"));
    fs::remove_dir_all(to.join(PACKAGES)).ok();
    let command = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    let what =
        ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", PACKAGES, "-r", LOCK_FILE];
    carry_out(Command::new(python()).args(command).args(what).current_dir(to));
}

/// Where the project and its packages are.
pub fn directory() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| installed("tests/clients/python", &FILES, LOCK_FILE, install))
}

/// Starts a program of the project.
pub fn start(program: &str) -> LineProgram {
    LineProgram::start(command().arg(directory().join(program)))
}

/// A Python that has the packages.
pub fn command() -> Command {
    let mut command = Command::new(python());
    command.env("PYTHONPATH", directory().join(PACKAGES));
    command
}
