//! Where a client is in its run: the `id:` of an event. It is all that any replica needs to go on behind that event, so nothing
//! is kept of a client: our cursor, and what the client has open.

use mainstem_machine::{ChatId, Episode, MessageId, Version};

use super::super::super::{Problem, encode};
use super::super::shown::Shown;
use super::super::turn::Mark;
use crate::limits::edge::EVENT_ID_BYTES_MAX;

/// What the client has open, of the answer that it was told of last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Open {
    #[default]
    Nothing,
    Text,
    /// A thought, at its place.
    Thought(u32),
}

/// How much the client has of the answer that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) episode: Episode,
    /// The last block of which it was told; it has all before it.
    pub(super) place: u32,
    pub(super) bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) chat: ChatId,
    pub(super) turn: MessageId,
    /// The history up to here is not told: the client has it.
    pub(super) after: MessageId,
    pub(super) mark: Mark,
    pub(super) open: Open,
    pub(super) partial: Option<Partial>,
    /// The first thought of which the run told: it tells its clients that thoughts are in the history, too.
    pub(super) thought: Option<(Episode, u32)>,
    /// Whether the client shows what it brought itself: a history that it was told has taken its place.
    pub(super) shows_its_own: bool,
    /// How many of the present message's calls and results were told: their events in order.
    pub(super) of_message: u64,
    /// How many events the run had. Each has another.
    pub(super) count: u64,
}

impl Position {
    pub(super) fn begin(chat: ChatId, turn: MessageId, after: MessageId) -> Self {
        let (mark, open) = (Mark::default(), Open::Nothing);
        Self {
            chat,
            turn,
            after,
            mark,
            open,
            partial: None,
            thought: None,
            shows_its_own: true,
            of_message: 0,
            count: 0,
        }
    }

    /// What the client was told of the answer, for who tells it the rest.
    pub(super) fn shown(&self) -> Shown {
        self.partial.map_or_else(Shown::default, |partial| Shown::up_to(partial.place, partial.bytes))
    }

    pub(super) fn to_text(self) -> String {
        let Mark { cursor, begun, queued, runs } = self.mark;
        let cursor = cursor.map_or_else(|| "-".to_owned(), |cursor| encode::cursor_to_text(&cursor));
        let own = self.shows_its_own;
        let flags = u8::from(begun) | u8::from(queued) << 1 | u8::from(runs) << 2 | u8::from(own) << 3;
        let open = match self.open {
            Open::Nothing => "n".to_owned(),
            Open::Text => "t".to_owned(),
            Open::Thought(place) => format!("r{place}"),
        };
        let partial = self.partial.map_or_else(
            || "-".to_owned(),
            |Partial { episode, place, bytes }| {
                format!("{}:{}:{place}:{bytes}", episode.history_version.0, episode.attempt)
            },
        );
        let thought = self.thought.map_or_else(
            || "-".to_owned(),
            |(episode, place)| format!("{}:{}:{place}", episode.history_version.0, episode.attempt),
        );
        let (turn, after, of_message, count) = (self.turn.0, self.after.0, self.of_message, self.count);
        let of_chat = tag(self.chat);
        format!("{cursor}.{turn}.{after}.{flags}.{open}.{partial}.{thought}.{of_message}.{count}.{of_chat}")
    }

    /// Reads the `id:` of an event of this chat.
    pub(super) fn parse(chat: ChatId, text: &str) -> Result<Self, Problem> {
        Self::read(chat, text).ok_or_else(Problem::bad_cursor)
    }

    fn read(chat: ChatId, text: &str) -> Option<Self> {
        if text.len() > EVENT_ID_BYTES_MAX {
            return None;
        }
        let fields: Vec<&str> = text.split('.').collect();
        let [cursor, turn, after, flags, open, partial, thought, of_message, count, of_chat] = fields[..]
        else {
            return None;
        };
        if of_chat != tag(chat) {
            return None;
        }
        let cursor = match cursor {
            "-" => None,
            cursor => Some(encode::cursor_from_text(cursor).ok()?),
        };
        let flags = u8::try_from(number(flags)?).ok()?;
        let is = |bit: u8| flags & 1 << bit != 0;
        let mark = Mark { cursor, begun: is(0), queued: is(1), runs: is(2) };
        let open = match open {
            "n" => Open::Nothing,
            "t" => Open::Text,
            thought => Open::Thought(u32::try_from(number(thought.strip_prefix('r')?)?).ok()?),
        };
        let partial = match partial {
            "-" => None,
            partial => {
                let numbers: Vec<u64> = partial.split(':').map(number).collect::<Option<_>>()?;
                let [version, attempt, place, bytes] = numbers[..] else { return None };
                let episode = Episode { history_version: Version(version), attempt };
                Some(Partial { episode, place: place.try_into().ok()?, bytes: bytes.try_into().ok()? })
            }
        };
        let thought = match thought {
            "-" => None,
            thought => {
                let numbers: Vec<u64> = thought.split(':').map(number).collect::<Option<_>>()?;
                let [version, attempt, place] = numbers[..] else { return None };
                let episode = Episode { history_version: Version(version), attempt };
                Some((episode, place.try_into().ok()?))
            }
        };
        if open != Open::Nothing && partial.is_none() {
            return None;
        }
        Some(Self {
            chat,
            turn: MessageId(number(turn)?),
            after: MessageId(number(after)?),
            mark,
            open,
            partial,
            thought,
            shows_its_own: is(3),
            of_message: number(of_message)?,
            count: number(count)?,
        })
    }
}

/// Digits, and no number beyond what databases store.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= crate::limits::edge::MESSAGE_ID_MAX)
}

/// Enough of a chat's id that what belongs to another one is not taken for its own.
fn tag(chat: ChatId) -> String {
    chat.0.simple().to_string().split_off(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::Cursor;
    use uuid::Uuid;

    const CHAT: ChatId = ChatId(Uuid::from_u128(7));

    fn all() -> Vec<Position> {
        let begin = Position::begin(CHAT, MessageId(3), MessageId(4));
        let episode = Episode { history_version: Version(9), attempt: 2 };
        let cursor = Cursor { snapshot_version: Version(8), message: MessageId(4), ..Cursor::default() };
        let mark = Mark { cursor: Some(cursor), begun: true, queued: false, runs: true };
        let partial = Some(Partial { episode, place: 3, bytes: 700 });
        let within = Position { mark, partial, count: 12, ..begin };
        vec![
            begin,
            Position { open: Open::Text, ..within },
            Position { open: Open::Thought(3), thought: Some((episode, 1)), ..within },
            Position { of_message: 5, shows_its_own: false, mark: Mark { queued: true, ..mark }, ..within },
        ]
    }

    #[test]
    fn a_position_is_the_same_after_it_was_written() {
        for position in all() {
            let text = position.to_text();
            assert_eq!(Position::parse(CHAT, &text), Ok(position), "{text}");
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= EVENT_ID_BYTES_MAX);
        }
    }

    #[test]
    fn what_is_no_position_of_this_chat_is_none() {
        let text = all()[1].to_text();
        let other = ChatId(Uuid::from_u128(8));
        assert!(Position::parse(other, &text).is_err(), "S10");
        for wrong in
            ["", "x", &text[1..], &format!("{text}.1"), &text.replace(".t.", ".x."), &"1.".repeat(400)]
        {
            assert_eq!(
                Position::parse(CHAT, wrong).map_err(|problem| problem.code),
                Err("bad_cursor"),
                "{wrong}"
            );
        }
        assert!(Position::parse(CHAT, &all()[0].to_text().replace(".n.", ".t.")).is_err());
    }
}
