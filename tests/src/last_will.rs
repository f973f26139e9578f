//! Cleans up when this process has ended in any way: a shell waits for the end of a pipe that only this
//! process holds open. Without it, a killed test would leave its servers behind.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Dropping it cancels the clean-up.
#[derive(Debug)]
pub(crate) struct LastWill(Child);

impl LastWill {
    /// `script` is run by `sh` with `args` as `$1`, `$2`, …
    pub(crate) fn new(script: &str, args: &[&str]) -> std::io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("while read -r _; do :; done; {script}")).arg("last-will").args(args);
        // A process group of its own, so that signals to ours do not end it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().map(Self)
    }
}

impl Drop for LastWill {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
