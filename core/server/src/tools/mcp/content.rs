//! What an MCP server says to a call, as a result.

use mainstem_machine::CallResult;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::{Value, json};

use crate::tools::output;

const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

pub(super) fn output_of(result: CallToolResult, bytes_max: usize) -> CallResult {
    let is_error = result.is_error.unwrap_or(false);
    match (&*result.content, result.structured_content) {
        ([], Some(structured)) => output::text(&structured.to_string(), is_error, bytes_max),
        ([], None) => output::text("", is_error, bytes_max),
        ([ContentBlock::Text(text)], _) => output::text(&text.text, is_error, bytes_max),
        (blocks, _) => {
            let json = Value::from(blocks.iter().map(part_of).collect::<Vec<_>>()).to_string();
            match output::parts(&json) {
                Some(parts) => output::bounded(parts, is_error, bytes_max),
                None => output::text(&json, is_error, bytes_max),
            }
        }
    }
}

fn part_of(block: &ContentBlock) -> Value {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let media_type = |given: &Option<String>| given.as_deref().unwrap_or(UNKNOWN_MEDIA_TYPE).to_owned();
    match block {
        ContentBlock::Text(block) => text(&block.text),
        ContentBlock::Image(image) => {
            json!({ "type": "file", "media_type": image.mime_type, "data": image.data })
        }
        ContentBlock::Audio(audio) => {
            json!({ "type": "file", "media_type": audio.mime_type, "data": audio.data })
        }
        ContentBlock::ResourceLink(link) => json!({
            "type": "file", "media_type": media_type(&link.mime_type), "url": link.uri, "name": link.name,
        }),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { text: said, .. } => text(said),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => json!({
                "type": "file", "media_type": media_type(mime_type), "data": blob, "name": uri,
            }),
            _ => text("(a resource of a kind that is not known here)"),
        },
        _ => text("(content of a kind that is not known here)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_content_becomes_a_part() {
        let of = |result: Value| {
            let result = serde_json::from_value(result).expect("a result");
            let output = output_of(result, 4096);
            (serde_json::from_str::<Value>(&output.content).expect("JSON"), output.is_error)
        };
        let text = json!({ "type": "text", "text": "a" });
        assert_eq!(of(json!({ "content": [text] })), (json!("a"), false));
        assert_eq!(of(json!({ "content": [text], "isError": true })), (json!("a"), true));
        assert_eq!(of(json!({ "content": [text], "structuredContent": { "n": 1 } })), (json!("a"), false));
        assert_eq!(
            of(json!({ "content": [], "structuredContent": { "n": 1 } })),
            (json!("{\"n\":1}"), false)
        );
        assert_eq!(of(json!({ "content": [] })), (json!(""), false));
        let (parts, _) = of(json!({ "content": [
            text,
            { "type": "image", "mimeType": "image/png", "data": "AA==" },
            { "type": "audio", "mimeType": "audio/wav", "data": "AQ==" },
            { "type": "resource_link", "uri": "https://a.example/x", "name": "x" },
            { "type": "resource", "resource": { "uri": "file:///t", "text": "told" } },
            { "type": "resource", "resource": { "uri": "file:///b", "mimeType": "a/b", "blob": "Ag==" } },
        ] }));
        assert_eq!(
            parts,
            json!([
                text,
                { "type": "file", "media_type": "image/png", "data": "AA==" },
                { "type": "file", "media_type": "audio/wav", "data": "AQ==" },
                { "type": "file", "media_type": UNKNOWN_MEDIA_TYPE, "url": "https://a.example/x", "name": "x" },
                { "type": "text", "text": "told" },
                { "type": "file", "media_type": "a/b", "data": "Ag==", "name": "file:///b" },
            ])
        );
    }
}
