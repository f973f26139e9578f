//! S5: of two replicas that believe they hold a chat, only one can commit. The other changes nothing,
//! triggers nothing, and sends nothing once its lease has expired by its own clock.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_machine::{Body, ChatId, Command, Fence, Lease, ReplicaId};

use crate::row::judge_tenure;
use crate::shared::Shared;
use crate::{Committed, Evidence, FaultKind, Moment, Name, Oracle, Ruling, Seen, StreamId};

/// The resolution of the database's clock.
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Default)]
pub(crate) struct OneWriter {
    /// Replicas that received a recorded answer again, and so may announce the change.
    replayed: Shared<BTreeSet<(Name, ChatId)>>,
}

impl Oracle for OneWriter {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let index = seen.index;
        match seen.evidence {
            Evidence::RunStarted { run, replica, chat, episode } => {
                seen.ask();
                if index.first_run(*chat, *episode) != Some(*run) {
                    return Err(format!("{episode:?} is generated twice, the second time on {replica}"));
                }
                let beginning =
                    index.past(*chat).and_then(|past| Some(&past.moments[past.beginning(*episode)?]));
                match beginning {
                    Some(moment) if moment.state.worker.as_ref() == Some(replica) => Ok(()),
                    _ => Err(format!("{replica} generates {episode:?}, which it never began")),
                }
            }
            Evidence::Committed(change) => {
                judge_change(seen, change)?;
                let Some(past) = index.past(change.chat) else { return Ok(()) };
                let (before, after) = past.step();
                judge_tenure(before, after, change)
            }
            Evidence::Replayed { replica, chat } => {
                self.replayed.insert((replica.clone(), *chat));
                Ok(())
            }
            Evidence::Announced { replica, chat, version } => {
                seen.ask();
                let moments = index.past(*chat).map_or(&[][..], |past| &past.moments);
                let said = |moment: &&Moment| moment.state.snapshot_version == *version;
                match moments.iter().rev().find(said) {
                    Some(moment)
                        if moment.by == *replica
                            || self.replayed.contains(&(replica.clone(), *chat))
                            || index.lives.replica(replica).is_none() =>
                    {
                        Ok(())
                    }
                    Some(moment) => {
                        Err(format!("{replica} announces version {version}, which {} committed", moment.by))
                    }
                    None => Err(format!("{replica} announces version {version}, which nobody committed")),
                }
            }
            Evidence::Sent { stream, event } => match &event.body {
                Body::Parts { .. } => {
                    judge_sent(seen, *stream, event.cursor.preview.map(|s| s.lease), &event.body)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn fence_of(command: &Command) -> Option<(&ReplicaId, Lease, Option<&Fence>)> {
    match command {
        Command::Release { replica, lease } => Some((replica, *lease, None)),
        Command::BeginAttempt { fence }
        | Command::RecordRetry { fence, .. }
        | Command::CommitStep { fence, .. }
        | Command::CommitResults { fence, .. }
        | Command::FinishTurn { fence, .. }
        | Command::FinishInterruption { fence, .. }
        | Command::Fail { fence, .. } => Some((&fence.replica, fence.lease, Some(fence))),
        _ => None,
    }
}

fn judge_change(seen: &Seen<'_>, change: &Committed) -> Ruling {
    let (index, at) = (seen.index, seen.at);
    let Some(past) = index.past(change.chat) else { return Ok(()) };
    let (Some(before), _) = past.step() else { return Ok(()) };
    let (state, name) = (&before.state, change.command.name());
    if let Command::Acquire { replica, .. } = &change.command {
        seen.ask();
        if replica.as_str() != &*change.by {
            return Err(format!("{name} is sent by {} in the name of {replica}", change.by));
        }
        let Some(holder) = state.worker.as_ref().filter(|holder| *holder != replica) else { return Ok(()) };
        let held = past.tenure(state.lease).map(|tenure| tenure.confirmed + index.settings.lease_ttl);
        return match held.filter(|until| at + TICK < *until) {
            Some(until) => Err(format!("{replica} acquires what {holder} holds until {until:?}")),
            None => Ok(()),
        };
    }
    let Some((replica, lease, fence)) = fence_of(&change.command) else { return Ok(()) };
    seen.ask();
    let holder = (state.worker.as_ref(), state.lease);
    if holder != (Some(replica), lease) {
        return Err(format!(
            "{name} of {replica} under lease {lease} is accepted, and {holder:?} holds the chat"
        ));
    }
    if replica.as_str() != &*change.by {
        return Err(format!("{name} is sent by {} in the name of {replica}", change.by));
    }
    match fence.filter(|fence| fence.episode != state.present_episode()) {
        Some(fence) => {
            Err(format!("{name} of {:?} is accepted, at {:?}", fence.episode, state.present_episode()))
        }
        None => Ok(()),
    }
}

/// A worker sends parts at its own edge only under a lease that has not expired.
fn judge_sent(seen: &Seen<'_>, stream: StreamId, lease: Option<Lease>, body: &Body) -> Ruling {
    let (index, at) = (seen.index, seen.at);
    let (Some(stream), Some(lease), Body::Parts { episode, .. }) = (index.stream(stream), lease, body) else {
        return Ok(());
    };
    let Some(past) = index.past(stream.chat) else { return Ok(()) };
    let Some(tenure) = past.tenure(lease).filter(|tenure| tenure.replica.as_str() == &*stream.on) else {
        return Ok(());
    };
    // Once the answer is saved, any replica may send its parts, however late.
    let named = past.last().and_then(Moment::live) == Some((*episode, lease));
    let ttl = index.settings.lease_ttl;
    let until = tenure.assured + ttl;
    let lost = past.last().is_some_and(|moment| moment.state.lease > lease);
    seen.ask();
    if at > until && (named || lost) && !past.has_saved(*episode) {
        if at <= tenure.assured + index.lives.longest(&stream.on, ttl) {
            seen.excuse(FaultKind::ClockDrifts);
            return Ok(());
        }
        return Err(format!(
            "{} tells parts of {episode:?} under lease {lease}, which ran out at {until:?}",
            stream.on
        ));
    }
    Ok(())
}
