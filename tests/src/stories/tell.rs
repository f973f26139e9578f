//! Who tells: performs sentences by requests and signals, and waits for what is expected.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{ChatId, Role, SendMode};
use mainstem_oracles::{FaultKind, Violation};
use mainstem_story::{
    Absence, BusFate, DatabaseFate, Order, PlannedFault, Said, Sentence, Step, Story, UserOrder,
};
use mainstem_world::Heard as Told;
use tokio::time::{Instant, timeout};

use super::asking::{Request, ask, create};
use super::calls::Calls;
use super::stage::{Between, Stage};
use super::tools::Tools;
use super::visitor::Visitor;
use crate::transport::Kind;

/// What is expected has this long: longer than a lease, an interval or a delay, on a busy machine.
pub(super) const EXPECTED_WITHIN_MAX: Duration = Duration::from_secs(30);
/// How long a user waits for an answer before the story goes on.
const ANSWERED_WITHIN_MAX: Duration = Duration::from_secs(5);

pub(super) struct Telling<'a> {
    pub(super) story: &'a Story,
    pub(super) stage: Stage,
    calls: Calls,
    pub(super) chats: BTreeMap<String, ChatId>,
    absences: Vec<(&'a Sentence, &'a Absence, usize)>,
    /// Faults, the names under which they are counted, and how many were counted before.
    faults: Vec<(&'a Sentence, &'static str, u64)>,
}

/// Tells a story, and returns what the judge was told. Panics at the sentence that does not come true, or if a guarantee
/// is broken, so that the logs of the replicas are printed.
pub async fn tell(story: &Story) -> Vec<Told> {
    tell_between(story, Between::default()).await
}

/// The same with something else than the database alone between the servers.
pub async fn tell_between(story: &Story, between: Between<'_>) -> Vec<Told> {
    let mut telling = Telling::start(story, between).await;
    for sentence in &story.sentences {
        let told = telling.perform(sentence).await;
        // A violation says more than a sentence that did not come true.
        let judged = telling.stage.court.hear().await.map_err(|found| found.to_string());
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
    telling.calls.recover().await;
    let recovered = telling.stage.recover().await;
    recovered.unwrap_or_else(|found: Violation| panic!("{}, recovering: {found}", story.name))
}

impl<'a> Telling<'a> {
    async fn start(story: &'a Story, between: Between<'_>) -> Self {
        let stage = Stage::set(&story.replicas, &story.settings, Tools::Http, between).await;
        let calls = Calls::open(&stage.database).await;
        Self { story, stage, calls, chats: BTreeMap::new(), absences: vec![], faults: vec![] }
    }

    fn chat(&self, name: &str) -> Result<ChatId, String> {
        self.chats.get(name).copied().ok_or_else(|| format!("nobody has created {name} yet"))
    }

    async fn perform(&mut self, sentence: &'a Sentence) -> Result<(), String> {
        if let Some(fault) = sentence.step.lands_as() {
            self.faults.push((sentence, fault, self.stage.court.ledger().landed(fault)));
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
                    self.stage.go_on().await?;
                }
            }
            Step::Within { expectation, .. } | Step::Assert(expectation) => {
                let over = Instant::now() + EXPECTED_WITHIN_MAX;
                while let Err(why) = self.hold(expectation) {
                    if Instant::now() >= over {
                        return Err(format!("not within {EXPECTED_WITHIN_MAX:?}: {why}"));
                    }
                    self.stage.go_on().await?;
                }
            }
            Step::For { absence, .. } => {
                let since = self.since(absence);
                self.stage.go_on().await?;
                return self.intruder(absence, since).map_or(Ok(()), Err);
            }
            Step::FromNowOn(absence) => {
                let since = self.since(absence);
                self.absences.push((sentence, absence, since));
            }
            Step::Watch { viewer, replica, chat, .. } => {
                let (chat, client, ledger) =
                    (self.chat(chat)?, self.stage.client(replica), self.stage.court.ledger());
                let visitor = Visitor::come((viewer, Kind::EventStream), chat, replica, client, ledger);
                self.stage.viewers.insert(viewer.clone(), visitor);
            }
            Step::Leave { viewer } => drop(self.stage.viewers.remove(viewer)),
            Step::Move { viewer, replica } => {
                let client = self.stage.client(replica);
                self.stage.court.ledger().fault(FaultKind::ViewerMoves, viewer, None);
                let visitor = self.stage.viewers.get_mut(viewer).expect("the parser knows all viewers");
                visitor.move_to(replica, client);
            }
            Step::Order { order, chat, replica, .. } => {
                return self.order(order, chat, replica.as_deref()).await;
            }
            Step::Model { replica, chat, line } => return self.model(replica, chat, line).await,
            Step::Work(workers) => self.stage.let_work(workers).await,
            Step::Dials { from, to, rule, next_only } => {
                self.stage.court.ledger().fault(FaultKind::DialsRuled, from, Some(to));
                self.stage.host(to).gate.set(*rule, *next_only);
            }
            Step::Link { one, other, .. } => {
                if self.stage.hosts[one].gate.open() + self.stage.hosts[other].gate.open() > 0 {
                    self.stage.court.ledger().fault(FaultKind::Reset, one, Some(other));
                }
                self.stage.host(one).gate.break_all();
                self.stage.host(other).gate.break_all();
            }
            Step::Replica { replica, fate } => self.stage.host(replica).befall(*fate),
            Step::Notices { replica, faults } => self.stage.host(replica).way.set_notices(*faults),
            Step::Bus { replica, fate } => self.stage.host(replica).way.befall_bus(*fate),
            Step::Database { replica, fate, .. } => {
                let struck = self
                    .stage
                    .hosts
                    .values()
                    .filter(|host| replica.as_ref().is_none_or(|of| *of == host.name));
                struck.for_each(|host| host.way.befall(*fate));
            }
            Step::CallFault(PlannedFault { op: Some(op), replica: Some(of), times, .. })
                if op == "snapshot" =>
            {
                self.stage.host(of).way.refuse_snapshots(*times);
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
            let ledger = self.stage.court.ledger();
            let misses = |(_, fault, before): &&(&Sentence, &str, u64)| ledger.landed(fault) == *before;
            let (sentence, fault, _) = *self.faults.iter().find(misses)?;
            if Instant::now() >= over || self.stage.go_on().await.is_err() {
                return Some((sentence, fault));
            }
        }
    }

    async fn model(&mut self, replica: &str, chat: &str, line: &Said) -> Result<(), String> {
        let id = self.chat(chat)?;
        let over = Instant::now() + EXPECTED_WITHIN_MAX;
        while !self.stage.puppets.runs(replica, |run| self.stage.is_meant(run, replica, id)) {
            if Instant::now() >= over {
                return Err(format!("no model runs on {replica} within {EXPECTED_WITHIN_MAX:?}"));
            }
            self.stage.go_on().await?;
        }
        let of_it = |run| self.stage.is_meant(run, replica, id);
        match line {
            Said::Parts(count) => self.stage.puppets.say_parts(replica, of_it, *count),
            Said::Failed { retryable } => self.stage.puppets.fail(replica, of_it, *retryable),
            Said::Done => {
                let run = self.stage.puppets.finish(replica, of_it);
                // What users do next comes after its commit, as where commits take no time.
                let over = Instant::now() + ANSWERED_WITHIN_MAX;
                while run.is_some_and(|run| self.stage.is_open(run))
                    && !self.stage.hosts[replica].is_paused()
                    && Instant::now() < over
                {
                    self.stage.go_on().await?;
                }
            }
            Said::Text(_) | Said::IgnoresCancellation => return Err("it is not told here".into()),
        }
        Ok(())
    }

    async fn order(&mut self, order: &UserOrder, name: &str, replica: Option<&str>) -> Result<(), String> {
        let on = replica.unwrap_or(&self.story.replicas[0]).to_owned();
        let (client, ledger) = (self.stage.client(&on), self.stage.court.ledger());
        let key = self.stage.next_key();
        let Some(chat) = self.chats.get(name).copied() else {
            let UserOrder::Send { text, .. } = order else { return Err(format!("there is no {name} yet")) };
            let chat = create(&client, &on, text, &key, &ledger).await;
            self.chats.insert(name.to_owned(), chat);
            return Ok(());
        };
        // What users see is what is committed.
        self.stage.court.hear().await.map_err(|found| found.to_string())?;
        let order = self.resolve(order, chat).ok_or("there is nothing to ask that of")?;
        let request = Request { chat, order, key };
        let asking = tokio::spawn(ask(client, on, request, ledger, self.stage.unanswered.clone()));
        // Who is not answered yet asks on while the story does.
        match timeout(ANSWERED_WITHIN_MAX, asking).await {
            Ok(answered) => answered.expect("it does not panic"),
            Err(_) => Ok(()),
        }
    }

    /// What a user asks for, by what is committed. `None` if there is nothing to ask that of.
    fn resolve(&self, order: &UserOrder, chat: ChatId) -> Option<Order> {
        let moment = self.stage.court.judge().index().past(chat)?.present()?;
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
}
