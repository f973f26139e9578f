//! A chat that is created with what was said elsewhere is a chat as any other, on every replica.

use mainstem::adapters::open;
use mainstem_machine::{ChatId, Command, Content, MessageId, NewMessage, Role, SendMode};
use mainstem_oracles::Settings;
use mainstem_runtime::ports::Request;
use mainstem_tests::client::counted;
use mainstem_tests::cluster::Cluster;
use mainstem_tests::court::{Court, Ledger, replica_url};
use mainstem_tests::postgres::Postgres;
use mainstem_tests::viewer::{Kind, Viewer};
use serde_json::{Value, json};

fn history() -> Value {
    json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "/demo parts=2 interval=0 one", "client_id": "m-1"},
        {"role": "assistant", "content": [
            {"type": "reasoning", "text": "hm", "signature": "s"},
            {"type": "tool_call", "id": "a", "name": "find", "input": {"n": 1}},
        ]},
        {"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "a", "content": "x"}]},
        {"role": "assistant", "content": "it is there", "client_id": "m-2"},
        {"role": "user", "content": "/demo parts=7 interval=0", "client_id": "m-3"},
    ])
}

#[tokio::test]
async fn a_chat_goes_on_with_what_was_said_elsewhere() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b, c] = [0, 1, 2].map(|i| cluster.replicas[i].client());
    let body = json!({"messages": history(), "external_id": "theirs"});
    let created = b.post("/v1/chats", body.clone()).await.expect(201).body;
    assert_eq!((&created["status"], &created["turn"]), (&json!("running"), &json!(6)));
    let chat = created["id"].as_str().expect("an id");
    let again = c.post("/v1/chats", body).await.expect(200).body;
    assert_eq!(again["id"], created["id"], "S12: the one of that name");

    let mut viewer = Viewer::open(&c, chat, Kind::WebSocket).await;
    viewer.until("all is said", |screen| screen.messages.len() == 7).await;
    viewer.until_idle().await;
    viewer.finish(&a).await;
    assert_eq!(viewer.screen.last_text(), counted(7));
    let page = a.get(&format!("/v1/chats/{chat}/messages")).await.expect(200).body;
    let told: Vec<_> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| {
            let turn = message["turn"].as_u64();
            (message["role"].as_str().expect("a role").to_owned(), turn, message["client_id"].clone())
        })
        .collect();
    let expected = [
        ("system", None, Value::Null),
        ("user", Some(2), json!("m-1")),
        ("assistant", Some(2), Value::Null),
        ("tool", Some(2), Value::Null),
        ("assistant", Some(2), json!("m-2")),
        ("user", Some(6), json!("m-3")),
        ("assistant", Some(6), Value::Null),
    ];
    assert_eq!(told, expected.map(|(role, turn, name)| (role.to_owned(), turn, name)));
    let brought = &page["messages"][2];
    assert_eq!(brought["content"], history()[2]["content"], "S1");
    assert_eq!((&brought["finish_reason"], &brought["episode"]), (&json!("tool_calls"), &Value::Null));
    let over = b.get(&format!("/v1/chats/{chat}/turns/2")).await.expect(200).body;
    assert_eq!((&over["status"], &over["messages"]), (&json!("completed"), &json!([2, 3, 4, 5])), "S12");

    // What was said under a name is what is sent under it.
    let path = format!("/v1/chats/{chat}/messages");
    for (name, id) in [("m-1", 2), ("m-2", 5), ("m-3", 6)] {
        let sent = c.post(&path, json!({"content": "else", "client_id": name})).await.expect(202).body;
        assert_eq!((&sent["message"]["id"], &sent["snapshot_version"]), (&json!(id), &json!(1)), "S12");
    }
    assert_eq!(a.messages(chat).await.len(), 7, "S12: and nothing changes");

    // Answered again, and edited.
    b.post(&format!("/v1/chats/{chat}/regenerate"), json!({"message": 2})).await.expect(202);
    a.until_idle(chat).await;
    let left = a.messages(chat).await;
    assert_eq!((left.len(), left[2].text()), (3, counted(2)));
    let edited = c.patch(&format!("{path}/2"), json!({"content": "/demo parts=1 interval=0"})).await;
    assert!(edited.expect(202).body["message"]["id"].as_u64() > Some(left[2].id));
    a.until_idle(chat).await;
    viewer.until("it is told", |screen| screen.texts().get(2) == Some(&counted(1))).await;
    viewer.until_idle().await;
    viewer.finish(&b).await;
    b.get(&format!("/v1/chats/{chat}/turns/2")).await.expect_problem(404, "no_such_turn");
}

/// The judges of real servers know the rows.
#[tokio::test]
async fn what_a_database_has_of_a_chat_that_was_created_with_a_history_is_judged() {
    let postgres = Postgres::shared().expect("a server");
    let url = postgres.fresh_database().expect("a database");
    let (store, _) = open(&replica_url(&url, "A"), Settings::default().lease_ttl).await.expect("it opens");
    let mut court = Court::open(&url, Settings::default(), Ledger::default()).await;
    let said = |role, text: &str, name: Option<&str>| NewMessage {
        role,
        content: Content::text(text),
        client_id: name.map(Into::into),
    };
    let chat = ChatId(uuid::Uuid::now_v7());
    let messages = vec![
        said(Role::System, "be brief", None),
        said(Role::User, "one", Some("m-1")),
        said(Role::Assistant, "it is", None),
        said(Role::User, "two", None),
        said(Role::Assistant, "so be it", Some("m-2")),
    ];
    let owner = "ann".into();
    let create = Command::Create { chat, owner, settings: Default::default(), messages };
    let again = Command::Regenerate { message: Some(MessageId(2)), mode: SendMode::Reject };
    for (command, count, turn) in [(create, 5, 4), (again, 2, 2)] {
        let name = command.name();
        let request = Request { chat, command, by: Some("ann".into()), idempotency_key: None };
        store.apply(&request).await.expect("the store answers").answer.expect("it is accepted");
        court.hear().await.unwrap_or_else(|found| panic!("{found}"));
        let past = court.judge().index().past(chat).expect("it is known");
        let moment = past.present().expect("it is there");
        let turn_now = moment.state.turn.as_ref().map(|turn| turn.id.0);
        assert_eq!((moment.command.name(), moment.history.len(), turn_now), (name, count, Some(turn)));
    }
}

#[tokio::test]
async fn a_history_that_ends_with_an_answer_waits_and_one_that_is_none_is_refused() {
    let cluster = Cluster::with_one_worker().await;
    let [a, b] = [0, 1].map(|i| cluster.replicas[i].client());
    let answered = Value::Array(history().as_array().expect("messages")[..5].to_vec());
    let created = a.post("/v1/chats", json!({"messages": answered})).await.expect(201).body;
    assert_eq!((&created["status"], &created["turn"]), (&json!("waiting"), &json!(2)));
    let chat = created["id"].as_str().expect("an id");
    let sent = b.send(chat, "/demo parts=3 interval=0").await;
    assert_eq!(sent["message"]["id"], 6);
    a.until_idle(chat).await;
    assert_eq!(a.messages(chat).await.len(), 7);
    let none = a.post("/v1/chats", json!({"messages": []})).await.expect(201).body;
    assert_eq!((&none["status"], &none["turn"]), (&json!("waiting"), &Value::Null));

    let open = Value::Array(history().as_array().expect("messages")[..3].to_vec());
    let refused = a.post("/v1/chats", json!({"messages": open})).await.expect_problem(422, "not_a_history");
    assert!(refused.text.contains("message 2 calls tools"), "S11: {}", refused.text);
    let both = json!({"messages": history(), "content": "x"});
    a.post("/v1/chats", both).await.expect_problem(422, "not_a_history");
    let twice = json!([{"role": "user", "content": "x", "client_id": "m"}, {"role": "user", "content": "y", "client_id": "m"}]);
    a.post("/v1/chats", json!({"messages": twice})).await.expect_problem(422, "not_a_history");
    a.post("/v1/chats", json!({"messages": [{"role": "tool", "content": "x"}]}))
        .await
        .expect_problem(400, "malformed");
}
