//! What is cached of a history, up to its bounds (B1), and what can be told from it.

use alloc::{format, vec};

use super::*;
use crate::{ChatId, Command, Content, Effect, Role, StoreFacts, Version, WallTime};

fn message(id: u64, bytes: usize) -> Arc<Message> {
    let text = "x".repeat(bytes - Content::text("").as_json().len());
    Arc::new(Message {
        id: MessageId(id),
        revision: Version(id),
        role: Role::User,
        content: Content::text(&text),
        interrupted: false,
        episode: None,
        finish_reason: None,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: None,
        created_at: WallTime(0),
    })
}

/// A chat of which these messages were read.
fn cached(messages: Vec<Arc<Message>>, from_start: bool) -> CachedChat {
    let (chat, owner) = (ChatId(uuid::Uuid::nil()), Arc::from("ada"));
    let create = Command::Create { chat, owner, settings: Default::default(), messages: vec![] };
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let Effect::Changed(change) = create.apply_to(None, None, &facts).effect else { panic!("it is created") };
    let last_message = messages.last().map_or(MessageId(0), |message| message.id);
    let state = Arc::new(ChatState { last_message, ..ChatState::clone(&change.state) });
    CachedChat::new(Snapshot { state, tail: Tail::Newest { messages, from_start } })
}

fn ids(cached: &CachedChat) -> Vec<u64> {
    cached.assert_invariants();
    cached.tail.iter().map(|message| message.id.0).collect()
}

#[test]
fn as_many_messages_are_cached_as_the_bounds_allow_and_the_newest_always() {
    let count = TAIL_MESSAGES_MAX as u64;
    for (messages, kept) in [
        ((1..=count).map(|id| message(id, 100)).collect(), 1..=count),
        ((1..=count + 1).map(|id| message(id, 100)).collect(), 2..=count + 1),
        (vec![message(1, TAIL_BYTES_MAX - 100), message(2, 100)], 1..=2),
        (vec![message(1, TAIL_BYTES_MAX - 99), message(2, 100)], 2..=2),
        (vec![message(1, 100), message(2, TAIL_BYTES_MAX * 2)], 2..=2),
        (vec![message(1, TAIL_BYTES_MAX * 2), message(2, 100), message(3, 100)], 2..=3),
    ] {
        let what = format!("{kept:?}");
        let cached = cached(messages, true);
        let all = *kept.start() == 1;
        assert_eq!((ids(&cached), cached.from_start), (kept.collect(), all), "B1: {what}");
    }
}

#[test]
fn only_of_what_is_older_than_the_tail_the_database_is_asked() {
    let (presence, next) = (CachedChat::presence, CachedChat::next_after);
    let later = cached([4, 6, 8].map(|id| message(id, 100)).into(), false);
    for (id, expected) in [
        (0, Presence::Present),
        (3, Presence::Unknown),
        (4, Presence::Present),
        (5, Presence::Gone),
        (8, Presence::Present),
        (9, Presence::Gone),
    ] {
        assert_eq!(presence(&later, MessageId(id)), expected, "S1: {id}");
    }
    assert_eq!(next(&later, MessageId(0)), NextMessage::InDatabase);
    assert_eq!(next(&later, MessageId(3)), NextMessage::InDatabase);
    assert_eq!(next(&later, MessageId(4)), NextMessage::Here(message(6, 100)));
    assert_eq!(next(&later, MessageId(8)), NextMessage::None);
    let whole = cached([4, 6].map(|id| message(id, 100)).into(), true);
    assert_eq!(presence(&whole, MessageId(3)), Presence::Gone, "S1: nothing is before the tail");
    assert_eq!(next(&whole, MessageId(0)), NextMessage::Here(message(4, 100)));
}
