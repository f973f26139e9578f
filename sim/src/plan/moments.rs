//! Draws what meets: requests of one user to several chats at the same moment, and interrupts at the moment of a
//! drain.

use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Line;
use super::swarm::{Kind, Swarm};
use crate::seed;

/// How far an interrupt is from the drain that it meets.
const NEAR: Duration = Duration::from_millis(40);
/// All chats are there by then.
const CREATED: Duration = Duration::from_secs(1);

/// `lines`: what was drawn for the run so far.
pub(super) fn draw(run: u64, swarm: &Swarm, lines: &[Line]) -> Vec<Line> {
    let mut rng = seed::stream(run, "moments");
    let mut moments = vec![];
    let drains = lines.iter().filter(|line| line.text.ends_with(" drains") && line.at > CREATED + NEAR);
    for drain in drains.filter(|_| swarm.is_on(Kind::Interrupts)) {
        for chat in 0..swarm.chats {
            let at =
                drain.at - NEAR + Duration::from_millis(rng.random_range(0..2 * NEAR.as_millis() as u64));
            let on = swarm.replicas.choose(&mut rng).expect("there are replicas");
            let (user, chat) = (swarm.owner(chat), swarm.chat_name(chat));
            moments.push(Line { at, text: format!("{user} on {on} interrupts {chat}") });
        }
    }
    if swarm.chats > 1 {
        let at = Duration::from_millis(rng.random_range(2_000..15_000));
        let on = swarm.replicas.choose(&mut rng).expect("there are replicas");
        // Some of them under a key, and some without one.
        let keyless = swarm.is_on(Kind::WithoutKey);
        for chat in 0..swarm.chats {
            let (user, chat) = (swarm.owner(chat), swarm.chat_name(chat));
            let key = if keyless && rng.random_range(0..2) == 0 { " without a key" } else { "" };
            let text =
                format!("{user} on {on} sends \"/model parts=10 every=20ms {chat}.at once\" to {chat}{key}");
            moments.push(Line { at, text });
        }
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::super::Plan;

    #[test]
    fn drains_meet_interrupts_and_one_user_asks_several_chats_at_once() {
        let (mut met, mut together) = (0, 0);
        for seed in 0..200 {
            let lines = Plan::draw(seed).lines;
            let near = |text: &str, at: std::time::Duration| {
                lines
                    .iter()
                    .filter(|line| line.text.contains(text) && line.at.abs_diff(at) <= super::NEAR)
                    .count()
            };
            met += lines
                .iter()
                .filter(|line| line.text.ends_with(" drains") && near(" interrupts ", line.at) > 0)
                .count();
            together += usize::from(
                lines.iter().any(|line| line.text.contains("at once") && near("at once", line.at) > 1),
            );
        }
        assert!(met > 20 && together > 50, "{met} {together}");
    }
}
