//! The body of a request for a response. What changes what the model says, and cannot be had here, is refused by its name; what asks
//! for what is the case anyway is taken.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::super::Problem;
use super::super::super::request::{parse_object, required};
use super::super::settings::SaidSettings;
use super::super::words::refuse_others;
use super::ids::{ConversationId, ResponseId};
use super::input::Input;

#[derive(Debug, Deserialize)]
struct Body {
    input: Option<Box<RawValue>>,
    conversation: Option<Conversation>,
    previous_response_id: Option<String>,
    stream: Option<bool>,
    background: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Conversation {
    Name(String),
    Object { id: String },
}

/// Behind what the input comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// A chat of its own.
    Nothing,
    Conversation(ConversationId),
    Response(ResponseId),
}

#[derive(Debug)]
pub(super) struct ResponseRequest {
    pub(super) input: Input,
    pub(super) behind: Behind,
    pub(super) streams: bool,
    /// Whether nobody waits for the answer.
    pub(super) is_background: bool,
    pub(super) settings: SaidSettings,
}

impl ResponseRequest {
    pub(super) fn parse(body: &[u8], bytes_max: usize) -> Result<Self, Problem> {
        let Body { input, conversation, previous_response_id, stream, background, mut rest } =
            parse_object(body)?;
        let behind = match (conversation, previous_response_id) {
            (Some(_), Some(_)) => {
                return Err(Problem::malformed("`conversation` or `previous_response_id`, and not both"));
            }
            (Some(Conversation::Name(name) | Conversation::Object { id: name }), None) => {
                let parsed = ConversationId::parse(&name);
                Behind::Conversation(parsed.ok_or_else(|| no_such("conversation", &name))?)
            }
            (None, Some(name)) => {
                Behind::Response(ResponseId::parse(&name).ok_or_else(|| no_such("response", &name))?)
            }
            (None, None) => Behind::Nothing,
        };
        let settings = take_settings(&mut rest, |tool| Some(tool.clone()))?;
        refuse(&rest)?;
        let input = Input::parse(&required(input, "input")?, bytes_max)?;
        let (streams, is_background) = (stream.unwrap_or(false), background.unwrap_or(false));
        Ok(Self { input, behind, streams, is_background, settings })
    }
}

pub(super) fn no_such(what: &str, name: &str) -> Problem {
    Problem { detail: format!("there is no {what} {name:.120?}").into(), ..Problem::no_such_chat() }
}

/// Refuses what is not the case.
pub(super) fn refuse(rest: &Map<String, Value>) -> Result<(), Problem> {
    let others = rest.iter().filter(|(name, value)| !is_so(name, value));
    let others = others.map(|(name, value)| (name.clone(), value.clone())).collect();
    refuse_others(&others, "of a request")
}

/// Whether the member asks for what is done anyway.
fn is_so(name: &str, value: &Value) -> bool {
    let is = |texts: &[&str]| value.as_str().is_some_and(|text| texts.contains(&text));
    let is_number = |number: f64| value.as_f64() == Some(number);
    match name {
        "store" | "parallel_tool_calls" => value.as_bool() == Some(true),
        "tool_choice" => is(&["auto"]),
        "truncation" => is(&["disabled"]),
        "service_tier" => is(&["auto", "default"]),
        "temperature" | "top_p" | "n" => is_number(1.0),
        "presence_penalty" | "frequency_penalty" | "top_logprobs" => is_number(0.0),
        "logprobs" => value.as_bool() == Some(false),
        "modalities" => *value == json!(["text"]),
        "response_format" => *value == json!({"type": "text"}),
        "text" => *value == json!({"format": {"type": "text"}}),
        "stream_options" => value
            .as_object()
            .is_some_and(|options| options.values().all(|value| value.as_bool() == Some(false))),
        // Their members are all optional.
        "reasoning" => value.as_object().is_some_and(|members| members.values().all(Value::is_null)),
        _ => false,
    }
}

/// Takes the members that say how the chat is set up. `function` finds what a tool of type `function` says.
pub(super) fn take_settings(
    rest: &mut Map<String, Value>,
    function: impl Fn(&Value) -> Option<Value>,
) -> Result<SaidSettings, Problem> {
    let (model, instructions) = (rest.remove("model"), rest.remove("instructions"));
    let tools = match rest.remove("tools") {
        Some(Value::Array(tools)) => tools,
        Some(Value::Null) | None => return Ok(SaidSettings::new(model, instructions, None)),
        Some(_) => return Err(Problem::malformed("`tools` is an array")),
    };
    let tools = tools.iter().map(|tool| {
        let kind = tool["type"].as_str().unwrap_or_default();
        let described = function(tool).filter(|_| kind == "function");
        let described = described.ok_or_else(|| {
            Problem::malformed(format!(
                "a tool of type {kind:.80?} is not taken here: tools of type \"function\" are, and those of the server need \
                 no mention"
            ))
        })?;
        self::tool(&described)
    });
    let tools = tools.collect::<Result<Vec<_>, Problem>>()?;
    Ok(SaidSettings::new(model, instructions, Some(tools)))
}

/// A function in the words of our own routes.
fn tool(function: &Value) -> Result<Value, Problem> {
    let name = function["name"].as_str().unwrap_or_default();
    if function["strict"].as_bool() == Some(true) {
        return Err(Problem::malformed(format!(
            "`strict` of the tool {name:.80?} is not taken here: nobody holds a model to the schema. Leave it false, and \
             check what comes"
        )));
    }
    let schema = match &function["parameters"] {
        Value::Null => json!({"type": "object", "properties": {}}),
        schema => schema.clone(),
    };
    Ok(json!({"name": name, "description": function["description"], "input_schema": schema}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(members: Value) -> Result<ResponseRequest, String> {
        let mut body = json!({"input": "hi"});
        for (name, value) in members.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let parsed = ResponseRequest::parse(body.to_string().as_bytes(), 100);
        parsed.map_err(|problem| problem.detail.into_owned())
    }

    #[test]
    fn what_is_the_case_anyway_may_be_asked_for() {
        let request = parsed(json!({
            "model": "m", "store": true, "temperature": 1, "top_p": 1.0, "tool_choice": "auto", "metadata": {},
            "parallel_tool_calls": true, "truncation": "disabled", "reasoning": {"effort": null}, "include": [],
            "text": {"format": {"type": "text"}}, "stream_options": {"include_obfuscation": false}, "user": null,
            "stream": true, "background": true,
        }));
        let request = request.expect("a request");
        assert!(request.streams && request.is_background && request.behind == Behind::Nothing);
        let settings = request.settings.of_new(None).expect("settings");
        assert_eq!(settings.model.as_deref(), Some("m"));
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_its_name() {
        for (members, named) in [
            (json!({"temperature": 0.2}), "`temperature`"),
            (json!({"store": false}), "`store`"),
            (json!({"metadata": {"a": "b"}}), "`metadata`"),
            (json!({"tool_choice": "required"}), "`tool_choice`"),
            (json!({"text": {"format": {"type": "json_schema"}}}), "`text`"),
            (json!({"reasoning": {"effort": "high"}}), "`reasoning`"),
            (json!({"include": ["reasoning.encrypted_content"]}), "`include`"),
            (json!({"max_output_tokens": 9}), "`max_output_tokens`"),
            (json!({"tools": [{"type": "web_search"}]}), "web_search"),
            (json!({"tools": [{"type": "function", "name": "f", "strict": true}]}), "`strict`"),
            (json!({"conversation": "conv_1", "previous_response_id": "resp_1"}), "not both"),
            (json!({"conversation": {"id": "conv_1"}}), "conv_1"),
            (json!({"previous_response_id": "resp_1"}), "resp_1"),
            (json!({"input": null}), "`input`"),
        ] {
            let why = parsed(members.clone()).expect_err("it is refused");
            assert!(why.contains(named), "{members}: {why}");
        }
    }

    #[test]
    fn tools_are_those_of_a_chat() {
        let function =
            json!({"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": null});
        let request = parsed(json!({"tools": [function], "instructions": "be"})).expect("a request");
        let settings = request.settings.of_new(None).expect("settings");
        assert_eq!((settings.tools.len(), &*settings.tools[0].name), (1, "f"));
        assert_eq!(settings.instructions.as_deref(), Some("be"));
        let none = parsed(json!({"tools": []})).expect("a request");
        assert!(none.settings.of_new(None).expect("settings").tools.is_empty());
    }
}
