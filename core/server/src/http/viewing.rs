//! A place among the streams that there may be, and what a stream with such a place is told of a chat. Both are counted.

use bytes::Bytes;
use mainstem_machine::{Body, ChatId, Ending, Resume, StreamEvent};
use mainstem_runtime::ports::Env;
use mainstem_runtime::{EdgeError, Next, Node, Principal, Viewer};
use tokio::sync::OwnedSemaphorePermit;

use super::auth::Requester;
use super::{App, Problem, encode};
use crate::insight::{Closed, Face, Resumed, Transport, View};
use crate::rates::StreamShare;

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    view: View,
    closed: Closed,
    _permit: OwnedSemaphorePermit,
    _share: StreamShare,
}

impl<E: Env> App<E> {
    /// A place for a stream.
    pub(super) fn place(&self, by: &Requester, face: Face, transport: Transport) -> Result<Place, Problem> {
        let permit = self.streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| EdgeError::Overloaded("too many streams are open here"))?;
        let share = self.rates.stream(&by.payer)?;
        let view = self.insight.edge.view(face, transport);
        view.opened();
        Ok(Place { view, closed: Closed::Gone, _permit: permit, _share: share })
    }
}

impl Place {
    /// Says why the stream ends, unless its client goes before.
    pub(super) fn closes(&mut self, why: Closed) {
        self.closed = why;
    }

    /// Subscribes to a chat.
    pub(super) async fn watch<E: Env>(
        &self,
        node: &Node<E>,
        by: &Principal,
        chat: ChatId,
        from: Resume,
    ) -> Result<Viewing<E>, EdgeError> {
        let resumed = match &from {
            Resume::Fresh => None,
            Resume::After(_) => Some(Resumed::Replay),
            Resume::At(_) => Some(Resumed::Exact),
        };
        Ok(Viewing { viewer: node.subscribe(by, chat, from).await?, view: self.view.clone(), resumed })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.view.closed(self.closed);
    }
}

/// A viewer, seen.
#[derive(Debug)]
pub(super) struct Viewing<E: Env> {
    viewer: Viewer<E>,
    view: View,
    /// How it goes on, until it is known.
    resumed: Option<Resumed>,
}

impl<E: Env> Viewing<E> {
    /// Waits for what comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Next {
        let next = self.viewer.next().await;
        if let Next::Events(events) = &next {
            if let Some(resumed) = self.resumed.take() {
                let is_reset = events.iter().any(|event| matches!(event.body, Body::HistoryReset));
                self.view.resumed(if is_reset { Resumed::HistoryReset } else { resumed });
            }
            self.view.told(events, self.viewer.lag());
        }
        next
    }

    /// Events as server-sent events: the first bytes of them, and those behind. What others are told as well is written once.
    pub(super) fn server_sent(&self, events: &[StreamEvent]) -> (Bytes, Vec<Bytes>) {
        match events {
            [event] if matches!(event.body, Body::Parts { .. }) => {
                let write = || encode::server_sent(events).into_bytes().into();
                (self.viewer.shared(event, write), Vec::new())
            }
            _ => encode::server_sent(events).into_first_and_others(),
        }
    }
}

impl From<Ending> for Closed {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Deleted => Self::Deleted,
            Ending::Unshared => Self::Unshared,
            Ending::Leaving => Self::Leaving,
        }
    }
}
