//! Chat completions: a client has the whole history and names no chat, so each of its requests is a chat of its own; what came
//! of calls goes to the chat that made them. Nothing here can be resumed.

mod request;
mod told;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::{StatusCode, Uri, Version};
use mainstem_runtime::ports::Env;
use tokio::time::Interval;

use self::request::CompletionRequest;
use self::told::{Completion, Then};
use super::super::super::asked::Asked;
use super::super::super::auth::{Grant, StreamCaller};
use super::super::super::request::Parameters;
use super::super::super::sse::{PING, pings};
use super::super::super::{App, Problem, json as json_answer};
use super::super::stop::StopOnClose;
use super::super::streamed::{self, CutOff};
use super::super::turn::TurnStream;
use super::super::words::tells_a_cut;
use super::asked::Asker;
use crate::insight::{Closed, Face, Transport};

pub(super) fn routes<E: Env>() -> Router<Arc<App<E>>> {
    Router::new().route("/v1/chat/completions", post(create::<E>))
}

async fn create<E: Env>(
    StreamCaller(_, grant): StreamCaller,
    uri: Uri,
    version: Version,
    asked: Asked<E, ()>,
) -> Result<Response, Problem> {
    let stops_on_close = streamed::stops_on_close(&Parameters::of(&uri)?)?;
    let request = CompletionRequest::parse(&asked.body, asked.app.message_bytes_max)?;
    if request.streams {
        tells_a_cut(version)?;
    }
    let (app, by) = (Arc::clone(&asked.app), asked.by.clone());
    let asker = Asker { app: &app, by: &by, key: asked.into_key(), is_again: false };
    let (id, from) = asker.complete(&request).await?;
    let transport = if request.streams { Transport::Sse } else { Transport::Whole };
    let place = app.place(&by, Face::OpenAi, transport)?;
    let state = app.node.chat(&by, id.chat).await?;
    let stop = stops_on_close.then(|| (app.node.clone(), by.clone(), from.chat, from.turn));
    let turn = TurnStream::open(&app.node, place, &by, from).await?;
    let source = Source {
        turn,
        completion: Completion::new(id, &state, &app.default_model, request.streams, request.with_usage),
        grant,
        stop: StopOnClose::new(stop),
        pings: pings(),
        to_say: vec![].into_iter(),
        then: Then::GoOn,
    };
    if !request.streams {
        return source.whole().await;
    }
    Ok(streamed::answer(source.grant.clone(), source))
}

struct Source<E: Env> {
    turn: TurnStream<E>,
    completion: Completion,
    grant: Grant,
    stop: StopOnClose<E>,
    pings: Interval,
    to_say: std::vec::IntoIter<Bytes>,
    then: Then,
}

impl<E: Env> streamed::Source for Source<E> {
    async fn next(&mut self) -> Option<Result<Bytes, CutOff>> {
        loop {
            if self.grant.is_revoked() {
                self.stop.disarm();
                self.turn.closes(Closed::Revoked);
                return Some(Err(CutOff));
            }
            if let Some(chunk) = self.to_say.next() {
                return Some(Ok(chunk));
            }
            if self.then != Then::GoOn {
                return None;
            }
            tokio::select! {
                biased;
                () = self.grant.revoked() => {}
                _ = self.pings.tick() => return Some(Ok(PING)),
                marked = self.turn.next_marked() => {
                    let Some(marked) = marked else { return Some(Err(CutOff)) };
                    let (chunks, then) = self.completion.tell(marked);
                    let mut framed: Vec<Bytes> =
                        chunks.iter().map(|chunk| format!("data: {}\n\n", chunk.get()).into()).collect();
                    if then == Then::Finish {
                        framed.push(Bytes::from_static(b"data: [DONE]\n\n"));
                    }
                    if then != Then::GoOn {
                        self.stop.disarm();
                    }
                    (self.to_say, self.then) = (framed.into_iter(), then);
                }
            }
        }
    }
}

impl<E: Env> Source<E> {
    /// The whole answer as one object.
    async fn whole(mut self) -> Result<Response, Problem> {
        while self.then == Then::GoOn {
            let Some(marked) = self.turn.next_marked().await else { break };
            self.then = self.completion.tell(marked).1;
        }
        self.stop.disarm();
        Ok(json_answer(StatusCode::OK, self.completion.object()?.to_string()))
    }
}
