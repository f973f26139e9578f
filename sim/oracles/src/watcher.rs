//! One viewer of one chat, over all its streams: its screen, and the earliest committed moment that the
//! screen can be of.

use std::sync::Arc;

use mainstem_machine::{Body, ChatId, Episode, Seq, StreamEvent};

use crate::{Begin, Moment, Name, Past, StreamId, View};

#[derive(Clone, Debug)]
pub struct Watcher {
    pub name: Name,
    pub chat: ChatId,
    /// Where its newest stream comes from, and that stream.
    pub on: Name,
    pub stream: StreamId,
    pub open: bool,
    pub view: View,
    /// All that it read, and where.
    pub received: Vec<(Name, StreamEvent)>,
    /// The earliest moment that what was shown last can be of.
    pub(crate) floor: usize,
    /// Messages have come since the floor was found.
    unsettled: bool,
    /// The messages shown were the history at no moment from the floor on.
    pub(crate) lost: bool,
    /// It broke a promise: what comes after is judged on a wrong footing.
    pub(crate) tainted: bool,
    /// What others at the same replica had been shown when the present stream began.
    pub(crate) expected: Expected,
    /// What its present stream has told: anything at all, and how far which parts.
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
            received: vec![],
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
                // What it has, it has from elsewhere.
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

    /// Something is about to be shown: after the last of some messages, they have to be a history.
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
        self.received.push((self.on.clone(), event.clone()));
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

/// Whether a status that is told was that of this moment.
pub(crate) fn is_status_of(moment: &Moment, body: &Body) -> bool {
    let Body::Status { status, worker, history_version, attempt } = body else { return false };
    let state = &moment.state;
    (state.status, &state.worker, state.history_version, state.attempt)
        == (*status, worker, *history_version, *attempt)
}
