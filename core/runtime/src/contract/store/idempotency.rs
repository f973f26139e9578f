//! A request that is repeated under its idempotency key happens once.

use futures::future::join_all;
use mainstem_machine::{Accepted, ChatState, Command, Rejection};

use super::{Subject, create, idempotency_key, send};
use crate::ports::{Applied, IdempotencyKey, Keep, Request};

/// How often the same request is sent at the same time.
const AT_ONCE: usize = 8;

pub async fn an_idempotency_key_is_answered_again(subject: &Subject) {
    let chat = subject.running_chat().await;
    let request = of(chat, send("once"), idempotency_key("ada", "again", 1));
    let Applied::Changed { answer, state, .. } = subject.apply(&request).await else {
        panic!("a send to a chat that runs changes its queue")
    };
    subject.change(chat, send("another")).await;
    for _ in 0..2 {
        assert_eq!(
            subject.apply(&request).await,
            Applied::Replayed(Ok(answer.clone())),
            "S6: the same answer"
        );
    }
    // The answer to a creation holds the whole chat.
    let created = subject.fresh_id();
    let request = of(created, create(created, "ada", None), idempotency_key("ada", "create", 1));
    let Applied::Changed { answer, .. } = subject.apply(&request).await else { panic!("it is created") };
    assert_eq!(subject.apply(&request).await, Applied::Replayed(Ok(answer)), "S6: the same answer");
    let now = subject.store.snapshot(chat, None).await.expect("the store answers").expect("it exists");
    assert_eq!(now.state.snapshot_version.0, state.snapshot_version.0 + 1, "S6: nothing happened again");
}

/// A key that nobody outside has: what is kept tells what was decided, and a chat is told as it is by then.
pub async fn a_receipt_of_our_own_settles_what_happened(subject: &Subject) {
    let own = |key: &str| IdempotencyKey { keep: Keep::Decision, ..idempotency_key("ada", key, 1) };
    let chat = subject.running_chat().await;
    let sent = of(chat, send("once"), own("own send"));
    let Applied::Changed { answer, .. } = subject.apply(&sent).await else { panic!("it is queued") };
    let held = subject.change(chat, super::acquire("a")).await;
    let interrupt = of(chat, Command::Interrupt { episode: None }, own("own interrupt"));
    let Applied::Changed { answer: interrupted, .. } = subject.apply(&interrupt).await else {
        panic!("what runs is interrupted")
    };
    let busy = of(chat, Command::Delete, own("own delete"));
    assert_eq!(subject.apply(&busy).await, Applied::Rejected(Rejection::Busy));
    assert_eq!(subject.apply(&interrupt).await, Applied::Replayed(Ok(interrupted)), "S7: once");

    let finish = Command::FinishInterruption { fence: super::fence(&held), partial: None };
    let now = subject.change(chat, finish).await;
    assert_eq!(subject.apply(&sent).await, Applied::Replayed(Ok(answer)), "S6: the same message");
    assert_eq!(
        subject.apply(&interrupt).await,
        Applied::Replayed(Ok(Accepted::Chat(ChatState::clone(&now).into()))),
        "S7: the next turn is not interrupted"
    );
    assert_eq!(subject.apply(&busy).await, Applied::Replayed(Err(Rejection::Busy)));
    let after = subject.store.state(chat).await.expect("the store answers").expect("it exists");
    assert_eq!(after, now, "S6: nothing happened again");
}

pub async fn a_rejection_is_kept_in_its_idempotency_record(subject: &Subject) {
    let chat = subject.chat_of("ada").await;
    let request = of(chat, Command::Interrupt { episode: None }, idempotency_key("ada", "rejected", 1));
    assert_eq!(subject.apply(&request).await, Applied::Rejected(Rejection::NotRunning));
    subject.change(chat, send("now it runs")).await;
    assert_eq!(
        subject.apply(&request).await,
        Applied::Replayed(Err(Rejection::NotRunning)),
        "S7: what was rejected stays rejected, whatever runs by now"
    );
    let unchanged = of(chat, Command::Interrupt { episode: None }, idempotency_key("ada", "unchanged", 1));
    subject.change(chat, super::acquire("a")).await;
    subject.change(chat, Command::Interrupt { episode: None }).await;
    let Applied::Unchanged { answer } = subject.apply(&unchanged).await else {
        panic!("an interrupt while interrupting changes nothing")
    };
    assert_eq!(subject.apply(&unchanged).await, Applied::Replayed(Ok(answer)));
}

pub async fn an_idempotency_key_for_another_body_is_a_mismatch(subject: &Subject) {
    let chat = subject.running_chat().await;
    subject.apply(&of(chat, send("one"), idempotency_key("ada", "mismatch", 1))).await;
    let before = subject.store.snapshot(chat, None).await.expect("the store answers");
    let other = of(chat, send("two"), idempotency_key("ada", "mismatch", 2));
    assert_eq!(subject.apply(&other).await, Applied::Mismatch, "S6: a key is for one body");
    let after = subject.store.snapshot(chat, None).await.expect("the store answers");
    assert_eq!(after, before, "S6: a mismatch changes nothing");
}

pub async fn an_idempotency_key_belongs_to_its_caller(subject: &Subject) {
    let chat = subject.running_chat().await;
    for (caller, key) in [("ada", "mine"), ("grace", "mine"), ("ada", "min"), ("ad", "amine")] {
        let applied = subject.apply(&of(chat, send("hello"), idempotency_key(caller, key, 1))).await;
        assert!(matches!(applied, Applied::Changed { .. }), "{caller} has not used {key} yet: {applied:?}");
    }
}

pub async fn an_idempotency_key_used_twice_at_once_happens_once(subject: &Subject) {
    let chat = subject.running_chat().await;
    for round in 0..4 {
        let key = format!("at once {round}");
        let request = of(chat, send("once"), idempotency_key("ada", &key, 1));
        let applied = join_all((0..AT_ONCE).map(|_| subject.apply(&request))).await;
        let done: Vec<_> = applied
            .iter()
            .filter_map(|applied| match applied {
                Applied::Changed { answer, .. } => Some(answer),
                _ => None,
            })
            .collect();
        assert_eq!(done.len(), 1, "S6: one of them happens: {applied:?}");
        let again = Applied::Replayed(Ok(done[0].clone()));
        let replayed = applied.iter().filter(|applied| **applied == again).count();
        assert_eq!(replayed, AT_ONCE - 1, "S6: the others are answered the same: {applied:?}");
    }
    let now = subject.store.snapshot(chat, None).await.expect("the store answers").expect("it exists");
    assert_eq!(now.state.queue.len(), 4, "S6: one message a key");

    let created = subject.fresh_id();
    let request = of(created, create(created, "ada", None), idempotency_key("ada", "create at once", 1));
    let applied = join_all((0..AT_ONCE).map(|_| subject.apply(&request))).await;
    let done = applied.iter().filter(|applied| matches!(applied, Applied::Changed { .. })).count();
    let replayed = applied.iter().filter(|applied| matches!(applied, Applied::Replayed(Ok(_)))).count();
    assert_eq!((done, replayed), (1, AT_ONCE - 1), "S6: a creation too: {applied:?}");
}

pub async fn an_idempotency_record_outlives_its_chat(subject: &Subject) {
    let chat = subject.chat_of("ada").await;
    let rename = of(
        chat,
        Command::DeleteQueued { queued: mainstem_machine::MessageId(7) },
        idempotency_key("ada", "gone", 1),
    );
    let rejected = subject.apply(&rename).await;
    assert_eq!(rejected, Applied::Rejected(Rejection::NoSuchQueued));
    let delete = of(chat, Command::Delete, idempotency_key("ada", "delete", 1));
    let Applied::Changed { answer, deleted: true, .. } = subject.apply(&delete).await else {
        panic!("an idle chat can be deleted")
    };
    assert_eq!(subject.store.snapshot(chat, None).await.expect("the store answers"), None);
    assert_eq!(subject.apply(&delete).await, Applied::Replayed(Ok(answer)), "S6: deleted once, told twice");
    assert_eq!(subject.apply(&rename).await, Applied::Replayed(Err(Rejection::NoSuchQueued)));
}

fn of(chat: mainstem_machine::ChatId, command: Command, idempotency_key: IdempotencyKey) -> Request {
    Request { chat, command, by: None, idempotency_key: Some(idempotency_key) }
}
