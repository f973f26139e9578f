//! S2: of each episode, a stream carries a contiguous sequence of parts, each once and in order, from part 1
//! or from the cursor; and each part is what the model generated at that position.

use std::collections::BTreeMap;

use mainstem_machine::{Body, ChatId, Cursor, Episode, PreviewProgress, Seq};

use crate::shared::Shared;
use crate::{Begin, Evidence, Name, Oracle, Ruling, Seen};

#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    /// The last part shown to each viewer.
    shown: Shared<BTreeMap<(Name, ChatId), (Episode, Seq)>>,
}

impl Oracle for Parts {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Watches { viewer, chat, from: Begin::Fresh | Begin::After(_), .. } => {
                self.shown.remove(&(viewer.clone(), *chat));
            }
            Evidence::Saw { stream, event } => {
                let Some(watcher) = seen.index.watcher(*stream) else { return Ok(()) };
                let who = format_args!("{} on {}", watcher.name, watcher.on);
                let Body::Parts { episode, first_seq, last_seq, place, block, text } = &event.body else {
                    let shown = watcher.view.preview.as_ref().filter(|_| !ends_a_preview(&event.body));
                    return shown.map_or(Ok(()), |shown| {
                        judge_cursor(&event.cursor, shown.episode, shown.last_seq)
                            .map_err(|why| format!("{who}: {why}"))
                    });
                };
                seen.ask();
                let shown =
                    self.shown.entry((watcher.name.clone(), watcher.chat)).or_insert((*episode, Seq(0)));
                let before = if shown.0 == *episode { shown.1 } else { Seq(0) };
                *shown = (*episode, *last_seq);
                if *first_seq != before.next() || last_seq < first_seq {
                    return Err(format!(
                        "{who}: parts {first_seq}..{last_seq} of {episode:?} come after part {before}"
                    ));
                }
                judge_cursor(&event.cursor, *episode, *last_seq).map_err(|why| format!("{who}: {why}"))?;
                let run = seen.index.run(watcher.chat, *episode).ok_or_else(|| {
                    format!("{who}: parts of {episode:?} are sent, and no model generated it")
                })?;
                if run.block_of(*first_seq, *last_seq) != Some((*place as usize, block)) {
                    return Err(format!(
                        "{who}: parts {first_seq}..{last_seq} of {episode:?} are not of one block, or of another"
                    ));
                }
                if run.slice(*first_seq, *last_seq).map(str::as_bytes) != Some(text) {
                    return Err(format!(
                        "{who}: parts {first_seq}..{last_seq} of {episode:?} are not what was said"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn ends_a_preview(body: &Body) -> bool {
    matches!(body, Body::Message(_) | Body::PreviewReset { .. } | Body::HistoryReset)
}

/// The cursor of an event resumes right after that event.
fn judge_cursor(cursor: &Cursor, episode: Episode, last: Seq) -> Ruling {
    match cursor.preview {
        Some(shown) if shown.episode == episode && shown.to == PreviewProgress::Seq(last) => Ok(()),
        other => Err(format!("the cursor after part {last} of {episode:?} stands at {other:?}")),
    }
}
