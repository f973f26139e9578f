//! S11: what came back from a tool is written, soon and before its worker lets the chat go. No model is given a call that
//! was cut short.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Block, CallResult, Carrier, Command, Completion, Content, FinishReason, Message, OpenCall, Role, Version,
};

use super::scene::{CHAT, Scene, queue};
use crate::{Evidence, FaultKind, Life, RunEnd, RunId};

const CALL: &str = r#"[{"type":"tool_call","id":"a","name":"find","input":{}}]"#;

fn result() -> CallResult {
    CallResult { content: "\"found\"".into(), is_error: false }
}

fn began(worker: &str, of: Version) -> Evidence {
    Evidence::CallBegun { replica: worker.into(), chat: CHAT, of, call: "a".into(), is_repeatable: true }
}

fn returned(worker: &str, of: Version) -> Evidence {
    Evidence::CallReturned { replica: worker.into(), chat: CHAT, of, call: "a".into(), result: result() }
}

/// A has a tool carry out a call, of the history that is told.
fn calling(carrier: Carrier) -> (Scene, Version) {
    let mut scene = Scene::new("A");
    scene.leave();
    scene.say_of(Some(Block::tool_call("a", "find")), "");
    scene.say("{}");
    let completion = Completion { finish_reason: Some(FinishReason::ToolCalls), usage: None };
    scene.end_run(RunEnd::Done(completion));
    let answer = Content::from_stored(CALL);
    let calls: Vec<_> = answer.open_calls().into_iter().map(|call| OpenCall { carrier, ..call }).collect();
    scene.commit(Command::CommitStep { fence: scene.fence(), answer, completion, calls });
    let of = scene.state().history_version;
    scene.observe(began("A", of));
    (scene, of)
}

fn release(scene: &mut Scene) {
    let fence = scene.fence();
    scene.commit(Command::Release { replica: fence.replica, lease: fence.lease });
}

#[test]
fn what_came_back_is_written_and_then_the_chat_is_let_go() {
    let (mut scene, of) = calling(Carrier::Server);
    scene.pass(Duration::from_secs(1));
    scene.observe(returned("A", of));
    scene.pass(Duration::from_secs(1));
    let results = vec![(Arc::from("a"), result())];
    scene.commit(Command::CommitResults { fence: scene.fence(), results });
    scene.pass(Duration::from_secs(1));
    release(&mut scene);
    scene.pass(Duration::from_secs(9));
    scene.expect_nothing();
}

#[test]
fn s11_a_chat_that_is_let_go_without_what_came_back_is_found() {
    for carrier in [Carrier::Server, Carrier::ServerAgain] {
        let (mut scene, of) = calling(carrier);
        scene.observe(returned("A", of));
        scene.pass(Duration::from_millis(10));
        release(&mut scene);
        scene.expect("S11");
    }
}

#[test]
fn what_comes_back_after_the_chat_was_let_go_or_elsewhere_is_nothing_to_write() {
    for worker in ["A", "B"] {
        let (mut scene, of) = calling(Carrier::ServerAgain);
        if worker == "A" {
            release(&mut scene);
        }
        scene.observe(returned(worker, of));
        scene.pass(Duration::from_secs(9));
        if worker == "B" {
            release(&mut scene);
        }
        scene.expect_nothing();
    }
}

#[test]
fn what_came_back_under_another_lease_is_not_of_this_one() {
    let (mut scene, of) = calling(Carrier::ServerAgain);
    scene.observe(returned("A", of));
    scene.acquire("A");
    scene.observe(began("A", of));
    scene.pass(Duration::from_millis(10));
    release(&mut scene);
    scene.expect_nothing();
}

/// A process of the same name asked for the chat, died, and its request was carried out after its successor had begun.
#[test]
fn a_worker_that_does_not_know_of_its_lease_writes_nothing_under_it() {
    let answer_lost =
        || Evidence::Fault { kind: FaultKind::AnswerLost, who: "A".into(), other: None, chat: Some(CHAT) };
    for knows in [false, true] {
        let (mut scene, of) = calling(Carrier::ServerAgain);
        if !knows {
            scene.observe(answer_lost());
        }
        scene.acquire("A");
        scene.observe(began("A", of));
        scene.pass(Duration::from_secs(20));
        scene.observe(returned("A", of));
        for _ in 0..3 {
            scene.pass(Duration::from_secs(3));
            scene.observe(Evidence::Measured { what: "nothing", value: 0, max: 1 });
        }
        match knows {
            true => scene.expect("S11"),
            false => scene.expect_nothing(),
        }
    }
}

#[test]
fn s11_a_worker_that_keeps_what_came_back_is_found() {
    let (mut scene, of) = calling(Carrier::Server);
    scene.observe(returned("A", of));
    scene.pass(Duration::from_secs(3));
    scene.observe(Evidence::FaultsCleared);
    scene.expect("S11");
}

#[test]
fn a_worker_that_cannot_write_is_waited_for() {
    let refused = || Evidence::Fault {
        kind: FaultKind::DatabaseRefused,
        who: "A".into(),
        other: None,
        chat: Some(CHAT),
    };
    for what in [refused(), Evidence::Lived { replica: "A".into(), life: Life::Crashed }] {
        let (mut scene, of) = calling(Carrier::Server);
        scene.observe(returned("A", of));
        scene.observe(what);
        scene.pass(Duration::from_secs(3));
        scene.observe(Evidence::Measured { what: "nothing", value: 0, max: 1 });
        scene.expect_nothing();
    }
}

#[test]
fn a_worker_that_begins_anew_does_not_know_what_came_back_before() {
    let (mut scene, of) = calling(Carrier::Server);
    scene.observe(returned("A", of));
    scene.live("A", Life::Crashed);
    scene.live("A", Life::Up);
    // Its lease of before has not run out.
    for _ in 0..4 {
        scene.pass(Duration::from_secs(3));
        scene.observe(Evidence::Measured { what: "nothing", value: 0, max: 1 });
    }
    scene.expect_nothing();
}

type History = Vec<Arc<Message>>;

/// A call was cut short, and a model is asked again. Returns its run, and what it is to be given.
fn cut_short() -> (Scene, RunId, History) {
    let mut scene = Scene::new("A");
    scene.leave();
    scene.say("so ");
    scene.say_of(Some(Block::tool_call("a", "find")), "");
    scene.say("{");
    scene.commit(Command::Interrupt { episode: None });
    scene.end_run(RunEnd::Cancelled);
    let partial = Some(Content::from_stored(CUT));
    scene.commit(Command::FinishInterruption { fence: scene.fence(), partial });
    scene.ask("two", queue("two"), Some("two"));
    scene.begin("A");
    let whole = Content::from_stored(r#"[{"text": "so ", "type": "text"}]"#);
    let given = |message: &Message| match message.role {
        Role::Assistant => Arc::new(Message { content: whole.clone(), ..message.clone() }),
        _ => Arc::new(message.clone()),
    };
    let history = scene.messages.iter().map(given).collect();
    (scene, RunId(2), history)
}

const CUT: &str =
    r#"[{"type":"text","text":"so "},{"type":"tool_call","id":"a","name":"find","input_text":"{"}]"#;

fn reword(history: &mut History, content: &str) {
    let content = Content::from_stored(content);
    history[1] = Arc::new(Message { content, ..Message::clone(&history[1]) });
}

fn prompted(run: RunId, history: &[Arc<Message>]) -> Evidence {
    Evidence::Prompted { run, history: history.into() }
}

#[test]
fn a_model_is_given_all_but_what_was_cut_short() {
    let (mut scene, run, history) = cut_short();
    scene.observe(prompted(run, &history));
    scene.expect_nothing();
}

#[test]
fn s11_a_model_that_is_given_a_call_that_was_cut_short_or_less_than_the_rest_is_found() {
    let damages: [fn(&mut History); 5] = [
        |history| reword(history, CUT),
        |history| reword(history, "[]"),
        |history| reword(history, r#"[{"type":"text","text":"else"}]"#),
        |history| drop(history.remove(0)),
        |history| history.reverse(),
    ];
    for damage in damages {
        let (mut scene, run, mut history) = cut_short();
        damage(&mut history);
        scene.observe(prompted(run, &history));
        scene.expect("S11");
    }
}
