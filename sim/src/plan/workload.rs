//! Draws what clients do in a run: viewers come, go, move and stop reading for a while; users send,
//! interrupt, edit, regenerate, promote, withdraw and delete, from several devices at once.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::swarm::{Kind, Swarm, weighted};
use super::{Line, callers, returns, shares};
use crate::seed;

/// The longest time between two requests of users on one chat.
const PACE: Duration = Duration::from_millis(1_800);

pub(super) fn draw(run: u64, swarm: &Swarm) -> Vec<Line> {
    let mut rng = seed::stream(run, "workload");
    let mut lines = vec![];
    for chat in 0..swarm.chats {
        lines.extend(talk(&mut rng, swarm, chat));
    }
    let mut there = vec![];
    for viewer in 0..swarm.viewers {
        let (name, chat) = (format!("V{}", viewer + 1), rng.random_range(0..swarm.chats));
        let watched = watch(&mut rng, swarm, &name, chat);
        there.push((name, watched[0].at));
        lines.extend(watched);
    }
    lines.extend(returns::draw(run, swarm, &there));
    lines.extend(callers::draw(run, swarm));
    lines.extend(shares::draw(run, swarm));
    lines
}

fn line(at: Duration, text: String) -> Line {
    Line { at, text }
}

fn replica(rng: &mut StdRng, swarm: &Swarm) -> &'static str {
    swarm.replicas.choose(rng).expect("there are replicas")
}

/// What users do with one chat.
fn talk(rng: &mut StdRng, swarm: &Swarm, chat: usize) -> Vec<Line> {
    let (user, chat) = (swarm.owner(chat), &swarm.chat_name(chat));
    let mut lines = vec![];
    let mut at = Duration::from_millis(rng.random_range(0..500));
    let mut sent = 0;
    let choices = [
        (10, None),
        (5, Some(Kind::Interrupts)),
        (3, Some(Kind::InterruptingSends)),
        (2, Some(Kind::Edits)),
        (3, Some(Kind::Regenerates)),
        (2, Some(Kind::Promotes)),
        (1, Some(Kind::Withdraws)),
        (4, Some(Kind::Answers)),
        (1, Some(Kind::Stranger)),
    ];
    let choices: Vec<_> =
        choices.into_iter().filter(|(_, kind)| kind.is_none_or(|kind| swarm.is_on(kind))).collect();
    let deletes = swarm.is_on(Kind::Deletes) && rng.random_range(0..4) == 0;
    while at < swarm.span {
        let on = replica(rng, swarm);
        let and = match swarm.is_on(Kind::AskedTwice) && rng.random_range(0..6) == 0 {
            true => format!(" and {}", replica(rng, swarm)),
            false => String::new(),
        };
        let choice = if sent == 0 { None } else { weighted(rng, &choices) };
        let but = |rng: &mut StdRng| match rng.random_range(0..3) {
            0 => format!(" but {}", rng.random_range(1..4)),
            _ => String::new(),
        };
        let what = match choice {
            None | Some(Kind::InterruptingSends) => {
                sent += 1;
                let how = if choice.is_some() { " interrupting" } else { "" };
                format!("{user} on {on}{and} sends \"{} {chat}.{sent}\"{how} to {chat}", script(rng, swarm))
            }
            Some(Kind::Interrupts) => format!("{user} on {on}{and} interrupts {chat}"),
            Some(Kind::Edits) => {
                sent += 1;
                let (but, script) = (but(rng), script(rng, swarm));
                format!("{user} on {on}{and} edits last message{but} to \"{script} {chat}.{sent}\" {chat}")
            }
            Some(Kind::Regenerates) => {
                let which = match rng.random_range(0..3) {
                    0 => format!(" last message{}", but(rng)),
                    _ => String::new(),
                };
                // Most chats are busy when they are asked.
                let how = if rng.random_range(0..4) == 0 { "" } else { " interrupting" };
                format!("{user} on {on}{and} regenerates{which}{how} {chat}")
            }
            Some(Kind::Promotes) => format!("{user} on {on}{and} promotes last{} {chat}", but(rng)),
            Some(Kind::Withdraws) => format!("{user} on {on}{and} withdraws last{} {chat}", but(rng)),
            Some(Kind::Answers) => format!("{user} on {on}{and} answers the calls {chat}"),
            Some(_) => format!("stranger on {on} tries {chat}"),
        };
        lines.push(line(at, what));
        // Now and then, several devices act at the same moment.
        at += match rng.random_range(0..4) {
            0 => Duration::from_millis(rng.random_range(0..30)),
            _ => Duration::from_millis(rng.random_range(0..PACE.as_millis() as u64)),
        };
    }
    if deletes {
        let (on, at) = (replica(rng, swarm), Duration::from_millis(rng.random_range(8_000..17_000)));
        lines.push(line(at, format!("{user} on {on} deletes {chat}")));
    }
    lines
}

/// Draws the script of the model.
fn script(rng: &mut StdRng, swarm: &Swarm) -> String {
    let parts: u64 = *[3, 10, 30, 60, 120].choose(rng).expect("there are some");
    // Slow answers are still on their way when leases run out.
    let every: u64 = *[1, 5, 10, 20, 50, 250].choose(rng).expect("there are some");
    let mut script = format!("/model parts={parts} every={every}ms");
    // No draw of its own, so that it moves no other.
    if (parts / 10 + every).is_multiple_of(2) {
        script.push_str(" kinds=1");
        script.push_str(&calls(parts, every, swarm));
    }
    let mut now_and_then = |kind, one_in: u32, setting: &dyn Fn(&mut StdRng) -> String| {
        if swarm.is_on(kind) && rng.random_range(0..one_in) == 0 {
            script.push(' ');
            script.push_str(&setting(rng));
        }
    };
    let within = |rng: &mut StdRng| rng.random_range(0..=parts);
    now_and_then(Kind::ModelFails, 4, &|rng| {
        // Some ask to be left alone for a while. No draw of its own, so that it moves no other.
        let part = within(rng);
        if part % 3 == 0 {
            format!("fail={part} after={}ms", part * 97 % 1500)
        } else {
            format!("fail={part}")
        }
    });
    now_and_then(Kind::ModelFailsForGood, 8, &|rng| format!("fatal={}", within(rng)));
    now_and_then(Kind::ModelStalls, 8, &|rng| format!("stall={}", within(rng)));
    now_and_then(Kind::ModelBursts, 4, &|rng| format!("burst={}", rng.random_range(2..40)));
    now_and_then(Kind::ModelDeaf, 3, &|_| "deaf=1".to_owned());
    now_and_then(Kind::ModelSaysMuch, 12, &|rng| {
        // So much that a socket, a frame, a tail or an answer's own bound is full.
        let much: u64 = *[60_000, 150_000, 400_000].choose(rng).expect("there are some");
        format!("size={}", (much / parts).clamp(1_000, 60_000))
    });
    script
}

/// Who carries out what such an answer calls, and how. No draws of its own, so that it moves no other.
fn calls(parts: u64, every: u64, swarm: &Swarm) -> String {
    match (parts / 10 + every / 5).is_multiple_of(4) {
        true if swarm.is_on(Kind::Answers) => " calls=1".into(),
        false if swarm.is_on(Kind::ModelCalls) => {
            let fails = if swarm.is_on(Kind::ToolFails) && parts == 10 { " broken=1" } else { "" };
            let hangs = if swarm.is_on(Kind::ToolHangs) && parts == 120 { " hangs=1" } else { "" };
            format!(" tools=1 takes={}ms{fails}{hangs}", parts * every * 7 % 1_500)
        }
        _ => String::new(),
    }
}

/// Draws what one viewer does.
fn watch(rng: &mut StdRng, swarm: &Swarm, name: &str, chat: usize) -> Vec<Line> {
    let watched = swarm.watched(chat);
    let come = Duration::from_millis(match rng.random_range(0..3) {
        0 => rng.random_range(0..15_000),
        _ => rng.random_range(0..1_000),
    });
    let mut lines = vec![line(come, format!("viewer {name} on {} watches {watched}", replica(rng, swarm)))];
    let leaves = swarm.is_on(Kind::ViewerLeaves) && rng.random_range(0..4) == 0;
    let mut at = come;
    loop {
        at += Duration::from_millis(rng.random_range(500..8_000));
        if at >= swarm.span {
            return lines;
        }
        match rng.random_range(0..3) {
            0 if swarm.is_on(Kind::ViewerMoves) => {
                lines.push(line(at, format!("{name} moves to {}", replica(rng, swarm))));
            }
            1 if swarm.is_on(Kind::ViewerStopsReading) => {
                lines.push(line(at, format!("{name} stops reading")));
                // Now and then for longer than it is put up with.
                let pause: u64 = rng.random_range(100..4_000);
                at += Duration::from_millis(if pause.is_multiple_of(4) { pause * 3 } else { pause });
                lines.push(line(at, format!("{name} reads again")));
            }
            2 if leaves => {
                lines.push(line(at, format!("{name} leaves")));
                return lines;
            }
            _ => {}
        }
    }
}
