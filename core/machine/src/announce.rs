//! What follows from a change at the replica that made it: who is told here, and what is published to the other
//! replicas. Notices are hints: a replica that misses one learns of the change by its next sync. So of each chat
//! only the newest waits, a few are on their way at a time, and those that do not fit are dropped.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hub::{ChatEvent, HubEvent, Noticed};
use crate::limits::{ANNOUNCEMENTS_MAX, ANNOUNCEMENTS_WAITING_MAX};
use crate::replica::ReplicaEvent;
use crate::{Appended, Applied, ChatId, ChatState, Effect, NextRow, Status, Version};

/// A chat has changed, up to these versions. Published after the commit. Earlier releases send and take the same without a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notice {
    /// Which chat.
    pub chat: ChatId,
    /// Of the row.
    pub snapshot_version: Version,
    /// Of the history.
    pub history_version: Version,
    /// Of the queue.
    pub queue_version: Version,
    /// Of the chat.
    pub status: Status,
    /// The chat is runnable and held by nobody.
    pub free: bool,
    /// There is no such chat any more.
    pub deleted: bool,
    /// What the last change made of the row, if this is all that it changed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "NextRow::of_known_form")]
    pub row: Option<Box<NextRow>>,
}

impl Notice {
    /// What is published of this row; of a chat that is deleted, its last one.
    pub fn of(state: &ChatState, row: Option<Box<NextRow>>, deleted: bool) -> Self {
        Self {
            chat: state.id,
            snapshot_version: state.snapshot_version,
            history_version: state.history_version,
            queue_version: state.queue_version,
            status: state.status,
            free: !deleted && state.status.is_runnable() && state.worker.is_none(),
            deleted,
            row,
        }
    }

    /// What the chat's hub is told.
    pub fn event(&self) -> HubEvent {
        let Self { snapshot_version, history_version, queue_version, .. } = *self;
        HubEvent::Chat(match self.row.clone() {
            Some(row) => {
                ChatEvent::Noticed(Noticed { snapshot_version, history_version, queue_version, row })
            }
            None => ChatEvent::Hint { snapshot_version },
        })
    }
}

/// What an announcer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnouncerEvent {
    /// This replica committed a change.
    Committed {
        /// The row after it; of a chat that is deleted, its last one.
        state: Arc<ChatState>,
        /// What the change appended to the history, as [`Change::appended`](crate::Change::appended) says it.
        appended: Option<Appended>,
        /// What the change made of the row, as [`Change::next_row`](crate::Change::next_row) says it.
        next_row: Option<Box<NextRow>>,
        /// The chat was deleted.
        deleted: bool,
    },
    /// The answer of an idempotency record was given again. The change may have been committed by somebody who
    /// could not announce it, because the answer was lost.
    Replayed {
        /// Which chat.
        chat: ChatId,
    },
    /// The answer to [`AnnouncerAction::Read`]: the row, if there is one and it could be read.
    Read {
        /// The row.
        state: Option<Arc<ChatState>>,
    },
    /// The answer to [`AnnouncerAction::Publish`], however it came out: a notice is published once.
    Published,
}

impl AnnouncerEvent {
    /// What the announcer is told of a command that was applied, if anything follows from it.
    pub fn of(chat: ChatId, applied: &Applied) -> Option<Self> {
        match (&applied.effect, &applied.answer) {
            (Effect::Changed(change), _) => Some(Self::Committed {
                state: change.state.clone(),
                appended: change.appended(),
                next_row: change.next_row.clone(),
                deleted: change.deleted,
            }),
            (Effect::Replayed, Ok(_)) => Some(Self::Replayed { chat }),
            (Effect::Replayed | Effect::Unchanged, _) => None,
        }
    }
}

/// What an announcer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnouncerAction {
    /// Tell the chat's hub, if it is open.
    To {
        /// Which chat.
        chat: ChatId,
        /// What to tell it.
        event: HubEvent,
    },
    /// Tell this replica's own machine.
    ToReplica(ReplicaEvent),
    /// Publish the notice. Answered by [`AnnouncerEvent::Published`].
    Publish(Notice),
    /// Read the chat's row. Answered by [`AnnouncerEvent::Read`].
    Read {
        /// Which chat.
        chat: ChatId,
    },
    /// Too many wait: others see the change of this chat by their next sync. To be logged.
    Dropped {
        /// Which chat.
        chat: ChatId,
    },
}

/// Announces the changes that this replica makes. The order of calls is a hub's: [`handle`](Self::handle) an event,
/// then [`poll_action`](Self::poll_action) until there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcer {
    notices: Waiting<Notice>,
    publishing: usize,
    unread: Waiting<()>,
    reading: usize,
    out: VecDeque<AnnouncerAction>,
}

impl Announcer {
    /// Handles an event. All actions of the previous event must have been polled.
    pub fn handle(&mut self, event: AnnouncerEvent) {
        assert!(self.out.is_empty(), "the actions of the last event were not all polled");
        match event {
            AnnouncerEvent::Committed { state, appended, next_row, deleted } => {
                let notice = Notice::of(&state, next_row, deleted);
                let event = match deleted {
                    false => HubEvent::Chat(ChatEvent::Committed { state, appended }),
                    true => HubEvent::Chat(ChatEvent::Hint { snapshot_version: notice.snapshot_version }),
                };
                self.announce(notice, event);
            }
            AnnouncerEvent::Replayed { chat } => {
                if !self.unread.put(chat, (), |()| false) {
                    self.out.push_back(AnnouncerAction::Dropped { chat });
                }
            }
            AnnouncerEvent::Read { state } => {
                self.reading -= 1;
                if let Some(state) = state {
                    let notice = Notice::of(&state, None, false);
                    let event = notice.event();
                    self.announce(notice, event);
                }
            }
            AnnouncerEvent::Published => self.publishing -= 1,
        }
        self.settle();
    }

    /// The next thing that is asked for. Poll until there is none after each event.
    pub fn poll_action(&mut self) -> Option<AnnouncerAction> {
        self.out.pop_front()
    }

    /// Whether all that was committed here is announced: a replica that leaves before makes others wait for their next
    /// sync (L3).
    pub fn is_idle(&self) -> bool {
        self.publishing == 0
            && self.reading == 0
            && self.notices.order.is_empty()
            && self.unread.order.is_empty()
    }

    /// Tells who is here first: they need no bus.
    fn announce(&mut self, notice: Notice, event: HubEvent) {
        let Notice { chat, status, snapshot_version, .. } = notice;
        self.out.push_back(AnnouncerAction::To { chat, event });
        if notice.free {
            self.out.push_back(AnnouncerAction::ToReplica(ReplicaEvent::Free { chat, status }));
        }
        let newer = |known: &Notice| known.snapshot_version < snapshot_version;
        if !self.notices.put(chat, notice, newer) {
            self.out.push_back(AnnouncerAction::Dropped { chat });
        }
    }

    fn settle(&mut self) {
        while self.publishing < ANNOUNCEMENTS_MAX
            && let Some((_, notice)) = self.notices.pop()
        {
            self.publishing += 1;
            self.out.push_back(AnnouncerAction::Publish(notice));
        }
        // A read that begins now sees whatever was replayed before.
        while self.reading < ANNOUNCEMENTS_MAX
            && let Some((chat, ())) = self.unread.pop()
        {
            self.reading += 1;
            self.out.push_back(AnnouncerAction::Read { chat });
        }
    }
}

/// Chats that wait for their turn, each once, longest waiting first, up to [`ANNOUNCEMENTS_WAITING_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting<T> {
    order: VecDeque<ChatId>,
    what: BTreeMap<ChatId, T>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), what: BTreeMap::new() }
    }
}

impl<T> Waiting<T> {
    /// Lets the chat wait with this, unless it waits already with something that this does not supersede. Returns
    /// whether there was room.
    fn put(&mut self, chat: ChatId, new: T, supersedes: impl FnOnce(&T) -> bool) -> bool {
        if let Some(known) = self.what.get_mut(&chat) {
            if supersedes(known) {
                *known = new;
            }
            return true;
        }
        let has_room = self.order.len() < ANNOUNCEMENTS_WAITING_MAX;
        if has_room {
            self.order.push_back(chat);
            self.what.insert(chat, new);
        }
        has_room
    }

    fn pop(&mut self) -> Option<(ChatId, T)> {
        let chat = self.order.pop_front()?;
        self.what.remove(&chat).map(|what| (chat, what))
    }
}
