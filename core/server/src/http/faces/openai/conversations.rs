//! Conversations: chats, and their histories as items.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::Uri;
use mainstem_machine::{Accepted, ChatId, ChatState, Command, MessageId, Role, Settings};
use mainstem_runtime::EdgeError;
use mainstem_runtime::ports::Env;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::super::asked::Asked;
use super::super::super::auth::Caller;
use super::super::super::request::{Parameters, parse_object};
use super::super::super::{App, Problem, Requester};
use super::super::words::refuse_others;
use super::ids::ConversationId;
use super::input::Input;
use super::item::{ClientTools, Rendering};
use super::request::no_such;
use super::response::seconds;
use super::{Named, deleted, object, refused};
use crate::limits::edge::{ITEMS_DEFAULT, PAGE_MAX, RESPONSE_BYTES_MAX};

const NO_ADDING: &str = "items are added to a conversation by a response in it";
const NO_REMOVING: &str = "an item is not removed by itself: delete the conversation";

pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    Router::new()
        .route("/v1/conversations", post(create::<E>))
        .route("/v1/conversations/{id}", get(retrieve::<E>).post(update::<E>).delete(delete::<E>))
        .route("/v1/conversations/{id}/items", get(items::<E>).post(async || refused(NO_ADDING)))
        .route("/v1/conversations/{id}/items/{item}", get(item::<E>).delete(async || refused(NO_REMOVING)))
}

#[derive(Debug, Deserialize)]
struct CreateBody {
    items: Option<Box<RawValue>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn described(state: &ChatState) -> Value {
    let id = ConversationId(state.id).to_string();
    json!({"id": id, "object": "conversation", "created_at": seconds(state.created_at), "metadata": {}})
}

async fn create<E: Env>(asked: Asked<E, ()>) -> Result<Response, Problem> {
    let CreateBody { items, rest } = parse_object(&asked.body)?;
    refuse_others(&rest, "of a conversation")?;
    let bytes_max = asked.app.message_bytes_max;
    let messages = match items.filter(|items| items.get() != "[]") {
        Some(items) => Input::parse(&items, bytes_max)?.history(bytes_max)?,
        None => vec![],
    };
    if messages.last().is_some_and(|last| last.role == Role::User) {
        return Err(Problem::malformed(
            "`items` end with a user's message: send it as the `input` of a response",
        ));
    }
    let chat = ChatId(Uuid::now_v7());
    let (owner, settings) = (Arc::clone(asked.by.user()), Settings::default());
    match asked.execute(chat, Command::Create { chat, owner, settings, messages }).await? {
        Accepted::Chat(state) | Accepted::Found(state) => Ok(object(&described(&state))),
        Accepted::Sent { .. } | Accepted::Gone => Err(Problem::internal()),
    }
}

impl Named {
    async fn conversation<E: Env>(&self, app: &App<E>, by: &Requester) -> Result<Arc<ChatState>, Problem> {
        let unknown = || no_such("conversation", &self.0);
        let ConversationId(chat) = ConversationId::parse(&self.0).ok_or_else(unknown)?;
        match app.node.chat(by, chat).await {
            Err(EdgeError::Rejected(_)) => Err(unknown()),
            state => Ok(state?),
        }
    }
}

async fn retrieve<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    named: Named,
) -> Result<Response, Problem> {
    Ok(object(&described(&*named.conversation(&app, &by).await?)))
}

/// There is nothing to be changed of it.
async fn update<E: Env>(named: Named, asked: Asked<E, ()>) -> Result<Response, Problem> {
    let rest: Map<String, Value> = parse_object(&asked.body)?;
    refuse_others(&rest, "of a conversation")?;
    Ok(object(&described(&*named.conversation(&asked.app, &asked.by).await?)))
}

async fn delete<E: Env>(named: Named, asked: Asked<E, ()>) -> Result<Response, Problem> {
    let state = named.conversation(&asked.app, &asked.by).await?;
    asked.app.execute(&asked.by, state.id, Command::Delete, None).await?;
    Ok(deleted(&named.0, "conversation.deleted"))
}

/// Which items are listed.
#[derive(Debug)]
pub(super) struct Listing {
    after: Option<String>,
    limit: usize,
    is_ascending: bool,
}

impl Listing {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = Parameters::of(uri)?;
        if query.text("include")?.is_some() || query.text("include[]")?.is_some() {
            return Err(Problem::malformed(
                "`include` is not taken here: items have all that there is of them",
            ));
        }
        let is_ascending = match query.text("order")? {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(Problem::malformed("`order` is `asc` or `desc`")),
        };
        let limit = if query.text("limit")?.is_none() { ITEMS_DEFAULT } else { query.limit()? };
        Ok(Self { after: query.text("after")?.map(str::to_owned), limit, is_ascending })
    }

    /// A page of all items, which are in their order.
    pub(super) fn page(&self, mut items: Vec<Value>) -> Response {
        if !self.is_ascending {
            items.reverse();
        }
        let behind = |after: &String| items.iter().position(|item| item["id"] == **after).map(|at| at + 1);
        let first = self.after.as_ref().and_then(behind).unwrap_or(0);
        let has_more = items.len() > first + self.limit;
        let items: Vec<_> = items.into_iter().skip(first).take(self.limit).collect();
        listed(&items, has_more)
    }
}

fn listed(items: &[Value], has_more: bool) -> Response {
    let id = |item: Option<&Value>| item.map(|item| item["id"].clone());
    object(&json!({
        "object": "list", "data": items, "first_id": id(items.first()), "last_id": id(items.last()),
        "has_more": has_more,
    }))
}

async fn items<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    named: Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let listing = Listing::of(&uri)?;
    let state = named.conversation(&app, &by).await?;
    let mut found = Found::new(&listing);
    let mut history = History::new(&app, &by, &state);
    while let Some(items) = history.next().await? {
        if items.into_iter().any(|item| found.add(item)) {
            break;
        }
    }
    if listing.after.is_some() && !found.is_there {
        return Err(Problem::malformed("`after` is the id of an item of this conversation"));
    }
    let items: Vec<Value> = match listing.is_ascending {
        true => found.items.into(),
        false => found.items.into_iter().rev().collect(),
    };
    Ok(listed(&items, found.has_more))
}

/// The items that a page has, while the history is read from its begin.
struct Found<'a> {
    listing: &'a Listing,
    items: VecDeque<Value>,
    bytes: usize,
    /// Whether the item was met behind which the page begins, or before which it ends.
    is_there: bool,
    has_more: bool,
}

impl<'a> Found<'a> {
    fn new(listing: &'a Listing) -> Self {
        Self { listing, items: VecDeque::new(), bytes: 0, is_there: listing.after.is_none(), has_more: false }
    }

    /// Whether no other item is of the page.
    fn add(&mut self, item: Value) -> bool {
        let is_mark = self.listing.after.as_ref().is_some_and(|after| item["id"] == **after);
        if is_mark {
            self.is_there = true;
            return !self.listing.is_ascending;
        }
        if self.listing.is_ascending && !self.is_there {
            return false;
        }
        self.bytes += item.to_string().len();
        let is_full = self.items.len() == self.listing.limit
            || (self.bytes > RESPONSE_BYTES_MAX && !self.items.is_empty());
        if !is_full {
            self.items.push_back(item);
            return false;
        }
        self.has_more = true;
        if self.listing.is_ascending {
            return true;
        }
        self.items.push_back(item);
        // Those that are nearest to the end are the first of the page.
        while self.items.len() > self.listing.limit
            || (self.bytes > RESPONSE_BYTES_MAX && self.items.len() > 1)
        {
            let gone = self.items.pop_front();
            self.bytes -= gone.map_or(0, |gone| gone.to_string().len());
        }
        false
    }
}

/// A history as items, read page by page.
struct History<'a, E: Env> {
    app: &'a App<E>,
    by: &'a Requester,
    chat: ChatId,
    rendering: Rendering,
    after: MessageId,
    over: bool,
}

impl<'a, E: Env> History<'a, E> {
    fn new(app: &'a App<E>, by: &'a Requester, state: &ChatState) -> Self {
        let rendering = Rendering::new(state.id, ClientTools::of(state));
        Self { app, by, chat: state.id, rendering, after: MessageId(0), over: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<Value>>, Problem> {
        if self.over {
            return Ok(None);
        }
        let page = self.app.node.messages(self.by, self.chat, self.after, PAGE_MAX).await?;
        let mut items: Vec<Value> =
            page.messages.iter().flat_map(|message| self.rendering.add(message)).collect();
        self.after = page.messages.last().map_or(self.after, |message| message.id);
        self.over = !page.more;
        if self.over {
            items.extend(self.rendering.end());
        }
        Ok(Some(items))
    }
}

async fn item<E: Env>(
    State(app): State<Arc<App<E>>>,
    Caller(by): Caller,
    named: Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let state = named.conversation(&app, &by).await?;
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let mut history = History::new(&app, &by, &state);
    while let Some(items) = history.next().await? {
        if let Some(found) = items.into_iter().find(|item| item["id"] == name) {
            return Ok(object(&found));
        }
    }
    Err(no_such("item", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(listing: &Listing, count: u64) -> (Vec<u64>, bool, bool) {
        let mut found = Found::new(listing);
        for id in 1..=count {
            if found.add(json!({"id": id.to_string(), "n": id})) {
                break;
            }
        }
        let numbers = found.items.iter().map(|item| item["n"].as_u64().expect("a number"));
        (numbers.collect(), found.has_more, found.is_there)
    }

    #[test]
    fn a_page_has_what_is_behind_its_mark_in_either_direction() {
        let listing = |after: Option<&str>, limit, is_ascending| Listing {
            after: after.map(str::to_owned),
            limit,
            is_ascending,
        };
        for (listing, expected) in [
            (listing(None, 2, true), (vec![1, 2], true, true)),
            (listing(None, 5, true), (vec![1, 2, 3, 4, 5], false, true)),
            (listing(Some("2"), 2, true), (vec![3, 4], true, true)),
            (listing(Some("5"), 2, true), (vec![], false, true)),
            (listing(Some("9"), 2, true), (vec![], false, false)),
            // In the history's order: they are told the other way round.
            (listing(None, 2, false), (vec![4, 5], true, true)),
            (listing(Some("4"), 2, false), (vec![2, 3], true, true)),
            (listing(Some("2"), 2, false), (vec![1], false, true)),
            (listing(Some("1"), 2, false), (vec![], false, true)),
        ] {
            assert_eq!(page(&listing, 5), expected, "{listing:?}");
        }
    }
}
