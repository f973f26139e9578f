//! What sentences do: requests of users, words of models, and what befalls replicas and links.

use mainstem_machine::{Role, SendMode};
use mainstem_story::{BusFate, BusFaults, Order as Asked, ReplicaFate, Said, Step, UserOrder, Workers};

use super::tell::{Teller, WAIT_MAX};
use crate::choice::{Choice, NodeAt, Order};
use crate::world::{Asking, chat_id};

impl Teller<'_> {
    pub(super) fn order(
        &mut self,
        order: &UserOrder,
        chat: &str,
        replica: Option<&str>,
        again: Option<&str>,
    ) -> Result<(), String> {
        let at = self.chat(chat);
        let node = replica.map_or(NodeAt(0), |replica| self.node(replica));
        let rows = &self.world.state.rows;
        let queued = |but: usize| {
            let queue = rows.state(chat_id(at)).map(|state| state.queue.iter().rev().map(|q| q.id).nth(but));
            queue.flatten().ok_or("there is nothing to ask that of")
        };
        let mine = |but: usize| {
            let mine = rows.history(chat_id(at)).iter().rev().filter(|message| message.role == Role::User);
            mine.map(|message| message.id).nth(but).ok_or("there is nothing to ask that of")
        };
        let (choice, text) = match order {
            UserOrder::Send { text, .. } if rows.state(chat_id(at)).is_none() => {
                (Choice::Create(node, at), Some(text))
            }
            UserOrder::Send { text, interrupting } => {
                let mode = if *interrupting { SendMode::Interrupt } else { SendMode::Queue };
                (Choice::Ask(node, at, Order::Send(mode)), Some(text))
            }
            UserOrder::EditLast { but, text } => {
                (Choice::Ask(node, at, Order::EditThis(mine(*but)?)), Some(text))
            }
            UserOrder::RegenerateLast { but, mode } => {
                (Choice::Ask(node, at, Order::RegenerateThis(mine(*but)?, *mode)), None)
            }
            UserOrder::AnswerCalls => (Choice::Ask(node, at, Order::Answer), None),
            UserOrder::PromoteLast { but } => {
                (Choice::Ask(node, at, Order::PromoteThis(queued(*but)?)), None)
            }
            UserOrder::WithdrawLast { but } => {
                (Choice::Ask(node, at, Order::DeleteThisQueued(queued(*but)?)), None)
            }
            UserOrder::Other(other) => {
                let (order, text) = match other {
                    Asked::Edit { message, text } => (Order::EditThis(*message), Some(text)),
                    Asked::Regenerate { message: Some(message), mode } => {
                        (Order::RegenerateThis(*message, *mode), None)
                    }
                    Asked::Regenerate { message: None, mode } => (Order::Regenerate(*mode), None),
                    Asked::Interrupt => (Order::Interrupt, None),
                    Asked::Withdraw { queued } => (Order::DeleteThisQueued(*queued), None),
                    Asked::Promote { queued } => (Order::PromoteThis(*queued), None),
                    Asked::Answer { .. } => (Order::Answer, None),
                    Asked::Delete => (Order::Delete, None),
                    Asked::Share { may, .. } => (Order::Share(*may), None),
                    Asked::Unshare { .. } => (Order::Unshare, None),
                    Asked::Create { .. } | Asked::Send { .. } => return Err("no sentence says that".into()),
                };
                (Choice::Ask(node, at, order), text)
            }
        };
        let before = self.world.state.asks.len();
        self.step(choice);
        let Some(ask) = self.world.state.asks.get(before) else {
            return Err("the replica that is asked is not up".into());
        };
        let said = ask.text.clone();
        if let Some(again) = again {
            self.step(Choice::Repeat(self.node(again)));
        }
        if let (Some(told), Some(said)) = (text, &said) {
            self.texts.push((told.clone(), said.to_string()));
        }
        self.asked_at = self.now();
        self.until(self.now() + WAIT_MAX, |teller| match teller.world.state.asks[before].stage {
            Asking::Answered => Ok(()),
            _ => Err(format!("the user is not answered within {WAIT_MAX:?}")),
        })?;
        if self.world.state.asks[before].rejected { Err("the user is refused".into()) } else { Ok(()) }
    }

    pub(super) fn model(&mut self, replica: &str, chat: &str, said: &Said) -> Result<(), String> {
        self.until(self.now() + WAIT_MAX, |teller| match teller.model_runs(replica, chat) {
            true => Ok(()),
            false => Err(format!("no model runs on {replica} within {WAIT_MAX:?}")),
        })?;
        let (node, chat) = (self.node(replica), self.chat(chat));
        match said {
            Said::Parts(count) => (0..*count).for_each(|_| self.step(Choice::Say(node, chat))),
            Said::Done => self.step(Choice::Finish(node, chat)),
            Said::Failed { retryable: true } => self.step(Choice::Fail(node, chat)),
            Said::Failed { retryable: false } => self.step(Choice::FailForGood(node, chat)),
            Said::Text(_) | Said::IgnoresCancellation => return Err("the world cannot tell it".into()),
        }
        self.carry_on();
        Ok(())
    }

    /// A sentence that takes no time.
    pub(super) fn befall(&mut self, step: &Step) {
        match step {
            Step::Stranger { replica, chat } => {
                let (node, chat) = (self.node(replica), self.chat(chat));
                self.step(Choice::Peep(node, chat));
                self.step(Choice::Try(node, chat, Order::Interrupt));
            }
            Step::Work(workers) => self.set_workers(workers),
            Step::Dials { from, to, rule, next_only } => {
                let (from, to) = (self.node(from), self.node(to));
                self.faults.set_dials(from, to, *rule, *next_only);
            }
            Step::Flow { from, to, flows } => {
                let (from, to) = (self.node(from), self.node(to));
                self.faults.set_flow(from, to, *flows);
            }
            Step::Link { one, other, .. } => self.break_links(one, other),
            Step::Notices { replica, faults } => {
                let node = self.node(replica);
                self.faults.set_notices(node, *faults);
            }
            Step::Bus { replica, fate } => {
                let node = self.node(replica);
                let usual = self.faults.notices(node);
                match fate {
                    BusFate::Breaks => {
                        self.faults.land("bus lost");
                        self.step(Choice::BreakBus(node));
                    }
                    BusFate::Refuses => self.faults.set_notices(node, BusFaults { refuses: true, ..usual }),
                    BusFate::Hangs => self.faults.set_notices(node, BusFaults { hangs: true, ..usual }),
                    BusFate::Recovers | BusFate::GoesSilent => {
                        self.faults.set_notices(node, BusFaults::default());
                    }
                }
            }
            Step::Database { replica, fate, .. } => {
                let nodes: Vec<_> = match replica {
                    Some(replica) => vec![self.node(replica)],
                    None => (0..self.story.replicas.len()).map(|at| NodeAt(at as u8)).collect(),
                };
                nodes.into_iter().for_each(|node| self.faults.set_database(node, *fate));
            }
            Step::CallFault(planned) => {
                let node = planned.replica.as_ref().map(|replica| self.node(replica));
                self.faults.plan(node, planned.clone());
            }
            Step::Replica { replica, fate } => {
                let (node, now) = (self.node(replica), self.now());
                match fate {
                    ReplicaFate::Crashes => self.step(Choice::Crash(node)),
                    ReplicaFate::Restarts => self.step(Choice::Start(node)),
                    ReplicaFate::Resumes => self.step(Choice::Resume(node)),
                    ReplicaFate::Drains => {
                        let over = now + self.story.settings.drain_timeout;
                        self.faults.due.push((over, Choice::HandOver(node)));
                        self.step(Choice::Drain(node));
                    }
                    ReplicaFate::Pauses(span) => {
                        if let Some(span) = span {
                            self.faults.due.push((now + *span, Choice::Resume(node)));
                        }
                        self.step(Choice::Pause(node));
                    }
                    ReplicaFate::Drifts(per_mille) => {
                        let per_mille = i16::try_from(*per_mille).unwrap_or(i16::MAX);
                        self.step(Choice::Drift(node, per_mille));
                    }
                    ReplicaFate::RestartsWithWrongSecret => self.estrange(node),
                    ReplicaFate::Vanishes => unreachable!("{fate:?} is not told"),
                }
            }
            step => unreachable!("{step:?} takes time, or is not told"),
        }
    }

    /// A replica starts, again if need be, with another secret than its peers.
    pub(super) fn estrange(&mut self, node: NodeAt) {
        self.step(Choice::Crash(node));
        self.step(Choice::StartAmiss(node));
    }

    fn set_workers(&mut self, workers: &Workers) {
        for at in 0..self.story.replicas.len() {
            let node = NodeAt(at as u8);
            let may = match workers {
                Workers::Only(only) => *only == self.story.replicas[at],
                Workers::Also(also) if *also == self.story.replicas[at] => true,
                Workers::Also(_) => continue,
                Workers::Everybody => true,
                Workers::Nobody => false,
            };
            self.step(if may { Choice::MayWork(node) } else { Choice::MayNotWork(node) });
        }
    }

    /// Breaks the links between two replicas, or the stream of a viewer.
    fn break_links(&mut self, one: &str, other: &str) {
        for (from, to) in [(one, other), (other, one)] {
            if let Some(viewer) = self.viewers.get(from) {
                self.faults.land("reset");
                self.step(Choice::Lose(viewer.at));
                return;
            }
            if self.viewers.contains_key(to) {
                continue;
            }
            let (from, to) = (self.node(from), self.node(to));
            let hubs = self.world.peek(from).map(|here| &here.hubs);
            let broken: Vec<_> = hubs
                .into_iter()
                .flatten()
                .filter(|(_, open)| open.link.as_ref().is_some_and(|link| link.worker == Some(to)))
                .map(|(chat, _)| *chat)
                .collect();
            for chat in broken {
                self.faults.land("reset");
                self.step(Choice::BreakLink(from, chat));
            }
        }
    }
}
