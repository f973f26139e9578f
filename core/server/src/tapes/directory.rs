//! A directory of tapes that never has more bytes than it may: the oldest tapes that have ended make room for
//! new ones, and if there is none the new ones are lost.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use mainstem_runtime::ports::NewTape;
use uuid::Uuid;

const EXTENSION: &str = "tape";

/// A piece of a tape.
pub(super) enum Piece {
    First { tape: NewTape, is_lost: Arc<AtomicBool> },
    Frame(Vec<u8>),
    Last(Vec<u8>),
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::First { tape, .. } => tape.first.len() + tape.if_lost.len(),
            Self::Frame(bytes) | Self::Last(bytes) => bytes.len(),
        }
    }
}

pub(super) struct Directory {
    path: PathBuf,
    bytes_max: u64,
    /// Of all tapes, with what is kept for the last frames of those that have not ended.
    bytes: u64,
    /// Tapes whose machines have ended, the oldest first.
    ended: VecDeque<Tape>,
    open: BTreeMap<u64, OpenTape>,
    /// Of this process. A later one has a greater name.
    name: Uuid,
    /// One process at a time, until it dies.
    _lock: File,
}

struct Tape {
    path: PathBuf,
    bytes: u64,
}

struct OpenTape {
    tape: Tape,
    if_lost: Vec<u8>,
    is_lost: Arc<AtomicBool>,
}

impl Directory {
    pub(super) fn open(path: &Path, bytes_max: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(path).context("the directory cannot be made")?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.context("the directory cannot be written")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("another mainstem keeps its tapes here: give each a directory of its own")
            }
            Err(TryLockError::Error(error)) => return Err(error).context("the directory cannot be locked"),
        }
        let mut ended = Vec::new();
        for entry in fs::read_dir(path).context("the directory cannot be read")? {
            let path = entry.context("the directory cannot be read")?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let bytes = path.metadata().context("a tape cannot be read")?.len();
                ended.push(Tape { path, bytes });
            }
        }
        ended.sort_by(|one, other| one.path.cmp(&other.path));
        let bytes = ended.iter().map(|tape| tape.bytes).sum();
        let (path, ended, open) = (path.to_owned(), ended.into(), BTreeMap::new());
        let mut directory = Self { path, bytes_max, bytes, ended, open, name: Uuid::now_v7(), _lock: lock };
        directory.make_room(0);
        Ok(directory)
    }

    /// Writes pieces of one tape, in order.
    pub(super) fn write(&mut self, id: u64, pieces: Vec<Piece>) {
        let mut bytes = Vec::new();
        let mut last = None;
        for piece in pieces {
            match piece {
                Piece::First { tape, is_lost } => {
                    self.begin(id, &tape, is_lost);
                    bytes.extend(tape.first);
                }
                Piece::Frame(frame) => bytes.extend(frame),
                Piece::Last(frame) => last = Some(frame),
            }
        }
        // Otherwise it was lost, and this is what came too late.
        let Some(open) = self.open.remove(&id) else { return };
        let has_room = self.make_room(bytes.len() as u64);
        let is_last = last.is_some();
        let written = if has_room {
            bytes.extend(last.unwrap_or_default());
            append(&open.tape.path, &bytes)
        } else {
            open.is_lost.store(true, Ordering::Relaxed);
            // One that has not even its first bytes would be no tape.
            let is_begun = open.tape.bytes > open.if_lost.len() as u64;
            if is_begun { append(&open.tape.path, &open.if_lost) } else { Ok(()) }
        };
        let is_over = is_last || !has_room || written.is_err();
        if let Err(error) = written {
            open.is_lost.store(true, Ordering::Relaxed);
            tracing::warn!(%error, tape = %open.tape.path.display(), "a tape cannot be written");
        }
        self.settle(id, open, is_over);
    }

    fn begin(&mut self, id: u64, tape: &NewTape, is_lost: Arc<AtomicBool>) {
        let file = format!("{}-{id:08}-{}.{EXTENSION}", self.name.simple(), tape.name);
        let if_lost = tape.if_lost.clone();
        // What is kept for the last frame counts from the beginning.
        self.bytes += if_lost.len() as u64;
        let tape = Tape { path: self.path.join(file), bytes: if_lost.len() as u64 };
        self.open.insert(id, OpenTape { tape, if_lost, is_lost });
    }

    /// Counts what the tape has by now.
    fn settle(&mut self, id: u64, mut open: OpenTape, is_over: bool) {
        let kept = if is_over { 0 } else { open.if_lost.len() as u64 };
        let bytes = open.tape.path.metadata().map_or(0, |file| file.len()) + kept;
        self.bytes = self.bytes - open.tape.bytes + bytes;
        open.tape.bytes = bytes;
        if is_over {
            self.ended.push_back(open.tape);
        } else {
            self.open.insert(id, open);
        }
    }

    /// Whether so many more bytes fit, if need be in place of tapes that have ended.
    fn make_room(&mut self, bytes: u64) -> bool {
        while self.bytes + bytes > self.bytes_max {
            let Some(oldest) = self.ended.pop_front() else { return false };
            match fs::remove_file(&oldest.path) {
                Ok(()) => self.bytes -= oldest.bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.bytes -= oldest.bytes,
                // It goes on to count.
                Err(error) => {
                    tracing::warn!(%error, tape = %oldest.path.display(), "a tape cannot be removed");
                }
            }
        }
        true
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::options().create(true).append(true).open(path)?.write_all(bytes)
}
