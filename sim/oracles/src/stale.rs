//! S3: once a viewer has been shown a newer history, attempt or worker, nothing of an older episode follows.

use std::collections::BTreeMap;

use mainstem_machine::{Body, ChatId, Episode};

use crate::watcher::is_told;
use crate::{Begin, Evidence, Name, Oracle, Ruling, Seen, Watcher};

#[derive(Debug, Default)]
pub(crate) struct Stale {
    shown: BTreeMap<(Name, ChatId), Shown>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    newest: Option<Episode>,
    voided: Option<Episode>,
}

impl Oracle for Stale {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Watches { viewer, chat, from: Begin::Fresh | Begin::After(_), .. } => {
                self.shown.remove(&(viewer.clone(), *chat));
                Ok(())
            }
            Evidence::Saw { stream, event } => {
                let Some(watcher) = seen.known.watcher(*stream) else { return Ok(()) };
                let shown = self.shown.entry((watcher.name.clone(), watcher.chat)).or_default();
                let ruling = judge(seen, watcher, shown, &event.body);
                ruling.map_err(|why| format!("{} on {}: {why}", watcher.name, watcher.on))
            }
            _ => Ok(()),
        }
    }
}

fn judge(seen: &Seen<'_>, watcher: &Watcher, shown: &mut Shown, body: &Body) -> Ruling {
    match body {
        Body::PreviewReset { episode, .. } => shown.voided = shown.voided.max(Some(*episode)),
        Body::Status { history_version, attempt, .. } => {
            let episode = Episode { history_version: *history_version, attempt: *attempt };
            if let Some(newest) = shown.newest.replace(episode).filter(|newest| episode < *newest) {
                return Err(format!("the status of {episode:?} follows that of {newest:?}"));
            }
            let moments = seen.known.past(watcher.chat).map_or(&[][..], |past| &past.moments);
            let (before, since) = moments.split_at(watcher.floor.min(moments.len()));
            let was = |moment: &crate::Moment| is_told(moment, body);
            if !since.iter().rev().any(was) && before.iter().any(was) {
                return Err(format!("the status of {episode:?} follows what came after it"));
            }
        }
        Body::Parts { episode, .. } => {
            if shown.newest.is_some_and(|newest| *episode < newest) {
                return Err(format!("a part of {episode:?} follows {:?}", shown.newest));
            }
            if shown.voided.is_some_and(|voided| *episode <= voided) {
                return Err(format!("a part of {episode:?} follows its preview_reset"));
            }
            shown.newest = shown.newest.max(Some(*episode));
            if episode.history_version < watcher.view.newest_revision() {
                return Err(format!("a part of {episode:?} follows the message that ended it"));
            }
            let told = watcher.view.status.as_ref().filter(|status| status.episode == *episode);
            let producer = seen.known.run(watcher.chat, *episode).map(|run| &run.replica);
            if let (Some(told), Some(producer)) = (told, producer)
                && told.worker.as_ref() != Some(producer)
            {
                return Err(format!(
                    "a part of {episode:?} by {producer} follows the status of {:?}",
                    told.worker
                ));
            }
        }
        _ => {}
    }
    Ok(())
}
