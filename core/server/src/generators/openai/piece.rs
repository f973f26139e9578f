//! What one chunk says: its text, thoughts and calls, in whichever form they come.

use std::borrow::Cow;

use mainstem_machine::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::blocks::Bit;
use super::call::CallBit;
use super::wire::Reason;
use crate::generators::fault::Fault;
use crate::generators::json::{members, string, try_each};
use crate::limits::model::CALL_EXTRA_BYTES_MAX;

/// What one chunk says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// In their order; none says nothing.
    pub(super) bits: Vec<Bit>,
    pub(super) reason: Option<Reason>,
    pub(super) usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
}

/// A part of a content that is a list.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolCall<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_content: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl Piece {
    pub(super) fn add_delta(&mut self, delta: Option<&RawValue>) -> Result<(), Fault> {
        let delta: Delta<'_> = members(delta)?.unwrap_or_default();
        // Some say the same under both names.
        let thoughts = [delta.reasoning_content, delta.reasoning].into_iter().filter_map(string);
        self.reason_with(thoughts.into_iter().find(|thought| !thought.is_empty()).unwrap_or_default());
        self.add_content(delta.content)?;
        self.say(string(delta.refusal).unwrap_or_default());
        try_each(delta.tool_calls, |call| self.add_call(call))?;
        if let Some(function) = members::<Function<'_>>(delta.function_call)? {
            self.call(CallBit::default(), function);
        }
        Ok(())
    }

    /// Whether the model says, reasons or asks for anything in it.
    pub(super) fn says(&self) -> bool {
        !self.bits.is_empty()
    }

    fn say(&mut self, text: Cow<'_, str>) {
        if !text.is_empty() {
            self.bits.push(Bit::Text(text.into()));
        }
    }

    fn reason_with(&mut self, text: Cow<'_, str>) {
        if !text.is_empty() {
            self.bits.push(Bit::Reasoning(text.into()));
        }
    }

    /// A content is a string, or a list of parts: text counts, and the model's thinking.
    fn add_content(&mut self, content: Option<&RawValue>) -> Result<(), Fault> {
        match content.and_then(|content| content.get().as_bytes().first()) {
            Some(b'[') => try_each(content, |part| self.add_part(part)),
            Some(b'{') => self.add_part(content.expect("it has a first byte")),
            _ => {
                self.say(string(content).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn add_part(&mut self, part: &RawValue) -> Result<(), Fault> {
        let Some(Part { r#type, text, refusal, thinking, reasoning }) = members(Some(part))? else {
            self.say(string(Some(part)).unwrap_or_default());
            return Ok(());
        };
        match string(r#type).as_deref() {
            None | Some("text" | "output_text") => self.say(string(text).unwrap_or_default()),
            Some("refusal") => self.say(string(refusal.or(text)).unwrap_or_default()),
            Some("thinking" | "reasoning") => {
                let thought = thinking.or(reasoning).or(text);
                self.reason_with(string(thought).unwrap_or_default());
                // Or in parts of its own.
                try_each(thought, |part| {
                    let part = members::<Part<'_>>(Some(part))?.unwrap_or_default();
                    self.reason_with(string(part.text).unwrap_or_default());
                    Ok(())
                })?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn add_call(&mut self, call: &RawValue) -> Result<(), Fault> {
        let Some(call) = members::<ToolCall<'_>>(Some(call))? else { return Ok(()) };
        let index = call.index.and_then(|index| serde_json::from_str(index.get()).ok());
        let id = string(call.id).unwrap_or_default().into();
        let function = members(call.function)?.unwrap_or_default();
        let extra = call.extra_content.map(RawValue::get);
        let extra = extra.filter(|extra| extra.starts_with('{') && extra.len() <= CALL_EXTRA_BYTES_MAX);
        let extra = extra.unwrap_or_default().into();
        self.call(CallBit { index, id, extra, ..CallBit::default() }, function);
        Ok(())
    }

    fn call(&mut self, call: CallBit, function: Function<'_>) {
        let name = string(function.name).unwrap_or_default().into();
        // Some give the object itself.
        let arguments = match function.arguments {
            Some(object) if object.get().starts_with('{') => object.get().into(),
            arguments => string(arguments).unwrap_or_default().into(),
        };
        let call = CallBit { name, arguments, ..call };
        if [&call.id, &call.name, &call.arguments].into_iter().any(|said| !said.is_empty()) {
            self.bits.push(Bit::Call(call));
        }
    }
}
