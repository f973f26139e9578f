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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::File;

    fn content(parts: Vec<Part>) -> Value {
        Said::content(parts.into_iter().filter_map(Said::of).collect())
    }

    fn file(media_type: &str, url: Option<&str>, data: Option<&str>) -> Part {
        let [url, data] = [url, data].map(|said| said.map(str::to_owned));
        Part::File(File { media_type: media_type.into(), name: None, url, data })
    }

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    #[test]
    fn text_is_a_string_and_what_is_more_makes_a_list() {
        assert_eq!(content(vec![text("a "), text("b\n")]), json!("a b\n"));
        let image = json!({ "type": "image_url", "image_url": { "url": "u" } });
        let sent = content(vec![text("\na\n"), text("b\n"), file("image/png", Some("u"), None), text(" \n")]);
        assert_eq!(sent, json!([{ "type": "text", "text": "a\nb" }, image]));
        let sent = content(vec![file("image/png", Some("u"), None), text(" c\n")]);
        assert_eq!(sent, json!([image, { "type": "text", "text": " c" }]));
    }

    #[test]
    fn a_file_is_sent_if_it_can_be_and_named_if_not() {
        let image = |url: &str| json!([{ "type": "image_url", "image_url": { "url": url } }]);
        assert_eq!(content(vec![file("image/png", Some("u"), Some("QQ=="))]), image("u"));
        assert_eq!(content(vec![file("image/png", None, Some("QQ=="))]), image("data:image/png;base64,QQ=="));
        let data = json!({ "filename": "file", "file_data": "data:a/b;base64,QQ==" });
        let sent = content(vec![file("a/b", Some("u"), Some("QQ=="))]);
        assert_eq!(sent, json!([{ "type": "file", "file": data }]));
        assert_eq!(content(vec![file("a/b", Some("u"), None)]), json!("\n[file: a/b, u]\n"));
        assert_eq!(content(vec![file("image/png", None, None)]), json!("\n[file: image/png]\n"));
    }

    #[test]
    fn data_is_text_with_its_name_and_what_only_models_say_is_none() {
        let data = |name: Option<&str>| Part::Data { name: name.map(str::to_owned), json: "{}".into() };
        assert_eq!(content(vec![data(Some("n")), data(None)]), json!("\nn: {}\n\n{}\n"));
        let call = Part::Call { id: "a".into(), name: "f".into(), input: "{}".into() };
        let result = Part::Result { call: "a".into(), text: "x".into(), is_error: false };
        assert_eq!(content(vec![Part::Reasoning("hm".into()), call, result]), json!(""));
    }

    #[test]
    fn only_text_without_a_word_is_blank() {
        let is_blank = |part: Part| Said::of(part).unwrap().is_blank();
        assert!(is_blank(text(" \n")) && is_blank(text("")) && !is_blank(text(" a")));
        assert!(!is_blank(file("image/png", Some("u"), None)));
    }
}
