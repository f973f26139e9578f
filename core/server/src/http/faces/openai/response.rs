//! A response as an object: what it was asked with, how it stands, and the items that are in the history.

use std::sync::Arc;

use mainstem_machine::{
    ChatState, FinishReason, Message, MessageId, Rejection, Role, Turn, TurnStatus, Usage, WallTime,
};
use mainstem_runtime::ports::Env;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::super::super::{App, Problem, Requester};
use super::super::turn::From;
use super::ids::{ConversationId, ResponseId};
use super::item::{ClientTools, Rendering, said};
use super::part::calls_of;
use crate::limits::edge::{PAGE_MAX, RESPONSE_BYTES_MAX};

/// What is the same of a response through all its life.
#[derive(Debug)]
pub(super) struct Frame {
    id: ResponseId,
    created_at: i64,
    model: String,
    instructions: Option<String>,
    tools: Vec<Value>,
}

/// How it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) status: &'static str,
    pub(super) output: Vec<Value>,
    usage: Option<Usage>,
    /// What went wrong.
    pub(super) error: Option<String>,
    /// Why there is less than there would be.
    incomplete: Option<&'static str>,
    completed_at: Option<i64>,
    /// The response whose calls were carried out.
    previous: Option<ResponseId>,
}

impl Standing {
    pub(super) fn of(status: &'static str) -> Self {
        Self { status, ..Self::default() }
    }

    /// The event that tells it, if it has ended.
    pub(super) fn end(&self) -> Option<&'static str> {
        match self.status {
            "completed" => Some("response.completed"),
            "incomplete" | "cancelled" => Some("response.incomplete"),
            "failed" => Some("response.failed"),
            _ => None,
        }
    }
}

impl Frame {
    /// That of a response that is told from there, and who carries out its calls.
    pub(super) async fn read<E: Env>(
        app: &App<E>,
        by: &Requester,
        id: ResponseId,
        from: &From,
    ) -> Result<(Self, ClientTools), Problem> {
        let state = app.node.chat(by, id.chat).await?;
        let tools = ClientTools::of(&state);
        let queued = state.queue.iter().find(|queued| queued.id == id.turn && id.is_first());
        let created_at = match queued {
            Some(queued) => queued.created_at,
            None => {
                let before = MessageId(from.after.0.saturating_sub(1));
                let page = app.node.messages(by, id.chat, before, 1).await?;
                let asks = |message: &Message| calls_of(message).iter().any(|(_, name)| tools.has(name));
                let is_it = |message: &&Arc<Message>| {
                    let is_of_turn = message.id == from.after && message.turn == Some(id.turn);
                    is_of_turn && (id.is_first() || asks(message))
                };
                let first = page.messages.first().filter(is_it);
                first.ok_or(Problem::from(Rejection::NoSuchTurn))?.created_at
            }
        };
        let frame = Self::new(id, seconds(created_at), &state, &app.default_model);
        Ok((frame, tools))
    }

    fn new(id: ResponseId, created_at: i64, state: &ChatState, default_model: &str) -> Self {
        let tools = state.tools.iter().map(|tool| {
            let schema: Value = serde_json::from_str(&tool.input_schema).unwrap_or_default();
            json!({
                "type": "function", "name": tool.name, "description": tool.description, "parameters": schema,
                "strict": false,
            })
        });
        Self {
            id,
            created_at,
            model: state.model.as_deref().unwrap_or(default_model).to_owned(),
            instructions: state.instructions.as_deref().map(str::to_owned),
            tools: tools.collect(),
        }
    }

    pub(super) fn object(&self, standing: &Standing) -> Box<RawValue> {
        let Standing { status, output, usage, error, incomplete, completed_at, previous } = standing;
        let usage = usage.map(|Usage { input_tokens, output_tokens }| {
            json!({
                "input_tokens": input_tokens, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": input_tokens.saturating_add(output_tokens),
            })
        });
        let error = error.as_ref().map(|message| json!({"code": "server_error", "message": message}));
        let incomplete = incomplete.map(|reason| json!({"reason": reason}));
        let object = json!({
            "id": self.id.to_string(), "object": "response", "created_at": self.created_at,
            "completed_at": completed_at, "error": error, "incomplete_details": incomplete,
            "model": self.model, "instructions": self.instructions, "output": output, "usage": usage,
            "conversation": {"id": ConversationId(self.id.chat).to_string()},
            "previous_response_id": previous.map(|id| id.to_string()),
            "tools": self.tools, "tool_choice": "auto", "parallel_tool_calls": true, "max_tool_calls": null,
            "background": null, "store": true, "metadata": {}, "truncation": "disabled",
            "text": {"format": {"type": "text"}}, "reasoning": {"effort": null, "summary": null},
            "temperature": null, "top_p": null, "top_logprobs": 0, "max_output_tokens": null,
            "presence_penalty": 0, "frequency_penalty": 0, "service_tier": "default", "safety_identifier": null,
            "prompt_cache_key": null, "status": status,
        });
        to_raw_value(&object).expect("JSON is written")
    }
}

/// Since 1970.
pub(super) fn seconds(at: WallTime) -> i64 {
    at.0.div_euclid(1000)
}

/// The messages of a response: the one that it answers, then all that answers it.
#[derive(Debug)]
struct Messages {
    asked: Arc<Message>,
    answers: Vec<Arc<Message>>,
    /// What came of calls that were the last of it.
    results: Option<Arc<Message>>,
    /// Whether it ends with calls that the client carries out.
    asks: bool,
    previous: Option<ResponseId>,
}

/// Reads a response as it stands, with the items up to a message.
pub(super) async fn read<E: Env>(
    app: &App<E>,
    by: &Requester,
    id: ResponseId,
    up_to: Option<MessageId>,
) -> Result<(Frame, Standing), Problem> {
    let state = app.node.chat(by, id.chat).await?;
    let tools = ClientTools::of(&state);
    if let Some(queued) = state.queue.iter().find(|queued| queued.id == id.turn && id.is_first()) {
        let frame = Frame::new(id, seconds(queued.created_at), &state, &app.default_model);
        return Ok((frame, Standing::of("queued")));
    }
    let (turn, _) = app.node.turn(by, id.chat, id.turn).await?;
    let messages = messages(app, by, id, &turn, &tools).await?;
    let frame = Frame::new(id, seconds(messages.asked.created_at), &state, &app.default_model);
    let mut rendering = Rendering::new(id.chat, tools);
    let mut output = vec![];
    let told = messages.answers.iter().chain(&messages.results);
    for message in told.filter(|message| up_to.is_none_or(|up_to| message.id <= up_to)) {
        output.extend(rendering.add(message));
    }
    output.extend(rendering.end());
    output.retain(|item| item["type"] != "function_call_output");
    let standing = Standing { output, previous: messages.previous, ..how(&messages, &turn) };
    Ok((frame, standing))
}

/// How the response stands, without its items.
fn how(messages: &Messages, turn: &Turn) -> Standing {
    let usages = messages.answers.iter().filter_map(|message| message.usage);
    let usage = usages.reduce(|sum, usage| Usage {
        input_tokens: sum.input_tokens.saturating_add(usage.input_tokens),
        output_tokens: sum.output_tokens.saturating_add(usage.output_tokens),
    });
    let at = messages.answers.last().map(|message| seconds(message.created_at));
    let (status, incomplete) = match (turn.status, turn.finish_reason) {
        _ if messages.asks => ("completed", None),
        (TurnStatus::Queued, _) => ("queued", None),
        (TurnStatus::Running, _) => ("in_progress", None),
        (TurnStatus::Interrupted, _) => ("cancelled", None),
        (TurnStatus::Failed, _) => ("failed", None),
        (TurnStatus::Completed, Some(FinishReason::Length)) => ("incomplete", Some("max_output_tokens")),
        (TurnStatus::Completed, Some(FinishReason::ContentFilter)) => ("incomplete", Some("content_filter")),
        (TurnStatus::Completed | TurnStatus::RequiresAction, _) => ("completed", None),
    };
    let error = turn.error.as_ref().map(|error| error.message.to_string());
    Standing {
        status,
        usage,
        error: error.filter(|_| status == "failed"),
        incomplete,
        completed_at: at.filter(|_| status == "completed"),
        ..Standing::default()
    }
}

async fn messages<E: Env>(
    app: &App<E>,
    by: &Requester,
    id: ResponseId,
    turn: &Turn,
    tools: &ClientTools,
) -> Result<Messages, Problem> {
    let unknown = || Problem::from(Rejection::NoSuchTurn);
    let mut bytes = 0;
    let mut found: Option<Messages> = None;
    let mut previous = ResponseId { behind: None, ..id };
    let mut after = MessageId(turn.message.0.saturating_sub(1));
    'pages: loop {
        let page = app.node.messages(by, id.chat, after, PAGE_MAX).await?;
        for message in page.messages {
            after = message.id;
            if message.id > turn.last {
                break 'pages;
            }
            let asks = calls_of(&message).iter().any(|(_, name)| tools.has(name));
            let Some(found) = &mut found else {
                let is_first = message.id == turn.message;
                match id.behind {
                    None if is_first => {}
                    Some(behind) if message.id == behind && asks => {}
                    Some(_) => {
                        if asks {
                            previous.behind = Some(message.id);
                        }
                        continue;
                    }
                    None => return Err(unknown()),
                }
                let previous = (!id.is_first()).then_some(previous);
                found =
                    Some(Messages { asked: message, answers: vec![], results: None, asks: false, previous });
                continue;
            };
            bytes += message.content.as_json().len();
            if bytes > RESPONSE_BYTES_MAX {
                return Err(Problem::too_large("the items of a response", RESPONSE_BYTES_MAX));
            }
            if found.asks {
                found.results = Some(message).filter(|message| message.role == Role::Tool);
                break 'pages;
            }
            // The client brought these, or has them in the response before.
            let is_brought = found.answers.is_empty() && message.role == Role::Tool;
            if !is_brought {
                found.asks = asks;
                found.answers.push(message);
            }
        }
        if !page.more {
            break;
        }
    }
    found.ok_or_else(unknown)
}

/// Whether nothing of its turn follows the response: its calls, if it ends with some, wait.
pub(super) async fn is_last<E: Env>(app: &App<E>, by: &Requester, id: ResponseId) -> Result<bool, Problem> {
    let state = app.node.chat(by, id.chat).await?;
    let (turn, _) = app.node.turn(by, id.chat, id.turn).await?;
    let messages = messages(app, by, id, &turn, &ClientTools::of(&state)).await?;
    Ok(messages.results.is_none())
}

/// What a response was asked with: the user's message, or what the client brought of calls.
pub(super) async fn asked_with<E: Env>(
    app: &App<E>,
    by: &Requester,
    id: ResponseId,
) -> Result<Vec<Value>, Problem> {
    let ResponseId { chat, turn, behind } = id;
    let state = app.node.chat(by, chat).await?;
    if let Some(queued) = state.queue.iter().find(|queued| queued.id == turn && id.is_first()) {
        return Ok(vec![said(chat, turn, Role::User, &queued.content)]);
    }
    let (found, ids) = app.node.turn(by, chat, turn).await?;
    let first = behind.unwrap_or(found.message);
    if !ids.contains(&first) {
        return Err(Rejection::NoSuchTurn.into());
    }
    let page = app.node.messages(by, chat, MessageId(first.0.saturating_sub(1)), 2).await?;
    let tools = ClientTools::of(&state);
    let mut rendering = Rendering::new(chat, tools.clone());
    let mut items: Vec<Value> = page.messages.iter().flat_map(|message| rendering.add(message)).collect();
    items.extend(rendering.end());
    let kind = if id.is_first() { "message" } else { "function_call_output" };
    items.retain(|item| item["type"] == kind && item["role"] != "assistant");
    Ok(items)
}
