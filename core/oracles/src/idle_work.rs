//! Chats that wait for a worker (L2, L3). They have to be acquired at once with notifications, and within one
//! poll interval without, if any replica can that no fault hampers.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{ChatId, Status, Time};

use crate::{Evidence, EvidenceIndex, Name, Ruling, Seen};

/// How long "at once" may take: a notice, a sync and an acquisition, each queued behind another one.
const AT_ONCE_MAX: Duration = Duration::from_secs(1);

/// The free chats in one status.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdleWork {
    due: BTreeMap<ChatId, Due>,
    soonest: Option<Time>,
}

#[derive(Clone, Debug)]
struct Due {
    /// Since when it is free, or since a replica became able to work.
    since: Time,
    /// When the commit was that made it free: whether that is heard of is decided then.
    freed: Time,
    /// Who committed that, and tells of it.
    by: Name,
    /// When it is judged next.
    until: Time,
}

impl IdleWork {
    pub(crate) fn observe(&mut self, seen: &Seen<'_>, status: Status) -> Ruling {
        if self.soonest.is_some_and(|soonest| soonest < seen.at) {
            let late = self.due.iter_mut().find(|(_, due)| due.until < seen.at);
            let ruling = late.map(|(chat, due)| (*chat, judge(seen, *chat, status, due)));
            if let Some((chat, Some(ruling))) = ruling {
                self.due.remove(&chat);
                self.find_soonest();
                return ruling.map_err(|since| {
                    format!(
                        "chat {chat} is {} and free since {since:?}, and was to be taken up",
                        status.as_str()
                    )
                });
            }
            self.find_soonest();
        }
        match seen.evidence {
            // A commit elsewhere may take the last free slot, or give one back.
            Evidence::Committed(_) => {
                let expected = able(seen.index, status).next().is_some();
                for (chat, past) in seen.index.chats() {
                    let free = past.last().filter(|last| last.is_free() && last.state.status == status);
                    let Some(last) = free.filter(|_| expected) else {
                        self.due.remove(&chat);
                        continue;
                    };
                    self.due.entry(chat).or_insert_with(|| {
                        seen.ask();
                        // Who changed it last tells of it, or has let its lease run out.
                        let (since, freed, by) = (seen.at, last.at, last.by.clone());
                        Due { since, freed, by, until: since + AT_ONCE_MAX }
                    });
                }
                self.find_soonest();
            }
            // Who comes to work now is told of nothing, and looks at what there is.
            Evidence::Lived { .. } | Evidence::MayWork { .. } => {
                for due in self.due.values_mut() {
                    (due.since, due.until) =
                        (seen.at, seen.at + seen.index.settings.poll_interval + AT_ONCE_MAX);
                }
                self.find_soonest();
            }
            _ => {}
        }
        Ok(())
    }

    fn find_soonest(&mut self) {
        self.soonest = self.due.values().map(|due| due.until).min();
    }
}

/// `None`: a replica may still take its time. `Err`: since when it waits for nobody's sake.
fn judge(seen: &Seen<'_>, chat: ChatId, status: Status, due: &mut Due) -> Option<Result<(), Time>> {
    let (lives, poll) = (&seen.index.lives, seen.index.settings.poll_interval);
    let mut excuse = None;
    let mut later = None;
    for name in able(seen.index, status) {
        // Finishing an interruption needs no slot.
        let hampered = match status {
            Status::Interrupting => lives.hampered(name, chat, due.since),
            _ => seen.index.kept_from_a_slot(name, chat, due.since),
        };
        if let Some(kind) = hampered {
            excuse = excuse.or(Some(kind));
            continue;
        }
        let until = due.since + lives.notice_of(&due.by, name, chat, due.freed, poll) + AT_ONCE_MAX;
        if until < seen.at {
            return Some(Err(due.since));
        }
        later = later.max(Some(until));
    }
    match later {
        Some(until) => {
            due.until = until;
            None
        }
        // Without anybody who is able there is nothing to demand.
        None => {
            seen.is_excused(excuse);
            Some(Ok(()))
        }
    }
}

/// A chat that still has this status.
pub(crate) fn still(index: &EvidenceIndex, status: Status) -> Option<String> {
    index.chats().find_map(|(chat, past)| {
        let moment = past.present().filter(|moment| !moment.deleted && moment.state.status == status)?;
        Some(format!("chat {chat} is still {}, since {:?}", status.as_str(), moment.at))
    })
}

/// Replicas that can take up such a chat now. Finishing an interruption needs no slot.
fn able(index: &EvidenceIndex, status: Status) -> impl Iterator<Item = &Name> {
    let any = index.lives.able().filter(move |_| status == Status::Interrupting);
    any.chain(index.with_a_slot().filter(move |_| status != Status::Interrupting))
}
