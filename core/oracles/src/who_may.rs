//! S10: a stream, a send or a relay acts for an authenticated caller who may see the chat, from start to end.
//! A denial is final, visible, and not retried for ever.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_machine::{ChatId, Command};

use crate::{Answer, Evidence, EvidenceIndex, Life, Name, Oracle, Ruling, Seen, StreamId};

/// A denied replica dials once for each lease it hears of, and once for each viewer that comes anew. Dials in flight at
/// the time of the denial come on top: this many are tolerated.
const DIALS_BESIDE: u64 = 4;

#[derive(Clone, Debug, Default)]
pub(crate) struct WhoMay {
    denied: BTreeMap<(Name, Name), Denied>,
    refused: BTreeMap<(Name, Name), bool>,
    /// Requests whose refusal is not kept.
    unkept: BTreeSet<(Name, Name)>,
}

#[derive(Clone, Debug, Default)]
struct Denied {
    dials: u64,
    /// Leases that the denying replica held then, and those it acquired since.
    leases: u64,
    /// Viewers that came since: a chat that nobody watched any more is forgotten, its denial too.
    came: u64,
}

impl Oracle for WhoMay {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let index = seen.index;
        match seen.evidence {
            Evidence::Sent { stream, .. } | Evidence::Saw { stream, .. } => {
                seen.ask();
                judge_stream(index, *stream)
            }
            Evidence::Asked { caller, key, keyed: false, .. } => {
                self.unkept.insert((caller.clone(), key.clone()));
                Ok(())
            }
            Evidence::Answered { caller, key, chat, answer } => {
                seen.ask();
                if answer.is_accepted() {
                    judge_caller(index, caller, *chat, "is answered")?;
                }
                self.judge_final(caller, key, answer)
            }
            Evidence::Committed(change) => {
                if let Command::Acquire { replica, .. } = &change.command {
                    let denying = self.denied.iter_mut().filter(|((_, to), _)| **to == *replica.as_str());
                    denying.for_each(|(_, denied)| denied.leases += 1);
                }
                match &change.caller {
                    Some(caller) => judge_caller(index, caller, change.chat, "changes it"),
                    None => Ok(()),
                }
            }
            Evidence::Denies { from, to } => {
                let held = index.chats().filter_map(|(_, past)| past.present()?.state.worker.as_ref());
                let leases = held.filter(|worker| worker.as_str() == &**to).count() as u64;
                let denied = Denied { dials: 0, leases, came: 0 };
                self.denied.entry((from.clone(), to.clone())).or_insert(denied);
                Ok(())
            }
            Evidence::Watches { on, .. } => {
                let denied = self.denied.iter_mut().filter(|((from, _), _)| from == on);
                denied.for_each(|(_, denied)| denied.came += 1);
                Ok(())
            }
            // A restarted replica does not remember the denial.
            Evidence::Lived { replica, life: Life::Up } => {
                let mine = self.denied.iter_mut().filter(|((from, _), _)| from == replica);
                mine.for_each(|(_, denied)| denied.dials = 0);
                Ok(())
            }
            // A restarted replica may have another secret; if the denial persists, it is reported again.
            Evidence::Lived { replica, life: Life::Crashed | Life::Vanished } => {
                self.denied.retain(|(from, to), _| from != replica && to != replica);
                Ok(())
            }
            Evidence::Dialed { from, to } => {
                let Some(denied) = self.denied.get_mut(&(from.clone(), to.clone())) else { return Ok(()) };
                seen.ask();
                // If a fault affects the link, the dial may fail because of that.
                let lives = &index.lives;
                if seen.is_excused(lives.marks.dials(from, to, seen.at).or_else(|| lives.rests(to))) {
                    return Ok(());
                }
                denied.dials += 1;
                if denied.dials > denied.leases + denied.came + DIALS_BESIDE {
                    return Err(format!(
                        "{from} dials {to} for the {}. time since it is denied, with {} leases to ask about, for {} viewers",
                        denied.dials, denied.leases, denied.came
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl WhoMay {
    /// A request that was rejected under a key is not accepted later.
    fn judge_final(&mut self, caller: &Name, key: &Name, answer: &Answer) -> Ruling {
        if self.unkept.contains(&(caller.clone(), key.clone())) {
            return Ok(());
        }
        let refused = self.refused.entry((caller.clone(), key.clone())).or_default();
        if *refused && answer.is_accepted() {
            return Err(format!("{key} of {caller} was refused, and is accepted now"));
        }
        *refused |= !answer.is_accepted();
        Ok(())
    }
}

fn judge_stream(index: &EvidenceIndex, stream: StreamId) -> Ruling {
    let Some(stream) = index.stream(stream) else { return Ok(()) };
    judge_caller(index, &stream.caller, stream.chat, "is told of it")
}

fn judge_caller(index: &EvidenceIndex, caller: &Name, chat: ChatId, does: &str) -> Ruling {
    let owner = index.past(chat).and_then(|past| past.owner());
    if owner == Some(&**caller) {
        return Ok(());
    }
    Err(format!("chat {chat} is not of {caller}, who {does}"))
}
