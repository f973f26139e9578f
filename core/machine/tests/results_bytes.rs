//! What comes of the calls of one answer waits in the row for the last of it, and is bounded.

use std::sync::Arc;

use mainstem_machine::limits::RESULTS_BYTES_MAX;
use mainstem_machine::{
    Accepted, AnswerRecord, Applied, CallResult, Carrier, ChatId, ChatState, Command, Content, Effect, Fence,
    Keep, NewMessage, NewSettings, OpenCall, Rejection, ReplicaId, Role, Status, StoreFacts, WallTime,
};

const STORE_FACTS: StoreFacts =
    StoreFacts { now: WallTime(7), lease_expired: false, found: None, known: None };

/// A chat whose worker has made three calls that this one carries out.
fn calling(carrier: Carrier) -> (Arc<ChatState>, Fence) {
    let (chat, owner) = (ChatId(uuid::Uuid::nil()), Arc::from("ada"));
    let messages = NewMessage::opening(Some(Content::text("hello")));
    let create = Command::Create { chat, owner, settings: Default::default(), messages };
    let state = changed(create.apply_to(None, None, &STORE_FACTS)).0;
    let replica = ReplicaId::new("a").expect("a replica's id");
    let acquire = Command::Acquire { replica: replica.clone(), interrupting_only: false };
    let mut state = changed(apply(&state, &acquire)).0;
    let call =
        |id: &str| OpenCall { id: id.into(), name: "find".into(), input: "{}".into(), carrier, result: None };
    let open = Arc::make_mut(&mut state);
    open.calls = ["x", "y", "z"].map(call).into_iter().collect();
    if carrier == Carrier::Client {
        open.status = Status::RequiresAction;
    }
    let fence = Fence { replica, lease: state.lease, episode: state.present_episode() };
    (state, fence)
}

fn apply(state: &ChatState, command: &Command) -> Applied {
    command.apply_to(Some(state), None, &STORE_FACTS)
}

/// The chat after a change, and what joined its history.
fn changed(applied: Applied) -> (Arc<ChatState>, Vec<(Role, Content)>) {
    match applied {
        Applied { answer: Ok(_), effect: Effect::Changed(change) } => {
            let inserted = change.inserted.iter().map(|message| (message.role, message.content.clone()));
            (change.state, inserted.collect())
        }
        other => panic!("expected a change, and what came is {other:?}"),
    }
}

/// A result of so many bytes.
fn result(id: &str, bytes: usize) -> (Arc<str>, CallResult) {
    let content = format!("\"{}\"", "x".repeat(bytes - 2)).into();
    (id.into(), CallResult { content, is_error: false })
}

#[test]
fn a_result_of_a_servers_tool_that_does_not_fit_beside_the_others_says_so() {
    for carrier in [Carrier::Server, Carrier::ServerAgain] {
        let (mut state, fence) = calling(carrier);
        let take = |state: &ChatState, results| {
            changed(apply(state, &Command::CommitResults { fence: fence.clone(), results }))
        };
        state = take(&state, vec![result("y", RESULTS_BYTES_MAX - 10)]).0;
        state = take(&state, vec![result("x", 11)]).0;
        let too_large = state.calls[0].result.as_ref().expect("it has one");
        assert!(too_large.is_error && too_large.content.contains("too large"), "B1: {too_large:?}");
        // What took the place of one counts as well.
        let left = RESULTS_BYTES_MAX - 10 + too_large.content.len();
        assert!(left > RESULTS_BYTES_MAX, "nothing more fits");
        let (state, inserted) = take(&state, vec![result("z", 10)]);
        assert_eq!((state.calls.len(), state.status), (0, Status::Running), "L6: the turn goes on");
        let (role, content) = &inserted[0];
        assert_eq!(*role, Role::Tool);
        let said = content.as_json();
        assert_eq!(said.matches("too large").count(), 2, "S11: each has a result");
        assert!((RESULTS_BYTES_MAX..RESULTS_BYTES_MAX + 1024).contains(&said.len()));
    }
}

#[test]
fn results_that_fit_exactly_are_kept() {
    let (state, fence) = calling(Carrier::Server);
    let half = RESULTS_BYTES_MAX / 2;
    let results = vec![result("x", half), result("y", RESULTS_BYTES_MAX - half)];
    let state = changed(apply(&state, &Command::CommitResults { fence, results })).0;
    assert!(state.calls[..2].iter().all(|call| call.result.as_ref().is_some_and(|result| !result.is_error)));
}

#[test]
fn a_client_whose_results_do_not_fit_is_told_so_and_may_send_others() {
    let (state, _) = calling(Carrier::Client);
    let send = |state: &ChatState, results| apply(state, &Command::ToolResults { results });
    let state = changed(send(&state, vec![result("z", RESULTS_BYTES_MAX - 10)])).0;
    for results in [vec![result("x", 11)], vec![result("x", 6), result("y", 6)]] {
        assert_eq!(send(&state, results), Applied::rejected(Rejection::ResultsTooLarge), "B1");
    }
    let (state, inserted) = changed(send(&state, vec![result("x", 5), result("y", 5)]));
    assert_eq!((state.status, inserted.len()), (Status::Running, 1), "L6: the turn goes on");
}

/// The chat that is answered again under the key of `command`, and the bytes that are kept of it.
fn answered_again(state: &ChatState, command: &Command) -> (ChatState, usize) {
    let accepted = apply(state, command).answer.expect("it is accepted");
    let kept = serde_json::to_string(&AnswerRecord::of(&accepted, command, Keep::Answer)).expect("JSON");
    let record: AnswerRecord = serde_json::from_str(&kept).expect("it is read again");
    let (Accepted::Chat(first), Ok(Accepted::Chat(again))) = (accepted, record.answer(command, None)) else {
        panic!("a chat is answered")
    };
    let pending = |chat: &ChatState| -> Vec<_> {
        chat.calls.iter().filter(|call| call.waits_for_client()).cloned().collect()
    };
    assert_eq!(pending(&again), pending(&first), "S6: the same calls wait");
    let besides = |chat: &ChatState| ChatState { calls: [].into(), ..chat.clone() };
    assert_eq!(besides(&again), besides(&first), "S6: the same answer");
    (ChatState::clone(&again), kept.len())
}

#[test]
fn a_record_holds_the_calls_that_wait_for_the_client_and_no_others() {
    let (state, _) = calling(Carrier::Client);
    let large = Command::ToolResults { results: vec![result("y", RESULTS_BYTES_MAX - 10)] };
    let (again, bytes) = answered_again(&state, &large);
    assert_eq!(again.calls.iter().map(|call| &*call.id).collect::<Vec<_>>(), ["x", "z"]);
    assert!(bytes < 2000, "B1: {bytes} bytes");
    // What came before goes into no record either, whatever is asked for.
    let state = changed(apply(&state, &large)).0;
    let rename = Command::Configure(NewSettings { title: Some(None), ..NewSettings::default() });
    let small = Command::ToolResults { results: vec![result("x", 5)] };
    for command in [rename, small] {
        let (_, bytes) = answered_again(&state, &command);
        assert!(bytes < 2000, "B1: {bytes} bytes of {}", command.name());
    }
    // Nobody is told of the worker's.
    let (mut state, _) = calling(Carrier::Server);
    let calls = state.calls.iter().cloned().map(|call| OpenCall { input: "i".repeat(9000).into(), ..call });
    Arc::make_mut(&mut state).calls = calls.collect();
    let title = Some(Some("title".into()));
    let rename = Command::Configure(NewSettings { title, ..NewSettings::default() });
    let (again, bytes) = answered_again(&state, &rename);
    assert!(again.calls.is_empty() && bytes < 2000, "B1: {bytes} bytes");
}
