//! L1: within a bound after the last fault, every connected viewer has what the database has, and if an
//! episode is live, it sees its parts.

use std::time::Duration;

use mainstem_machine::{Seq, Time};

use crate::{EvidenceIndex, Oracle, RunEnd, Standing, WorldFacts};

/// How long a part may be in flight.
const IN_FLIGHT: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Default)]
pub(crate) struct Convergence;

impl Oracle for Convergence {
    fn missing(&self, index: &EvidenceIndex, facts: &WorldFacts) -> Option<String> {
        facts.viewers.iter().find_map(|standing| {
            difference(index, facts.now, standing).map(|why| format!("{}: {why}", standing.viewer))
        })
    }
}

fn difference(index: &EvidenceIndex, now: Time, standing: &Standing) -> Option<String> {
    let past = index.past(standing.chat);
    let Some(moment) = past.and_then(|past| past.present()) else {
        return standing.connected.then(|| "it watches a chat that is gone".into());
    };
    let caller = index.caller(&standing.viewer, standing.chat);
    if caller.is_some_and(|caller| !moment.state.is_there_for(caller)) {
        return standing.connected.then(|| "it watches a chat that is not shared with it any more".into());
    }
    if !standing.connected {
        return Some("it is not connected".into());
    }
    let Some(view) = index.view(&standing.viewer, standing.chat) else {
        return Some("it was never told anything".into());
    };
    if let Some(difference) = view.difference(&moment.state, &moment.history) {
        return Some(difference);
    }
    if !view.synced {
        return Some("it was never told that it has all there was when it came".into());
    }
    let (episode, _) = moment.live()?;
    let preview = view.preview.as_ref().filter(|preview| preview.episode == episode);
    let shown = preview.map_or(Seq(0), |preview| preview.last_seq);
    // The model may still be generating.
    let run = index.run(standing.chat, episode)?;
    // Its worker is gone, and without a free slot no replica begins a new attempt.
    let worker = index.lives.replica(run.replica.as_str());
    let is_gone = worker.is_none_or(|worker| !worker.up || worker.life != run.life);
    if is_gone || run.ended == Some(RunEnd::Cancelled) {
        return None;
    }
    let next = run.said_at(shown.next())?;
    (next + IN_FLIGHT < now)
        .then(|| format!("it shows {shown} parts of {episode:?}, and the next was said at {next:?}"))
}
