//! What of a request becomes content, and what is refused.

use alloc::format;

use std::vec;

use super::*;
use crate::limits::{CONTENT_REST_BYTES_MIN, MEDIA_TYPE_BYTES_MAX, MEMBER_DEPTH_MAX, NAME_TOLD_CHARS_MAX};

fn kept(json: &str) -> Result<String, ContentError> {
    Content::from_request(json, 1 << 20).map(|content| content.as_json().to_string())
}

#[test]
fn the_value_of_an_unknown_member_survives_byte_for_byte() {
    for value in [
        "12345678901234567890123",
        "-12345678901234567890.123456789012345678901234567890",
        "1.0",
        "1e2",
        "1E+2",
        "-0",
        "0.10",
        "null",
        r#""\u0041\/\ud83e\udd80é""#,
        r#"{"b":1,"a":[1.50, {"b" : 2 , "b":3}],"":[]}"#,
    ] {
        let part = format!(r#"[{{"type":"text","z":{value},"text":"x","a":{value}}}]"#);
        assert_eq!(kept(&part).as_deref(), Ok(&*part));
        // Whatever stands between the tokens.
        let spaced =
            format!("\r\n[ {{ \"type\":\"text\" ,\t\"z\": {value}\n,\"text\":\"x\",\"a\":{value} }}\n] ");
        assert_eq!(kept(&spaced).as_deref(), Ok(&*part));
    }
}

#[test]
fn content_is_one_line_and_known_members_are_written_in_the_shortest_way() {
    let json = "[{\"t\\u0079pe\":\"\\u0074ext\",\"text\":\"\\u0436\\/\\u000a\",\"m\\u0069ne\":[1,\r\n2]}]";
    assert_eq!(kept(json).as_deref(), Ok("[{\"type\":\"text\",\"text\":\"ж/\\n\",\"mine\":[1,  2]}]"));
    let two = kept(r#"[{"type":"text","text":"a","n":1.0},{"type":"text","text":"b","n":2.0}]"#);
    let two = Content::from_stored(two.expect("content"));
    assert_eq!((two.to_text().as_str(), two.as_json().matches(".0").count()), ("ab", 2));
}

#[test]
fn what_not_all_readers_take_is_refused() {
    let with = |member: &str| kept(&format!(r#"[{{"type":"text","text":"x",{member}}}]"#));
    for value in ["1e999", r#""\ud800""#, r#"{"\udc00":1}"#, r#"[["\ud800\u0041"]]"#] {
        let refused = with(&format!("\"m\":{value}"));
        assert!(matches!(refused, Err(ContentError::Member { .. })), "{value}: {refused:?}");
    }
    let nested = |depth: usize| with(&format!("\"m\":{}{}", "[".repeat(depth), "]".repeat(depth)));
    let deepest = nested(MEMBER_DEPTH_MAX).expect("as deep as may be");
    assert!(serde_json::from_str::<serde_json::Value>(&format!("[[[[[[{deepest}]]]]]]")).is_ok());
    assert!(matches!(nested(MEMBER_DEPTH_MAX + 1), Err(ContentError::Member { .. })));
    let deep = nested(100_000).expect_err("too deep");
    assert!(deep.to_string().contains("nested more than 100"), "{deep}");
    for twice in [r#""text":"y""#, r#""type":"text""#, r#""m":1,"m":1"#, r#""m":1,"\u006d":2"#] {
        assert!(matches!(with(twice), Err(ContentError::Twice { .. })), "{twice}");
    }
}

#[test]
fn a_bound_counts_text_and_not_how_it_is_written() {
    let asked = |json: &str| Content::from_request(json, 4).map(|content| content.to_text());
    let text = |text: &str| format!(r#"[{{"type":"text","text":"{text}"}}]"#);
    assert_eq!(asked(&text(r"\u0436\u0436")).as_deref(), Ok("жж"));
    assert_eq!(asked(&text(r"\ud83e\udd80")).as_deref(), Ok("🦀"));
    assert_eq!(asked(&text(r"\u0041\u0041\u0041\u0041")).as_deref(), Ok("AAAA"));
    let too_large = Err(ContentError::TextTooLarge { bytes_max: 4 });
    assert_eq!(asked(&text(r"\u0436\u0436\u0041")), too_large);
    assert_eq!(asked(r#"[{"type":"text","text":"abc"},{"type":"text","text":"de"}]"#), too_large);
    let rest =
        |bytes: usize| asked(&format!(r#"[{{"type":"text","text":"x","m":"{}"}}]"#, "y".repeat(bytes)));
    // With the names and the quotes of what stands around it, to the byte.
    let around = ["type", "text", "text", "m", "\"\""].map(str::len).iter().sum::<usize>();
    assert!(rest(CONTENT_REST_BYTES_MIN - around).is_ok());
    assert!(rest(CONTENT_REST_BYTES_MIN - around + 1).is_err());
    assert_eq!(
        rest(CONTENT_REST_BYTES_MIN),
        Err(ContentError::RestTooLarge { bytes_max: CONTENT_REST_BYTES_MIN })
    );
}

#[test]
fn an_unknown_word_is_told_shortened() {
    let refused = kept(&format!(r#"[{{"type":"{}"}}]"#, "é".repeat(100_000))).expect_err("no such type");
    let told = refused.to_string();
    assert!(told.contains(&"é".repeat(NAME_TOLD_CHARS_MAX)) && told.len() < 200, "{told}");
    let name = "n".repeat(100_000);
    for members in [format!(r#""{name}":1e999"#), format!(r#""{name}":1,"{name}":2"#)] {
        let refused = Content::from_request(&format!(r#"[{{"type":"text","text":"x",{members}}}]"#), 1 << 20);
        assert!(refused.expect_err("it is refused").to_string().len() < 250);
    }
    let short = kept(r#"[{"type":"image"}]"#).expect_err("no such type").to_string();
    assert!(short.contains("\"image\""), "{short}");
}

#[test]
fn what_is_no_content_is_refused_as_what_it_is() {
    for (json, expected) in [
        ("3", ContentError::Shape),
        ("{}", ContentError::Shape),
        ("[]", ContentError::Empty),
        (r#""""#, ContentError::Empty),
        ("[3]", ContentError::Part(0)),
        (r#"[{"type":"text","text":"x"},{"text":"y"}]"#, ContentError::Part(1)),
        (r#"[{"type":3}]"#, ContentError::Part(0)),
        (r#"[{"type":"text"}]"#, ContentError::Text(0)),
        (r#"[{"type":"text","text":"\ud800"}]"#, ContentError::Text(0)),
    ] {
        assert_eq!(kept(json), Err(expected), "{json}");
    }
    assert!(matches!(kept(r#""\ud800""#), Err(ContentError::Json(_))));
    assert_eq!(kept(r#" "\u0436""#).as_deref(), Ok(Content::text("ж").as_json()));
}

fn kept_part(part: &str) -> Result<String, ContentError> {
    kept(&format!("[{part}]"))
}

#[test]
fn files_and_data_are_taken_and_kept_as_they_came() {
    for part in [
        r#"{"type":"file","media_type":"image/png","url":"https://example.org/a.png"}"#,
        r#"{"type":"file","media_type":"text/plain","data":"aGk=","name":"hi.txt","mine":1.0}"#,
        r#"{"type":"file","media_type":"text/plain","data":""}"#,
        r#"{"type":"data","name":"n","data":null}"#,
        r#"{"type":"data","data":{"a":[1.50]},"name":"n","id":"i"}"#,
        r#"{"type":"data","name":"n","data":1,"text":3}"#,
    ] {
        assert_eq!(kept_part(part), Ok(format!("[{part}]")), "{part}");
    }
}

#[test]
fn what_a_file_or_data_lacks_is_named() {
    let file = |members: &str| format!(r#"{{"type":"file",{members}}}"#);
    let data = |members: &str| format!(r#"{{"type":"data",{members}}}"#);
    for (part, missing) in [
        (file(r#""url":"u""#), "media_type"),
        (file(r#""media_type":"png","url":"u""#), "media_type"),
        (file(r#""media_type":"image/","url":"u""#), "media_type"),
        (file(&format!(r#""media_type":"image/{}","url":"u""#, "x".repeat(255))), "media_type"),
        (file(r#""media_type":"image/png""#), "url"),
        (file(r#""media_type":"image/png","url":"u","data":"aGk=""#), "url"),
        (file(r#""media_type":"image/png","url":"""#), "url"),
        (file(r#""media_type":"image/png","url":3"#), "url"),
        (file(r#""media_type":"image/png","data":"aGk""#), "data"),
        (file(r#""media_type":"image/png","data":"a-_=""#), "data"),
        (file(r#""media_type":"image/png","data":"====""#), "data"),
        (file(r#""media_type":"image/png","data":"aG=k""#), "data"),
        (file(r#""media_type":"image/png","url":"u","name":1"#), "name"),
        (data(r#""data":1"#), "name"),
        (data(r#""data":1,"name":"""#), "name"),
        (data(r#""name":"n""#), "data"),
        (data(r#""name":"n","data":1,"id":2"#), "id"),
    ] {
        let refused = kept_part(&part);
        assert!(
            matches!(refused, Err(ContentError::Lacks { index: 0, member, .. }) if member == missing),
            "{part}: {refused:?}"
        );
    }
    let longest =
        file(&format!(r#""media_type":"image/{}","url":"u""#, "x".repeat(MEDIA_TYPE_BYTES_MAX - 6)));
    assert!(kept_part(&longest).is_ok());
    let empty = kept_part(&file(r#""media_type":"image/png","url":"""#)).expect_err("it is empty");
    assert!(empty.to_string().ends_with("no `url` that is an address"), "{empty}");
    for kind in ["tool_result", "tool_call", "reasoning", "source"] {
        let refused = kept_part(&format!(r#"{{"type":"{kind}","text":"x"}}"#));
        assert!(matches!(refused, Err(ContentError::Kind { .. })), "{kind} is no user's to send");
    }
}

#[test]
fn parts_are_so_many_and_files_so_large() {
    let text = r#"{"type":"text","text":"x"}"#;
    assert!(kept(&format!("[{}]", vec![text; CONTENT_PARTS_MAX].join(","))).is_ok());
    let many = kept(&format!("[{}]", vec![text; CONTENT_PARTS_MAX + 1].join(",")));
    assert_eq!(many, Err(ContentError::TooMany));
    let file = |bytes: usize| {
        let data = "A".repeat(bytes);
        kept_part(&format!(r#"{{"type":"file","media_type":"image/png","data":"{data}"}}"#))
    };
    assert!(file((1 << 20) - 1024).is_ok());
    assert_eq!(file(1 << 20), Err(ContentError::RestTooLarge { bytes_max: 1 << 20 }));
}
