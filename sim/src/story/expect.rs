//! Checks the expectations of a story against what viewers received, what is committed, and what is
//! connected.

use mainstem_machine::{Body, Episode, Role, Seq, StreamEvent, Time};
use mainstem_oracles::Name;
use mainstem_runtime::ports::Env as _;

use super::ast::{Absence, Expectation, Sight};
use super::runner::StoryRun;
use crate::client::describe;

impl StoryRun {
    /// All events that a viewer received, over all its streams.
    pub(super) fn received(&self, viewer: &str) -> Vec<(Name, StreamEvent)> {
        self.cluster.world.received(viewer)
    }

    /// `Err`: why the expectation does not hold yet. Events of a viewer up to the expected one are consumed.
    pub(super) fn hold(&mut self, expectation: &Expectation) -> Result<(), String> {
        match expectation {
            Expectation::Sees { viewer, sight: Sight::End } => match self.viewers.get(viewer) {
                Some(there) if there.ended() == Some(true) => Ok(()),
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
        let found = match sight {
            Sight::Parts { first, last, worker } => self.find_parts(news, *first, *last, worker.as_deref()),
            sight => news.iter().position(|(_, event)| self.is_seen(&event.body, sight)).map(|at| at + 1),
        };
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

    /// How many events to consume, so that exactly the parts up to `last` are consumed.
    fn find_parts(
        &self,
        news: &[(Name, StreamEvent)],
        first: u64,
        last: u64,
        worker: Option<&str>,
    ) -> Option<usize> {
        let (mut need, mut of) = (first, None);
        for (at, (_, event)) in news.iter().enumerate() {
            let Body::Parts { episode, first_seq, last_seq, .. } = &event.body else { continue };
            if worker.is_some_and(|worker| self.producer(*episode).as_deref() != Some(worker)) {
                continue;
            }
            if of.is_some_and(|of| of != *episode) {
                need = first;
            }
            of = Some(*episode);
            if first_seq.0 <= need && need <= last_seq.0 {
                need = last_seq.0 + 1;
            }
            if need > last {
                return Some(if last_seq.0 > last { at } else { at + 1 });
            }
        }
        None
    }

    fn is_seen(&self, body: &Body, sight: &Sight) -> bool {
        match (sight, body) {
            (Sight::Status { status, worker }, Body::Status { status: actual, worker: on, .. }) => {
                let on = on.as_ref().map(|on| on.as_str());
                actual.as_str() == status && (worker.is_none() || worker.as_deref() == on)
            }
            (Sight::Message { text }, Body::Message(message)) => message.content.to_text() == *text,
            (Sight::Answer { parts, interrupted }, Body::Message(message)) => {
                let text = message.content.to_text();
                let said = message.episode.and_then(|episode| {
                    self.cluster.world.judge(|judge| {
                        let run = judge.index().run_of(episode)?;
                        run.slice(Seq(1), Seq(*parts)).map(str::to_owned)
                    })
                });
                message.role == Role::Assistant
                    && message.interrupted == *interrupted
                    && said.as_deref() == Some(text.as_str())
            }
            (Sight::PreviewReset { reason }, Body::PreviewReset { reason: actual, .. }) => {
                reason.as_deref().is_none_or(|reason| reason == actual.as_str())
            }
            (Sight::Queue { length }, Body::QueueUpdate(queue)) => queue.len() == *length,
            (Sight::Error { code }, Body::Error(error)) => {
                code.as_deref().is_none_or(|code| code == &*error.code)
            }
            (Sight::Retry { over }, Body::Retry(retry)) => retry.is_none() == *over,
            (Sight::HistoryReset, Body::HistoryReset) | (Sight::Synced, Body::Synced) => true,
            _ => false,
        }
    }

    fn producer(&self, episode: Episode) -> Option<String> {
        self.cluster.world.judge(|judge| {
            let run = judge.index().run_of(episode)?;
            Some(run.replica.as_str().to_owned())
        })
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
        let (viewer, breaks): (_, &dyn Fn(&Body) -> bool) = match absence {
            Absence::Dials { from } => {
                let dials = self.dials_of(from) - since;
                return (dials > 0).then(|| format!("{from} dialed {dials} times"));
            }
            Absence::SeesNothing { viewer } => (viewer, &|_: &Body| true),
            Absence::SeesNoReset { viewer } => (viewer, &|body| matches!(body, Body::PreviewReset { .. })),
            Absence::SeesNoRetry { viewer } => (viewer, &|body| matches!(body, Body::Retry(_))),
            Absence::SeesNoPart { viewer, worker } => (viewer, &|body| {
                let Body::Parts { episode, .. } = body else { return false };
                worker.is_none() || self.producer(*episode) == *worker
            }),
        };
        let received = self.received(viewer);
        let found = received[since.min(received.len())..].iter().find(|(_, event)| breaks(&event.body))?;
        Some(format!("{viewer} saw {}", describe(&found.1.body)))
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
