//! What a machine is to its tape.

use std::fmt::Debug;
use std::hash::Hash;

use mainstem_machine::Time;
use mainstem_machine::hub::{self, Deadline, Hub, JoinedParts};
use mainstem_machine::replica::{self, Replica};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::redact::Redact;

/// A machine whose outputs follow from its inputs alone.
pub(crate) trait Taped {
    type Input: Clone + Debug + Serialize + DeserializeOwned + Redact;
    type Output: Clone + Hash + Redact + Said;

    fn take(&mut self, input: Self::Input, joined: &mut JoinedParts) -> Self::Output;
    /// When it wants to be woken.
    fn deadline(&self) -> Option<Deadline>;
    /// Whether it takes nothing any more.
    fn is_finished(&self) -> bool;
    fn time_of(input: &Self::Input) -> Time;
}

/// All that a machine said to one input.
pub(crate) trait Said {
    /// For people, a line for each thing.
    fn lines(&self) -> Vec<String>;
}

impl Taped for Hub {
    type Input = hub::Input;
    type Output = hub::Output;

    fn take(&mut self, input: hub::Input, joined: &mut JoinedParts) -> hub::Output {
        self.take(input, joined)
    }

    fn deadline(&self) -> Option<Deadline> {
        self.poll_timeout()
    }

    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn time_of(input: &hub::Input) -> Time {
        input.at
    }
}

impl Said for hub::Output {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.actions.iter().map(|action| format!("{action:?}")).collect();
        lines.extend(self.event.iter().map(|event| format!("{:?}", event.body)));
        lines.extend(self.frame.iter().map(|frame| format!("{frame:?}")));
        lines.extend(self.news.then(|| "News".to_owned()));
        lines
    }
}

impl Taped for Replica {
    type Input = replica::Input;
    type Output = replica::Output;

    fn take(&mut self, input: replica::Input, _: &mut JoinedParts) -> replica::Output {
        self.take(input)
    }

    fn deadline(&self) -> Option<Deadline> {
        self.poll_timeout()
    }

    fn is_finished(&self) -> bool {
        false
    }

    fn time_of(input: &replica::Input) -> Time {
        input.at
    }
}

impl Said for replica::Output {
    fn lines(&self) -> Vec<String> {
        self.actions.iter().map(|action| format!("{action:?}")).collect()
    }
}
