//! S4: what a viewer saw is what is saved. An answer is exactly what the model generated, and every preview
//! is a prefix of the answer that ends it, unless it was reset before.

use mainstem_machine::{Body, Command, Completion, Episode, FinishReason, Message, ResetReason};

use crate::{Committed, Evidence, EvidenceIndex, Moment, Oracle, Ruling, RunEnd, Seen, Watcher};

#[derive(Clone, Debug, Default)]
pub(crate) struct Kept;

impl Oracle for Kept {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Committed(change) => judge_answer(seen, change),
            Evidence::Saw { stream, event } => {
                let Some(watcher) = seen.index.watcher(*stream) else { return Ok(()) };
                if watcher.view.preview.is_some() {
                    seen.ask();
                }
                judge_event(seen.index, watcher, &event.body)
                    .map_err(|why| format!("{} on {}: {why}", watcher.name, watcher.on))
            }
            _ => Ok(()),
        }
    }
}

fn judge_answer(seen: &Seen<'_>, change: &Committed) -> Ruling {
    let index = seen.index;
    let (complete, saved, fence) = match &change.command {
        Command::FinishTurn { answer, fence, .. } => (true, answer.as_ref(), fence),
        Command::CommitStep { answer, fence, .. } => (true, Some(answer), fence),
        Command::FinishInterruption { partial, fence } | Command::Fail { partial, fence, .. } => {
            (false, partial.as_ref(), fence)
        }
        _ => return Ok(()),
    };
    seen.ask();
    let generated = change.inserted.iter().find(|message| message.episode.is_some());
    if generated.is_some() != saved.is_some() {
        return Err(format!("{} and what it saved do not agree", change.command.name()));
    }
    let episode = generated.and_then(|message: &Message| message.episode).unwrap_or(fence.episode);
    let kept =
        generated.map(|message| Completion { finish_reason: message.finish_reason, usage: message.usage });
    let kept = kept.unwrap_or_default();
    let Some(run) = index.run(change.chat, episode) else {
        let nothing = generated.is_none() && !complete;
        return nothing
            .then_some(())
            .ok_or_else(|| format!("an answer of {episode:?} is saved, which no model generated"));
    };
    // What outgrew its bound is not kept whole.
    let fits = !run.is_too_large(index.settings.episode_bytes_max);
    let fails = matches!(change.command, Command::Fail { .. });
    let is_all_kept = fails && fits && run.ended == Some(RunEnd::Failed);
    if complete {
        let Some(RunEnd::Done(completion)) = run.ended else {
            return Err(format!(
                "the answer of {episode:?} is kept as complete, and the model had not finished"
            ));
        };
        if generated.is_some() && kept != completion {
            return Err(format!("the answer of {episode:?} ended by {completion:?}, and {kept:?} is kept"));
        }
        let is_cut = completion.finish_reason.is_some_and(FinishReason::is_cut);
        let said = run.blocks(run.last());
        if !generated.map_or(said.is_empty(), |message| said.are_kept_in(&message.content, is_cut)) {
            return Err(format!("the answer kept of {episode:?} is not what the model said"));
        }
    } else if kept != Completion::default() {
        return Err(format!("{episode:?} was cut short, and {kept:?} is kept of it"));
    } else if is_all_kept {
        let said = run.blocks(run.last());
        if !generated.map_or(said.is_empty(), |message| said.are_kept_in(&message.content, true)) {
            return Err(format!("{episode:?} failed for good, and what is kept is not all that was said"));
        }
    } else if generated.is_some_and(|message| run.cut_in(&message.content).is_none()) {
        return Err(format!(
            "what is kept of {episode:?} does not consist of whole parts, from the first on"
        ));
    }
    Ok(())
}

fn judge_event(index: &EvidenceIndex, watcher: &Watcher, body: &Body) -> Ruling {
    if let Body::PreviewReset { episode, reason } = body {
        return judge_reset(index, watcher, *episode, *reason);
    }
    let Some(preview) = &watcher.view.preview else { return Ok(()) };
    let (shown, last) = (preview.episode, preview.last_seq);
    let neither =
        |what: String| Err(format!("{what} follows parts of {shown:?}, which were neither kept nor reset"));
    match body {
        Body::Message(message) if message.episode == Some(shown) => {
            if preview.blocks.begin(&message.content) {
                return Ok(());
            }
            Err(format!("parts up to {last} of {shown:?} were shown, and message {} differs", message.id))
        }
        Body::Message(message) => neither(format!("message {}", message.id)),
        Body::Parts { episode, .. } if *episode != shown => neither(format!("a part of {episode:?}")),
        Body::PreviewReset { episode, .. } if *episode != shown => {
            Err(format!("{episode:?} is reset, and what is shown is of {shown:?}"))
        }
        Body::HistoryReset => neither("history_reset".into()),
        Body::Status { status, worker, history_version, attempt, .. } => {
            let episode = Episode { history_version: *history_version, attempt: *attempt };
            let producer = index.run(watcher.chat, shown).map(|run| &run.replica);
            let moved = producer.is_some() && worker.as_ref() != producer;
            if !status.is_runnable() || episode != shown || moved {
                return neither(format!("status {} of {episode:?}", status.as_str()));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What is taken back was shown, and neither lives nor is kept, for the reason that is told.
fn judge_reset(index: &EvidenceIndex, watcher: &Watcher, episode: Episode, reason: ResetReason) -> Ruling {
    let Some(shown) = watcher.view.preview.as_ref().map(|preview| preview.episode) else {
        return Err(format!("{episode:?} is reset, and nothing of it is shown"));
    };
    if shown != episode {
        return Err(format!("{episode:?} is reset, and {shown:?} is shown"));
    }
    let lease = index.run(watcher.chat, episode).and_then(|run| run.lease);
    let moments = index.past(watcher.chat).map_or(&[][..], |past| &past.moments);
    let since = &moments[watcher.floor.min(moments.len())..];
    let why = |moment: &Moment| match &moment.state {
        state if state.reset_version > episode.history_version => ResetReason::Edit,
        state if Some(state.lease) != lease => ResetReason::Takeover,
        _ => ResetReason::Retry,
    };
    let over = |moment: &&Moment| {
        let kept = moment.history.iter().any(|message| message.episode == Some(episode));
        moment.live().map(|(live, _)| live) != Some(episode) && !kept && why(moment) == reason
    };
    match since.iter().rev().any(|moment| over(&moment)) {
        true => Ok(()),
        false => Err(format!("{episode:?} is reset for {}, which was never so", reason.as_str())),
    }
}
