//! Spans, told to a collector by OTLP once they are over. A span is a value: nothing of it is carried through the code
//! that it is about.
//!
//! The trace of a turn and the id of its span are computed from the chat and the turn, so that all replicas that work on it
//! tell of the same trace, and all of them sample it or none does. W3C Trace Context; OpenTelemetry's GenAI conventions
//! (in development) for what concerns models.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use mainstem_machine::{ChatId, MessageId};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanLinks,
    SpanProcessor,
};
use rand::rngs::OsRng;
use rand::{RngCore, TryRngCore};
use sha2::{Digest, Sha256};

use crate::limits::insight::{TRACED_TURNS_MAX, TRACES_FLUSH_TIMEOUT};

/// Where spans go.
#[derive(Debug)]
pub struct Traces {
    processor: BatchSpanProcessor,
    sampler: Sampler,
    scope: InstrumentationScope,
    /// What models and users said is told too.
    pub(super) with_content: bool,
    turns: Mutex<BTreeMap<ChatId, Turn>>,
}

/// A turn that is answered here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) id: MessageId,
    /// When its message was sent.
    pub(super) since: SystemTime,
}

/// The place of a span in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    trace: TraceId,
    span: SpanId,
    parent: SpanId,
    parent_is_remote: bool,
}

/// A span that is over.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) place: Place,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    pub(super) since: SystemTime,
    pub(super) attributes: Vec<KeyValue>,
    /// Why it failed, in a word.
    pub(super) error: Option<Cow<'static, str>>,
}

fn digest(chat: ChatId, turn: MessageId) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(b"mainstem turn");
    digest.update(chat.0.as_bytes());
    digest.update(turn.0.to_be_bytes());
    digest.finalize().into()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.unwrap_err().fill_bytes(&mut bytes);
    bytes
}

impl Place {
    /// Of a turn's own span.
    pub(super) fn of_turn(chat: ChatId, turn: MessageId) -> Self {
        let digest = digest(chat, turn);
        let (trace, span) = digest.split_at(16);
        Self {
            trace: TraceId::from_bytes(trace.try_into().expect("sixteen bytes")),
            span: SpanId::from_bytes(span[..8].try_into().expect("eight bytes")),
            parent: SpanId::INVALID,
            parent_is_remote: false,
        }
    }

    /// The first of a trace of its own.
    pub(super) fn alone() -> Self {
        let (trace, span) = (TraceId::from_bytes(random()), SpanId::from_bytes(random()));
        Self { trace, span, parent: SpanId::INVALID, parent_is_remote: false }
    }

    /// One below it.
    pub(super) fn below(self) -> Self {
        Self { span: SpanId::from_bytes(random()), parent: self.span, ..self }
    }

    /// One below that which another process told of; `None` if what it told makes no sense.
    pub(super) fn below_remote(traceparent: &str) -> Option<Self> {
        let mut fields = traceparent.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        let is_hex = |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if lengths != [2, 32, 16, 2]
            || version == "ff"
            || ![version, trace, span, flags].into_iter().all(is_hex)
        {
            return None;
        }
        let (trace, parent) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let is_valid = trace != TraceId::INVALID && parent != SpanId::INVALID;
        let span = SpanId::from_bytes(random());
        is_valid.then_some(Self { trace, span, parent, parent_is_remote: true })
    }

    pub(super) fn traceparent(self, is_sampled: bool) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(is_sampled))
    }
}

impl Traces {
    /// As the environment says by OpenTelemetry's variables; `None` unless they name an endpoint.
    pub fn from_environment(replica: &str, with_content: bool) -> anyhow::Result<Option<Self>> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let endpoint =
            set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        if is_off || endpoint.is_none() {
            return Ok(None);
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            match set(name) {
                Some(protocol) if protocol != "grpc" => {
                    bail!("{name} is {protocol}: spans are told by grpc alone (a collector's port 4317)")
                }
                Some(_) => break,
                None => {}
            }
        }
        let exporter = SpanExporter::builder().with_tonic().build().context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        let resource = Resource::builder();
        let named = set("OTEL_SERVICE_NAME").is_some()
            || set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|given| given.contains("service.name="));
        let resource = if named { resource } else { resource.with_service_name("mainstem") };
        let resource = resource.with_attributes([
            KeyValue::new("service.instance.id", replica.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ]);
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource.build());
        Ok(Some(Self {
            processor,
            sampler: sampler()?,
            scope: InstrumentationScope::builder("mainstem").with_version(env!("CARGO_PKG_VERSION")).build(),
            with_content,
            turns: Mutex::default(),
        }))
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, BTreeMap<ChatId, Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of a chat is answered here from now on.
    pub(super) fn answers(&self, chat: ChatId, turn: Turn) {
        let mut turns = self.turns();
        // What another worker went on with is not heard of here.
        if turns.len() >= TRACED_TURNS_MAX {
            turns.pop_first();
        }
        turns.insert(chat, turn);
    }

    /// The turn of a chat that is answered here.
    pub(super) fn turn(&self, chat: ChatId) -> Option<Turn> {
        self.turns().get(&chat).copied()
    }

    /// The turn of a chat has ended.
    pub(super) fn ended(&self, chat: ChatId) -> Option<Turn> {
        self.turns().remove(&chat)
    }

    /// Whether a trace is told of.
    pub(super) fn is_sampled(&self, place: Place) -> bool {
        let sampled = self.sampler.should_sample(None, place.trace, "", &SpanKind::Internal, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    /// A span is over. This never waits: what does not fit the queue is dropped.
    pub(super) fn over(&self, span: Over) {
        if !self.is_sampled(span.place) {
            return;
        }
        let Over { place, name, kind, since, attributes, error } = span;
        let now = SystemTime::now();
        let context = SpanContext::new(place.trace, place.span, TraceFlags::SAMPLED, false, TraceState::NONE);
        let status = error.map_or(Status::Unset, |description| Status::Error { description });
        self.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: place.parent,
            parent_span_is_remote: place.parent_is_remote,
            span_kind: kind,
            name,
            // The clocks of two hosts differ.
            start_time: since.min(now),
            end_time: now,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Tells what is left.
    pub fn flush(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(TRACES_FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans may not have been told");
        }
    }
}

fn sampler() -> anyhow::Result<Sampler> {
    let name = std::env::var("OTEL_TRACES_SAMPLER").unwrap_or_default();
    // There is no parent that could have decided: the first span of a trace is ours.
    Ok(match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "" | "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => {
            let ratio = std::env::var("OTEL_TRACES_SAMPLER_ARG").unwrap_or_else(|_| "1".into());
            match ratio.parse() {
                Ok(share) if (0.0..=1.0).contains(&share) => Sampler::TraceIdRatioBased(share),
                _ => bail!("OTEL_TRACES_SAMPLER_ARG is {ratio}: expected a share from 0 to 1"),
            }
        }
        _ => bail!("OTEL_TRACES_SAMPLER is {name}: expected always_on, always_off or traceidratio"),
    })
}
