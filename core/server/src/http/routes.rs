//! Our own routes, each with what `/openapi.json` tells of it.

use http::StatusCode;
use mainstem_machine::Rejection::{
    Busy, Exists, NoSuchMessage, NoSuchQueued, NoSuchTurn, NotEditable, NotOwner, NotPending, NotRunning,
    OwnChat, QueueFull, ReadOnly, ResultsTooLarge, TooManyShares,
};
use mainstem_runtime::ports::Env;

use super::openapi::schema::{
    at_least, at_most, described, matching, named, number_from, one_of_texts, string, uuid,
};
use super::openapi::{
    Api, Content, Request, Required, ResponseBuilder, Route, answer_header, check, public, request,
};
use super::{Problem, auth, chats, health, openapi, shares, stream};
use crate::limits::edge::CURSOR_TEXT_BYTES_MAX;

const OK: StatusCode = StatusCode::OK;
const ACCEPTED: StatusCode = StatusCode::ACCEPTED;

/// What is told of them depends on whether callers are asked who they are.
pub(super) fn native<E: Env>(asks_for_tokens: bool) -> Api<E> {
    of_callers(of_shares(of_turns(of_messages(of_chats(Api::new(asks_for_tokens))))))
        .route(Route::of("/v1/chats/{chat}/stream").get(stream_told(), stream::open::<E>))
        .route(Route::of("/healthz").get(
            check("isAlive", "Whether the process lives").answers(OK, "It does.", "Health"),
            health::alive::<E>,
        ))
        .route(
            Route::of("/readyz").get(
                check("isReady", "Whether the replica wants traffic")
                    .answers(OK, "It does.", "Readiness")
                    .may_be(Problem::not_ready()),
                health::ready::<E>,
            ),
        )
        .route(Route::of("/openapi.json").get(document_told(), openapi::serve::<E>))
}

fn of_chats<E: Env>(api: Api<E>) -> Api<E> {
    let list = request("listChats", "The caller's chats, newest first")
        .limited()
        .query("before", uuid(), "`next` of the page before")
        .by_external_id()
        .query(
            "shared",
            one_of_texts(["true", "false"]),
            "`true`: the chats that others share with the caller, instead of the caller's own",
        )
        .answers(OK, "A page.", "Chats");
    let location = || answer_header(string(), "the chat's path");
    let chat = |words: &str| {
        let content = Content::new(Some(named("Chat")));
        let response = ResponseBuilder::new().description(words).content("application/json", content);
        response.header("Location", location())
    };
    let create = request("createChat", "Creates a chat")
        .words("With `content`, or with `messages` that end with a user's, it starts running.")
        .brings("NewChat", Required::False)
        .answers_with(StatusCode::CREATED, chat("The chat."))
        .answers_with(OK, chat("The caller's chat that has this `external_id`."))
        .may_be(Exists)
        .may_be(Problem::not_a_history(String::new()));
    let read = request("readChat", "One chat").of_chat().answers(OK, "The chat.", "Chat");
    let configure = request("changeChat", "Changes what is not the history")
        .words("It touches nothing that runs.")
        .of_chat()
        .may_be(ReadOnly)
        .brings("ChatChange", Required::False)
        .answers(OK, "The chat.", "Chat");
    let delete = request("deleteChat", "Deletes a chat that is idle, and all that hangs on it")
        .of_chat()
        .answers_nothing(StatusCode::NO_CONTENT, "It is gone.")
        .may_be(NotOwner)
        .may_be(Busy);
    api.route(Route::of("/v1/chats").get(list, chats::list::<E>).post(create, chats::create::<E>)).route(
        Route::of("/v1/chats/{chat}")
            .get(read, chats::read::<E>)
            .patch(configure, chats::configure::<E>)
            .delete(delete, chats::delete::<E>),
    )
}

fn of_messages<E: Env>(api: Api<E>) -> Api<E> {
    let list = request("listMessages", "Committed messages, oldest first")
        .of_chat()
        .query(
            "after_id",
            number_from(0),
            "the `id` of a message, or `next` of the page before: what is behind it",
        )
        .limited()
        .answers(OK, "A page.", "Messages");
    let send = request("sendMessage", "Sends a message")
        .words("A `client_id` that the chat has is answered what it was answered first, and changes nothing.")
        .of_chat()
        .brings("NewMessage", Required::True)
        .answers(ACCEPTED, "The message, in the history or in the queue.", "Sent")
        .may_be(ReadOnly)
        .may_be(Busy)
        .may_be(QueueFull);
    let edit = request("editMessage", "Edits a user's message")
        .words("It and all behind it go, the new text comes under a new id, the queue empties, and the chat runs from there.")
        .of_item("the `id` of the message", NoSuchMessage)
        .brings("Edit", Required::True)
        .answers(ACCEPTED, "The message that came in its place.", "Sent")
        .may_be(ReadOnly)
        .may_be(NotEditable);
    let withdraw = request("deleteQueued", "Takes a queued message back")
        .of_item("the `id` of the queued message", NoSuchQueued)
        .answers_nothing(StatusCode::NO_CONTENT, "It is gone.")
        .may_be(ReadOnly);
    let promote = request("promoteQueued", "Makes a queued message the next one, and interrupts what runs")
        .of_item("the `id` of the queued message", NoSuchQueued)
        .brings_nothing()
        .answers(ACCEPTED, "The chat.", "Chat")
        .may_be(ReadOnly);
    api.route(
        Route::of("/v1/chats/{chat}/messages").get(list, chats::messages::<E>).post(send, chats::send::<E>),
    )
    .route(Route::of("/v1/chats/{chat}/messages/{id}").patch(edit, chats::edit::<E>))
    .route(Route::of("/v1/chats/{chat}/queue/{id}").delete(withdraw, chats::withdraw::<E>))
    .route(Route::of("/v1/chats/{chat}/queue/{id}/promote").post(promote, chats::promote::<E>))
}

fn of_turns<E: Env>(api: Api<E>) -> Api<E> {
    let results = request("sendToolResults", "Answers calls that wait for the client")
        .words("With the last result the turn goes on.")
        .of_chat()
        .brings("ToolResults", Required::True)
        .answers(ACCEPTED, "The chat.", "Chat")
        .may_be(ReadOnly)
        .may_be(NotPending)
        .may_be(ResultsTooLarge);
    let regenerate = request("regenerate", "Answers a user's message again")
        .words("What follows it goes, and its turn runs once more, without a new message.")
        .of_chat()
        .brings("Regeneration", Required::False)
        .answers(ACCEPTED, "The chat.", "Chat")
        .may_be(ReadOnly)
        .may_be(NoSuchMessage)
        .may_be(NotEditable)
        .may_be(Busy);
    let turn = request("readTurn", "A turn, as it stands or as it ended")
        .of_item("the `turn` of its messages", NoSuchTurn)
        .answers(OK, "The turn.", "Turn");
    let interrupt = request("interrupt", "Stops the running generation, and keeps its partial answer")
        .words("While the chat is `interrupting`, it changes nothing.")
        .of_chat()
        .brings("Interruption", Required::False)
        .answers(ACCEPTED, "The chat.", "Chat")
        .may_be(ReadOnly)
        .may_be(NotRunning);
    api.route(Route::of("/v1/chats/{chat}/tool_results").post(results, chats::tool_results::<E>))
        .route(Route::of("/v1/chats/{chat}/regenerate").post(regenerate, chats::regenerate::<E>))
        .route(Route::of("/v1/chats/{chat}/turns/{id}").get(turn, chats::turn::<E>))
        .route(Route::of("/v1/chats/{chat}/interrupt").post(interrupt, chats::interrupt::<E>))
}

fn of_shares<E: Env>(api: Api<E>) -> Api<E> {
    let list = request("listShares", "With whom a chat is shared")
        .words("Only its owner may see it.")
        .of_chat()
        .answers(OK, "All of them, by the users' names.", "Shares")
        .may_be(NotOwner);
    let give = request("share", "Shares a chat with a user, or says anew what the user may do")
        .words("To write is all but deleting and sharing. Only the owner may share.")
        .of_chat()
        .of_user()
        .brings("NewShare", Required::True)
        .answers(OK, "The share.", "Share")
        .may_be(NotOwner)
        .may_be(OwnChat)
        .may_be(TooManyShares);
    let take = request("unshare", "Takes a chat from a user it is shared with")
        .words("The user's streams end. Only the owner may do it, and that user.")
        .of_chat()
        .of_user()
        .answers_nothing(StatusCode::NO_CONTENT, "It is not shared with the user, if it was.")
        .may_be(NotOwner);
    api.route(Route::of("/v1/chats/{chat}/shares").get(list, shares::list::<E>)).route(
        Route::of("/v1/chats/{chat}/shares/{user}")
            .put(give, shares::give::<E>)
            .delete(take, shares::take::<E>),
    )
}

fn of_callers<E: Env>(api: Api<E>) -> Api<E> {
    let ticket = request("createTicket", "Gives a ticket, which opens one stream, once, within a minute")
        .words("It goes into `access_token` of the stream's query, and gives leave to what this token does, in the named chat alone if one is named.")
        .takes("TicketWanted", Required::False)
        .answers(StatusCode::CREATED, "The ticket.", "Ticket")
        .may_be(Problem::no_such_chat())
        .may_be(Problem::too_many_tickets());
    let cookie = |words: &str| {
        let response = ResponseBuilder::new().description(words);
        response.header("Set-Cookie", answer_header(string(), "the session's cookie"))
    };
    let open = request("openSession", "Has a browser keep the token as a cookie")
        .answers_with(StatusCode::NO_CONTENT, cookie("It does."))
        .may_be(Problem::too_large("", 0));
    let close = public("closeSession", "Has a browser forget the token")
        .answers_with(StatusCode::NO_CONTENT, cookie("It does."));
    api.route(Route::of("/v1/tickets").post(ticket, auth::tickets::create::<E>)).route(
        Route::of("/v1/session")
            .post(open, auth::session::open::<E>)
            .delete(close, auth::session::close::<E>),
    )
}

fn stream_told() -> Request {
    let cursor = || at_most(CURSOR_TEXT_BYTES_MAX, matching("^[A-Za-z0-9_-]*$"));
    let mut events = string();
    events.content_media_type = "text/event-stream".into();
    events.content_schema = Some(Box::new(named("StreamEvent")));
    let words = "Server-Sent Events: `event` is the type of the event, `id` its cursor, `data` the event. Where the stream \
                 cannot be had now, a line `retry:` and the end, and no 429 or 503: a browser would not come back.";
    let sse = ResponseBuilder::new()
        .description(words)
        .content("text/event-stream", Content::new(Some(described(events, "each `data` is a StreamEvent"))));
    let words = "A WebSocket (RFC 6455, version 13): each text frame is a StreamFrame.";
    let socket = ResponseBuilder::new()
        .description(words)
        .content("application/json", Content::new(Some(named("StreamFrame"))));
    request("stream", "The stream of a chat: its history, and what happens from then on")
        .words(
            "An upgrade to a WebSocket if the request asks for it, and Server-Sent Events otherwise. It begins with the whole \
             history, behind the event of a cursor, or behind a message. It does not end by itself while the chat is there.",
        )
        .by_query_token()
        .of_chat()
        .query("after", at_least(1, cursor()), "a cursor: the stream begins behind its event. It counts more than the others")
        .query("after_id", number_from(0), "the `id` of a message: the stream begins behind it")
        .header("Last-Event-ID", cursor(), "as `after`, for Server-Sent Events")
        .answers_with(StatusCode::SWITCHING_PROTOCOLS, socket)
        .answers_with(OK, sse)
        .may_be(Problem::bad_cursor())
}

fn document_told() -> Request {
    let content = Content::new(Some(openapi::schema::any_object()));
    let tag = || answer_header(string(), "of this document");
    let whole = ResponseBuilder::new().description("The document.").content("application/json", content);
    let same = ResponseBuilder::new().description("It is the one that `If-None-Match` names.");
    public("readDocument", "This document")
        .header("If-None-Match", string(), "the `ETag` of what the client has")
        .answers_with(OK, whole.header("ETag", tag()))
        .answers_with(StatusCode::NOT_MODIFIED, same.header("ETag", tag()))
}
