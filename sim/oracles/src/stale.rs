//! S3: once a stream has shown a newer history, attempt or worker, nothing of an older episode follows.

use mainstem_machine::{Body, Episode};

use crate::chains::{self, Event};
use crate::{Begin, Record, View, Violation};

pub(crate) fn check(record: &Record, found: &mut Vec<Violation>) {
    for chain in chains::of(record) {
        let mut newest: Option<Episode> = None;
        let mut voided: Option<Episode> = None;
        chain.walk(found, |view, event| {
            let event = match event {
                Event::Begins(stream) => {
                    if !matches!(stream.from, Begin::At(_)) {
                        (newest, voided) = (None, None);
                    }
                    return Ok(());
                }
                Event::Told(event) => event,
            };
            match &event.body {
                Body::PreviewReset { episode, .. } => voided = voided.max(Some(*episode)),
                Body::Status { history_version, attempt, .. } => {
                    let episode = Episode { history_version: *history_version, attempt: *attempt };
                    if newest.is_some_and(|newest| episode < newest) {
                        return Err(("S3", format!("the status of {episode:?} follows that of {newest:?}")));
                    }
                    newest = Some(episode);
                }
                Body::Parts { episode, .. } => {
                    if newest.is_some_and(|newest| *episode < newest) {
                        return Err(("S3", format!("a part of {episode:?} follows {newest:?}")));
                    }
                    if voided.is_some_and(|voided| *episode <= voided) {
                        return Err(("S3", format!("a part of {episode:?} follows its preview_reset")));
                    }
                    judge_part(record, chain.chat, view, *episode)?;
                    newest = newest.max(Some(*episode));
                }
                _ => {}
            }
            Ok(())
        });
    }
}

fn judge_part(
    record: &Record,
    chat: mainstem_machine::ChatId,
    view: &View,
    episode: Episode,
) -> Result<(), (&'static str, String)> {
    if episode.history_version < view.newest_revision() {
        return Err(("S3", format!("a part of {episode:?} follows the message that ended it")));
    }
    let Some(status) = view.status.as_ref().filter(|status| status.episode == episode) else {
        return Err(("S8", format!("a part of {episode:?} comes before the status that announces it")));
    };
    let producer = record.run(chat, episode).map(|run| &run.replica);
    if producer.is_some() && status.worker.as_ref() != producer {
        let why = format!("a part of {episode:?} by {producer:?} follows the status of {:?}", status.worker);
        return Err(("S3", why));
    }
    Ok(())
}
