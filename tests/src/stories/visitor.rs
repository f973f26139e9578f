//! A viewer of a story: follows a chat at a replica, resumes by its cursor, and says what it sees as it sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstem_machine::{ChatId, StreamEvent};
use mainstem_oracles::{Begin, Evidence, Name, StreamEnd, StreamId};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::court::{Ledger, cursor, parse};
use crate::transport::{Kind, Transport};

/// After a stream that could not be had.
const RETURN_DELAY: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Shown {
    /// All events, over all streams.
    received: Vec<(Name, StreamEvent)>,
    cursor: Option<String>,
    /// The stream that is open or being opened.
    stream: Option<StreamId>,
    connected: bool,
}

/// Dropping it ends its stream.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) name: String,
    pub(super) chat: ChatId,
    pub(super) on: String,
    kind: Kind,
    /// How many events expectations have consumed.
    pub(super) mark: usize,
    shown: Arc<Mutex<Shown>>,
    ledger: Ledger,
    reading: Option<JoinHandle<()>>,
}

impl Visitor {
    /// A viewer that begins with nothing.
    pub(super) fn come(
        (name, kind): (&str, Kind),
        chat: ChatId,
        on: &str,
        client: Client,
        ledger: Ledger,
    ) -> Self {
        let (name, on, shown) = (name.to_owned(), on.to_owned(), Arc::default());
        let mut visitor = Self { name, chat, on, kind, mark: 0, shown, ledger, reading: None };
        visitor.follow(client);
        visitor
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream from where it is, again and again until it gets one.
    fn follow(&mut self, client: Client) {
        let (shown, ledger) = (self.shown.clone(), self.ledger.clone());
        let (name, on, chat) = (Name::from(&*self.name), Name::from(&*self.on), self.chat);
        let kind = self.kind;
        self.reading = Some(tokio::spawn(async move {
            let shown = || shown.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let after = shown().cursor.clone();
                let stream = ledger.next_stream();
                shown().stream = Some(stream);
                let (viewer, caller, on) = (name.clone(), Name::from(super::CALLER), on.clone());
                let from = after.as_deref().map_or(Begin::Fresh, |text| Begin::At(cursor(text)));
                ledger.say(Evidence::Watches { stream, viewer, caller, chat, on: on.clone(), from });
                let query = after.map(|cursor| format!("?after={cursor}")).unwrap_or_default();
                let opened = Transport::open(&client, &chat.to_string(), kind, &query).await;
                let how = match opened {
                    Ok(mut transport) => {
                        shown().connected = true;
                        while let Ok(text) = transport.next_text().await {
                            let (event, cursor) = parse(&text);
                            let mut shown = shown();
                            // It may have left in the meantime.
                            if shown.stream != Some(stream) {
                                return;
                            }
                            ledger.say(Evidence::Saw { stream, event: event.clone() });
                            shown.cursor = Some(cursor);
                            shown.received.push((on.clone(), event));
                        }
                        StreamEnd::Broken
                    }
                    Err((0 | 503, _)) => StreamEnd::Broken,
                    Err(_) => StreamEnd::Refused,
                };
                {
                    let mut shown = shown();
                    (shown.stream, shown.connected) = (None, false);
                }
                ledger.say(Evidence::StreamEnded { stream, how });
                if how == StreamEnd::Refused {
                    return;
                }
                tokio::time::sleep(RETURN_DELAY).await;
            }
        }));
    }

    /// Leaves its stream.
    pub(super) fn leave(&mut self) {
        let Some(reading) = self.reading.take() else { return };
        reading.abort();
        let mut shown = self.shown();
        shown.connected = false;
        if let Some(stream) = shown.stream.take() {
            self.ledger.say(Evidence::StreamEnded { stream, how: StreamEnd::Broken });
        }
    }

    /// Leaves its stream and continues it at a replica.
    pub(super) fn move_to(&mut self, replica: &str, client: Client) {
        self.leave();
        replica.clone_into(&mut self.on);
        self.follow(client);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.shown().connected
    }

    /// All events from this one on.
    pub(super) fn received(&self, from: usize) -> Vec<(Name, StreamEvent)> {
        self.shown().received.get(from..).unwrap_or_default().to_vec()
    }

    pub(super) fn count(&self) -> usize {
        self.shown().received.len()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.leave();
    }
}
