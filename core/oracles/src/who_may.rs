//! S10: a stream, a send or a relay acts for an authenticated caller who may see the chat, from start to end. Who may is
//! what the row says: what is told was committed while it was there for the caller, and what is changed is something that
//! the caller may change.
//! A denial is final, visible, and not retried for ever.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_machine::{ChatId, Command, Rejection, Version};

use crate::{
    Answer, Committed, Evidence, EvidenceIndex, Life, Moment, Name, Oracle, Ruling, Seen, StreamEnd, StreamId,
};

/// A denied replica dials once for each lease it hears of, and once for each viewer that comes anew. Dials in flight at
/// the time of the denial come on top: this many are tolerated.
const DIALS_BESIDE: u64 = 4;

#[derive(Clone, Debug, Default)]
pub(crate) struct WhoMay {
    denied: BTreeMap<(Name, Name), Denied>,
    refused: BTreeMap<(Name, Name), bool>,
    /// How much was committed of a stream's chat when it began.
    began: BTreeMap<StreamId, usize>,
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
            Evidence::Sent { stream, event } | Evidence::Saw { stream, event } => {
                seen.ask();
                judge_event(index, *stream, event.cursor.snapshot_version)
            }
            Evidence::Asked { caller, key, keyed: false, .. } => {
                self.unkept.insert((caller.clone(), key.clone()));
                Ok(())
            }
            Evidence::Answered { caller, key, chat, answer } => {
                seen.ask();
                if answer.is_accepted() {
                    judge_answer(index, caller, *chat)?;
                }
                self.judge_final(caller, key, answer)
            }
            Evidence::Committed(change) => {
                if let Command::Acquire { replica, .. } = &change.command {
                    let denying = self.denied.iter_mut().filter(|((_, to), _)| **to == *replica.as_str());
                    denying.for_each(|(_, denied)| denied.leases += 1);
                }
                match &change.caller {
                    Some(caller) => judge_change(index, caller, change),
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
            Evidence::StreamEnded { stream, how } => {
                let began = self.began.remove(stream).unwrap_or_default();
                match how {
                    StreamEnd::Unshared => {
                        seen.ask();
                        judge_end(index, *stream, began)
                    }
                    _ => Ok(()),
                }
            }
            Evidence::Watches { stream, chat, on, .. } => {
                let committed = index.past(*chat).map_or(0, |past| past.moments.len());
                self.began.insert(*stream, committed);
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

/// What is told at a version was there for the caller at that version.
fn judge_event(index: &EvidenceIndex, stream: StreamId, version: Version) -> Ruling {
    let Some(stream) = index.stream(stream) else { return Ok(()) };
    let past = index.past(stream.chat);
    // A cursor that a viewer brought may have a version that never was.
    let is_there = past.is_some_and(|past| match past.at_version(version) {
        Some(state) => state.is_there_for(&stream.caller),
        None => past.was_there_for(&stream.caller),
    });
    if is_there {
        return Ok(());
    }
    Err(format!("chat {} is not there for {}, who is told of it at {version:?}", stream.chat, stream.caller))
}

/// Nobody is shut out who could see the chat all the time.
fn judge_end(index: &EvidenceIndex, stream: StreamId, began: usize) -> Ruling {
    let Some(stream) = index.stream(stream) else { return Ok(()) };
    let since = index.past(stream.chat).map(|past| &past.moments[began.saturating_sub(1)..]);
    let is_shut_out = |moment: &Moment| !moment.state.is_there_for(&stream.caller);
    if since.is_some_and(|since| since.iter().any(is_shut_out)) {
        return Ok(());
    }
    Err(format!("chat {} is there for {}, whose stream was ended", stream.chat, stream.caller))
}

/// What was accepted once may be told again later, though nothing else may.
fn judge_answer(index: &EvidenceIndex, caller: &Name, chat: ChatId) -> Ruling {
    if index.past(chat).is_some_and(|past| past.was_there_for(caller)) {
        return Ok(());
    }
    Err(format!("chat {chat} is not there for {caller}, who is answered"))
}

fn judge_change(index: &EvidenceIndex, caller: &Name, change: &Committed) -> Ruling {
    let (before, after) = index.past(change.chat).expect("a change was committed").step();
    let leave = match before {
        Some(before) => before.state.check_leave(caller, &change.command),
        None if *after.state.owner == **caller => Ok(()),
        None => Err(Rejection::NoSuchChat),
    };
    let what = change.command.name();
    leave.map_err(|why| format!("{caller} may not {what} in chat {}, and does: {why}", change.chat))
}
