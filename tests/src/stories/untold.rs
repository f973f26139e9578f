//! Sentences that cannot be told to real servers from outside.

use std::collections::BTreeSet;
use std::time::Duration;

use super::calls::STRUCK;
use mainstem_story::{
    BusFate, CallFault, Claim, DatabaseFate, Expectation, Keyed, LinkFate, Order, PlannedFault, ReplicaFate,
    Said, Script, Settings, Sight, Step, Story, UserOrder,
};

/// Leases that are waited for.
const LEASE_MAX: Duration = Duration::from_secs(5);

/// The parts of an answer of all kinds that come before the first one of data.
const CHAT_PARTS_MAX: u64 = 6;

/// Why a story cannot be told to real servers, with the line, 0 for the heading.
pub fn untold(story: &Story) -> Option<(usize, &'static str)> {
    let usual = Settings::default();
    let Settings { tail_messages_max, episode_bytes_max, vary, .. } = story.settings;
    let heading = if !story.wrong_secrets.is_empty() || !story.errors.is_empty() {
        Some("what replicas log is for other tests")
    } else if story.roaming || story.final_crash || !vary.is_zero() {
        Some("nothing is left to chance")
    } else if (tail_messages_max, episode_bytes_max) != (usual.tail_messages_max, usual.episode_bytes_max) {
        Some("servers are asked with their own limits")
    } else {
        None
    };
    if let Some(why) = heading {
        return Some((0, why));
    }
    let dies = |step: &Step| {
        let Step::Replica { fate, .. } = step else { return false };
        matches!(fate, ReplicaFate::Crashes | ReplicaFate::Pauses(_))
    };
    let long = story.settings.lease_ttl > LEASE_MAX;
    let viewers = story.sentences.iter().filter_map(|sentence| match &sentence.step {
        Step::Watch { viewer, .. } => Some(viewer.as_str()),
        _ => None,
    });
    let viewers: BTreeSet<_> = viewers.collect();
    let (mut said, mut reads_fail) = (BTreeSet::new(), false);
    story.sentences.iter().find_map(|sentence| {
        if let Step::Model { replica, chat, line } = &sentence.step {
            match line {
                Said::Parts(_) => drop(said.insert((replica, chat))),
                Said::Done if !said.remove(&(replica, chat)) => {
                    return Some((sentence.line, "a real model that says nothing has failed"));
                }
                _ => {}
            }
        }
        let is_read = |planned: &PlannedFault| planned.op.as_deref() == Some("snapshot");
        if matches!(&sentence.step, Step::CallFault(planned) if is_read(planned))
            && std::mem::replace(&mut reads_fail, true)
        {
            return Some((sentence.line, "how long reads fail is a race in real time"));
        }
        let why = match &sentence.step {
            _ if sentence.at.is_some() => Some("sentences have no times"),
            step if dies(step) && long => Some("its leases are too long to wait for"),
            step => lacks(step, &viewers),
        };
        why.map(|why| (sentence.line, why))
    })
}

/// What a provider cannot say, or not do.
fn lacks_words(script: &Script) -> Option<&'static str> {
    match script {
        _ if script.after.is_some() => Some("a stream of a provider breaks off without saying for how long"),
        _ if script.deaf => Some("a request that is cancelled is gone"),
        _ if script.kinds && script.parts > CHAT_PARTS_MAX => Some("Chat Completions has no blocks of data"),
        _ => None,
    }
}

fn lacks(step: &Step, viewers: &BTreeSet<&str>) -> Option<&'static str> {
    match step {
        Step::Watch { claim, .. } if *claim != Claim::Nothing => {
            Some("viewers come with their own cursor only")
        }
        Step::Watch { caller, .. } if caller != mainstem_story::USER => Some("there is one user"),
        Step::Resume { .. } | Step::Foresee { .. } => Some("viewers come with their own cursor only"),
        Step::Order { caller, .. } if caller != mainstem_story::USER => Some("there is one user"),
        Step::Order { key: Keyed::Named(_) | Keyed::Without, .. } | Step::Order { refused: true, .. } => {
            Some("each request has a key of its own")
        }
        Step::Order { again: Some(_), .. } => Some("no request is sent twice at once"),
        Step::Order { order: UserOrder::Send { text, .. } | UserOrder::EditLast { text, .. }, .. }
        | Step::Order { order: UserOrder::Other(Order::Edit { text, .. }), .. } => {
            Script::parse(text).and_then(|script| lacks_words(&script))
        }
        Step::Stranger { .. } => Some("there is one user"),
        Step::Model { line: Said::Text(_), .. } => Some("models say parts of their own"),
        Step::Model { line: Said::IgnoresCancellation, .. } => Some("a request that is cancelled is gone"),
        Step::Model { line: Said::Parts(100..), .. } => Some("nothing says when a socket is full"),
        Step::Dials { from, .. } if viewers.contains(from.as_str()) => Some("viewers are not in the way"),
        Step::Link { one, other, fate } => {
            let of_viewer = viewers.contains(one.as_str()) || viewers.contains(other.as_str());
            (of_viewer || *fate != LinkFate::Breaks).then_some("the way between replicas can only break")
        }
        Step::Flow { .. } => Some("the way between replicas can only break"),
        Step::Read { .. } => Some("nothing says when a socket is full"),
        Step::Notices { faults, .. } if !faults.scattered.is_zero() => Some("nothing is left to chance"),
        Step::Bus { fate: BusFate::GoesSilent | BusFate::Hangs, .. } => {
            Some("one connection listens for all chats, and is cut or not")
        }
        Step::Database { chat: Some(_), .. } | Step::CallFault(PlannedFault { chat: Some(_), .. }) => {
            Some("a connection is of all chats of a replica")
        }
        Step::Database { fate: DatabaseFate::Exhausted, .. } => Some("a pool is the replica's own"),
        Step::Database { fate: DatabaseFate::AnswersLate(_), .. } => Some("answers are late one by one"),
        Step::CallFault(PlannedFault { call_fault: CallFault::AnswerLate(_), .. }) => {
            Some("when a replica hears of its lease is not seen from outside")
        }
        Step::CallFault(PlannedFault { op, call_fault, replica, .. }) => {
            let is_known = op.as_deref().is_some_and(|op| STRUCK.contains(&op));
            let is_read =
                op.as_deref() == Some("snapshot") && *call_fault == CallFault::Refused && replica.is_some();
            (!is_known && !is_read).then_some("nothing tells which call it is")
        }
        Step::Replica {
            fate: ReplicaFate::Vanishes | ReplicaFate::RestartsWithWrongSecret | ReplicaFate::Drifts(_),
            ..
        } => Some("all replicas are on one machine"),
        Step::Within { expectation, .. } | Step::Assert(expectation) => match expectation {
            Expectation::Sees { sight: Sight::Error { code: Some(_) }, .. } => {
                Some("the codes of errors are the generator's")
            }
            _ => None,
        },
        _ => None,
    }
}
