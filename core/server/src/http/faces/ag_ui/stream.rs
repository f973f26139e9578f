//! A run over Server-Sent Events, computed only when the connection can take more. What comes to no end here is cut: TanStack's
//! client comes back with the last `id:`, and for others it is an error, after which the run is asked for again.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use mainstem_machine::MessageId;
use mainstem_runtime::ports::Env;
use serde_json::value::to_raw_value;
use tokio::time::Interval;

use super::super::super::auth::Grant;
use super::super::super::sse::{PING, pings};
use super::super::super::{App, Problem, Requester};
use super::super::stop::StopOnClose;
use super::super::streamed::{self, CutOff};
use super::super::turn::{From, TurnStream};
use super::asked::located;
use super::event::Event;
use super::ids;
use super::position::Position;
use super::snapshot::{self, Rendered};
use super::told::{Run, Said, Telling, Then};
use crate::insight::{Closed, Face, Transport};

/// What is told to whom.
pub(super) struct Order {
    pub(super) run: Run,
    pub(super) from: From,
    pub(super) position: Position,
    /// The names of the messages that the client has.
    pub(super) has: Vec<String>,
    /// Those of its thoughts.
    pub(super) thoughts: Vec<String>,
    /// Whether the history is told first.
    pub(super) snapshot: bool,
    pub(super) stops_on_close: bool,
}

struct Source<E: Env> {
    app: Arc<App<E>>,
    by: Requester,
    turn: TurnStream<E>,
    telling: Telling,
    has: Has,
    grant: Grant,
    stop: StopOnClose<E>,
    pings: Interval,
    to_say: VecDeque<(Said, Position)>,
    chunks: VecDeque<Bytes>,
    then: Then,
}

/// The names of what the client has.
struct Has {
    messages: Vec<String>,
    thoughts: Vec<String>,
}

/// What happens next.
enum Step {
    Chunks(Vec<Bytes>),
    Said(Vec<(Said, Position)>, Then),
}

impl<E: Env> Source<E> {
    /// There is more, which is told elsewhere. A connection that breaks ends more of a client that cannot resume than its
    /// run, so that is told in its words.
    fn cut(&mut self) -> Option<CutOff> {
        self.stop.disarm();
        if self.telling.run().resumes {
            return Some(CutOff);
        }
        self.to_say = self.telling.end_as_cut().into();
        self.then = Then::Finish;
        None
    }
}

impl<E: Env> streamed::Source for Source<E> {
    async fn next(&mut self) -> Option<Result<Bytes, CutOff>> {
        loop {
            if self.grant.is_revoked()
                && self.then != Then::Finish
                && let Some(cut) = self.cut()
            {
                self.turn.closes(Closed::Revoked);
                return Some(Err(cut));
            }
            if let Some(chunk) = self.chunks.pop_front() {
                return Some(Ok(chunk));
            }
            if self.to_say.is_empty() && self.then == Then::Finish {
                return None;
            }
            let grant = self.grant.clone();
            let Self { app, by, turn, telling, has, pings, to_say, then, .. } = self;
            let step = tokio::select! {
                biased;
                () = grant.revoked(), if *then != Then::Finish => continue,
                _ = pings.tick() => return Some(Ok(PING)),
                step = step(app, by, turn, telling, has, to_say.front(), *then) => step,
            };
            match step {
                Ok(Step::Chunks(chunks)) => {
                    self.to_say.pop_front();
                    self.chunks.extend(chunks);
                }
                Ok(Step::Said(said, then)) => {
                    self.to_say.extend(said);
                    self.then = then;
                    if matches!(then, Then::Finish | Then::Cut) {
                        self.stop.disarm();
                    }
                }
                Err(CutOff) => {
                    if let Some(cut) = self.cut() {
                        return Some(Err(cut));
                    }
                }
            }
        }
    }
}

/// Cancel-safe: what was not returned comes again.
async fn step<E: Env>(
    app: &Arc<App<E>>,
    by: &Requester,
    turn: &mut TurnStream<E>,
    telling: &mut Telling,
    has: &Has,
    to_say: Option<&(Said, Position)>,
    then: Then,
) -> Result<Step, CutOff> {
    let Position { chat, turn: of, .. } = telling.position();
    match (to_say, then) {
        (Some((Said::Event(event), position)), _) => {
            Ok(Step::Chunks(vec![framed(Some(position), event.get())]))
        }
        (Some((Said::Snapshot(up_to), position)), _) => {
            history(app, by, *up_to, has, telling.run().resumes, position).await.map(Step::Chunks)
        }
        (None, Then::GoOn) => {
            let marked = turn.next_marked().await.ok_or(CutOff)?;
            let (said, then) = telling.tell(marked);
            Ok(Step::Said(said, then))
        }
        (None, Then::Ask) => {
            let state = app.node.chat(by, chat).await.map_err(|_| CutOff)?;
            let calls = if state.turn_id() == Some(of) { &*state.calls } else { &[] };
            // If none waits any more, the turn goes on, which is told to who comes back.
            Ok(Step::Said(telling.ask(calls).ok_or(CutOff)?, Then::Finish))
        }
        (None, Then::Anew) => match located(app, by, chat, of).await.map_err(|_| CutOff)? {
            Some(from) => {
                let after = from.after;
                turn.begin_anew(from).await.map_err(|_| CutOff)?;
                Ok(Step::Said(telling.begin_anew(after), Then::GoOn))
            }
            None => Ok(Step::Said(telling.end_as_gone(), Then::Finish)),
        },
        (None, Then::Cut | Then::Finish) => Err(CutOff),
    }
}

/// The history, in place of all that the client has. What comes first of it is no event of its own, and has no `id:`.
async fn history<E: Env>(
    app: &App<E>,
    by: &Requester,
    up_to: MessageId,
    has: &Has,
    resumes: bool,
    position: &Position,
) -> Result<Vec<Bytes>, CutOff> {
    let read = snapshot::read(app, by, position.chat, up_to).await;
    if read.as_ref().is_err_and(|problem| problem.code == "no_such_chat") {
        // It was deleted, which is told next.
        return Ok(vec![]);
    }
    // One that is too large to be told, or cannot be read, is no history.
    let mut messages = read.ok().flatten().ok_or(CutOff)?;
    if !resumes && messages.iter().all(|message| message.role != "reasoning") {
        let Position { chat, turn, thought, .. } = *position;
        let told = thought.map(|(episode, place)| ids::thought(chat, turn, episode, place));
        let void = has.thoughts.first().cloned().or(told);
        messages.extend(void.map(Rendered::no_thought));
    }
    let written = |messages| {
        let event = to_raw_value(&Event::MessagesSnapshot { messages });
        event.expect("an event is written")
    };
    let mut chunks = vec![];
    if let Some(first) = snapshot::first_of(&messages, &has.messages) {
        chunks.push(framed(None, written(&messages[..first]).get()));
    }
    chunks.push(framed(Some(position), written(&messages).get()));
    Ok(chunks)
}

fn framed(position: Option<&Position>, data: &str) -> Bytes {
    match position {
        Some(position) => format!("id: {}\ndata: {data}\n\n", position.to_text()).into(),
        None => format!("data: {data}\n\n").into(),
    }
}

pub(super) async fn answer<E: Env>(
    app: &Arc<App<E>>,
    by: &Requester,
    grant: Grant,
    order: Order,
) -> Result<Response, Problem> {
    let Order { run, from, position, has: messages, thoughts, snapshot, stops_on_close } = order;
    let place = app.place(by, Face::AgUi, Transport::Sse)?;
    let stop = stops_on_close.then(|| (app.node.clone(), by.clone(), from.chat, from.turn));
    let chat = from.chat;
    let mut telling = Telling::new(run, position);
    let (turn, to_say) = match position.mark.cursor {
        Some(cursor) => {
            let from = From { since: cursor.snapshot_version, stale: mainstem_machine::Version(0), ..from };
            let here = (position.mark, cursor);
            (TurnStream::go_on(&app.node, place, by, from, here, position.shown()).await?, vec![])
        }
        None => {
            let from = From { after: position.after, ..from };
            let state = app.node.chat(by, chat).await?;
            (TurnStream::open(&app.node, place, by, from).await?, telling.begin(&state, snapshot))
        }
    };
    let source = Source {
        app: Arc::clone(app),
        by: by.clone(),
        turn,
        telling,
        has: Has { messages, thoughts },
        grant,
        stop: StopOnClose::new(stop),
        pings: pings(),
        to_say: to_say.into(),
        chunks: VecDeque::new(),
        then: Then::GoOn,
    };
    Ok(streamed::answer(source.grant.clone(), source))
}
