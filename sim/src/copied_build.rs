//! Builds this program from a copy of the tree, in a target directory of the copy's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROFILE: &str = "sim";
const PACKAGE: &str = "mainstem-sim";

/// The command that builds it.
pub(crate) fn command(tree: &Path, target: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(tree)
        .args(["build", "--locked", "--color", "never", "--profile", PROFILE, "--package", PACKAGE])
        .env("CARGO_TARGET_DIR", target)
        // The copy is inside the tree, so cargo would read the settings of both and pass the flag twice. What the
        // caller's environment says would replace it.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "--cfg madsim")
        .stdin(Stdio::null());
    command
}

/// Where the program is when it is built.
pub(crate) fn program(target: &Path) -> PathBuf {
    target.join(PROFILE).join(PACKAGE)
}

/// Copies the built dependencies of this program, with their time stamps, so that they need not be built
/// again. A failure only costs time.
pub(crate) fn spare_the_libraries(target: &Path) {
    let built = std::env::current_exe().ok();
    let Some(from) = built.as_deref().and_then(Path::parent).filter(|from| from.ends_with(PROFILE)) else {
        return;
    };
    let to = target.join(PROFILE);
    if to.exists() || std::fs::create_dir_all(&to).is_err() {
        return;
    }
    for part in ["deps", "build", ".fingerprint"] {
        let _ = Command::new("cp").arg("-a").arg(from.join(part)).arg(&to).status();
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn the_flag_of_the_simulator_is_passed_once_whatever_the_callers_flags_are() {
        let command = super::command(Path::new("."), Path::new("target"));
        let of = |key: &str| command.get_envs().find(|(name, _)| *name == key).map(|(_, value)| value);
        assert_eq!(of("RUSTFLAGS"), Some(Some(OsStr::new("--cfg madsim"))));
        assert_eq!(of("CARGO_ENCODED_RUSTFLAGS"), Some(None));
    }
}
