//! Draws users that a chat is shared with and taken from, and who watch it and write in it all the while, at other
//! replicas.

use std::time::Duration;

use mainstem_story::USER;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::Line;
use super::swarm::{Kind, OTHER, Swarm};
use crate::seed;

pub(super) fn draw(run: u64, swarm: &Swarm) -> Vec<Line> {
    if !swarm.is_on(Kind::Shares) {
        return vec![];
    }
    let mut rng = seed::stream(run, "shares");
    let mut lines = vec![];
    let chat = rng.random_range(0..swarm.chats);
    let (owner, chat) = (swarm.owner(chat), swarm.chat_name(chat));
    let guest = if owner == USER { OTHER } else { USER };
    let mut at = Duration::from_millis(rng.random_range(600..1_500));
    let mut say = |at, text| lines.push(Line { at, text });
    for nth in 0..rng.random_range(2..=4) {
        let [shares, unshares, writes] =
            [(); 3].map(|()| *swarm.replicas.choose(&mut rng).expect("there are replicas"));
        let may = if rng.random_bool(0.5) { "write" } else { "read" };
        say(at, format!("{owner} on {shares} shares with {guest} to {may} {chat}"));
        at += Duration::from_millis(rng.random_range(10..1_500));
        if nth == 0 {
            let on = swarm.replicas.choose(&mut rng).expect("there are replicas");
            say(at, format!("viewer Guest on {on} watches {chat} as {guest}"));
            at += Duration::from_millis(rng.random_range(10..1_000));
        }
        let what = match rng.random_range(0..3) {
            0 => format!("interrupts {chat}"),
            _ => format!("sends \"/model parts=30 every=30ms {chat}.a guest's {nth}\" to {chat}"),
        };
        say(at, format!("{guest} on {writes} {what}"));
        at += Duration::from_millis(rng.random_range(10..1_500));
        say(at, format!("{owner} on {unshares} unshares from {guest} {chat}"));
        at += Duration::from_millis(rng.random_range(10..2_000));
    }
    lines
}
