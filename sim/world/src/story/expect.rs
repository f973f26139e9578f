//! Whether what a story expects is so, in the pure world.

use mainstem_machine::StreamEvent;
use mainstem_oracles::Name;
use mainstem_story::{Absence, Expectation, Sight, describe, find, intruder};

use super::tell::Teller;
use crate::choice::NodeAt;
use crate::node::LinkStage;
use crate::world::chat_id;

impl Teller<'_> {
    /// `Err`: why it does not hold yet. Events of a viewer up to the expected one are consumed.
    pub(super) fn hold(&mut self, expectation: &Expectation) -> Result<(), String> {
        match expectation {
            Expectation::Sees { viewer, sight } => self.hold_sight(viewer, sight),
            Expectation::Chat { chat, status, worker } => {
                let Some(state) = self.world.state.rows.state(chat_id(self.chat(chat))) else {
                    return Err(format!("there is no {chat}"));
                };
                let on = state.worker.as_ref().map(|worker| worker.as_str());
                let wanted = worker.as_ref().map(|worker| self.node(worker).to_string());
                if state.status.as_str() == status && (wanted.is_none() || wanted.as_deref() == on) {
                    return Ok(());
                }
                Err(format!("{chat} is {} on {}", state.status.as_str(), on.unwrap_or("nobody")))
            }
            Expectation::Connections { from, to, count } => {
                exactly(self.links(from, to, false), *count, &format!("connections from {from} to {to}"))
            }
            Expectation::DialsInFlight { from, to, count } => {
                exactly(self.links(from, to, true), *count, &format!("dials from {from} to {to} in flight"))
            }
            Expectation::Dialed { from, to, count } => {
                let to_node = self.node(to);
                let dialed = self.dialed(from, |worker| worker == to_node);
                exactly(dialed, *count, &format!("dials of {from} to {to}"))
            }
            Expectation::ModelRuns { replica, chat, runs } => match (self.model_runs(replica, chat), runs) {
                (true, false) => Err(format!("the model on {replica} runs")),
                (false, true) => Err(format!("no model runs on {replica}")),
                _ => Ok(()),
            },
            Expectation::NothingLeft { replica } => {
                let name = self.node(replica).to_string();
                let left = self.world.left().into_iter().find(|left| left.starts_with(&format!("{name}: ")));
                left.map_or(Ok(()), Err)
            }
        }
    }

    pub(super) fn model_runs(&self, replica: &str, chat: &str) -> bool {
        let here = self.world.peek(self.node(replica));
        let open = here.and_then(|here| here.hubs.get(&self.chat(chat)));
        open.is_some_and(|open| open.model.is_some())
    }

    fn links(&self, from: &str, to: &str, dialing: bool) -> u64 {
        let to = self.node(to);
        let here = self.world.peek(self.node(from)).into_iter();
        let links = here.flat_map(|here| here.hubs.values()).filter_map(|open| open.link.as_ref());
        let links = links.filter(|link| link.worker == Some(to));
        links.filter(|link| matches!(link.stage, LinkStage::Dialing(_)) == dialing).count() as u64
    }

    fn dialed(&self, from: &str, to: impl Fn(NodeAt) -> bool) -> u64 {
        let from = self.node(from);
        self.dials.iter().filter(|(node, _, _, worker)| *node == from && to(*worker)).count() as u64
    }

    pub(super) fn received(&self, viewer: &str) -> &[(Name, StreamEvent)] {
        let received = self.received.get(&*self.viewers[viewer].at.to_string());
        received.map_or(&[], Vec::as_slice)
    }

    fn hold_sight(&mut self, viewer: &str, sight: &Sight) -> Result<(), String> {
        if *sight == Sight::End {
            let there = &self.world.state.viewers[usize::from(self.viewers[viewer].at.0)];
            return if there.over { Ok(()) } else { Err(format!("the stream of {viewer} goes on")) };
        }
        let received = self.received(viewer);
        let mark = self.marks.get(viewer).copied().unwrap_or_default().min(received.len());
        let (news, judge) = (&received[mark..], self.world.judge());
        let found = self.meant(sight).iter().filter_map(|sight| find(judge, news, sight)).min();
        match found {
            Some(behind) => {
                self.marks.insert(viewer.to_owned(), mark + behind);
                Ok(())
            }
            None => {
                let seen: Vec<_> = news.iter().map(|(_, event)| describe(&event.body)).collect();
                let seen = if seen.is_empty() { "nothing".to_owned() } else { seen.join("; ") };
                Err(format!("since the last expectation, {viewer} saw {seen}"))
            }
        }
    }

    /// The same with the world's names of replicas, and with what its users said.
    fn meant(&self, sight: &Sight) -> Vec<Sight> {
        let here = |worker: &Option<String>| worker.as_ref().map(|worker| self.node(worker).to_string());
        match sight {
            Sight::Status { status, worker } => {
                vec![Sight::Status { status: status.clone(), worker: here(worker) }]
            }
            Sight::Parts { first, last, worker } => {
                vec![Sight::Parts { first: *first, last: *last, worker: here(worker) }]
            }
            Sight::Message { text } => {
                let said = self.texts.iter().filter(|(told, _)| told == text);
                said.map(|(_, text)| Sight::Message { text: text.clone() }).collect()
            }
            sight => vec![sight.clone()],
        }
    }

    /// The starting point of an absence.
    pub(super) fn since(&self, absence: &Absence) -> usize {
        match absence {
            Absence::SeesNothing { viewer }
            | Absence::SeesNoPart { viewer, .. }
            | Absence::SeesNoReset { viewer }
            | Absence::SeesNoRetry { viewer } => self.received(viewer).len(),
            Absence::Dials { from } => self.dialed(from, |_| true) as usize,
        }
    }

    /// What happened although it must not.
    pub(super) fn intruder(&self, absence: &Absence, since: usize) -> Option<String> {
        let viewer = match absence {
            Absence::Dials { from } => {
                let dials = self.dialed(from, |_| true) as usize - since;
                return (dials > 0).then(|| format!("{from} dialed {dials} times"));
            }
            Absence::SeesNothing { viewer }
            | Absence::SeesNoReset { viewer }
            | Absence::SeesNoRetry { viewer }
            | Absence::SeesNoPart { viewer, .. } => viewer,
        };
        let meant = match absence {
            Absence::SeesNoPart { viewer, worker: Some(worker) } => {
                Absence::SeesNoPart { viewer: viewer.clone(), worker: Some(self.node(worker).to_string()) }
            }
            absence => absence.clone(),
        };
        let received = self.received(viewer);
        let found = intruder(self.world.judge(), &received[since.min(received.len())..], &meant)?;
        Some(format!("{viewer} saw {}", describe(&found.body)))
    }
}

fn exactly(found: u64, wanted: u64, what: &str) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("there are {found} {what}")) }
}
