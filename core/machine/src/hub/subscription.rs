//! One viewer: a cursor, and the computation of its next event from the cursor and the state of the hub.
//!
//! The order of the stream: `preview_reset`, then `history_reset`, messages, queue, status, error, retry, and
//! the parts of the episode that the status announced.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::cached::{CachedChat, Fingerprints, NextMessage, Presence};
use super::episodes::{Episodes, Joined};
use super::joined_parts::JoinedParts;
use super::reader::ReadMark;
use crate::marks::sometimes;
use crate::{
    Body, ChatState, Cursor, Episode, Fingerprint, Lease, Message, MessageId, OpId, Page, PreviewPosition,
    PreviewProgress, ResetReason, Resume, Seq, Version,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subscription {
    /// `None`: who may see every chat.
    user: Option<Arc<str>>,
    came: ReadMark,
    /// The newest row that was there for the user, if any was.
    seen: Option<Version>,
    cursor: Cursor,
    base: BaseMessage,
    paging: Paging,
    catch_up: CatchUp,
}

/// The cursor's message, and whether it is known to be in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum BaseMessage {
    /// The viewer says that it has the messages up to this one.
    Claimed { came: ReadMark },
    /// The viewer resumed with a cursor, which may be ahead of the database if that was restored from a
    /// backup.
    Resumed { came: ReadMark },
    /// The message was in the history at the cursor's `snapshot_version`.
    Held,
    /// The message is not in the history, so the whole history is sent anew. If the cursor is ahead of the
    /// database (`from_future`), so is everything else.
    Lost { from_future: bool },
}

/// Reading of messages older than the cached tail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Paging {
    None,
    Wanted,
    /// The messages behind this one are read.
    Reading {
        op: OpId,
        after: MessageId,
    },
    /// The last page was of another history than the cached one. The next page is requested only after the
    /// hub has read the chat again (L4).
    AwaitingRead {
        mark: ReadMark,
    },
    Ready {
        messages: VecDeque<Arc<Message>>,
        reset_version: Version,
    },
}

/// The progress towards `synced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum CatchUp {
    Pending,
    /// Due after this part: it was the last one held when the durable state had been sent.
    Until {
        episode: Episode,
        seq: Seq,
    },
    Sent,
}

/// Whether the chat is there for the viewer (S10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Open,
    /// Nothing more is told.
    Closed,
    /// The viewer may have been let in by a newer row than is known here, and needs a read that began after it subscribed.
    Unknown(ReadMark),
}

/// The result of computing the next event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is told, and the cursor is right behind it.
    Event(Body),
    /// The viewer has everything.
    Nothing,
    /// The viewer needs a page, which may have been requested already.
    Page,
    /// The viewer needs a read that began after it subscribed.
    FreshRead(ReadMark),
}

impl Subscription {
    pub(super) fn new(from: Resume, came: ReadMark, user: Option<Arc<str>>) -> Self {
        let (cursor, base) = match from {
            Resume::Fresh | Resume::After(MessageId(0)) => (Cursor::default(), BaseMessage::Held),
            Resume::After(message) => {
                (Cursor { message, ..Cursor::default() }, BaseMessage::Claimed { came })
            }
            Resume::At(cursor) => (cursor, BaseMessage::Resumed { came }),
        };
        let (paging, catch_up) = (Paging::None, CatchUp::Pending);
        Self { user, came, seen: None, cursor, base, paging, catch_up }
    }

    /// Whether anything may be told of this row.
    pub(super) fn sight(&self, state: &ChatState, is_past: impl Fn(ReadMark) -> bool) -> Sight {
        match &self.user {
            _ if self.seen == Some(state.snapshot_version) => Sight::Open,
            // Also one that has seen an older row may have been let in by a newer one.
            Some(user) if !state.is_there_for(user) => match is_past(self.came) {
                true => Sight::Closed,
                false => Sight::Unknown(self.came),
            },
            Some(_) | None => Sight::Open,
        }
    }

    /// The same, and remembers it: rows are compared with the user once.
    #[inline]
    pub(super) fn look(&mut self, state: &ChatState, is_past: impl Fn(ReadMark) -> bool) -> Sight {
        let sight = self.sight(state, is_past);
        match sight {
            Sight::Open => self.seen = Some(state.snapshot_version),
            Sight::Closed => sometimes!("a viewer is shut out"),
            Sight::Unknown(_) => sometimes!("a viewer was let in by a newer row"),
        }
        sight
    }

    pub(super) fn wants_page(&self) -> bool {
        self.paging == Paging::Wanted
    }

    /// A page is being read; it begins after [`Self::message`].
    pub(super) fn begin_page(&mut self, op: OpId) {
        self.paging = Paging::Reading { op, after: self.cursor.message };
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(super) fn message(&self) -> MessageId {
        self.cursor.message
    }

    pub(super) fn is_reading(&self, op: OpId) -> bool {
        matches!(self.paging, Paging::Reading { op: reading, .. } if reading == op)
    }

    pub(super) fn on_page_failed(&mut self) {
        self.paging = Paging::Wanted;
    }

    pub(super) fn await_read(&mut self, mark: ReadMark) {
        self.paging = Paging::AwaitingRead { mark };
    }

    /// Takes a page. Returns false if it is of another history than the cached one: then the hub has to read
    /// the chat again.
    pub(super) fn on_page(&mut self, page: Page, cached: &CachedChat) -> bool {
        let asked = core::mem::replace(&mut self.paging, Paging::None);
        // It went on meanwhile by what came with a snapshot, and what is behind another message says nothing of its own.
        if matches!(asked, Paging::Reading { after, .. } if after != self.cursor.message) {
            return true;
        }
        if page.reset_version != cached.state.reset_version {
            return false;
        }
        if !page.has_base {
            self.base = BaseMessage::Lost { from_future: false };
            return true;
        }
        self.hold(cached);
        let fits = !page.messages.is_empty();
        if fits {
            let reset_version = page.reset_version;
            let messages = page.messages.into_iter().map(|message| cached.shared(message)).collect();
            self.paging = Paging::Ready { messages, reset_version };
        }
        fits
    }

    /// The cursor's message is in the cached history.
    fn hold(&mut self, cached: &CachedChat) {
        self.base = BaseMessage::Held;
        self.cursor.snapshot_version = self.cursor.snapshot_version.max(cached.state.snapshot_version);
    }

    /// The next event. `is_past` says whether a read that began after a mark has succeeded; `suspended_lease`
    /// is this replica's lease if it has expired by our own clock.
    #[inline]
    pub(super) fn next(
        &mut self,
        cached: &CachedChat,
        episodes: &Episodes,
        joined: &mut JoinedParts,
        suspended_lease: Option<Lease>,
        is_past: impl Fn(ReadMark) -> bool,
    ) -> Step {
        let over = match &self.paging {
            Paging::AwaitingRead { mark } => is_past(*mark),
            // Messages were cut off the history since the page was read.
            Paging::Ready { reset_version, .. } => *reset_version != cached.state.reset_version,
            Paging::None | Paging::Wanted | Paging::Reading { .. } => false,
        };
        if over {
            self.paging = Paging::None;
        }
        if let Some(step) = self.check_base(cached, is_past) {
            return step;
        }
        if let Some(step) = self.end_preview(cached, episodes, joined) {
            return step;
        }
        if let BaseMessage::Lost { from_future } = self.base {
            self.forget(cached, from_future);
            sometimes!("history is sent anew");
            return self.emit(cached, Body::HistoryReset);
        }
        match self.next_message(cached) {
            NextMessage::Here(message) => {
                self.cursor.message = message.id;
                self.cursor.preview = None;
                return self.emit(cached, Body::Message(message));
            }
            NextMessage::InDatabase => return self.want_page(),
            NextMessage::None => {}
        }
        match self.next_state(cached) {
            Some(body) => self.emit(cached, body),
            None => self.next_parts(cached, episodes, joined, suspended_lease),
        }
    }

    /// Checks that the cursor's message is in the cached history.
    fn check_base(&mut self, cached: &CachedChat, is_past: impl Fn(ReadMark) -> bool) -> Option<Step> {
        let state = &cached.state;
        match self.base {
            BaseMessage::Resumed { came } => {
                let ahead = self.cursor.snapshot_version > state.snapshot_version
                    || self.cursor.message > state.last_id
                    || self.cursor.queue_version > state.snapshot_version;
                if ahead && !is_past(came) {
                    sometimes!("a viewer is ahead of the snapshot");
                    return Some(Step::FreshRead(came));
                }
                self.base = if ahead { BaseMessage::Lost { from_future: true } } else { BaseMessage::Held };
            }
            BaseMessage::Claimed { came } if self.cursor.message > state.last_message && !is_past(came) => {
                return Some(Step::FreshRead(came));
            }
            BaseMessage::Claimed { .. } | BaseMessage::Held | BaseMessage::Lost { .. } => {}
        }
        let checked = match self.base {
            BaseMessage::Held => self.cursor.snapshot_version >= state.reset_version,
            BaseMessage::Lost { .. } => true,
            BaseMessage::Claimed { .. } | BaseMessage::Resumed { .. } => false,
        };
        if checked {
            return None;
        }
        match cached.presence(self.cursor.message) {
            Presence::Present => self.hold(cached),
            Presence::Gone => self.base = BaseMessage::Lost { from_future: false },
            Presence::Unknown => return Some(self.want_page()),
        }
        None
    }

    /// If the episode of the preview is not live any more, it has ended. If the next message to send is its
    /// answer, the remaining parts come before that message; otherwise the preview is void (S4).
    fn end_preview(
        &mut self,
        cached: &CachedChat,
        episodes: &Episodes,
        joined: &mut JoinedParts,
    ) -> Option<Step> {
        let preview = self.cursor.preview?;
        let PreviewProgress::Seq(seq) = preview.to else { return None };
        if cached.state.live_episode() == Some((preview.episode, preview.lease)) {
            return None;
        }
        if seq == Seq(0) {
            self.cursor.preview = None;
            return None;
        }
        let next = match self.base {
            BaseMessage::Lost { .. } => NextMessage::None,
            _ => self.next_message(cached),
        };
        match next {
            NextMessage::InDatabase => Some(self.want_page()),
            NextMessage::Here(message) if message.episode == Some(preview.episode) => {
                let last = self.parts(preview, seq, episodes, joined);
                if last.is_some() {
                    sometimes!("parts come before the message that ends them");
                }
                last.map(|body| self.emit(cached, body))
            }
            NextMessage::Here(_) | NextMessage::None => {
                sometimes!("a preview becomes void");
                self.cursor.preview = Some(PreviewPosition { to: PreviewProgress::Voided, ..preview });
                let reason = if cached.state.reset_version > preview.episode.history_version {
                    ResetReason::Edit
                } else if cached.state.lease != preview.lease {
                    ResetReason::Takeover
                } else {
                    ResetReason::Retry
                };
                Some(self.emit(cached, Body::PreviewReset { episode: preview.episode, reason }))
            }
        }
    }

    fn forget(&mut self, cached: &CachedChat, everything: bool) {
        if everything {
            // All else is told anew whatever it is; that no retry is due is told only to whoever was told of one (S9).
            self.cursor = Cursor { retry: self.cursor.retry, ..Cursor::default() };
        }
        self.cursor.message = MessageId(0);
        self.cursor.snapshot_version = cached.state.snapshot_version;
        self.base = BaseMessage::Held;
        self.paging = Paging::None;
    }

    fn next_message(&mut self, cached: &CachedChat) -> NextMessage {
        let after = self.cursor.message;
        if let Paging::Ready { messages, .. } = &mut self.paging {
            while messages.front().is_some_and(|message| message.id <= after) {
                messages.pop_front();
            }
            match messages.front() {
                Some(message) => return NextMessage::Here(message.clone()),
                None => self.paging = Paging::None,
            }
        }
        cached.next_after(after)
    }

    fn want_page(&mut self) -> Step {
        if self.paging == Paging::None {
            self.paging = Paging::Wanted;
        }
        Step::Page
    }

    /// Queue, status, error, retry: the first of them that differs from what was sent.
    fn next_state(&mut self, cached: &CachedChat) -> Option<Body> {
        let (state, cursor) = (&cached.state, &mut self.cursor);
        if cursor.queue_version != state.queue_version {
            cursor.queue_version = state.queue_version;
            return Some(Body::QueueUpdate(cached.queue.clone()));
        }
        let Fingerprints { status, error, retry } = cached.fingerprints;
        if cursor.status != status {
            let sent = cached.next_after(cursor.message) == NextMessage::None;
            assert!(sent, "S8: a status is told after the messages it speaks of");
            cursor.status = status;
            if state.error.is_none() {
                // Clients clear the error when the status changes, so an equal error must be sent again.
                cursor.error = Fingerprint::NOTHING;
            }
            let (history_version, attempt) = (state.history_version, state.attempt);
            let (status, worker, turn) = (state.status, state.worker.clone(), state.turn_id());
            let calls = state.calls.clone();
            return Some(Body::Status { status, worker, history_version, attempt, turn, calls });
        }
        if cursor.error != error {
            cursor.error = error;
            if let Some(error) = &state.error {
                return Some(Body::Error(error.clone()));
            }
        }
        if cursor.retry != retry {
            cursor.retry = retry;
            return Some(Body::Retry(state.retry.clone()));
        }
        None
    }

    /// The parts of the live episode, and `synced` once everything that was there at the beginning is sent.
    #[inline]
    fn next_parts(
        &mut self,
        cached: &CachedChat,
        episodes: &Episodes,
        joined: &mut JoinedParts,
        suspended_lease: Option<Lease>,
    ) -> Step {
        let live = cached.state.live_episode().filter(|(_, lease)| suspended_lease != Some(*lease));
        let preview = live.map(|(episode, lease)| match self.cursor.preview {
            Some(preview) if (preview.episode, preview.lease) == (episode, lease) => preview,
            _ => PreviewPosition { episode, lease, to: PreviewProgress::Seq(Seq(0)) },
        });
        let reached = match preview {
            Some(PreviewPosition { episode, to: PreviewProgress::Seq(seq), .. }) => Some((episode, seq)),
            _ => None,
        };
        if self.catch_up != CatchUp::Sent {
            if self.catch_up == CatchUp::Pending
                && let Some((episode, _)) = reached
                && let Some(buffer) = episodes.find(episode)
            {
                self.catch_up = CatchUp::Until { episode, seq: buffer.last() };
            }
            let over = match (self.catch_up, reached) {
                (CatchUp::Until { episode, seq }, Some((at, reached))) => at != episode || reached >= seq,
                _ => true,
            };
            if over {
                self.catch_up = CatchUp::Sent;
                assert_eq!(self.next_state(cached), None, "S9: who comes late is told all there is first");
                return self.emit(cached, Body::Synced);
            }
        }
        let Some((preview, (_, seq))) = preview.zip(reached) else { return Step::Nothing };
        match self.parts(preview, seq, episodes, joined) {
            Some(body) => self.emit(cached, body),
            None => Step::Nothing,
        }
    }

    #[inline]
    fn parts(
        &mut self,
        preview: PreviewPosition,
        after: Seq,
        episodes: &Episodes,
        joined: &mut JoinedParts,
    ) -> Option<Body> {
        let buffer = episodes.find(preview.episode).filter(|buffer| buffer.lease == preview.lease)?;
        let Joined { last, place, block, text } = buffer.joined_after(after, joined)?;
        assert!(last > after, "S2: parts go on behind the one that was told last");
        self.cursor.preview = Some(PreviewPosition { to: PreviewProgress::Seq(last), ..preview });
        let (episode, first_seq, last_seq) = (preview.episode, after.next(), last);
        Some(Body::Parts { episode, first_seq, last_seq, place, block, text })
    }

    #[inline]
    fn emit(&mut self, cached: &CachedChat, body: Body) -> Step {
        // Whoever resumes here has a message that is gone, and has to learn it.
        if !matches!(self.base, BaseMessage::Lost { .. }) {
            self.cursor.snapshot_version = cached.state.snapshot_version;
        }
        Step::Event(body)
    }
}
