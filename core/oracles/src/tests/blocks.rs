//! S2 and S4 of answers that are more than text.

use mainstem_machine::{Block, Body, Command, Completion, Content, FinishReason, RunError};

use super::scene::{Scene, parts};
use crate::{Blocks, RunEnd};

const INPUT: &str = r#"{"n":1}"#;

/// A run that reasons, says a text and calls a tool: five parts.
fn said() -> Scene {
    say(Scene::new("A"))
}

fn say(mut scene: Scene) -> Scene {
    let call = Block::tool_call("c", "find");
    for (begins, text) in [
        (Some(Block::Reasoning), "h"),
        (None, "m"),
        (Some(Block::Text), "so "),
        (Some(call), ""),
        (None, INPUT),
    ] {
        scene.say_of(begins, text);
    }
    scene
}

fn show(scene: &mut Scene, first: u64, texts: &[&str], (place, block): (u32, Block)) {
    let (cursor, body) = parts(scene.fence().lease, scene.episode(), first, texts);
    let Body::Parts { episode, first_seq, last_seq, text, .. } = body else { unreachable!("they are parts") };
    scene.show_with(cursor, Body::Parts { episode, first_seq, last_seq, place, block, text });
}

fn call(input: &str) -> String {
    format!(r#"{{"type":"tool_call","id":"c","name":"find",{input}}}"#)
}

fn kept(blocks: &[&str]) -> Option<Content> {
    Some(Content::from_stored(format!("[{}]", blocks.join(","))))
}

const REASONING: &str = r#"{"type":"reasoning","text":"hm"}"#;
const TEXT: &str = r#"{"type":"text","text":"so "}"#;

fn finish(scene: &mut Scene, reason: FinishReason, answer: Option<Content>) {
    let completion = Completion { finish_reason: Some(reason), usage: None };
    scene.end_run(RunEnd::Done(completion));
    scene.commit(Command::FinishTurn { fence: scene.fence(), answer, completion });
}

#[test]
fn s2_a_joined_part_of_two_blocks_and_one_of_another_block_are_found() {
    let call = Block::tool_call("c", "find");
    let mut right = said();
    show(&mut right, 1, &["h", "m"], (0, Block::Reasoning));
    show(&mut right, 3, &["so "], (1, Block::Text));
    show(&mut right, 4, &["", INPUT], (2, call));
    right.expect_nothing();
    for wrong in [(0, Block::Text), (1, Block::Reasoning)] {
        let mut scene = said();
        show(&mut scene, 1, &["h", "m"], wrong);
        scene.expect("S2");
    }
    let mut scene = said();
    show(&mut scene, 1, &["h", "m", "so "], (0, Block::Reasoning));
    scene.expect("S2");
}

#[test]
fn s4_an_answer_whose_blocks_differ_from_what_was_said_is_found() {
    let whole = call(r#""input":{"n":1}"#);
    let mut right = said();
    finish(&mut right, FinishReason::Stop, kept(&[REASONING, TEXT, &whole]));
    right.expect_nothing();
    for wrong in [
        kept(&[TEXT, REASONING, &whole]),
        kept(&[REASONING, TEXT]),
        kept(&[REASONING, TEXT, &whole, TEXT]),
        kept(&[&REASONING.replace("reasoning", "text"), TEXT, &whole]),
        kept(&[REASONING, TEXT, &whole.replace("find", "lose")]),
        kept(&[REASONING, TEXT, &call(r#""input":{"n":2}"#)]),
        kept(&[REASONING, TEXT, &call(r#""input_text":"{\"n\":1}""#)]),
        None,
    ] {
        let mut scene = said();
        finish(&mut scene, FinishReason::Stop, wrong);
        scene.expect("S4");
    }
}

#[test]
fn s4_a_call_that_was_cut_is_kept_as_what_came_of_it() {
    let cut = |text: &str| call(&format!(r#""input_text":{}"#, serde_json::json!(text)));
    let interrupted = |partial: Option<Content>| {
        let mut scene = Scene::new("A");
        scene.commit(Command::Interrupt { episode: None });
        let mut scene = say(scene);
        scene.end_run(RunEnd::Cancelled);
        scene.commit(Command::FinishInterruption { fence: scene.fence(), partial });
        scene
    };
    let begin = REASONING.replace("hm", "h");
    for right in [
        kept(&[&begin]),
        kept(&[REASONING]),
        kept(&[REASONING, TEXT]),
        kept(&[REASONING, TEXT, &cut("")]),
        kept(&[REASONING, TEXT, &cut(INPUT)]),
    ] {
        interrupted(right).expect_nothing();
    }
    for wrong in [
        kept(&[REASONING, TEXT, &cut("{")]),
        kept(&[REASONING, TEXT, &call(r#""input":{"n":1}"#)]),
        kept(&[&begin, TEXT]),
    ] {
        interrupted(wrong).expect("S4");
    }
    let mut long = said();
    finish(&mut long, FinishReason::Length, kept(&[REASONING, TEXT, &cut(INPUT)]));
    long.expect_nothing();
}

#[test]
fn s4_of_a_run_that_failed_for_good_all_is_kept_that_was_said() {
    let cut = call(r#""input_text":"{\"n\":1}""#);
    let failed = |partial: Option<Content>| {
        let mut scene = said();
        scene.end_run(RunEnd::Failed);
        let error = RunError { code: "model_failed".into(), message: "it failed".into() };
        scene.commit(Command::Fail { fence: scene.fence(), partial, error });
        scene
    };
    failed(kept(&[REASONING, TEXT, &cut])).expect_nothing();
    for wrong in [None, kept(&[REASONING]), kept(&[REASONING, TEXT])] {
        failed(wrong).expect("S4");
    }
}

#[test]
fn s4_a_preview_is_the_beginning_of_its_message_block_by_block() {
    let content = |blocks: &[&str]| kept(blocks).expect("there is some");
    let whole = content(&[REASONING, TEXT, &call(r#""input":{"n":1}"#)]);
    let shown = |blocks: &[(Block, &str)]| {
        let mut shown = Blocks::default();
        blocks.iter().for_each(|(block, text)| shown.add(Some(block), text));
        shown
    };
    let find = Block::tool_call("c", "find");
    let all = [(Block::Reasoning, "hm"), (Block::Text, "so "), (find.clone(), INPUT)];
    for blocks in 0..=all.len() {
        assert!(shown(&all[..blocks]).begin(&whole), "{blocks}");
    }
    assert!(shown(&[(Block::Reasoning, "h")]).begin(&whole));
    assert!(shown(&[all[0].clone(), all[1].clone(), (find.clone(), "{\"n")]).begin(&whole));
    assert!(shown(&[(Block::Unknown, ""), all[1].clone()]).begin(&whole), "of a later release");
    for wrong in [
        &[(Block::Text, "hm")][..],
        &[(Block::Reasoning, "hmm")],
        &[(Block::Reasoning, "h"), all[1].clone()],
        &[all[0].clone(), all[1].clone(), (Block::tool_call("d", "find"), "{")],
        &[all[0].clone(), all[1].clone(), all[2].clone(), all[1].clone()],
    ] {
        assert!(!shown(wrong).begin(&whole), "{wrong:?}");
    }
    assert!(shown(&[(find.clone(), "{\"n")]).begin(&content(&[&call(r#""input_text":"{\"n\":""#)])));
    assert!(shown(&[(find, "{\"n")]).begin(&content(&[&call(r#""input":"{\"n""#)])), "it was no JSON");
}
