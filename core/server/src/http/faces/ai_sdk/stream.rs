//! One turn as a UI message stream over Server-Sent Events, computed only when the connection can take more. What comes to
//! no end here is cut: a client takes a clean end for the answer's, and comes back after a broken connection.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use mainstem_machine::ChatState;
use mainstem_runtime::ports::Env;
use serde_json::value::RawValue;
use tokio::time::Interval;

use super::super::super::auth::Grant;
use super::super::super::sse::{PING, pings};
use super::super::super::{App, Problem, Requester};
use super::super::names;
use super::super::stop::StopOnClose;
use super::super::streamed::{self, CutOff};
use super::super::turn::{From, TurnStream};
use super::dialect::Options;
use super::told::{Telling, Then};
use crate::insight::{Closed, Face, Transport};

/// A turn that is being told.
pub(super) struct Told<E: Env> {
    turn: TurnStream<E>,
    telling: Telling,
}

impl<E: Env> Told<E> {
    pub(super) async fn open(
        app: &App<E>,
        by: &Requester,
        from: From,
        options: Options,
        transport: Transport,
    ) -> Result<Self, Problem> {
        let place = app.place(by, Face::AiSdk, transport)?;
        let state: Arc<ChatState> = app.node.chat(by, from.chat).await?;
        let message_id = names::of_answer(from.chat, from.turn);
        let brings_results = from.behind_results;
        let turn = TurnStream::open(&app.node, place, by, from).await?;
        Ok(Self { turn, telling: Telling::new(options.dialect, message_id, &state.tools, brings_results) })
    }

    /// Says why it ends before its time.
    pub(super) fn closes(&mut self, why: Closed) {
        self.turn.closes(why);
    }

    /// The next chunks. `None` behind the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<(Vec<Box<RawValue>>, Then)> {
        Some(self.telling.tell(self.turn.next().await?))
    }
}

struct Source<E: Env> {
    told: Told<E>,
    grant: Grant,
    stop: StopOnClose<E>,
    pings: Interval,
    chunks: VecDeque<Bytes>,
    then: Then,
}

impl<E: Env> streamed::Source for Source<E> {
    async fn next(&mut self) -> Option<Result<Bytes, CutOff>> {
        loop {
            if self.grant.is_revoked() {
                self.stop.disarm();
                self.told.closes(Closed::Revoked);
                return Some(Err(CutOff));
            }
            if let Some(chunk) = self.chunks.pop_front() {
                return Some(Ok(chunk));
            }
            match self.then {
                Then::GoOn => {}
                Then::Finish => return None,
                Then::Cut => return Some(Err(CutOff)),
            }
            tokio::select! {
                biased;
                () = self.grant.revoked() => {}
                _ = self.pings.tick() => return Some(Ok(PING)),
                next = self.told.next() => {
                    let (chunks, then) = next.unwrap_or((vec![], Then::Cut));
                    self.chunks.extend(chunks.iter().map(|chunk| framed(chunk.get())));
                    if then == Then::Finish {
                        self.chunks.push_back(framed("[DONE]"));
                    }
                    if then != Then::GoOn {
                        self.stop.disarm();
                    }
                    self.then = then;
                }
            }
        }
    }
}

fn framed(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

pub(super) async fn answer<E: Env>(
    app: &App<E>,
    by: &Requester,
    grant: Grant,
    from: From,
    options: Options,
    stops_on_close: bool,
) -> Result<Response, Problem> {
    let stop = StopOnClose::new(stops_on_close.then(|| (app.node.clone(), by.clone(), from.chat, from.turn)));
    let told = Told::open(app, by, from, options, Transport::Sse).await?;
    let source = Source { told, grant, stop, pings: pings(), chunks: VecDeque::new(), then: Then::GoOn };
    let mut response = streamed::answer(source.grant.clone(), source);
    response.headers_mut().insert("x-vercel-ai-ui-message-stream", HeaderValue::from_static("v1"));
    Ok(response)
}
