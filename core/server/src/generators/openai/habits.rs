//! What models take of what not all take. Behind one address there may be many models, and an endpoint refuses what
//! it does not take, in whatever words: then it is asked in other ways, and what was taken is remembered of that
//! model. Whoever is forgotten (B1) is asked again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::messages::Thoughts;
use super::request::{Body, Extras};
use crate::limits::model::HABITS_MAX;

/// What was taken last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Habit {
    /// Whether it tells what a run cost. `None`: nobody knows.
    usage: Option<bool>,
    /// Which thoughts it takes. `None`: nobody knows.
    thoughts: Option<Thoughts>,
}

impl Habit {
    /// What it is asked first.
    pub(super) fn first(self) -> Extras {
        Extras { usage: self.usage.unwrap_or(true), thoughts: self.thoughts.unwrap_or(Thoughts::OfCalls) }
    }

    /// What it is asked after a refusal of the first request, whose body was `first`: one after the other, until one
    /// is taken. What it is known to take is not what it refused.
    pub(super) fn others(self, first: &Body) -> Vec<Extras> {
        let asked = self.first();
        let mut thoughts = vec![asked.thoughts];
        if asked.thoughts == Thoughts::OfCalls {
            // Who took the thoughts of one history may miss some in another.
            thoughts.extend(first.lacks_thoughts.then_some(Thoughts::OfAll));
            thoughts.extend((self.thoughts.is_none() && first.has_thoughts).then_some(Thoughts::None));
        }
        let usages = if self.usage.is_none() { vec![true, false] } else { vec![asked.usage] };
        let all =
            usages.into_iter().flat_map(|usage| thoughts.iter().map(move |thoughts| (usage, *thoughts)));
        all.map(|(usage, thoughts)| Extras { usage, thoughts }).skip(1).collect()
    }

    /// Adds what it took in the end, where the body of the first request was `first`.
    fn learn(&mut self, taken: Extras, first: &Body) {
        self.usage = Some(taken.usage);
        // A history without thoughts tells nothing of them.
        if first.has_thoughts || taken.thoughts == Thoughts::OfAll {
            self.thoughts = Some(taken.thoughts);
        }
    }
}

/// The habits of the models that were asked last. The newest is behind.
#[derive(Debug, Default)]
pub(super) struct Habits(Mutex<VecDeque<(String, Habit)>>);

impl Habits {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Habit)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, model: &str) -> Habit {
        let all = self.lock();
        all.iter().find(|(name, _)| name == model).map_or_else(Habit::default, |(_, habit)| *habit)
    }

    /// Remembers what `model` took, where the body of the first request was `first`.
    pub(super) fn learn(&self, model: &str, taken: Extras, first: &Body) {
        let mut all = self.lock();
        let at = all.iter().position(|(name, _)| name == model);
        let known = at.and_then(|at| all.remove(at));
        let (name, mut habit) = known.unwrap_or_else(|| (model.into(), Habit::default()));
        habit.learn(taken, first);
        if all.len() == HABITS_MAX {
            all.pop_front();
        }
        all.push_back((name, habit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn body(has_thoughts: bool, lacks_thoughts: bool) -> Body {
        Body { json: vec![], has_thoughts, lacks_thoughts }
    }

    const fn extras(usage: bool, thoughts: Thoughts) -> Extras {
        Extras { usage, thoughts }
    }

    #[test]
    fn what_is_not_known_to_be_taken_is_left_out_one_after_the_other() {
        use Thoughts::{None as Nothing, OfAll, OfCalls};
        let (unknown, told) = (Habit::default(), Habit { usage: Some(true), thoughts: None });
        let of = |thoughts| Habit { usage: Some(false), thoughts: Some(thoughts) };
        for (habit, has, lacks, wanted) in [
            (unknown, false, false, vec![(false, OfCalls)]),
            (unknown, true, false, vec![(true, Nothing), (false, OfCalls), (false, Nothing)]),
            (unknown, false, true, vec![(true, OfAll), (false, OfCalls), (false, OfAll)]),
            (
                unknown,
                true,
                true,
                vec![(true, OfAll), (true, Nothing), (false, OfCalls), (false, OfAll), (false, Nothing)],
            ),
            (told, false, false, vec![]),
            (told, true, true, vec![(true, OfAll), (true, Nothing)]),
            (of(OfCalls), true, false, vec![]),
            (of(OfCalls), true, true, vec![(false, OfAll)]),
            (of(OfAll), true, true, vec![]),
            (of(Nothing), false, true, vec![]),
        ] {
            let wanted: Vec<Extras> = wanted.into_iter().map(|(usage, of)| extras(usage, of)).collect();
            assert_eq!(habit.others(&body(has, lacks)), wanted, "{habit:?} {has} {lacks}");
        }
    }

    #[test]
    fn a_model_is_asked_first_what_it_took_and_no_other_model_is() {
        let habits = Habits::default();
        assert_eq!(habits.of("a").first(), extras(true, Thoughts::OfCalls));
        habits.learn("a", extras(false, Thoughts::None), &body(true, false));
        habits.learn("b", extras(true, Thoughts::OfAll), &body(false, true));
        assert_eq!(habits.of("a").first(), extras(false, Thoughts::None));
        assert_eq!(habits.of("b").first(), extras(true, Thoughts::OfAll));
        assert_eq!(habits.of("c"), Habit::default());
    }

    #[test]
    fn a_history_without_thoughts_tells_nothing_of_them() {
        let mut habit = Habit::default();
        habit.learn(extras(true, Thoughts::OfCalls), &body(false, true));
        assert_eq!(habit, Habit { usage: Some(true), thoughts: None });
        habit.learn(extras(true, Thoughts::OfCalls), &body(true, true));
        assert_eq!(habit.thoughts, Some(Thoughts::OfCalls));
    }

    #[test]
    fn who_was_asked_longest_ago_is_forgotten() {
        let habits = Habits::default();
        let taken = extras(false, Thoughts::OfCalls);
        let learn = |model: usize| habits.learn(&model.to_string(), taken, &body(false, false));
        (0..HABITS_MAX).for_each(learn);
        learn(0);
        learn(HABITS_MAX);
        let is_known = |model: usize| habits.of(&model.to_string()) != Habit::default();
        assert_eq!([0, 1, 2, HABITS_MAX].map(is_known), [true, false, true, true]);
        assert_eq!(habits.lock().len(), HABITS_MAX, "B1");
    }
}
