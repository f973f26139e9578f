//! S8: a status never comes before the content it refers to, and an answer comes right after its question.

use mainstem_machine::{Body, Command};

use crate::watcher::is_status_of;
use crate::{Evidence, Oracle, Past, Ruling, Seen, Watcher};

#[derive(Clone, Debug, Default)]
pub(crate) struct Order;

impl Oracle for Order {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Committed(change) if !change.inserted.is_empty() => {
                seen.ask();
                let Some(past) = seen.index.past(change.chat) else { return Ok(()) };
                misplaced(past, change.inserted.len())
                    .map_or(Ok(()), |why| Err(format!("chat {}: {why}", change.chat)))
            }
            Evidence::Saw { stream, event } => {
                let Some(watcher) = seen.index.watcher(*stream) else { return Ok(()) };
                if matches!(event.body, Body::Status { .. } | Body::Parts { .. }) {
                    seen.ask();
                }
                let ruling = judge(seen, watcher, &event.body);
                ruling.map_err(|why| format!("{} on {}: {why}", watcher.name, watcher.on))
            }
            _ => Ok(()),
        }
    }
}

fn judge(seen: &Seen<'_>, watcher: &Watcher, body: &Body) -> Ruling {
    match body {
        Body::Status { status, history_version, attempt, .. } => {
            let moments = seen.index.past(watcher.chat).map_or(&[][..], |past| &past.moments);
            let mut spoken_of = moments.iter().rev().filter(|moment| is_status_of(moment, body)).peekable();
            let name = format_args!("status {} of {history_version}.{attempt}", status.as_str());
            if spoken_of.peek().is_none() {
                return Err(format!("{name} was never committed"));
            }
            if !spoken_of.any(|moment| moment.is_shown_by(&watcher.view)) {
                return Err(format!("{name} comes before the messages it refers to"));
            }
        }
        Body::Parts { episode, .. } => {
            let last_status = watcher.view.status.as_ref().filter(|status| status.episode == *episode);
            if last_status.is_none_or(|last_status| last_status.worker.is_none()) {
                return Err(format!("a part of {episode:?} comes before the status that announces it"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// An inserted answer that does not come right after the history that it answers.
fn misplaced(past: &Past, inserted: usize) -> Option<String> {
    let moment = past.step().1;
    // A history ends with the message that came with its version, or was cut behind the one that is answered again.
    let ended_with = |version, last| {
        let mut moments = past.moments.iter().rev();
        let cut = moments.find(|moment| moment.state.snapshot_version == version);
        cut.filter(|cut| matches!(cut.command, Command::Regenerate { .. }))
            .and_then(|cut| cut.history.last())
            .is_some_and(|there| there.id == last)
    };
    let from = moment.history.len().saturating_sub(inserted + 1);
    moment.history[from..].windows(2).find_map(|pair| {
        let episode = pair[1].episode?;
        let right = pair[0].revision == episode.history_version
            || pair[0].episode == Some(episode)
            || ended_with(episode.history_version, pair[0].id);
        let (id, before) = (pair[1].id, pair[0].id);
        (!right).then(|| format!("message {id} answers {episode:?} and stands behind message {before}"))
    })
}
