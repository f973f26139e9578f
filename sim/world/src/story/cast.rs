//! Who takes part in a story, and the world that has room for them.

use std::collections::BTreeMap;

use mainstem_story::{Script, Sentence, Step, Story, UserOrder};

use crate::choice::ViewerAt;
use crate::setup::{Budget, Setup, Tools};

/// The chats and the viewers of a story. A viewer has a place whose number says which chat it watches.
pub(super) fn cast(story: &Story) -> (Vec<String>, BTreeMap<String, ViewerAt>) {
    let mut chats: Vec<String> = vec![];
    for sentence in &story.sentences {
        if let Step::Order { chat, .. } | Step::Watch { chat, .. } = &sentence.step
            && !chats.contains(chat)
        {
            chats.push(chat.clone());
        }
    }
    let mut slots = BTreeMap::new();
    let mut of_chat: BTreeMap<&str, usize> = BTreeMap::new();
    let mut taken = vec![0; chats.len()];
    for sentence in &story.sentences {
        let (viewer, at) = match &sentence.step {
            Step::Watch { viewer, chat, .. } => (viewer, chats.iter().position(|known| known == chat)),
            Step::Resume { viewer, of, .. } | Step::Foresee { viewer, of, .. } => {
                (viewer, of_chat.get(of.as_str()).copied())
            }
            _ => continue,
        };
        let at = at.expect("the parser knows all chats and viewers");
        of_chat.insert(viewer, at);
        slots.insert(viewer.clone(), ViewerAt((at + taken[at] * chats.len()) as u8));
        taken[at] += 1;
    }
    (chats, slots)
}

pub(super) fn setup(story: &Story, chats: &[String], slots: &BTreeMap<String, ViewerAt>) -> Setup {
    let settings = &story.settings;
    let all = u16::MAX;
    let script = |sentence: &Sentence| match &sentence.step {
        Step::Order { order: UserOrder::Send { text, .. }, .. } => Script::parse(text),
        _ => None,
    };
    let scripts = || story.sentences.iter().filter_map(script);
    let tools = match scripts().any(|script| script.calls) {
        true => Tools::Client,
        false if scripts().any(|script| script.tools) => Tools::Server,
        false => Tools::None,
    };
    Setup {
        replicas: story.replicas.len() as u8,
        chats: chats.len() as u8,
        users: 1,
        friends: 0,
        viewers: slots.values().map(|at| at.0 + 1).max().unwrap_or(0),
        workers: settings.workers,
        lease_ttl: settings.lease_ttl,
        poll_interval: settings.poll_interval,
        episode_bytes_max: settings.episode_bytes_max,
        tail_messages_max: settings.tail_messages_max,
        heartbeat: Some(settings.heartbeat),
        tools,
        empty: true,
        budget: Budget {
            faults: all,
            delays: all,
            requests: all,
            moves: all,
            parts: all,
            passes: all,
            claims: all,
            strangers: all,
            drifts: all,
        },
    }
}
