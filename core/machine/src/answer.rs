//! What is committed of an answer: its blocks, whole, as parts of a content.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::content::{fits_all_readers, on_one_line, written};
use crate::{Block, Content};

impl Content {
    /// An answer's blocks, each with its text, in order. Calls are kept with their `input`; in an answer that
    /// `is_cut`, nobody knows whether they were meant so, and they are kept with what came of it, as `input_text`.
    pub fn of_blocks<'a>(blocks: impl IntoIterator<Item = (&'a Block, &'a str)>, is_cut: bool) -> Self {
        let mut json = String::from("[");
        for (block, text) in blocks {
            if json.len() > 1 {
                json.push(',');
            }
            write_block(&mut json, block, text, is_cut);
        }
        json.push(']');
        Self::from_stored(json)
    }
}

/// What is measured of contents whose texts are not to be known.
impl Content {
    /// The bytes of the JSON text but for the inputs of calls: an input that is no JSON is written in another way.
    pub fn bytes_beside_inputs(&self) -> usize {
        #[derive(Deserialize)]
        struct Part<'a> {
            #[serde(borrow)]
            input: Option<&'a RawValue>,
        }
        let parts: Vec<Part<'_>> = serde_json::from_str(self.as_json()).unwrap_or_default();
        let inputs = parts.iter().filter_map(|part| part.input).map(|input| input.get().len());
        self.as_json().len() - inputs.sum::<usize>()
    }
}

fn write_block(json: &mut String, block: &Block, text: &str, is_cut: bool) {
    let mut member = |begin: &str, value: &str| {
        json.push_str(begin);
        json.push_str(value);
    };
    match block {
        Block::Text => member(r#"{"type":"text","text":"#, &written(text)),
        Block::Reasoning => member(r#"{"type":"reasoning","text":"#, &written(text)),
        Block::ToolCall(call) => {
            member(r#"{"type":"tool_call","id":"#, &written(&call.id));
            member(r#","name":"#, &written(&call.name));
            match text {
                cut if is_cut => member(r#","input_text":"#, &written(cut)),
                "" => member(r#","input":"#, "{}"),
                input if fits_all_readers(input) => member(r#","input":"#, &on_one_line(input.trim_ascii())),
                // The tool is to say what is wrong with it, so it gets what there is.
                other => member(r#","input":"#, &written(other)),
            }
        }
        Block::Whole => return json.push_str(text),
        Block::Unknown => member(r#"{"type":"unknown""#, ""),
    }
    json.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(blocks: &[(Block, &str)], is_cut: bool) -> String {
        let blocks = blocks.iter().map(|(block, text)| (block, *text));
        Content::of_blocks(blocks, is_cut).as_json().into()
    }

    #[test]
    fn an_answer_of_one_text_is_kept_as_ever() {
        let text = "a \"word\"\nand ж";
        assert_eq!(kept(&[(Block::Text, text)], false), Content::text(text).as_json());
        assert_eq!(kept(&[(Block::Text, text)], true), Content::text(text).as_json());
    }

    #[test]
    fn blocks_are_kept_in_their_order_and_whole() {
        let file = r#"{"type":"file","media_type":"image/png","url":"https://example.org/a.png","own":1.0}"#;
        let blocks = [
            (Block::Reasoning, "hm\n"),
            (Block::Text, "see"),
            (Block::tool_call("c1", "find"), "{\"n\": 1.50,\n \"m\":[]}"),
            (Block::Whole, file),
            (Block::Text, "done"),
        ];
        let expected = [
            r#"{"type":"reasoning","text":"hm\n"}"#,
            r#"{"type":"text","text":"see"}"#,
            r#"{"type":"tool_call","id":"c1","name":"find","input":{"n": 1.50,  "m":[]}}"#,
            file,
            r#"{"type":"text","text":"done"}"#,
        ];
        assert_eq!(kept(&blocks, false), alloc::format!("[{}]", expected.join(",")));
    }

    #[test]
    fn the_input_of_a_call_does_not_count_where_texts_are_not_known() {
        let bytes = |input: &str| {
            Content::of_blocks([(&Block::Text, "so"), (&Block::tool_call("c", "t"), input)], false)
                .bytes_beside_inputs()
        };
        let text = Content::text("so").as_json().len();
        assert_eq!(bytes("{}"), text + r#",{"type":"tool_call","id":"c","name":"t","input":}"#.len());
        assert_eq!((bytes("{\"n\":1}"), bytes("no JSON")), (bytes("{}"), bytes("{}")));
        assert_eq!(Content::text("so").bytes_beside_inputs(), text);
    }

    #[test]
    fn the_input_of_a_call_is_what_every_reader_takes() {
        let input = |text: &str, is_cut| {
            let json = kept(&[(Block::tool_call("c", "t"), text)], is_cut);
            let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            (value[0].get("input").cloned(), value[0].get("input_text").cloned())
        };
        assert_eq!(input("", false), (Some(serde_json::json!({})), None));
        assert_eq!(input("[1]", false), (Some(serde_json::json!([1])), None));
        for wrong in ["{\"n\": ", "1e999", "\"\\ud800\"", "{} {}", "nothing"] {
            assert_eq!(input(wrong, false), (Some(wrong.into()), None), "{wrong}");
        }
        for cut in ["", "{\"n\"", "{}"] {
            assert_eq!(input(cut, true), (None, Some(cut.into())), "{cut}");
        }
    }
}
