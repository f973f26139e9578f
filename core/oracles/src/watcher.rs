//! One viewer of one chat, over all its streams: its screen, and the earliest committed moment that the
//! screen can show.

use std::sync::Arc;

use mainstem_machine::{Body, ChatId, Episode, OpenCall, Seq, StreamEvent};

use crate::{Begin, Moment, Name, Past, StreamId, View};

#[derive(Clone, Debug)]
pub struct Watcher {
    pub name: Name,
    pub chat: ChatId,
    /// The replica of its newest stream, and that stream.
    pub on: Name,
    pub stream: StreamId,
    pub open: bool,
    pub view: View,
    /// The earliest moment that the screen can show.
    pub(crate) floor: usize,
    /// Messages have come since `floor` was determined.
    unsettled: bool,
    /// The messages on the screen were not the history at any moment since `floor`.
    pub(crate) lost: bool,
    /// An event of it broke a guarantee, so that later events cannot be judged reliably.
    pub(crate) tainted: bool,
    /// What others at the same replica had seen when the current stream began.
    pub(crate) expected: Expected,
    /// Whether its current stream has had any event, and the last part that came.
    pub(crate) started: bool,
    pub(crate) reached: Option<(Episode, Seq)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) floor: usize,
    pub(crate) parts: Option<(Episode, Seq)>,
    /// The life of the replica.
    pub(crate) life: u64,
}

impl Watcher {
    pub(crate) fn new(name: Name, chat: ChatId, on: Name, stream: StreamId) -> Self {
        Self {
            name,
            chat,
            on,
            stream,
            open: true,
            view: View::default(),
            floor: 0,
            unsettled: false,
            lost: false,
            tainted: false,
            expected: Expected::default(),
            started: false,
            reached: None,
        }
    }

    pub(crate) fn begin(
        &mut self,
        stream: StreamId,
        on: Name,
        from: Begin,
        past: Option<&Past>,
        expected: Expected,
    ) {
        (self.stream, self.on, self.open, self.expected) = (stream, on, true, expected);
        (self.started, self.reached) = (false, None);
        self.view.begin(from);
        match from {
            Begin::At(_) => {}
            Begin::Fresh => self.floor = 0,
            Begin::After(last) => {
                self.floor = 0;
                // The viewer has these messages from an earlier stream.
                if self.view.messages.last().is_none_or(|message| message.id != last)
                    && let Some(moment) = past.and_then(|past| past.moments.iter().rev().find(holds(last)))
                {
                    let kept = moment.history.iter().filter(|message| message.id <= last);
                    self.view.messages = kept.map(Arc::clone).collect();
                }
            }
        }
        (self.unsettled, self.lost) = (true, false);
    }

    /// An event is about to be applied. If it comes after a series of messages, these have to be a history.
    pub(crate) fn settle(&mut self, body: &Body, past: Option<&Past>) {
        if !self.unsettled
            || matches!(body, Body::Message(_) | Body::HistoryReset | Body::PreviewReset { .. })
        {
            return;
        }
        let moments = past.map_or(&[][..], |past| &past.moments);
        let found = moments.iter().skip(self.floor).position(|moment| moment.is_shown_by(&self.view));
        match found {
            Some(after) => {
                self.floor += after;
                self.unsettled = false;
            }
            None => self.lost = true,
        }
    }

    pub(crate) fn apply(&mut self, event: &StreamEvent, past: Option<&Past>) {
        self.view.apply(&event.body);
        self.started = true;
        match &event.body {
            Body::Message(_) | Body::HistoryReset => (self.unsettled, self.reached) = (true, None),
            Body::PreviewReset { .. } => self.reached = None,
            Body::Parts { episode, last_seq, .. } => self.reached = Some((*episode, *last_seq)),
            Body::Status { .. } => {
                let moments = past.map_or(&[][..], |past| &past.moments);
                let shown =
                    |moment: &Moment| is_status_of(moment, &event.body) && moment.is_shown_by(&self.view);
                let found = moments.iter().skip(self.floor).position(shown);
                self.floor += found.unwrap_or_default();
            }
            _ => {}
        }
    }
}

fn holds(id: mainstem_machine::MessageId) -> impl Fn(&&Moment) -> bool {
    move |moment| moment.history.iter().any(|message| message.id == id)
}

/// What a client is to carry out, as it is told.
fn pending(calls: &[OpenCall]) -> impl Iterator<Item = (&str, &str, &str)> {
    let open = calls.iter().filter(|call| call.waits_for_client());
    open.map(|call| (&*call.id, &*call.name, &*call.input))
}

/// Whether a status event is the status of this moment.
pub(crate) fn is_status_of(moment: &Moment, body: &Body) -> bool {
    let Body::Status { status, worker, history_version, attempt, turn, calls } = body else { return false };
    let state = &moment.state;
    (state.status, &state.worker, state.history_version, state.attempt, state.turn_id())
        == (*status, worker, *history_version, *attempt, *turn)
        && pending(&state.calls).eq(pending(calls))
}
