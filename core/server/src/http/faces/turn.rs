//! One turn as a viewer is told of it: what there is of it first, joined, and then live, until it ends or this replica
//! cannot tell more.
//!
//! A reader makes a turn's events of the events of a stream, and is a pure function of them. Whoever comes from a command
//! knows the version that the command made: before that is told, no news is an end.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use mainstem_machine::{
    Block, Body, ChatId, ChatState, Cursor, Ending, Episode, Message, MessageId, QueuedMessage, Rejection,
    Resume, Retry, Role, Status, StreamEvent, Turn, TurnStatus, Version,
};
use mainstem_runtime::ports::Env;
use mainstem_runtime::{EdgeError, Next, Node};
use tokio::task::JoinHandle;

use super::super::viewing::{Place, Viewing};
use super::super::{App, Problem, Requester};
use super::shown::{CommittedCall, Shown};
use crate::insight::Closed;

/// What happens in a turn.
#[derive(Clone, Debug)]
pub(super) enum TurnEvent {
    /// The turn's own message has joined the history, and it had not when the stream began.
    Begins,
    /// More of a block of the present answer. A block has ended when another place is told of, or the answer is whole.
    Piece {
        place: u32,
        block: Block,
        text: Bytes,
    },
    /// The present answer has come to the history: what was not told of it follows, then [`Answer`](Self::Answer).
    Committed(Arc<Message>),
    /// A call of an answer that is in the history now, with its whole input. Pieces of it may have been told.
    Call(CommittedCall),
    /// What was told of the present answer is void.
    Void,
    /// The present answer is in the history, and all of it has been told.
    Answer,
    /// Results of its calls.
    Results(Arc<Message>),
    /// Of the chat.
    Queue(Arc<[QueuedMessage]>),
    Status(Status),
    Retry(Option<Retry>),
    /// Nothing follows.
    End(End),
}

/// Why nothing follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The turn is over.
    Over(Turn),
    /// The client is to carry out calls.
    Asked,
    /// The message was taken back, or the chat deleted.
    Gone,
    /// There is more, and another replica, or another request, tells it.
    Cut,
    /// What was told may not be in the history any more, and the turn is to be told from its begin.
    Anew,
}

/// A place in a turn's stream: where any replica goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Behind what the stream told last; `None` before everything.
    pub(super) cursor: Option<Cursor>,
    /// Whether the turn's message is in the history.
    pub(super) begun: bool,
    /// Whether its message waits.
    pub(super) queued: bool,
    /// Whether the turn runs.
    pub(super) runs: bool,
}

/// An event with its place.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    pub(super) event: TurnEvent,
    /// The generation that it is of.
    pub(super) episode: Option<Episode>,
    /// Who goes on here is told the event, if it still stands.
    pub(super) before: Mark,
    /// Who goes on here is told what follows; the same as `before` where more comes of the same news.
    pub(super) after: Mark,
}

/// Where a turn's stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct From {
    pub(super) chat: ChatId,
    pub(super) turn: MessageId,
    /// The client has all up to this message.
    pub(super) after: MessageId,
    /// Whether that ends with what came of calls, so that the next step is what is new.
    pub(super) behind_results: bool,
    /// Whether the turn's own message is told of already.
    pub(super) begun: bool,
    /// News of an earlier version say nothing of the turn's end.
    pub(super) since: Version,
    /// Answers up to this one are of before the turn began again.
    pub(super) stale: Version,
}

impl From {
    /// The turn that runs, or the last one, from its beginning.
    pub(super) fn present(state: &ChatState) -> Option<Self> {
        let turn = state.present_turn()?;
        Some(Self {
            chat: state.id,
            turn: turn.id,
            after: turn.message,
            behind_results: false,
            begun: true,
            since: state.snapshot_version,
            stale: state.reset_version,
        })
    }

    /// A turn of whatever age, from its beginning.
    pub(super) async fn locate<E: Env>(
        app: &App<E>,
        by: &Requester,
        chat: ChatId,
        turn: MessageId,
    ) -> Result<Self, Problem> {
        let state = app.node.chat(by, chat).await?;
        if let Some(from) = Self::present(&state).filter(|from| from.turn == turn) {
            return Ok(from);
        }
        let since = state.snapshot_version;
        if state.queue.iter().any(|queued| queued.id == turn) {
            let (after, stale) = (state.last_message, state.reset_version);
            return Ok(Self { chat, turn, after, behind_results: false, begun: false, since, stale });
        }
        let (found, _) = app.node.turn(by, chat, turn).await?;
        let (after, stale) = (found.message, Version(0));
        Ok(Self { chat, turn, after, behind_results: false, begun: true, since, stale })
    }
}

/// Makes a turn's events of a stream's.
#[derive(Debug)]
struct Reader {
    from: From,
    shown: Shown,
    /// Whether its message is in the history.
    begun: bool,
    /// Whether its message waits.
    queued: bool,
    /// Whether anything of an answer was told.
    told: bool,
    /// The turn that runs, as the last status says.
    runs: Option<MessageId>,
    /// Where who goes on is told all that was not taken yet.
    here: Mark,
    /// What comes of the present news.
    now: Vec<TurnEvent>,
    out: VecDeque<Marked>,
    over: Over,
}

/// What is known of the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Over {
    No,
    /// The turn is over: how, its record says.
    Ended,
    As(End),
}

impl Reader {
    fn new(from: From) -> Self {
        let begun = from.begun;
        let (shown, now, out) = (Shown::default(), vec![], VecDeque::new());
        let here = Mark { begun, ..Mark::default() };
        let (queued, told, runs, over) = (false, false, None, Over::No);
        Self { from, shown, begun, queued, told, runs, here, now, out, over }
    }

    /// One that goes on at a mark, for a client that was told so much of the present answer.
    fn going_on(from: From, here: Mark, shown: Shown) -> Self {
        let (begun, queued, runs) = (here.begun, here.queued, here.runs.then_some(from.turn));
        Self { shown, begun, queued, told: true, runs, here, ..Self::new(from) }
    }

    fn read(&mut self, event: StreamEvent) {
        if self.over != Over::No {
            return;
        }
        let episode = match &event.body {
            Body::Message(message) => message.episode,
            Body::Parts { episode, .. } => Some(*episode),
            _ => None,
        };
        let (cursor, before) = (event.cursor, self.here);
        self.read_body(event);
        // An end is found again only by who is told of its news again.
        if self.over == Over::No {
            let runs = self.runs == Some(self.from.turn);
            self.here = Mark { cursor: Some(cursor), begun: self.begun, queued: self.queued, runs };
        }
        let count = self.now.len();
        for (at, event) in (1..).zip(self.now.drain(..)) {
            let after = if at == count { self.here } else { before };
            self.out.push_back(Marked { event, episode, before, after });
        }
    }

    fn read_body(&mut self, event: StreamEvent) {
        let is_current = event.cursor.snapshot_version >= self.from.since;
        match event.body {
            Body::Message(message) if message.turn == Some(self.from.turn) => self.on_message(message),
            Body::Message(_) | Body::Synced | Body::Error(_) => {}
            Body::QueueUpdate(queue) => {
                self.queued = queue.iter().any(|queued| queued.id == self.from.turn);
                self.now.push(TurnEvent::Queue(queue));
            }
            Body::Status { status, turn, .. } if is_current => self.on_status(status, turn),
            Body::Status { .. } => self.runs = None,
            Body::Retry(retry) => self.now.push(TurnEvent::Retry(retry)),
            Body::Parts { block: Block::Unknown, .. } => {}
            Body::Parts { place, block, text, .. } if is_current && self.runs == Some(self.from.turn) => {
                self.shown.add(place, text.len());
                self.told = true;
                self.now.push(TurnEvent::Piece { place, block, text });
            }
            Body::Parts { .. } => {}
            Body::PreviewReset { .. } => {
                if !self.shown.is_empty() {
                    self.shown.clear();
                    self.now.push(TurnEvent::Void);
                }
            }
            // All comes anew: what was told of answers may be gone.
            Body::HistoryReset if self.told => self.over = Over::As(End::Anew),
            Body::HistoryReset => self.begun = false,
        }
    }

    fn on_message(&mut self, message: Arc<Message>) {
        match message.role {
            Role::User | Role::System => {
                if !self.begun {
                    self.now.push(TurnEvent::Begins);
                }
                self.begun = true;
            }
            _ if message.revision <= self.from.stale => {}
            Role::Assistant => {
                self.told = true;
                self.now.push(TurnEvent::Committed(Arc::clone(&message)));
                self.now.extend(self.shown.rest(&message));
                self.shown.clear();
                self.now.push(TurnEvent::Answer);
            }
            Role::Tool => self.now.push(TurnEvent::Results(message)),
        }
    }

    fn on_status(&mut self, status: Status, turn: Option<MessageId>) {
        self.runs = turn;
        self.now.push(TurnEvent::Status(status));
        let is_ours = turn == Some(self.from.turn);
        self.over = match status {
            Status::Running | Status::Interrupting if is_ours => Over::No,
            Status::RequiresAction if is_ours => Over::As(End::Asked),
            _ if is_ours || self.begun => Over::Ended,
            _ if self.queued => Over::No,
            _ => Over::As(End::Gone),
        };
    }
}

/// A turn's events, from the stream of this replica.
#[derive(Debug)]
pub(super) struct TurnStream<E: Env> {
    viewer: Viewing<E>,
    place: Place,
    node: Node<E>,
    by: Requester,
    reader: Reader,
    /// The question how the turn ended, once it is asked.
    how: Option<JoinHandle<End>>,
    ended: bool,
}

impl<E: Env> TurnStream<E> {
    pub(super) async fn open(
        node: &Node<E>,
        place: Place,
        by: &Requester,
        from: From,
    ) -> Result<Self, EdgeError> {
        let viewer = place.watch(node, by, from.chat, Resume::After(from.after)).await?;
        Ok(Self {
            viewer,
            place,
            node: node.clone(),
            by: by.clone(),
            reader: Reader::new(from),
            how: None,
            ended: false,
        })
    }

    /// Goes on at a mark with a cursor.
    pub(super) async fn go_on(
        node: &Node<E>,
        place: Place,
        by: &Requester,
        from: From,
        (here, cursor): (Mark, Cursor),
        shown: Shown,
    ) -> Result<Self, EdgeError> {
        let viewer = place.watch(node, by, from.chat, Resume::At(cursor)).await?;
        let reader = Reader::going_on(from, here, shown);
        Ok(Self { viewer, place, node: node.clone(), by: by.clone(), reader, how: None, ended: false })
    }

    /// Begins again from there, at the same place.
    pub(super) async fn begin_anew(&mut self, from: From) -> Result<(), EdgeError> {
        self.viewer = self.place.watch(&self.node, &self.by, from.chat, Resume::After(from.after)).await?;
        (self.reader, self.how, self.ended) = (Reader::new(from), None, false);
        Ok(())
    }

    /// Says why it ends before its time.
    pub(super) fn closes(&mut self, why: Closed) {
        self.place.closes(why);
    }

    /// The next event; `None` behind the end. Cancel-safe: an event that was not returned comes again.
    pub(super) async fn next(&mut self) -> Option<TurnEvent> {
        self.next_marked().await.map(|marked| marked.event)
    }

    /// As [`next`](Self::next), with its place.
    pub(super) async fn next_marked(&mut self) -> Option<Marked> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(marked) = self.reader.out.pop_front() {
                return Some(marked);
            }
            let end = match &self.reader.over {
                Over::No => match self.viewer.next().await {
                    Next::Events(events) => {
                        events.into_iter().for_each(|event| self.reader.read(event));
                        continue;
                    }
                    // To whom may not see it any more, the chat is as good as deleted.
                    Next::End(Ending::Deleted | Ending::Unshared) => End::Gone,
                    Next::End(Ending::Leaving) => End::Cut,
                },
                Over::As(end) => end.clone(),
                Over::Ended => {
                    let From { chat, turn, .. } = self.reader.from;
                    let (node, by) = (&self.node, &self.by);
                    // Whoever is called again goes on to wait for the same answer.
                    let asks = || tokio::spawn(how(node.clone(), by.clone(), chat, turn));
                    self.how.get_or_insert_with(asks).await.unwrap_or(End::Cut)
                }
            };
            self.ended = true;
            self.place.closes(match end {
                End::Over(_) | End::Asked => Closed::Done,
                End::Gone => Closed::Deleted,
                End::Cut | End::Anew => Closed::Leaving,
            });
            let here = self.reader.here;
            return Some(Marked { event: TurnEvent::End(end), episode: None, before: here, after: here });
        }
    }
}

/// How the turn ended, which its record says. One that runs by now began again, which others tell.
async fn how<E: Env>(node: Node<E>, by: Requester, chat: ChatId, turn: MessageId) -> End {
    match node.turn(&by, chat, turn).await {
        Ok((turn, _)) if turn.status.is_over() => End::Over(turn),
        Ok((Turn { status: TurnStatus::RequiresAction, .. }, _)) => End::Asked,
        Ok(_) => End::Cut,
        Err(EdgeError::Rejected(Rejection::NoSuchChat | Rejection::NoSuchTurn)) => End::Gone,
        Err(_) => End::Cut,
    }
}

#[cfg(test)]
pub(super) mod tests;
