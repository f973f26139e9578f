//! Answers of all kinds of blocks, as a simulated model gives them.

use std::sync::Arc;

use mainstem_machine::{Block, CallResult, Offered, Tool};

/// After so many parts, the kinds come again.
const ROUND: u64 = 7;

/// Part `seq` of such an answer, counted from 1, which says `text`, a text without quotes.
pub fn part_of_all_kinds(seq: u64, text: String) -> (Option<Block>, String) {
    match seq % ROUND {
        1 => (Some(Block::Reasoning), text),
        2 => (Some(Block::Text), text),
        4 => (Some(call(seq, seq / ROUND)), String::new()),
        5 => (None, format!(r#"{{"n": "{text}"#)),
        6 => (None, r#""}"#.to_owned()),
        0 => (Some(Block::Whole), format!(r#"{{"type":"data","name":"found","data":"{text}"}}"#)),
        _ => (None, text),
    }
}

/// What such answers call, one after the other. Nobody has the third.
const CALLED: [&str; 4] = ["find", "fetch", "guess", "look"];

/// The parts of a call, which are the parts from `seq` on.
pub fn parts_of_call(seq: u64) -> [(Option<Block>, String); 2] {
    [(Some(call(seq, seq)), String::new()), (None, r#"{"n": 1}"#.to_owned())]
}

fn call(seq: u64, number: u64) -> Block {
    let name = CALLED[usize::try_from(number).unwrap_or_default() % CALLED.len()];
    Block::tool_call(&format!("call_{seq}"), name)
}

/// The tools of a server that such answers call: of these, the second may not be begun again, and the third may.
pub fn offered_tools(is_first_repeatable: bool) -> Arc<[Offered]> {
    let offered = [("find", is_first_repeatable), ("fetch", false), ("look", true)];
    offered.map(|(name, is_repeatable)| Offered { name: name.into(), is_repeatable }).into()
}

/// The tool of a chat that such answers call.
pub fn called_tool() -> Tool {
    Tool { name: "find".into(), description: "finds".into(), input_schema: r#"{"type":"object"}"#.into() }
}

/// What comes of a call, as whoever carries it out says.
pub fn result_of(call: &str) -> CallResult {
    CallResult { content: format!("{:?}", format!("found by {call}")).into(), is_error: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_takes_its_parts_and_a_call_has_an_input() {
        let parts: Vec<_> = (1..=20).map(|seq| part_of_all_kinds(seq, format!("{seq} "))).collect();
        assert!(
            parts.iter().all(|(begins, text)| begins.as_ref().map_or(!text.is_empty(), |b| b.takes(text)))
        );
        let kinds = parts.iter().filter(|(begins, _)| begins.is_some()).count();
        assert_eq!(kinds, 3 * 4 - 1, "of three rounds, less one part");
        let input: String = parts[4..6].iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(input, r#"{"n": "5 "}"#);
    }
}
