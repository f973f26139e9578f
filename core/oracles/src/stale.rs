//! S3: once a viewer has seen a newer history, attempt or worker, nothing of an older episode follows.

use std::collections::BTreeMap;

use mainstem_machine::{Body, ChatId, Episode};

use crate::shared::Shared;
use crate::watcher::is_status_of;
use crate::{Begin, Evidence, Name, Oracle, Ruling, Seen, Watcher};

#[derive(Clone, Debug, Default)]
pub(crate) struct Stale {
    newest_shown: Shared<BTreeMap<(Name, ChatId), Newest>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    newest: Option<Episode>,
    voided: Option<Episode>,
}

impl Oracle for Stale {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Watches { viewer, chat, from: Begin::Fresh | Begin::After(_), .. } => {
                self.newest_shown.remove(&(viewer.clone(), *chat));
                Ok(())
            }
            Evidence::Saw { stream, event } => {
                let Some(watcher) = seen.index.watcher(*stream) else { return Ok(()) };
                seen.ask();
                let newest_shown = self.newest_shown.entry((watcher.name.clone(), watcher.chat)).or_default();
                let ruling = judge(seen, watcher, newest_shown, &event.body);
                ruling.map_err(|why| format!("{} on {}: {why}", watcher.name, watcher.on))
            }
            _ => Ok(()),
        }
    }
}

fn judge(seen: &Seen<'_>, watcher: &Watcher, newest_shown: &mut Newest, body: &Body) -> Ruling {
    match body {
        Body::PreviewReset { episode, .. } => newest_shown.voided = newest_shown.voided.max(Some(*episode)),
        Body::Status { history_version, attempt, .. } => {
            let episode = Episode { history_version: *history_version, attempt: *attempt };
            if let Some(newest) = newest_shown.newest.replace(episode).filter(|newest| episode < *newest) {
                return Err(format!("the status of {episode:?} follows that of {newest:?}"));
            }
            let moments = seen.index.past(watcher.chat).map_or(&[][..], |past| &past.moments);
            let (before, since) = moments.split_at(watcher.floor.min(moments.len()));
            let was = |moment: &crate::Moment| is_status_of(moment, body);
            if !since.iter().rev().any(was) && before.iter().any(was) {
                return Err(format!("the status of {episode:?} follows what came after it"));
            }
        }
        Body::Parts { episode, .. } => {
            if newest_shown.newest.is_some_and(|newest| *episode < newest) {
                return Err(format!("a part of {episode:?} follows {:?}", newest_shown.newest));
            }
            if newest_shown.voided.is_some_and(|voided| *episode <= voided) {
                return Err(format!("a part of {episode:?} follows its preview_reset"));
            }
            newest_shown.newest = newest_shown.newest.max(Some(*episode));
            if episode.history_version < watcher.view.newest_revision() {
                return Err(format!("a part of {episode:?} follows the message that ended it"));
            }
            let last_status = watcher.view.status.as_ref().filter(|status| status.episode == *episode);
            let producer = seen.index.run(watcher.chat, *episode).map(|run| &run.replica);
            if let (Some(last_status), Some(producer)) = (last_status, producer)
                && last_status.worker.as_ref() != Some(producer)
            {
                return Err(format!(
                    "a part of {episode:?} by {producer} follows the status of {:?}",
                    last_status.worker
                ));
            }
        }
        _ => {}
    }
    Ok(())
}
