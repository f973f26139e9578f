//! The bus, seen.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures::Stream;
use mainstem_runtime::ports::{Bus, BusError, BusSubscription, Notice, Topic};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type ByBus = Family<[(&'static str, &'static str); 1], Counter>;

#[derive(Debug)]
pub(super) struct BusCounts {
    hints: ByBus,
    lost: ByBus,
    failures: ByBus,
    label: [(&'static str, &'static str); 1],
}

impl BusCounts {
    pub(super) fn new(bus: &'static str) -> Self {
        let counts = Self {
            hints: Family::default(),
            lost: Family::default(),
            failures: Family::default(),
            label: [("bus", bus)],
        };
        for family in [&counts.hints, &counts.lost, &counts.failures] {
            drop(family.get_or_create(&counts.label));
        }
        counts
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("bus_hints", "Notices that came, counted for each who listens", self.hints.clone());
        registry.register(
            "bus_lost",
            "Subscriptions that were lost, and what came meanwhile with them",
            self.lost.clone(),
        );
        registry.register(
            "bus_failures",
            "Notices that were not published, and subscriptions that failed",
            self.failures.clone(),
        );
    }
}

#[derive(Debug)]
pub(super) struct Seen<B: ?Sized> {
    counts: Arc<BusCounts>,
    inner: Arc<B>,
}

impl Seen<dyn Bus> {
    pub(super) fn new(inner: Arc<dyn Bus>, counts: Arc<BusCounts>) -> Self {
        Self { inner, counts }
    }

    fn seen<T>(&self, outcome: Result<T, BusError>) -> Result<T, BusError> {
        if outcome.is_err() {
            self.counts.failures.get_or_create(&self.counts.label).inc();
        }
        outcome
    }
}

#[async_trait]
impl Bus for Seen<dyn Bus> {
    async fn subscribe(&self, topic: Topic) -> Result<BusSubscription, BusError> {
        let inner = self.seen(self.inner.subscribe(topic).await)?;
        Ok(Box::pin(Counted { inner, counts: self.counts.clone() }))
    }

    async fn publish(&self, notice: Notice) -> Result<(), BusError> {
        self.seen(self.inner.publish(notice).await)
    }
}

struct Counted {
    inner: BusSubscription,
    counts: Arc<BusCounts>,
}

impl Stream for Counted {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        let notice = ready!(self.inner.as_mut().poll_next(cx));
        let family = if notice.is_some() { &self.counts.hints } else { &self.counts.lost };
        family.get_or_create(&self.counts.label).inc();
        Poll::Ready(notice)
    }
}
