//! How operators look into a replica.

use clap::Args;
use serde::Deserialize;

use super::group::{Group, or};

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct InsightOptions {
    /// Where operators and their programs look: health, metrics, the state of this replica. A port alone is loopback's
    /// [default: nowhere]
    #[arg(long, env = "MAINSTEM_INTERNAL_LISTEN", value_name = "[HOST:]PORT")]
    pub internal_listen: Option<String>,
    /// Tell what users and models said in traces
    #[arg(long, env = "MAINSTEM_TRACE_CONTENT", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub trace_content: Option<bool>,
}

impl Group for InsightOptions {
    fn or(self, other: Self) -> Self {
        or!(self, other: internal_listen, trace_content)
    }
}

/// How operators look into a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insight {
    pub internal_listen: Option<String>,
    pub trace_content: bool,
}

impl InsightOptions {
    pub(super) fn check(self) -> Insight {
        // A port alone is loopback's.
        let internal_listen = self.internal_listen.map(|address| {
            let port = address.strip_prefix(':').unwrap_or(&address);
            if port.parse::<u16>().is_ok() { format!("127.0.0.1:{port}") } else { address }
        });
        Insight { internal_listen, trace_content: self.trace_content.unwrap_or(false) }
    }
}
