//! Names of what the client has no name for. All are computed, so they are the same at every replica, and what is told again
//! has the name that it had.

use mainstem_machine::{ChatId, Episode, Message, MessageId};

use super::super::super::Problem;
use super::super::super::request::parse_name;
use uuid::Uuid;

/// What an answer is of: a generation, or, of one that came from elsewhere, its message.
fn of_generation(turn: MessageId, episode: Episode) -> String {
    format!("{}.{}.{}", turn.0, episode.history_version.0, episode.attempt)
}

/// An answer that is being made. Each attempt has another name: what is void never goes on.
pub(super) fn answer(chat: ChatId, turn: MessageId, episode: Episode) -> String {
    format!("a{}-{}", of_generation(turn, episode), chat.0.simple())
}

/// A thought of such an answer, at its place there.
pub(super) fn thought(chat: ChatId, turn: MessageId, episode: Episode, place: u32) -> String {
    format!("r{}.{place}-{}", of_generation(turn, episode), chat.0.simple())
}

/// The name of an answer that is in the history: the one that it had while it was made.
pub(super) fn kept_answer(chat: ChatId, message: &Message) -> String {
    match (&message.client_id, message.turn, message.episode) {
        (Some(own), ..) => (**own).to_owned(),
        (None, Some(turn), Some(episode)) => answer(chat, turn, episode),
        _ => format!("a{}-{}", message.id.0, chat.0.simple()),
    }
}

/// The same of a thought of it.
pub(super) fn kept_thought(chat: ChatId, message: &Message, place: u32) -> String {
    match (message.turn, message.episode) {
        (Some(turn), Some(episode)) => thought(chat, turn, episode, place),
        _ => format!("r{}.{place}-{}", message.id.0, chat.0.simple()),
    }
}

/// What came of a call: the place of the result in its message.
pub(super) fn result(chat: ChatId, message: MessageId, at: usize) -> String {
    format!("t{}.{at}-{}", message.0, chat.0.simple())
}

/// A run, for a client that is to be told it by `GET`: with this name any replica finds it.
pub(super) fn run(chat: ChatId, turn: MessageId) -> String {
    format!("run{}-{}", turn.0, chat.0.simple())
}

/// The chat and the turn of such a name.
pub(super) fn parse_run(name: &str) -> Option<(ChatId, MessageId)> {
    let (turn, chat) = name.strip_prefix("run")?.split_once('-')?;
    let is_number = !turn.is_empty() && turn.bytes().all(|byte| byte.is_ascii_digit());
    let turn = turn.parse().ok().filter(|_| is_number).map(MessageId)?;
    let chat = Uuid::try_parse(chat).ok().map(ChatId)?;
    (run(chat, turn) == name).then_some((chat, turn))
}

/// A name that the client gives.
pub(super) fn given(name: Option<String>, member: &str) -> Result<String, Problem> {
    let name = parse_name(name, member)?;
    name.map(|name| (*name).to_owned()).ok_or_else(|| Problem::malformed(format!("`{member}` is missing")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::Version;

    #[test]
    fn a_run_is_found_by_its_name_and_by_no_other() {
        let (chat, turn) = (ChatId(Uuid::from_u128(7)), MessageId(12));
        let name = run(chat, turn);
        assert_eq!(parse_run(&name), Some((chat, turn)));
        for wrong in
            ["", "run", "run1", "run+1-00000000000000000000000000000007", "run1-x", "uuid-of-the-client"]
        {
            assert_eq!(parse_run(wrong), None, "{wrong}");
        }
        assert_eq!(parse_run(&name.to_uppercase()), None);
    }

    #[test]
    fn each_attempt_has_another_name() {
        let (chat, turn) = (ChatId(Uuid::from_u128(7)), MessageId(1));
        let of =
            |version, attempt| answer(chat, turn, Episode { history_version: Version(version), attempt });
        assert_eq!(of(1, 1), of(1, 1));
        assert!(of(1, 1) != of(1, 2) && of(1, 1) != of(2, 1) && of(1, 11) != of(11, 1));
    }
}
