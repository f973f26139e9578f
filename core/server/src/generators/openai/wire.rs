//! The part of the Chat Completions protocol that is read here: one choice, streamed
//! (<https://platform.openai.com/docs/api-reference/chat-streaming>). A member that cannot be read is passed
//! over, and the rest of its event counts.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use mainstem_machine::Usage;

use super::piece::Piece;
use crate::generators::fault::Fault;
use crate::generators::json::{each, is_there, members, parse, string};
use crate::generators::report::Report;
use crate::limits::model::{ERROR_BYTES_MAX, TOKENS_MAX};
use crate::sse::SseEvent;

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Error,
    Unknown,
}

/// What one event is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Piece(Piece),
    /// The mark that nothing follows.
    Done,
}

/// Whether a line of data is an event by itself, with or without a blank line behind it.
pub(super) fn is_whole(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    let is_json = || serde_json::from_slice::<IgnoredAny>(data).is_ok();
    data == b"[DONE]" || (matches!(data.first(), Some(b'{' | b'[')) && is_json())
}

/// Whether the event that the body ends in came to its own end.
pub(super) fn is_complete(last: &SseEvent) -> bool {
    last.name == b"error" || last.data.trim_ascii().is_empty() || is_whole(&last.data)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TokensUsed {
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// Reads one event.
pub(super) fn read(event: &SseEvent) -> Result<Said, Fault> {
    let data = event.data.trim_ascii();
    let is_error = event.name == b"error";
    match data.first() {
        _ if data == b"[DONE]" => Ok(Said::Done),
        Some(b'{') => {
            let chunk: Chunk<'_> = match serde_json::from_slice(data) {
                Ok(chunk) => chunk,
                Err(_) if is_error => return Err(Fault::told(Report::UNKNOWN)),
                Err(_) => return Err(Fault::Garbage),
            };
            if is_error || chunk.is_error() { Err(told(data)) } else { chunk.piece().map(Said::Piece) }
        }
        Some(b'[') if is_list_of_errors(data) => Err(told(data)),
        _ if is_error => Err(Fault::told(Report::UNKNOWN)),
        // A sign of life.
        None => Ok(Said::Piece(Piece::default())),
        // Events of other names are not of this protocol.
        Some(_) if !event.name.is_empty() && event.name != b"message" => Ok(Said::Piece(Piece::default())),
        Some(_) => Err(Fault::Garbage),
    }
}

/// Whether a body that is no stream tells of an error.
pub(super) fn is_error(said: &Value) -> bool {
    let event = SseEvent { data: said.to_string().into_bytes(), ..SseEvent::default() };
    matches!(read(&event), Err(fault) if fault != Fault::Garbage)
}

fn told(data: &[u8]) -> Fault {
    let said = if data.len() <= ERROR_BYTES_MAX { serde_json::from_slice(data).ok() } else { None };
    Fault::told(Report::of(None, &said.unwrap_or(Value::Null)))
}

fn is_list_of_errors(data: &[u8]) -> bool {
    let mut is_error = false;
    let list = serde_json::from_slice::<&RawValue>(data);
    let _ = list.map(|list| {
        each(list, |item| is_error |= parse::<Chunk<'_>>(item).is_some_and(|chunk| chunk.is_error()));
    });
    is_error
}

impl<'a> Chunk<'a> {
    /// An error has many outer forms. The last chunk of some providers has no choice either: it tells the
    /// tokens used.
    fn is_error(&self) -> bool {
        let says_error = |member: Option<&RawValue>| string(member).is_some_and(|word| word == "error");
        is_there(self.error)
            || says_error(self.object)
            || says_error(self.r#type)
            || self.choices.is_none() && [self.code, self.message, self.detail].into_iter().any(is_there)
    }

    fn piece(&self) -> Result<Piece, Fault> {
        let mut first = None;
        if let Some(choices) = self.choices {
            each(choices, |choice| first = first.or(Some(choice)));
        }
        let choice: Choice<'a> = members(first)?.unwrap_or_default();
        let mut piece = Piece {
            reason: string(choice.finish_reason).and_then(|word| Reason::of(&word)),
            usage: self.usage.and_then(parse).map(|told: TokensUsed| Usage {
                input_tokens: told.prompt_tokens.min(TOKENS_MAX),
                output_tokens: told.completion_tokens.min(TOKENS_MAX),
            }),
            ..Piece::default()
        };
        piece.add_delta(choice.delta)?;
        Ok(piece)
    }
}

impl Reason {
    /// An empty word is none.
    fn of(word: &str) -> Option<Self> {
        match word {
            "" => None,
            "stop" => Some(Self::Stop),
            "length" => Some(Self::Length),
            "tool_calls" | "function_call" => Some(Self::ToolCalls),
            "content_filter" => Some(Self::ContentFilter),
            "error" => Some(Self::Error),
            _ => Some(Self::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generators::openai::blocks::Bit;
    use crate::generators::openai::call::CallBit;

    fn read_data(data: &str) -> Result<Said, Fault> {
        read(&SseEvent { data: data.into(), ..SseEvent::default() })
    }

    fn piece(delta: &str, reason: &str) -> Piece {
        let data = format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":{reason}}}]}}"#);
        match read_data(&data) {
            Ok(Said::Piece(piece)) => piece,
            other => panic!("{data}: {other:?}"),
        }
    }

    /// Texts, and thoughts in brackets.
    fn said(piece: &Piece) -> String {
        let told = piece.bits.iter().map(|bit| match bit {
            Bit::Text(text) => text.clone(),
            Bit::Reasoning(text) => format!("({text})"),
            Bit::Call(call) => format!("{call:?}"),
        });
        told.collect()
    }

    #[test]
    fn content_is_a_string_or_a_list_of_parts() {
        for (content, wanted) in [
            (r#""x""#, "x"),
            (r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "ab"),
            (
                r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"b"}]"#,
                "(hm)b",
            ),
            (r#"[{"type":"thinking","thinking":"a"},{"type":"reasoning","text":"b"}]"#, "(a)(b)"),
            (r#"[{"type":"refusal","refusal":"no"}]"#, "no"),
            (r#"["a",{"text":"b"},7,null,{"type":"image_url"}]"#, "ab"),
            (r#"{"type":"text","text":"a"}"#, "a"),
            (r#""a\ud83d""#, "a\u{fffd}\u{fffd}\u{fffd}"),
            ("null", ""),
            ("7", ""),
        ] {
            assert_eq!(said(&piece(&format!(r#"{{"content":{content}}}"#), "null")), wanted, "{content}");
        }
        let both = r#"{"content":"b","reasoning":"a","reasoning_content":"a","refusal":"c"}"#;
        assert_eq!(said(&piece(both, "null")), "(a)bc");
        assert!(!piece(r#"{"reasoning":"","reasoning_content":null}"#, "null").says());
    }

    #[test]
    fn a_call_says_what_it_says() {
        let call = |index, id: &str, name: &str, arguments: &str| {
            let [id, name, arguments] = [id, name, arguments].map(str::to_owned);
            Bit::Call(CallBit { index, id, name, arguments, extra: String::new() })
        };
        let extra = |extra: &str| {
            let [id, extra] = ["1", extra].map(str::to_owned);
            Bit::Call(CallBit { id, extra, ..CallBit::default() })
        };
        for (delta, wanted) in [
            (r#"{"tool_calls":[{"id":"1"}]}"#, vec![call(None, "1", "", "")]),
            (
                r#"{"tool_calls":[{"index":2,"id":null,"function":{"name":"f","arguments":{"a":1.0}}},7]}"#,
                vec![call(Some(2), "", "f", r#"{"a":1.0}"#)],
            ),
            (r#"{"tool_calls":[{"id":"1","extra_content":{"a": "x"}}]}"#, vec![extra(r#"{"a": "x"}"#)]),
            (r#"{"tool_calls":[{"id":"1","extra_content":"x"}]}"#, vec![extra("")]),
            (r#"{"tool_calls":[{"index":1,"extra_content":{}}]}"#, vec![]),
            (r#"{"function_call":{"name":"f","arguments":"{"}}"#, vec![call(None, "", "f", "{")]),
            (r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}],"function_call":null}"#, vec![]),
        ] {
            assert_eq!(piece(delta, "null").bits, wanted, "{delta}");
        }
    }

    #[test]
    fn a_member_that_cannot_be_read_is_passed_over() {
        let bits = vec![Bit::Text("x".into())];
        let wanted = Piece { bits, reason: Some(Reason::Stop), ..Piece::default() };
        assert_eq!(piece(r#"{"content":"x","refusal":7,"tool_calls":null,"role":[]}"#, r#""stop""#), wanted);
        assert_eq!(piece(r#"{"content":"x"}"#, "7").reason, None);
        for chunk in [r#"{"choices":7}"#, r#"{"choices":[7]}"#, r#"{"choices":[{"delta":"x"}]}"#, "{}"] {
            assert_eq!(read_data(chunk), Ok(Said::Piece(Piece::default())), "{chunk}");
        }
    }

    #[test]
    fn a_reason_is_one_of_the_known_words_and_an_empty_one_is_none() {
        for (word, reason) in [
            ("null", None),
            (r#""""#, None),
            (r#""stop""#, Some(Reason::Stop)),
            (r#""length""#, Some(Reason::Length)),
            (r#""tool_calls""#, Some(Reason::ToolCalls)),
            (r#""function_call""#, Some(Reason::ToolCalls)),
            (r#""content_filter""#, Some(Reason::ContentFilter)),
            (r#""abort""#, Some(Reason::Unknown)),
            (r#""STOP""#, Some(Reason::Unknown)),
        ] {
            assert_eq!(piece("{}", word).reason, reason, "{word}");
        }
    }

    #[test]
    fn usage_is_read_whole_or_not_at_all() {
        for (usage, wanted) in [
            (r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}"#, Some((3, 5))),
            (r#"{"prompt_tokens":3}"#, None),
            (r#"{"prompt_tokens":-1,"completion_tokens":5}"#, None),
            (r#"{"prompt_tokens":18446744073709551615,"completion_tokens":0}"#, Some((TOKENS_MAX, 0))),
            ("null", None),
            ("[1,2]", None),
        ] {
            let Ok(Said::Piece(piece)) = read_data(&format!(r#"{{"choices":[],"usage":{usage}}}"#)) else {
                panic!("{usage}");
            };
            assert_eq!(piece.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), wanted, "{usage}");
        }
    }

    #[test]
    fn an_error_has_many_outer_forms() {
        for (data, code) in [
            (r#"{"error":{"code":429}}"#, "provider_rate_limited"),
            (r#"{"error":"x","choices":[]}"#, "provider_unavailable"),
            (r#"{"object":"error","code":500,"message":"x"}"#, "provider_unavailable"),
            (r#"{"code":401,"message":"x"}"#, "provider_unauthorized"),
            (r#"{"type":"error","error":{"type":"overloaded_error"}}"#, "provider_unavailable"),
            (r#"{"detail":"x"}"#, "provider_unavailable"),
            (r#"[{"error":{"code":429}}]"#, "provider_rate_limited"),
            (r#"{"error":{"code":"content_filter"}}"#, "content_filtered"),
        ] {
            assert_eq!(read_data(data).map_err(|fault| fault.code()), Err(code), "{data}");
        }
        let named = |data: &str| read(&SseEvent { name: "error".into(), data: data.into(), id: vec![] });
        for data in ["upstream is away", r#"{"choices":[]}"#, "{"] {
            assert_eq!(named(data), Err(Fault::told(Report::UNKNOWN)), "{data}");
        }
        let no_error = r#"{"error":null,"choices":[],"code":7,"usage":{"total_tokens":3}}"#;
        assert_eq!(read_data(no_error), Ok(Said::Piece(Piece::default())));
    }

    #[test]
    fn a_line_is_whole_if_it_is_json_or_the_mark() {
        for (line, whole) in [
            ("[DONE]", true),
            (" [DONE] ", true),
            ("{}", true),
            ("{\"a\":", false),
            ("x", false),
            ("7", false),
        ] {
            assert_eq!(is_whole(line.as_bytes()), whole, "{line}");
        }
    }
}
