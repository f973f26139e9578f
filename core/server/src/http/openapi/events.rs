//! The events of a stream. `encode` writes them; tests hold what streams tell against this.

use mainstem_machine::ResetReason;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder};

use super::objects::{message_id, replica, status};
use super::schema::{
    Members, Told, array, at_most, count, described, matching, named, number_from, object, one_of,
    one_of_texts, or_null,
};
use crate::limits::edge::CURSOR_TEXT_BYTES_MAX;

/// Every schema of this kind, with its name.
pub(super) fn schemas() -> Vec<(&'static str, Told)> {
    let mut schemas = events();
    let all: Vec<Told> = schemas.iter().map(|(name, _)| named(name)).collect();
    let frame = ArrayBuilder::from(array(named("StreamEvent"))).min_items(Some(1)).build();
    schemas.push(("Cursor", cursor()));
    schemas.push(("StreamEvent", one_of(all).into()));
    schemas.push(("StreamFrame", frame.into()));
    schemas
}

fn cursor() -> Told {
    let words = "Opaque: a place in a chat's stream, good on every replica for as long as the chat lives.";
    described(at_most(CURSOR_TEXT_BYTES_MAX, matching("^[A-Za-z0-9_-]+$")), words)
}

fn event(kind: &str, words: &str) -> ObjectBuilder {
    object(words).has("type", one_of_texts([kind]), "").has(
        "cursor",
        named("Cursor"),
        "a stream that begins here tells what comes behind this event",
    )
}

fn events() -> Vec<(&'static str, Told)> {
    let reasons = [ResetReason::Retry, ResetReason::Takeover, ResetReason::Edit].map(ResetReason::as_str);
    vec![
        (
            "MessageEvent",
            event("message", "A message was committed. The preview is dropped.")
                .has("message", named("Message"), "")
                .into(),
        ),
        (
            "QueueUpdateEvent",
            event("queue_update", "The whole queue.")
                .has("queue", array(named("QueuedMessage")), "in the order of their turns")
                .into(),
        ),
        (
            "StatusEvent",
            event("status", "What the chat does now. It is told again when an episode begins.")
                .has("status", status(), "")
                .has("worker", or_null(replica()), "the replica that holds the chat's lease")
                .has("history_version", count(), "of the episode that is announced")
                .has("attempt", count(), "of the episode that is announced")
                .has("turn", or_null(message_id()), "the turn that runs, or the last one")
                .has("pending_calls", array(named("PendingCall")), "what the client is to carry out")
                .into(),
        ),
        (
            "ErrorEvent",
            event("error", "Why the chat is in `error`.").has("error", named("RunError"), "").into(),
        ),
        (
            "RetryEvent",
            event("retry", "A generation failed, and is tried again.")
                .has("retry", or_null(named("Retry")), "null: that is over")
                .into(),
        ),
        (
            "MessagePartEvent",
            event(
                "message_part",
                "Live output: parts of one block of an answer, joined. The preview takes it.",
            )
            .has("episode", named("Episode"), "")
            .has("first_seq", number_from(1), "the `last_seq` before it, and 1; the first of an episode is 1")
            .has("last_seq", number_from(1), "")
            .has("block", count(), "the place, from 0, that the part will have in the message's content")
            .has("part", named("Part"), "")
            .into(),
        ),
        (
            "PreviewResetEvent",
            event("preview_reset", "The preview of that episode is void.")
                .has("episode", named("Episode"), "")
                .has("reason", one_of_texts(reasons), "")
                .into(),
        ),
        (
            "HistoryResetEvent",
            event("history_reset", "Messages were removed. All are dropped, and the full list follows.")
                .into(),
        ),
        (
            "SyncedEvent",
            event(
                "synced",
                "What the replica knew when the stream began has been told. What follows is live.",
            )
            .into(),
        ),
    ]
}
