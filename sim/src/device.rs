//! What a viewer has when it comes: nothing, the messages up to one, or all that another device had seen.
//!
//! The judges are told what a device has seen as if it had seen it just now, at a place where no replica is. So they
//! know its screen, and judge what it is told next.

use mainstem_machine::{ChatId, Cursor, MessageId, PreviewProgress, StreamEvent, Version};
use mainstem_oracles::{Begin, Evidence, Name, StreamEnd};

use crate::world::World;

/// How far ahead of everything committed a cursor of a future is.
const AHEAD: u64 = 1_000_000;
/// Where a device has seen what it has.
const NOWHERE: &str = "memory";

/// What a viewer has.
#[derive(Clone, Debug)]
pub enum Has {
    Nothing,
    /// The messages up to this one, as it says.
    MessagesUpTo(MessageId),
    /// What another device had seen since it began, and its cursor.
    Screen {
        began: Begin,
        events: Vec<StreamEvent>,
        cursor: Cursor,
    },
}

impl Has {
    /// What is left of a screen `back` events ago. `None`: nothing had been seen then.
    pub fn screen(began: Begin, mut events: Vec<StreamEvent>, back: usize) -> Option<Self> {
        events.truncate(events.len().saturating_sub(back).max(1));
        let cursor = events.last()?.cursor;
        Some(Self::Screen { began, events, cursor })
    }

    /// The newest screen without a preview, with a cursor of a future. `None`: nothing had been seen.
    pub fn future(began: Begin, mut events: Vec<StreamEvent>, more_messages: bool) -> Option<Self> {
        let shows_none = |event: &StreamEvent| {
            event.cursor.preview.is_none_or(|preview| preview.to == PreviewProgress::Voided)
        };
        let at = events.iter().rposition(shows_none)?;
        events.truncate(at + 1);
        let mut cursor = events[at].cursor;
        cursor.snapshot_version = Version(cursor.snapshot_version.0 + AHEAD);
        cursor.queue_version = Version(cursor.queue_version.0 + AHEAD);
        if more_messages {
            cursor.message = MessageId(cursor.message.0 + AHEAD);
        }
        Some(Self::Screen { began, events, cursor })
    }

    /// How the first stream of whoever has this begins.
    pub fn begin(&self) -> Begin {
        match self {
            Self::Nothing => Begin::Fresh,
            Self::MessagesUpTo(message) => Begin::After(*message),
            Self::Screen { cursor, .. } => Begin::At(*cursor),
        }
    }

    /// How its story began, however often it was passed on since.
    pub fn began(&self) -> Begin {
        match self {
            Self::Screen { began, .. } => *began,
            has => has.begin(),
        }
    }

    /// Tells the judges what is on the screen.
    pub fn recall(&self, world: &World, viewer: &Name, caller: &Name, chat: ChatId) {
        let Self::Screen { began, events, .. } = self else { return };
        let (stream, on, from) = (world.next_stream(), NOWHERE.into(), *began);
        let (viewer, caller) = (viewer.clone(), caller.clone());
        world.observe(Evidence::Watches { stream, viewer, caller, chat, on, from });
        for event in events {
            world.observe(Evidence::Saw { stream, event: event.clone() });
        }
        world.observe(Evidence::StreamEnded { stream, how: StreamEnd::Broken });
    }
}
