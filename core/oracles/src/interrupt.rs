//! S7: an interrupt stops exactly the run that was live when it was accepted, once, and keeps the partial
//! answer of that run and no other. No run is cancelled because of stale information.

use std::collections::BTreeMap;

use mainstem_machine::{ChatId, Command, Episode, Lease, SendMode, Seq, Status};

use crate::{
    Committed, Evidence, EvidenceIndex, FaultKind, Moment, Oracle, Ruling, Run, RunEnd, RunId, Seen,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// Interrupts that were accepted and are not finished.
    accepted: BTreeMap<ChatId, Accepted>,
    /// Of the newest run of a chat, what was received before its lease may have expired, and why it may have.
    sure: BTreeMap<ChatId, (Episode, Seq, FaultKind)>,
}

#[derive(Clone, Copy, Debug)]
struct Accepted {
    /// The run that was live then.
    target: Option<(Episode, Lease)>,
    /// The last part that had been received from the model.
    said: Seq,
}

impl Oracle for Interrupt {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Committed(change) => self.judge_change(seen, change),
            Evidence::RunSaid { run, .. } => {
                self.note_text(seen, *run);
                Ok(())
            }
            Evidence::RunEnded { run, how: RunEnd::Cancelled } => {
                seen.index.run_by_id(*run).map_or(Ok(()), |run| judge_cancelled(seen, run))
            }
            _ => Ok(()),
        }
    }
}

impl Interrupt {
    /// What is received after the lease has expired is not taken, also if the lease is renewed later, and neither is what comes
    /// behind it. Nor is what an answer has no room for.
    fn note_text(&mut self, seen: &Seen<'_>, run: RunId) {
        let Some(run) = seen.index.run_by_id(run) else { return };
        let is_too_large = run.is_too_large(seen.index.settings.episode_bytes_max);
        let expired = seen.index.may_have_expired(seen.at, run);
        let Some(why) = expired.or(is_too_large.then_some(FaultKind::ModelSaysMuch)) else { return };
        let sure = (run.episode, Seq(run.last().0.saturating_sub(1)), why);
        let known = self.sure.entry(run.chat).or_insert(sure);
        if known.0 != run.episode {
            *known = sure;
        }
    }

    fn judge_change(&mut self, seen: &Seen<'_>, change: &Committed) -> Ruling {
        let (index, at) = (seen.index, seen.at);
        let Some(past) = index.past(change.chat) else { return Ok(()) };
        let (before, after) = past.step();
        let name = change.command.name();
        let asks = match &change.command {
            Command::Interrupt { .. } | Command::Promote { .. } => true,
            Command::Send { mode, .. } => *mode == SendMode::Interrupt,
            _ => false,
        };
        let interrupting = |moment: &Moment| !moment.deleted && moment.state.status == Status::Interrupting;
        if interrupting(after) && !before.is_some_and(interrupting) {
            if !asks {
                return Err(format!("{name} interrupts, and no user asked for it"));
            }
            let target = before.and_then(Moment::live);
            let run = target.and_then(|(episode, _)| index.run(change.chat, episode));
            // Text of a cancelled run need not be kept, nor text received after the lease had expired.
            seen.ask();
            let cancelled = |run: &&Run| run.ended == Some(RunEnd::Cancelled);
            let kept = run.filter(|run| !cancelled(run) && !seen.is_excused(index.may_have_expired(at, run)));
            let said = kept.map_or(Seq(0), |run| match self.sure.get(&change.chat) {
                Some((episode, sure, why)) if *episode == run.episode => {
                    seen.excuse(*why);
                    *sure
                }
                Some(_) | None => run.last(),
            });
            self.accepted.insert(change.chat, Accepted { target, said });
            return Ok(());
        }
        judge_status(before, after, change)?;
        match &change.command {
            Command::FinishInterruption { fence, .. } => {
                seen.ask();
                let Some(accepted) = self.accepted.remove(&change.chat) else {
                    return Err(format!(
                        "{:?} is finished as interrupted, and nobody interrupted it",
                        fence.episode
                    ));
                };
                judge_finished(index, change, fence.lease, accepted)
            }
            Command::Edit { .. } | Command::Regenerate { .. } | Command::Delete | Command::Expire { .. } => {
                self.accepted.remove(&change.chat);
                Ok(())
            }
            Command::BeginAttempt { .. }
            | Command::RecordRetry { .. }
            | Command::CommitStep { .. }
            | Command::CommitResults { .. }
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

/// An interrupt is in force from its acceptance until it is finished or a cut removes what it was about.
fn judge_status(before: Option<&Moment>, after: &Moment, change: &Committed) -> Ruling {
    let Some(before) = before.filter(|_| !after.deleted) else { return Ok(()) };
    let (name, was, is) = (change.command.name(), before.state.status, after.state.status);
    if let Command::Regenerate { mode, .. } = &change.command
        && was.is_busy()
        && *mode != SendMode::Interrupt
    {
        return Err(format!("{name} cuts off what a {} chat says, and was not to", was.as_str()));
    }
    let ends = matches!(
        change.command,
        Command::FinishInterruption { .. } | Command::Edit { .. } | Command::Regenerate { .. }
    );
    if was == Status::Interrupting && (is == Status::Interrupting) == ends {
        return Err(format!("{name} leaves an interrupted chat {}", is.as_str()));
    }
    let stops = match &change.command {
        // Where nothing generates, there is nothing to wait for.
        Command::Interrupt { .. } => before.state.worker.is_some(),
        Command::Send { mode: SendMode::Interrupt, .. } | Command::Promote { .. } => true,
        _ => false,
    };
    if stops && was == Status::Running && is != Status::Interrupting {
        return Err(format!("{name} interrupts, and leaves the chat {}", is.as_str()));
    }
    Ok(())
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
    // What is kept of another answer, or altered, is judged elsewhere (S4).
    let kept = match partial {
        Some(message) => run.cut_in(&message.content).unwrap_or(run.last()),
        None => Seq(0),
    };
    if kept < accepted.said {
        return Err(format!(
            "{kept} parts are kept of {target:?}, which had said {} when interrupted",
            accepted.said
        ));
    }
    Ok(())
}

/// A run is cancelled only for a reason that is in the evidence.
fn judge_cancelled(seen: &Seen<'_>, run: &Run) -> Ruling {
    let (index, worker) = (seen.index, run.replica.as_str());
    let replica = index.lives.replica(worker).filter(|replica| replica.up && replica.life == run.life);
    let (Some(replica), Some(past), Some(beginning)) = (replica, index.past(run.chat), run.beginning) else {
        return Ok(());
    };
    seen.ask();
    let alive = past.moments[beginning].live();
    let goes_on = |moment: &Moment| moment.live() == alive && moment.state.status == Status::Running;
    if run.is_too_large(index.settings.episode_bytes_max) || !past.moments[beginning..].iter().all(goes_on) {
        return Ok(());
    }
    // Who drains lets runs go on for a while.
    let patience = index.lives.shortest(worker, index.settings.drain_timeout);
    let drained = replica.draining.filter(|since| seen.at >= *since + patience);
    let drains = drained.map(|_| FaultKind::Drain);
    if seen.is_excused(drains.or_else(|| index.may_have_expired(seen.at, run))) {
        return Ok(());
    }
    Err(format!("{worker} cancels the run of {:?}, and nothing has happened to it", run.episode))
}
