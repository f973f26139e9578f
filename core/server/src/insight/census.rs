//! What there is of a replica when somebody asks.

use std::fmt;

use mainstem_runtime::ports::Env;
use mainstem_runtime::{Census, Node};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads a node's census at each scrape.
#[derive(Debug)]
pub(super) struct OfNode<E: Env>(pub(super) Node<E>);

impl<E: Env> Collector for OfNode<E> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Census { hubs, held, slots_free, relay } = self.0.census();
        let gauges = [
            (
                "ready",
                "1 if traffic is welcome: the database answers, all tasks live, nobody drains",
                u64::from(self.0.is_ready()),
            ),
            (
                "hubs",
                "Chats with a viewer, a follower or a run here, or that had one within the retention",
                hubs as u64,
            ),
            ("chats_held", "Chats that this replica holds the lease of", held as u64),
            (
                "workers_free",
                "Chats that this replica may generate at the same time, besides",
                slots_free as u64,
            ),
            ("relays_open", "Chats that are followed at other replicas now", relay.open),
        ];
        for (name, help, value) in gauges {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)?;
        }
        let help = "Follows of chats at other replicas, by what became of the dial";
        let mut dials = encoder.encode_descriptor("relay_dials", help, None, MetricType::Counter)?;
        for (result, count) in [
            ("accepted", relay.accepted),
            ("given_up", relay.given_up),
            ("gone", relay.gone),
            ("not_worker", relay.not_worker),
            ("denied", relay.denied),
            ("nonsense", relay.nonsense),
        ] {
            ConstCounter::new(count).encode(dials.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
