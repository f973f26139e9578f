//! What one accepted change may do to the row of a chat: versions grow by one, a lease moves with an acquisition, an
//! attempt begins with its command, a phase belongs to its status. Each rule is of one guarantee, whose oracle asks.

use mainstem_machine::{Command, Role, Status};

use crate::{Committed, Moment, Ruling, begins_attempt};

/// S1: each change is a version, and the history of a version is that of the last one, but for what was cut off its
/// end and what was added there.
pub(crate) fn judge_versions(before: Option<&Moment>, after: &Moment, change: &Committed) -> Ruling {
    let (state, name) = (&after.state, change.command.name());
    let asked = match &change.command {
        Command::Edit { message, .. } => Some(*message),
        Command::Regenerate { message: Some(message), .. } => Some(message.next()),
        Command::Regenerate { message: None, .. } => match before {
            Some(before) => {
                before.history.iter().rfind(|message| message.role == Role::User).map(|m| m.id.next())
            }
            None => change.cut_from,
        },
        _ => None,
    };
    if change.cut_from != asked {
        return Err(format!(
            "{name} cuts the history at {:?}, and was to cut it at {asked:?}",
            change.cut_from
        ));
    }
    if after.deleted || is_unknown(before, change) {
        return Ok(());
    }
    if let Some(pair) = after.history.windows(2).find(|pair| pair[1].id <= pair[0].id) {
        return Err(format!("{name} puts message {} behind message {}", pair[1].id, pair[0].id));
    }
    let was = before.map(|before| (before.state.snapshot_version, before.state.history_version));
    let (version, history) = was.unwrap_or_default();
    let moved = change.cut_from.is_some() || !change.inserted.is_empty();
    let due = (version.next(), if moved { version.next() } else { history });
    if (state.snapshot_version, state.history_version) != due {
        return Err(format!(
            "{name} leads to version {} with the history of {}, expected {} with that of {}",
            state.snapshot_version, state.history_version, due.0, due.1
        ));
    }
    Ok(())
}

/// S5: a lease begins with its acquisition and an attempt with its command, and nothing else moves them.
pub(crate) fn judge_tenure(before: Option<&Moment>, after: &Moment, change: &Committed) -> Ruling {
    let (state, name) = (&after.state, change.command.name());
    if after.deleted || is_unknown(before, change) {
        return Ok(());
    }
    let lease = before.map(|before| before.state.lease).unwrap_or_default();
    let worker = before.and_then(|before| before.state.worker.as_ref());
    let (due, holds) = match &change.command {
        Command::Acquire { replica, .. } => (lease.next(), state.worker.as_ref() == Some(replica)),
        _ => (lease, state.worker.is_none() || state.worker.as_ref() == worker),
    };
    if state.lease != due || !holds {
        return Err(format!(
            "{name} gives the chat to {:?} under lease {}, and {worker:?} had it under lease {lease}",
            state.worker, state.lease
        ));
    }
    let same = before.filter(|before| before.state.history_version == state.history_version);
    let attempt = same.map_or(0, |before| before.state.attempt);
    let due = attempt + u64::from(begins_attempt(&change.command, state));
    if state.attempt != due {
        return Err(format!("{name} leads to attempt {}, expected {due}", state.attempt));
    }
    Ok(())
}

/// S9: an error is told where there is one, and a retry until it begins.
pub(crate) fn judge_phase(before: Option<&Moment>, after: &Moment, change: &Committed) -> Ruling {
    let (state, name) = (&after.state, change.command.name());
    if after.deleted || is_unknown(before, change) {
        return Ok(());
    }
    let error = match &change.command {
        Command::Fail { error, .. } => Some(error),
        _ => before.and_then(|before| before.state.error.as_ref()),
    };
    let failed = state.status == Status::Error;
    if failed != state.error.is_some() || (failed && state.error.as_ref() != error) {
        return Err(format!(
            "{name} leaves the chat {} with the error {:?}, expected {error:?}",
            state.status.as_str(),
            state.error
        ));
    }
    let retry = before.and_then(|before| before.state.retry.as_ref());
    let recorded = matches!(change.command, Command::RecordRetry { .. });
    if state.retry.is_some() && !recorded && state.retry.as_ref() != retry {
        return Err(format!("{name} announces the retry {:?}, and there was {retry:?}", state.retry));
    }
    Ok(())
}

/// L3: whoever has a question in the history has somebody to answer it, and nobody answers where there is none.
pub(crate) fn judge_work(before: Option<&Moment>, after: &Moment, change: &Committed) -> Ruling {
    let (status, name) = (after.state.status, change.command.name());
    if after.deleted || is_unknown(before, change) {
        return Ok(());
    }
    let goes_on = matches!(
        change.command,
        Command::CommitStep { .. } | Command::CommitResults { .. } | Command::ToolResults { .. }
    );
    let again = matches!(change.command, Command::Regenerate { .. });
    let asks = again
        || change.inserted.last().is_some_and(|last| match last.role {
            Role::User => true,
            // Results are answered, unless their turn was stopped.
            Role::Tool => goes_on,
            _ => false,
        });
    let rested = before.is_none_or(|before| !before.state.status.is_runnable());
    let ends = matches!(change.command, Command::FinishTurn { .. } | Command::FinishInterruption { .. });
    if asks && !status.is_runnable() {
        return Err(format!("{name} leaves a question, and the chat {}", status.as_str()));
    }
    if (ends || rested) && !asks && status.is_runnable() {
        return Err(format!("{name} asks nothing, and leaves the chat {}", status.as_str()));
    }
    Ok(())
}

/// Where the chat's past is not in evidence.
fn is_unknown(before: Option<&Moment>, change: &Committed) -> bool {
    before.is_none() && !matches!(change.command, Command::Create { .. })
}
