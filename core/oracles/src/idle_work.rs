//! Chats that wait for a worker (L2, L3). They have to be acquired at once with notifications, and within one
//! poll interval without.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{ChatId, Status, Time};

use crate::{Evidence, EvidenceIndex, Name, Ruling, Seen};

/// How long "at once" may take: a notice, a sync and an acquisition, each queued behind another one.
const AT_ONCE_MAX: Duration = Duration::from_secs(1);

/// The free chats in one status, with the time by which each has to be acquired.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdleWork {
    due: BTreeMap<ChatId, Time>,
    soonest: Option<Time>,
}

impl IdleWork {
    pub(crate) fn observe(&mut self, seen: &Seen<'_>, status: Status) -> Ruling {
        if self.soonest.is_some_and(|soonest| soonest < seen.at) {
            let late = self.due.iter().find(|(_, due)| **due < seen.at).map(|(chat, due)| (*chat, *due));
            if let Some((chat, due)) = late {
                self.due.remove(&chat);
                self.soonest = self.due.values().min().copied();
                let status = status.as_str();
                return Err(format!("chat {chat} is {status} and free, and was to be taken up by {due:?}"));
            }
        }
        match seen.evidence {
            // A commit elsewhere may take the last free slot, or give one back.
            Evidence::Committed(_) => {
                let poll = seen.index.settings.poll_interval;
                let wait = if seen.index.lives.is_notified(seen.at) { Duration::ZERO } else { poll };
                let expected = can_be_expected(seen.index, seen.at, status);
                for (chat, past) in seen.index.chats() {
                    let waits = past.last().is_some_and(|last| last.is_free() && last.state.status == status);
                    if waits && expected {
                        self.due.entry(chat).or_insert(seen.at + wait + AT_ONCE_MAX);
                    } else {
                        self.due.remove(&chat);
                    }
                }
                self.soonest = self.due.values().min().copied();
            }
            // While a fault is in force, no acquisition is guaranteed.
            Evidence::Fault { .. } | Evidence::Lived { .. } | Evidence::MayWork { .. } => {
                self.due.clear();
                self.soonest = None;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A chat that still has this status.
pub(crate) fn still(index: &EvidenceIndex, status: Status) -> Option<String> {
    index.chats().find_map(|(chat, past)| {
        let moment = past.present().filter(|moment| !moment.deleted && moment.state.status == status)?;
        Some(format!("chat {chat} is still {}, since {:?}", status.as_str(), moment.at))
    })
}

/// Whether no fault is in force, and a replica has a free slot. Finishing an interruption needs none.
fn can_be_expected(index: &EvidenceIndex, at: Time, status: Status) -> bool {
    let held = |name: &str| {
        let workers = index.chats().filter_map(|(_, past)| past.present()?.state.worker.as_ref());
        workers.filter(|worker| worker.as_str() == name).count()
    };
    let has_slot = |name: &Name| status == Status::Interrupting || held(name) < index.settings.workers;
    index.lives.is_calm(at) && index.lives.able().any(has_slot)
}
