//! The form of answers in databases, which never changes: what earlier versions wrote is read, and they read what
//! this one writes.

use mainstem_machine::{
    Accepted, AnswerRecord, ChatId, ChatState, Command, Content, Keep, Lease, Message, MessageId,
    QueuedMessage, Rejection, Role, Status, Version, WallTime,
};
use serde_json::Value;

type Kept = Result<AnswerRecord, Rejection>;

fn chat() -> ChatState {
    ChatState {
        id: ChatId(uuid::Uuid::from_u128(7)),
        owner: "ada".into(),
        title: Some("title".into()),
        model: None,
        status: Status::Running,
        worker: None,
        lease: Lease(2),
        attempt_lease: None,
        snapshot_version: Version(4),
        history_version: Version(3),
        queue_version: Version(4),
        reset_version: Version(0),
        attempt: 1,
        error: None,
        retry: None,
        queue: vec![queued()],
        last_message: MessageId(1),
        last_id: MessageId(2),
        last_told: MessageId(0),
        external_id: None,
        instructions: None,
        tools: [].into(),
        calls: [].into(),
        shares: [].into(),
        turn: None,
        created_at: WallTime(5),
        updated_at: WallTime(6),
    }
}

fn queued() -> QueuedMessage {
    let (id, client_id, revision) = (MessageId(2), None, Version(0));
    QueuedMessage { id, client_id, revision, content: content("later"), created_at: WallTime(6) }
}

/// As earlier releases wrote it.
fn content(text: &str) -> Content {
    Content::from_stored(format!(r#"[{{"text":"{text}","type":"text"}}]"#))
}

fn message() -> Message {
    Message {
        id: MessageId(3),
        revision: Version(5),
        role: Role::User,
        content: content("hello"),
        interrupted: false,
        episode: None,
        finish_reason: None,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: None,
        created_at: WallTime(8),
    }
}

/// Whether this says all that earlier versions wrote. They pass over what they do not know.
fn says_as_much(written: &Value, earlier: &Value) -> bool {
    match (written, earlier) {
        (Value::Object(written), Value::Object(earlier)) => earlier
            .iter()
            .all(|(name, value)| written.get(name).is_some_and(|written| says_as_much(written, value))),
        (Value::Array(written), Value::Array(earlier)) => {
            written.len() == earlier.len()
                && written.iter().zip(earlier).all(|(written, earlier)| says_as_much(written, earlier))
        }
        (written, earlier) => written == earlier,
    }
}

fn assert_kept_as(kept: &Kept, text: &str) {
    let [written, earlier] = [serde_json::to_string(kept).expect("JSON"), text.to_owned()]
        .map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
    assert!(says_as_much(&written, &earlier), "what earlier versions read is written: {written}");
    let read: Kept = serde_json::from_str(text).expect("what earlier versions wrote is read");
    assert_eq!(&read, kept);
}

#[test]
fn an_accepted_command_is_kept_as_it_always_was() {
    let snapshot_version = Version(5);
    let whole = AnswerRecord::of(&Accepted::Chat(chat().into()), &Command::Delete, Keep::Answer);
    let row = concat!(
        r#"{"id":"00000000-0000-0000-0000-000000000007","owner":"ada","title":"title","model":null,"#,
        r#""status":"running","worker":null,"lease":2,"begun":null,"snapshot_version":4,"history_version":3,"#,
        r#""queue_version":4,"reset_version":0,"attempt":1,"error":null,"retry":null,"#,
        r#""queue":[{"id":2,"content":"[{\"text\":\"later\",\"type\":\"text\"}]","created_at":6}],"#,
        r#""last_message":1,"last_id":2,"created_at":5,"updated_at":6}"#,
    );
    assert_kept_as(&Ok(whole), &format!(r#"{{"Ok":{{"chat":{row}}}}}"#));
    assert_kept_as(&Ok(AnswerRecord::ChatByThen), r#"{"Ok":"chat_by_then"}"#);
    assert_kept_as(
        &Ok(AnswerRecord::Sent { message: Some(message()), queued: None, snapshot_version }),
        concat!(
            r#"{"Ok":{"sent":{"message":{"id":3,"revision":5,"role":"user","#,
            r#""content":"[{\"text\":\"hello\",\"type\":\"text\"}]","interrupted":false,"episode":null,"#,
            r#""finish_reason":null,"usage":null,"queued_as":null,"created_at":8},"#,
            r#""queued":null,"snapshot_version":5}}}"#,
        ),
    );
    assert_kept_as(
        &Ok(AnswerRecord::Sent { message: None, queued: Some(queued()), snapshot_version }),
        concat!(
            r#"{"Ok":{"sent":{"message":null,"queued":{"id":2,"#,
            r#""content":"[{\"text\":\"later\",\"type\":\"text\"}]","created_at":6},"#,
            r#""snapshot_version":5}}}"#,
        ),
    );
    let (id, created_at) = (MessageId(3), WallTime(8));
    assert_kept_as(
        &Ok(AnswerRecord::SentContent { id, queued: true, snapshot_version, created_at }),
        r#"{"Ok":{"sent_content":{"id":3,"queued":true,"snapshot_version":5,"created_at":8}}}"#,
    );
    assert_kept_as(&Ok(AnswerRecord::Gone), r#"{"Ok":"gone"}"#);
}

#[test]
fn a_rejection_is_kept_as_it_always_was() {
    for (rejection, name) in [
        (Rejection::NoSuchChat, "no_such_chat"),
        (Rejection::Exists, "exists"),
        (Rejection::NoSuchMessage, "no_such_message"),
        (Rejection::NoSuchQueued, "no_such_queued"),
        (Rejection::NotEditable, "not_editable"),
        (Rejection::Busy, "busy"),
        (Rejection::QueueFull, "queue_full"),
        (Rejection::NotPending, "not_pending"),
        (Rejection::ResultsTooLarge, "results_too_large"),
        (Rejection::NotRunning, "not_running"),
        (Rejection::NotFree, "not_free"),
        (Rejection::Fenced, "fenced"),
    ] {
        assert_kept_as(&Err(rejection), &format!(r#"{{"Err":"{name}"}}"#));
    }
}

#[test]
fn that_a_key_was_reused_cannot_be_kept() {
    let kept: Kept = Err(Rejection::KeyReused);
    serde_json::to_string(&kept).expect_err("S6: the key's record has the answer to its first body");
    serde_json::from_str::<Kept>(r#"{"Err":"key_reused"}"#).expect_err("nobody has written that");
}
