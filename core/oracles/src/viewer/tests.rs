//! Each kind of breach is found under its id, and what the protocol promises is none.

use std::borrow::Cow;

use super::*;

const ONE: WireEpisode = WireEpisode { history_version: 1, attempt: 1 };
const TWO: WireEpisode = WireEpisode { history_version: 1, attempt: 2 };
const THREE: WireEpisode = WireEpisode { history_version: 3, attempt: 1 };

fn message(id: u64, revision: u64, text: &str, episode: Option<WireEpisode>) -> WireMessage {
    let role = if episode.is_some() { "assistant" } else { "user" }.into();
    let content = vec![WirePart::text(text)];
    let (interrupted, finish_reason, usage, queued_as) = (false, None, None, None);
    WireMessage { id, revision, role, content, interrupted, episode, finish_reason, usage, queued_as }
}

fn said(id: u64, revision: u64, text: &str, episode: Option<WireEpisode>) -> WireBody<'static> {
    WireBody::Message(message(id, revision, text, episode))
}

fn status(status: &str, worker: &str, episode: WireEpisode) -> WireBody<'static> {
    let worker = Some(worker.to_owned()).filter(|worker| !worker.is_empty());
    WireBody::Status { status: status.into(), worker, episode }
}

fn parts(episode: WireEpisode, first_seq: u64, last_seq: u64, text: &'static str) -> WireBody<'static> {
    WireBody::Parts { episode, first_seq, last_seq, block: 0, piece: Piece::text(text) }
}

fn found(events: &[WireBody<'static>]) -> Vec<&'static str> {
    let mut oracle = ViewerOracle::new();
    events.iter().flat_map(|event| oracle.handle(event)).map(|breach| breach.guarantee.as_str()).collect()
}

/// The stream up to two parts of the first episode, and what follows.
fn running(then: &[WireBody<'static>]) -> Vec<&'static str> {
    let begin =
        [said(1, 1, "q", None), status("running", "a", ONE), WireBody::Synced, parts(ONE, 1, 2, "1 2 ")];
    found(&[&begin, then].concat())
}

#[test]
fn what_the_protocol_promises_is_no_breach() {
    let episode_over = [
        said(2, 3, "1 2 3 ", Some(ONE)),
        status("waiting", "", WireEpisode { history_version: 3, attempt: 0 }),
    ];
    assert!(running(&episode_over).is_empty());
    let interrupted = [
        status("interrupting", "a", ONE),
        parts(ONE, 3, 3, "3 "),
        episode_over[0].clone(),
        episode_over[1].clone(),
    ];
    assert!(running(&interrupted).is_empty());
    let retried = [
        WireBody::PreviewReset { episode: ONE },
        WireBody::Other,
        status("running", "b", TWO),
        parts(TWO, 1, 1, "1 "),
    ];
    assert!(running(&retried).is_empty());
    let edited = [
        WireBody::PreviewReset { episode: ONE },
        WireBody::HistoryReset,
        said(2, 3, "q2", None),
        status("running", "a", THREE),
        parts(THREE, 1, 1, "1 "),
    ];
    assert!(running(&edited).is_empty());
    // Its message is there already, and its answer is given again.
    let again = [
        WireBody::PreviewReset { episode: ONE },
        status("running", "a", THREE),
        parts(THREE, 1, 1, "1 "),
        said(2, 4, "1 ", Some(THREE)),
        status("waiting", "", WireEpisode { history_version: 4, attempt: 0 }),
        WireBody::HistoryReset,
        said(1, 1, "q", None),
        status("running", "a", WireEpisode { history_version: 5, attempt: 1 }),
    ];
    assert!(running(&again).is_empty());
}

#[test]
fn each_kind_of_breach_is_found_under_its_id() {
    let zero = WireEpisode { history_version: 3, attempt: 0 };
    let cases: &[(&str, &[WireBody<'static>])] = &[
        ("S1", &[said(1, 1, "q", Some(ONE)), said(1, 1, "q", None)]),
        ("S2", &[parts(ONE, 4, 4, "4 ")]),
        ("S2", &[parts(ONE, 2, 3, "2 3 ")]),
        ("S2", &[parts(ONE, 3, 2, "")]),
        ("S3", &[WireBody::PreviewReset { episode: ONE }, parts(ONE, 3, 3, "3 ")]),
        ("S3", &[said(2, 3, "1 2 3 ", Some(ONE)), parts(ONE, 3, 3, "3 ")]),
        (
            "S3",
            &[WireBody::PreviewReset { episode: ONE }, status("running", "b", TWO), parts(ONE, 3, 3, "3 ")],
        ),
        (
            "S3",
            &[
                WireBody::PreviewReset { episode: ONE },
                status("running", "b", TWO),
                status("running", "a", ONE),
            ],
        ),
        ("S4", &[said(2, 3, "1 x", Some(ONE))]),
        ("S4", &[said(2, 3, "q", None)]),
        ("S4", &[WireBody::HistoryReset]),
        ("S4", &[status("running", "b", ONE)]),
        ("S4", &[status("running", "a", TWO)]),
        ("S8", &[status("waiting", "", ONE)]),
        ("S8", &[said(2, 3, "1 2 ", Some(ONE)), parts(THREE, 1, 1, "1 ")]),
        ("S8", &[said(2, 2, "1 2 ", Some(ONE)), status("waiting", "", zero)]),
        (
            "S8",
            &[
                WireBody::PreviewReset { episode: ONE },
                status("waiting", "", zero),
                said(2, 3, "1 2 ", Some(TWO)),
            ],
        ),
    ];
    let both = |found: &[&str], id: &str| !found.is_empty() && found.iter().all(|other| *other == id);
    for (id, then) in cases {
        let found = running(then);
        let cause = found.first().copied();
        assert!(both(&found, id) || (*id == "S1" && cause == Some("S1")), "{id}: {found:?} for {then:?}");
    }
    assert_eq!(found(&[WireBody::Synced]), ["S9"]);
}

#[test]
fn the_history_at_the_end_is_what_was_shown() {
    let mut oracle = ViewerOracle::new();
    let history = [message(1, 1, "q", None), message(4, 3, "1 ", Some(ONE))];
    for message in &history {
        assert!(oracle.handle(&WireBody::Message(message.clone())).is_empty());
    }
    assert!(oracle.finish(&history).is_empty() && oracle.has_shown(&history));
    let why = |history: &[WireMessage]| {
        oracle.finish(history).iter().map(|breach| breach.why.clone()).collect::<Vec<_>>()
    };
    assert!(why(&history[..1])[0].contains("not in the history"));
    assert!(why(&[&history[..], &[message(5, 5, "x", None)]].concat())[0].contains("never shown"));
    assert!(why(&[message(1, 1, "Q", None), history[1].clone()])[0].contains("another text"));
    let ended = WireMessage { finish_reason: Some("length".into()), ..history[1].clone() };
    assert!(why(&[history[0].clone(), ended])[0].contains("ending"));
}

#[test]
fn events_are_read_as_they_come() {
    let json = r#"{"type":"message_part","cursor":"c","episode":{"history_version":1,"attempt":1},
        "first_seq":1,"last_seq":2,"block":0,"part":{"type":"text","text":"1 2 "},"more":0}"#;
    let event = WireEvent::parse(json).expect("an event");
    assert_eq!((&*event.cursor, &event.body), ("c", &parts(ONE, 1, 2, "1 2 ")));
    assert!(matches!(&event.body, WireBody::Parts { piece: Piece { text: Cow::Borrowed(_), .. }, .. }));
    let json =
        r#"{"type":"status","cursor":"c","status":"running","worker":null,"history_version":1,"attempt":1}"#;
    assert_eq!(WireEvent::parse(json).map(|event| event.body), Ok(status("running", "", ONE)));
    let json = r#"{"type":"message","cursor":"c","message":{"id":1,"revision":1,"role":"user","interrupted":false,
        "content":[{"type":"text","text":"q"}],"episode":null,"created_at":"x"}}"#;
    assert_eq!(WireEvent::parse(json).map(|event| event.body), Ok(said(1, 1, "q", None)));
    let json = r#"{"type":"later","cursor":"c"}"#;
    assert_eq!(WireEvent::parse(json).map(|event| event.body), Ok(WireBody::Other));
    for bad in ["", "{}", "[]", r#"{"type":"status","cursor":"c"}"#, r#"{"type":"synced"}"#] {
        assert!(WireEvent::parse(bad).is_err(), "{bad}");
    }
}

const CALL: &str = r#"{"type":"tool_call","id":"c","name":"find","input_text":"{\"n\":"}"#;

/// A part of the first episode, of this JSON.
fn told(seq: u64, block: u64, part: &str) -> String {
    let episode = r#"{"history_version":1,"attempt":1}"#;
    format!(
        r#"{{"type":"message_part","cursor":"c","episode":{episode},"first_seq":{seq},"last_seq":{seq},"block":{block},"part":{part}}}"#
    )
}

/// What is found of parts of the first episode, and of the message that has this content.
fn found_of(parts: &[(u64, &str)], content: &str) -> Vec<String> {
    let mut oracle = ViewerOracle::new();
    for event in [said(1, 1, "q", None), status("running", "a", ONE)] {
        assert!(oracle.handle(&event).is_empty());
    }
    let message = format!(
        r#"{{"type":"message","cursor":"c","message":{{"id":2,"revision":3,"role":"assistant","interrupted":false,
            "content":{content},"episode":{{"history_version":1,"attempt":1}}}}}}"#
    );
    let told = (1..).zip(parts).map(|(seq, (block, part))| told(seq, *block, part));
    let events = told.chain([message]);
    let judge = |json: String| oracle.handle(&WireEvent::parse(&json).expect("an event").body);
    events.flat_map(judge).map(|breach| breach.guarantee.to_string()).collect()
}

#[test]
fn blocks_are_judged_by_their_places_and_kinds_and_by_what_is_kept() {
    let (reasoning, text) = (r#"{"type":"reasoning","text":"hm"}"#, r#"{"type":"text","text":"so"}"#);
    let (file, rest) = (r#"{"type":"file","url":"u"}"#, CALL.replace(r#"{\"n\":"#, "1}"));
    let kept = format!(
        r#"[{reasoning},{text},{{"type":"tool_call","id":"c","name":"find","input":{{"n":1}}}},{file}]"#
    );
    let parts = [(0, reasoning), (1, text), (2, CALL), (2, &*rest), (3, file)];
    for shown in 1..=parts.len() {
        assert!(found_of(&parts[..shown], &kept).is_empty(), "{shown}");
    }
    assert_eq!(found_of(&[(1, reasoning)], &kept), ["S2"]);
    assert_eq!(found_of(&[(0, reasoning), (0, text)], &format!("[{reasoning},{text}]")), ["S2"]);
    assert_eq!(found_of(&[(0, file), (0, file)], &format!("[{file},{file}]")), ["S2"]);
    assert_eq!(found_of(&parts[..2], &format!("[{text},{reasoning}]")), ["S4"]);
    assert_eq!(found_of(&parts[..2], &format!("[{reasoning}]")), ["S4"]);
    assert_eq!(found_of(&parts, &kept.replace(r#""url":"u""#, r#""url":"v""#)), ["S4"]);
    assert_eq!(found_of(&parts[..4], &kept.replace(r#""n":1"#, r#""n":2"#)), ["S4"]);
    let cut = format!("[{reasoning},{text},{CALL}]");
    assert!(found_of(&parts[..3], &cut).is_empty());
    assert_eq!(found_of(&parts[..4], &cut), ["S4"]);
    let empty = CALL.replace(r#"{\"n\":"#, "");
    assert!(
        found_of(&[(0, &empty)], r#"[{"type":"tool_call","id":"c","name":"find","input":{}}]"#).is_empty()
    );
    let wrong = r#"[{"type":"tool_call","id":"c","name":"find","input":"{\"n\":"}]"#;
    assert!(found_of(&[(0, CALL)], wrong).is_empty(), "what is no JSON is kept as a string");
}
