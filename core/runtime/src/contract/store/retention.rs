//! Chats that nobody has touched for long: they are found, a few at a time, and go if they have not changed since.

use std::time::Duration;

use mainstem_machine::{ChatId, Command, Content, Rejection};

use super::{Subject, create, send};
use crate::ports::{Applied, Effect, Request};

const LONG: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(60 * 60);

impl Subject {
    /// All that are found, a few at a time.
    async fn stale(&self, idle_for: Duration) -> Vec<ChatId> {
        let (mut found, mut after) = (vec![], None);
        loop {
            let stale = self.store.stale(after, idle_for, 3).await.expect("the store answers");
            assert!(
                stale.chats.is_sorted()
                    && stale.chats.iter().all(|chat| after.is_none_or(|after| *chat > after))
            );
            found.extend(stale.chats);
            match stale.next {
                Some(next) => {
                    assert!(after.replace(next).is_none_or(|before| before < next), "B1: it comes to an end")
                }
                None => return found,
            }
        }
    }

    async fn expire(&self, chat: ChatId, idle_for: Duration) -> Applied {
        let idle_ms = u64::try_from(idle_for.as_millis()).expect("some time");
        let command = Command::Expire { idle_ms };
        self.apply(&Request { chat, command, by: None, idempotency_key: None }).await
    }
}

pub async fn chats_that_nobody_touched_for_long_are_found_and_go(subject: &Subject) {
    let of = |chat, command, by: Option<&str>| Request {
        chat,
        command,
        by: by.map(Into::into),
        idempotency_key: None,
    };
    let ours: Vec<ChatId> = (0..5).map(|_| subject.fresh_id()).collect();
    for chat in &ours {
        subject.changed(&of(*chat, create(*chat, "stale-ann", None), Some("stale-ann"))).await;
    }
    let running = subject.fresh_id();
    let content = Some(Content::text("answer me"));
    subject.changed(&of(running, create(running, "stale-ann", content), Some("stale-ann"))).await;
    (subject.sleep)(LONG).await;
    // One is touched now.
    let title = mainstem_machine::NewSettings { title: Some(Some("new".into())), ..Default::default() };
    subject.changed(&of(ours[1], Command::Configure(title), Some("stale-ann"))).await;
    let found = subject.stale(LONG).await;
    let is_found = |chat: &ChatId| found.contains(chat);
    assert_eq!(ours.iter().map(is_found).collect::<Vec<_>>(), [true, false, true, true, true]);
    assert!(!is_found(&running), "who waits for an answer is not forgotten");
    assert!(!subject.stale(HOUR).await.iter().any(|chat| ours.contains(chat)));
    // What changed since it was found stays (S6).
    subject.changed(&of(ours[2], send("wait"), Some("stale-ann"))).await;
    for (chat, idle_for) in
        [(ours[1], HOUR), (ours[2], Duration::ZERO), (ours[3], HOUR), (running, Duration::ZERO)]
    {
        let applied = subject.expire(chat, idle_for).await;
        assert_eq!((applied.answer, applied.effect), (Err(Rejection::Busy), Effect::Unchanged), "S6");
    }
    for chat in [ours[0], ours[3]] {
        let Effect::Changed(change) = subject.expire(chat, LONG).await.effect else { panic!("it goes") };
        assert!(change.deleted);
        assert_eq!(subject.store.state(chat).await, Ok(None));
        let again = subject.expire(chat, LONG).await;
        assert_eq!(again.answer, Err(Rejection::NoSuchChat), "two replicas may find it");
    }
}
