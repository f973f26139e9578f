//! The parts of a message's content, read for those who have to send them on in other words.

use mainstem_machine::Content;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A part. JSON is kept as the text in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Reasoning(String),
    Call {
        id: String,
        name: String,
        /// JSON text; `None` for a call that was cut short.
        input: Option<String>,
    },
    Result {
        call: String,
        /// The text of it: what is no text is named.
        text: String,
        is_error: bool,
    },
    File(File),
    Data {
        name: Option<String>,
        /// JSON text.
        json: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) media_type: String,
    pub(crate) name: Option<String>,
    pub(crate) url: Option<String>,
    /// In base64.
    pub(crate) data: Option<String>,
}

impl File {
    pub(crate) fn is_image(&self) -> bool {
        self.media_type.starts_with("image/")
    }

    /// Its content as an address, if it has one here.
    pub(crate) fn data_url(&self) -> Option<String> {
        self.data.as_ref().map(|data| format!("data:{};base64,{data}", self.media_type))
    }

    /// For those who cannot be given it.
    pub(crate) fn note(&self) -> String {
        let told = [self.name.as_deref(), Some(&*self.media_type), self.url.as_deref()];
        let told: Vec<&str> = told.into_iter().flatten().filter(|said| !said.is_empty()).collect();
        format!("[file: {}]", told.join(", "))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    is_error: Option<&'a RawValue>,
    #[serde(borrow)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The parts of a content, in order. What is of another kind, or lacks what its kind has, is passed over.
pub(crate) fn parts(content: &Content) -> Vec<Part> {
    read(content.as_json())
}

fn read(json: &str) -> Vec<Part> {
    let parts: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    parts.into_iter().filter_map(|part| serde_json::from_str(part.get()).ok()).filter_map(part).collect()
}

fn part(raw: Raw<'_>) -> Option<Part> {
    Some(match &*string(raw.r#type)? {
        "text" => Part::Text(string(raw.text)?),
        "reasoning" => Part::Reasoning(string(raw.text)?),
        "tool_call" => Part::Call {
            id: string(raw.id)?,
            name: string(raw.name)?,
            input: raw.input.map(|input| input.get().into()),
        },
        "tool_result" => Part::Result {
            call: string(raw.tool_call_id)?,
            text: result_text(raw.content),
            is_error: raw.is_error.is_some_and(|is_error| is_error.get() == "true"),
        },
        "file" => Part::File(File {
            media_type: string(raw.media_type).unwrap_or_default(),
            name: string(raw.name),
            url: string(raw.url),
            data: string(raw.data),
        }),
        "data" => Part::Data { name: string(raw.name), json: raw.data?.get().into() },
        _ => return None,
    })
}

fn result_text(content: Option<&RawValue>) -> String {
    let Some(content) = content else { return String::new() };
    if let Some(text) = string(Some(content)) {
        return text;
    }
    let said = read(content.get()).into_iter().filter_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::File(file) => Some(file.note()),
        Part::Data { json, .. } => Some(json),
        Part::Reasoning(_) | Part::Call { .. } | Part::Result { .. } => None,
    });
    said.collect::<Vec<_>>().join("\n")
}

fn string(member: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(member?.get()).ok()
}
