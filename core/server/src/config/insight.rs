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
}

impl Group for InsightOptions {
    fn or(self, other: Self) -> Self {
        or!(self, other: internal_listen)
    }
}

/// How operators look into a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insight {
    pub internal_listen: Option<String>,
}

impl InsightOptions {
    pub(super) fn check(self) -> Insight {
        // A port alone is loopback's.
        let internal_listen = self.internal_listen.map(|address| {
            let port = address.strip_prefix(':').unwrap_or(&address);
            if port.parse::<u16>().is_ok() { format!("127.0.0.1:{port}") } else { address }
        });
        Insight { internal_listen }
    }
}
