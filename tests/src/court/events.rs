//! Events as clients get them, as the machines have them. `docs/protocol.md` has their members.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use mainstem_machine::{
    Accepted, Block, Body, Carrier, Content, Cursor, Episode, FinishReason, Message, MessageId, OpenCall,
    QueuedMessage, ReplicaId, ResetReason, Retry, Role, RunError, Seq, Status, StreamEvent, Usage, Version,
    WallTime,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    cursor: String,
    message: Option<WireMessage>,
    queue: Option<Vec<WireQueued>>,
    status: Option<Status>,
    worker: Option<ReplicaId>,
    history_version: Option<Version>,
    attempt: Option<u64>,
    error: Option<RunError>,
    retry: Option<WireRetry>,
    episode: Option<Episode>,
    first_seq: Option<Seq>,
    last_seq: Option<Seq>,
    block: Option<u32>,
    part: Option<Box<RawValue>>,
    reason: Option<String>,
    turn: Option<MessageId>,
    pending_calls: Option<Vec<WireCall>>,
}

#[derive(Deserialize)]
struct WireCall {
    tool_call_id: Arc<str>,
    name: Arc<str>,
    input: Box<RawValue>,
}

#[derive(Deserialize)]
struct WireMessage {
    id: MessageId,
    revision: Version,
    role: Role,
    content: Box<RawValue>,
    interrupted: bool,
    episode: Option<Episode>,
    finish_reason: Option<FinishReason>,
    usage: Option<Usage>,
    queued_as: Option<MessageId>,
    client_id: Option<Arc<str>>,
    turn: Option<MessageId>,
    created_at: String,
}

#[derive(Deserialize)]
struct WireQueued {
    id: MessageId,
    client_id: Option<Arc<str>>,
    revision: Version,
    content: Box<RawValue>,
    created_at: String,
}

#[derive(Deserialize)]
struct WireRetry {
    attempt: u64,
    delay_ms: u64,
    error: RunError,
    at: String,
}

#[derive(Deserialize)]
struct Sent {
    message: Option<WireMessage>,
    queued: Option<WireQueued>,
    snapshot_version: Version,
}

#[derive(Deserialize)]
struct Page {
    messages: Vec<WireMessage>,
}

/// A part of any kind.
#[derive(Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input_text: Option<String>,
}

/// The block of a part, and the piece of it.
fn piece(json: &RawValue) -> Option<(Block, String)> {
    let part: Part = serde_json::from_str(json.get()).ok()?;
    Some(match &*part.r#type {
        "text" => (Block::Text, part.text?),
        "reasoning" => (Block::Reasoning, part.text?),
        "tool_call" => (Block::tool_call(&part.id?, &part.name?), part.input_text?),
        _ => (Block::Whole, json.get().to_owned()),
    })
}

/// The event of this JSON, and its cursor as it came.
///
/// # Panics
///
/// If it is not as the protocol says (S1).
pub fn parse(json: &str) -> (StreamEvent, String) {
    let mut event: Event = serde_json::from_str(json).unwrap_or_else(|why| panic!("S1: {why}: {json}"));
    let text = std::mem::take(&mut event.cursor);
    let body = body(event).unwrap_or_else(|| panic!("S1: an event lacks a member: {json}"));
    (StreamEvent { cursor: cursor(&text), body }, text)
}

/// The cursor of this text.
pub fn cursor(text: &str) -> Cursor {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| Cursor::from_bytes(&bytes).ok());
    cursor.unwrap_or_else(|| panic!("S1: {text} is no cursor"))
}

fn body(event: Event) -> Option<Body> {
    Some(match &*event.kind {
        "message" => Body::Message(message(event.message?)?.into()),
        "queue_update" => {
            let queue: Option<Vec<_>> = event.queue?.into_iter().map(queued).collect();
            Body::QueueUpdate(queue?.into())
        }
        "status" => Body::Status {
            status: event.status?,
            worker: event.worker,
            history_version: event.history_version?,
            attempt: event.attempt?,
            turn: event.turn,
            calls: event.pending_calls?.into_iter().map(pending).collect(),
        },
        "error" => Body::Error(event.error?),
        "retry" => Body::Retry(match event.retry {
            Some(WireRetry { attempt, delay_ms, error, at }) => {
                Some(Retry { attempt, delay_ms, error, at: wall_time(&at)? })
            }
            None => None,
        }),
        "message_part" => {
            let (block, text) = piece(&event.part?)?;
            Body::Parts {
                episode: event.episode?,
                first_seq: event.first_seq?,
                last_seq: event.last_seq?,
                place: event.block?,
                block,
                text: Bytes::from(text),
            }
        }
        "preview_reset" => Body::PreviewReset { episode: event.episode?, reason: reason(&event.reason?)? },
        "history_reset" => Body::HistoryReset,
        "synced" => Body::Synced,
        _ => return None,
    })
}

/// The answer to a send or an edit, of this JSON.
pub fn sent(json: &str) -> Accepted {
    let sent: Sent = serde_json::from_str(json).unwrap_or_else(|why| panic!("S6: {why}: {json}"));
    let read = || {
        let (message, queued) = (sent.message.map(message), sent.queued.map(queued));
        let (message, queued) =
            (message.map_or(Some(None), |m| m.map(Some))?, queued.map_or(Some(None), |q| q.map(Some))?);
        Some(Accepted::Sent { message, queued, snapshot_version: sent.snapshot_version })
    };
    read().unwrap_or_else(|| panic!("S6: an answer lacks a member: {json}"))
}

/// The first message of a page of the history, of this JSON.
pub fn first_of_page(json: &str) -> Option<Message> {
    let page: Page = serde_json::from_str(json).unwrap_or_else(|why| panic!("S1: {why}: {json}"));
    page.messages.into_iter().next().and_then(message)
}

fn message(wire: WireMessage) -> Option<Message> {
    let created_at = wall_time(&wire.created_at)?;
    let WireMessage {
        id,
        revision,
        role,
        content,
        interrupted,
        episode,
        finish_reason,
        usage,
        queued_as,
        client_id,
        turn,
        ..
    } = wire;
    let content = Content::from_stored(content.get());
    Some(Message {
        id,
        revision,
        role,
        content,
        interrupted,
        episode,
        finish_reason,
        usage,
        queued_as,
        client_id,
        turn,
        created_at,
    })
}

fn pending(WireCall { tool_call_id, name, input }: WireCall) -> OpenCall {
    OpenCall { id: tool_call_id, name, input: input.get().into(), carrier: Carrier::Client, result: None }
}

fn queued(WireQueued { id, client_id, revision, content, created_at }: WireQueued) -> Option<QueuedMessage> {
    Some(QueuedMessage {
        id,
        client_id,
        revision,
        content: Content::from_stored(content.get()),
        created_at: wall_time(&created_at)?,
    })
}

fn reason(name: &str) -> Option<ResetReason> {
    [ResetReason::Retry, ResetReason::Takeover, ResetReason::Edit].into_iter().find(|r| r.as_str() == name)
}

fn wall_time(text: &str) -> Option<WallTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(WallTime)
}
