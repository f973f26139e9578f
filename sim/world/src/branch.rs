//! A walk that branches: where it passes a rare mark, or comes to a situation that was never seen, the world is kept,
//! and further runs go on from there. What it takes to come there is paid for once, and bugs lie near what is rare.

use std::collections::HashSet;

use mainstem_oracles::{Dockets, Guarantee, Judge};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::marks::{listening, take_rare};
use crate::recording::Recording;
use crate::setup::Setup;
use crate::walk::{Run, Taste, Verdict, draw, draw_setup, ended};
use crate::world::World;

/// Worlds that are kept of a run.
const KEPT_MAX: usize = 3;
/// Runs that go on from a world that was kept, and their choices.
const BRANCHES: usize = 3;
const BRANCH_CHOICES: usize = 100;

/// The situations that were seen so far, for walks that branch at new ones.
pub(crate) type Known = HashSet<u64, fnv::FnvBuildHasher>;

/// A walk with its branches.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The first run that is not clean, or else the one from which the others branched.
    pub(crate) run: Run,
    /// Runs, and choices in them.
    pub(crate) runs: u64,
    pub(crate) choices: u64,
    /// What the judges of all runs were asked, and what they excused.
    pub(crate) dockets: Dockets,
}

/// A world that passed a rare mark, after so many choices.
struct Kept {
    world: World,
    at: usize,
}

impl Tree {
    /// Walks up to `steps` choices, shows the world after each of them, and then walks the branches.
    pub(crate) fn walk(
        seed: u64,
        steps: usize,
        without: &[Guarantee],
        known: Option<&mut Known>,
        see: impl FnMut(&World),
    ) -> Self {
        listening(|| {
            let mut rng = StdRng::seed_from_u64(seed);
            let setup = draw_setup(&mut rng);
            let mut walk = Walk { kept: vec![], dockets: Dockets::default(), known };
            let run = trunk(&mut rng, setup, steps, without, &mut walk, see);
            let Walk { kept, dockets, .. } = walk;
            let mut tree = Self { runs: 1, choices: run.recording.choices.len() as u64, run, dockets };
            for kept in &kept {
                for _ in 0..BRANCHES {
                    if tree.run.verdict != Verdict::Clean {
                        return tree;
                    }
                    tree.branch(&mut rng, setup, kept);
                }
            }
            tree
        })
    }

    /// Goes on from a world that was kept.
    fn branch(&mut self, rng: &mut StdRng, setup: Setup, kept: &Kept) {
        let taste = Taste::draw(rng);
        let mut choices = self.run.recording.choices[..kept.at].to_vec();
        let mut possible = vec![];
        let walked = || {
            let mut world = kept.world.clone();
            for _ in 0..BRANCH_CHOICES {
                if world.verdict().is_some() {
                    break;
                }
                world.choices(&mut possible);
                let Some(choice) = draw(rng, taste, &world, &possible) else { break };
                choices.push(choice);
                world.step(choice);
            }
            world
        };
        let verdict = ended(walked, &mut self.dockets);
        self.runs += 1;
        self.choices += (choices.len() - kept.at) as u64;
        if verdict != Verdict::Clean {
            self.run = Run { recording: Recording { setup, choices }, verdict };
        }
    }
}

/// What a run leaves, and what it knows of those before it.
struct Walk<'a> {
    kept: Vec<Kept>,
    dockets: Dockets,
    known: Option<&'a mut Known>,
}

/// The run from which the others branch.
fn trunk(
    rng: &mut StdRng,
    setup: Setup,
    steps: usize,
    without: &[Guarantee],
    walk: &mut Walk<'_>,
    mut see: impl FnMut(&World),
) -> Run {
    let Walk { kept, dockets, known } = walk;
    let taste = Taste::draw(rng);
    let (mut choices, mut possible) = (vec![], vec![]);
    // What the run before came by is not this one's.
    take_rare();
    let mut passed = 0;
    let (mut situations, mut newest) = (vec![], None);
    let walked = || {
        let mut world = World::new(setup, Judge::without(without));
        while choices.len() < steps && world.verdict().is_none() {
            world.choices(&mut possible);
            let Some(choice) = draw(rng, taste, &world, &possible) else { break };
            choices.push(choice);
            world.step(choice);
            see(&world);
            if let Some(known) = known {
                world.situations(&mut situations);
                let before = known.len();
                known.extend(situations.drain(..));
                if known.len() > before && world.verdict().is_none() {
                    newest = Some(Kept { world: world.clone(), at: choices.len() });
                }
            }
            let new = take_rare() & !passed;
            if new != 0 && kept.len() < KEPT_MAX && world.verdict().is_none() {
                passed |= new;
                kept.push(Kept { world: world.clone(), at: choices.len() });
            }
        }
        world
    };
    let verdict = ended(walked, dockets);
    kept.extend(newest);
    Run { recording: Recording { setup, choices }, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_from_a_kept_world_is_a_run_of_its_choices() {
        let mut branched = 0;
        for seed in 0..60 {
            let mut rng = StdRng::seed_from_u64(seed);
            let setup = draw_setup(&mut rng);
            let mut walk = Walk { kept: vec![], dockets: Dockets::default(), known: None };
            let run = listening(|| trunk(&mut rng, setup, 300, &[], &mut walk, |_| {}));
            let kept = walk.kept;
            for Kept { world, at } in &kept {
                let mut again = World::new(setup, Judge::new());
                for choice in &run.recording.choices[..*at] {
                    again.step(*choice);
                }
                assert_eq!(again.fingerprint(), world.fingerprint(), "seed {seed}");
            }
            let tree = Tree::walk(seed, 300, &[], None, |_| {});
            assert_eq!(tree.run.recording, run.recording, "a clean tree is known by its trunk");
            assert_eq!(tree.runs, 1 + (kept.len() * BRANCHES) as u64);
            branched += kept.len();
        }
        assert!(branched > 3, "rare marks are passed: {branched}");
    }

    #[test]
    fn a_walk_branches_at_what_was_never_seen_until_nothing_is_new() {
        let mut known = Known::default();
        let mut walk = |seed| {
            let tree = Tree::walk(seed, 100, &[], Some(&mut known), |_| {});
            (tree.runs, tree.run.recording)
        };
        let (first, recording) = walk(1);
        let (again, same) = walk(1);
        assert!(first > again, "what was seen is not new: {first} runs, and then {again}");
        assert_eq!(recording, same, "it is known by its trunk");
    }
}
