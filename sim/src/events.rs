//! Writes the product's log events into the trace of the run.

use std::fmt::{self, Write as _};

use mainstem_machine::Time;
use mainstem_machine::marks::TARGET as MARK_TARGET;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::{DefaultGuard, Interest};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::tally::Tally;
use crate::trace::{Kind, Trace};

/// Records the events of this thread until the guard is dropped.
pub fn record(trace: &Trace, tally: &Tally) -> DefaultGuard {
    tracing::subscriber::set_default(Recorder(trace.clone(), tally.clone()))
}

/// Keeps no spans: madsim creates one for each task, some of them before recording begins.
struct Recorder(Trace, Tally);

impl Subscriber for Recorder {
    /// What no run records is not asked for again. The rest is not cached, because each run has a recorder of its own.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let logged = metadata.target().starts_with("mainstem_") && *metadata.level() <= Level::DEBUG;
        metadata.is_event() && (logged || metadata.target() == MARK_TARGET)
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == MARK_TARGET {
            return event.record(&mut Marked(&self.1));
        }
        let Some(time) = madsim::time::TimeHandle::try_current() else { return };
        let micros = u64::try_from(time.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut said = Said::default();
        event.record(&mut said);
        let who = said.replica.as_deref().unwrap_or("product");
        let level = event.metadata().level();
        let kind = if *level == Level::ERROR { Kind::Error } else { Kind::Logged };
        self.0.write(
            Time::from_micros(micros),
            who,
            kind,
            format_args!("{level}: {}{}", said.message, said.fields),
        );
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Counts a coverage mark.
struct Marked<'a>(&'a Tally);

impl Visit for Marked<'_> {
    fn record_str(&mut self, _: &Field, mark: &str) {
        self.0.marked(mark);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[derive(Default)]
struct Said {
    replica: Option<String>,
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "replica" => self.replica = Some(format!("{value:?}").trim_matches('"').to_owned()),
            name => write!(self.fields, " {name}={value:?}").expect("a string takes what is written"),
        }
    }
}
