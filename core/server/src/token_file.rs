//! The file of tokens, read again when it changes and when the process is told to (SIGHUP).
//!
//! A file that cannot be read, or makes no sense, changes nothing. One that was changed is read when it has
//! not changed for an interval: who writes it may not be done.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::http::Tokens;
use crate::limits::process::CHECK_INTERVAL;

#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    tokens: watch::Sender<Tokens>,
    /// What the file was when it was last read, or found not to be readable.
    read: Option<Stamp>,
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

impl TokenFile {
    /// Reads it for the first time: here a bad file is refused.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let told = |error: String| format!("--auth-file {}: {error}", path.display());
        let read = std::fs::metadata(path).ok().map(Stamp::from);
        let text = std::fs::read(path).map_err(|error| Failure::environment(told(error.to_string())))?;
        let tokens = parse(text).map_err(|error| Failure::usage(told(error)))?;
        Ok(Self { path: path.to_owned(), tokens: watch::Sender::new(tokens), read })
    }

    pub(crate) fn tokens(&self) -> watch::Receiver<Tokens> {
        self.tokens.subscribe()
    }

    /// Keeps up with the file, for ever.
    pub(crate) async fn watch(mut self, mut hangup: Signal) {
        let mut last = self.read;
        loop {
            let told = tokio::select! {
                told = hangup.recv() => told.is_some(),
                () = tokio::time::sleep(CHECK_INTERVAL) => false,
            };
            let now = tokio::fs::metadata(&self.path).await.ok().map(Stamp::from);
            if told {
                tracing::info!(signal = "SIGHUP", "reading the tokens again");
            }
            if told || (now != self.read && now == last) {
                self.read_again(now).await;
            }
            last = now;
        }
    }

    async fn read_again(&mut self, stamp: Option<Stamp>) {
        let (file, text) = (self.path.display(), tokio::fs::read(&self.path).await);
        match text.map_err(|error| error.to_string()).and_then(parse) {
            Ok(tokens) => {
                tracing::info!(%file, tokens = tokens.count(), "the tokens were read again");
                self.tokens.send_replace(tokens);
            }
            Err(error) => {
                tracing::warn!(%file, error, "the tokens stay as they were: expected a readable file")
            }
        }
        self.read = stamp;
    }
}

fn parse(text: Vec<u8>) -> Result<Tokens, String> {
    Tokens::from_toml(&String::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?)
}
