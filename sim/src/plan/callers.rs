//! Draws who asks and under which key: requests for chats of others, requests without a key, keys that were used for
//! something else, and keys that somebody else used.

use std::time::Duration;

use mainstem_story::USER;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::Line;
use super::swarm::{Kind, OTHER, Swarm};
use crate::seed;

const KINDS: [Kind; 4] = [Kind::OthersChats, Kind::WithoutKey, Kind::KeyAgain, Kind::KeyOfAnother];

pub(super) fn draw(run: u64, swarm: &Swarm) -> Vec<Line> {
    let mut lines = vec![];
    for kind in KINDS.into_iter().filter(|kind| swarm.is_on(*kind)) {
        let mut rng = seed::stream(run, &format!("callers {kind:?}"));
        for nth in 0..rng.random_range(1..=2) {
            lines.extend(CallerDraw { rng: &mut rng, swarm, nth }.ask(kind));
        }
    }
    lines
}

struct CallerDraw<'a> {
    rng: &'a mut StdRng,
    swarm: &'a Swarm,
    nth: u32,
}

impl CallerDraw<'_> {
    fn on(&mut self) -> &'static str {
        self.swarm.replicas.choose(self.rng).expect("there are replicas")
    }

    fn at(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(1_000..17_000))
    }

    /// Often at the same moment.
    fn after(&mut self, at: Duration) -> Duration {
        let most = *[1, 20, 3_000].choose(self.rng).expect("there are some");
        at + Duration::from_millis(self.rng.random_range(0..most))
    }

    fn ask(&mut self, kind: Kind) -> Vec<Line> {
        let chat = self.rng.random_range(0..self.swarm.chats);
        let (owner, nth) = (self.swarm.owner(chat), self.nth);
        let other = if owner == USER { OTHER } else { USER };
        let chat = self.swarm.chat_name(chat);
        let at = self.at();
        let says = |what: &str| format!("sends \"/model parts=3 every=20ms {chat}.{what} {nth}\" to {chat}");
        match kind {
            Kind::OthersChats => {
                let what = match self.rng.random_range(0..7) {
                    0 => says("a stranger's"),
                    1 => format!("interrupts {chat}"),
                    2 => format!("edits last message to \"{chat}.a stranger's edit {nth}\" {chat}"),
                    3 => format!("promotes last {chat}"),
                    4 => format!("withdraws last {chat}"),
                    5 => format!("regenerates interrupting {chat}"),
                    _ => format!("deletes {chat}"),
                };
                vec![line(at, format!("{other} on {} {what}", self.on()))]
            }
            Kind::WithoutKey => {
                let on = self.on();
                vec![line(at, format!("{owner} on {on} {} without a key", says("without a key")))]
            }
            Kind::KeyAgain => {
                let key = format!("under key \"again-{nth}\"");
                let (one, two, later) = (self.on(), self.on(), self.after(at));
                vec![
                    line(at, format!("{owner} on {one} {} {key}", says("first"))),
                    line(later, format!("{owner} on {two} {} {key}", says("under its key"))),
                ]
            }
            _ => {
                // The same words: all that tells the two apart is who says them.
                let what = format!("{} under key \"shared-{nth}\"", says("shared"));
                let (one, two, later) = (self.on(), self.on(), self.after(at));
                vec![
                    line(at, format!("{owner} on {one} {what}")),
                    line(later, format!("{other} on {two} {what}")),
                ]
            }
        }
    }
}

fn line(at: Duration, text: String) -> Line {
    Line { at, text }
}
