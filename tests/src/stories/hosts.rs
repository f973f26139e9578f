//! The replicas of a story: each a real server, with a model and tools of its own, and gates before its relay.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mainstem_oracles::Life;
use mainstem_story::{DialRule, ReplicaFate, Settings};
use tokio::time::Instant;

use super::gate::Gate;
use super::puppet::{Provider, Puppets};
use super::stage::Between;
use super::tools::{Bench, Tools};
use super::way::Way;
use crate::court::Ledger;
use crate::process::{Replica, free_port};

#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) replica: Replica,
    pub(super) gate: Gate,
    pub(super) way: Way,
    _provider: Provider,
    _bench: Bench,
    ledger: Ledger,
    is_up: bool,
    is_paused: bool,
    is_draining: bool,
    /// When a pause ends.
    resumes: Option<Instant>,
}

/// An address of the loopback that is no other replica's: a port that was free may be taken before it is used.
fn next_loopback() -> Ipv4Addr {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    Ipv4Addr::new(127, 0, 1, 1 + TAKEN.fetch_add(1, Ordering::Relaxed) % 250)
}

/// Servers take no longer ones: they look for news at least twice in a lease.
pub(super) fn poll_interval(settings: &Settings) -> Duration {
    settings.poll_interval.min(settings.lease_ttl / 2)
}

/// They renew leases in less than half of their time.
fn heartbeat(settings: &Settings) -> Duration {
    settings.heartbeat.min(settings.lease_ttl / 3)
}

impl Host {
    pub(super) async fn start(
        name: &str,
        (port, url): (u16, String),
        (settings, tools): (&Settings, Tools),
        between: Between<'_>,
        puppets: &Puppets,
        ledger: Ledger,
    ) -> Self {
        let ms = |span: Duration| format!("{}ms", span.as_millis());
        let relay = SocketAddr::from((next_loopback(), free_port()));
        let gate = Gate::to(relay, name, ledger.clone()).await;
        let provider = puppets.provide(name).await;
        let bench = Bench::of(name, tools, puppets, ledger.clone()).await;
        let (listen, advertise) = (relay.to_string(), format!("127.0.0.1:{}", gate.port));
        let (lease, heartbeat) = (ms(settings.lease_ttl), ms(heartbeat(settings)));
        let (poll, grace) = (ms(poll_interval(settings)), ms(settings.drain_timeout));
        let way = Way::to(port, name, ledger.clone()).await;
        let url = url.replacen(&format!(":{port}/"), &format!(":{}/", way.port), 1);
        let workers = settings.workers.to_string();
        let flags = [
            ["--database", &url],
            ["--relay-listen", &listen],
            ["--relay-advertise", &advertise],
            ["--lease-ttl", &lease],
            ["--heartbeat", &heartbeat],
            ["--poll-interval", &poll],
            ["--drain-timeout", &grace],
            ["--workers", &workers],
            ["--generator", "openai"],
            ["--openai-model", "puppet"],
            ["--openai-base-url", &provider.base_url],
            ["--tools", &bench.file],
        ];
        let mut flags = flags.as_flattened().to_vec();
        if between.has_pooler {
            flags.extend(["--database-pooler", "transaction"]);
        }
        flags.extend(between.bus.iter().flat_map(|bus| ["--bus", *bus]));
        let replica = Replica::start_with(name, &flags, &[("OPENAI_API_KEY", "k")]).await;
        ledger.lived(name, Life::Up);
        let (name, resumes) = (name.to_owned(), None);
        let (is_up, is_paused, is_draining) = (true, false, false);
        let (_provider, _bench) = (provider, bench);
        Self { name, replica, gate, way, _provider, _bench, ledger, is_up, is_paused, is_draining, resumes }
    }

    pub(super) fn befall(&mut self, fate: ReplicaFate) {
        match fate {
            ReplicaFate::Crashes => {
                self.ledger.lived(&self.name, Life::Crashed);
                self.replica.kill();
                self.is_up = false;
            }
            ReplicaFate::Drains => {
                self.ledger.lived(&self.name, Life::Draining);
                self.replica.terminate();
                self.is_draining = true;
            }
            ReplicaFate::Pauses(span) => {
                self.ledger.lived(&self.name, Life::Paused);
                self.replica.pause();
                self.is_paused = true;
                self.resumes = span.map(|span| Instant::now() + span);
            }
            ReplicaFate::Resumes => self.resume(),
            fate => panic!("{fate:?} is not told here"),
        }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.is_paused) {
            self.replica.resume();
            self.ledger.lived(&self.name, Life::Resumed);
        }
        self.resumes = None;
    }

    /// Ends a pause that is over.
    pub(super) fn go_on(&mut self) {
        if self.resumes.is_some_and(|at| at <= Instant::now()) {
            self.resume();
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Waits until it has ended, if it drains.
    pub(super) async fn ended(&mut self) {
        if std::mem::take(&mut self.is_draining) {
            assert_eq!(self.replica.ended().await.code(), Some(0), "a drain ends in order");
            self.is_up = false;
        }
    }

    /// Whatever befell it is over.
    pub(super) async fn come_back(&mut self) {
        self.gate.set(DialRule::Through, false);
        self.way.recover();
        self.resume();
        self.ended().await;
        if !std::mem::replace(&mut self.is_up, true) {
            self.replica.start_again().await;
            self.ledger.lived(&self.name, Life::Up);
        }
    }
}
