//! The shipped binary, built once for all tests of a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use cargo_metadata::Message;

/// Names a binary to use instead of building one.
pub const OVERRIDE: &str = "MAINSTEM_TEST_BINARY";

/// The root of the repository.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

/// The path of the binary.
pub fn server_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os(OVERRIDE) {
        Some(path) => path.into(),
        None => build().expect("what ships can be built"),
    })
}

fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--package", "mainstem", "--message-format=json"]);
    // Cargo sets variables for the package under test that the build must not see.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            build.env_remove(name);
        }
    }
    let output = build.current_dir(workspace_root()).stdin(Stdio::null()).output();
    let output = output.context("cargo does not start")?;
    ensure!(
        output.status.success(),
        "cargo build ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    for message in Message::parse_stream(&output.stdout[..]) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.name == "mainstem"
            && let Some(executable) = artifact.executable
        {
            return Ok(executable.into());
        }
    }
    anyhow::bail!("cargo built no executable of the name mainstem")
}
