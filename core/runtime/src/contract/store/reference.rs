//! The rows in memory, with which stores are compared. They take the time from the answers of the store under test.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{ChatId, ChatState, MessageId, Time, Version, WallTime, limits};
use mainstem_rows::Rows;

use super::Subject;
use crate::ports::{Applied, CachedVersions, Page, Request, Snapshot};

#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) rows: Rows,
}

impl Reference {
    pub(super) fn new(subject: &Subject) -> Self {
        Self { rows: Rows::new(subject.lease_ttl) }
    }

    /// Applies the request to both stores, and requires that they agree on everything.
    pub(super) async fn apply(&mut self, subject: &Subject, request: &Request) -> Applied {
        self.apply_knowing(subject, request, None).await
    }

    /// The same by somebody who knows this row.
    pub(super) async fn apply_knowing(
        &mut self,
        subject: &Subject,
        request: &Request,
        known: Option<Arc<ChatState>>,
    ) -> Applied {
        let before = self.version(request.chat);
        let cached = self.cached(request.chat);
        let version = known.as_ref().map(|known| known.snapshot_version);
        let applied = subject.apply_knowing(request, known).await;
        let expected = self.expect(request, &applied);
        assert_eq!(
            applied, expected,
            "the answer to {:?} of who knows {version:?}, and what the machine says",
            request.command
        );
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
        self.state(chat).map(|state| CachedVersions {
            snapshot_version: state.snapshot_version,
            reset_version: state.reset_version,
            last_message: state.last_message,
        })
    }

    pub(super) fn state(&self, chat: ChatId) -> Option<&ChatState> {
        self.rows.state(chat).map(|state| &**state)
    }

    fn version(&self, chat: ChatId) -> Version {
        self.state(chat).map_or(Version(0), |state| state.snapshot_version)
    }

    /// What the machine says to a request, if it happens when this says.
    pub(super) fn expect(&mut self, request: &Request, applied: &Applied) -> Applied {
        // A rejection contains no time. Only the rejection of an acquisition depends on it.
        let wall = applied.change().map_or(WallTime(0), |change| change.state.updated_at);
        let since_epoch = Duration::from_millis(wall.ms_since(WallTime(0)));
        self.rows.apply(Time::START + since_epoch, wall, request)
    }

    /// Requires that the store has the same chat, for a new reader and for readers of earlier states.
    pub(super) async fn check(&self, subject: &Subject, chat: ChatId, cached: Option<CachedVersions>) {
        for cached in [None, cached, self.cached(chat)] {
            self.check_snapshot(subject, chat, cached).await;
        }
        let row = subject.store.state(chat).await.expect("the store answers");
        assert_eq!(row.as_deref(), self.state(chat), "the row alone is the snapshot's");
        self.check_page(subject, chat, MessageId(0), None, limits::PAGE_MESSAGES_MAX).await;
        self.check_turns(subject, chat).await;
    }

    /// Requires that the store has the turns that ended, and no others.
    async fn check_turns(&self, subject: &Subject, chat: ChatId) {
        let sent = self.rows.history(chat).iter().filter(|message| message.episode.is_none());
        let turns = sent.filter_map(|message| message.turn).chain([MessageId(0), MessageId(1)]);
        for id in turns {
            let turn = subject.store.turn(chat, id).await.expect("the store answers");
            assert_eq!(turn, self.rows.turn(chat, id), "S12: {id} of {chat}");
            if let Some(turn) = turn {
                let ids = subject.store.message_ids(chat, turn.message, turn.last).await;
                let expected = self.rows.message_ids(chat, turn.message, turn.last);
                assert_eq!(ids.expect("the store answers"), expected, "S12: {id} of {chat}");
            }
        }
    }

    /// Requires that a reader with these cached versions gets the row and what it lacks, and no more than a tail has.
    pub(super) async fn check_snapshot(
        &self,
        subject: &Subject,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Option<Snapshot> {
        let snapshot = subject.store.snapshot(chat, cached).await.expect("the store answers");
        assert_eq!(snapshot, self.rows.snapshot(chat, cached), "S1, B1: {chat} for who has {cached:?}");
        snapshot
    }

    pub(super) async fn check_page(
        &self,
        subject: &Subject,
        chat: ChatId,
        after: MessageId,
        until: Option<MessageId>,
        limit: usize,
    ) -> Option<Page> {
        let page = subject.store.page(chat, after, until, limit).await.expect("the store answers");
        let expected = self.rows.page(chat, after, until, limit);
        assert_eq!(page, expected, "S1, B1: {limit} of {chat} after {after}, until {until:?}");
        page
    }
}
