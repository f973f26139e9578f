//! Log lines, on standard error. Whoever logs never waits and never fails: lines go through a bounded queue
//! to a thread that writes them, and those that cannot be written are lost and counted.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};

use tracing::Span;
use tracing_subscriber::EnvFilter;

use self::queue::Lines;
use crate::config::LogFormat;
use crate::failure::Failure;
use crate::limits::process::FLUSH_TIMEOUT;

/// The lines of this process.
fn lines() -> &'static Arc<Lines> {
    static LINES: OnceLock<Arc<Lines>> = OnceLock::new();
    LINES.get_or_init(Lines::to_standard_error)
}

/// Installs the logger: events that pass `filter` go to standard error.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter: EnvFilter =
        quiet(filter).parse().map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Sink)
        .with_ansi(false)
        // What the subscriber says of its own errors would go past the queue, and panic where it cannot.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The library of MCP logs what servers and models say, that of NATS each message that it drops, and those of HTTP/2 and TLS what
/// strangers do wrong, who can do it without end (B1). What of it is news is logged here; who wants to see the rest names it in the
/// filter, where the last word on a target counts.
const QUIET: &str = "rmcp=off,async_nats=off,h2=off,rustls=off";

fn quiet(filter: &str) -> String {
    if filter.trim().is_empty() { filter.to_owned() } else { format!("{QUIET},{filter}") }
}

/// What the log says of itself is said in `span`, as all else is.
pub(crate) fn name(span: &Span) {
    lines().name(span.clone());
}

/// Writes one line that is no event.
pub(crate) fn tell(line: impl fmt::Display) {
    lines().push(format!("{line}\n").as_bytes());
}

/// Waits until what was logged is written, but not for long: a reader may be stuck.
pub(crate) fn flush() {
    lines().flush(FLUSH_TIMEOUT);
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<String>().map(String::as_str);
    let cause = text.or_else(|| panic.payload().downcast_ref::<&str>().copied()).unwrap_or("no text");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(cause, at, %backtrace, "panicked"),
        _ => tracing::error!(cause, at, "panicked"),
    }
}

/// What the subscriber writes its lines to: one call each.
struct Sink;

impl io::Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !queue::capture(line) {
            lines().push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_say_of_others_is_logged_only_on_demand() {
        let of = |filter: &str| quiet(filter).parse::<EnvFilter>().expect("a filter").to_string();
        for (filter, is_off) in [("info", true), ("trace,hyper=off", true), ("rmcp=debug,info", false)] {
            assert_eq!(of(filter).contains("rmcp=off"), is_off, "{filter}");
            for name in ["async_nats=off", "h2=off", "rustls=off"] {
                assert!(of(filter).contains(name), "{filter}");
            }
        }
        assert_eq!(of(""), "".parse::<EnvFilter>().expect("a filter").to_string());
    }
}
