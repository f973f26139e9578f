//! What waits in a chat is bounded by bytes as well as by number.

use std::sync::Arc;

use mainstem_machine::limits::QUEUE_BYTES_MAX;
use mainstem_machine::{
    Accepted, AnswerRecord, Applied, ChatId, ChatState, Command, Content, Effect, Fence, Found, Keep,
    MessageId, NewMessage, Rejection, ReplicaId, Role, RunError, SendMode, Status, StoreFacts, WallTime,
};

const STORE_FACTS: StoreFacts =
    StoreFacts { now: WallTime(7), lease_expired: false, found: None, known: None };

fn send(bytes: usize, mode: SendMode) -> Command {
    Command::Send { content: Content::text(&"x".repeat(bytes)), mode, queue_max: 1000, client_id: None }
}

fn apply(state: &ChatState, command: &Command) -> Applied {
    let user = Found { id: MessageId(1), role: Role::User, queued_as: None };
    let found = command.sought().map(|_| user);
    command.apply_to(Some(state), None, &StoreFacts { found, ..STORE_FACTS })
}

fn changed(applied: Applied) -> (Arc<ChatState>, Accepted) {
    match applied {
        Applied { answer: Ok(accepted), effect: Effect::Changed(change) } => (change.state, accepted),
        other => panic!("expected a change, and what came is {other:?}"),
    }
}

fn running() -> Arc<ChatState> {
    let (chat, owner) = (ChatId(uuid::Uuid::nil()), Arc::from("ada"));
    let content = Some(Content::text("hello"));
    let create =
        Command::Create { chat, owner, settings: Default::default(), messages: NewMessage::opening(content) };
    changed(create.apply_to(None, None, &STORE_FACTS)).0
}

#[test]
fn a_queue_that_would_have_too_many_bytes_is_full() {
    let quarter = QUEUE_BYTES_MAX / 4 - 100;
    let mut state = running();
    for _ in 0..4 {
        state = changed(apply(&state, &send(quarter, SendMode::Queue))).0;
    }
    for mode in [SendMode::Queue, SendMode::Interrupt] {
        assert_eq!(
            apply(&state, &send(quarter, mode)),
            Applied::rejected(Rejection::QueueFull),
            "B1: {mode:?}"
        );
    }
    assert!(apply(&state, &send(10, SendMode::Queue)).answer.is_ok(), "what fits is taken");
    // Room again, and in order (S6).
    let first = state.queue[0].id;
    state = changed(apply(&state, &Command::DeleteQueued { queued: first })).0;
    let ids: Vec<_> = state.queue.iter().map(|queued| queued.id).collect();
    state = changed(apply(&state, &send(quarter, SendMode::Queue))).0;
    assert!(state.queue.iter().map(|queued| queued.id).take(3).eq(ids), "S6");
    assert_eq!(state.queue.len(), 4);
}

#[test]
fn one_message_may_wait_whatever_its_size() {
    let state = running();
    let (state, _) = changed(apply(&state, &send(QUEUE_BYTES_MAX * 2, SendMode::Queue)));
    assert_eq!(apply(&state, &send(1, SendMode::Queue)).answer, Err(Rejection::QueueFull), "B1");
    let promote = Command::Promote { queued: state.queue[0].id };
    assert_eq!(changed(apply(&state, &promote)).0.queue.len(), 1, "S6");
}

#[test]
fn a_chat_at_rest_with_a_queue_takes_no_more_bytes_than_a_running_one() {
    let mut state = running();
    for _ in 0..3 {
        state = changed(apply(&state, &send(1000, SendMode::Queue))).0;
    }
    Arc::make_mut(&mut state).status = mainstem_machine::Status::Error;
    assert_eq!(
        apply(&state, &send(QUEUE_BYTES_MAX, SendMode::Queue)).answer,
        Err(Rejection::QueueFull),
        "B1"
    );
    assert!(apply(&state, &send(1000, SendMode::Queue)).answer.is_ok(), "S6: and goes on with what fits");
}

/// What waited longest goes first, so that the message is alone behind it (S6).
#[test]
fn what_resumes_a_failed_chat_may_have_any_size_too() {
    let replica = ReplicaId::new("a").expect("a replica's id");
    let acquire = Command::Acquire { replica: replica.clone(), interrupting_only: false };
    let mut state = changed(apply(&running(), &send(10, SendMode::Queue))).0;
    state = changed(apply(&state, &acquire)).0;
    let fence = Fence { replica, lease: state.lease, episode: state.present_episode() };
    let error = RunError { code: "model_failed".into(), message: "the model failed".into() };
    state = changed(apply(&state, &Command::Fail { fence, partial: None, error })).0;
    let (resumed, _) = changed(apply(&state, &send(QUEUE_BYTES_MAX * 2, SendMode::Queue)));
    assert_eq!((resumed.status, resumed.queue.len()), (Status::Running, 1));
}

#[test]
fn a_record_holds_no_content_and_gives_the_same_answer() {
    let state = running();
    let commands = [
        send(100_000, SendMode::Queue),
        send(100_000, SendMode::Interrupt),
        Command::Edit { message: MessageId(1), content: Content::text(&"y".repeat(100_000)) },
    ];
    for command in &commands {
        let accepted = changed(apply(&state, command)).1;
        for keep in [Keep::Answer, Keep::Decision] {
            let record = AnswerRecord::of(&accepted, command, keep);
            let kept = serde_json::to_string(&record).expect("JSON");
            assert!(kept.len() < 200, "B1: {} bytes", kept.len());
            let read: AnswerRecord = serde_json::from_str(&kept).expect("it is read again");
            assert!(!read.needs_chat(), "it is all there");
            assert_eq!(read.answer(command, None), Ok(accepted.clone()), "S6: the same answer");
        }
    }
    let full = changed(apply(&state, &commands[0])).0;
    let promote = Command::Promote { queued: full.queue[0].id };
    let accepted = changed(apply(&full, &promote)).1;
    let decision = AnswerRecord::of(&accepted, &promote, Keep::Decision);
    assert!(serde_json::to_string(&decision).expect("JSON").len() < 200, "B1: no queue in it");
    assert!(decision.needs_chat());
    assert_eq!(decision.clone().answer(&promote, Some(full.clone())), Ok(Accepted::Chat(full)));
    assert_eq!(decision.answer(&promote, None), Err(Rejection::NoSuchChat));
    let whole = AnswerRecord::of(&accepted, &promote, Keep::Answer);
    assert!(!whole.needs_chat());
    assert_eq!(whole.answer(&promote, None), Ok(accepted), "S6: a caller's key answers what was answered");
}

#[test]
fn what_earlier_versions_kept_is_read() {
    let state = running();
    let command = send(3, SendMode::Queue);
    for accepted in [changed(apply(&state, &command)).1, Accepted::Chat(state), Accepted::Gone] {
        let kept = serde_json::to_string(&accepted).expect("JSON");
        let read: AnswerRecord = serde_json::from_str(&kept).expect("it is read");
        assert_eq!(read.answer(&command, None), Ok(accepted), "S6");
    }
}
