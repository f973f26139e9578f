//! Who tells: performs sentences by requests and signals, and waits for what is expected.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use mainstem_machine::{ChatId, ChatState, Role, SendMode, Status};
use mainstem_oracles::{FaultKind, RunId, Settings, Violation};
use mainstem_story::{
    Absence, BusFate, DatabaseFate, Order, PlannedFault, Said, Sentence, Step, Story, UserOrder, Workers,
};
use mainstem_world::Heard as Told;
use tokio::time::{Instant, timeout};

use super::asking::{Request, Unanswered, ask, create};
use super::calls::Calls;
use super::hosts::{Host, poll_interval};
use super::puppet::Puppets;
use super::tools::TOOL_TIMEOUT;
use super::visitor::Visitor;
use super::workers::Gatekeeper;
use crate::client::Client;
use crate::court::{Court, Ledger};
use crate::postgres::Postgres;

/// The interval at which expectations are checked, and judges are told.
pub(super) const STEP: Duration = Duration::from_millis(20);
/// What is expected has this long: longer than a lease, an interval or a delay, on a busy machine.
pub(super) const EXPECTED_WITHIN_MAX: Duration = Duration::from_secs(30);
/// How long a user waits for an answer before the story goes on.
const ANSWERED_WITHIN_MAX: Duration = Duration::from_secs(5);

pub(super) struct Telling<'a> {
    pub(super) story: &'a Story,
    pub(super) court: Court,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) viewers: BTreeMap<String, Visitor>,
    pub(super) puppets: Puppets,
    pub(super) gatekeeper: Gatekeeper,
    pub(super) calls: Calls,
    pub(super) chats: BTreeMap<String, ChatId>,
    pub(super) unanswered: Unanswered,
    asked: usize,
    absences: Vec<(&'a Sentence, &'a Absence, usize)>,
    /// Faults, the names under which they are counted, and how many were counted before.
    faults: Vec<(&'a Sentence, &'static str, u64)>,
    _postgres: std::sync::Arc<Postgres>,
}

/// Tells a story, and returns what the judge was told. Panics at the sentence that does not come true, or if a guarantee
/// is broken, so that the logs of the replicas are printed.
pub async fn tell(story: &Story) -> Vec<Told> {
    let mut telling = Telling::start(story).await;
    for sentence in &story.sentences {
        let told = telling.perform(sentence).await;
        // A violation says more than a sentence that did not come true.
        let judged = telling.court.hear().await.map_err(|found| found.to_string());
        if let Err(why) = judged.and(told) {
            panic!("{}, line {}: {}: {why}", story.name, sentence.line, sentence.text);
        }
    }
    for (sentence, absence, since) in &telling.absences {
        if let Some(why) = telling.intruder(absence, *since) {
            panic!("{}, line {}: {}: {why}", story.name, sentence.line, sentence.text);
        }
    }
    // A story whose fault affects nothing shows nothing.
    if let Some((sentence, fault)) = telling.never_landed().await {
        panic!(
            "{}, line {}: {}: D2: no {fault:?} took effect since",
            story.name, sentence.line, sentence.text
        );
    }
    let recovered = telling.recover().await;
    recovered.unwrap_or_else(|found: Violation| panic!("{}, recovering: {found}", story.name))
}

impl<'a> Telling<'a> {
    async fn start(story: &'a Story) -> Self {
        let postgres = Postgres::shared().expect("a PostgreSQL");
        let url = postgres.fresh_database().expect("a database");
        let settings = &story.settings;
        let judged = Settings {
            lease_ttl: settings.lease_ttl,
            poll_interval: poll_interval(settings),
            workers: settings.workers,
            episode_bytes_max: settings.episode_bytes_max,
            drain_timeout: settings.drain_timeout,
            tool_timeout: TOOL_TIMEOUT,
        };
        let ledger = Ledger::default();
        let puppets = Puppets::new(ledger.clone());
        let starting = story
            .replicas
            .iter()
            .map(|name| Host::start(name, (&*postgres, &*url), settings, &puppets, ledger.clone()));
        let hosts = join_all(starting).await.into_iter().map(|host| (host.name.clone(), host)).collect();
        // The servers have made the tables.
        let gatekeeper = Gatekeeper::open(&url, &story.replicas, ledger.clone()).await;
        let calls = Calls::open(&url).await;
        let court = Court::open(&url, judged, ledger).await;
        Self {
            story,
            court,
            hosts,
            viewers: BTreeMap::new(),
            puppets,
            gatekeeper,
            calls,
            chats: BTreeMap::new(),
            unanswered: Unanswered::default(),
            asked: 0,
            absences: vec![],
            faults: vec![],
            _postgres: postgres,
        }
    }

    pub(super) fn client(&self, replica: &str) -> Client {
        self.hosts[replica].replica.client()
    }

    fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).expect("the parser knows all replicas")
    }

    fn chat(&self, name: &str) -> Result<ChatId, String> {
        self.chats.get(name).copied().ok_or_else(|| format!("nobody has created {name} yet"))
    }

    async fn perform(&mut self, sentence: &'a Sentence) -> Result<(), String> {
        if let Some(fault) = sentence.step.lands_as() {
            self.faults.push((sentence, fault, self.court.ledger().landed(fault)));
        }
        // A fault that is over before anybody felt it shows nothing.
        let recovers = |step: &Step| {
            matches!(
                step,
                Step::Database { fate: DatabaseFate::Recovers, .. }
                    | Step::Bus { fate: BusFate::Recovers, .. }
            )
        };
        if recovers(&sentence.step) {
            self.never_landed().await;
        }
        match &sentence.step {
            Step::Wait(span) => {
                let over = Instant::now() + *span;
                while Instant::now() < over {
                    self.go_on().await?;
                }
            }
            Step::Within { expectation, .. } | Step::Assert(expectation) => {
                let over = Instant::now() + EXPECTED_WITHIN_MAX;
                while let Err(why) = self.hold(expectation) {
                    if Instant::now() >= over {
                        return Err(format!("not within {EXPECTED_WITHIN_MAX:?}: {why}"));
                    }
                    self.go_on().await?;
                }
            }
            Step::For { absence, .. } => {
                let since = self.since(absence);
                self.go_on().await?;
                return self.intruder(absence, since).map_or(Ok(()), Err);
            }
            Step::FromNowOn(absence) => {
                let since = self.since(absence);
                self.absences.push((sentence, absence, since));
            }
            Step::Watch { viewer, replica, chat, .. } => {
                let (chat, client, ledger) = (self.chat(chat)?, self.client(replica), self.court.ledger());
                let visitor = Visitor::come(viewer, chat, replica, client, ledger);
                self.viewers.insert(viewer.clone(), visitor);
            }
            Step::Leave { viewer } => drop(self.viewers.remove(viewer)),
            Step::Move { viewer, replica } => {
                let client = self.client(replica);
                self.court.ledger().fault(FaultKind::ViewerMoves, viewer, None);
                let visitor = self.viewers.get_mut(viewer).expect("the parser knows all viewers");
                visitor.move_to(replica, client);
            }
            Step::Order { order, chat, replica, .. } => {
                return self.order(order, chat, replica.as_deref()).await;
            }
            Step::Model { replica, chat, line } => return self.model(replica, chat, line).await,
            Step::Work(workers) => self.let_work(workers).await,
            Step::Dials { from, to, rule, next_only } => {
                self.court.ledger().fault(FaultKind::DialsRuled, from, Some(to));
                self.host(to).gate.set(*rule, *next_only);
            }
            Step::Link { one, other, .. } => {
                if self.hosts[one].gate.open() + self.hosts[other].gate.open() > 0 {
                    self.court.ledger().fault(FaultKind::Reset, one, Some(other));
                }
                self.host(one).gate.break_all();
                self.host(other).gate.break_all();
            }
            Step::Replica { replica, fate } => self.host(replica).befall(*fate),
            Step::Notices { replica, faults } => self.host(replica).way.set_notices(*faults),
            Step::Bus { replica, fate } => self.host(replica).way.befall_bus(*fate),
            Step::Database { replica, fate, .. } => {
                let struck =
                    self.hosts.values().filter(|host| replica.as_ref().is_none_or(|of| *of == host.name));
                struck.for_each(|host| host.way.befall(*fate));
            }
            Step::CallFault(PlannedFault { op: Some(op), replica: Some(of), times, .. })
                if op == "snapshot" =>
            {
                self.host(of).way.refuse_snapshots(*times);
            }
            Step::CallFault(planned) => self.calls.plan(planned).await,
            step => return Err(format!("{step:?} is not told here")),
        }
        Ok(())
    }

    /// A fault that takes no effect, though there is time.
    async fn never_landed(&mut self) -> Option<(&'a Sentence, &'static str)> {
        let over = Instant::now() + ANSWERED_WITHIN_MAX;
        loop {
            let ledger = self.court.ledger();
            let misses = |(_, fault, before): &&(&Sentence, &str, u64)| ledger.landed(fault) == *before;
            let (sentence, fault, _) = *self.faults.iter().find(misses)?;
            if Instant::now() >= over || self.go_on().await.is_err() {
                return Some((sentence, fault));
            }
        }
    }

    pub(super) async fn let_work(&mut self, workers: &Workers) {
        let chats = self.court.judge().index().chats();
        let waits =
            |state: &mainstem_machine::ChatState| state.status.is_runnable() && state.worker.is_none();
        let present = chats.filter_map(|(_, past)| past.present().map(|moment| (*moment.state).clone()));
        let waiting: Vec<_> = present.filter(waits).collect();
        self.gatekeeper.let_work(workers, &waiting).await;
    }

    async fn model(&mut self, replica: &str, chat: &str, line: &Said) -> Result<(), String> {
        let id = self.chat(chat)?;
        let over = Instant::now() + EXPECTED_WITHIN_MAX;
        while !self.puppets.runs(replica, |run| self.is_meant(run, replica, id)) {
            if Instant::now() >= over {
                return Err(format!("no model runs on {replica} within {EXPECTED_WITHIN_MAX:?}"));
            }
            self.go_on().await?;
        }
        let of_it = |run| self.is_meant(run, replica, id);
        match line {
            Said::Parts(count) => self.puppets.say_parts(replica, of_it, *count),
            Said::Failed { retryable } => self.puppets.fail(replica, of_it, *retryable),
            Said::Done => {
                self.puppets.finish(replica, of_it);
                // What users do next comes after its commit, as where commits take no time.
                let before = self.moments(id);
                let over = Instant::now() + ANSWERED_WITHIN_MAX;
                while self.moments(id) == before && !self.hosts[replica].is_paused() && Instant::now() < over
                {
                    self.go_on().await?;
                }
            }
            Said::Text(_) | Said::IgnoresCancellation => return Err("it is not told here".into()),
        }
        Ok(())
    }

    /// Whether a run is the one of which a story speaks: where this replica holds the chat, that of the present attempt. The
    /// end of the one before it may not have been noticed.
    fn is_meant(&self, run: RunId, replica: &str, chat: ChatId) -> bool {
        let past = self.court.judge().index().past(chat);
        let state = past.and_then(|past| past.present()).map(|moment| &moment.state);
        let holds = |state: &&std::sync::Arc<ChatState>| {
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

    /// How many changes of a chat were committed.
    fn moments(&self, chat: ChatId) -> usize {
        self.court.judge().index().past(chat).map_or(0, |past| past.moments.len())
    }

    async fn order(&mut self, order: &UserOrder, name: &str, replica: Option<&str>) -> Result<(), String> {
        let on = replica.unwrap_or(&self.story.replicas[0]).to_owned();
        let (client, ledger) = (self.client(&on), self.court.ledger());
        self.asked += 1;
        let key = format!("order-{}", self.asked);
        let Some(chat) = self.chats.get(name).copied() else {
            let UserOrder::Send { text, .. } = order else { return Err(format!("there is no {name} yet")) };
            let chat = create(&client, &on, text, &key, &ledger).await;
            self.chats.insert(name.to_owned(), chat);
            return Ok(());
        };
        // What users see is what is committed.
        self.court.hear().await.map_err(|found| found.to_string())?;
        let order = self.resolve(order, chat).ok_or("there is nothing to ask that of")?;
        let request = Request { chat, order, key };
        let asking = tokio::spawn(ask(client, on, request, ledger, self.unanswered.clone()));
        // Who is not answered yet asks on while the story does.
        match timeout(ANSWERED_WITHIN_MAX, asking).await {
            Ok(answered) => answered.expect("it does not panic"),
            Err(_) => Ok(()),
        }
    }

    /// What a user asks for, by what is committed. `None` if there is nothing to ask that of.
    fn resolve(&self, order: &UserOrder, chat: ChatId) -> Option<Order> {
        let moment = self.court.judge().index().past(chat)?.present()?;
        let queued = |but: usize| moment.state.queue.iter().rev().nth(but).map(|queued| queued.id);
        match order {
            UserOrder::Send { text, interrupting } => {
                let mode = if *interrupting { SendMode::Interrupt } else { SendMode::Queue };
                Some(Order::Send { text: text.clone(), mode })
            }
            UserOrder::Other(order) => Some(order.clone()),
            UserOrder::EditLast { but, text } => {
                let mine = moment.history.iter().rev().filter(|message| message.role == Role::User);
                let message = mine.map(|message| message.id).nth(*but)?;
                Some(Order::Edit { message, text: text.clone() })
            }
            UserOrder::RegenerateLast { but, mode } => {
                let mine = moment.history.iter().rev().filter(|message| message.role == Role::User);
                let message = Some(mine.map(|message| message.id).nth(*but)?);
                Some(Order::Regenerate { message, mode: *mode })
            }
            UserOrder::AnswerCalls => {
                let open = moment.state.calls.iter().filter(|call| call.waits_for_client());
                Some(Order::Answer { calls: open.map(|call| call.id.to_string()).collect() })
            }
            UserOrder::PromoteLast { but } => queued(*but).map(|queued| Order::Promote { queued }),
            UserOrder::WithdrawLast { but } => queued(*but).map(|queued| Order::Withdraw { queued }),
        }
    }

    /// Lets a moment pass and what is due happen, and tells the judges. `Err`: what they object to.
    pub(super) async fn go_on(&mut self) -> Result<(), String> {
        self.hosts.values_mut().for_each(Host::go_on);
        tokio::time::sleep(STEP).await;
        self.court.hear().await.map_err(|found| found.to_string())
    }
}
