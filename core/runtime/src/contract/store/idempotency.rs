//! A request that is repeated under its idempotency key happens once.

use futures::future::join_all;
use mainstem_machine::{Accepted, Command, Rejection};

use super::{Subject, create, idempotency_key, send};
use crate::ports::{Applied, Effect, IdempotencyKey, Keep, Request};

/// How often the same request is sent at the same time.
const AT_ONCE: usize = 8;

pub async fn an_idempotency_key_is_answered_again(subject: &Subject) {
    let chat = subject.running_chat().await;
    let request = of(chat, send("once"), idempotency_key("ada", "again", 1));
    let (accepted, change) = subject.changed(&request).await;
    let again = Applied::replayed(Ok(accepted));
    subject.change(chat, send("another")).await;
    for _ in 0..2 {
        assert_eq!(subject.apply(&request).await, again, "S6: the same answer");
    }
    // The answer to a creation holds the whole chat.
    let created = subject.fresh_id();
    let request = of(created, create(created, "ada", None), idempotency_key("ada", "create", 1));
    let again = Applied::replayed(Ok(subject.changed(&request).await.0));
    assert_eq!(subject.apply(&request).await, again, "S6: the same answer");
    let now = subject.store.snapshot(chat, None).await.expect("the store answers").expect("it exists");
    assert_eq!(
        now.state.snapshot_version,
        change.state.snapshot_version.next(),
        "S6: nothing happened again"
    );
}

/// A key that nobody outside has: what is kept tells what was decided, and a chat is told as it is by then.
pub async fn a_receipt_of_our_own_settles_what_happened(subject: &Subject) {
    let own = |key: &str| IdempotencyKey { keep: Keep::Decision, ..idempotency_key("ada", key, 1) };
    let chat = subject.running_chat().await;
    let sent = of(chat, send("once"), own("own send"));
    let (queued, _) = subject.changed(&sent).await;
    let held = subject.change(chat, super::acquire("a")).await;
    let interrupt = of(chat, Command::Interrupt { episode: None }, own("own interrupt"));
    let (interrupted, _) = subject.changed(&interrupt).await;
    let busy = of(chat, Command::Delete, own("own delete"));
    assert_eq!(subject.apply(&busy).await, Applied::rejected(Rejection::Busy));
    assert_eq!(subject.apply(&interrupt).await, Applied::replayed(Ok(interrupted)), "S7: once");

    let finish = Command::FinishInterruption { fence: super::fence(&held), partial: None };
    let now = subject.change(chat, finish).await;
    assert_eq!(subject.apply(&sent).await, Applied::replayed(Ok(queued)), "S6: the same message");
    assert_eq!(
        subject.apply(&interrupt).await,
        Applied::replayed(Ok(Accepted::Chat(now.clone()))),
        "S7: the next turn is not interrupted"
    );
    assert_eq!(subject.apply(&busy).await, Applied::replayed(Err(Rejection::Busy)));
    let after = subject.store.state(chat).await.expect("the store answers").expect("it exists");
    assert_eq!(after, now, "S6: nothing happened again");
}

pub async fn a_rejection_is_kept_in_its_idempotency_record(subject: &Subject) {
    let chat = subject.chat_of("ada").await;
    let request = of(chat, Command::Interrupt { episode: None }, idempotency_key("ada", "rejected", 1));
    assert_eq!(subject.apply(&request).await, Applied::rejected(Rejection::NotRunning));
    subject.change(chat, send("now it runs")).await;
    assert_eq!(
        subject.apply(&request).await,
        Applied::replayed(Err(Rejection::NotRunning)),
        "S7: what was rejected stays rejected, whatever runs by now"
    );
    let unchanged = of(chat, Command::Interrupt { episode: None }, idempotency_key("ada", "unchanged", 1));
    subject.change(chat, super::acquire("a")).await;
    subject.change(chat, Command::Interrupt { episode: None }).await;
    let Applied { answer: Ok(accepted), effect: Effect::Unchanged } = subject.apply(&unchanged).await else {
        panic!("an interrupt while interrupting changes nothing")
    };
    assert_eq!(subject.apply(&unchanged).await, Applied::replayed(Ok(accepted)));
}

pub async fn an_idempotency_key_for_another_body_is_a_mismatch(subject: &Subject) {
    let chat = subject.running_chat().await;
    let first = of(chat, send("one"), idempotency_key("ada", "mismatch", 1));
    let (accepted, _) = subject.changed(&first).await;
    let before = subject.store.snapshot(chat, None).await.expect("the store answers");
    let other = of(chat, send("two"), idempotency_key("ada", "mismatch", 2));
    for _ in 0..2 {
        let reused = Applied::rejected(Rejection::KeyReused);
        assert_eq!(subject.apply(&other).await, reused, "S6: a key is for one body");
        let again = Applied::replayed(Ok(accepted.clone()));
        assert_eq!(subject.apply(&first).await, again, "S6: which is answered as before");
    }
    let after = subject.store.snapshot(chat, None).await.expect("the store answers");
    assert_eq!(after, before, "S6: a mismatch changes nothing");
}

pub async fn an_idempotency_key_belongs_to_its_caller(subject: &Subject) {
    let chat = subject.running_chat().await;
    for (caller, key) in [("ada", "mine"), ("grace", "mine"), ("ada", "min"), ("ad", "amine")] {
        let applied = subject.apply(&of(chat, send("hello"), idempotency_key(caller, key, 1))).await;
        assert!(applied.change().is_some(), "{caller} has not used {key} yet: {applied:?}");
    }
}

pub async fn an_idempotency_key_used_twice_at_once_happens_once(subject: &Subject) {
    let chat = subject.running_chat().await;
    for round in 0..4 {
        let key = format!("at once {round}");
        let request = of(chat, send("once"), idempotency_key("ada", &key, 1));
        let applied = join_all((0..AT_ONCE).map(|_| subject.apply(&request))).await;
        let done: Vec<_> = applied.iter().filter(|applied| applied.change().is_some()).collect();
        assert_eq!(done.len(), 1, "S6: one of them happens: {applied:?}");
        let again = Applied::replayed(done[0].answer.clone());
        let replayed = applied.iter().filter(|applied| **applied == again).count();
        assert_eq!(replayed, AT_ONCE - 1, "S6: the others are answered the same: {applied:?}");
    }
    let now = subject.store.snapshot(chat, None).await.expect("the store answers").expect("it exists");
    assert_eq!(now.state.queue.len(), 4, "S6: one message a key");

    let created = subject.fresh_id();
    let request = of(created, create(created, "ada", None), idempotency_key("ada", "create at once", 1));
    let applied = join_all((0..AT_ONCE).map(|_| subject.apply(&request))).await;
    let done = applied.iter().filter(|applied| applied.change().is_some()).count();
    let replayed = applied.iter().filter(|applied| applied.effect == Effect::Replayed).count();
    assert_eq!((done, replayed), (1, AT_ONCE - 1), "S6: a creation too: {applied:?}");
    let same = applied.iter().all(|one| one.answer.is_ok() && one.answer == applied[0].answer);
    assert!(same, "S6: the others are answered the same: {applied:?}");
}

pub async fn an_idempotency_record_outlives_its_chat(subject: &Subject) {
    let chat = subject.chat_of("ada").await;
    let rename = of(
        chat,
        Command::DeleteQueued { queued: mainstem_machine::MessageId(7) },
        idempotency_key("ada", "gone", 1),
    );
    let rejected = subject.apply(&rename).await;
    assert_eq!(rejected, Applied::rejected(Rejection::NoSuchQueued));
    let delete = of(chat, Command::Delete, idempotency_key("ada", "delete", 1));
    let (accepted, change) = subject.changed(&delete).await;
    assert!(change.deleted, "an idle chat can be deleted");
    assert_eq!(subject.store.snapshot(chat, None).await.expect("the store answers"), None);
    assert_eq!(subject.apply(&delete).await, Applied::replayed(Ok(accepted)), "S6: deleted once, told twice");
    assert_eq!(subject.apply(&rename).await, Applied::replayed(Err(Rejection::NoSuchQueued)));
}

fn of(chat: mainstem_machine::ChatId, command: Command, idempotency_key: IdempotencyKey) -> Request {
    Request { chat, command, by: None, idempotency_key: Some(idempotency_key) }
}
