//! Laws of what comes of events in any order: each piece that an agent says is told once, in its own block, and in its
//! order.

use std::collections::HashMap;

use mainstem_machine::Version;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::generators::agent::event;
use crate::sse::SseEvent;

const KINDS: [&str; 22] = [
    "TEXT_MESSAGE_START",
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_END",
    "TEXT_MESSAGE_CHUNK",
    "REASONING_MESSAGE_START",
    "REASONING_MESSAGE_CONTENT",
    "REASONING_MESSAGE_END",
    "REASONING_MESSAGE_CHUNK",
    "TOOL_CALL_START",
    "TOOL_CALL_ARGS",
    "TOOL_CALL_ARGS",
    "TOOL_CALL_END",
    "TOOL_CALL_CHUNK",
    "TOOL_CALL_RESULT",
    "STATE_SNAPSHOT",
    "ACTIVITY_DELTA",
    "CUSTOM",
    "STEP_STARTED",
    "SUBAGENT_FINISHED",
    "RAW",
    "RUN_STARTED",
];

/// An event of few names, whose piece is its number and its owner's name.
fn any_event(random: &mut StdRng, number: usize) -> Value {
    let kind = *KINDS.choose(random).expect("kinds");
    let id = *["a", "b", "c"].choose(random).expect("ids");
    let family = kind.split('_').next().expect("a word");
    let mut event = json!({ "type": kind, "name": "n", "content": format!("{number}") });
    if !kind.ends_with("CHUNK") || random.random_bool(0.7) {
        event[if family == "TOOL" { "toolCallId" } else { "messageId" }] = id.into();
    }
    if kind == "TOOL_CALL_START" || kind == "TOOL_CALL_CHUNK" && random.random_bool(0.7) {
        event["toolCallName"] = "find".into();
    }
    if random.random_bool(0.9) {
        event["delta"] = format!("{family}-{number};").into();
    }
    if random.random_bool(0.3) {
        event["subagentRunId"] = "sub".into();
    }
    event
}

/// What was told: blocks with their texts.
fn told(parts: Vec<Generated>) -> Vec<(Block, String)> {
    let mut blocks: Vec<(Block, String)> = vec![];
    for part in parts {
        let Generated::Part { begins, text } = part else { panic!("no end comes here") };
        match begins.or_else(|| blocks.is_empty().then_some(Block::Text)) {
            Some(block) => {
                assert!(block.takes(&text), "S2: {block:?} {text:?}");
                blocks.push((block, text));
            }
            None => {
                let (block, said) = blocks.last_mut().expect("a block is open");
                assert!(block.is_streamed() && !text.is_empty(), "S2: {block:?} {text:?}");
                *said += &text;
            }
        }
    }
    blocks
}

#[test]
fn each_piece_is_told_once_in_a_block_of_its_kind_and_in_its_order() {
    let (mut waited, mut many) = (0, 0);
    for seed in 0..2000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut answer = Answer::new(Known {
            episode: Episode { history_version: Version(1), attempt: 1 },
            taken: BTreeSet::from(["a".to_owned()]),
            tools: BTreeSet::new(),
            earlier: vec![],
        });
        let (mut parts, mut sent) = (vec![], vec![]);
        for number in 0..random.random_range(1..60) {
            let event = any_event(&mut random, number);
            let data = event.to_string().into_bytes();
            let event = event::read(&SseEvent { data, ..SseEvent::default() }).expect("an event");
            if let Said::Content { kind, text, .. } | Said::Chunk { head: Head { kind, .. }, text } =
                &event.said
                && !text.is_empty()
                && *kind != Kind::Call
            {
                sent.push((*kind, text.clone()));
            }
            parts.extend(answer.take(event).expect("little waits").parts);
            waited += usize::from(answer.blocks.held() > 3 * crate::limits::model::HELD_BLOCK_BYTES);
        }
        parts.extend(answer.rest());
        let blocks = told(parts);
        many += usize::from(blocks.len() > 10);

        let text = |wanted: &Block| -> String {
            blocks.iter().filter(|(block, _)| block == wanted).map(|(_, text)| &**text).collect()
        };
        for (kind, block) in [(Kind::Text, Block::Text), (Kind::Reasoning, Block::Reasoning)] {
            let all = text(&block);
            let mut wanted: Vec<_> = sent
                .iter()
                .filter(|(of, _)| *of == kind)
                .map(|(_, text)| text.trim_end_matches(';'))
                .collect();
            let mut came: Vec<_> = all.split_terminator(';').collect();
            wanted.sort();
            came.sort();
            assert_eq!(came, wanted, "S4, seed {seed}: {blocks:?}");
        }
        let mut calls: HashMap<&str, usize> = HashMap::new();
        for (block, text) in &blocks {
            match block {
                Block::Text | Block::Reasoning | Block::ToolCall(_) => {
                    let numbers: Vec<usize> = text
                        .split_terminator(';')
                        .map(|piece| piece.split_once('-').expect("a piece").1.parse().expect("a number"))
                        .collect();
                    assert!(numbers.is_sorted(), "S3, seed {seed}: {blocks:?}");
                    let family = ["TEXT", "REASONING", "TOOL"];
                    let family = family[match block {
                        Block::Text => 0,
                        Block::Reasoning => 1,
                        _ => 2,
                    }];
                    assert!(text.split_terminator(';').all(|piece| piece.starts_with(family)), "{blocks:?}");
                }
                Block::Whole | Block::Unknown => {}
            }
            if let Block::ToolCall(call) = block {
                assert_ne!(&*call.id, "a", "seed {seed}: no name is used again");
                assert_eq!(calls.insert(&call.id, 0), None, "seed {seed}: a call begins once");
            }
            let whole: Value = serde_json::from_str(text).unwrap_or_default();
            if whole["type"] == "tool_result" {
                let id = whole["tool_call_id"].as_str().expect("an id");
                let results = calls.get_mut(id).unwrap_or_else(|| panic!("seed {seed}: {id} was not called"));
                *results += 1;
                assert_eq!(*results, 1, "seed {seed}: a call has one result");
            }
        }
    }
    assert!(waited > 1000 && many > 100, "rare situations do occur: {waited}, {many}");
}
