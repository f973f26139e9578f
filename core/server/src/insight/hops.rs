//! Follows of chats between replicas, traced: a span at each end, the worker's below the follower's.

use std::sync::Arc;
use std::time::SystemTime;

use mainstem_machine::{ChatId, ReplicaId};
use mainstem_runtime::ports::{Hop, Hops, Untraced};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::traces::{Over, Place, Traces};

#[derive(Debug)]
pub(super) struct TracedHops(pub(super) Arc<Traces>);

#[derive(Debug)]
struct TracedHop {
    traces: Arc<Traces>,
    place: Place,
    name: &'static str,
    kind: SpanKind,
    since: SystemTime,
    chat: ChatId,
    peer: ReplicaId,
}

impl TracedHops {
    fn begin(
        &self,
        place: Place,
        name: &'static str,
        kind: SpanKind,
        chat: ChatId,
        peer: &ReplicaId,
    ) -> Box<dyn Hop> {
        // Nobody is told of it, so nothing is kept.
        if !self.0.is_sampled(place) {
            return Box::new(Untraced);
        }
        let (traces, since, peer) = (self.0.clone(), SystemTime::now(), peer.clone());
        Box::new(TracedHop { traces, place, name, kind, since, chat, peer })
    }
}

impl Hops for TracedHops {
    fn follows(&self, chat: ChatId, peer: &ReplicaId) -> Box<dyn Hop> {
        self.begin(Place::alone(), "relay follow", SpanKind::Client, chat, peer)
    }

    fn serves(&self, chat: ChatId, peer: &ReplicaId, traceparent: Option<&str>) -> Box<dyn Hop> {
        let place = traceparent.and_then(Place::below_remote).unwrap_or_else(Place::alone);
        self.begin(place, "relay serve", SpanKind::Server, chat, peer)
    }
}

impl Hop for TracedHop {
    fn traceparent(&self) -> Option<Arc<str>> {
        Some(self.place.traceparent(true).into())
    }
}

impl Drop for TracedHop {
    fn drop(&mut self) {
        self.traces.over(Over {
            place: self.place,
            name: self.name.into(),
            kind: self.kind.clone(),
            since: self.since,
            attributes: vec![
                KeyValue::new("mainstem.chat", self.chat.to_string()),
                KeyValue::new("mainstem.peer", self.peer.as_str().to_owned()),
            ],
            error: None,
        });
    }
}
