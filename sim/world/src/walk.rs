//! A random run of the world under a seed, and a run of given choices.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mainstem_oracles::{Dockets, Guarantee, Judge};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::branch::Tree;
use crate::choice::{Choice, Class};
use crate::damage::Testimony;
use crate::recording::Recording;
use crate::setup::{Budget, Setup, Tools};
use crate::trace::{Line, Trace};
use crate::world::World;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was broken.
    Clean,
    /// A judge found this guarantee broken, and why.
    Broken(Guarantee, String),
    /// Something was asserted and was not so.
    Panicked(String),
}

impl Verdict {
    /// The guarantee that was broken, if one is named.
    pub fn guarantee(&self) -> Option<Guarantee> {
        match self {
            Self::Clean => None,
            Self::Broken(guarantee, _) => Some(*guarantee),
            Self::Panicked(why) => {
                // An assertion of two values says what it is about after that.
                let words = why.split(|c: char| !c.is_ascii_alphanumeric());
                words.into_iter().find_map(|word| word.parse().ok())
            }
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Clean => f.write_str("clean"),
            Self::Broken(_, why) => f.write_str(why),
            Self::Panicked(why) => write!(f, "an assertion failed: {why}"),
        }
    }
}

/// A run, and how it ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// How the world was set up, and what was chosen.
    pub recording: Recording,
    /// How it ended.
    pub verdict: Verdict,
}

/// How often each class of choices is taken, in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taste([u32; 7]);

impl Taste {
    /// Some runs have hardly any faults, some hardly anything else.
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        let mut of = |usual: u32| usual * [0, 1, 1, 2, 4][rng.random_range(0..5)];
        let [model, user, delay, fault] = [of(20), of(8), of(4), of(3)];
        let (late, time) = (of(4).max(1), of(8).max(4));
        Self([60, late, model.max(4), user.max(2), delay, fault, time])
    }

    fn of(self, class: Class) -> u32 {
        self.0[class as usize]
    }
}

const FRIENDS: u64 = 0x6672_6965_6e64_7321;

/// Draws how large a world is.
pub fn draw_setup(rng: &mut StdRng) -> Setup {
    // What a single fault does is not seen where others follow.
    let few = rng.random_bool(0.3);
    let budget = Budget {
        faults: if few { rng.random_range(0..3) } else { rng.random_range(0..30) },
        delays: if few { rng.random_range(0..3) } else { rng.random_range(0..40) },
        requests: rng.random_range(0..20),
        moves: rng.random_range(1..20),
        parts: rng.random_range(0..60),
        passes: u16::MAX,
        claims: if rng.random_bool(0.4) { rng.random_range(1..8) } else { 0 },
        strangers: if rng.random_bool(0.3) { rng.random_range(1..8) } else { 0 },
        drifts: if rng.random_bool(0.3) { rng.random_range(1..4) } else { 0 },
    };
    let tools = match rng.random_range(0..10) {
        0..6 => Tools::None,
        6..8 => Tools::Client,
        _ => Tools::Server,
    };
    // Of a stream of its own, so that walks without friends are what they were.
    let mut of_friends = StdRng::seed_from_u64(rng.clone().next_u64() ^ FRIENDS);
    let mut friends = |viewers: u8| match of_friends.random_bool(0.3) {
        true => of_friends.random_range(1..=viewers),
        false => 0,
    };
    let setup = Setup {
        replicas: rng.random_range(1..=3),
        chats: rng.random_range(1..=2),
        users: rng.random_range(1..=2),
        viewers: rng.random_range(1..=3),
        workers: rng.random_range(1..=3),
        lease_ttl: Duration::from_secs([6, 15, 16][rng.random_range(0..3)]),
        poll_interval: Duration::from_secs([5, 7, 30][rng.random_range(0..3)]),
        episode_bytes_max: if tools != Tools::None { 600 } else { rng.random_range(60..400) },
        tools,
        tail_messages_max: rng.random_range(1..5),
        budget,
        ..Setup::default()
    };
    Setup { friends: friends(setup.viewers), ..setup }
}

/// A random run of up to `steps` choices and its recovery, or the first that is not clean of those that branch from it.
pub fn walk(seed: u64, steps: usize, without: &[Guarantee]) -> Run {
    Tree::walk(seed, steps, without, None, |_| {}).run
}

/// The run of these choices.
pub fn replay(recording: &Recording, without: &[Guarantee]) -> Verdict {
    judged(|| play(recording, without, None, None))
}

/// How many of these choices are not possible when it is their turn, up to where something is broken.
pub fn impossible(recording: &Recording, without: &[Guarantee]) -> usize {
    let mut count = 0;
    let mut possible = vec![];
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(recording.setup, Judge::without(without));
        for &choice in &recording.choices {
            if world.verdict().is_some() {
                break;
            }
            world.choices(&mut possible);
            count += usize::from(!possible.contains(&choice));
            world.step(choice);
        }
    }));
    // Where a machine panics, the run ends.
    drop(played);
    count
}

/// The lines of a run of these choices, and how it ended.
pub fn tell(recording: &Recording, without: &[Guarantee]) -> (Vec<Line>, Verdict) {
    let trace = Trace::default();
    let verdict = judged(|| play(recording, without, Some(trace.clone()), None));
    (trace.take(), verdict)
}

/// The world after these choices.
pub(crate) fn play(
    recording: &Recording,
    without: &[Guarantee],
    trace: Option<Trace>,
    testimony: Option<Testimony>,
) -> World {
    let mut world = World::testified(recording.setup, Judge::without(without), testimony);
    if let Some(trace) = trace {
        world.keep(trace);
    }
    for &choice in &recording.choices {
        if world.verdict().is_some() {
            break;
        }
        world.step(choice);
    }
    world
}

/// The verdict on a world after its recovery.
pub(crate) fn judged(run: impl FnOnce() -> World) -> Verdict {
    ended(run, &mut Dockets::default())
}

/// The same; what its judges were asked and excused is added to `dockets`.
pub(crate) fn ended(run: impl FnOnce() -> World, dockets: &mut Dockets) -> Verdict {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut world = run();
        if world.verdict().is_none() {
            world.recover();
        }
        dockets.enter(world.judge().docket());
        world.verdict().map(|found| (found.guarantee, found.to_string()))
    }));
    match ended {
        Ok(None) => Verdict::Clean,
        Ok(Some((guarantee, why))) => Verdict::Broken(guarantee, why),
        Err(panic) => Verdict::Panicked(panic_text(&*panic)),
    }
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "without a word".into())
}

/// A class by the run's taste, and one of its choices.
pub(crate) fn draw(rng: &mut StdRng, taste: Taste, world: &World, possible: &[Choice]) -> Option<Choice> {
    let mut counts = [0_u32; 7];
    let classes: Vec<_> = possible.iter().map(|choice| world.class(*choice)).collect();
    for class in &classes {
        counts[*class as usize] += 1;
    }
    let weight = |class: Class| if counts[class as usize] > 0 { taste.of(class) } else { 0 };
    let sum: u32 = Class::ALL.into_iter().map(weight).sum();
    if sum == 0 {
        return None;
    }
    let mut at = rng.random_range(0..sum);
    let class = Class::ALL.into_iter().find(|class| match at.checked_sub(weight(*class)) {
        Some(rest) => {
            at = rest;
            false
        }
        None => true,
    })?;
    let at = rng.random_range(0..counts[class as usize] as usize);
    let of_class = possible.iter().zip(classes).filter(|(_, of)| *of == class);
    of_class.map(|(choice, _)| *choice).nth(at)
}
