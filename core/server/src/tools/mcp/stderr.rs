//! What a program says on its standard error, in the log: so many lines a second, each cut to its bound. The others
//! are counted.

use std::convert::Infallible;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep};

use crate::limits::mcp::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX, OUTPUT_GRACE};
use crate::tools::secrets::Secrets;

const READ_BYTES: usize = 4096;
const WINDOW: Duration = Duration::from_secs(1);

/// Until the stream ends, or the program is `gone`: what it started may hold the stream open for ever. What the program
/// wrote before counts, within a grace.
pub(super) async fn log(
    server: String,
    secrets: Secrets,
    stderr: impl AsyncRead + Unpin,
    gone: oneshot::Receiver<Infallible>,
) {
    let mut lines = Lines { secrets, ..Lines::default() };
    tokio::select! {
        // First, for whoever writes without a pause leaves time for nothing behind.
        biased;
        () = async {
            let _ = gone.await;
            sleep(OUTPUT_GRACE).await;
        } => {}
        () = log_all(&server, stderr, &mut lines) => {}
    }
    if let Some((line, left_out)) = lines.take(b'\n', Instant::now() + WINDOW) {
        tracing::info!(server, line, left_out, "an MCP server wrote to its standard error");
    }
}

async fn log_all(server: &str, mut stderr: impl AsyncRead + Unpin, lines: &mut Lines) {
    let mut buffer = [0; READ_BYTES];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        for byte in &buffer[..count] {
            if let Some((line, left_out)) = lines.take(*byte, Instant::now()) {
                tracing::info!(server, line, left_out, "an MCP server wrote to its standard error");
            }
        }
    }
}

#[derive(Default)]
struct Lines {
    secrets: Secrets,
    line: Vec<u8>,
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Lines {
    /// A line that is to be told, and how many were not before it.
    fn take(&mut self, byte: u8, now: Instant) -> Option<(String, u64)> {
        if byte != b'\n' {
            if self.line.len() <= LOG_LINE_BYTES_MAX + self.secrets.longest() {
                self.line.push(byte);
            }
            return None;
        }
        let line = std::mem::take(&mut self.line);
        let line = self.secrets.excerpt(String::from_utf8_lossy(&line).trim_end(), LOG_LINE_BYTES_MAX);
        if line.is_empty() {
            return None;
        }
        if self.since.is_none_or(|since| now - since >= WINDOW) {
            (self.since, self.told) = (Some(now), 0);
        }
        if self.told == LOG_LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.told += 1;
        Some((line, std::mem::take(&mut self.left_out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::secrets::Words;

    #[tokio::test]
    async fn of_a_program_that_is_gone_nothing_more_is_read_after_a_grace() {
        // What it started holds the other end, and is silent or writes without a pause.
        let (_held, silent) = tokio::io::duplex(64);
        let (program, gone) = oneshot::channel();
        let silent = tokio::spawn(log("tests".into(), Secrets::default(), silent, gone));
        let (other, gone) = oneshot::channel();
        let endless = tokio::spawn(log("tests".into(), Secrets::default(), tokio::io::repeat(b'x'), gone));
        sleep(OUTPUT_GRACE * 2).await;
        assert!(!silent.is_finished() && !endless.is_finished(), "as long as the program runs");
        drop((program, other));
        for log in [silent, endless] {
            let ended = tokio::time::timeout(Duration::from_secs(20), log).await;
            ended.expect("B2: it ends").expect("without a panic");
        }
    }

    #[test]
    fn a_secret_is_not_told_even_where_the_line_is_cut() {
        let mut words = Words::default();
        words.secret("sk-this-is-secret");
        let mut lines = Lines { secrets: Secrets::of(words), ..Lines::default() };
        for place in [0, 100, LOG_LINE_BYTES_MAX - 5, LOG_LINE_BYTES_MAX + 5] {
            let line = format!("{}sk-this-is-secret{}\n", "x".repeat(place), "y".repeat(LOG_LINE_BYTES_MAX));
            let told = line.bytes().find_map(|byte| lines.take(byte, Instant::now())).expect("a line");
            assert!(!told.0.contains("sk-") && told.0.contains('…'), "S10: {told:?}");
        }
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        let mut told =
            |text: &str, now| text.bytes().filter_map(|byte| lines.take(byte, now)).collect::<Vec<_>>();
        let long = told(&format!("{}\n\n", "x".repeat(LOG_LINE_BYTES_MAX * 3)), now);
        assert_eq!(long, [(format!("{}…", "x".repeat(LOG_LINE_BYTES_MAX)), 0)]);
        assert_eq!(told(&"a\n".repeat(1000), now).len(), LOG_LINES_MAX as usize - 1);
        let left_out = 1000 - u64::from(LOG_LINES_MAX - 1);
        assert_eq!(told("b\r\nc\n", now + WINDOW), [("b".into(), left_out), ("c".into(), 0)]);
    }
}
