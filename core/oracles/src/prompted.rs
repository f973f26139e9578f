//! S11, of what models are given: the history as it is committed, without the calls that were cut short. They have no
//! result, and nobody knows whether they were meant so.

use std::sync::Arc;

use mainstem_machine::Message;
use serde_json::Value;

use crate::{EvidenceIndex, Ruling, RunId};

pub(crate) fn judge(index: &EvidenceIndex, run: RunId, given: &[Arc<Message>]) -> Ruling {
    let Some(run) = index.run_by_id(run) else {
        return Err("a model that nobody started is given a history".into());
    };
    let Some(moment) = index.past(run.chat).and_then(|past| past.moments.get(run.beginning?)) else {
        return Ok(());
    };
    let model = || format!("the model of {:?}", run.episode);
    if given.len() != moment.history.len() {
        return Err(format!("{} is given {} messages of {}", model(), given.len(), moment.history.len()));
    }
    for (given, kept) in given.iter().zip(&*moment.history) {
        if given == kept && has_no_calls(kept) {
            continue;
        }
        let (parts, wanted) = (parts(given), parts(kept));
        let is_same = (given.id, given.role) == (kept.id, kept.role);
        if parts.iter().any(is_cut) {
            return Err(format!("{} is given a call of message {} that was cut short", model(), kept.id));
        }
        if !is_same || !parts.iter().eq(wanted.iter().filter(|part| !is_cut(part))) {
            return Err(format!("{} is given message {} in other words than were kept", model(), kept.id));
        }
    }
    Ok(())
}

/// Most messages have none, and to read a whole history for each model takes a run's time. Where anything is escaped, it
/// has to be read.
fn has_no_calls(message: &Message) -> bool {
    let json = message.content.as_json();
    !json.contains("tool_call") && !json.contains("\\u")
}

fn parts(message: &Message) -> Vec<Value> {
    serde_json::from_str(message.content.as_json()).unwrap_or_default()
}

/// A call whose input did not come to its end.
fn is_cut(part: &Value) -> bool {
    part["type"] == "tool_call" && part.get("input").is_none()
}
