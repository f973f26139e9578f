//! Commands of those who know a row, the present one or one of the past, and many commands at once: each comes to what it would
//! come to alone, or to one order of those for the same chat.

use std::sync::Arc;

use futures::future::join_all;
use mainstem_machine::{
    Access, ChatId, ChatState, Command, Completion, Content, MessageId, Rejection, SendMode, Status,
};

use super::reference::Reference;
use super::{Subject, acquire, create, fence, idempotency_key, send};
use crate::ports::{Applied, Effect, IdempotencyKey, Request};

/// Chats for which something is asked at the same time: more than go together.
const CHATS_AT_ONCE: usize = 160;
/// How often two ask at once, in each of the ways.
const ROUNDS: usize = 6;
/// How many ask at the same time under one key.
const AT_ONCE: usize = 8;

fn of(chat: ChatId, command: Command, by: Option<&str>) -> Request {
    Request { chat, command, by: by.map(Arc::from), idempotency_key: None }
}

pub async fn an_old_row_changes_nothing_wrongly(subject: &Subject) {
    let (mut reference, chat) = (Reference::new(subject), subject.fresh_id());
    let created = reference.apply(subject, &of(chat, create(chat, "ada", None), None)).await;
    let idle = created.change().expect("it is new").state.clone();
    let mut past = vec![idle.clone()];
    let mut knowing = async |command: Command, by: Option<&str>, known: &Arc<ChatState>| {
        let request = of(chat, command, by);
        let applied = reference.apply_knowing(subject, &request, Some(known.clone())).await;
        past.extend(applied.change().map(|change| change.state.clone()));
        applied
    };
    let running = knowing(send("one"), None, &idle).await.change().expect("S6: it is sent").state.clone();
    let sent = knowing(send("two"), None, &idle).await;
    assert_eq!(
        sent.change().map(|change| change.state.queue.len()),
        Some(1),
        "S6: it waits behind the first"
    );
    let interrupt = Command::Interrupt { episode: None };
    let first = knowing(acquire("a"), None, &idle).await.change().expect("nobody has it").state.clone();
    let begun = knowing(Command::BeginAttempt { fence: fence(&first) }, None, &first).await;
    let begun = begun.change().expect("S5: it holds the lease").state.clone();
    let stopped = knowing(interrupt.clone(), None, &idle).await;
    assert!(stopped.change().is_some(), "S7: it runs by now, whatever was known: {stopped:?}");
    let finish = |fence, text| {
        let answer = Some(Content::text(text));
        Command::FinishTurn { fence, answer, completion: Completion::STOPPED }
    };
    let finished = knowing(finish(fence(&begun), "too late"), None, &begun).await;
    assert_eq!(finished, Applied::rejected(Rejection::Fenced), "S7: it was interrupted");
    let ended = Command::FinishInterruption { fence: fence(&begun), partial: None };
    assert!(knowing(ended, None, &begun).await.change().is_some());

    // Somebody else has it by now.
    let release = Command::Release { replica: super::replica("a"), lease: first.lease };
    let old = knowing(release, None, &running).await;
    let old = old.change().expect("S5: it held the lease").state.clone();
    let second = knowing(acquire("b"), None, &old).await.change().expect("it was given back").state.clone();
    for known in [&first, &begun, &old, &second] {
        let begin = Command::BeginAttempt { fence: fence(&first) };
        let fenced = Applied::rejected(Rejection::Fenced);
        assert_eq!(knowing(begin, None, known).await, fenced, "S5: its lease is another's");
    }

    // Whoever was let in for a while is out again.
    let grace = Command::Share { user: "grace".into(), may: Access::Write };
    let shared = knowing(grace, None, &idle).await.change().expect("it is shared").state.clone();
    assert!(knowing(send("of grace"), Some("grace"), &idle).await.change().is_some(), "S10: she is let in");
    assert!(knowing(Command::Unshare { user: "grace".into() }, None, &idle).await.change().is_some());
    let out = knowing(send("of grace"), Some("grace"), &shared).await;
    assert_eq!(out, Applied::rejected(Rejection::NoSuchChat), "S10: she is out");

    let left = reference.state(chat).expect("it exists").clone();
    assert_eq!(left.status, Status::Running);
    for known in &past {
        let queued = MessageId(left.last_id.0 + 7);
        let request = of(chat, Command::DeleteQueued { queued }, None);
        let applied = reference.apply_knowing(subject, &request, Some(known.clone())).await;
        assert_eq!(applied, Applied::rejected(Rejection::NoSuchQueued));
    }

    let gone = subject.fresh_id();
    let known = reference.apply(subject, &of(gone, create(gone, "ada", None), None)).await;
    let known = known.change().expect("it is new").state.clone();
    reference.apply(subject, &of(gone, Command::Delete, None)).await;
    let applied = reference.apply_knowing(subject, &of(gone, send("to nobody"), None), Some(known)).await;
    assert_eq!(applied, Applied::rejected(Rejection::NoSuchChat));
}

pub async fn many_chats_at_once_each_get_what_they_would_alone(subject: &Subject) {
    let (mut reference, mut asked) = (Reference::new(subject), vec![]);
    for number in 0..CHATS_AT_ONCE {
        let chat = subject.fresh_id();
        let content = (number % 3 > 0).then(|| Content::text("hello"));
        let created = reference.apply(subject, &of(chat, create(chat, "ada", content), None)).await;
        let old = created.change().expect("it is new").state.clone();
        let by = Some(["ada", "grace"][usize::from(number % 7 == 6)]);
        let now = match number % 5 {
            0 => old.clone(),
            _ => reference
                .apply(subject, &of(chat, send("more"), None))
                .await
                .change()
                .expect("S6")
                .state
                .clone(),
        };
        let command = match number % 8 {
            0 => acquire("a"),
            1 => Command::Interrupt { episode: None },
            2 => Command::DeleteQueued { queued: MessageId(7) },
            3 => Command::Promote { queued: now.queue.first().map_or(MessageId(3), |queued| queued.id) },
            4 => create(chat, "ada", None),
            _ => send(&format!("at once {number}")),
        };
        let known = [None, Some(old), Some(now)][number % 3].clone();
        asked.push((of(chat, command, by), known));
        // What is new comes with all this.
        if number % 4 == 0 {
            let chat = subject.fresh_id();
            asked.push((of(chat, create(chat, "ada", Some(Content::text("new"))), Some("ada")), None));
        }
    }
    let at_once = asked.iter().map(|(request, known)| subject.apply_knowing(request, known.clone()));
    let applied = join_all(at_once).await;
    let mut changed = 0;
    for ((request, known), applied) in asked.iter().zip(&applied) {
        let expected = reference.expect(request, applied);
        assert_eq!(*applied, expected, "{:?} of who knows {known:?}", request.command);
        changed += usize::from(applied.change().is_some());
        reference.check(subject, request.chat, None).await;
    }
    assert!((CHATS_AT_ONCE / 2..asked.len()).contains(&changed), "D2: {changed} of {} changed", asked.len());
}

pub async fn two_for_one_chat_at_once_take_turns_whatever_they_know(subject: &Subject) {
    for round in 0..ROUNDS {
        for way in 0..6 {
            two_at_once(subject, round, way).await;
        }
    }
}

async fn two_at_once(subject: &Subject, round: usize, way: usize) {
    let mut reference = Reference::new(subject);
    let chat = subject.fresh_id();
    let mut past = vec![];
    let mut change = async |command| {
        let applied = reference.apply(subject, &of(chat, command, None)).await;
        let state = applied.change().expect("it changes").state.clone();
        past.push(state.clone());
        state
    };
    change(create(chat, "ada", Some(Content::text("hello")))).await;
    change(send("waits")).await;
    let mut now = change(acquire("a")).await;
    now = change(Command::BeginAttempt { fence: fence(&now) }).await;
    let held = fence(&now);
    let interrupt = Command::Interrupt { episode: None };
    let answer = || Some(Content::text("an answer"));
    let finish =
        Command::FinishTurn { fence: held.clone(), answer: answer(), completion: Completion::STOPPED };
    let promote = Command::Promote { queued: now.queue[0].id };
    let release = Command::Release { replica: held.replica.clone(), lease: held.lease };
    let now_send = Command::Send {
        content: Content::text("at once"),
        mode: SendMode::Interrupt,
        queue_max: 9,
        client_id: None,
    };
    let pair = match way {
        0 => [send("one"), send("another")],
        1 => [finish, interrupt],
        2 => [promote, now_send],
        3 => [release, acquire("b")],
        4 => [finish, release],
        _ => [Command::DeleteQueued { queued: now.queue[0].id }, finish],
    };
    let requests = pair.map(|command| of(chat, command, None));
    let known = |at: usize| match round % 3 {
        0 => Some(now.clone()),
        1 => (at == 0).then(|| now.clone()),
        _ => past.iter().rev().nth(at).cloned(),
    };
    let at_once = [0, 1].map(|at| subject.apply_knowing(&requests[at], known(at)));
    let applied = join_all(at_once).await;
    let serial = [[0, 1], [1, 0]].map(|order| {
        let mut serial = reference.clone();
        let agrees = order.map(|at| serial.expect(&requests[at], &applied[at]) == applied[at]);
        (agrees == [true, true]).then_some(serial)
    });
    let here = subject.store.state(chat).await.expect("the store answers").expect("it exists");
    let is_it = |serial: &&Reference| serial.state(chat) == Some(&*here);
    let serial = serial.iter().flatten().find(is_it);
    let serial = serial.unwrap_or_else(|| panic!("S5, S6: {requests:?} in neither order: {applied:?}"));
    serial.check(subject, chat, None).await;
}

pub async fn a_key_is_claimed_once_whatever_is_known(subject: &Subject) {
    let chat = subject.running_chat().await;
    let other = subject.running_chat().await;
    let [row, of_other] = [chat, other].map(|chat| async move {
        subject.store.state(chat).await.expect("the store answers").expect("it exists")
    });
    let (row, of_other) = (row.await, of_other.await);
    let keyed = |chat, text: &str, key: IdempotencyKey| Request {
        idempotency_key: Some(key),
        ..of(chat, send(text), None)
    };
    for round in 0..ROUNDS {
        let theirs = |body| idempotency_key("ada", &format!("known {round}"), body);
        let drawn = IdempotencyKey::drawn(&"ada".into(), [round as u64, 7]);
        for (key, text) in [(theirs(1), "theirs"), (drawn, "drawn")] {
            let request = keyed(chat, text, key);
            let known = |at: usize| (!at.is_multiple_of(3)).then(|| row.clone());
            let applied = join_all((0..AT_ONCE).map(|at| subject.apply_knowing(&request, known(at)))).await;
            let done: Vec<_> = applied.iter().filter(|applied| applied.change().is_some()).collect();
            assert_eq!(done.len(), 1, "S6: one of them happens: {applied:?}");
            let replayed = applied.iter().filter(|applied| applied.effect == Effect::Replayed);
            assert_eq!(replayed.count(), AT_ONCE - 1, "S6: the others are answered again: {applied:?}");
        }
        // A key is for one body, in one chat.
        let key = |body| idempotency_key("ada", &format!("for one {round}"), body);
        let requests = [keyed(chat, "here", key(1)), keyed(other, "there", key(2))];
        let known = [row.clone(), of_other.clone()];
        let at_once =
            requests.iter().zip(known).map(|(request, known)| subject.apply_knowing(request, Some(known)));
        let applied = join_all(at_once).await;
        let done = applied.iter().filter(|applied| applied.change().is_some()).count();
        let reused =
            applied.iter().filter(|applied| **applied == Applied::rejected(Rejection::KeyReused)).count();
        assert_eq!((done, reused), (1, 1), "S6: one has the key: {applied:?}");
    }
    let mut queued = 0;
    for chat in [chat, other] {
        queued += subject.store.state(chat).await.expect("the store answers").expect("it exists").queue.len();
    }
    assert_eq!(queued, 3 * ROUNDS, "S6: each happened once");
}
