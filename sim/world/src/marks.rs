//! Counts the coverage marks that the machines pass.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use mainstem_machine::marks::{MARKS, TARGET};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// How often each mark was passed.
pub type Marks = BTreeMap<&'static str, u64>;

thread_local! {
    static PASSED: RefCell<Option<Rc<RefCell<Marks>>>> = const { RefCell::new(None) };
}

/// Runs something, and counts the marks that it passes on this thread.
pub fn count_marks<T>(run: impl FnOnce() -> T) -> (T, Marks) {
    let passed = Rc::new(RefCell::new(MARKS.iter().map(|mark| (*mark, 0)).collect::<Marks>()));
    PASSED.set(Some(passed.clone()));
    let done = tracing::subscriber::with_default(Counter, run);
    PASSED.set(None);
    let marks = passed.borrow().clone();
    (done, marks)
}

/// Adds the counts of another run.
pub(crate) fn add(marks: &mut Marks, more: &Marks) {
    for (mark, count) in more {
        *marks.entry(mark).or_default() += count;
    }
}

#[derive(Debug)]
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Passed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Passed;

impl Visit for Passed {
    fn record_str(&mut self, _: &Field, mark: &str) {
        PASSED.with_borrow(|passed| {
            let Some(passed) = passed else { return };
            if let Some(count) = passed.borrow_mut().get_mut(mark) {
                *count += 1;
            }
        });
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
