//! A store writes the change of each command, and nothing else.

use futures::future::join_all;
use mainstem_machine::{
    CallResult, Carrier, ChatId, ChatState, Command, Completion, Content, FinishReason, MessageId,
    NewMessage, NewSettings, OpenCall, Rejection, Role, RunError, SendMode, Settings, Status, Tool, Usage,
};

use super::reference::Reference;
use super::{Subject, acquire, create, fence, replica, send, stale};
use crate::ports::{Applied, Effect, Request};

/// How many commands are sent at the same time.
const AT_ONCE: usize = 16;

/// A chat that goes through every command, and every transition that differs in what is written.
pub async fn every_command_keeps_every_field(subject: &Subject) {
    let chat = subject.fresh_id();
    let mut life = Life { subject, chat, reference: Reference::new(subject) };
    let odd = r#"[{"type":"text","text":"snow ☃, a \"quote\", a \\, a \ud83d\ude00, a null \u0000",
        "more": {"z" : 1, "a":[null]}, "numbers": [12345678901234567890123, 1.0, 1e2, -0], "escaped": "\u0041\/"}]"#;
    let odd = Content::from_request(odd, usize::MAX).expect("it is content");
    let error = RunError { code: "rate_limited".into(), message: "slow down — \"please\"".into() };
    life.change(Command::Create {
        chat,
        owner: "Ada Lovelace <ada@example.com>".into(),
        settings: Settings {
            external_id: Some("their own ☃ name".into()),
            title: Some("A title with ' and ☃".into()),
            model: Some("model/7:b".into()),
            instructions: Some("be \"brief\"\n".into()),
            tools: [tool()].into(),
        },
        messages: NewMessage::opening(Some(odd.clone())),
    })
    .await;
    life.change(Command::Configure(NewSettings {
        title: Some(None),
        instructions: Some(Some("be long".into())),
        tools: Some(vec![tool(), Tool { name: "other".into(), ..tool() }]),
        ..NewSettings::default()
    }))
    .await;
    let nothing = NewSettings { model: Some(None), tools: Some(vec![]), ..NewSettings::default() };
    life.change(Command::Configure(nothing)).await;
    life.change(acquire("a.B_c-1")).await;
    life.attempt().await;
    let fence_now = fence(life.state());
    life.change(Command::RecordRetry { fence: fence_now, delay_ms: 1500, error: error.clone() }).await;
    life.attempt().await;
    life.change(send("queued one")).await;
    life.change(send("queued two")).await;
    life.change(Command::Send { content: odd.clone(), mode: SendMode::Queue, queue_max: 3, client_id: None })
        .await;
    let done = CallResult { content: r#"[{"type":"text", "text":"☃"}]"#.into(), is_error: false };
    let call = |id: &str, result| OpenCall {
        id: id.into(),
        name: "find".into(),
        input: r#"{"n": 1.0}"#.into(),
        carrier: Carrier::Client,
        result,
    };
    for (results, status) in [
        ([Some(done.clone()), Some(CallResult::error("no \"tool\""))], Status::Running),
        ([None, None], Status::RequiresAction),
    ] {
        let [first, second] = results;
        let calls = vec![call("a \"call\"", first), call("b", second)];
        let usage = Some(Usage { input_tokens: 1, output_tokens: 2 });
        let completion = Completion { finish_reason: Some(FinishReason::ToolCalls), usage };
        let step = Command::CommitStep { fence: fence(life.state()), answer: odd.clone(), completion, calls };
        life.change(step).await;
        assert_eq!(life.state().status, status);
    }
    for id in ["b", "a \"call\""] {
        life.change(Command::ToolResults { results: vec![(id.into(), done.clone())] }).await;
    }
    life.change(acquire("a.B_c-1")).await;
    life.attempt().await;
    // The worker's calls: one is kept, one is lost with its worker, and one may be begun again.
    let carried = |id: &str, carrier| OpenCall { carrier, ..call(id, None) };
    let calls = [Carrier::Server, Carrier::Server, Carrier::ServerAgain, Carrier::Client];
    let calls = ["kept", "lost", "again", "client's"].into_iter().zip(calls);
    let calls = calls.map(|(id, carrier)| carried(id, carrier)).collect();
    let completion = Completion { finish_reason: Some(FinishReason::ToolCalls), usage: None };
    let step = Command::CommitStep { fence: fence(life.state()), answer: odd.clone(), completion, calls };
    life.change(step).await;
    let kept = vec![("kept".into(), done.clone())];
    life.change(Command::CommitResults { fence: fence(life.state()), results: kept }).await;
    life.change(acquire("a.B_c-1")).await;
    let open: Vec<_> = life.state().calls.iter().filter(|call| call.result.is_none()).collect();
    assert_eq!(open.iter().map(|call| &*call.id).collect::<Vec<_>>(), ["again", "client's"], "S11");
    let results = vec![("again".into(), CallResult::error("no"))];
    life.change(Command::CommitResults { fence: fence(life.state()), results }).await;
    assert_eq!(life.state().status, Status::RequiresAction);
    life.change(Command::ToolResults { results: vec![("client's".into(), done.clone())] }).await;
    assert_eq!(life.state().status, Status::Running);
    life.change(acquire("a.B_c-1")).await;
    life.attempt().await;
    let answer = Some(Content::text("an answer"));
    let usage = Some(Usage { input_tokens: 7, output_tokens: u64::MAX >> 1 });
    let completion = Completion { finish_reason: Some(FinishReason::Length), usage };
    life.change(Command::FinishTurn { fence: fence(life.state()), answer, completion }).await;
    life.attempt().await;
    life.change(Command::Send {
        content: odd.clone(),
        mode: SendMode::Interrupt,
        queue_max: 9,
        client_id: None,
    })
    .await;
    assert_eq!(life.state().status, Status::Interrupting);
    let partial = Some(odd.clone());
    life.change(Command::FinishInterruption { fence: fence(life.state()), partial }).await;
    let queued = life.state().queue[1].id;
    life.change(Command::DeleteQueued { queued }).await;
    life.attempt().await;
    let queued = life.state().queue[0].id;
    life.change(Command::Promote { queued }).await;
    life.change(Command::FinishInterruption { fence: fence(life.state()), partial: None }).await;
    life.change(send("stays in the queue")).await;
    life.attempt().await;
    let partial = Some(Content::text("so far"));
    life.change(Command::Fail { fence: fence(life.state()), partial, error: error.clone() }).await;
    assert_eq!(life.state().status, Status::Error);
    let queued = life.state().queue[0].id;
    life.change(Command::Promote { queued }).await;
    life.change(acquire("b")).await;
    let (replica_now, lease) = (replica("b"), life.state().lease);
    life.change(Command::Release { replica: replica_now, lease }).await;
    life.change(acquire("c")).await;
    life.attempt().await;
    life.change(send("cut off with the rest")).await;
    let message = MessageId(1);
    life.change(Command::Edit { message, content: Content::text("another beginning") }).await;
    life.change(Command::Interrupt { episode: None }).await;
    life.change(Command::FinishInterruption { fence: fence(life.state()), partial: None }).await;
    // Nothing is behind it.
    life.change(again(None, SendMode::Reject)).await;
    life.change(acquire("d")).await;
    life.attempt().await;
    life.change(send("waits while others are answered again")).await;
    let step = Command::CommitStep {
        fence: fence(life.state()),
        answer: odd.clone(),
        completion: Completion::default(),
        calls: vec![call("d", None)],
    };
    life.change(step).await;
    life.change(again(None, SendMode::Interrupt)).await;
    assert_eq!((life.state().status, life.state().calls.len()), (Status::Running, 0));
    for _ in 0..2 {
        life.change(acquire("e")).await;
        life.attempt().await;
        let answer = Some(Content::text("an answer"));
        let completion = Completion::STOPPED;
        life.change(Command::FinishTurn { fence: fence(life.state()), answer, completion }).await;
    }
    assert_eq!(life.state().status, Status::Waiting);
    life.change(again(None, SendMode::Queue)).await;
    let first = life.reference.rows.history(chat)[0].id;
    life.change(again(Some(first), SendMode::Interrupt)).await;
    assert_eq!(life.reference.rows.history(chat).len(), 1);
    life.change(Command::Interrupt { episode: None }).await;
    life.change(send("once more")).await;
    life.change(Command::Interrupt { episode: None }).await;
    assert_eq!(life.state().status, Status::Waiting);
    life.change(Command::Delete).await;
    life.change(create(chat, "grace", None)).await;
    life.change(Command::Delete).await;
}

fn again(message: Option<MessageId>, mode: SendMode) -> Command {
    Command::Regenerate { message, mode }
}

fn tool() -> Tool {
    let input_schema = r#"{"type": "object",  "more": [1.0]}"#.into();
    Tool { name: "find".into(), description: "finds \"it\"\n☃".into(), input_schema }
}

/// One chat, with the state it should have.
struct Life<'a> {
    subject: &'a Subject,
    chat: ChatId,
    reference: Reference,
}

impl Life<'_> {
    async fn change(&mut self, command: Command) {
        let name = command.name();
        let request = Request { chat: self.chat, command, by: None, idempotency_key: None };
        let applied = self.reference.apply(self.subject, &request).await;
        assert!(applied.change().is_some(), "{name} changes the chat here: {applied:?}");
    }

    async fn attempt(&mut self) {
        let fence = fence(self.state());
        self.change(Command::BeginAttempt { fence }).await;
    }

    fn state(&self) -> &ChatState {
        self.reference.state(self.chat).expect("the chat is there")
    }
}

pub async fn a_rejection_leaves_the_rows_untouched(subject: &Subject) {
    let chat = subject.running_chat().await;
    let state = subject.change(chat, acquire("a")).await;
    let before = subject.store.snapshot(chat, None).await.expect("the store answers");
    let fence = stale(fence(&state));
    let nothing = Content::text("nothing");
    let error = RunError { code: "c".into(), message: "m".into() };
    for (command, rejection) in [
        (create(chat, "ada", Some(nothing.clone())), Rejection::Exists),
        (
            Command::Send { content: nothing.clone(), mode: SendMode::Reject, queue_max: 9, client_id: None },
            Rejection::Busy,
        ),
        (
            Command::Send { content: nothing.clone(), mode: SendMode::Queue, queue_max: 0, client_id: None },
            Rejection::QueueFull,
        ),
        (Command::Edit { message: MessageId(99), content: nothing.clone() }, Rejection::NoSuchMessage),
        (Command::Edit { message: MessageId(u64::MAX), content: nothing.clone() }, Rejection::NoSuchMessage),
        (again(Some(MessageId(99)), SendMode::Interrupt), Rejection::NoSuchMessage),
        (again(Some(MessageId(1)), SendMode::Queue), Rejection::Busy),
        (again(None, SendMode::Reject), Rejection::Busy),
        (Command::DeleteQueued { queued: MessageId(1) }, Rejection::NoSuchQueued),
        (Command::Delete, Rejection::Busy),
        (acquire("b"), Rejection::NotFree),
        (Command::Release { replica: replica("b"), lease: state.lease }, Rejection::Fenced),
        (Command::BeginAttempt { fence: fence.clone() }, Rejection::Fenced),
        (
            Command::CommitStep {
                fence: fence.clone(),
                answer: nothing.clone(),
                completion: Completion::default(),
                calls: vec![],
            },
            Rejection::Fenced,
        ),
        (Command::CommitResults { fence: fence.clone(), results: vec![] }, Rejection::Fenced),
        (Command::ToolResults { results: vec![] }, Rejection::NotPending),
        (Command::Fail { fence, partial: None, error }, Rejection::Fenced),
    ] {
        let name = command.name();
        let applied = subject.apply(&Request { chat, command, by: None, idempotency_key: None }).await;
        assert_eq!(applied, Applied::rejected(rejection), "S5: {name}");
        let after = subject.store.snapshot(chat, None).await.expect("the store answers");
        assert_eq!(after, before, "S5: a rejected {name} changes nothing");
    }
}

pub async fn a_chat_is_created_once(subject: &Subject) {
    let chat = subject.fresh_id();
    let requests: Vec<_> = (0..AT_ONCE)
        .map(|n| create(chat, "ada", Some(Content::text(&format!("I am {n}")))))
        .map(|command| Request { chat, command, by: None, idempotency_key: None })
        .collect();
    let applied = join_all(requests.iter().map(|request| subject.apply(request))).await;
    let created = applied.iter().filter(|applied| applied.change().is_some()).count();
    assert_eq!(created, 1, "a chat is created by one of those who try: {applied:?}");
    let others = applied.iter().filter(|applied| **applied == Applied::rejected(Rejection::Exists)).count();
    assert_eq!(others, AT_ONCE - 1, "to the others it exists: {applied:?}");
}

/// With turns that are over, and with names that are known.
pub async fn a_chat_is_created_with_what_was_said_elsewhere(subject: &Subject) {
    let chat = subject.fresh_id();
    let mut life = Life { subject, chat, reference: Reference::new(subject) };
    let new = |role, json: &str, name: Option<&str>| NewMessage {
        role,
        content: Content::from_history(role, json, usize::MAX).expect("it is content"),
        client_id: name.map(Into::into),
    };
    let messages = vec![
        new(Role::System, r#""be \"brief\" ☃""#, None),
        new(Role::User, r#""one""#, Some("m ☃")),
        new(
            Role::Assistant,
            r#"[{"type":"tool_call","id":"a","name":"find","input":{"n": 1.0}}]"#,
            Some("a"),
        ),
        new(Role::Tool, r#"[{"type":"tool_result","tool_call_id":"a","content":"x"}]"#, None),
        new(Role::User, r#""two""#, None),
        new(Role::Assistant, r#""it is""#, None),
        new(Role::User, r#""three""#, Some("m3")),
    ];
    let create = |messages: &[NewMessage]| Command::Create {
        chat,
        owner: "ada".into(),
        settings: Settings::default(),
        messages: messages.to_vec(),
    };
    for (count, status) in [(6, Status::Waiting), (0, Status::Waiting), (1, Status::Waiting)] {
        life.change(create(&messages[..count])).await;
        assert_eq!(life.state().status, status);
        life.change(Command::Delete).await;
    }
    life.change(create(&messages)).await;
    assert_eq!((life.state().status, life.state().last_message), (Status::Running, MessageId(7)));
    for (turn, last) in [(2, Some(4)), (5, Some(6)), (7, None)] {
        let turn = subject.store.turn(chat, MessageId(turn)).await.expect("the store answers");
        assert_eq!(turn.map(|turn| turn.last.0), last, "S12: all are over but the last");
    }
    for (name, id) in [("m ☃", 2), ("a", 3), ("m3", 7)] {
        let content = Content::text("something else");
        let client_id = Some(name.into());
        let command = Command::Send { content, mode: SendMode::Reject, queue_max: 0, client_id };
        let request = Request { chat, command, by: None, idempotency_key: None };
        let applied = life.reference.apply(subject, &request).await;
        let sent = applied.answer.expect("S12: it was said under that name");
        assert_eq!((applied.effect, super::sent_id(&sent)), (Effect::Unchanged, MessageId(id)), "S12");
    }
    life.change(again(Some(MessageId(2)), SendMode::Interrupt)).await;
    assert_eq!(life.reference.rows.history(chat).len(), 2);
}

pub async fn to_others_a_chat_does_not_exist(subject: &Subject) {
    let chat = subject.chat_of("ada").await;
    for (by, rejected) in [("grace", true), ("Ada", true), ("ada ", true), ("", true), ("ada", false)] {
        let request = Request { chat, command: send("hello"), by: Some(by.into()), idempotency_key: None };
        let applied = subject.apply(&request).await;
        let was = applied == Applied::rejected(Rejection::NoSuchChat);
        assert_eq!(was, rejected, "S10: by {by:?}, of a chat of ada's: {applied:?}");
    }
    let nowhere = subject.fresh_id();
    let request =
        Request { chat: nowhere, command: send("hello"), by: Some("ada".into()), idempotency_key: None };
    assert_eq!(subject.apply(&request).await, Applied::rejected(Rejection::NoSuchChat));
}

pub async fn commands_at_the_same_time_take_turns(subject: &Subject) {
    let chat = subject.running_chat().await;
    let first = subject.store.snapshot(chat, None).await.expect("the store answers").expect("it exists");
    let requests: Vec<_> = (0..AT_ONCE)
        .map(|n| Request { chat, command: send(&format!("message {n}")), by: None, idempotency_key: None })
        .collect();
    let applied = join_all(requests.iter().map(|request| subject.apply(request))).await;
    let mut turns: Vec<_> = applied
        .iter()
        .zip(&requests)
        .map(|(applied, request)| match (applied.change(), &applied.answer, &request.command) {
            (Some(change), Ok(accepted), Command::Send { content, .. }) => {
                (change.state.snapshot_version, super::sent_id(accepted), content.clone())
            }
            other => panic!("each send is accepted: {other:?}"),
        })
        .collect();
    turns.sort_by_key(|turn| turn.0);
    let last = subject.store.snapshot(chat, None).await.expect("the store answers").expect("it exists");
    for (n, (version, ..)) in turns.iter().enumerate() {
        let expected = first.state.snapshot_version.0 + 1 + n as u64;
        assert_eq!(version.0, expected, "S1: every change has a version of its own");
    }
    let queue: Vec<_> = last.state.queue.iter().map(|queued| (queued.id, queued.content.clone())).collect();
    let sent: Vec<_> = turns.into_iter().map(|(_, id, content)| (id, content)).collect();
    assert_eq!(queue, sent, "S6: the queue has each once, in the order in which they were accepted");
}
