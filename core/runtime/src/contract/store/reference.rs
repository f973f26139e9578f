//! The reference store in memory, with which the others are compared. It applies the transitions of
//! `machine`, and takes the time from the answers of the store under test.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::{
    Answer, ChatId, ChatState, LeaseTerm, Message, MessageId, Rejection, StoreFacts, Version, WallTime,
    limits,
};

use super::Subject;
use crate::ports::{Applied, CachedVersions, Page, Request, Snapshot, Tail};

#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) chats: BTreeMap<ChatId, Chat>,
    /// By caller and key.
    idempotency_records: BTreeMap<(Arc<str>, Arc<str>), IdempotencyRecord>,
}

#[derive(Debug)]
struct IdempotencyRecord {
    body: [u8; 32],
    answer: Answer,
}

#[derive(Debug)]
pub(super) struct Chat {
    pub(super) state: Arc<ChatState>,
    pub(super) messages: Vec<Arc<Message>>,
    lease_expires_at: Option<WallTime>,
}

impl Reference {
    /// Applies the request to both stores, and requires that they agree on everything.
    pub(super) async fn apply(&mut self, subject: &Subject, request: &Request) -> Applied {
        let before = self.version(request.chat);
        let cached = self.cached(request.chat);
        let applied = subject.apply(request).await;
        let expected = self.expect(subject, request, &applied);
        assert_eq!(applied, expected, "the answer to {:?}, and what the machine says", request.command);
        if let Some(change) = applied.change() {
            assert_eq!(
                change.state.snapshot_version.0,
                before.0 + 1,
                "S1: each change raises the version by one"
            );
        }
        self.check(subject, request.chat, cached).await;
        applied
    }

    /// The cached versions of a reader of the current state.
    pub(super) fn cached(&self, chat: ChatId) -> Option<CachedVersions> {
        self.chats.get(&chat).map(|chat| CachedVersions {
            snapshot_version: chat.state.snapshot_version,
            reset_version: chat.state.reset_version,
            last_message: chat.state.last_message,
        })
    }

    pub(super) fn state(&self, chat: ChatId) -> Option<&ChatState> {
        self.chats.get(&chat).map(|chat| &*chat.state)
    }

    fn version(&self, chat: ChatId) -> Version {
        self.state(chat).map_or(Version(0), |state| state.snapshot_version)
    }

    fn expect(&mut self, subject: &Subject, request: &Request, applied: &Applied) -> Applied {
        let key = request
            .idempotency_key
            .as_ref()
            .map(|idempotency_key| (idempotency_key.caller.clone(), idempotency_key.key.clone()));
        if let (Some(idempotency_key), Some(key)) = (&request.idempotency_key, &key)
            && let Some(IdempotencyRecord { body, answer }) = self.idempotency_records.get(key)
        {
            let same = *body == idempotency_key.body;
            return match same {
                true => Applied::replayed(answer.clone()),
                false => Applied::rejected(Rejection::KeyReused),
            };
        }

        let chat = self.chats.get(&request.chat);
        // A rejection contains no time. Only the rejection of an acquisition depends on it.
        let now = applied.change().map_or(WallTime(i64::MIN), |change| change.state.updated_at);
        let expires_at = chat.and_then(|chat| chat.lease_expires_at);
        let role = |id| chat.and_then(|chat| chat.messages.iter().find(|message| message.id == id));
        let facts = StoreFacts {
            now,
            lease_expired: expires_at.is_none_or(|at| at <= now),
            message_role: request.command.message().and_then(role).map(|message| message.role),
        };
        let state = chat.map(|chat| &*chat.state);
        let expected = request.command.apply_to(state, request.by.as_deref(), &facts);
        if let (Some(idempotency_key), Some(key)) = (&request.idempotency_key, key) {
            let (body, answer) = (idempotency_key.body, expected.answer.clone());
            self.idempotency_records.insert(key, IdempotencyRecord { body, answer });
        }
        if let Some(change) = expected.change() {
            let old = self.chats.remove(&request.chat);
            let (mut messages, expires_at) =
                old.map(|old| (old.messages, old.lease_expires_at)).unwrap_or_default();
            if let Some(from) = change.cut_from {
                messages.retain(|message| message.id < from);
            }
            messages.extend(change.inserted.iter().cloned().map(Arc::new));
            let lease_ms = u64::try_from(subject.lease_ttl.as_millis()).expect("a lease is short");
            let lease_expires_at = match change.lease {
                LeaseTerm::Keep => expires_at,
                LeaseTerm::Start => Some(now.after_ms(lease_ms)),
                LeaseTerm::End => None,
            };
            if !change.deleted {
                let chat = Chat { state: change.state.clone(), messages, lease_expires_at };
                self.chats.insert(request.chat, chat);
            }
        }
        expected
    }

    /// Requires that the store has the same chat, for a new reader and for readers of earlier states.
    async fn check(&self, subject: &Subject, chat: ChatId, cached: Option<CachedVersions>) {
        let chat_here = self.chats.get(&chat);
        for cached in [None, cached, self.cached(chat)] {
            let snapshot = subject.store.snapshot(chat, cached).await.expect("the store answers");
            match (chat_here, snapshot) {
                (None, None) => {}
                (Some(here), Some(there)) => here.check_snapshot(cached, &there),
                (here, there) => panic!("the store has {there:?}, and there should be {here:?}"),
            }
        }
        let row = subject.store.state(chat).await.expect("the store answers");
        assert_eq!(row.as_deref(), self.state(chat), "the row alone is the snapshot's");
        let first = MessageId(0);
        let page = subject.store.page(chat, first, None, limits::PAGE_MESSAGES_MAX).await;
        match (chat_here, page.expect("the store answers")) {
            (None, None) => {}
            (Some(here), Some(page)) => {
                here.check_page(first, MessageId(u64::MAX), limits::PAGE_MESSAGES_MAX, &page);
            }
            (here, there) => panic!("the store has the page {there:?}, and there should be {here:?}"),
        }
    }
}

impl Chat {
    /// Checks a snapshot of this chat that was read by somebody with these cached versions.
    pub(super) fn check_snapshot(&self, cached: Option<CachedVersions>, snapshot: &Snapshot) {
        assert_eq!(snapshot.state, self.state, "the row as it was written");
        let bytes = |messages: &[Arc<Message>]| -> usize {
            messages.iter().map(|message| message.content.as_json().len()).sum()
        };
        let is_bounded = |messages: &[Arc<Message>]| {
            assert!(messages.len() <= limits::TAIL_MESSAGES_MAX, "B1: {} messages", messages.len());
            let older = messages.split_last().map_or(0, |(_, older)| bytes(older));
            assert!(older <= limits::TAIL_BYTES_MAX, "B1: {older} bytes in front of the newest message");
        };
        let fits = |messages: &[Arc<Message>]| {
            messages.len() <= 1
                || (messages.len() <= limits::TAIL_MESSAGES_MAX && bytes(messages) <= limits::TAIL_BYTES_MAX)
        };
        let continues = cached.filter(|cached| {
            cached.reset_version == self.state.reset_version && cached.last_message <= self.state.last_message
        });
        let lacking = |cached: CachedVersions| {
            let from = self.messages.partition_point(|message| message.id <= cached.last_message);
            &self.messages[from..]
        };
        match &snapshot.tail {
            Tail::After(messages) => {
                let cached = continues.expect("S1: news only for who has the same history up to there");
                assert_eq!(&messages[..], lacking(cached), "S1: all messages after the known one");
                is_bounded(messages);
            }
            Tail::Newest { messages, from_start } => {
                if let Some(cached) = continues {
                    assert!(!fits(lacking(cached)), "what is known is not sent again if the rest fits");
                }
                let from = self.messages.len().checked_sub(messages.len());
                let from = from.expect("S1: a tail has no more messages than the history");
                assert_eq!(messages[..], self.messages[from..], "S1: a tail is the end of the history");
                assert_eq!(*from_start, from == 0, "S1: whether there is a message before the tail");
                is_bounded(messages);
                assert!(!messages.is_empty() || self.messages.is_empty(), "at least one, if there is any");
                assert!(from == 0 || !fits(&self.messages[from - 1..]), "as many as fit: one more would");
            }
        }
    }

    pub(super) fn check_page(&self, after: MessageId, until: MessageId, limit: usize, page: &Page) {
        let found: Vec<_> = self
            .messages
            .iter()
            .filter(|message| message.id > after && message.id <= until)
            .cloned()
            .collect();
        let count = page.messages.len();
        assert!(count <= limit.min(limits::PAGE_MESSAGES_MAX), "B1: {count} messages in a page of {limit}");
        assert!(count <= found.len(), "S1: a page of {count} where {} are", found.len());
        assert_eq!(page.messages[..], found[..count], "S1: the messages after {after}, in order");
        assert!(count > 0 || found.is_empty(), "at least one, if there is any");
        assert_eq!(page.more, count < found.len(), "whether there are more behind the last one");
        let bytes: usize = page.messages.iter().skip(1).map(|message| message.content.as_json().len()).sum();
        assert!(bytes <= limits::PAGE_BYTES_MAX, "B1: {bytes} bytes behind the first message");
        let has_base = after == MessageId(0) || self.messages.iter().any(|message| message.id == after);
        assert_eq!(page.has_base, has_base, "whether the history has message {after}");
        assert_eq!(page.reset_version, self.state.reset_version);
        assert_eq!(page.history_version, self.state.history_version);
    }
}
