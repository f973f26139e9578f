//! A lock file beside the database, so that only one process uses it. The system releases the lock when its
//! holder dies.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Locks the file beside the database. The file is never removed, because that would race.
pub(super) fn lock(path: &Path) -> anyhow::Result<File> {
    // All names of one file must lead to the same lock.
    let real = path.canonicalize().or_else(|_| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let name = path.file_name().context("the database's path does not name a file")?;
        let parent = parent.unwrap_or(Path::new("."));
        let parent = parent
            .canonicalize()
            .with_context(|| format!("the directory {} for the database cannot be used", parent.display()))?;
        anyhow::Ok(parent.join(name))
    })?;
    let mut beside = real.into_os_string();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&beside)
        .with_context(|| format!("the lock file {} cannot be written", beside.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "the database {} is in use by another mainstem: stop that one, give this one another file, or use \
             PostgreSQL for several replicas",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("the lock file {} cannot be locked", beside.display()))
        }
    }
}
