//! Log lines, on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::failure::Failure;

/// From now on events go to standard error, those that `filter` lets pass.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter: EnvFilter = filter.parse().map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
