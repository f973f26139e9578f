//! Encodes what clients get: JSON objects, stream events, and the text form of cursors.
//!
//! JSON is written straight into buffers, without a tree of values in between, because parts are written once
//! per viewer. The content of a large message, and a large input of a call, are not copied at all: every viewer's
//! frame refers to the copy in the hub. The envelopes (SSE, WebSocket) are written here as well.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use mainstem_machine::{
    BadCursor, Block, Body, ChatState, Cursor, Episode, Message, MessageId, OpenCall, QueuedMessage, Retry,
    RunError, Share, StreamEvent, Tool, Turn, WallTime,
};
use serde::Serialize;

use crate::limits::edge::{COPIED_CONTENT_BYTES_MAX, CURSOR_TEXT_BYTES_MAX};

/// The cursor as clients know it: opaque, short, URL-safe.
pub(super) fn cursor_to_text(cursor: &Cursor) -> String {
    URL_SAFE_NO_PAD.encode(cursor.to_bytes())
}

pub(super) fn cursor_from_text(text: &str) -> Result<Cursor, BadCursor> {
    if text.len() > CURSOR_TEXT_BYTES_MAX {
        return Err(BadCursor);
    }
    Cursor::from_bytes(&URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?)
}

/// A buffer being written: its own bytes, with shared chunks between them.
#[derive(Debug, Default)]
pub(super) struct Frame {
    closed: Vec<Bytes>,
    open: Vec<u8>,
}

impl Frame {
    /// The bytes, in order. No chunk is empty.
    pub(super) fn into_chunks(mut self) -> Vec<Bytes> {
        self.close();
        self.closed
    }

    /// The same: mostly there is one, and nothing is kept for others.
    pub(super) fn into_first_and_others(mut self) -> (Bytes, Vec<Bytes>) {
        if self.closed.is_empty() {
            return (self.open.into(), Vec::new());
        }
        self.close();
        let first = self.closed.remove(0);
        (first, self.closed)
    }

    /// All bytes, copied into one buffer.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if self.closed.is_empty() {
            return self.open;
        }
        self.close();
        self.closed.concat()
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push(std::mem::take(&mut self.open).into());
        }
    }

    /// What belongs to others: it is copied if it is small, and referred to otherwise.
    fn shared(&mut self, what: impl AsRef<[u8]> + Send + 'static) {
        if what.as_ref().len() <= COPIED_CONTENT_BYTES_MAX {
            self.open.extend_from_slice(what.as_ref());
        } else {
            self.close();
            self.closed.push(Bytes::from_owner(what));
        }
    }
}

/// Keeps a message alive while its content is being sent.
struct SharedContent(Arc<Message>);

impl AsRef<[u8]> for SharedContent {
    fn as_ref(&self) -> &[u8] {
        self.0.content.as_json().as_bytes()
    }
}

/// Keeps an input alive in the same way.
struct SharedInput(Arc<str>);

impl AsRef<[u8]> for SharedInput {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The events as Server-Sent Events: for each `event:`, `id:`, `data:` and an empty line.
pub(super) fn server_sent(events: &[StreamEvent]) -> Frame {
    let mut frame = Frame { open: Vec::with_capacity(size_hint(events)), ..Frame::default() };
    for event in events {
        let cursor = cursor_to_text(&event.cursor);
        for piece in ["event: ", kind(&event.body), "\nid: ", &cursor, "\ndata: "] {
            frame.open.extend_from_slice(piece.as_bytes());
        }
        write_event(&mut frame, event, &cursor);
        frame.open.extend_from_slice(b"\n\n");
    }
    frame
}

/// The events as the text of one WebSocket frame: a JSON array.
pub(super) fn json_array(events: &[StreamEvent]) -> Frame {
    let mut frame = Frame { open: Vec::with_capacity(size_hint(events)), ..Frame::default() };
    for (index, event) in events.iter().enumerate() {
        frame.open.push(if index == 0 { b'[' } else { b',' });
        write_event(&mut frame, event, &cursor_to_text(&event.cursor));
    }
    if events.is_empty() {
        frame.open.push(b'[');
    }
    frame.open.push(b']');
    frame
}

/// The `type` of an event.
pub(super) fn kind(body: &Body) -> &'static str {
    match body {
        Body::Message(_) => "message",
        Body::QueueUpdate(_) => "queue_update",
        Body::Status { .. } => "status",
        Body::Error(_) => "error",
        Body::Retry(_) => "retry",
        Body::Parts { .. } => "message_part",
        Body::PreviewReset { .. } => "preview_reset",
        Body::HistoryReset => "history_reset",
        Body::Synced => "synced",
    }
}

fn size_hint(events: &[StreamEvent]) -> usize {
    let text = |event: &StreamEvent| match &event.body {
        Body::Parts { text, .. } => text.len() + text.len() / 16,
        _ => 0,
    };
    events.iter().map(|event| 256 + text(event)).sum()
}

fn write_event(frame: &mut Frame, event: &StreamEvent, cursor: &str) {
    let out = &mut frame.open;
    let mut object = Object::begin(out);
    object.plain("type", kind(&event.body));
    object.plain("cursor", cursor);
    match &event.body {
        Body::Message(message) => {
            object.member("message");
            write_message(frame, message);
            frame.open.push(b'}');
            return;
        }
        Body::QueueUpdate(queue) => write_queue(object.member("queue"), queue),
        Body::Status { status, worker, history_version, attempt, turn, calls } => {
            object.plain("status", status.as_str());
            object.value("worker", worker);
            object.number("history_version", history_version);
            object.number("attempt", attempt);
            object.value("turn", turn);
            object.member("pending_calls");
            write_pending(frame, calls);
            frame.open.push(b'}');
            return;
        }
        Body::Error(error) => object.value("error", error),
        Body::Retry(retry) => write_retry(object.member("retry"), retry.as_ref()),
        Body::Parts { episode, first_seq, last_seq, place, block, text } => {
            write_episode(object.member("episode"), *episode);
            object.number("first_seq", first_seq);
            object.number("last_seq", last_seq);
            object.number("block", place);
            let text = std::str::from_utf8(text).expect("the text of parts is UTF-8");
            write_part(object.member("part"), block, text);
        }
        Body::PreviewReset { episode, reason } => {
            write_episode(object.member("episode"), *episode);
            object.plain("reason", reason.as_str());
        }
        Body::HistoryReset | Body::Synced => {}
    }
    object.end();
}

/// A piece of a block, with what all pieces of the block have.
fn write_part(out: &mut Vec<u8>, block: &Block, text: &str) {
    if *block == Block::Whole {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut part = Object::begin(out);
    match block {
        Block::Text => {
            part.plain("type", "text");
            part.value("text", text);
        }
        Block::Reasoning => {
            part.plain("type", "reasoning");
            part.value("text", text);
        }
        Block::ToolCall(call) => {
            part.plain("type", "tool_call");
            part.value("id", &call.id);
            part.value("name", &call.name);
            part.value("input_text", text);
        }
        Block::Unknown | Block::Whole => part.plain("type", "unknown"),
    }
    part.end();
}

fn write_message(frame: &mut Frame, message: &Arc<Message>) {
    let mut object = Object::begin(&mut frame.open);
    object.number("id", message.id);
    object.number("revision", message.revision);
    object.plain("role", message.role.as_str());
    object.member("content");
    frame.shared(SharedContent(Arc::clone(message)));
    let mut object = Object::go_on(&mut frame.open);
    object.value("interrupted", &message.interrupted);
    match message.episode {
        Some(episode) => write_episode(object.member("episode"), episode),
        None => object.null("episode"),
    }
    object.value("finish_reason", &message.finish_reason);
    object.value("usage", &message.usage);
    object.value("queued_as", &message.queued_as);
    object.value("client_id", &message.client_id);
    object.value("turn", &message.turn);
    object.time("created_at", message.created_at);
    object.end();
}

fn write_queue(out: &mut Vec<u8>, queue: &[QueuedMessage]) {
    out.push(b'[');
    for (index, queued) in queue.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_queued(out, queued);
    }
    out.push(b']');
}

fn write_queued(out: &mut Vec<u8>, queued: &QueuedMessage) {
    let mut object = Object::begin(out);
    object.number("id", queued.id);
    object.value("client_id", &queued.client_id);
    object.number("revision", queued.revision);
    object.member("content").extend_from_slice(queued.content.as_json().as_bytes());
    object.time("created_at", queued.created_at);
    object.end();
}

fn write_episode(out: &mut Vec<u8>, episode: Episode) {
    let mut object = Object::begin(out);
    object.number("history_version", episode.history_version);
    object.number("attempt", episode.attempt);
    object.end();
}

fn write_retry(out: &mut Vec<u8>, retry: Option<&Retry>) {
    let Some(retry) = retry else {
        out.extend_from_slice(b"null");
        return;
    };
    let mut object = Object::begin(out);
    object.number("attempt", retry.attempt);
    object.number("delay_ms", retry.delay_ms);
    object.value::<RunError>("error", &retry.error);
    object.time("at", retry.at);
    object.end();
}

/// A `Chat`.
pub(super) fn write_chat(out: &mut Vec<u8>, chat: &ChatState) {
    let mut object = Object::begin(out);
    object.value("id", &chat.id);
    object.value("owner", &chat.owner);
    object.value("external_id", &chat.external_id);
    object.value("title", &chat.title);
    object.value("model", &chat.model);
    object.value("instructions", &chat.instructions);
    write_array(object.member("tools"), chat.tools.iter(), write_tool);
    object.plain("status", chat.status.as_str());
    object.value("worker", &chat.worker);
    object.number("snapshot_version", chat.snapshot_version);
    object.number("history_version", chat.history_version);
    object.number("queue_version", chat.queue_version);
    object.number("attempt", chat.attempt);
    object.value("error", &chat.error);
    write_retry(object.member("retry"), chat.retry.as_ref());
    object.value("turn", &chat.turn_id());
    let mut pending = Frame::default();
    write_pending(&mut pending, &chat.calls);
    object.member("pending_calls").extend_from_slice(&pending.into_bytes());
    write_queue(object.member("queue"), &chat.queue);
    object.time("created_at", chat.created_at);
    object.time("updated_at", chat.updated_at);
    object.end();
}

/// With whom a chat is shared.
pub(super) fn write_shares(out: &mut Vec<u8>, shares: &[Share]) {
    let mut object = Object::begin(out);
    write_array(object.member("shares"), shares.iter(), write_share);
    object.end();
}

pub(super) fn write_share(out: &mut Vec<u8>, share: &Share) {
    let mut object = Object::begin(out);
    object.value("user", &share.user);
    object.plain("may", share.may.as_str());
    object.end();
}

/// The calls that the client is to carry out.
fn write_pending(frame: &mut Frame, calls: &[OpenCall]) {
    frame.open.push(b'[');
    for (index, call) in calls.iter().filter(|call| call.waits_for_client()).enumerate() {
        if index > 0 {
            frame.open.push(b',');
        }
        let mut object = Object::begin(&mut frame.open);
        object.value("tool_call_id", &call.id);
        object.value("name", &call.name);
        object.member("input");
        frame.shared(SharedInput(Arc::clone(&call.input)));
        frame.open.push(b'}');
    }
    frame.open.push(b']');
}

fn write_tool(out: &mut Vec<u8>, tool: &Tool) {
    let mut object = Object::begin(out);
    object.value("name", &tool.name);
    object.value("description", &tool.description);
    object.member("input_schema").extend_from_slice(tool.input_schema.as_bytes());
    object.end();
}

/// A `Turn`.
pub(super) fn write_turn(out: &mut Vec<u8>, turn: &Turn, messages: &[MessageId]) {
    let mut object = Object::begin(out);
    object.number("turn", turn.id);
    object.plain("status", turn.status.as_str());
    object.value("finish_reason", &turn.finish_reason);
    object.value("usage", &turn.usage);
    object.value("error", &turn.error);
    object.value("messages", messages);
    object.end();
}

/// A list of chats, with the `before` of the next page.
pub(super) fn write_chats<'a>(
    out: &mut Vec<u8>,
    chats: impl IntoIterator<Item = &'a ChatState>,
    next: Option<impl Display>,
) {
    let mut object = Object::begin(out);
    let list = object.member("chats");
    write_array(list, chats, write_chat);
    match next {
        Some(next) => object.plain("next", &next.to_string()),
        None => object.null("next"),
    }
    object.end();
}

/// A page of messages, with the `after_id` of the next one.
pub(super) fn messages_page(messages: &[Arc<Message>], next: Option<u64>, reset_version: u64) -> Frame {
    let mut frame = Frame::default();
    Object::begin(&mut frame.open).member("messages").push(b'[');
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            frame.open.push(b',');
        }
        write_message(&mut frame, message);
    }
    frame.open.push(b']');
    let mut object = Object::go_on(&mut frame.open);
    object.value("next", &next);
    object.number("reset_version", reset_version);
    object.end();
    frame
}

/// The answer to a send or an edit.
pub(super) fn write_sent(
    out: &mut Vec<u8>,
    message: Option<Message>,
    queued: Option<&QueuedMessage>,
    snapshot_version: u64,
) {
    let mut object = Object::begin(out);
    match message {
        Some(message) => {
            let mut frame = Frame::default();
            write_message(&mut frame, &Arc::new(message));
            object.member("message").extend_from_slice(&frame.into_bytes());
        }
        None => object.null("message"),
    }
    match queued {
        Some(queued) => write_queued(object.member("queued"), queued),
        None => object.null("queued"),
    }
    object.number("snapshot_version", snapshot_version);
    object.end();
}

fn write_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// A JSON object being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Continues an object that has members already.
    fn go_on(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: false }
    }

    /// A member whose value the caller writes.
    fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A string that needs no escaping.
    fn plain(&mut self, name: &'static str, text: &str) {
        let out = self.member(name);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }

    /// Formatting it would cost more than all else of a part.
    fn number(&mut self, name: &'static str, number: impl Serialize) {
        self.value(name, &number);
    }

    fn time(&mut self, name: &'static str, time: WallTime) {
        write!(self.member(name), "\"{time}\"").expect("a buffer takes all");
    }

    fn null(&mut self, name: &'static str) {
        self.member(name).extend_from_slice(b"null");
    }

    fn value<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        serde_json::to_writer(self.member(name), value).expect("a buffer takes all");
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::{
        CallResult, ChatId, Content, FinishReason, Lease, MessageId, PreviewPosition, PreviewProgress,
        ReplicaId, ResetReason, Role, Seq, Status, Usage, Version,
    };
    use serde_json::{Value, json};

    const EPISODE: Episode = Episode { history_version: Version(7), attempt: 2 };

    fn event(body: Body) -> StreamEvent {
        let preview = PreviewPosition { episode: EPISODE, lease: Lease(3), to: PreviewProgress::Seq(Seq(9)) };
        StreamEvent {
            cursor: Cursor { message: MessageId(4), preview: Some(preview), ..Cursor::default() },
            body,
        }
    }

    fn message(content: Content) -> Arc<Message> {
        Arc::new(Message {
            id: MessageId(4),
            revision: Version(7),
            role: Role::Assistant,
            content,
            interrupted: true,
            episode: Some(EPISODE),
            finish_reason: Some(FinishReason::ToolCalls),
            usage: Some(Usage { input_tokens: 3, output_tokens: 5 }),
            queued_as: None,
            client_id: Some("c-1".into()),
            turn: Some(MessageId(1)),
            created_at: WallTime(951_782_400_000),
        })
    }

    fn pending(is_answered: bool) -> OpenCall {
        let result = is_answered.then(|| CallResult::error("none"));
        let (name, input) = ("find".into(), r#"{"n": 1.0}"#.into());
        OpenCall { id: "c\"1".into(), name, input, carrier: mainstem_machine::Carrier::Client, result }
    }

    /// Encodes an event in both envelopes, and checks that they agree.
    fn decoded(body: Body) -> Value {
        let event = event(body);
        let bytes = json_array(std::slice::from_ref(&event)).into_bytes();
        let mut events: Vec<Value> = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(events.len(), 1);
        let event_sent = events.remove(0);
        let lines = String::from_utf8(server_sent(&[event]).into_bytes()).expect("UTF-8");
        let [kind, id, data, "", ""] = lines.split('\n').collect::<Vec<_>>()[..] else { panic!("{lines:?}") };
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(
            (kind.strip_prefix("event: "), id.strip_prefix("id: ")),
            (event_sent["type"].as_str(), event_sent["cursor"].as_str())
        );
        assert_eq!(data, event_sent, "SSE and WebSocket say the same");
        event_sent
    }

    /// A part of the third block, and its event.
    fn part(block: Block, text: &'static str, part: Value) -> (Body, Value) {
        let (first_seq, last_seq, place) = (Seq(8), Seq(9), 2);
        let text = Bytes::from_static(text.as_bytes());
        let episode = json!({"history_version": 7, "attempt": 2});
        let body = Body::Parts { episode: EPISODE, first_seq, last_seq, place, block, text };
        let event = json!({"type": "message_part", "episode": episode, "first_seq": 8, "last_seq": 9, "block": 2,
            "part": part});
        (body, event)
    }

    #[test]
    fn every_event_has_its_type_its_cursor_and_what_the_protocol_names() {
        let cursor = cursor_to_text(&event(Body::Synced).cursor);
        let error = RunError { code: "provider".into(), message: "said \"no\"\n".into() };
        let queued = QueuedMessage {
            id: MessageId(5),
            content: Content::text("x"),
            created_at: WallTime(0),
            client_id: None,
            revision: Version(0),
        };
        let retry = Retry { attempt: 2, delay_ms: 500, error: error.clone(), at: WallTime(500) };
        let episode = json!({"history_version": 7, "attempt": 2});
        let error_json = json!({"code": "provider", "message": "said \"no\"\n"});
        let cases = [
            (
                Body::Message(message(Content::text("é\u{2028}\""))),
                json!({"type": "message", "message": {"id": 4, "revision": 7, "role": "assistant",
                    "content": [{"type": "text", "text": "é\u{2028}\""}], "interrupted": true,
                    "episode": episode, "finish_reason": "tool_calls",
                    "usage": {"input_tokens": 3, "output_tokens": 5}, "queued_as": null, "client_id": "c-1", "turn": 1, "created_at": "2000-02-29T00:00:00.000Z"}}),
            ),
            (
                Body::QueueUpdate([queued].into()),
                json!({"type": "queue_update", "queue": [{"id": 5, "client_id": null, "revision": 0, "created_at": "1970-01-01T00:00:00.000Z",
                    "content": [{"type": "text", "text": "x"}]}]}),
            ),
            (Body::QueueUpdate([].into()), json!({"type": "queue_update", "queue": []})),
            (
                Body::Status {
                    status: Status::Running,
                    worker: Some(ReplicaId::new("a").expect("an id")),
                    history_version: Version(7),
                    attempt: 2,
                    turn: Some(MessageId(1)),
                    calls: [pending(false), pending(true)].into(),
                },
                json!({"type": "status", "status": "running", "worker": "a", "history_version": 7,
                    "attempt": 2, "turn": 1,
                    "pending_calls": [{"tool_call_id": "c\"1", "name": "find", "input": {"n": 1.0}}]}),
            ),
            (Body::Error(error), json!({"type": "error", "error": error_json})),
            (
                Body::Retry(Some(retry)),
                json!({"type": "retry", "retry": {"attempt": 2, "delay_ms": 500, "error": error_json,
                    "at": "1970-01-01T00:00:00.500Z"}}),
            ),
            (Body::Retry(None), json!({"type": "retry", "retry": null})),
            (
                Body::Parts {
                    episode: EPISODE,
                    first_seq: Seq(8),
                    last_seq: Seq(9),
                    place: 0,
                    block: Block::Text,
                    text: Bytes::from_static("8 \u{1}\\9 ".as_bytes()),
                },
                json!({"type": "message_part", "episode": episode, "first_seq": 8, "last_seq": 9, "block": 0,
                    "part": {"type": "text", "text": "8 \u{1}\\9 "}}),
            ),
            part(Block::Reasoning, "h\"m", json!({"type": "reasoning", "text": "h\"m"})),
            part(
                Block::tool_call("c\"1", "find"),
                "{\"n\":",
                json!({"type": "tool_call", "id": "c\"1", "name": "find", "input_text": "{\"n\":"}),
            ),
            part(
                Block::Whole,
                r#"{"type":"file","url":"u","own":1.0}"#,
                json!({"type": "file", "url": "u", "own": 1.0}),
            ),
            part(Block::Unknown, "of a later release", json!({"type": "unknown"})),
            (
                Body::PreviewReset { episode: EPISODE, reason: ResetReason::Takeover },
                json!({"type": "preview_reset", "episode": episode, "reason": "takeover"}),
            ),
            (Body::HistoryReset, json!({"type": "history_reset"})),
            (Body::Synced, json!({"type": "synced"})),
        ];
        for (body, mut expected) in cases {
            expected["cursor"] = json!(cursor);
            assert_eq!(decoded(body), expected);
        }
    }

    #[test]
    fn a_server_sent_event_is_three_lines_and_an_empty_one() {
        let event = event(Body::Parts {
            episode: EPISODE,
            first_seq: Seq(1),
            last_seq: Seq(1),
            place: 0,
            block: Block::Text,
            text: Bytes::from_static(b"a\nb\r\n"),
        });
        let text = String::from_utf8(server_sent(&[event.clone(), event]).into_bytes()).expect("UTF-8");
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 9, "text never breaks a line: {lines:?}");
        assert_eq!(lines[0], "event: message_part");
        assert!(lines[1].starts_with("id: ") && lines[2].starts_with("data: {\"type\":\"message_part\""));
        assert_eq!((lines[3], lines[7], lines[8]), ("", "", ""));
        assert_eq!(lines[0..3], lines[4..7]);
    }

    #[test]
    fn a_large_message_is_referred_to_and_reads_the_same() {
        let message = message(Content::text(&"long ".repeat(COPIED_CONTENT_BYTES_MAX)));
        let chunks = server_sent(&[event(Body::Message(message.clone()))]).into_chunks();
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[1].as_ptr(), message.content.as_json().as_ptr(), "B1: one copy for all viewers");
        let read = decoded(Body::Message(message.clone()));
        let content: Value = serde_json::from_str(message.content.as_json()).expect("JSON");
        assert_eq!(read["message"]["content"], content);
    }

    #[test]
    fn a_large_input_of_a_call_is_referred_to_and_reads_the_same() {
        let large: Arc<str> = format!("\"{}\"", "i".repeat(COPIED_CONTENT_BYTES_MAX)).into();
        let small = OpenCall { id: "small".into(), ..pending(false) };
        let calls = [OpenCall { input: large.clone(), ..pending(false) }, small];
        let body = Body::Status {
            status: Status::RequiresAction,
            worker: None,
            history_version: Version(7),
            attempt: 2,
            turn: Some(MessageId(1)),
            calls: calls.into(),
        };
        let chunks = json_array(&[event(body.clone())]).into_chunks();
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr(), "B1: one copy for all viewers");
        let read = &decoded(body)["pending_calls"];
        let input: Value = serde_json::from_str(&large).expect("JSON");
        assert_eq!(read[0], json!({"tool_call_id": "c\"1", "name": "find", "input": input}));
        assert_eq!(read[1], json!({"tool_call_id": "small", "name": "find", "input": {"n": 1.0}}));
    }

    #[test]
    fn a_chat_has_every_field_of_the_protocol() {
        let chat = ChatState {
            id: ChatId("0190d6f1-0000-7000-8000-000000000001".parse().expect("a UUID")),
            owner: "me".into(),
            title: Some("a \"title\"".into()),
            model: None,
            status: Status::Waiting,
            worker: None,
            lease: Lease(1),
            attempt_lease: None,
            snapshot_version: Version(3),
            history_version: Version(2),
            queue_version: Version(1),
            reset_version: Version(0),
            attempt: 1,
            error: None,
            retry: None,
            queue: Vec::new(),
            last_message: MessageId(2),
            last_id: MessageId(2),
            last_told: MessageId(2),
            turn: None,
            external_id: Some("x 1".into()),
            instructions: None,
            shares: [].into(),
            calls: [].into(),
            tools: [Tool {
                name: "find".into(),
                description: "".into(),
                input_schema: r#"{"type": "object"}"#.into(),
            }]
            .into(),
            created_at: WallTime(0),
            updated_at: WallTime(1),
        };
        let mut out = Vec::new();
        write_chats(&mut out, [&chat], Some(chat.id));
        let read: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            read,
            json!({"next": "0190d6f1-0000-7000-8000-000000000001", "chats": [{
                "id": "0190d6f1-0000-7000-8000-000000000001", "owner": "me", "external_id": "x 1", "title": "a \"title\"", "model": null,
                "instructions": null,
                "tools": [{"name": "find", "description": "", "input_schema": {"type": "object"}}],
                "status": "waiting", "worker": null, "snapshot_version": 3, "history_version": 2,
                "queue_version": 1, "attempt": 1, "error": null, "retry": null, "turn": null, "pending_calls": [], "queue": [],
                "created_at": "1970-01-01T00:00:00.000Z", "updated_at": "1970-01-01T00:00:00.001Z"}]})
        );
    }

    #[test]
    fn a_page_and_a_send_tell_what_follows() {
        let message = message(Content::text("hi"));
        let page = messages_page(&[message.clone(), message.clone()], Some(4), 6).into_bytes();
        let read: Value = serde_json::from_slice(&page).expect("JSON");
        assert_eq!((read["messages"].as_array().map(Vec::len), &read["next"]), (Some(2), &json!(4)));
        assert_eq!(read["reset_version"], 6);
        let page = messages_page(&[], None, 0).into_bytes();
        assert_eq!(page, br#"{"messages":[],"next":null,"reset_version":0}"#);
        let mut sent = Vec::new();
        write_sent(&mut sent, Some((*message).clone()), None, 9);
        let read: Value = serde_json::from_slice(&sent).expect("JSON");
        assert_eq!((&read["message"]["id"], &read["queued"]), (&json!(4), &Value::Null));
        assert_eq!(read["snapshot_version"], 9);
    }

    #[test]
    fn what_is_no_cursor_is_none() {
        let text = cursor_to_text(&event(Body::Synced).cursor);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
        assert_eq!(cursor_from_text(&text), Ok(event(Body::Synced).cursor));
        let long = "A".repeat(CURSOR_TEXT_BYTES_MAX + 1);
        for bad in ["", "0", "not a cursor", "é", &text[1..], &format!("{text}="), &long] {
            assert_eq!(cursor_from_text(bad), Err(BadCursor), "{bad:?}");
        }
    }
}
