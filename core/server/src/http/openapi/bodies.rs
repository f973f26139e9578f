//! What requests bring. A schema never refuses what is taken; limits that count bytes, or hold between members, are said
//! in words.

use mainstem_machine::Role;

use super::objects::access;
use super::parts::content_of;
use super::schema::{
    Members, Told, all_of, any_object, any_of, array, array_of, boolean, count, described, label, matching,
    named, null, object, one_of, one_of_texts, or_null, string, uuid,
};
use crate::limits::edge::{
    CLIENT_NAME_BYTES_MAX, CREATED_MESSAGES_MAX, INSTRUCTIONS_BYTES_MAX, MODEL_BYTES_MAX, TITLE_BYTES_MAX,
    TOOL_NAME_BYTES_MAX, TOOLS_BYTES_MAX, TOOLS_MAX,
};

/// Every schema of this kind, with its name.
pub(super) fn schemas() -> Vec<(&'static str, Told)> {
    vec![
        ("NewChat", new_chat()),
        ("ChatChange", chat_change()),
        ("NewMessage", new_message()),
        ("Edit", edit()),
        ("Regeneration", regeneration()),
        ("Interruption", interruption()),
        ("ToolResults", tool_results()),
        ("TicketWanted", ticket_wanted()),
        (
            "HistoryMessage",
            one_of([Role::User, Role::Assistant, Role::Tool, Role::System].map(history_message)).into(),
        ),
        ("NewTool", new_tool()),
        ("Busy", busy()),
        ("NewShare", new_share()),
    ]
}

fn ticket_wanted() -> Told {
    object("What a ticket is for.")
        .may_have("chat", or_null(uuid()), "the chat that it is good for alone")
        .into()
}

fn new_share() -> Told {
    object("What a user may do to a chat.").has("may", access(), "").into()
}

fn client_name() -> Told {
    or_null(label(1, CLIENT_NAME_BYTES_MAX))
}

fn tools() -> Told {
    or_null(array_of(0, TOOLS_MAX, named("NewTool")))
}

fn new_chat() -> Told {
    let members = object("A chat to be. `content` and `messages` exclude each other.")
        .may_have("external_id", client_name(), "the owner's own name for it: the chat that has it is answered")
        .may_have("title", or_null(label(0, TITLE_BYTES_MAX)), "for people")
        .may_have("model", or_null(label(0, MODEL_BYTES_MAX)), "the model to ask, if not the server's own")
        .may_have("instructions", or_null(label(0, INSTRUCTIONS_BYTES_MAX)), "its system prompt")
        .may_have("tools", tools(), "what the client carries out: each name once")
        .may_have("content", or_null(named("UserContent")), "a message, which is answered")
        .may_have(
            "messages",
            or_null(array_of(0, CREATED_MESSAGES_MAX, named("HistoryMessage"))),
            "what was said elsewhere, oldest first. If it ends with a user's message, that is answered. Each call has its \
             one result right behind its answer, and each `client_id` is one message's",
        );
    let without = |name: &str| object("").may_have(name, null(), "").into();
    all_of([members.into(), any_of([without("content"), without("messages")]).into()]).into()
}

fn history_message(role: Role) -> Told {
    object("")
        .has("role", one_of_texts([role.as_str()]), "")
        .has("content", named(content_of(role)), "")
        .may_have("client_id", client_name(), "its own name")
        .into()
}

fn chat_change() -> Told {
    object("What is to be changed: null takes back, and what is not there stays.")
        .may_have("title", or_null(label(0, TITLE_BYTES_MAX)), "for people")
        .may_have("model", or_null(label(0, MODEL_BYTES_MAX)), "the model to ask")
        .may_have("instructions", or_null(label(0, INSTRUCTIONS_BYTES_MAX)), "its system prompt")
        .may_have("tools", tools(), "what the client carries out: each name once")
        .into()
}

fn new_tool() -> Told {
    let name = matching(format!("^[A-Za-z0-9_-]{{1,{TOOL_NAME_BYTES_MAX}}}$"));
    let words =
        format!("A tool that the client carries out. All of a chat have {TOOLS_BYTES_MAX} bytes together.");
    object(&words)
        .has("name", name, "")
        .may_have("description", or_null(label(0, TOOLS_BYTES_MAX)), "what a model is told of it")
        .has("input_schema", any_object(), "a JSON Schema, kept byte for byte, without a NUL character")
        .into()
}

fn busy() -> Told {
    let words =
        "what is done if the chat is busy: the message waits, or goes ahead and interrupts, or is refused";
    described(or_null(one_of_texts(["queue", "interrupt", "reject"])), words)
}

fn new_message() -> Told {
    object("A message of a user.")
        .has("content", named("UserContent"), "")
        .may_have("busy", named("Busy"), "`queue`, unless given")
        .may_have("client_id", client_name(), "the sender's own name for it: what has it is sent once")
        .into()
}

fn edit() -> Told {
    object("What the message is to say.").has("content", named("UserContent"), "").into()
}

fn regeneration() -> Told {
    object("Which message is to be answered again.")
        .may_have("message", or_null(count()), "the last one of a user, unless given")
        .may_have("busy", named("Busy"), "of a busy chat, only `interrupt` answers again")
        .into()
}

fn interruption() -> Told {
    object("What is to be stopped.")
        .may_have(
            "episode",
            or_null(named("Episode")),
            "this generation and no other; whatever runs, unless given",
        )
        .into()
}

fn tool_results() -> Told {
    let result = object("What came of a call.")
        .has("tool_call_id", string(), "of a call that waits")
        .has("content", named("NewResultContent"), "")
        .may_have("is_error", or_null(boolean()), "whether it went wrong");
    let mut results = array(result);
    results.min_items = Some(1);
    object("What came of calls.").has("results", results, "").into()
}
