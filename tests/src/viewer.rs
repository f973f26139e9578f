//! A viewer: follows a chat's stream, resumes by cursor, maintains a screen like a client, and judges every
//! event. The test fails at the first event that breaks a guarantee.

use std::time::{Duration, Instant};

use mainstem_oracles::viewer::{ViewerOracle, WireBody, WireEpisode, WireEvent, WireMessage, WireQueued};
use serde_json::Value;

use crate::client::Client;
use crate::deadline::WAIT_MAX;
use crate::transport::Transport;

pub use crate::transport::{Ended, Kind};

/// Last events that are printed in a failure.
const EVENTS_REPORTED: usize = 25;

/// The screen of a client.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    pub messages: Vec<WireMessage>,
    pub queue: Vec<WireQueued>,
    pub status: String,
    pub worker: Option<String>,
    pub history_version: u64,
    pub attempt: u64,
    pub preview: String,
    /// The last part of the preview, 0 for none.
    pub seq: u64,
    pub is_synced: bool,
    pub error: Value,
    pub retry: Value,
    /// The reasons of the resets so far.
    pub resets: Vec<String>,
    /// How often the history was reset.
    pub history_resets: usize,
    /// The longest text of one event.
    pub part_bytes_max: usize,
}

impl Screen {
    pub fn last_text(&self) -> String {
        self.messages.last().map(WireMessage::text).unwrap_or_default()
    }

    pub fn texts(&self) -> Vec<String> {
        self.messages.iter().map(WireMessage::text).collect()
    }
}

#[derive(Debug)]
pub struct Viewer {
    chat: String,
    kind: Kind,
    transport: Transport,
    pub cursor: Option<String>,
    oracle: ViewerOracle,
    pub screen: Screen,
    /// All events so far.
    pub events: Vec<Value>,
}

impl Viewer {
    /// Opens a stream from the beginning.
    pub async fn open(client: &Client, chat: &str, kind: Kind) -> Self {
        Self::open_with(client, chat, kind, "").await
    }

    /// Opens a stream with this query.
    pub async fn open_with(client: &Client, chat: &str, kind: Kind, query: &str) -> Self {
        let opened = Transport::open(client, chat, kind, query).await;
        let transport = opened.unwrap_or_else(|why| panic!("the stream was refused: {why:?}"));
        Self::new(chat, kind, transport)
    }

    fn new(chat: &str, kind: Kind, transport: Transport) -> Self {
        Self {
            chat: chat.to_owned(),
            kind,
            transport,
            cursor: None,
            oracle: ViewerOracle::new(),
            screen: Screen::default(),
            events: vec![],
        }
    }

    /// Requests a stream with this query that must be refused. Returns the status and code.
    pub async fn refused(client: &Client, chat: &str, kind: Kind, query: &str) -> (u16, String) {
        Transport::open(client, chat, kind, query).await.expect_err("it was to be refused")
    }

    /// Leaves the stream and resumes by cursor, possibly at another replica, retrying until it is accepted.
    pub async fn resume_on(&mut self, client: &Client) {
        self.resume_as(client, self.kind).await;
    }

    /// The same where the database has gone back in time meanwhile: what is told from then on is judged by itself.
    pub async fn resume_after_restoration(&mut self, client: &Client) {
        self.oracle = ViewerOracle::new();
        self.resume_on(client).await;
    }

    pub async fn resume_as(&mut self, client: &Client, kind: Kind) {
        let query = self.cursor.as_ref().map(|cursor| format!("?after={cursor}")).unwrap_or_default();
        let deadline = Instant::now() + WAIT_MAX;
        self.kind = kind;
        self.transport = loop {
            match Transport::open(client, &self.chat, kind, &query).await {
                Ok(transport) => break transport,
                Err(why) if matches!(why.0, 0 | 503) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(why) => panic!("the stream cannot be resumed: {why:?}"),
            }
        };
        self.screen.is_synced = false;
    }

    /// The next event, judged and shown, or how the stream ended.
    pub async fn next(&mut self) -> Result<Value, Ended> {
        let text = self.transport.next_text().await?;
        let event: Value = serde_json::from_str(&text).expect("an event is JSON");
        self.events.push(event.clone());
        let parsed = WireEvent::parse(&text).unwrap_or_else(|breach| panic!("{breach}: {text}"));
        let found = self.oracle.handle(&parsed.body);
        assert!(found.is_empty(), "{found:?} at the last of {}", self.summary());
        self.show(parsed.body, &event);
        self.cursor = Some(parsed.cursor.into_owned());
        Ok(event)
    }

    /// Reads until the screen meets the condition. Returns how long it took.
    #[track_caller]
    pub fn until<'a>(
        &'a mut self,
        what: &'a str,
        mut is_wanted: impl FnMut(&Screen) -> bool + 'a,
    ) -> impl Future<Output = Duration> + 'a {
        let location = std::panic::Location::caller();
        async move {
            let began = Instant::now();
            while !is_wanted(&self.screen) {
                let left = WAIT_MAX.saturating_sub(began.elapsed());
                match tokio::time::timeout(left, self.next()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(ended)) => {
                        panic!("{location}: {ended:?} instead of: {what}; {}", self.summary())
                    }
                    Err(_) => panic!("{location}: not within {WAIT_MAX:?}: {what}; {}", self.summary()),
                }
            }
            began.elapsed()
        }
    }

    /// Reads until the chat is idle with an empty queue.
    #[track_caller]
    pub fn until_idle(&mut self) -> impl Future<Output = Duration> + '_ {
        self.until("nothing runs", |screen| {
            screen.is_synced
                && matches!(screen.status.as_str(), "waiting" | "error")
                && screen.queue.is_empty()
        })
    }

    /// Reads until the stream ends.
    pub async fn ended(&mut self) -> Ended {
        let deadline = tokio::time::Instant::now() + WAIT_MAX;
        loop {
            match tokio::time::timeout_at(deadline, self.next()).await {
                Ok(Ok(_)) => {}
                Ok(Err(ended)) => return ended,
                Err(_) => panic!("the stream did not end within {WAIT_MAX:?}; {}", self.summary()),
            }
        }
    }

    /// Compares what was shown with the final history.
    pub async fn finish(&mut self, client: &Client) {
        let history = client.messages(&self.chat).await;
        let found = self.oracle.finish(&history);
        assert!(found.is_empty(), "{found:?}; {}", self.summary());
    }

    /// The types of the events from the one at `begin` on.
    pub fn types_from(&self, begin: usize) -> Vec<&str> {
        self.events[begin..].iter().filter_map(|event| event["type"].as_str()).collect()
    }

    fn show(&mut self, body: WireBody<'_>, event: &Value) {
        let screen = &mut self.screen;
        let clear = |screen: &mut Screen| {
            screen.preview.clear();
            screen.seq = 0;
        };
        match body {
            WireBody::Message(message) => {
                clear(screen);
                screen.messages.push(message);
            }
            WireBody::QueueUpdate(queue) => screen.queue = queue,
            WireBody::Status { status, worker, episode } => {
                let WireEpisode { history_version, attempt } = episode;
                (screen.status, screen.worker) = (status, worker);
                (screen.history_version, screen.attempt) = (history_version, attempt);
            }
            WireBody::Parts { last_seq, piece, .. } => {
                screen.part_bytes_max = screen.part_bytes_max.max(piece.text.len());
                screen.preview.push_str(&piece.text);
                screen.seq = last_seq;
            }
            WireBody::PreviewReset { .. } => {
                clear(screen);
                screen.resets.push(event["reason"].as_str().unwrap_or_default().to_owned());
            }
            WireBody::HistoryReset => {
                clear(screen);
                screen.messages.clear();
                screen.history_resets += 1;
            }
            WireBody::Synced => screen.is_synced = true,
            WireBody::Other => match event["type"].as_str() {
                Some("error") => screen.error = event["error"].clone(),
                Some("retry") => screen.retry = event["retry"].clone(),
                _ => panic!("an event of no known type: {event}"),
            },
        }
    }

    fn summary(&self) -> String {
        let skipped = self.events.len().saturating_sub(EVENTS_REPORTED);
        let mut summary = format!("{} events of chat {}, the last:", self.events.len(), self.chat);
        for event in &self.events[skipped..] {
            let event: String = event.to_string().chars().take(300).collect();
            summary.push_str("\n  ");
            summary.push_str(&event);
        }
        summary
    }
}
