//! What requests are answered with. `encode` writes these objects; tests hold what it writes against this.

use mainstem_machine::{Access, FinishReason, Status, TurnStatus};
use utoipa::openapi::schema::Object;

use super::schema::{
    Members, Told, all_of, any, any_object, array, at_least, at_most, boolean, count, matching, named, null,
    number, object, one_of, one_of_texts, or_null, string, time, uuid,
};
use crate::limits::edge::MESSAGE_ID_MAX;

/// What a replica may be called.
const REPLICA: &str = "^[A-Za-z0-9._-]{1,64}$";

pub(super) fn message_id() -> Object {
    number(1, MESSAGE_ID_MAX)
}

pub(super) fn replica() -> Object {
    matching(REPLICA)
}

fn finish_reason() -> Told {
    or_null(one_of_texts(FinishReason::ALL.map(FinishReason::as_str)))
}

pub(super) fn status() -> Object {
    one_of_texts(Status::ALL.map(Status::as_str))
}

fn turn_status() -> Object {
    use TurnStatus::{Completed, Failed, Interrupted, Queued, RequiresAction, Running};
    let all = [Queued, Running, RequiresAction, Completed, Interrupted, Failed];
    one_of_texts(all.map(TurnStatus::as_str))
}

/// Every schema of this kind, with its name.
pub(super) fn schemas() -> Vec<(&'static str, Told)> {
    vec![
        ("Chat", chat()),
        ("Chats", chats()),
        ("Share", share()),
        ("Shares", shares()),
        ("Message", message()),
        ("Messages", messages()),
        ("QueuedMessage", queued_message()),
        ("Sent", sent()),
        ("Turn", turn()),
        ("Episode", episode()),
        ("Usage", usage()),
        ("RunError", run_error()),
        ("Retry", retry()),
        ("Tool", tool()),
        ("PendingCall", pending_call()),
        ("Health", health()),
        ("Readiness", readiness()),
        ("Ticket", ticket()),
        ("Problem", problem()),
    ]
}

fn ticket() -> Told {
    object("What opens one stream, once.")
        .has("ticket", string(), "for `access_token` in the stream's query")
        .has("expires_at", time(), "then it is good no more")
        .into()
}

fn chat() -> Told {
    object("A chat, as it stands.")
        .has("id", uuid(), "a UUIDv7")
        .has("owner", string(), "the user whose it is")
        .has("external_id", or_null(string()), "the owner's own name for it")
        .has("title", or_null(string()), "for people")
        .has("model", or_null(string()), "the model to ask, if not the server's own")
        .has("instructions", or_null(string()), "its system prompt; null: the server's own")
        .has(
            "tools",
            array(named("Tool")),
            "what a model is told that it may call, and the client carries out",
        )
        .has("status", status(), "")
        .has("worker", or_null(replica()), "the replica that holds the chat's lease")
        .has("snapshot_version", count(), "grows by exactly 1 with each accepted change")
        .has("history_version", count(), "the `snapshot_version` at which messages last changed")
        .has("queue_version", count(), "the `snapshot_version` at which the queue last changed")
        .has("attempt", count(), "how often a generation was started under the present `history_version`")
        .has("error", or_null(named("RunError")), "why the chat is in `error`")
        .has("retry", or_null(named("Retry")), "a generation failed, and is tried again")
        .has("turn", or_null(message_id()), "the turn that runs, or the last one")
        .has("pending_calls", array(named("PendingCall")), "what the client is to carry out")
        .has("queue", array(named("QueuedMessage")), "in the order of their turns; empty in a list of chats")
        .has("created_at", time(), "")
        .has("updated_at", time(), "")
        .into()
}

fn chats() -> Told {
    object("A page of the caller's chats, newest first.")
        .has("chats", array(named("Chat")), "")
        .has("next", or_null(uuid()), "`before` of the next page; null: there is none")
        .into()
}

fn share() -> Told {
    object("A chat is given to a user who does not own it.")
        .has("user", at_least(1, string()), "to whom")
        .has("may", access(), "")
        .into()
}

fn shares() -> Told {
    object("With whom a chat is shared.").has("shares", array(named("Share")), "").into()
}

/// What a share gives leave to.
pub(super) fn access() -> Object {
    one_of_texts([Access::Read, Access::Write].map(Access::as_str))
}

fn message() -> Told {
    let roles = one_of_texts(["user", "assistant", "tool", "system"]);
    object("A committed message. It does not change; an edit cuts it off.")
        .has("id", message_id(), "grows within a chat, and is never used again")
        .has("revision", count(), "the `snapshot_version` of the change that committed it")
        .has("role", roles, "")
        .has("content", named("Content"), "")
        .has("interrupted", boolean(), "the answer was cut short, by an interrupt or by a failure")
        .has("episode", or_null(named("Episode")), "the generation it came from; null: it was not generated")
        .has("finish_reason", finish_reason(), "why the model ended; null: it did not say")
        .has("usage", or_null(named("Usage")), "what the answer cost, as the provider counts")
        .has("queued_as", or_null(message_id()), "the id that it had in the queue")
        .has("client_id", or_null(string()), "the sender's own name for it")
        .has("turn", or_null(message_id()), "the turn that it is of")
        .has("created_at", time(), "")
        .into()
}

fn messages() -> Told {
    object("A page of committed messages, oldest first.")
        .has("messages", array(named("Message")), "")
        .has("next", or_null(message_id()), "`after_id` of the next page; null: there is none")
        .has("reset_version", count(), "if it differs between two pages, the history was cut: begin again")
        .into()
}

fn queued_message() -> Told {
    object("A message that waits for its turn.")
        .has("id", message_id(), "it keeps it in the history, unless another overtook it there")
        .has("client_id", or_null(string()), "the sender's own name for it")
        .has("revision", count(), "the `snapshot_version` of the change that queued it")
        .has("content", named("Content"), "")
        .has("created_at", time(), "")
        .into()
}

fn sent() -> Told {
    let is =
        |message: Told, queued: Told| object("").has("message", message, "").has("queued", queued, "").into();
    let version = object("What became of a message that was sent: it is in the history, or in the queue.")
        .has("snapshot_version", count(), "of the chat, with it");
    let either = [is(named("Message"), null().into()), is(null().into(), named("QueuedMessage"))];
    all_of([version.into(), one_of(either).into()]).into()
}

fn turn() -> Told {
    object("All that answers one message of a user. It ends exactly once.")
        .has("turn", message_id(), "its name: the id under which its message was sent")
        .has("status", turn_status(), "")
        .has("finish_reason", finish_reason(), "of its last answer")
        .has("usage", or_null(named("Usage")), "of all its answers")
        .has("error", or_null(named("RunError")), "why it failed")
        .has("messages", array(message_id()), "those of it, in order")
        .into()
}

fn episode() -> Told {
    object("One run of the model over one history.")
        .has("history_version", count(), "")
        .has("attempt", count(), "")
        .into()
}

fn usage() -> Told {
    object("What a model counted.").has("input_tokens", count(), "").has("output_tokens", count(), "").into()
}

fn run_error() -> Told {
    object("Why a generation failed. docs/protocol.md has the codes.")
        .has("code", at_least(1, string()), "stable, for programs")
        .has("message", string(), "for people")
        .into()
}

fn retry() -> Told {
    object("A generation that failed, and is tried again.")
        .has("attempt", count(), "the one that failed")
        .has("delay_ms", count(), "how long the next one is put off")
        .has("error", named("RunError"), "why it failed")
        .has("at", time(), "when the next one begins")
        .into()
}

fn tool() -> Told {
    object("A tool that the client carries out.")
        .has("name", string(), "")
        .has("description", string(), "")
        .has("input_schema", any_object(), "a JSON Schema, as it was given")
        .into()
}

fn pending_call() -> Told {
    object("A call that waits for its result from the client.")
        .has("tool_call_id", at_least(1, string()), "")
        .has("name", string(), "of the tool")
        .has("input", any(), "any JSON")
        .into()
}

fn health() -> Told {
    object("The process lives.")
        .has("status", one_of_texts(["ok"]), "")
        .has("replica", replica(), "what `worker` of a chat names")
        .has("version", string(), "of the program")
        .into()
}

fn readiness() -> Told {
    object("The replica is ready for traffic.")
        .has("status", one_of_texts(["ready"]), "")
        .has("replica", replica(), "what `worker` of a chat names")
        .into()
}

fn problem() -> Told {
    let code = at_most(64, matching("^[a-z_]+$"));
    object("Why a request was refused (RFC 9457).")
        .has("type", matching("^urn:mainstem:problem:[a-z_]+$"), "with the code")
        .has("title", at_least(1, string()), "for people: what the code means")
        .has("status", number(400, 599), "that of the answer")
        .has("detail", at_least(1, string()), "for people: what is wrong with this request")
        .has("code", code, "stable, for programs")
        .into()
}
