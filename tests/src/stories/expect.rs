//! Checks the expectations of a story against what the judges know, and what is connected.

use mainstem_story::{Absence, Expectation, Sight, describe, find, intruder};

use super::tell::Telling;

impl Telling<'_> {
    /// `Err`: why it does not hold yet. Events of a viewer up to the expected one are consumed.
    pub(super) fn hold(&mut self, expectation: &Expectation) -> Result<(), String> {
        match expectation {
            Expectation::Sees { viewer, sight: Sight::End } => {
                let goes_on = self.stage.viewers.get(viewer).is_some_and(|visitor| visitor.is_connected());
                if goes_on { Err(format!("the stream of {viewer} goes on")) } else { Ok(()) }
            }
            Expectation::Sees { viewer, sight } => self.hold_sight(viewer, sight),
            Expectation::Chat { chat, status, worker } => {
                let past = self.chats.get(chat).and_then(|chat| self.stage.court.judge().index().past(*chat));
                let state =
                    &past.and_then(|past| past.present()).ok_or_else(|| format!("there is no {chat}"))?.state;
                let on = state.worker.as_ref().map(|worker| worker.as_str());
                if state.status.as_str() == status && (worker.is_none() || worker.as_deref() == on) {
                    return Ok(());
                }
                Err(format!("{chat} is {} on {}", state.status.as_str(), on.unwrap_or("nobody")))
            }
            Expectation::Connections { to, count, .. } => exactly(self.stage.hosts[to].gate.open(), *count),
            Expectation::DialsInFlight { to, count, .. } => {
                exactly(self.stage.hosts[to].gate.dialing(), *count)
            }
            Expectation::Dialed { to, count, .. } => exactly(self.stage.hosts[to].gate.dialed(), *count),
            Expectation::ModelRuns { replica, chat, runs } => {
                let found = self.chats.get(chat).is_some_and(|chat| self.stage.runs(replica, *chat));
                if found == *runs { Ok(()) } else { Err(format!("runs: {found}")) }
            }
            // Of what a process keeps, dials that never end are seen from outside.
            Expectation::NothingLeft { .. } => exactly(self.stage.dials_in_flight(), 0),
        }
    }

    fn hold_sight(&mut self, viewer: &str, sight: &Sight) -> Result<(), String> {
        let visitor = self.stage.viewers.get_mut(viewer).ok_or_else(|| format!("{viewer} has left"))?;
        let news = visitor.received(visitor.mark);
        match find(self.stage.court.judge(), &news, sight) {
            Some(behind) => {
                visitor.mark += behind;
                Ok(())
            }
            None => {
                let seen: Vec<_> = news.iter().map(|(_, event)| describe(&event.body)).collect();
                Err(format!("since the last expectation, {viewer} saw {}", seen.join("; ")))
            }
        }
    }

    pub(super) fn since(&self, absence: &Absence) -> usize {
        match viewer_of(absence) {
            Some(viewer) => self.stage.viewers.get(viewer).map_or(0, |visitor| visitor.count()),
            None => self.dialed(),
        }
    }

    fn dialed(&self) -> usize {
        self.stage.hosts.values().map(|host| host.gate.dialed() as usize).sum()
    }

    /// What happened although it must not.
    pub(super) fn intruder(&self, absence: &Absence, since: usize) -> Option<String> {
        let Some(viewer) = viewer_of(absence) else {
            let dials = self.dialed() - since;
            return (dials > 0).then(|| format!("there were {dials} dials"));
        };
        let news = self.stage.viewers.get(viewer)?.received(since);
        let found = intruder(self.stage.court.judge(), &news, absence)?;
        Some(format!("{viewer} saw {}", describe(&found.body)))
    }
}

fn viewer_of(absence: &Absence) -> Option<&str> {
    match absence {
        Absence::SeesNothing { viewer }
        | Absence::SeesNoPart { viewer, .. }
        | Absence::SeesNoReset { viewer }
        | Absence::SeesNoRetry { viewer } => Some(viewer),
        Absence::Dials { .. } => None,
    }
}

fn exactly(found: u64, wanted: u64) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("there are {found}")) }
}
