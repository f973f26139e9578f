//! Runs of the model, seen.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use futures::Stream;
use mainstem_machine::{Role, WallTime};
use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Label = [(&'static str, &'static str); 1];

#[derive(Debug)]
pub(super) struct Runs {
    running: Gauge,
    generations: Family<Label, Counter>,
    seconds: Histogram,
    to_first_part: Histogram,
    queue_wait: Histogram,
    parts: Counter,
    tokens: Family<Label, Counter>,
}

impl Default for Runs {
    fn default() -> Self {
        let runs = Self {
            running: Gauge::default(),
            generations: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.01, 2.0, 16)),
            to_first_part: Histogram::new(exponential_buckets(0.01, 2.0, 14)),
            queue_wait: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            parts: Counter::default(),
            tokens: Family::default(),
        };
        for result in ["completed", "failed", "retryable", "broke_off", "cancelled"] {
            drop(runs.generations.get_or_create(&[("result", result)]));
        }
        for kind in ["input", "output"] {
            drop(runs.tokens.get_or_create(&[("kind", kind)]));
        }
        runs
    }
}

impl Runs {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("chats_running", "Answers that the model makes here now", self.running.clone());
        registry.register(
            "generations",
            "Runs of the model that ended here, by how",
            self.generations.clone(),
        );
        registry.register("generation_seconds", "How long a run of the model took", self.seconds.clone());
        registry.register(
            "time_to_first_part_seconds",
            "From the start of a run of the model until its first part",
            self.to_first_part.clone(),
        );
        registry.register("queue_wait_seconds", "From when a message was sent until the model was asked, by the database's clock and this replica's", self.queue_wait.clone());
        registry.register("parts", "Parts that the model said here", self.parts.clone());
        registry.register("tokens", "Tokens, as the provider counts them", self.tokens.clone());
    }

    fn ended(&self, result: &'static str, started: Instant) {
        self.running.dec();
        self.generations.get_or_create(&[("result", result)]).inc();
        self.seconds.observe(started.elapsed().as_secs_f64());
    }
}

/// How long the message that is to be answered has waited; `None` if this is not the first answer to it.
fn waited(conversation: &Conversation) -> Option<Duration> {
    let asked = conversation.history.messages.last().filter(|message| message.role == Role::User)?;
    if conversation.episode.attempt > 1 {
        return None;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let now = WallTime(i64::try_from(now.as_millis()).ok()?);
    Some(Duration::from_millis(now.ms_since(asked.created_at)))
}

pub(super) struct Seen {
    inner: Arc<dyn Generator>,
    runs: Arc<Runs>,
}

impl Seen {
    pub(super) fn new(inner: Arc<dyn Generator>, runs: Arc<Runs>) -> Self {
        Self { inner, runs }
    }
}

impl Generator for Seen {
    fn start(&self, conversation: Conversation) -> Generation {
        if let Some(waited) = waited(&conversation) {
            self.runs.queue_wait.observe(waited.as_secs_f64());
        }
        self.runs.running.inc();
        let (runs, started) = (self.runs.clone(), Instant::now());
        Box::pin(Run {
            inner: self.inner.start(conversation),
            runs,
            started,
            has_begun: false,
            is_over: false,
        })
    }
}

struct Run {
    inner: Generation,
    runs: Arc<Runs>,
    started: Instant,
    has_begun: bool,
    is_over: bool,
}

impl Run {
    fn see(&mut self, generated: Option<&Generated>) {
        let result = match generated {
            Some(Generated::Part { .. }) => {
                if !std::mem::replace(&mut self.has_begun, true) {
                    self.runs.to_first_part.observe(self.started.elapsed().as_secs_f64());
                }
                self.runs.parts.inc();
                return;
            }
            Some(Generated::Done(completion)) => {
                if let Some(usage) = completion.usage {
                    for (kind, count) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
                        self.runs.tokens.get_or_create(&[("kind", kind)]).inc_by(count);
                    }
                }
                "completed"
            }
            Some(Generated::Failed { retryable: true, .. }) => "retryable",
            Some(Generated::Failed { retryable: false, .. }) => "failed",
            None => "broke_off",
        };
        if !std::mem::replace(&mut self.is_over, true) {
            self.runs.ended(result, self.started);
        }
    }
}

impl Stream for Run {
    type Item = Generated;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Generated>> {
        let generated = ready!(self.inner.as_mut().poll_next(cx));
        self.see(generated.as_ref());
        Poll::Ready(generated)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.is_over {
            self.runs.ended("cancelled", self.started);
        }
    }
}
