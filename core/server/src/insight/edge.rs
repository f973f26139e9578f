//! The clients' side, seen: requests, and streams with what they are told.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{Body, StreamEvent};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Whose protocol a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Native,
    AiSdk,
    AgUi,
    OpenAi,
}

impl Face {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::AiSdk => "ai_sdk",
            Self::AgUi => "ag_ui",
            Self::OpenAi => "openai",
        }
    }
}

/// How a stream reaches its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Sse,
    WebSocket,
    /// Nothing is told before all of it is there.
    Whole,
}

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
            Self::Whole => "whole",
        }
    }
}

/// The kinds of streams that there are.
const KINDS: [(Face, Transport); 7] = [
    (Face::Native, Transport::Sse),
    (Face::Native, Transport::WebSocket),
    (Face::AiSdk, Transport::Sse),
    (Face::AiSdk, Transport::WebSocket),
    (Face::AgUi, Transport::Sse),
    (Face::OpenAi, Transport::Sse),
    (Face::OpenAi, Transport::Whole),
];

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client went, or accepted nothing for too long where that cannot be told apart.
    Gone,
    /// All was told that was asked for.
    Done,
    Deleted,
    /// The chat was shared with the caller, and is not any more.
    Unshared,
    /// This replica goes.
    Leaving,
    Revoked,
    Stalled,
    /// The client said what makes no sense, or too much.
    Nonsense,
}

impl Closed {
    const ALL: [Self; 8] = [
        Self::Gone,
        Self::Done,
        Self::Deleted,
        Self::Unshared,
        Self::Leaving,
        Self::Revoked,
        Self::Stalled,
        Self::Nonsense,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Done => "done",
            Self::Deleted => "deleted",
            Self::Unshared => "unshared",
            Self::Leaving => "leaving",
            Self::Revoked => "revoked",
            Self::Stalled => "stalled",
            Self::Nonsense => "nonsense",
        }
    }
}

/// How a stream went on that says what its client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Exactly at its cursor.
    Exact,
    /// Behind a message: what is generated is told from its begin.
    Replay,
    /// All is told anew.
    HistoryReset,
}

impl Resumed {
    const ALL: [Self; 3] = [Self::Exact, Self::Replay, Self::HistoryReset];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Replay => "replay",
            Self::HistoryReset => "history_reset",
        }
    }
}

/// What somebody did too often, or had too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Requests,
    Sends,
    /// Streams of a user.
    Streams,
    /// Connections of an address.
    AddressConnections,
    /// New connections of an address.
    AddressConnectionRate,
    /// New connections of all.
    ConnectionRate,
}

impl Limit {
    const ALL: [Self; 6] = [
        Self::Requests,
        Self::Sends,
        Self::Streams,
        Self::AddressConnections,
        Self::AddressConnectionRate,
        Self::ConnectionRate,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Sends => "sends",
            Self::Streams => "streams",
            Self::AddressConnections => "address_connections",
            Self::AddressConnectionRate => "address_connection_rate",
            Self::ConnectionRate => "connection_rate",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViewLabels {
    face: &'static str,
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    code: u16,
}

type Label = [(&'static str, &'static str); 1];

#[derive(Debug)]
pub struct Edge {
    viewers: Family<ViewLabels, Gauge>,
    viewers_total: Family<ViewLabels, Counter>,
    resumed: Family<Label, Counter>,
    closed: Family<Label, Counter>,
    bytes: Family<Label, Counter>,
    latency: Histogram,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    refused: Family<Label, Counter>,
    limited: Family<Label, Counter>,
    /// One for each of [`KINDS`].
    views: Vec<View>,
}

/// What is counted of one kind of stream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct View(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    viewers: Gauge,
    viewers_total: Counter,
    bytes: Counter,
    latency: Histogram,
    resumed: Family<Label, Counter>,
    closed: Family<Label, Counter>,
}

impl Default for Edge {
    fn default() -> Self {
        let mut edge = Self {
            viewers: Family::default(),
            viewers_total: Family::default(),
            resumed: Family::default(),
            closed: Family::default(),
            bytes: Family::default(),
            latency: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 18)),
            refused: Family::default(),
            limited: Family::default(),
            views: vec![],
        };
        for resumed in Resumed::ALL {
            drop(edge.resumed.get_or_create(&[("result", resumed.as_str())]));
        }
        for closed in Closed::ALL {
            drop(edge.closed.get_or_create(&[("code", closed.as_str())]));
        }
        for limit in Limit::ALL {
            drop(edge.limited.get_or_create(&[("limit", limit.as_str())]));
        }
        edge.views = KINDS.map(|(face, transport)| edge.count(face, transport)).into();
        edge
    }
}

impl Edge {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("viewers", "Streams that are open", self.viewers.clone());
        registry.register("viewers", "Streams that were opened", self.viewers_total.clone());
        registry.register(
            "streams_resumed",
            "Streams that went on where an earlier one was, by how",
            self.resumed.clone(),
        );
        registry.register("streams_closed", "Streams that ended, by why", self.closed.clone());
        registry.register("parts_bytes", "Bytes of text of parts that streams were told", self.bytes.clone());
        registry.register(
            "delivery_latency_seconds",
            "From news at this replica until a stream that waits for them takes them",
            self.latency.clone(),
        );
        registry.register(
            "http_requests",
            "Requests that were answered; a stream's when it begins",
            self.requests.clone(),
        );
        registry.register(
            "http_request_seconds",
            "From the head of a request to the head of its answer",
            self.request_seconds.clone(),
        );
        registry.register(
            "auth_failures",
            "Requests that were refused because of who asks, by the problem's code",
            self.refused.clone(),
        );
        registry.register(
            "rate_limited",
            "Requests, streams and connections that were refused or put off, by the limit",
            self.limited.clone(),
        );
    }

    fn count(&self, face: Face, transport: Transport) -> View {
        let labels = ViewLabels { face: face.as_str(), transport: transport.as_str() };
        View(Arc::new(Counts {
            viewers: self.viewers.get_or_create_owned(&labels),
            viewers_total: self.viewers_total.get_or_create_owned(&labels),
            bytes: self.bytes.get_or_create_owned(&[("transport", transport.as_str())]),
            latency: self.latency.clone(),
            resumed: self.resumed.clone(),
            closed: self.closed.clone(),
        }))
    }

    /// Where a stream of this kind is counted.
    pub fn view(&self, face: Face, transport: Transport) -> View {
        let at = KINDS.iter().position(|kind| *kind == (face, transport));
        self.views[at.expect("a face says all of its transports")].clone()
    }

    /// A request was answered. `route` is one of the router's patterns.
    pub fn answered(&self, route: Arc<str>, code: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route, code }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// A request was refused because of who asks. `code` is the problem's.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&[("reason", code)]).inc();
    }

    /// Something was refused or put off, because there is a limit.
    pub fn limited(&self, limit: Limit) {
        self.limited.get_or_create(&[("limit", limit.as_str())]).inc();
    }
}

impl View {
    pub fn opened(&self) {
        self.0.viewers.inc();
        self.0.viewers_total.inc();
    }

    pub fn closed(&self, why: Closed) {
        self.0.viewers.dec();
        self.0.closed.get_or_create(&[("code", why.as_str())]).inc();
    }

    pub fn resumed(&self, how: Resumed) {
        self.0.resumed.get_or_create(&[("result", how.as_str())]).inc();
    }

    /// Events go to the client, which waited for them, and they for it for so long.
    pub fn told(&self, events: &[StreamEvent], lag: Option<Duration>) {
        let bytes: usize = events
            .iter()
            .map(|event| match &event.body {
                Body::Parts { text, .. } => text.len(),
                _ => 0,
            })
            .sum();
        self.0.bytes.inc_by(bytes as u64);
        if let Some(lag) = lag {
            self.0.latency.observe(lag.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_stream_has_its_own_count() {
        let edge = Edge::default();
        for (face, transport) in KINDS {
            edge.view(face, transport).opened();
            let labels = ViewLabels { face: face.as_str(), transport: transport.as_str() };
            assert_eq!(edge.viewers.get_or_create(&labels).get(), 1, "{labels:?}");
        }
    }
}
