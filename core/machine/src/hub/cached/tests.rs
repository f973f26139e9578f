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

/// The row after a change that appended messages up to `last`.
fn row_after(cached: &CachedChat, versions: u64, last: u64) -> Arc<ChatState> {
    let version = Version(cached.state.snapshot_version.0 + versions);
    Arc::new(ChatState {
        snapshot_version: version,
        history_version: version,
        last_message: MessageId(last),
        ..ChatState::clone(&cached.state)
    })
}

#[test]
fn what_a_commit_appended_goes_behind_the_tail_within_its_bounds() {
    let most = TAIL_MESSAGES_MAX as u64;
    for (before, from_start, all) in
        [(0, true, true), (1, true, true), (most, true, false), (2, false, false)]
    {
        let mut cached = cached((1..=before).map(|id| message(id, 100)).collect(), from_start);
        let row = row_after(&cached, 1, before + 2);
        let appended = [before + 1, before + 2].map(|id| message(id, 100));
        assert!(cached.merge_committed(&row, Some(&appended)), "{before}");
        let first = (before + 3).saturating_sub(most).max(1);
        assert_eq!((ids(&cached), cached.from_start), ((first..=before + 2).collect(), all), "B1: {before}");
        assert!(!cached.merge_committed(&row, Some(&appended)), "S1: it is taken once");
        assert_eq!((cached.tail.len() as u64, &cached.state), (before + 3 - first, &row));
    }
}

#[test]
fn what_a_commit_appended_is_taken_only_behind_the_version_before() {
    for (versions, appended, is_taken) in [
        (1, Some(vec![message(2, 100)]), true),
        (2, Some(vec![message(2, 100)]), false),
        (1, None, false),
        (1, Some(vec![]), false),
        (1, Some(vec![message(1, 100)]), false),
        (1, Some(vec![message(3, 100)]), false),
        (1, Some(vec![message(2, 100), message(2, 100)]), false),
    ] {
        let mut cached = cached(vec![message(1, 100)], true);
        let before = cached.clone();
        let row = row_after(&cached, versions, 2);
        assert_eq!(
            cached.merge_committed(&row, appended.as_deref()),
            is_taken,
            "S1: {versions} {appended:?}"
        );
        assert_eq!(cached == before, !is_taken, "S1: all of it or nothing");
    }
    // Of the same history, any newer row is.
    let mut cached = cached(vec![message(1, 100)], true);
    let version = Version(cached.state.snapshot_version.0 + 7);
    let row = Arc::new(ChatState { snapshot_version: version, ..ChatState::clone(&cached.state) });
    assert!(cached.merge_committed(&row, None) && cached.state == row && ids(&cached) == [1]);
}

/// It was asked for when less was cached.
#[test]
fn a_read_brings_only_what_is_behind_the_tail() {
    for (read, all) in [(vec![2], vec![1, 2]), (vec![2, 3], vec![1, 2, 3]), (vec![2, 3, 4], vec![1, 2, 3, 4])]
    {
        let mut cached = cached(vec![message(1, 100)], true);
        let row = row_after(&cached, 1, 2);
        assert!(cached.merge_committed(&row, Some(&[message(2, 100)])));
        let last = *all.last().expect("there is one");
        let state = match last {
            2 => Arc::new(ChatState {
                snapshot_version: row.snapshot_version.next(),
                ..ChatState::clone(&row)
            }),
            last => row_after(&cached, last - 1, last),
        };
        let messages = read.iter().map(|id| message(*id, 100)).collect();
        assert!(cached.merge(Snapshot { state, tail: Tail::After(messages) }));
        assert_eq!(ids(&cached), all, "S1: {read:?}");
    }
}
