//! A project of another language: its files are copied to a directory below `target`, and the packages that its lock file
//! names are installed there once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shipped_binary::workspace_root;

/// The directory of the project that is there, from the root of the repository. `install` is carried out there if other versions were installed before, or none.
pub(crate) fn installed(project: &str, files: &[&str], lock_file: &str, install: fn(&Path)) -> PathBuf {
    let from = workspace_root().join(project);
    let to = workspace_root().join("target/clients").join(from.file_name().expect("it has a name"));
    fs::create_dir_all(&to).expect("target can be written");
    // Tests run in several processes; one of them installs.
    let lock = File::create(to.join("install.lock")).expect("target can be written");
    lock.lock().expect("a file can be locked");
    let versions = fs::read(from.join(lock_file)).expect("the lock file is there");
    let is_there = fs::read(to.join("installed.json")).is_ok_and(|there| there == versions);
    for file in files {
        let to = to.join(file);
        fs::create_dir_all(to.parent().expect("it is in the project")).expect("target can be written");
        fs::copy(from.join(file), to).expect("a file can be copied");
    }
    if !is_there {
        install(&to);
        fs::write(to.join("installed.json"), versions).expect("target can be written");
    }
    to
}

/// Carries out an installer.
pub(crate) fn carry_out(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(done.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&done.stderr));
}
