//! Plans: the operations and faults of a random run, with their times, written as a story.
//!
//! A plan is drawn from a seed. The plan, not the seed, is what is run, saved, edited, replayed and shrunk,
//! so a saved plan stays valid when the code that draws plans changes. Its lines are sentences of the story
//! language, each with its time.

mod callers;
mod faults;
mod moments;
mod returns;
mod shares;
mod swarm;
mod workload;

use std::fmt;
use std::time::Duration;

use crate::story::{self, Problem, Story};
pub use swarm::Kind;

/// The plan of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    /// The seed of everything that is random below the plan, such as latencies.
    pub seed: u64,
    /// Replicas and settings, one line each.
    pub heading: Vec<String>,
    /// Sorted by time.
    pub lines: Vec<Line>,
}

/// One timed sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Duration,
    /// The sentence, without its time.
    pub text: String,
}

/// The story is not a plan.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoPlan {
    #[error(transparent)]
    Story(#[from] Problem),
    #[error("line {0}: this sentence has no time; a plan says `at 250ms …` of each")]
    WithoutTime(usize),
}

impl Plan {
    /// Draws the plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let swarm = swarm::Swarm::draw(seed);
        let mut lines = workload::draw(seed, &swarm);
        lines.extend(faults::draw(seed, &swarm));
        lines.extend(moments::draw(seed, &swarm, &lines));
        lines.sort_by_key(|line| line.at);
        Self { name: format!("seed {seed}"), seed, heading: swarm.heading(), lines }
    }

    /// Parses a plan. Comments are lost.
    pub fn parse(name: &str, text: &str) -> Result<Self, NoPlan> {
        let story = story::parse(name, text)?;
        let mut plan =
            Self { name: name.to_owned(), seed: story.seed.unwrap_or(0), heading: vec![], lines: vec![] };
        let sentences: std::collections::BTreeMap<usize, _> =
            story.sentences.iter().map(|sentence| (sentence.line, sentence)).collect();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            match sentences.get(&(number + 1)) {
                Some(sentence) => {
                    let at = sentence.at.ok_or(NoPlan::WithoutTime(number + 1))?;
                    let text =
                        line.splitn(3, char::is_whitespace).nth(2).unwrap_or_default().trim().to_owned();
                    plan.lines.push(Line { at, text });
                }
                None if line.is_empty() || line.starts_with("seed ") => {}
                None => plan.heading.push(line.to_owned()),
            }
        }
        Ok(plan)
    }

    /// Parses the plan as a story.
    pub fn to_story(&self) -> Result<Story, Problem> {
        story::parse(&self.name, &self.to_string())
    }

    /// The number of lines that are faults.
    pub fn faults(&self) -> Result<usize, Problem> {
        Ok(self.to_story()?.sentences.iter().filter(|sentence| sentence.step.is_fault()).count())
    }
}

/// The kinds of faults and user actions in the plan of a seed, by the names under which they are counted.
pub fn asked(seed: u64) -> std::collections::BTreeSet<&'static str> {
    let swarm = swarm::Swarm::draw(seed);
    swarm.on.iter().map(|kind| kind.lands_as()).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for line in &self.heading {
            writeln!(f, "{line}")?;
        }
        writeln!(f)?;
        for line in &self.lines {
            writeln!(f, "at {}ms {}", line.at.as_millis(), line.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn what_is_written_down_is_read_again() {
        for seed in 0..50 {
            let plan = Plan::draw(seed);
            assert_eq!(Plan::parse(&plan.name, &plan.to_string()).unwrap(), plan);
        }
        assert!(Plan::parse("x", "guards S1\nreplicas A\n\nA crashes\n").is_err());
    }

    #[test]
    fn every_plan_is_a_story_and_a_seed_has_one_plan() {
        for seed in 0..300 {
            let plan = Plan::draw(seed);
            assert_eq!(plan, Plan::draw(seed));
            let story = plan.to_story().unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{plan}"));
            assert_eq!(story.sentences.len(), plan.lines.len());
        }
    }
}
