//! The parts of a message's content, read for those who have to send them on in other words.

use mainstem_machine::Content;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A part. JSON is kept as the text in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Reasoning(String),
    Call {
        id: String,
        name: String,
        /// JSON text.
        input: String,
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
    #[serde(borrow, deserialize_with = "given")]
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
    #[serde(borrow, deserialize_with = "given")]
    data: Option<&'a RawValue>,
}

/// A member whose value may be `null`, which is not the same as none.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
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
        "tool_call" => {
            Part::Call { id: string(raw.id)?, name: string(raw.name)?, input: raw.input?.get().into() }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Vec<Part> {
        parts(&Content::from_stored(json))
    }

    fn file(media_type: &str, name: Option<&str>, url: Option<&str>, data: Option<&str>) -> File {
        let own = |said: Option<&str>| said.map(str::to_owned);
        File { media_type: media_type.into(), name: own(name), url: own(url), data: own(data) }
    }

    #[test]
    fn each_kind_is_read_with_all_it_has() {
        let call = |input: &str| Part::Call { id: "a".into(), name: "f".into(), input: input.into() };
        let result = |text: &str, is_error| Part::Result { call: "a".into(), text: text.into(), is_error };
        for (json, wanted) in [
            (r#"{"type":"text","text":"x\n"}"#, Part::Text("x\n".into())),
            (r#"{"type":"reasoning","text":"hm"}"#, Part::Reasoning("hm".into())),
            (r#"{"type":"tool_call","id":"a","name":"f","input":{"n": 1.0}}"#, call(r#"{"n": 1.0}"#)),
            (r#"{"type":"tool_call","id":"a","name":"f","input":null}"#, call("null")),
            (r#"{"type":"tool_result","tool_call_id":"a","content":"x","is_error":true}"#, result("x", true)),
            (
                r#"{"type":"tool_result","tool_call_id":"a","content":"x","is_error":false}"#,
                result("x", false),
            ),
            (
                r#"{"type":"tool_result","tool_call_id":"a","content":"x","is_error":"true"}"#,
                result("x", false),
            ),
            (r#"{"type":"tool_result","tool_call_id":"a"}"#, result("", false)),
            (
                r#"{"type":"file","media_type":"a/b","name":"n","url":"u","data":"d"}"#,
                Part::File(file("a/b", Some("n"), Some("u"), Some("d"))),
            ),
            (r#"{"type":"file"}"#, Part::File(file("", None, None, None))),
            (
                r#"{"type":"data","name":"n","data":{"x": 1.50}}"#,
                Part::Data { name: Some("n".into()), json: r#"{"x": 1.50}"#.into() },
            ),
            (r#"{"type":"data","data":null}"#, Part::Data { name: None, json: "null".into() }),
            (r#"{"type":"data","data":7}"#, Part::Data { name: None, json: "7".into() }),
        ] {
            assert_eq!(of(&format!("[{json}]")), [wanted], "{json}");
        }
    }

    #[test]
    fn what_is_of_another_kind_or_lacks_what_its_kind_has_is_passed_over() {
        for json in [
            r#"{"type":"source","text":"x"}"#,
            r#"{"text":"x"}"#,
            r#"{"type":"text"}"#,
            r#"{"type":"text","text":7}"#,
            r#"{"type":"reasoning"}"#,
            r#"{"type":"tool_call","id":"a"}"#,
            r#"{"type":"tool_call","name":"f"}"#,
            r#"{"type":"tool_call","id":"a","name":"f","input_text":"{"}"#,
            r#"{"type":"tool_result","content":"x"}"#,
            r#"{"type":"data","name":"n"}"#,
            r#""x""#,
            "7",
        ] {
            let around = format!(r#"[{{"type":"text","text":"a"}},{json},{{"type":"text","text":"b"}}]"#);
            assert_eq!(of(&around), ["a", "b"].map(|text| Part::Text(text.into())), "{json}");
        }
        assert_eq!(of("{}"), []);
    }

    #[test]
    fn a_result_is_text_and_what_is_none_is_named() {
        for (content, wanted) in [
            (r#""x""#, "x"),
            (r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "a\nb"),
            (
                r#"[{"type":"file","media_type":"image/png","url":"u"},{"type":"data","data":{"n":1}}]"#,
                "[file: image/png, u]\n{\"n\":1}",
            ),
            (r#"[{"type":"reasoning","text":"hm"},{"type":"tool_call","id":"a","name":"f","input":{}}]"#, ""),
            ("7", ""),
        ] {
            let json = format!(r#"[{{"type":"tool_result","tool_call_id":"a","content":{content}}}]"#);
            let wanted = Part::Result { call: "a".into(), text: wanted.into(), is_error: false };
            assert_eq!(of(&json), [wanted], "{content}");
        }
    }

    #[test]
    fn a_file_has_an_address_if_it_has_data_and_a_note_in_any_case() {
        let image = file("image/png", Some("a"), None, Some("QQ=="));
        assert!(image.is_image());
        assert_eq!(image.data_url().as_deref(), Some("data:image/png;base64,QQ=="));
        assert_eq!(image.note(), "[file: a, image/png]");
        let text = file("text/csv", Some(""), Some("https://example.org/a.csv"), None);
        assert!(!text.is_image() && !file("x-image/png", None, None, None).is_image());
        assert_eq!(text.data_url(), None);
        assert_eq!(text.note(), "[file: text/csv, https://example.org/a.csv]");
    }
}
