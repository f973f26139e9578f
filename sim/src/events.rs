//! What the product logs goes into the trace of its run.

use std::fmt::{self, Write as _};

use mainstem_machine::Time;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::trace::Trace;

/// Until the guard is dropped, for this thread.
pub fn record(trace: &Trace) -> DefaultGuard {
    tracing::subscriber::set_default(Registry::default().with(Recorder(trace.clone())))
}

struct Recorder(Trace);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("mainstem_") || *metadata.level() > Level::DEBUG {
            return;
        }
        let Some(time) = madsim::time::TimeHandle::try_current() else { return };
        let micros = u64::try_from(time.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut said = Said::default();
        event.record(&mut said);
        let who = said.replica.as_deref().unwrap_or("product");
        let level = metadata.level();
        self.0.write(
            Time::from_micros(micros),
            who,
            format_args!("{level}: {}{}", said.message, said.fields),
        );
    }
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
