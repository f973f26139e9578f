//! Chats that are shared: who may do what is judged under the lock, and what is shared with a user is listed (S10).

use std::sync::Arc;

use mainstem_machine::{Access, ChatId, Command, Rejection, limits};

use super::{Subject, create, idempotency_key, send};
use crate::ports::{Applied, Effect, IdempotencyKey, Keep, Listed, Listing, Request};

fn share(user: &str, may: Access) -> Command {
    Command::Share { user: user.into(), may }
}

fn unshare(user: &str) -> Command {
    Command::Unshare { user: user.into() }
}

async fn asked(subject: &Subject, chat: ChatId, by: &str, command: Command) -> Result<bool, Rejection> {
    let request = Request { chat, command, by: Some(by.into()), idempotency_key: None };
    let Applied { answer, effect } = subject.apply(&request).await;
    answer.map(|_| matches!(effect, Effect::Changed(_)))
}

async fn listed(subject: &Subject, user: &str, listing: Listing, limit: usize) -> Vec<ChatId> {
    let (mut all, mut before) = (vec![], None);
    loop {
        let Listed { chats, more } =
            subject.store.list(user, listing, before, limit).await.expect("the store answers");
        assert!(chats.len() <= limit, "B1: {} of {limit}", chats.len());
        before = chats.last().map(|last| last.id);
        all.extend(chats.iter().map(|chat| chat.id));
        if !more {
            return all;
        }
    }
}

pub async fn a_share_says_under_the_lock_who_may_do_what(subject: &Subject) {
    let chat = subject.chat_of("sharer").await;
    assert_eq!(asked(subject, chat, "reader", send("x")).await, Err(Rejection::NoSuchChat), "S10");
    assert_eq!(asked(subject, chat, "sharer", share("reader", Access::Read)).await, Ok(true));
    assert_eq!(asked(subject, chat, "sharer", share("writer", Access::Write)).await, Ok(true));
    assert_eq!(asked(subject, chat, "sharer", share("reader", Access::Read)).await, Ok(false), "as it was");
    assert_eq!(asked(subject, chat, "sharer", share("sharer", Access::Read)).await, Err(Rejection::OwnChat));
    let state = subject.store.state(chat).await.expect("the store answers").expect("it is there");
    let shares: Vec<_> = state.shares.iter().map(|share| (&*share.user, share.may)).collect();
    assert_eq!(shares, [("reader", Access::Read), ("writer", Access::Write)]);

    assert_eq!(asked(subject, chat, "reader", send("x")).await, Err(Rejection::ReadOnly), "S10");
    for by in ["reader", "writer"] {
        for command in [Command::Delete, share("friend", Access::Read), unshare("nobody")] {
            assert_eq!(asked(subject, chat, by, command).await, Err(Rejection::NotOwner), "S10: {by}");
        }
    }
    assert_eq!(asked(subject, chat, "writer", send("x")).await, Ok(true));
    assert_eq!(asked(subject, chat, "sharer", share("writer", Access::Read)).await, Ok(true), "less");
    assert_eq!(asked(subject, chat, "writer", send("y")).await, Err(Rejection::ReadOnly), "S10");
    assert_eq!(asked(subject, chat, "writer", unshare("writer")).await, Ok(true), "given back");
    assert_eq!(asked(subject, chat, "writer", unshare("writer")).await, Err(Rejection::NoSuchChat), "S10");
    assert_eq!(asked(subject, chat, "sharer", unshare("writer")).await, Ok(false), "there was none");
}

pub async fn what_is_shared_with_a_user_is_listed_newest_first(subject: &Subject) {
    let (mut own, mut shared) = (vec![], vec![]);
    for n in 0..9 {
        let chat = subject.chat_of("lending").await;
        own.insert(0, chat);
        if n % 3 > 0 {
            subject.change(chat, share("borrower", Access::Read)).await;
            subject.change(chat, share("other", Access::Write)).await;
            shared.insert(0, chat);
        }
    }
    let mine = subject.chat_of("borrower").await;
    for limit in [1, 4, 100] {
        assert_eq!(listed(subject, "borrower", Listing::Shared, limit).await, shared, "S10");
        assert_eq!(listed(subject, "borrower", Listing::Own, limit).await, [mine], "S10");
        assert_eq!(listed(subject, "lending", Listing::Own, limit).await, own);
        assert_eq!(listed(subject, "lending", Listing::Shared, limit).await, []);
    }
    subject.change(shared[0], unshare("borrower")).await;
    subject.change(shared[1], share("borrower", Access::Write)).await;
    subject.change(shared[2], Command::Delete).await;
    assert_eq!(
        listed(subject, "borrower", Listing::Shared, 100).await,
        [vec![shared[1]], shared[3..].to_vec()].concat()
    );
    assert_eq!(listed(subject, "other", Listing::Shared, 100).await, [&shared[..2], &shared[3..]].concat());
}

pub async fn a_list_of_shared_chats_is_bounded_by_bytes(subject: &Subject) {
    // The names alone of all that a chat is shared with are some of its bytes.
    let name = |n: usize| format!("{n:03}{}", "n".repeat(250));
    let mut chats = vec![];
    while chats.len() * limits::SHARES_MAX * name(0).len() <= limits::LIST_BYTES_MAX {
        let chat = subject.chat_of("generous").await;
        for n in 0..limits::SHARES_MAX {
            subject.change(chat, share(&name(n), Access::Read)).await;
        }
        chats.push(chat);
    }
    let one_more =
        Request { chat: chats[0], command: share("one more", Access::Read), by: None, idempotency_key: None };
    assert_eq!(subject.apply(&one_more).await, Applied::rejected(Rejection::TooManyShares), "B1");
    let page = subject.store.list(&name(7), Listing::Shared, None, 100).await.expect("the store answers");
    assert!(page.more && page.chats.len() < chats.len(), "B1: {} of {}", page.chats.len(), chats.len());
    chats.reverse();
    assert_eq!(listed(subject, &name(7), Listing::Shared, 100).await, chats);
}

/// What was decided is told again, but not what the chat has become since.
pub async fn whoever_lost_a_share_is_not_told_how_the_chat_is_now(subject: &Subject) {
    let chat = subject.fresh_id();
    subject.change(chat, create(chat, "sharer", Some(mainstem_machine::Content::text("hello")))).await;
    subject.change(chat, share("writer", Access::Write)).await;
    let key = IdempotencyKey { keep: Keep::Decision, ..idempotency_key("writer", "own", 1) };
    let (command, by): (_, Option<Arc<str>>) = (Command::Interrupt { episode: None }, Some("writer".into()));
    let interrupt = Request { chat, command, by, idempotency_key: Some(key) };
    subject.changed(&interrupt).await;
    assert!(subject.apply(&interrupt).await.answer.is_ok());
    subject.change(chat, unshare("writer")).await;
    assert_eq!(subject.apply(&interrupt).await, Applied::replayed(Err(Rejection::NoSuchChat)), "S10");
}
