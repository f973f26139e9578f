//! A history as a client renders it first: one array, read and written page by page, so that no replica holds it whole.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{iter, unfold};
use http::StatusCode;
use mainstem_machine::{ChatId, Message, MessageId, Version};
use mainstem_runtime::ports::Env;
use serde::Serialize;

use super::super::{App, Problem, Requester, json};
use crate::limits::edge::PAGE_MAX;

/// Puts messages together as a face's clients have them, in order.
pub(super) trait Rendering: Send + 'static {
    type Rendered: Serialize;

    /// Takes the next message; tells what is complete by it.
    fn add(&mut self, message: &Message) -> Vec<Self::Rendered>;

    /// What is left at the end.
    fn end(&mut self) -> Option<Self::Rendered>;
}

/// What is told of a history, and around it.
pub(super) struct Listing {
    pub(super) chat: ChatId,
    pub(super) up_to: MessageId,
    /// JSON, to the bracket that opens the array.
    pub(super) begin: String,
    /// JSON, from the bracket that closes it.
    pub(super) end: &'static str,
}

pub(super) async fn answer<E: Env>(
    app: Arc<App<E>>,
    by: Requester,
    listing: Listing,
    rendering: impl Rendering,
) -> Result<Response, Problem> {
    let (after, reset_version, some, over) = (MessageId(0), None, false, false);
    let mut pages = Pages { app, by, listing, rendering, after, reset_version, some, over };
    // What cannot be read at all is an error, and not a body that breaks off.
    let first = pages.next().await?.unwrap_or_default();
    let rest = unfold(Some(pages), async |pages| {
        let mut pages = pages?;
        match pages.next().await {
            Ok(page) => page.map(|page| (Ok(page), Some(pages))),
            Err(problem) => Some((Err(std::io::Error::other(problem.title)), None)),
        }
    });
    Ok(json(StatusCode::OK, Body::from_stream(iter([Ok(first)]).chain(rest))))
}

struct Pages<E: Env, R> {
    app: Arc<App<E>>,
    by: Requester,
    listing: Listing,
    rendering: R,
    after: MessageId,
    reset_version: Option<Version>,
    /// Whether the array has any yet.
    some: bool,
    over: bool,
}

impl<E: Env, R: Rendering> Pages<E, R> {
    /// The next piece. One of two histories is none.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.over {
            return Ok(None);
        }
        let Listing { chat, up_to, begin, end } = &mut self.listing;
        let page = self.app.node.messages(&self.by, *chat, self.after, PAGE_MAX).await?;
        if self.reset_version.replace(page.reset_version).is_some_and(|before| before != page.reset_version) {
            return Err(Problem::internal());
        }
        let mut rendered = vec![];
        for message in page.messages.iter().filter(|message| message.id <= *up_to) {
            rendered.extend(self.rendering.add(message));
        }
        self.after = page.messages.last().map_or(self.after, |message| message.id);
        self.over = !page.more || self.after >= *up_to;
        if self.over {
            rendered.extend(self.rendering.end());
        }
        let mut out = std::mem::take(begin);
        for message in rendered {
            if std::mem::replace(&mut self.some, true) {
                out.push(',');
            }
            out.push_str(&serde_json::to_string(&message).expect("a message is written"));
        }
        if self.over {
            out.push_str(end);
        }
        Ok(Some(out.into()))
    }
}
