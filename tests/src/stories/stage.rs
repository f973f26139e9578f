//! The stage of a story or a test: servers with models and tools that are puppets, viewers, and a court that judges all
//! that happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use mainstem_machine::{ChatId, ChatState, Status};
use mainstem_oracles::{Moment, RunId, Settings as Judged};
use mainstem_story::{Settings, Workers};

use super::asking::Unanswered;
use super::hosts::{Host, poll_interval};
use super::puppet::Puppets;
use super::tools::{TOOL_TIMEOUT, Tools};
use super::visitor::Visitor;
use super::workers::Gatekeeper;
use crate::client::Client;
use crate::court::{Court, Ledger, replica_url};
use crate::pooler::{Pooler, name_of};
use crate::postgres::Postgres;

/// The interval at which expectations are checked, and judges are told.
pub(super) const STEP: Duration = Duration::from_millis(20);

/// Servers, and all who have to do with them.
#[derive(Debug)]
pub struct Stage {
    pub(super) settings: Settings,
    pub(super) court: Court,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) viewers: BTreeMap<String, Visitor>,
    pub(super) puppets: Puppets,
    gatekeeper: Gatekeeper,
    pub(super) unanswered: Unanswered,
    pub(super) database: String,
    asked: usize,
    _pooler: Option<Pooler>,
    _postgres: Arc<Postgres>,
}

/// What is between the servers of a story, and between them and their database.
#[derive(Clone, Copy, Debug, Default)]
pub struct Between<'a> {
    /// A pooler that changes sessions at every transaction.
    pub has_pooler: bool,
    /// What carries notices, if not the database.
    pub bus: Option<&'a str>,
}

impl Stage {
    /// Starts these replicas on a database of their own. Everybody may work.
    pub(super) async fn set(
        names: &[String],
        settings: &Settings,
        tools: Tools,
        between: Between<'_>,
    ) -> Self {
        let postgres = Postgres::shared().expect("a PostgreSQL");
        let database = postgres.fresh_database().expect("a database");
        let judged = Judged {
            lease_ttl: settings.lease_ttl,
            poll_interval: poll_interval(settings),
            workers: settings.workers,
            episode_bytes_max: settings.episode_bytes_max,
            drain_timeout: settings.drain_timeout,
            tool_timeout: TOOL_TIMEOUT,
        };
        let ledger = Ledger::default();
        let puppets = Puppets::new(ledger.clone());
        let database_name = database.rsplit('/').next().expect("a split has a last piece");
        let pooler = between.has_pooler.then(|| Pooler::of_replicas(&postgres, database_name, names));
        let pooler = pooler.transpose().expect("a PgBouncer");
        let starting = names.iter().map(|name| {
            let (port, url) = match &pooler {
                Some(pooler) => {
                    let url = postgres.url(&name_of(database_name, name));
                    (pooler.port(), pooler.url(&url, postgres.port()))
                }
                None => (postgres.port(), replica_url(&database, name)),
            };
            Host::start(name, (port, url), (settings, tools), between, &puppets, ledger.clone())
        });
        let hosts = join_all(starting).await.into_iter().map(|host| (host.name.clone(), host)).collect();
        // The servers have made the tables.
        let gatekeeper = Gatekeeper::open(&database, names, ledger.clone()).await;
        let court = Court::open(&database, judged, ledger).await;
        Self {
            settings: *settings,
            court,
            hosts,
            viewers: BTreeMap::new(),
            puppets,
            gatekeeper,
            unanswered: Unanswered::default(),
            database,
            asked: 0,
            _pooler: pooler,
            _postgres: postgres,
        }
    }

    /// A client of this replica.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    pub fn client(&self, replica: &str) -> Client {
        self.hosts[replica].replica.client()
    }

    pub(super) fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).unwrap_or_else(|| panic!("there is no replica {name}"))
    }

    /// A key that no request had before.
    pub(super) fn next_key(&mut self) -> String {
        self.asked += 1;
        format!("order-{}", self.asked)
    }

    /// Who may take up chats from now on.
    pub async fn let_work(&mut self, workers: &Workers) {
        let chats = self.court.judge().index().chats();
        let waits = |state: &ChatState| state.status.is_runnable() && state.worker.is_none();
        let present = chats.filter_map(|(_, past)| past.present().map(|moment| (*moment.state).clone()));
        let waiting: Vec<_> = present.filter(waits).collect();
        self.gatekeeper.let_work(workers, &waiting).await;
    }

    /// Whether a run is the one of which a story speaks: where this replica holds the chat, that of the present attempt. The
    /// end of the one before it may not have been noticed.
    pub(super) fn is_meant(&self, run: RunId, replica: &str, chat: ChatId) -> bool {
        let past = self.court.judge().index().past(chat);
        let state = past.and_then(|past| past.present()).map(|moment| &moment.state);
        let holds = |state: &&Arc<ChatState>| {
            state.status == Status::Running
                && state.worker.as_ref().is_some_and(|worker| worker.as_str() == replica)
        };
        match state.filter(holds) {
            Some(state) => self.court.attempt_of(run) == Some((chat, state.present_episode())),
            None => self.court.chat_of(run) == Some(chat),
        }
    }

    /// Whether a model runs on a replica for this chat.
    pub(super) fn runs(&self, replica: &str, chat: ChatId) -> bool {
        self.puppets.runs(replica, |run| self.court.chat_of(run) == Some(chat))
    }

    /// Whether what a run said is yet to be committed, as far as the judges have heard.
    pub(super) fn is_open(&self, run: RunId) -> bool {
        let Some((chat, episode)) = self.court.attempt_of(run) else { return true };
        let Some(past) = self.court.judge().index().past(chat) else { return true };
        let is_it = |moment: &Moment| moment.state.present_episode() == episode;
        let is_heard_of = past.moments.iter().any(is_it);
        let is_over = past.present().is_some_and(|now| !is_it(now) || !now.state.status.is_busy());
        !is_heard_of || !is_over
    }

    pub(super) fn dials_in_flight(&self) -> u64 {
        self.hosts.values().map(|host| host.gate.dialing()).sum()
    }

    /// Lets a moment pass and what is due happen, and tells the judges. `Err`: what they object to.
    pub(super) async fn go_on(&mut self) -> Result<(), String> {
        self.hosts.values_mut().for_each(Host::go_on);
        tokio::time::sleep(STEP).await;
        self.court.hear().await.map_err(|found| found.to_string())
    }
}
