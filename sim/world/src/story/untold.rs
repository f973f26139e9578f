//! Sentences that the pure world cannot tell: what they are about lies in the driver, or in what is around it.

use mainstem_story::{
    BusFate, BusFaults, DatabaseFate, Keyed, LinkFate, Order, PlannedFault, ReplicaFate, Said, Script, Step,
    Story, UserOrder,
};

/// A sentence that cannot be told, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// Where it stands, from 1; 0 for the heading.
    pub line: usize,
    /// What the world lacks.
    pub why: &'static str,
}

/// The first thing of a story that the pure world cannot tell.
pub fn untold(story: &Story) -> Option<Untold> {
    let heading = if story.roaming || story.final_crash { Some("viewers do not roam") } else { None };
    if let Some(why) = heading {
        return Some(Untold { line: 0, why });
    }
    let viewers: Vec<_> = story
        .sentences
        .iter()
        .filter_map(|sentence| match &sentence.step {
            Step::Watch { viewer, .. } => Some(viewer.as_str()),
            _ => None,
        })
        .collect();
    story.sentences.iter().find_map(|sentence| {
        let line = sentence.line;
        if sentence.at.is_some() {
            return Some(Untold { line, why: "sentences have no times" });
        }
        lacks(&sentence.step, &viewers).map(|why| Untold { line, why })
    })
}

fn lacks(step: &Step, viewers: &[&str]) -> Option<&'static str> {
    match step {
        Step::Watch { caller, .. } if caller != mainstem_story::USER => {
            Some("viewers of a story are of one user")
        }
        Step::Order { caller, .. } if caller != mainstem_story::USER => {
            Some("requests of a story are of one user")
        }
        Step::Order { key: Keyed::Named(_) | Keyed::Without, .. } | Step::Order { refused: true, .. } => {
            Some("each request has a key of its own")
        }
        Step::Order { order: UserOrder::Send { text, .. } | UserOrder::EditLast { text, .. }, .. }
        | Step::Order { order: UserOrder::Other(Order::Edit { text, .. }), .. } => lacks_of_script(text),
        Step::Model { line: Said::Text(_), .. } => Some("models say parts of their own"),
        Step::Model { line: Said::IgnoresCancellation, .. } => Some("a model that is cancelled is gone"),
        Step::Dials { from, .. } if viewers.contains(&from.as_str()) => Some("viewers do not dial"),
        Step::Flow { from, to, .. } if viewers.contains(&from.as_str()) || viewers.contains(&to.as_str()) => {
            Some("what a viewer is sent does not fill a link")
        }
        Step::Link { fate, .. } if *fate != LinkFate::Breaks => Some("links have no silence and no length"),
        Step::Notices { faults: BusFaults { scattered, .. }, .. } if !scattered.is_zero() => {
            Some("nothing is left to chance")
        }
        Step::Bus { fate: BusFate::GoesSilent, .. } => Some("a bus that breaks is heard to"),
        Step::Database { chat: Some(_), .. } | Step::CallFault(PlannedFault { chat: Some(_), .. }) => {
            Some("what befalls the database befalls all chats of a replica")
        }
        Step::Database { fate: DatabaseFate::AnswersLate(late), .. } if !late.scattered.is_zero() => {
            Some("nothing is left to chance")
        }
        Step::Replica { fate: ReplicaFate::Vanishes, .. } => Some("links have no silence and no length"),
        _ => None,
    }
}

/// What a message asks of a model that the world lacks.
fn lacks_of_script(text: &str) -> Option<&'static str> {
    let script = Script::parse(text)?;
    if script.deaf {
        Some("a model that is cancelled is gone")
    } else if script.size > 0 {
        Some("models say parts of their own")
    } else {
        None
    }
}
