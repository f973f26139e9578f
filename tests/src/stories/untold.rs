//! Sentences that cannot be told to real servers from outside.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_story::{
    Claim, Expectation, Keyed, LinkFate, Order, ReplicaFate, Said, Settings, Sight, Step, Story, UserOrder,
};

/// Leases that are waited for.
const LEASE_MAX: Duration = Duration::from_secs(5);

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
    } else if story.settings.poll_interval > story.settings.lease_ttl / 2 {
        Some("servers look for news at least twice in a lease")
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
    story.sentences.iter().find_map(|sentence| {
        let why = match &sentence.step {
            _ if sentence.at.is_some() => Some("sentences have no times"),
            step if dies(step) && long => Some("its leases are too long to wait for"),
            step => lacks(step, &viewers),
        };
        why.map(|why| (sentence.line, why))
    })
}

fn lacks(step: &Step, viewers: &BTreeSet<&str>) -> Option<&'static str> {
    match step {
        Step::Watch { claim, .. } if *claim != Claim::Nothing => {
            Some("viewers come with their own cursor only")
        }
        Step::Watch { caller, .. } if caller != mainstem_story::USER => Some("there is one user"),
        Step::Resume { .. } | Step::Foresee { .. } => Some("viewers come with their own cursor only"),
        Step::Order { chat, .. } | Step::Watch { chat, .. } if chat != "chat" => Some("there is one chat"),
        Step::Order { caller, .. } if caller != mainstem_story::USER => Some("there is one user"),
        Step::Order { key: Keyed::Named(_) | Keyed::Without, .. } | Step::Order { refused: true, .. } => {
            Some("each request has a key of its own")
        }
        Step::Order { again: Some(_), .. } => Some("no request is sent twice at once"),
        Step::Order { order: UserOrder::Send { text, .. } | UserOrder::EditLast { text, .. }, .. }
        | Step::Order { order: UserOrder::Other(Order::Edit { text, .. }), .. } => {
            text.starts_with("/model").then_some("models do not answer by themselves")
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
        Step::Notices { .. } | Step::Bus { .. } => Some("nobody stands between a replica and its notices"),
        Step::Database { .. } | Step::CallFault(_) => {
            Some("nobody stands between a replica and its database")
        }
        Step::Replica {
            fate: ReplicaFate::Vanishes | ReplicaFate::RestartsWithWrongSecret | ReplicaFate::Drifts(_),
            ..
        } => Some("all replicas are on one machine"),
        Step::Within { expectation, .. } | Step::Assert(expectation) => match expectation {
            Expectation::Sees { sight: Sight::Error { code: Some(_) }, .. } => {
                Some("the codes of errors are the generator's")
            }
            Expectation::Sees { sight: Sight::Synced, .. } => {
                Some("what comes before the end of the catch-up is a race in real time")
            }
            Expectation::Sees { sight: Sight::Retry { over: false }, .. } => {
                Some("a retry may be over before a viewer comes")
            }
            _ => None,
        },
        _ => None,
    }
}
