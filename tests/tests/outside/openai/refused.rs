//! What is refused, as each package raises it.

use mainstem_tests::cluster::Cluster;
use mainstem_tests::scratch::Scratch;
use serde_json::{Value, json};

use super::BOTH;
use super::sdk::{Sdk, Way, chat_of, cluster, conversation_of};

#[track_caller]
fn assert_refused(answer: Result<Value, Value>, status: u16, kind: &str, named: &str) -> Value {
    let error = answer.expect_err("it is refused");
    assert_eq!((&error["status"], &error["kind"]), (&json!(status), &json!(kind)), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains(named)), "{named}: {error}");
    assert!(error["code"].is_string() && error["type"].is_string(), "{error}");
    error
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_by_its_name() {
    let (_cluster, [a, _, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let question = "/demo parts=1 interval=1ms";
        for (members, named) in [
            (json!({"temperature": 0.2}), "`temperature`"),
            (json!({"max_output_tokens": 9}), "`max_output_tokens`"),
            (json!({"store": false}), "`store`"),
            (json!({"metadata": {"a": "b"}}), "`metadata`"),
            (json!({"text": {"format": {"type": "json_object"}}}), "`text`"),
            (json!({"tools": [{"type": "web_search"}]}), "web_search"),
            (json!({"tool_choice": "required"}), "`tool_choice`"),
            (json!({"reasoning": {"effort": "high"}}), "`reasoning`"),
            (json!({"truncation": "auto"}), "`truncation`"),
            (json!({"input": []}), "`input`"),
            (json!({"input": [{"type": "item_reference", "id": "msg_1"}]}), "item_reference"),
        ] {
            let mut with = json!({"input": question});
            with.as_object_mut().expect("it is one").extend(members.as_object().expect("members").clone());
            let answer = sdk.try_call(&a, "responses.create", json!({"with": with})).await;
            assert_refused(answer, 400, "BadRequestError", named);
            with["stream"] = json!(true);
            sdk.begin("s", &a, "responses.create", json!({"with": with})).await;
            let told = sdk.until_over("s").await;
            assert_refused(Err(told.error), 400, "BadRequestError", named);
        }
        let beside = json!({"with": {"input": question}, "beside": {"colour": "red"}});
        assert_refused(
            sdk.try_call(&a, "responses.create", beside).await,
            400,
            "BadRequestError",
            "`colour`",
        );
        let completion =
            json!({"with": {"model": "demo", "messages": [{"role": "user", "content": question}], "n": 2}});
        let answer = sdk.try_call(&a, "chat.completions.create", completion).await;
        assert_refused(answer, 400, "BadRequestError", "`n`");
    }
    let chats = a.get("/v1/chats").await.expect(200).body;
    assert_eq!(chats["chats"], json!([]), "nothing was begun");
}

#[tokio::test]
async fn what_is_not_there_is_not_found_whatever_it_is_asked_for() {
    let (_cluster, [a, b, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let made = sdk.create(&a, json!({"input": "/demo parts=1 interval=1ms"})).await;
        let id = made["id"].as_str().expect("a name");
        let conversation = conversation_of(id);
        let none = uuid::Uuid::now_v7().simple().to_string();
        for name in [format!("resp_{none}_1"), format!("{id}7"), "resp_68af".to_owned(), format!("{id}_9")] {
            for of in ["responses.retrieve", "responses.cancel"] {
                let answer = sdk.try_call(&b, of, json!({"id": name})).await;
                assert_refused(answer, 404, "NotFoundError", &name);
            }
            let with = json!({"input": "x", "previous_response_id": name});
            let answer = sdk.try_call(&b, "responses.create", json!({"with": with})).await;
            let status = answer.expect_err("there is nothing to go on from")["status"].clone();
            // In a chat that is there, it is not the last one.
            assert!(status == 404 || (status == 400 && name.starts_with(id)), "{kind}: {name}: {status}");
            sdk.begin_again("s", &b, Way::Helper, &name, None).await;
            let told = sdk.until_over("s").await;
            assert_refused(Err(told.error), 404, "NotFoundError", &name);
        }
        for name in [format!("conv_{none}"), conversation[..20].to_owned()] {
            for of in ["conversations.retrieve", "conversations.delete"] {
                assert_refused(sdk.try_call(&b, of, json!({"id": name})).await, 404, "NotFoundError", &name);
            }
            let with = json!({"input": "x", "conversation": name});
            let answer = sdk.try_call(&b, "responses.create", json!({"with": with})).await;
            assert_refused(answer, 404, "NotFoundError", &name);
        }
        let with = json!({"id": id, "with": {"stream": true, "starting_after": -1}});
        assert_refused(
            sdk.try_call(&b, "responses.retrieve", with).await,
            400,
            "BadRequestError",
            "starting_after",
        );
    }
}

#[tokio::test]
async fn what_time_does_not_mend_is_asked_once() {
    let (_cluster, [a, _, _]) = cluster().await;
    for kind in BOTH {
        let mut sdk = Sdk::start(kind);
        let made = sdk.call(&a, "conversations.create", json!({"with": {}})).await;
        let with =
            json!({"input": "/demo parts=300 interval=10ms", "conversation": made["id"], "background": true});
        sdk.create(&a, with).await;
        let before = sdk.requests().await.len();
        // A chat that runs is not deleted.
        let answer = sdk.try_call(&a, "conversations.delete", json!({"id": made["id"], "retries": 2})).await;
        assert_refused(answer, 409, "ConflictError", "");
        assert_eq!(sdk.requests().await.len(), before + 1, "{kind}: it is not tried again");
    }
}

#[tokio::test]
async fn a_response_is_its_users_alone() {
    let scratch = Scratch::new();
    let file = scratch.file("tokens.toml", "[tokens]\nann-1 = \"ann\"\nbob-1 = \"bob\"\n");
    let cluster = Cluster::start(&[&["--auth-file", &file]]).await;
    let client = cluster.replicas[0].client();
    for kind in BOTH {
        let mut nobody = Sdk::start(kind);
        let with = json!({"input": "/demo parts=2 interval=1ms"});
        let answer = nobody.try_call(&client, "responses.create", json!({"with": with})).await;
        assert_refused(answer, 401, "AuthenticationError", "");
        let [mut ann, mut bob] = ["ann-1", "bob-1"].map(|token| Sdk::start(kind).with_token(token));
        let id = ann.create(&client, with).await["id"].as_str().expect("a name").to_owned();
        let conversation = conversation_of(&id);
        // By no name of it another user comes to it (S10).
        for of in ["responses.retrieve", "responses.cancel"] {
            assert_refused(bob.try_call(&client, of, json!({"id": id})).await, 404, "NotFoundError", &id);
            ann.call(&client, of, json!({"id": id})).await;
        }
        bob.begin_again("s", &client, Way::Raw, &id, None).await;
        assert_refused(Err(bob.until_over("s").await.error), 404, "NotFoundError", &id);
        for (of, name) in [("responses.inputItems.list", &id), ("conversations.items.list", &conversation)] {
            assert_refused(bob.try_call(&client, of, json!({"id": name})).await, 404, "NotFoundError", name);
            ann.call(&client, of, json!({"id": name})).await;
        }
        for of in ["conversations.retrieve", "conversations.delete"] {
            let answer = bob.try_call(&client, of, json!({"id": conversation})).await;
            assert_refused(answer, 404, "NotFoundError", &conversation);
        }
        for behind in [json!({"previous_response_id": id}), json!({"conversation": conversation})] {
            let mut with = behind;
            with["input"] = json!("/demo parts=1");
            let answer = bob.try_call(&client, "responses.create", json!({"with": with})).await;
            assert_eq!(answer.expect_err("it is another's")["status"], 404, "{kind}");
        }
        let chat = chat_of(&id);
        assert_eq!(
            client.with_token("ann-1").messages(&chat).await.len(),
            2,
            "{kind}: nothing was done to it"
        );
    }
}
