//! S7: an interrupt stops exactly the run that was live when it was accepted, once, and keeps the partial
//! answer of that run and no other. No run is cancelled because of stale information.

use std::collections::BTreeMap;

use mainstem_machine::{ChatId, Command, Episode, Lease, SendMode, Status, Time};

use crate::{Committed, Evidence, EvidenceIndex, Moment, Oracle, Ruling, Run, RunEnd, Seen};

#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// Interrupts that were accepted and are not finished.
    accepted: BTreeMap<ChatId, Accepted>,
}

#[derive(Clone, Copy, Debug)]
struct Accepted {
    /// The run that was live then.
    target: Option<(Episode, Lease)>,
    /// How many bytes had been received from the model.
    said: usize,
}

impl Oracle for Interrupt {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Committed(change) => self.judge_change(seen.index, seen.at, change),
            Evidence::RunEnded { run, how: RunEnd::Cancelled } => {
                seen.index.run_by_id(*run).map_or(Ok(()), |run| judge_cancelled(seen.index, seen.at, run))
            }
            _ => Ok(()),
        }
    }
}

impl Interrupt {
    fn judge_change(&mut self, index: &EvidenceIndex, at: Time, change: &Committed) -> Ruling {
        let Some(past) = index.past(change.chat) else { return Ok(()) };
        let (Some(before), after) = past.step() else { return Ok(()) };
        let name = change.command.name();
        let asks = match &change.command {
            Command::Interrupt { .. } | Command::Promote { .. } => true,
            Command::Send { mode, .. } => *mode == SendMode::Interrupt,
            _ => false,
        };
        let interrupting = |moment: &Moment| !moment.deleted && moment.state.status == Status::Interrupting;
        if interrupting(after) && !interrupting(before) {
            if !asks {
                return Err(format!("{name} interrupts, and no user asked for it"));
            }
            let target = before.live();
            let run = target.and_then(|(episode, _)| index.run(change.chat, episode));
            // Text of a cancelled run need not be kept, nor text received after the lease had expired.
            let aborted =
                |run: &&Run| run.ended == Some(RunEnd::Cancelled) || index.may_have_expired(at, run);
            let kept = run.filter(|run| !aborted(run));
            let said = kept.map_or(0, |run| run.text().len());
            self.accepted.insert(change.chat, Accepted { target, said });
            return Ok(());
        }
        match &change.command {
            Command::FinishInterruption { fence, .. } => {
                let Some(accepted) = self.accepted.remove(&change.chat) else {
                    return Err(format!(
                        "{:?} is finished as interrupted, and nobody interrupted it",
                        fence.episode
                    ));
                };
                judge_finished(index, change, fence.lease, accepted)
            }
            Command::Edit { .. } | Command::Delete => {
                self.accepted.remove(&change.chat);
                Ok(())
            }
            Command::BeginAttempt { .. }
            | Command::RecordRetry { .. }
            | Command::CommitStep { .. }
            | Command::FinishTurn { .. }
            | Command::Fail { .. }
                if self.accepted.contains_key(&change.chat) =>
            {
                Err(format!("{name} is accepted, and the run is interrupted"))
            }
            _ => Ok(()),
        }
    }
}

fn judge_finished(index: &EvidenceIndex, change: &Committed, lease: Lease, accepted: Accepted) -> Ruling {
    let partial = change.inserted.iter().find(|message| message.episode.is_some());
    let Some((target, target_lease)) = accepted.target else {
        return match partial {
            Some(message) => Err(format!("a partial of {:?} is kept, and nothing ran", message.episode)),
            None => Ok(()),
        };
    };
    if let Some(message) = partial.filter(|message| message.episode != Some(target)) {
        return Err(format!("{target:?} was interrupted, and {:?} is kept", message.episode));
    }
    let Some(run) = index.run(change.chat, target).filter(|_| target_lease == lease) else { return Ok(()) };
    if run.ended.is_none() {
        return Err(format!("{target:?} is finished as interrupted, and its model still runs"));
    }
    let kept = partial.map_or(0, |message| message.content.to_text().len());
    if kept < accepted.said {
        return Err(format!(
            "{kept} bytes are kept of {target:?}, which had said {} when interrupted",
            accepted.said
        ));
    }
    Ok(())
}

/// A run is cancelled only for a reason that is in the evidence.
fn judge_cancelled(index: &EvidenceIndex, at: Time, run: &Run) -> Ruling {
    let replica = index.lives.replica(run.replica.as_str());
    let dead = replica.is_none_or(|replica| !replica.up || replica.draining || replica.life != run.life);
    let too_large = run.text().len() > index.settings.episode_bytes_max;
    if dead || too_large || index.may_have_expired(at, run) {
        return Ok(());
    }
    let (Some(past), Some(beginning)) = (index.past(run.chat), run.beginning) else { return Ok(()) };
    let alive = past.moments[beginning].live();
    let goes_on = |moment: &Moment| moment.live() == alive && moment.state.status == Status::Running;
    if past.moments[beginning..].iter().all(goes_on) {
        return Err(format!(
            "{} cancels the run of {:?}, and nothing has happened to it",
            run.replica, run.episode
        ));
    }
    Ok(())
}
