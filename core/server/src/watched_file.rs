//! Files that say who may, of tokens, keys or certificates: read again when one changes and when the process is told to (SIGHUP).
//!
//! Files that cannot be read, or make no sense together, change nothing. Those of which one was changed are read when none has
//! changed for an interval: who writes them may not be done.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::limits::process::CHECK_INTERVAL;

/// Makes sense of what the files have, or tells what was expected without repeating any of it.
type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync>;

pub(crate) struct WatchedFile<T> {
    flag: &'static str,
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    value: watch::Sender<T>,
    /// What the files were when they were last read, or found not to be readable.
    read: Vec<Option<Stamp>>,
}

impl<T> fmt::Debug for WatchedFile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFile").field("flag", &self.flag).field("paths", &self.paths).finish()
    }
}

/// Two files of one stamp have the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(file: Metadata) -> Self {
        let changed = (file.ctime(), file.ctime_nsec());
        Self { device: file.dev(), inode: file.ino(), size: file.size(), changed }
    }
}

impl<T> WatchedFile<T> {
    /// Reads it for the first time: here a bad file is refused. `flag` is what names it.
    pub(crate) fn open(
        flag: &'static str,
        path: &Path,
        parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        Self::open_all(flag, &[path], move |files| parse(&files[0]))
    }

    /// The same of files that make sense together. `parse` is given what they have, in this order.
    pub(crate) fn open_all(
        flag: &'static str,
        paths: &[&Path],
        parse: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let read = paths.iter().map(|path| std::fs::metadata(path).ok().map(Stamp::from)).collect();
        let told = |path: &Path, error: &str| format!("{flag} {}: {error}", path.display());
        let mut files = vec![];
        for path in paths {
            let bytes = std::fs::read(path);
            files.push(bytes.map_err(|error| Failure::environment(told(path, &error.to_string())))?);
        }
        let value = parse(&files).map_err(|error| Failure::usage(told(paths[0], &error)))?;
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        Ok(Self { flag, paths, parse: Box::new(parse), value: watch::Sender::new(value), read })
    }

    pub(crate) fn value(&self) -> watch::Receiver<T> {
        self.value.subscribe()
    }

    /// Keeps up with the file, for ever.
    pub(crate) async fn watch(mut self, mut hangup: Signal) {
        let mut last = self.read.clone();
        loop {
            let told = tokio::select! {
                told = hangup.recv() => told.is_some(),
                () = tokio::time::sleep(CHECK_INTERVAL) => false,
            };
            let mut now = vec![];
            for path in &self.paths {
                now.push(tokio::fs::metadata(path).await.ok().map(Stamp::from));
            }
            if told {
                tracing::info!(signal = "SIGHUP", flag = self.flag, "reading the file again");
            }
            if told || (now != self.read && now == last) {
                self.read_again(now.clone()).await;
            }
            last = now;
        }
    }

    async fn read_again(&mut self, stamps: Vec<Option<Stamp>>) {
        let (flag, file) = (self.flag, self.paths[0].display());
        let mut files = vec![];
        let mut unread = None;
        for path in &self.paths {
            match tokio::fs::read(path).await {
                Ok(bytes) => files.push(bytes),
                Err(error) => unread = Some(error.to_string()),
            }
        }
        match unread.map_or_else(|| (self.parse)(&files), Err) {
            Ok(value) => {
                tracing::info!(flag, %file, "the file was read again");
                self.value.send_replace(value);
            }
            Err(error) => {
                tracing::warn!(flag, %file, error, "its contents stay as they were: expected a readable file");
            }
        }
        self.read = stamps;
    }
}
