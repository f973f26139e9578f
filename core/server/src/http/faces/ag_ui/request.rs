//! The body of a run, as the clients send it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::super::Problem;
use super::super::super::request::parse_object;
use super::super::settings::SaidSettings;
use super::super::words::refuse_others;
use super::ids::given;
use super::message::AgentMessage;
use super::part::kept_text;
use super::told::Run;
use mainstem_machine::CallResult;

/// What came of a call that its client did not carry out.
const CANCELLED: &str = "The user cancelled this call.";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    thread_id: Option<String>,
    run_id: Option<String>,
    parent_run_id: Option<String>,
    protocol_version: Option<String>,
    messages: Option<Vec<AgentMessage>>,
    state: Option<Value>,
    tools: Option<Vec<ToolBody>>,
    forwarded_props: Option<Props>,
    /// TanStack's client has them here, too.
    #[serde(rename = "data")]
    _data: Option<serde::de::IgnoredAny>,
    resume: Option<Vec<Resumed>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Props {
    model: Option<String>,
    system: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct ToolBody {
    name: String,
    description: Option<String>,
    parameters: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resumed {
    interrupt_id: String,
    status: String,
    payload: Option<Value>,
}

#[derive(Debug)]
pub(super) struct RunRequest {
    pub(super) run: Run,
    pub(super) messages: Vec<AgentMessage>,
    pub(super) settings: SaidSettings,
    resume: Vec<Resumed>,
}

impl RunRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let body: Body = parse_object(body)?;
        let thread = given(body.thread_id, "threadId")?;
        let id = given(body.run_id, "runId")?;
        let parent = body.parent_run_id.map(|parent| given(Some(parent), "parentRunId")).transpose()?;
        let is_one = match body.protocol_version.as_deref() {
            None => false,
            Some(version) if version.starts_with("1.") => true,
            Some(other) => {
                return Err(Problem::malformed(format!(
                    "the `protocolVersion` {other:.80?} is not spoken here"
                )));
            }
        };
        refuse_others(&body.rest, "of a run")?;
        refuse_state(body.state)?;
        let props = body.forwarded_props.unwrap_or_default();
        refuse_others(&props.rest, "of `forwardedProps`")?;
        let messages = body.messages.unwrap_or_default();
        let results = messages.iter().filter_map(AgentMessage::answers).map(str::to_owned);
        let brought = results.collect();
        let tools = body.tools.map(tools).transpose()?;
        let settings = SaidSettings::new(props.model, props.system, tools);
        let run = Run { thread, id, parent, is_one, resumes: false, brought };
        Ok(Self { run, messages, settings, resume: body.resume.unwrap_or_default() })
    }

    /// The names of all messages that the client has.
    pub(super) fn has(&self) -> Vec<String> {
        self.messages.iter().map(|message| message.id.clone()).collect()
    }

    /// The names of the thoughts among them.
    pub(super) fn thoughts(&self) -> Vec<String> {
        let thoughts = self.messages.iter().filter(|message| message.role == "reasoning");
        thoughts.map(|message| message.id.clone()).collect()
    }

    /// The last messages, if they are a user's.
    pub(super) fn asked(&self) -> &[AgentMessage] {
        let from = self.messages.iter().rposition(|message| !message.is_user()).map_or(0, |at| at + 1);
        &self.messages[from..]
    }

    /// What the client brings of this call.
    pub(super) fn result_of(&self, call: &str, bytes_max: usize) -> Result<Option<CallResult>, Problem> {
        if let Some(resumed) = self.resume.iter().find(|resumed| resumed.interrupt_id == call) {
            return resumed.result(bytes_max).map(Some);
        }
        let message = self.messages.iter().rev().find(|message| message.answers() == Some(call));
        message.map(|message| message.result(bytes_max)).transpose()
    }
}

/// The state is the server's here: what it told comes back, and nothing else is taken.
fn refuse_state(state: Option<Value>) -> Result<(), Problem> {
    match state {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(mut state)) => {
            state.remove("mainstem");
            refuse_others(&state, "of `state`")
        }
        Some(_) => Err(Problem::malformed("a `state` that is no object is not taken here")),
    }
}

/// In the words of our own routes.
fn tools(tools: Vec<ToolBody>) -> Result<Vec<Value>, Problem> {
    let tools = tools.into_iter().map(|tool| {
        let ToolBody { name, description, parameters, rest } = tool;
        refuse_others(&rest, &format!("of the tool {name:.80?}"))?;
        let schema = match parameters {
            None | Some(Value::Null) => json!({"type": "object"}),
            Some(schema) => schema,
        };
        let description = description.unwrap_or_default();
        Ok(json!({"name": name, "description": description, "input_schema": schema}))
    });
    tools.collect()
}

impl Resumed {
    fn result(&self, bytes_max: usize) -> Result<CallResult, Problem> {
        match &*self.status {
            "resolved" => {
                let text = match &self.payload {
                    Some(Value::String(text)) => text.clone(),
                    Some(payload) => payload.to_string(),
                    None => "null".to_owned(),
                };
                Ok(CallResult { content: kept_text(&text, bytes_max)?, is_error: false })
            }
            "cancelled" => Ok(CallResult::error(CANCELLED)),
            other => {
                Err(Problem::malformed(format!("a `status` {other:.80?} in `resume` is not taken here")))
            }
        }
    }
}

/// What a page says that wants its chat to stop.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopBody {
    pub(super) thread_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(with: Value) -> Result<RunRequest, String> {
        let mut body = json!({
            "threadId": "t", "runId": "r", "state": {}, "tools": [], "context": [], "forwardedProps": {},
            "messages": [{"id": "u1", "role": "user", "content": "x"}],
        });
        body.as_object_mut().expect("it is one").extend(with.as_object().expect("members").clone());
        RunRequest::parse(body.to_string().as_bytes()).map_err(|problem| problem.detail.into_owned())
    }

    #[test]
    fn what_means_something_to_its_sender_alone_is_refused_by_its_name() {
        let told = parsed(json!({"state": {"mainstem": {"status": "running"}}, "data": {"model": "m"}}));
        assert_eq!(told.map(|request| request.run.is_one), Ok(false));
        let one = parsed(json!({"protocolVersion": "1.0", "parentRunId": "p"})).expect("a request");
        assert_eq!((one.run.is_one, one.run.parent.as_deref()), (true, Some("p")));
        for (with, named) in [
            (json!({"threadId": null}), "`threadId`"),
            (json!({"runId": ""}), "`runId`"),
            (json!({"protocolVersion": "2.0"}), "2.0"),
            (json!({"context": [{"description": "d", "value": "v"}]}), "`context`"),
            (json!({"forwardedProps": {"temperature": 1}}), "`temperature`"),
            (json!({"state": {"mine": 1}}), "`mine`"),
            (json!({"state": [1]}), "state"),
            (json!({"tools": [{"name": "w", "metadata": {"a": 1}}]}), "`metadata`"),
        ] {
            let why = parsed(with).expect_err(named);
            assert!(why.contains(named), "{why}");
        }
    }

    #[test]
    fn tools_and_results_are_those_of_a_chat() {
        let tools = json!([{"name": "w", "description": "d", "parameters": {"type": "object", "x": 1}}, {"name": "v"}]);
        let props = json!({"model": "m", "system": "be"});
        let request = parsed(json!({"tools": tools, "forwardedProps": props})).expect("a request");
        let settings = request.settings.of_new(Some("t")).expect("settings");
        assert_eq!((settings.external_id.as_deref(), settings.model.as_deref()), (Some("t"), Some("m")));
        assert_eq!((settings.instructions.as_deref(), settings.tools.len()), (Some("be"), 2));
        let messages = json!([
            {"id": "u1", "role": "user", "content": "x"},
            {"id": "t1", "role": "tool", "toolCallId": "a", "content": "1"},
        ]);
        let resume = json!([
            {"interruptId": "b", "status": "resolved", "payload": {"n": 1}},
            {"interruptId": "c", "status": "cancelled"},
        ]);
        let request = parsed(json!({"messages": messages, "resume": resume})).expect("a request");
        let of = |call| {
            request.result_of(call, 9).expect("it is fine").map(|result| (result.content, result.is_error))
        };
        assert_eq!(of("a"), Some((r#""1""#.into(), false)));
        assert_eq!(of("b"), Some((r#""{\"n\":1}""#.into(), false)));
        assert!(of("c").is_some_and(|(_, is_error)| is_error) && of("d").is_none());
        assert!(request.asked().is_empty() && request.run.brought.contains("a"));
    }
}
