//! What a user says, in the words of Chat Completions.

use serde_json::{Value, json};

use crate::content::Part;

/// A part of what a user says.
pub(super) enum Said {
    Text(String),
    Whole(Value),
}

impl Said {
    pub(super) fn of(part: Part) -> Option<Self> {
        Some(match part {
            Part::Text(text) => Self::Text(text),
            Part::Data { name, json } => match name {
                Some(name) => Self::Text(format!("\n{name}: {json}\n")),
                None => Self::Text(format!("\n{json}\n")),
            },
            Part::File(file) => {
                let url = file.url.clone().filter(|_| file.is_image());
                match (url.or_else(|| file.data_url()), file.is_image()) {
                    (Some(url), true) => {
                        Self::Whole(json!({ "type": "image_url", "image_url": { "url": url } }))
                    }
                    (Some(data), false) => {
                        let name = file.name.as_deref().unwrap_or("file");
                        let content = json!({ "filename": name, "file_data": data });
                        Self::Whole(json!({ "type": "file", "file": content }))
                    }
                    (None, _) => Self::Text(format!("\n{}\n", file.note())),
                }
            }
            Part::Reasoning(_) | Part::Call { .. } | Part::Result { .. } => return None,
        })
    }

    pub(super) fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }

    /// The content of the message that says all this: a string, or a list where it is more than text.
    pub(super) fn content(said: Vec<Self>) -> Value {
        let mut content: Vec<Value> = vec![];
        let mut text = String::new();
        for part in said {
            match part {
                Self::Text(more) => text += &more,
                Self::Whole(part) => {
                    push_text(&mut content, std::mem::take(&mut text));
                    content.push(part);
                }
            }
        }
        if content.is_empty() {
            return json!(text);
        }
        push_text(&mut content, text);
        json!(content)
    }
}

fn push_text(content: &mut Vec<Value>, text: String) {
    if !text.trim().is_empty() {
        content.push(json!({ "type": "text", "text": text.trim_matches('\n') }));
    }
}
