//! What an agent is asked: the conversation as AG-UI's `RunAgentInput` (<https://docs.ag-ui.com/spec/1.0>). What an
//! answer of ours holds in one message are many of AG-UI's: texts with their calls, and each result. Their ids follow
//! from ours, so that an agent that remembers knows them again. Not sent are thoughts, which agents of earlier releases
//! refuse, and what agents tell viewers.

use std::collections::{BTreeSet, HashMap};

use mainstem_machine::{Message, Role};
use mainstem_runtime::ports::{Conversation, Tool};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::content::{File, Part, parts};
use crate::generators::calls::UNKNOWN_RESULT;

const PROTOCOL_VERSION: &str = "1.0";

/// The body that asks an agent to go on with a conversation.
pub(super) fn request(conversation: &Conversation) -> Vec<u8> {
    let tools: Vec<Value> = conversation.tools.iter().map(tool).collect();
    let input = json!({
        "threadId": conversation.chat.to_string(),
        "runId": run_id(conversation),
        "protocolVersion": PROTOCOL_VERSION,
        "state": {},
        "messages": messages(conversation),
        "tools": tools,
        "context": [],
        "forwardedProps": {},
    });
    serde_json::to_vec(&input).expect("strings are written as JSON")
}

/// A tool that is carried out elsewhere.
fn tool(Tool { name, description, input_schema }: &Tool) -> Value {
    let parameters: Value = serde_json::from_str(input_schema).unwrap_or_else(|_| json!({}));
    json!({ "name": name, "description": description, "parameters": parameters })
}

/// The run's id: a UUID, for some agents take nothing else, and another for each attempt.
fn run_id(conversation: &Conversation) -> Uuid {
    let digest = Sha256::new()
        .chain_update(conversation.chat.0.as_bytes())
        .chain_update(conversation.episode.history_version.0.to_be_bytes())
        .chain_update(conversation.episode.attempt.to_be_bytes())
        .finalize();
    uuid::Builder::from_custom_bytes(std::array::from_fn(|at| digest[at])).into_uuid()
}

fn messages(conversation: &Conversation) -> Vec<Value> {
    let mut messages = vec![];
    if let Some(instructions) = &conversation.instructions {
        messages.push(json!({ "id": "instructions", "role": "system", "content": &**instructions }));
    }
    let read = conversation.history.messages.iter().map(|message| (message, parts(&message.content)));
    let mut read = read.peekable();
    let mut names = Names { known: &conversation.history.call_ids, sent: BTreeSet::new() };
    while let Some((message, parts)) = read.next() {
        match message.role {
            Role::System => messages.extend(system(message, parts)),
            Role::User => messages.extend(user(message, parts)),
            Role::Assistant => {
                let behind = read.peek().filter(|(behind, _)| behind.role == Role::Tool);
                let results = results(&parts, behind.map_or(&[], |(_, parts)| parts));
                answer(message, parts, &results, &mut names, &mut messages);
            }
            // They stand behind their calls.
            Role::Tool => {}
        }
    }
    messages
}

/// What came of a call.
struct Returned {
    text: String,
    is_error: bool,
    /// The agent waited for it: it came when the agent had said all else.
    is_ours: bool,
}

/// The results of one answer's calls: those in it, and those in the message of a tool right behind it. Another answer may
/// have calls of the same names.
fn results(own: &[Part], behind: &[Part]) -> HashMap<String, Returned> {
    let mut results = HashMap::new();
    for (parts, is_ours) in [(behind, true), (own, false)] {
        for part in parts {
            if let Part::Result { call, text, is_error } = part {
                let (text, is_error) = (text.clone(), *is_error);
                results.insert(call.clone(), Returned { text, is_error, is_ours });
            }
        }
    }
    results
}

/// The names of calls as the agent is told them: agents know a call by its name alone.
struct Names<'a> {
    /// Those of the history.
    known: &'a BTreeSet<String>,
    sent: BTreeSet<String>,
}

impl Names<'_> {
    /// The call's own name, unless one before it has that. Whatever name it gets instead follows from the history before
    /// it, so it is the same in all requests.
    fn of(&mut self, call: &str, message: &Message) -> String {
        let mut name = call.to_owned();
        for more in 1_usize.. {
            let is_free = name == call || !self.known.contains(&name);
            if is_free && self.sent.insert(name.clone()) {
                break;
            }
            name = format!("{call}-{}-{more}", message.id);
        }
        name
    }
}

fn system(message: &Message, parts: Vec<Part>) -> Option<Value> {
    let texts =
        parts.into_iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
    let text: String = texts.collect();
    let has_text = !text.trim().is_empty();
    has_text.then(|| json!({ "id": message.id.to_string(), "role": "system", "content": text }))
}

fn user(message: &Message, parts: Vec<Part>) -> Option<Value> {
    let has_files = parts.iter().any(|part| matches!(part, Part::File(_)));
    let said: Vec<Value> = parts.into_iter().filter_map(input).collect();
    if said.is_empty() {
        return None;
    }
    let content = match has_files {
        true => Value::from(said),
        false => said.iter().filter_map(|part| part["text"].as_str()).collect::<String>().into(),
    };
    Some(json!({ "id": message.id.to_string(), "role": "user", "content": content }))
}

fn input(part: Part) -> Option<Value> {
    let text = |text: String| json!({ "type": "text", "text": text });
    match part {
        Part::Text(said) => Some(said).filter(|said| !said.is_empty()).map(text),
        Part::Data { name: Some(name), json } => Some(text(format!("\n{name}: {json}\n"))),
        Part::Data { name: None, json } => Some(text(format!("\n{json}\n"))),
        Part::File(file) => Some(media(&file).unwrap_or_else(|| text(format!("\n{}\n", file.note())))),
        Part::Reasoning(_) | Part::Call { .. } | Part::Result { .. } => None,
    }
}

/// A file as AG-UI has it, if it has any content.
fn media(file: &File) -> Option<Value> {
    let kind = match file.media_type.split_once('/') {
        Some((kind @ ("image" | "audio" | "video"), _)) => kind,
        _ => "document",
    };
    let source = match (&file.url, &file.data) {
        (Some(url), _) => json!({ "type": "url", "value": url, "mimeType": file.media_type }),
        (None, Some(data)) => json!({ "type": "data", "value": data, "mimeType": file.media_type }),
        (None, None) => return None,
    };
    let mut part = json!({ "type": kind, "source": source });
    if let Some(name) = &file.name {
        part["metadata"] = json!({ "filename": name });
    }
    Some(part)
}

/// A message of AG-UI in the making.
#[derive(Default)]
struct Said<'a> {
    text: String,
    calls: Vec<Asked<'a>>,
}

struct Asked<'a> {
    /// As the agent is told it.
    id: String,
    name: String,
    input: String,
    /// If it is known.
    returned: Option<&'a Returned>,
}

fn answer(
    message: &Message,
    parts: Vec<Part>,
    results: &HashMap<String, Returned>,
    names: &mut Names<'_>,
    messages: &mut Vec<Value>,
) {
    let mut number = 0;
    let mut id = move || {
        number += 1;
        if number == 1 { message.id.to_string() } else { format!("{}-{number}", message.id) }
    };
    let mut flush = |said: &mut Said<'_>, messages: &mut Vec<Value>| {
        let Said { text, calls } = std::mem::take(said);
        let text = Some(text).filter(|text| !text.trim().is_empty());
        if text.is_none() && calls.is_empty() {
            return;
        }
        let mut assistant = json!({ "id": id(), "role": "assistant" });
        if let Some(text) = text {
            assistant["content"] = text.into();
        }
        if !calls.is_empty() {
            let form = |Asked { id, name, input, .. }: &Asked<'_>| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": input } });
            assistant["toolCalls"] = calls.iter().map(form).collect();
        }
        messages.push(assistant);
        for Asked { id: call, returned, .. } in calls {
            let text = returned.map_or(UNKNOWN_RESULT, |returned| &returned.text);
            let mut tool = json!({ "id": id(), "role": "tool", "toolCallId": call, "content": text });
            if returned.is_none_or(|returned| returned.is_error) {
                tool["error"] = text.into();
            }
            messages.push(tool);
        }
    };
    let mut said = Said::default();
    let mut is_answered = false;
    // Their results are to come last, for the agent goes on from them.
    let mut waiting = vec![];
    for part in parts {
        match part {
            Part::Text(text) => {
                flush(&mut said, messages);
                is_answered = false;
                said.text = text;
            }
            Part::Call { id, name, input } => {
                let returned = results.get(&id);
                let asked = Asked { id: names.of(&id, message), name, input, returned };
                if returned.is_some_and(|returned| returned.is_ours) {
                    waiting.push(asked);
                    continue;
                }
                if is_answered {
                    flush(&mut said, messages);
                    is_answered = false;
                }
                said.calls.push(asked);
            }
            Part::Result { .. } => is_answered = true,
            Part::Reasoning(_) | Part::File(_) | Part::Data { .. } => {}
        }
    }
    if !said.calls.is_empty() {
        flush(&mut said, messages);
    }
    said.calls = waiting;
    flush(&mut said, messages);
}
