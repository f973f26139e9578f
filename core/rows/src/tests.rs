use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use mainstem_machine::store::{IdempotencyKey, Request};
use mainstem_machine::{
    Applied, CachedVersions, ChatId, Command, Content, Effect, Keep, MessageId, NewMessage, SendMode, Tail,
    Time, WallTime,
};

use crate::Rows;

const CHAT: ChatId = ChatId(uuid::Uuid::from_u128(7));
const TTL: Duration = Duration::from_secs(15);

fn request(command: Command, key: Option<&str>) -> Request {
    let named = |key: &str| IdempotencyKey {
        caller: "ada".into(),
        key: key.into(),
        body: [0; 32],
        keep: Keep::Answer,
    };
    Request { chat: CHAT, command, by: Some("ada".into()), idempotency_key: key.map(named) }
}

fn send(text: &str) -> Command {
    Command::Send { content: Content::text(text), mode: SendMode::Queue, queue_max: 9, client_id: None }
}

fn apply(rows: &mut Rows, after: Duration, request: &Request) -> Applied {
    rows.apply(Time::START + after, WallTime(after.as_millis() as i64), request)
}

fn with_a_chat() -> Rows {
    let mut rows = Rows::new(TTL);
    let content = Some(Content::text("begin"));
    let create = Command::Create {
        chat: CHAT,
        owner: "ada".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    };
    assert!(apply(&mut rows, Duration::ZERO, &request(create, None)).change().is_some());
    rows
}

fn hash(rows: &Rows) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(rows)
}

#[test]
fn what_is_written_to_one_copy_is_not_in_the_other_and_the_same_writes_make_them_equal() {
    let mut one = with_a_chat();
    let (mut other, before) = (one.clone(), one.clone());
    let sent = request(send("more"), Some("key"));
    apply(&mut one, Duration::from_secs(1), &sent);
    assert!(other == before && one != before && hash(&one) != hash(&before));
    assert_eq!(other.state(CHAT).map(|state| state.queue.len()), Some(0));
    apply(&mut other, Duration::from_secs(1), &sent);
    assert!(one == other && hash(&one) == hash(&other));
}

#[test]
fn an_answer_is_kept_for_a_day_and_not_for_longer() {
    let day = Duration::from_secs(24 * 60 * 60);
    let mut rows = with_a_chat();
    let sent = request(send("more"), Some("key"));
    let first = apply(&mut rows, Duration::ZERO, &sent);
    let again = apply(&mut rows, day - Duration::from_micros(1), &sent);
    assert_eq!(again, Applied::replayed(first.answer), "S6");
    assert!(matches!(apply(&mut rows, day, &sent).effect, Effect::Changed(_)));
    assert_eq!(rows.state(CHAT).map(|state| state.queue.len()), Some(2));
}

#[test]
fn a_reader_that_knows_a_future_which_was_lost_is_sent_the_history_anew() {
    let rows = with_a_chat();
    let state = rows.state(CHAT).expect("it was created").clone();
    let cached = |snapshot_version| CachedVersions {
        snapshot_version,
        reset_version: state.reset_version,
        last_message: MessageId(1),
    };
    let tail = |cached| rows.snapshot(CHAT, Some(cached)).expect("it is there").tail;
    assert_eq!(tail(cached(state.snapshot_version)), Tail::After(vec![]));
    let mut future = state.snapshot_version;
    future.0 += 1;
    assert!(matches!(tail(cached(future)), Tail::Newest { from_start: true, .. }), "S1");
}
