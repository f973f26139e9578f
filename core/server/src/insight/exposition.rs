//! The metrics as text, in Prometheus's format 0.0.4.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Insight;
use super::process::Process;

/// What [`Exposition::encode`] writes. In OpenMetrics a gauge `viewers` and a counter `viewers_total` would be two families
/// of one name.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of this process.
pub struct Exposition(Registry);

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

impl Exposition {
    /// `census` tells what there is of the replica at a moment.
    pub fn new(insight: &Insight, census: Box<dyn Collector>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let ours = registry.sub_registry_with_prefix("mainstem");
        ours.register(
            "build",
            "The version that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        insight.edge.register(ours);
        insight.database.register(ours);
        insight.bus.register(ours);
        insight.runs.register(ours);
        ours.register_collector(census);
        Self(registry)
    }

    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}
