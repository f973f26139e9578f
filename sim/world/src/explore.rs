//! Every interleaving of a small world: depth first, each state once, within the budget of what may happen that need
//! not.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mainstem_oracles::{Dockets, Guarantee, Judge};

use crate::batch::RUNS_FOR_EXCUSES;
use crate::choice::Choice;
use crate::hashed::fingerprint;
use crate::only::Only;
use crate::recording::Recording;
use crate::setup::Setup;
use crate::walk::{Run, Verdict, ended, panic_text};
use crate::world::{World, chat_id};

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// Distinct states, at the most.
    pub states: usize,
    /// Choices in a row, at the most.
    pub depth: usize,
    /// Of what may go wrong and what users may do, only this; everything if there is none.
    pub only: &'a [Only],
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Choices that were tried.
    pub steps: u64,
    /// Distinct states.
    pub states: u64,
    /// States in which nothing more could happen: their recovery was run to its end.
    pub ends: u64,
    /// The most choices in a row.
    pub depth: usize,
    /// A path was cut where it reached the bound of its length.
    pub cut: u64,
    /// How long it took.
    pub took: Duration,
    /// Everything within the budget was seen.
    pub complete: bool,
    /// What was found broken.
    pub broken: Option<Run>,
    /// What the judges were asked on the ways to all ends, and what they excused.
    pub dockets: Dockets,
}

impl Seen {
    /// Judges that held nothing: whatever they were asked, they excused.
    pub fn held_nothing(&self) -> Vec<Guarantee> {
        if self.ends < RUNS_FOR_EXCUSES { vec![] } else { self.dockets.excused_everything() }
    }
}

/// The fingerprint of a state is its name already.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }
}

/// A world on the path, and what was not tried there yet. The last choice is tried with the world itself.
struct Level {
    world: Option<World>,
    left: Vec<Choice>,
}

/// Looks at every state that `setup` allows, up to these bounds or the first that breaks a guarantee. `progress` is
/// called now and then.
pub fn explore(
    setup: Setup,
    bounds: Bounds<'_>,
    without: &[Guarantee],
    mut progress: impl FnMut(&Seen),
) -> Seen {
    let begun = Instant::now();
    let mut seen = Seen::default();
    let mut known: HashSet<u128, BuildHasherDefault<AsItIs>> = HashSet::default();
    let mut path: Vec<Choice> = vec![];
    let root = World::new(setup, Judge::without(without));
    known.insert(root.fingerprint());
    seen.states = 1;
    let mut levels = vec![Level::new(root, bounds.only)];
    let mut whole = true;
    while let Some(level) = levels.last_mut() {
        let Some(choice) = level.left.pop() else {
            levels.pop();
            path.pop();
            continue;
        };
        if known.len() >= bounds.states {
            whole = false;
            break;
        }
        seen.steps += 1;
        path.push(choice);
        let copied = if level.left.is_empty() { level.world.take() } else { level.world.clone() };
        let Some(mut world) = copied else { unreachable!("there is a world as long as there are choices") };
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            world.step(choice);
            world
        }));
        let world = match stepped {
            Ok(world) => world,
            Err(panic) => {
                let verdict = Verdict::Panicked(panic_text(&*panic));
                seen.broken = Some(run_of(setup, &path, verdict));
                break;
            }
        };
        if let Some(found) = world.verdict() {
            let verdict = Verdict::Broken(found.guarantee, found.to_string());
            seen.broken = Some(run_of(setup, &path, verdict));
            break;
        }
        if !known.insert(world.fingerprint()) {
            path.pop();
            continue;
        }
        seen.states += 1;
        if seen.states.is_multiple_of(1 << 16) {
            seen.took = begun.elapsed();
            progress(&seen);
        }
        let level = Level::new(world, bounds.only);
        if level.left.is_empty() {
            seen.ends += 1;
            let verdict =
                level.world.clone().map_or(Verdict::Clean, |world| ended(|| world, &mut seen.dockets));
            if verdict != Verdict::Clean {
                seen.broken = Some(run_of(setup, &path, verdict));
                break;
            }
        }
        if levels.len() >= bounds.depth {
            seen.cut += 1;
            path.pop();
            continue;
        }
        levels.push(level);
        seen.depth = seen.depth.max(levels.len());
    }
    seen.took = begun.elapsed();
    seen.complete = whole && seen.cut == 0 && seen.broken.is_none();
    seen
}

fn run_of(setup: Setup, path: &[Choice], verdict: Verdict) -> Run {
    Run { recording: Recording { setup, choices: path.to_vec() }, verdict }
}

impl Level {
    fn new(world: World, only: &[Only]) -> Self {
        let mut left = vec![];
        world.ordered_choices(&mut left);
        left.retain(|choice| Only::have(only, choice));
        left.reverse();
        Self { world: Some(world), left }
    }
}

impl World {
    /// A name for how things stand: of all that decides what may happen, and of what viewers have on their screens.
    pub fn fingerprint(&self) -> u128 {
        fingerprint(|hasher| {
            self.state.hash(hasher);
            for viewer in &self.state.viewers {
                if let Some(view) = self.judge.index().view(&viewer.name, chat_id(viewer.chat)) {
                    view.hash(hasher);
                }
            }
        })
    }
}
