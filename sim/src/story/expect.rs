//! Checks the expectations of a story against what viewers received, what is committed, and what is
//! connected.

use mainstem_machine::{StreamEvent, Time};
use mainstem_oracles::Name;
use mainstem_runtime::ports::Env as _;
use mainstem_story::{Absence, Expectation, Sight, describe, find, intruder};

use super::runner::StoryRun;
use crate::wire::Ended;

impl StoryRun {
    /// All events that a viewer received, over all its streams.
    pub(super) fn received(&self, viewer: &str) -> Vec<(Name, StreamEvent)> {
        self.cluster.world.received(viewer)
    }

    /// `Err`: why the expectation does not hold yet. Events of a viewer up to the expected one are consumed.
    pub(super) fn hold(&mut self, expectation: &Expectation) -> Result<(), String> {
        match expectation {
            Expectation::Sees { viewer, sight: Sight::End } => match self.viewers.get(viewer) {
                Some(there) if there.ended().is_some_and(|ended| ended != Ended::Leaving) => Ok(()),
                Some(_) => Err(format!("the stream of {viewer} goes on")),
                None => Err(format!("{viewer} has left")),
            },
            Expectation::Sees { viewer, sight } => self.hold_sight(viewer, sight),
            Expectation::Chat { chat, status, worker } => {
                let Some(state) = self.chats.get(chat).and_then(|id| self.cluster.database.chat(*id)) else {
                    return Err(format!("there is no {chat}"));
                };
                let on = state.worker.as_ref().map(|worker| worker.as_str().to_owned());
                if state.status.as_str() == status && (worker.is_none() || *worker == on) {
                    return Ok(());
                }
                Err(format!("{chat} is {} on {}", state.status.as_str(), on.as_deref().unwrap_or("nobody")))
            }
            Expectation::Connections { from, to, count } => {
                let found = self.cluster.net.connections(from, to) as u64;
                exactly(found, *count, &format!("connections from {from} to {to}"))
            }
            Expectation::DialsInFlight { from, to, count } => {
                let found = self.cluster.net.dials_in_flight(from, to) as u64;
                exactly(found, *count, &format!("dials from {from} to {to} in flight"))
            }
            Expectation::Dialed { from, to, count } => {
                exactly(self.cluster.net.dialed(from, to), *count, &format!("dials of {from} to {to}"))
            }
            Expectation::ModelRuns { replica, chat, runs } => {
                let chat = self.chat(chat);
                match self.cluster.model_control.active_run(replica, chat) {
                    Some(run) if !runs => Err(format!("the model on {replica} runs for {:?}", run.episode)),
                    None if *runs => Err(format!("no model runs on {replica}")),
                    _ => Ok(()),
                }
            }
            Expectation::NothingLeft { replica } => self.nothing_left(replica),
        }
    }

    fn hold_sight(&mut self, viewer: &str, sight: &Sight) -> Result<(), String> {
        let received = self.received(viewer);
        let mark = self.marks.get(viewer).copied().unwrap_or_default();
        let news = &received[mark.min(received.len())..];
        let found = self.cluster.world.judge(|judge| find(judge, news, sight));
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

    /// B2: what the replica has beyond what it had before anybody watched.
    pub(super) fn nothing_left(&self, replica: &str) -> Result<(), String> {
        let subscriptions = self.cluster.messenger.subscriptions(replica);
        if subscriptions > 0 {
            return Err(format!("{replica} still has {subscriptions} subscriptions to chats"));
        }
        for other in self.cluster.names() {
            let dials = self.cluster.net.dials_in_flight(replica, &other);
            if dials > 0 {
                return Err(format!("{replica} still has {dials} dials to {other} in flight"));
            }
        }
        let (tasks, before) = (self.cluster.tasks(replica), self.baseline[replica]);
        let links = self.links(replica);
        // A shared connection between peers takes a few tasks at each end, however many chats there are.
        let allowed = before.saturating_add(links * TASKS_OF_A_LINK);
        if tasks > allowed {
            return Err(format!(
                "{replica} still has {tasks} tasks; it began with {before}, and has {links} links"
            ));
        }
        Ok(())
    }

    /// Connections of the replica with its peers, whichever side dialed.
    fn links(&self, replica: &str) -> usize {
        let net = &self.cluster.net;
        let others = self.cluster.names().into_iter().filter(|other| other != replica);
        others.map(|other| net.connections(replica, &other) + net.connections(&other, replica)).sum()
    }

    /// The starting point of an absence.
    pub(super) fn since(&self, absence: &Absence) -> usize {
        match absence {
            Absence::SeesNothing { viewer }
            | Absence::SeesNoPart { viewer, .. }
            | Absence::SeesNoReset { viewer }
            | Absence::SeesNoRetry { viewer } => self.received(viewer).len(),
            Absence::Dials { from } => self.dials_of(from),
        }
    }

    /// What happened although it must not.
    pub(super) fn intruder(&self, absence: &Absence, since: usize) -> Option<String> {
        let viewer = match absence {
            Absence::Dials { from } => {
                let dials = self.dials_of(from) - since;
                return (dials > 0).then(|| format!("{from} dialed {dials} times"));
            }
            Absence::SeesNothing { viewer }
            | Absence::SeesNoReset { viewer }
            | Absence::SeesNoRetry { viewer }
            | Absence::SeesNoPart { viewer, .. } => viewer,
        };
        let received = self.received(viewer);
        let news = &received[since.min(received.len())..];
        let found = self.cluster.world.judge(|judge| intruder(judge, news, absence).cloned())?;
        Some(format!("{viewer} saw {}", describe(&found.body)))
    }

    fn dials_of(&self, from: &str) -> usize {
        let net = &self.cluster.net;
        self.cluster.names().iter().map(|to| net.dialed(from, to) as usize).sum()
    }

    /// Lets time pass, and performs what was scheduled.
    pub(super) async fn pass(&mut self, span: std::time::Duration) {
        let until = self.user.now() + span;
        loop {
            let now = self.user.now();
            let due: Vec<_> = self.resumes.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, replica) in due {
                self.cluster.resume(&replica);
            }
            if now >= until {
                return;
            }
            let next = self.resumes.iter().map(|(at, _)| *at).fold(until, Time::min);
            self.user.sleep(next.since(now)).await;
        }
    }
}

/// Tasks that one shared connection may have at one end.
const TASKS_OF_A_LINK: usize = 4;

fn exactly(found: u64, wanted: u64, what: &str) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("there are {found} {what}")) }
}
