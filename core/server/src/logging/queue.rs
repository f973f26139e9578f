//! Lines that wait to be written, and the thread that writes them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::Span;

use crate::limits::process::{FULL_RETRY_DELAY, LINE_OVERHEAD_BYTES, WAITING_BYTES_MAX};

/// A bounded queue of lines. Nothing that is done with it waits for its reader but [`Lines::flush`].
pub(super) struct Lines {
    queue: Mutex<Queue>,
    changed: Condvar,
    span: OnceLock<Span>,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// A line was taken and is not written yet.
    writing: bool,
    lost: u64,
}

impl Lines {
    /// The lines that a thread of their own writes to standard error, past the lock of the standard library:
    /// a stuck write must not keep others who want it.
    pub(super) fn to_standard_error() -> Arc<Self> {
        let lines = Arc::new(Self::new());
        // Without a descriptor or a thread all lines are lost, which is counted, and costs nothing else.
        if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
            let writer = lines.clone();
            let _ = thread::Builder::new().name("log".into()).spawn(move || writer.write(File::from(stderr)));
        }
        lines
    }

    fn new() -> Self {
        Self { queue: Mutex::default(), changed: Condvar::new(), span: OnceLock::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self, span: Span) {
        let _ = self.span.set(span);
    }

    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        let cost = line.len() + LINE_OVERHEAD_BYTES;
        if queue.bytes + cost > WAITING_BYTES_MAX {
            queue.lost += 1;
            return;
        }
        queue.bytes += cost;
        queue.lines.push_back(line.into());
        drop(queue);
        self.changed.notify_all();
    }

    /// Waits until all is written, up to `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let waiting = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        drop(self.changed.wait_timeout_while(self.lock(), limit, waiting));
    }

    /// Writes what comes, for ever.
    fn write(&self, out: impl Write) {
        let mut output = Output { out, is_torn: false };
        loop {
            let line = self.take();
            let written = output.write(&line);
            let lost = {
                let mut queue = self.lock();
                queue.lost += u64::from(written.is_err());
                queue.lost
            };
            if written.is_ok() && lost > 0 && output.write(&self.told_of(lost)).is_ok() {
                self.lock().lost -= lost;
            }
        }
    }

    fn take(&self) -> Box<[u8]> {
        let mut queue = self.lock();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len() + LINE_OVERHEAD_BYTES;
                queue.writing = true;
                return line;
            }
            queue.writing = false;
            self.changed.notify_all();
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The line that says that lines were lost, in the format of all others.
    fn told_of(&self, lost: u64) -> Vec<u8> {
        let _named = self.span.get().map(Span::enter);
        CAPTURED.set(Some(Vec::new()));
        tracing::error!(lines = lost, "log lines were lost: they could not be written");
        CAPTURED.take().unwrap_or_default()
    }
}

thread_local! {
    /// What the writing thread itself logs, which must not wait in its own queue.
    static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Whether this thread is the one that writes, and keeps the line for itself.
pub(super) fn capture(line: &[u8]) -> bool {
    CAPTURED.with_borrow_mut(|captured| {
        captured.as_mut().map(|captured| captured.extend_from_slice(line)).is_some()
    })
}

struct Output<W> {
    out: W,
    /// The last line was cut short.
    is_torn: bool,
}

impl<W: Write> Output<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.write_piece(b"\n")?;
        }
        self.is_torn = false;
        self.write_piece(line)
    }

    fn write_piece(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            match self.out.write(piece) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    piece = &piece[count..];
                    self.is_torn = !piece.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process made the other end so: it is a full pipe all the same.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_RETRY_DELAY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then nothing until told otherwise.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = bytes.len().min(disk.1);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            disk.1 -= count;
            disk.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_short_does_not_run_into_the_next() {
        let disk = Disk::default();
        disk.0.lock().expect("no panic").1 = 6;
        let mut output = Output { out: disk.clone(), is_torn: false };
        assert!(output.write(b"one\n").is_ok());
        assert!(output.write(b"two\n").is_err());
        disk.0.lock().expect("no panic").1 = 100;
        assert!(output.write(b"three\n").is_ok());
        assert_eq!(disk.0.lock().expect("no panic").0, b"one\ntw\nthree\n");
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted_and_nobody_waits() {
        let lines = Lines::new();
        let line = vec![b'x'; 1000];
        for _ in 0..2000 {
            lines.push(&line);
        }
        let queue = lines.lock();
        assert!(queue.bytes <= WAITING_BYTES_MAX && queue.lines.len() > 900, "B1");
        assert_eq!(queue.lines.len() as u64 + queue.lost, 2000);
        drop(queue);
        // Nobody writes: ending does not wait for ever.
        lines.flush(Duration::from_millis(1));
    }
}
