//! The laws of reading a whole history: it is of one version, whole and in order, or it is refused.

mod common;

use std::sync::Arc;

use mainstem_machine::history::{HistoryFault, HistoryLoad, HistoryStep, ModelHistory};
use mainstem_machine::{
    ChatId, Command, Content, Effect, Message, MessageId, NewMessage, Page, Role, StoreFacts, Version,
    WallTime,
};
use proptest::prelude::*;
use uuid::Uuid;

/// Messages with these ids, oldest first.
fn messages(ids: impl Iterator<Item = u64>) -> Vec<Arc<Message>> {
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let (chat, content) = (ChatId(Uuid::from_u128(1)), Some(Content::text("hello")));
    let create = Command::Create {
        chat,
        owner: "ann".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    };
    let Effect::Changed(created) = create.apply_to(None, None, &facts).effect else {
        panic!("it is created")
    };
    let [message] = &created.inserted[..] else { panic!("it has one message") };
    ids.map(|id| Arc::new(Message { id: MessageId(id), ..message.clone() })).collect()
}

/// What a database has of a history after a message, up to a number of messages.
fn page(all: &[Arc<Message>], after: MessageId, limit: usize, version: u64) -> Page {
    let rest: Vec<_> = all.iter().filter(|message| message.id > after).cloned().collect();
    let more = rest.len() > limit;
    let messages = rest.into_iter().take(limit).collect();
    Page { messages, more, has_base: true, reset_version: Version(0), history_version: Version(version) }
}

proptest! {
    #![proptest_config(common::config(100))]

    #[test]
    fn a_history_is_read_whole_in_order_and_of_one_version(
        gaps in proptest::collection::vec(1u64..5, 0..40),
        limit in 1usize..9,
        moves_at in proptest::option::of(0usize..12),
    ) {
        let ids = gaps.iter().scan(0, |last, gap| { *last += gap; Some(*last) });
        let all = messages(ids);
        let mut load = HistoryLoad::default();
        for read in 0.. {
            prop_assert!(read <= all.len(), "L4: it comes to an end");
            // Whatever moves it makes another version of it.
            let version = if moves_at.is_some_and(|at| read >= at) { 8 } else { 7 };
            let has_moved = moves_at.is_some_and(|at| read == at && at > 0);
            let next = page(&all, load.after(), limit, version);
            match load.on_page(Some(next)) {
                Ok(HistoryStep::More(rest)) => {
                    prop_assert!(!has_moved, "S1: of two versions");
                    load = rest;
                }
                Ok(HistoryStep::Whole(of, whole)) => {
                    prop_assert!(!has_moved, "S1: of two versions");
                    prop_assert_eq!(of, Version(version));
                    prop_assert_eq!(&whole.messages[..], &all[..], "S1");
                    break;
                }
                Err(fault) => {
                    prop_assert_eq!((fault, has_moved), (HistoryFault::Moved, true));
                    break;
                }
            }
        }
    }
}

#[test]
fn a_page_that_brings_nothing_of_what_it_promises_is_no_reason_to_ask_for_ever() {
    let empty = Page { more: true, ..page(&[], MessageId(0), 1, 7) };
    assert_eq!(HistoryLoad::default().on_page(Some(empty)), Err(HistoryFault::Empty), "L4");
    let nothing = page(&[], MessageId(0), 1, 7);
    let whole = HistoryLoad::default().on_page(Some(nothing));
    assert_eq!(whole, Ok(HistoryStep::Whole(Version(7), ModelHistory::default())), "a history may be empty");
}

#[test]
fn a_chat_that_goes_while_its_history_is_read_leaves_no_part_of_it() {
    let all = messages(1..=3);
    let Ok(HistoryStep::More(load)) = HistoryLoad::default().on_page(Some(page(&all, MessageId(0), 2, 7)))
    else {
        panic!("there is another")
    };
    assert_eq!(load.after(), MessageId(2));
    assert_eq!(load.on_page(None), Err(HistoryFault::Gone), "S1");
}

#[test]
fn a_model_is_given_no_call_that_was_cut_short_and_its_name_to_no_other() {
    let call = |id: &str, input: &str| format!(r#"{{"type":"tool_call","id":"{id}","name":"f",{input}}}"#);
    let (whole, empty) = (call("whole", r#""input":{"n": 1.50}"#), call("empty", r#""input":null"#));
    let cut = call("cut", r#""input_text":"{""#);
    let said = r#"{"type":"text","text":"so"}"#;
    let of = |parts: &[&str]| Content::from_stored(format!("[{}]", parts.join(",")));
    let message = |role, content: Content| Message { role, content, ..(*messages(1..=1)[0]).clone() };
    let all = [
        message(Role::Assistant, of(&[said, &whole, &cut, &empty])),
        message(Role::Assistant, of(&[&cut])),
        // What a user says is the user's.
        message(Role::User, of(&[said, &cut])),
    ];
    let ModelHistory { messages, call_ids } = ModelHistory::of(all.clone().map(Arc::new));
    let given: Vec<_> = messages.iter().map(|message| message.content.clone()).collect();
    assert_eq!(given, [of(&[said, &whole, &empty]), of(&[]), of(&[said, &cut])], "S11");
    assert!(call_ids.iter().eq(["cut", "empty", "whole"]), "{call_ids:?}");
    for (given, kept) in messages.iter().zip(&all) {
        let content = given.content.clone();
        assert_eq!(**given, Message { content, ..kept.clone() }, "S1: the rest is as it was");
    }
}
