//! How a terminal shows the blocks of an answer: each on lines of its own, behind a sign of its kind.

use mainstem_oracles::viewer::WirePart;

/// What stands before the text of a block.
pub(super) fn sign(kind: &str, name: &str) -> String {
    match kind {
        "text" => "< ".to_owned(),
        "reasoning" => "~ ".to_owned(),
        "tool_call" => format!("* {name} "),
        _ => "+ ".to_owned(),
    }
}

/// All blocks. Those of a preview give a prefix of what those of its message give.
pub(super) fn shown(blocks: &[WirePart]) -> String {
    let lines = blocks.iter().map(|block| sign(&block.kind, &block.name) + &block.text);
    lines.collect::<Vec<_>>().join("\n")
}

/// The text, and behind it what is no text.
pub(super) fn in_one_line(blocks: &[WirePart]) -> String {
    let mut line = String::new();
    for block in blocks {
        if block.kind != "text" {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(&sign(&block.kind, &block.name));
        }
        line.push_str(&block.text);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: &str, name: &str, text: &str) -> WirePart {
        WirePart { kind: kind.into(), id: String::new(), name: name.into(), text: text.into() }
    }

    #[test]
    fn each_block_has_its_sign() {
        let file = r#"{"type":"file"}"#;
        let blocks = [
            block("reasoning", "", "hm"),
            block("text", "", "so"),
            block("tool_call", "find", "{}"),
            block("file", "", file),
        ];
        assert_eq!(shown(&blocks), format!("~ hm\n< so\n* find {{}}\n+ {file}"));
        assert_eq!(in_one_line(&blocks), format!("~ hmso * find {{}} + {file}"));
        assert_eq!(in_one_line(&blocks[1..2]), "so");
    }
}
