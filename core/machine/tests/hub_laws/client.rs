//! A client that applies events, and a judge that checks each event against all versions of the database and
//! against what models produced. It knows nothing about hubs. `floor` is the oldest version that explains
//! everything so far.

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstem_machine::{
    Body, Content, Episode, Message, MessageId, QueuedMessage, ReplicaId, ResetReason, Retry, Role, RunError,
    Status, StreamEvent, Version, WallTime,
};

use crate::database::{Database, Entry};

type LastStatus = (Status, Option<ReplicaId>, Version, u64);

#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) messages: Vec<Arc<Message>>,
    queue: Vec<QueuedMessage>,
    status: Option<LastStatus>,
    error: Option<RunError>,
    retry: Option<Retry>,
    pub(crate) preview: Option<Preview>,
    newest: Option<Episode>,
    /// Reset, or committed and sent: no part of it may follow.
    over: BTreeSet<Episode>,
    floor: usize,
    pub(crate) synced: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Preview {
    pub(crate) episode: Episode,
    pub(crate) last: u64,
    pub(crate) text: String,
}

impl Client {
    /// A client that has the messages up to `id`, as in `entry`.
    pub(crate) fn up_to(entry: &Entry, id: MessageId) -> Self {
        let up_to_there = entry.messages.iter().filter(|message| message.id <= id).cloned().collect();
        Self { messages: up_to_there, ..Self::default() }
    }

    /// A client that has a message that was never in any history.
    pub(crate) fn with_unknown_message(id: MessageId) -> Self {
        let message = Message {
            id,
            revision: Version(0),
            role: Role::User,
            content: Content::text("never committed"),
            interrupted: false,
            episode: None,
            finish_reason: None,
            usage: None,
            queued_as: None,
            created_at: WallTime(0),
        };
        Self { messages: vec![Arc::new(message)], ..Self::default() }
    }

    pub(crate) fn resumed(&self) -> Self {
        Self { synced: false, ..self.clone() }
    }

    /// Raises the floor to the first version that fits.
    fn explain(&mut self, log: &[Entry], what: &str, fits: impl Fn(&Self, &Entry) -> bool) {
        let found = (self.floor..log.len()).find(|at| fits(self, &log[*at]));
        let Some(at) = found else { panic!("{what}: no version from {} on explains it", self.floor + 1) };
        self.floor = at;
    }

    pub(crate) fn take(&mut self, event: &StreamEvent, database: &Database) {
        let log = &database.log;
        match &event.body {
            Body::Message(message) => self.take_message(message, log),
            Body::HistoryReset => {
                assert!(self.preview.is_none(), "S4: a preview is taken back before all else");
                self.explain(log, "S1: a history_reset without a cut", |c, e| !c.is_prefix_of(e));
                self.messages.clear();
            }
            Body::QueueUpdate(queue) => {
                self.queue = queue.to_vec();
                self.explain(log, "S8: queue_update", |c, e| c.has_queue(e));
            }
            Body::Status { status, worker, history_version, attempt } => {
                self.status = Some((*status, worker.clone(), *history_version, *attempt));
                if *status != Status::Error {
                    self.error = None;
                }
                self.explain(log, "S8: status", |c, e| c.has_status(e));
            }
            Body::Error(error) => {
                self.error = Some(error.clone());
                self.explain(log, "S9: error", |c, e| c.has_status(e) && e.state.error == c.error);
            }
            Body::Retry(retry) => {
                self.retry = retry.clone();
                self.explain(log, "S9: retry", |c, e| c.has_all(e));
            }
            Body::Parts { episode, first_seq, last_seq, text, .. } => {
                let text = str::from_utf8(text).expect("S2: parts are text");
                self.take_parts(*episode, first_seq.0, last_seq.0, text, database);
            }
            Body::PreviewReset { episode, reason } => self.take_reset(*episode, *reason, database),
            Body::Synced => {
                assert!(!self.synced, "S9: synced is sent once");
                self.synced = true;
                self.explain(log, "S9: synced", |c, e| c.has_all(e));
            }
        }
    }

    fn take_message(&mut self, message: &Arc<Message>, log: &[Entry]) {
        self.explain(log, "S1: message", |c, e| c.is_prefix_of(e) && c.next_of(e) == Some(message));
        if let Some(preview) = self.preview.take() {
            assert_eq!(
                message.episode,
                Some(preview.episode),
                "S4: a preview ends by its own message or is taken back"
            );
            let committed = message.content.to_text();
            assert!(committed.starts_with(&preview.text), "S4: what was seen is a prefix of what is saved");
        }
        self.over.extend(message.episode);
        self.messages.push(message.clone());
    }

    fn take_parts(&mut self, episode: Episode, first: u64, last: u64, text: &str, database: &Database) {
        let produced = database.produced.get(&episode).expect("S2: parts are of an episode that began");
        assert!(
            self.newest.is_none_or(|newest| newest <= episode),
            "S3: {episode:?} after {:?}",
            self.newest
        );
        assert!(!self.over.contains(&episode), "S3: {episode:?} was over");
        self.newest = Some(episode);
        let expected = match &self.preview {
            Some(preview) => {
                assert_eq!(preview.episode, episode, "S3: another episode's preview is shown");
                preview.last + 1
            }
            None => 1,
        };
        assert_eq!(first, expected, "S2: parts are contiguous");
        assert!(last >= first && last <= produced.parts.len() as u64, "S2: parts that nobody produced");
        let joined = produced.parts[first as usize - 1..last as usize].concat();
        assert_eq!(text, joined, "S2: parts {first}..={last} of {episode:?}");
        let shown = self.preview.is_some();
        self.explain(&database.log, "S3, S8: parts", |c, e| {
            let live = e.live() == Some(episode) && c.has_all(e);
            live || (shown && c.is_prefix_of(e) && c.next_is_of(e, episode))
        });
        let preview = self.preview.get_or_insert(Preview { episode, last: 0, text: String::new() });
        preview.last = last;
        preview.text.push_str(text);
    }

    fn take_reset(&mut self, episode: Episode, reason: ResetReason, database: &Database) {
        let preview = self.preview.take().expect("S2: a preview_reset of nothing shown");
        assert_eq!(preview.episode, episode, "S2: a preview_reset of another episode");
        self.over.insert(episode);
        let lease = database.produced[&episode].lease;
        self.explain(&database.log, "S4: a preview_reset of what lives or is saved", |c, e| {
            let why = if e.state.reset_version > episode.history_version {
                ResetReason::Edit
            } else if e.state.lease != lease {
                ResetReason::Takeover
            } else {
                ResetReason::Retry
            };
            let saved = c.is_prefix_of(e) && c.next_is_of(e, episode);
            e.live() != Some(episode) && !saved && why == reason
        });
    }

    pub(crate) fn sees_live(&self, episode: Episode, database: &Database) -> bool {
        database.log[self.floor].live() == Some(episode)
    }

    pub(crate) fn is_prefix_of(&self, entry: &Entry) -> bool {
        entry.messages.starts_with(&self.messages)
    }

    fn next_of<'a>(&self, entry: &'a Entry) -> Option<&'a Arc<Message>> {
        entry.messages.get(self.messages.len())
    }

    fn next_is_of(&self, entry: &Entry, episode: Episode) -> bool {
        self.next_of(entry).is_some_and(|message| message.episode == Some(episode))
    }

    /// Whether the client shows all messages, and no preview except that of the live episode.
    fn has_history(&self, entry: &Entry) -> bool {
        let shown = self.preview.as_ref().map(|preview| preview.episode);
        *entry.messages == self.messages && (shown.is_none() || shown == entry.live())
    }

    fn has_queue(&self, entry: &Entry) -> bool {
        self.has_history(entry) && entry.state.queue == self.queue
    }

    fn has_status(&self, entry: &Entry) -> bool {
        let state = &entry.state;
        let status = (state.status, state.worker.clone(), state.history_version, state.attempt);
        self.has_queue(entry) && self.status == Some(status)
    }

    /// Whether the client shows all durable state.
    pub(crate) fn has_all(&self, entry: &Entry) -> bool {
        let state = &entry.state;
        self.has_status(entry) && self.error == state.error && self.retry == state.retry
    }
}
