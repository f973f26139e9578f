//! Rows that a release left which knew no turns and no calls: it went on with chats beside this one, during a rolling
//! upgrade, and wrote the columns that it knew.

use std::sync::Arc;

use mainstem_machine::{
    Applied, Carrier, Change, ChatId, ChatState, Command, Completion, Content, Effect, Fence, Found,
    MessageId, NewMessage, OpenCall, ReplicaId, Role, SendMode, Status, StoreFacts, TurnStatus, WallTime,
};

const STORE_FACTS: StoreFacts =
    StoreFacts { now: WallTime(7), lease_expired: false, found: None, known: None };

fn apply(state: &ChatState, command: &Command) -> Applied {
    let user = Found { id: MessageId(1), role: Role::User, queued_as: None };
    let found = command.sought().map(|_| user);
    command.apply_to(Some(state), None, &StoreFacts { found, ..STORE_FACTS })
}

fn changed(state: &ChatState, command: &Command) -> Change {
    match apply(state, command) {
        Applied { answer: Ok(_), effect: Effect::Changed(change) } => change,
        other => panic!("expected a change, and what came is {other:?}"),
    }
}

fn worker() -> ReplicaId {
    ReplicaId::new("a").expect("a replica's id")
}

fn fence(state: &ChatState) -> Fence {
    Fence { replica: worker(), lease: state.lease, episode: state.present_episode() }
}

fn send(text: &str, mode: SendMode) -> Command {
    Command::Send { content: Content::text(text), mode, queue_max: 9, client_id: None }
}

/// A chat that a worker holds, with its first message to answer.
fn running() -> Arc<ChatState> {
    let (chat, owner) = (ChatId(uuid::Uuid::nil()), Arc::from("ada"));
    let messages = NewMessage::opening(Some(Content::text("hello")));
    let create = Command::Create { chat, owner, settings: Default::default(), messages };
    let Effect::Changed(change) = create.apply_to(None, None, &STORE_FACTS).effect else {
        panic!("a chat is created")
    };
    changed(&change.state, &Command::Acquire { replica: worker(), interrupting_only: false }).state
}

/// The model has made a call, and the worker carries it out.
fn step(state: &ChatState) -> Change {
    let state = changed(state, &Command::BeginAttempt { fence: fence(state) }).state;
    let answer = Content::from_stored(r#"[{"type":"tool_call","id":"c","name":"find","input":{}}]"#);
    let calls = answer.open_calls().into_iter();
    let calls = calls.map(|call| OpenCall { carrier: Carrier::Server, ..call }).collect();
    let (fence, completion) = (fence(&state), Completion::default());
    changed(&state, &Command::CommitStep { fence, answer, completion, calls })
}

/// The other release changes the row, of which it knows neither the turn nor the calls.
fn other(state: &Arc<ChatState>, change: impl FnOnce(&mut ChatState)) -> Arc<ChatState> {
    let mut state = state.clone();
    let row = Arc::make_mut(&mut state);
    row.snapshot_version = row.snapshot_version.next();
    change(row);
    Arc::new(ChatState::clone(&state).as_read())
}

/// A message joins the history.
fn join(row: &mut ChatState) {
    row.last_id = row.last_id.next();
    row.last_message = row.last_id;
    (row.history_version, row.attempt) = (row.snapshot_version, 0);
}

#[test]
fn an_interruption_of_a_release_that_knows_no_calls_answers_them() {
    let calling = step(&running()).state;
    let stopping = other(&calling, |row| row.status = Status::Interrupting);
    assert_eq!(stopping.calls.len(), 1);
    let finish = Command::FinishInterruption { fence: fence(&stopping), partial: None };
    let Change { state, inserted, ended, .. } = changed(&stopping, &finish);
    assert_eq!((state.status, state.calls.len()), (Status::Waiting, 0), "L2");
    assert_eq!(inserted.iter().map(|message| message.role).collect::<Vec<_>>(), [Role::Tool], "S11");
    assert_eq!(ended[0].status, TurnStatus::Interrupted, "S12");
}

#[test]
fn calls_that_a_release_left_behind_that_knows_none_are_nobodys() {
    let calling = step(&running()).state;
    let edited = other(&calling, join);
    assert_eq!(edited.calls.len(), 0, "S11: what was cut off is begun by nobody");
    let began = changed(&edited, &Command::BeginAttempt { fence: fence(&edited) }).state;
    assert_eq!(began.turn_id(), Some(edited.last_message), "S12: the turn has a name again");

    let ended = other(&calling, |row| {
        join(row);
        (row.status, row.worker) = (Status::Waiting, None);
    });
    assert_eq!(ended.calls.len(), 0);
    for mode in [SendMode::Queue, SendMode::Interrupt] {
        let inserted = changed(&ended, &send("and now", mode)).inserted;
        assert_eq!(inserted.len(), 1, "S11: nothing comes before it");
    }
    let same = ChatState::clone(&calling).as_read();
    assert_eq!(same, *calling, "and what is open stays open");
}

#[test]
fn a_turn_that_a_release_began_that_knows_none_has_its_bound_of_steps_and_its_end() {
    let mut state = other(&running(), |row| row.turn = None);
    for steps in 1..4 {
        let Change { state: calling, .. } = step(&state);
        assert_eq!(calling.turn.as_ref().map(|turn| turn.steps), Some(steps), "B1");
        let call = calling.calls[0].id.clone();
        let result = mainstem_machine::CallResult::error("no");
        let results = Command::CommitResults { fence: fence(&calling), results: vec![(call, result)] };
        state = changed(&calling, &results).state;
    }
    let began = changed(&state, &Command::BeginAttempt { fence: fence(&state) }).state;
    let (answer, completion) = (Some(Content::text("done")), Completion::STOPPED);
    let finish = Command::FinishTurn { fence: fence(&began), answer, completion };
    let ended = changed(&began, &finish).ended;
    assert_eq!((ended[0].id, ended[0].status), (MessageId(1), TurnStatus::Completed), "S12: under its name");
}

#[test]
fn ids_that_a_release_gave_that_did_not_count_them_are_given_to_nothing_else() {
    let state = other(&running(), |row| {
        join(row);
        (row.status, row.worker, row.turn) = (Status::Waiting, None, None);
        row.last_told = MessageId(0);
    });
    let answer = state.last_message;
    let again = Command::Regenerate { message: None, mode: SendMode::Queue };
    let state = changed(&state, &again).state;
    let state = changed(&state, &send("more", SendMode::Queue)).state;
    let state = changed(&state, &Command::Acquire { replica: worker(), interrupting_only: false }).state;
    let state = changed(&state, &Command::BeginAttempt { fence: fence(&state) }).state;
    let (said, completion) = (Some(Content::text("else")), Completion::STOPPED);
    let finish = Command::FinishTurn { fence: fence(&state), answer: said, completion };
    let inserted = changed(&state, &finish).inserted;
    assert!(inserted.iter().all(|message| message.id > answer), "S1: {inserted:?}");
}
