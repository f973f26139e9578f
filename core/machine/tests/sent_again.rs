//! What a client sends again under its own id is there once, and its sender is answered as before, wherever it is by then.

use std::time::Duration;

use mainstem_machine::store::Request;
use mainstem_machine::{
    Accepted, Applied, ChatId, Command, Completion, Content, Effect, Fence, MessageId, NewMessage, ReplicaId,
    Role, SendMode, Time, WallTime,
};
use mainstem_rows::Rows;

const CHAT: ChatId = ChatId(uuid::Uuid::from_u128(7));

struct Chat(Rows);

impl Chat {
    fn apply(&mut self, command: Command) -> Applied {
        let request = Request { chat: CHAT, command, by: None, idempotency_key: None };
        self.0.apply(Time::START, WallTime(0), &request)
    }

    /// The id under which it waits, what it says, and whether anything has changed.
    fn send(&mut self, client_id: &str, text: &str) -> (MessageId, String, bool) {
        let (mode, client_id) = (SendMode::Queue, Some(client_id.into()));
        let applied =
            self.apply(Command::Send { content: Content::text(text), mode, queue_max: 9, client_id });
        let Ok(Accepted::Sent { message: None, queued: Some(queued), .. }) = applied.answer else {
            panic!("S6: {:?}", applied.answer)
        };
        (queued.id, queued.content.to_text(), matches!(applied.effect, Effect::Changed(_)))
    }

    /// The texts of the history, and of the queue.
    fn texts(&self) -> (Vec<String>, Vec<String>) {
        let row = self.0.row(CHAT).expect("a chat");
        let history = row.history.iter().map(|message| message.content.to_text());
        (history.collect(), row.state.queue.iter().map(|queued| queued.content.to_text()).collect())
    }

    fn finish_turn(&mut self) {
        let replica = ReplicaId::new("worker").expect("a replica's id");
        self.apply(Command::Acquire { replica: replica.clone(), interrupting_only: false });
        let state = self.0.row(CHAT).expect("a chat").state.clone();
        let fence = Fence { replica, lease: state.lease, episode: state.present_episode() };
        let finish = Command::FinishTurn { fence, answer: None, completion: Completion::STOPPED };
        assert!(self.apply(finish).answer.is_ok());
    }
}

#[test]
fn what_is_sent_again_under_its_id_says_what_it_said_and_is_there_once() {
    let mut chat = Chat(Rows::new(Duration::from_secs(15)));
    let (owner, settings) = ("owner".into(), Default::default());
    let messages = NewMessage::opening(Some(Content::text("begin")));
    assert!(chat.apply(Command::Create { chat: CHAT, owner, settings, messages }).answer.is_ok());
    let [(one, _, first), (two, _, second)] =
        [("one", "first"), ("two", "second")].map(|(id, text)| chat.send(id, text));
    assert!(first && second && one != two, "S12");
    // In the queue.
    assert_eq!(chat.send("two", "other"), (two, "second".into(), false), "S12");
    assert_eq!(chat.send("one", "other"), (one, "first".into(), false), "S12");
    // In the history.
    chat.finish_turn();
    assert_eq!(chat.texts(), (vec!["begin".into(), "first".into()], vec!["second".into()]), "S6");
    assert_eq!(chat.send("one", "other"), (one, "first".into(), false), "S12");
    // Gone: only who sends it again says what it said.
    assert!(chat.apply(Command::DeleteQueued { queued: two }).answer.is_ok());
    assert_eq!(chat.send("two", "other"), (two, "other".into(), false), "S12: what was deleted stays so");
    assert_eq!(chat.texts(), (vec!["begin".into(), "first".into()], vec![]), "S6");
    let (three, _, is_new) = chat.send("three", "third");
    assert!(is_new && three > two, "S12: another id is another message");
}

#[test]
fn what_a_chat_was_created_with_is_there_once_under_its_names() {
    let mut chat = Chat(Rows::new(Duration::from_secs(15)));
    let (owner, settings) = ("owner".into(), Default::default());
    let call = r#"[{"type":"tool_call","id":"c","name":"find","input":{}}]"#;
    let result = r#"[{"type":"tool_result","tool_call_id":"c","content":"so","is_error":false}]"#;
    let text = |text| Content::text(text);
    let said = [
        (Role::User, "one", text("ask")),
        (Role::Assistant, "two", Content::from_stored(call)),
        (Role::Tool, "three", Content::from_stored(result)),
        (Role::Assistant, "four", text("answer")),
        (Role::User, "five", text("more")),
    ];
    let messages = said.iter().map(|(role, id, content)| NewMessage {
        role: *role,
        content: content.clone(),
        client_id: Some((*id).into()),
    });
    let messages = messages.collect();
    assert!(chat.apply(Command::Create { chat: CHAT, owner, settings, messages }).answer.is_ok());
    let history = chat.0.row(CHAT).expect("a chat").history.clone();
    for (at, (role, id, content)) in said.into_iter().enumerate() {
        let (other, client_id) = (Content::text("other"), Some(id.into()));
        let sent =
            chat.apply(Command::Send { content: other, mode: SendMode::Queue, queue_max: 9, client_id });
        let Ok(Accepted::Sent { message: Some(message), queued: None, .. }) = sent.answer else {
            panic!("S12: {:?}", sent.answer)
        };
        let told = (message.role, message.id, &message.content);
        assert_eq!(told, (role, MessageId(at as u64 + 1), &content), "S12");
        assert_eq!(message, *history[at], "S12: as it is in the history");
        assert!(!matches!(sent.effect, Effect::Changed(_)), "S12: {id} is there already");
    }
}
