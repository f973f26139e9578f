//! S2: of each episode a stream carries a contiguous run of parts, each once, in order, from 1 or from the
//! cursor; and each is what the model said at that place.

use mainstem_machine::{Body, Cursor, Episode, Seq, ShownTo};

use crate::chains::{self, Event};
use crate::{Begin, Record, Violation};

pub(crate) fn check(record: &Record, found: &mut Vec<Violation>) {
    for chain in chains::of(record) {
        let mut shown: Option<(Episode, Seq)> = None;
        chain.walk(found, |_, event| {
            let event = match event {
                Event::Begins(stream) => {
                    if !matches!(stream.from, Begin::At(_)) {
                        shown = None;
                    }
                    return Ok(());
                }
                Event::Told(event) => event,
            };
            let Body::Parts { episode, first_seq, last_seq, text } = &event.body else {
                return Ok(());
            };
            let before = match shown {
                Some((of, last)) if of == *episode => last,
                _ => Seq(0),
            };
            if *first_seq != before.next() || last_seq < first_seq {
                let why = format!("parts {first_seq}..{last_seq} of {episode:?} come after part {before}");
                return Err(("S2", why));
            }
            judge_cursor(&event.cursor, *episode, *last_seq)?;
            shown = Some((*episode, *last_seq));
            let run = record.run(chain.chat, *episode).ok_or_else(|| {
                ("S2", format!("parts of {episode:?} are told, and no model was asked for it"))
            })?;
            let said = run.parts.get(first_seq.0 as usize - 1..last_seq.0 as usize);
            match said {
                Some(said) if said.concat().as_bytes() == text => Ok(()),
                _ => {
                    Err(("S2", format!("parts {first_seq}..{last_seq} of {episode:?} are not what was said")))
                }
            }
        });
    }
}

/// The cursor resumes right after what it came with.
fn judge_cursor(cursor: &Cursor, episode: Episode, last: Seq) -> Result<(), (&'static str, String)> {
    match cursor.shown {
        Some(shown) if shown.episode == episode && shown.to == ShownTo::Seq(last) => Ok(()),
        other => Err(("S2", format!("the cursor after part {last} of {episode:?} stands at {other:?}"))),
    }
}
