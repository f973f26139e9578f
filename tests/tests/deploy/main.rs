//! The files of `deploy`, held against the programs that read them, as far as these can be had, against schemas, and against what
//! ships. No image is built, and no cluster, Docker or systemd runs them here.

mod chart;
mod compose;
mod flags;
mod image;
mod service;

use std::time::Duration;

use mainstem::limits::{edge, insight, mcp, process, tapes};

/// What the end of a server may take beside `--drain-timeout`.
fn end() -> Duration {
    process::DRAIN_SLACK
        + edge::CLOSE_TIMEOUT
        + insight::TRACES_FLUSH_TIMEOUT
        + mcp::STOP_TIMEOUT
        + tapes::FLUSH_TIMEOUT
        + process::FLUSH_TIMEOUT
}

/// As settings have it: `10s`.
fn seconds(text: &str) -> Duration {
    let number = text.strip_suffix('s').and_then(|number| number.parse().ok());
    Duration::from_secs(number.unwrap_or_else(|| panic!("expected seconds, as in 10s: {text}")))
}
