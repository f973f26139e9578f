//! A response over Server-Sent Events, computed only when the connection can take more. What comes to no end here is cut: a clean
//! end without a last event would be taken for one.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use mainstem_machine::MessageId;
use mainstem_runtime::ports::Env;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Interval;

use super::super::super::auth::Grant;
use super::super::super::sse::{PING, pings};
use super::super::super::{App, Problem, Requester};
use super::super::stop::StopOnClose;
use super::super::streamed::{self, CutOff};
use super::super::turn::{From, TurnStream};
use super::ids::ResponseId;
use super::number;
use super::response::{Frame, Standing, read};
use super::told::{Said, Telling, Then};
use crate::insight::{Closed, Face, Transport};

const GONE: &str = "This response is not in its chat any more.";

/// What is told to whom.
pub(super) struct Order {
    pub(super) id: ResponseId,
    pub(super) from: From,
    /// The number of the last event that the client has.
    pub(super) after: Option<u64>,
    pub(super) stops_on_close: bool,
}

struct Source<E: Env> {
    app: Arc<App<E>>,
    by: Requester,
    id: ResponseId,
    frame: Frame,
    turn: TurnStream<E>,
    telling: Telling,
    grant: Grant,
    stop: StopOnClose<E>,
    pings: Interval,
    to_say: VecDeque<Said>,
    then: Then,
    ended: bool,
}

impl<E: Env> streamed::Source for Source<E> {
    async fn next(&mut self) -> Option<Result<Bytes, CutOff>> {
        loop {
            if self.grant.is_revoked() {
                self.stop.disarm();
                self.turn.closes(Closed::Revoked);
                return Some(Err(CutOff));
            }
            match (self.to_say.front(), self.then) {
                (Some(Said::Event(kind, json)), _) => {
                    let event = framed(kind, json);
                    self.to_say.pop_front();
                    return Some(Ok(event));
                }
                (None, Then::Finish) if self.ended => return None,
                (None, Then::Finish) => {
                    self.ended = true;
                    return Some(Ok(Bytes::from_static(b"data: [DONE]\n\n")));
                }
                (None, Then::Cut) => return Some(Err(CutOff)),
                (Some(_), _) | (None, Then::GoOn) => {}
            }
            tokio::select! {
                biased;
                () = self.grant.revoked() => {}
                _ = self.pings.tick() => return Some(Ok(PING)),
                event = standing(&self.app, &self.by, self.id, &self.frame, self.to_say.front()), if !self.to_say.is_empty() => {
                    self.to_say.pop_front();
                    match event {
                        Ok(event) => return Some(Ok(event)),
                        Err(cut) => return Some(Err(cut)),
                    }
                }
                marked = self.turn.next_marked(), if self.to_say.is_empty() => {
                    let Some(marked) = marked else { return Some(Err(CutOff)) };
                    let (said, then) = self.telling.tell(marked);
                    self.to_say.extend(said);
                    if then != Then::GoOn {
                        self.stop.disarm();
                    }
                    self.then = then;
                }
            }
        }
    }
}

/// The event that tells the response. Cancel-safe.
async fn standing<E: Env>(
    app: &App<E>,
    by: &Requester,
    id: ResponseId,
    frame: &Frame,
    said: Option<&Said>,
) -> Result<Bytes, CutOff> {
    match said {
        Some(Said::Standing { kind, number, status, up_to }) => {
            let mut standing = Standing::of(status);
            if *up_to > MessageId(0) {
                standing.output = read(app, by, id, Some(*up_to)).await.map_err(|_| CutOff)?.1.output;
            }
            Ok(told(kind, *number, frame, &standing))
        }
        Some(Said::Ended) => {
            let (_, standing) = read(app, by, id, None).await.map_err(|_| CutOff)?;
            // One that goes on by now began again, which is told to who comes back.
            let kind = standing.end().ok_or(CutOff)?;
            Ok(told(kind, number::END, frame, &standing))
        }
        Some(Said::Gone) => {
            let mut standing = Standing::of("failed");
            standing.error = Some(GONE.to_owned());
            Ok(told("response.failed", number::END, frame, &standing))
        }
        Some(Said::Event(..)) | None => Err(CutOff),
    }
}

fn told(kind: &str, number: u64, frame: &Frame, standing: &Standing) -> Bytes {
    let event = json!({"type": kind, "sequence_number": number, "response": frame.object(standing)});
    framed(kind, &to_raw_value(&event).expect("JSON is written"))
}

fn framed(kind: &str, json: &RawValue) -> Bytes {
    format!("event: {kind}\ndata: {json}\n\n").into()
}

pub(super) async fn answer<E: Env>(
    app: &Arc<App<E>>,
    by: &Requester,
    grant: Grant,
    order: Order,
) -> Result<Response, Problem> {
    let Order { id, from, after, stops_on_close } = order;
    let place = app.place(by, Face::OpenAi, Transport::Sse)?;
    let stop = stops_on_close.then(|| (app.node.clone(), by.clone(), from.chat, from.turn));
    let (frame, tools) = Frame::read(app, by, id, &from).await?;
    let mut telling = Telling::new(id, tools, after);
    let to_say = telling.begin(!from.begun);
    let turn = TurnStream::open(&app.node, place, by, from).await?;
    let source = Source {
        app: Arc::clone(app),
        by: by.clone(),
        id,
        frame,
        turn,
        telling,
        grant,
        stop: StopOnClose::new(stop),
        pings: pings(),
        to_say: to_say.into(),
        then: Then::GoOn,
        ended: false,
    };
    Ok(streamed::answer(source.grant.clone(), source))
}
