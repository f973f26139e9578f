//! S11 and L6 of calls that a server carries out.

use std::time::Duration;

use mainstem_machine::{Block, CallResult, Carrier, Command, Completion, Content, FinishReason, Version};

use super::scene::{CHAT, Scene};
use crate::{Evidence, RunEnd};

/// Longer than a tool, a lease, and what else there is to wait for.
const SILENCE: Duration = Duration::from_secs(150);

/// The worker has committed a call, and nobody watches.
fn called() -> (Scene, Version) {
    let mut scene = Scene::new("A");
    scene.leave();
    scene.say_of(Some(Block::tool_call("c", "find")), "{}");
    let completion = Completion { finish_reason: Some(FinishReason::ToolCalls), usage: None };
    scene.end_run(RunEnd::Done(completion));
    let answer = r#"[{"type":"tool_call","id":"c","name":"find","input":{}}]"#;
    let answer = Content::from_stored(answer.to_owned());
    let mut calls = answer.open_calls();
    calls[0].carrier = Carrier::Server;
    scene.commit(Command::CommitStep { fence: scene.fence(), answer, completion, calls });
    let of = scene.state().history_version;
    (scene, of)
}

fn begin(scene: &mut Scene, of: Version) {
    let (replica, call) = ("A".into(), "c".into());
    scene.observe(Evidence::CallBegun { replica, chat: CHAT, of, call, is_repeatable: false });
}

fn give(scene: &mut Scene, of: Version, is_told: bool) {
    let result = CallResult { content: r#""found""#.into(), is_error: false };
    let (replica, call) = ("A".into(), "c".into());
    if is_told {
        let result = result.clone();
        scene.observe(Evidence::CallReturned { replica, chat: CHAT, of, call, result });
    }
    scene.commit(Command::CommitResults { fence: scene.fence(), results: vec![("c".into(), result)] });
}

#[test]
fn s11_a_call_that_is_begun_twice_and_a_result_that_nobody_gave_are_found() {
    let (mut scene, of) = called();
    begin(&mut scene, of);
    give(&mut scene, of, true);
    scene.expect_nothing();

    let (mut scene, of) = called();
    begin(&mut scene, of);
    begin(&mut scene, of);
    scene.expect("S11");

    let (mut scene, of) = called();
    begin(&mut scene, of);
    give(&mut scene, of, false);
    scene.expect("S11");
}

#[test]
fn l6_a_chat_that_waits_for_a_tool_too_long_is_found_and_not_one_that_was_interrupted() {
    let (mut scene, of) = called();
    begin(&mut scene, of);
    scene.pass(SILENCE);
    scene.observe(Evidence::FaultsCleared);
    scene.expect("L6");

    // The worker begins the call before it hears of the interrupt.
    let (mut scene, of) = called();
    scene.ask("k1", Command::Interrupt { episode: None }, None);
    begin(&mut scene, of);
    scene.pass(SILENCE);
    scene.observe(Evidence::FaultsCleared);
    scene.expect_nothing();
}
