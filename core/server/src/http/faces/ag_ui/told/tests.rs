use mainstem_machine::{
    Body, ChatId, Content, Cursor, FinishReason, PreviewPosition, PreviewProgress, ResetReason, Role,
    RunError, Seq, Status, StreamEvent, Turn, Version, WallTime,
};
use uuid::Uuid;

use super::super::super::turn::tests::marked;
use super::super::super::turn::{From, Mark};
use super::super::snapshot::{Rendered, render};
use super::*;

const CHAT: ChatId = ChatId(Uuid::from_u128(7));
const TURN: MessageId = MessageId(1);

fn run(is_one: bool) -> Run {
    let brought = BTreeSet::from(["brought".to_owned()]);
    Run { thread: "t".into(), id: "r".into(), parent: None, is_one, resumes: !is_one, brought }
}

fn from() -> From {
    let (since, stale) = (Version(1), Version(0));
    From { chat: CHAT, turn: TURN, after: TURN, behind_results: false, begun: true, since, stale }
}

fn episode(version: u64, attempt: u64) -> Episode {
    Episode { history_version: Version(version), attempt }
}

fn said(id: u64, role: Role, of: Option<Episode>, json: &str) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId(id),
        revision: Version(id),
        role,
        content: Content::from_stored(json),
        interrupted: false,
        episode: of,
        finish_reason: None,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: Some(TURN),
        created_at: WallTime::default(),
    })
}

fn status(status: Status) -> Body {
    let (history_version, turn) = (Version(1), Some(TURN));
    Body::Status { status, worker: None, history_version, attempt: 1, turn, calls: [].into() }
}

fn part(episode: Episode, place: u32, block: Block, text: &'static str) -> Body {
    let seq = Seq(1);
    Body::Parts { episode, first_seq: seq, last_seq: seq, place, block, text: text.into() }
}

const CALLS: &str = concat!(
    r#"[{"type":"reasoning","text":"hm, so"},{"type":"text","text":"one two"},"#,
    r#"{"type":"tool_call","id":"a","name":"f","input":{"n": 1}},{"type":"tool_call","id":"b","name":"g","input":null},"#,
    r#"{"type":"tool_call","id":"c","name":"f","input_text":"{"}]"#
);
const RESULTS: &str = concat!(
    r#"[{"type":"tool_result","tool_call_id":"a","content":"x"},"#,
    r#"{"type":"tool_result","tool_call_id":"b","content":"no","is_error":true}]"#
);
const LAST: &str =
    r#"[{"type":"text","text":"three"},{"type":"reasoning","text":"well"},{"type":"text","text":" four"}]"#;

/// A turn of two answers, the second at the second attempt.
fn events() -> Vec<StreamEvent> {
    let (first, lost, second) = (episode(1, 1), episode(3, 1), episode(3, 2));
    let bodies = [
        status(Status::Running),
        part(first, 0, Block::Reasoning, "hm"),
        part(first, 0, Block::Reasoning, ", so"),
        part(first, 1, Block::Text, "one "),
        part(first, 1, Block::Text, "two"),
        part(first, 2, Block::tool_call("a", "f"), "{\"n\""),
        Body::Message(said(2, Role::Assistant, Some(first), CALLS)),
        Body::Message(said(3, Role::Tool, None, RESULTS)),
        status(Status::Running),
        part(lost, 0, Block::Text, "void"),
        Body::PreviewReset { episode: lost, reason: ResetReason::Takeover },
        status(Status::Running),
        part(second, 0, Block::Text, "th"),
        part(second, 0, Block::Text, "ree"),
        part(second, 1, Block::Reasoning, "well"),
        part(second, 2, Block::Text, " f"),
        Body::Message(said(4, Role::Assistant, Some(second), LAST)),
        status(Status::Waiting),
    ];
    let mut message = TURN;
    (1..)
        .zip(bodies)
        .map(|(version, body)| {
            if let Body::Message(said) = &body {
                message = said.id;
            }
            let cursor = Cursor { snapshot_version: Version(version), message, ..Cursor::default() };
            StreamEvent { cursor, body }
        })
        .collect()
}

fn history() -> Vec<Rendered> {
    let first = said(2, Role::Assistant, Some(episode(1, 1)), CALLS);
    let last = said(4, Role::Assistant, Some(episode(3, 2)), LAST);
    [first, said(3, Role::Tool, None, RESULTS), last]
        .iter()
        .flat_map(|message| render(CHAT, message))
        .collect()
}

/// Tells what is behind a client's position, up to the end of the turn.
fn tell(position: Position) -> Vec<(Said, Position)> {
    let behind = position.mark.cursor.map_or(0, |cursor| cursor.snapshot_version.0);
    let client = position.mark.cursor.map(|_| (position.mark, position.shown()));
    let later = events().into_iter().filter(|event| event.cursor.snapshot_version.0 > behind);
    let (mut all, here) = marked(from(), client, later.collect());
    let turn =
        Turn { status: TurnStatus::Completed, finish_reason: Some(FinishReason::Stop), ..Turn::queued(TURN) };
    let event = TurnEvent::End(End::Over(turn));
    all.push(Marked { event, episode: None, before: here, after: here });
    let mut telling = Telling::new(run(true), position);
    let told = all.into_iter().flat_map(|marked| telling.tell(marked).0);
    told.collect()
}

fn value(said: &Said) -> Value {
    match said {
        Said::Event(event) => serde_json::from_str(event.get()).expect("JSON"),
        Said::Snapshot(up_to) => json!({"snapshot": up_to}),
    }
}

fn kinds(said: &[(Said, Position)]) -> Vec<String> {
    let kind = |said| value(said)["type"].as_str().unwrap_or("snapshot").to_owned();
    said.iter().map(|(said, _)| kind(said)).collect()
}

/// A client: messages by their names, and what is open.
#[derive(Clone, Debug, Default, PartialEq)]
struct Shown {
    messages: Vec<(String, String)>,
    open: Vec<String>,
}

impl Shown {
    fn apply(&mut self, said: &Said) {
        let event = value(said);
        let of = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
        let is_open = |shown: &Self, id: &str| shown.open.iter().any(|open| open == id);
        match event["type"].as_str() {
            Some("TEXT_MESSAGE_START" | "REASONING_MESSAGE_START") => {
                let id = of("messageId");
                assert!(self.open.is_empty(), "one at a time");
                if self.messages.iter().all(|(known, _)| *known != id) {
                    self.messages.push((id.clone(), String::new()));
                }
                self.open.push(id);
            }
            Some("TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT") => {
                assert!(is_open(self, &of("messageId")), "{event}");
                let message = self.messages.iter_mut().find(|(id, _)| *id == of("messageId"));
                message.expect("it has begun").1.push_str(&of("delta"));
            }
            Some("TEXT_MESSAGE_END" | "REASONING_MESSAGE_END") => {
                assert!(is_open(self, &of("messageId")), "{event}");
                self.open.clear();
            }
            Some("TOOL_CALL_START") => {
                assert!(self.open.is_empty());
                let call = format!("{} {}", of("toolCallName"), of("parentMessageId"));
                self.messages.push((of("toolCallId"), call));
            }
            Some("TOOL_CALL_ARGS") => {
                let call = self.messages.iter_mut().find(|(id, _)| *id == of("toolCallId"));
                call.expect("it has begun").1.push_str(&of("delta"));
            }
            Some("TOOL_CALL_RESULT") => self.messages.push((of("messageId"), of("content"))),
            Some("RUN_FINISHED") => assert!(self.open.is_empty(), "nothing is open at the end"),
            Some(_) => {}
            None => {
                assert!(self.open.is_empty(), "a history inside an open message breaks the client");
                assert_eq!(event["snapshot"], 3, "what was told before is kept");
                let kept = history().len() - 2;
                let names: Vec<String> = history().into_iter().take(kept).map(|message| message.id).collect();
                self.messages.retain(|(id, _)| names.contains(id) || ["a", "b"].contains(&&**id));
            }
        }
    }
}

#[test]
fn a_turn_is_told_as_it_is_kept() {
    let all = tell(Position::begin(CHAT, TURN, TURN));
    let mut shown = Shown::default();
    all.iter().for_each(|(said, _)| shown.apply(said));
    let names = |of: &[(String, String)]| of.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    let kept: Vec<(String, String)> = history()
        .into_iter()
        .map(|message| {
            (
                message.id,
                message.content.map_or(String::new(), |content| content.as_str().unwrap_or_default().into()),
            )
        })
        .collect();
    let texts: Vec<_> =
        shown.messages.iter().filter(|(id, _)| !["a", "b"].contains(&&**id)).cloned().collect();
    let sorted = |mut all: Vec<(String, String)>| {
        all.sort();
        all
    };
    assert_eq!(sorted(texts), sorted(kept), "S4: {:?}", names(&shown.messages));
    let calls: Vec<_> = shown.messages.iter().filter(|(id, _)| ["a", "b"].contains(&&**id)).collect();
    assert!(calls[0].1.starts_with("f a1.1.1-") && calls[0].1.ends_with("{\"n\": 1}"), "{calls:?}");
    let expected = [
        "STATE_DELTA",
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "TOOL_CALL_RESULT",
    ];
    assert_eq!(kinds(&all)[..expected.len()], expected);
    assert_eq!(value(&all[all.len() - 1].0)["outcome"], json!({"type": "success"}));
}

/// Whoever was told up to any event, and comes to any replica, shows the same in the end.
#[test]
fn who_comes_back_behind_any_event_shows_the_same() {
    let all = tell(Position::begin(CHAT, TURN, TURN));
    let mut whole = Shown::default();
    all.iter().for_each(|(said, _)| whole.apply(said));
    let mut told = BTreeSet::new();
    for at in 0..all.len() {
        let mut shown = Shown::default();
        all[..=at].iter().for_each(|(said, _)| shown.apply(said));
        let text = all[at].1.to_text();
        assert!(told.insert(text.clone()), "each event has another: {text}");
        let rest = tell(Position::parse(CHAT, &text).expect("a position"));
        let ids: BTreeSet<_> = rest.iter().map(|(_, position)| position.to_text()).collect();
        assert!(ids.is_disjoint(&told), "the client drops an event whose id it knows");
        rest.iter().for_each(|(said, _)| shown.apply(said));
        let at = value(&all[at].0);
        assert_eq!(shown, whole, "behind {at}: {:?}", kinds(&rest));
    }
}

#[test]
fn what_is_told_names_nothing_of_a_replica() {
    let of = |run: Run| {
        let mut telling = Telling::new(run, Position::begin(CHAT, TURN, TURN));
        let (marked, _) = marked(from(), None, events());
        let told = marked.into_iter().flat_map(|marked| telling.tell(marked).0);
        told.map(|(said, position)| (value(&said), position.to_text())).collect::<Vec<_>>()
    };
    assert_eq!(of(run(true)), of(run(true)));
}

#[test]
fn every_end_is_told_in_words_that_do_not_break_the_client() {
    let end = |is_one: bool, end: End| {
        let mut telling = Telling::new(run(is_one), Position::begin(CHAT, TURN, TURN));
        let (before, after) = (Mark::default(), Mark::default());
        let (said, then) = telling.tell(Marked { event: TurnEvent::End(end), episode: None, before, after });
        (said.iter().map(|(said, _)| value(said)).collect::<Vec<_>>(), then)
    };
    let over = |status: TurnStatus| {
        let error = Some(RunError { code: "c".into(), message: "it broke".into() });
        End::Over(Turn {
            status,
            error: error.filter(|_| status == TurnStatus::Failed),
            ..Turn::queued(TURN)
        })
    };
    let finished = |outcome: Option<&str>| {
        let mut event = json!({"type": "RUN_FINISHED", "threadId": "t", "runId": "r"});
        if let Some(outcome) = outcome {
            event["outcome"] = json!({"type": outcome});
        }
        (vec![event], Then::Finish)
    };
    assert_eq!(end(true, over(TurnStatus::Completed)), finished(Some("success")));
    assert_eq!(end(false, over(TurnStatus::Completed)), finished(None));
    assert_eq!(end(true, over(TurnStatus::Interrupted)), finished(Some("cancelled")));
    assert_eq!(end(false, over(TurnStatus::Interrupted)), finished(None), "0.0.59 breaks on it");
    let failed = json!({"type": "RUN_ERROR", "message": "it broke", "code": "c"});
    assert_eq!(end(true, over(TurnStatus::Failed)), (vec![failed], Then::Finish));
    assert_eq!(end(true, End::Gone).1, Then::Finish);
    assert_eq!(end(true, End::Cut), (vec![], Then::Cut));
    assert_eq!(end(true, End::Anew), (vec![], Then::Anew));
    assert_eq!(end(true, End::Asked), (vec![], Then::Ask));
}

#[test]
fn what_the_client_brought_itself_is_not_told_to_it() {
    let mut telling = Telling::new(run(true), Position::begin(CHAT, TURN, TURN));
    let json = RESULTS.replace("\"a\"", "\"brought\"");
    let (before, after) = (Mark::default(), Mark::default());
    let event = TurnEvent::Results(said(3, Role::Tool, None, &json));
    let (told, _) = telling.tell(Marked { event, episode: None, before, after });
    let told: Vec<_> = told.iter().map(|(said, _)| value(said)).collect();
    let id = ids::result(CHAT, MessageId(3), 1);
    let metadata = json!({"tanstack": {"state": "output-error"}});
    let expected = json!([{
        "type": "TOOL_CALL_RESULT", "messageId": id, "toolCallId": "b", "content": "no", "role": "tool", "metadata": metadata,
    }]);
    assert_eq!(json!(told), expected);
    // A history takes the place of all that the client has, and of that, too.
    let mut telling = Telling::new(run(true), Position::begin(CHAT, TURN, TURN));
    telling.begin_anew(TURN);
    let event = TurnEvent::Results(said(3, Role::Tool, None, &json));
    assert_eq!(telling.tell(Marked { event, episode: None, before, after }).0.len(), 2, "S11");
}

#[test]
fn calls_that_wait_are_asked_for_and_none_that_is_answered() {
    let call = OpenCall {
        id: "a".into(),
        name: "f".into(),
        input: "{\"n\": 1}".into(),
        carrier: mainstem_machine::Carrier::Client,
        result: None,
    };
    let answered =
        OpenCall { id: "b".into(), result: Some(mainstem_machine::CallResult::error("no")), ..call.clone() };
    let mut telling = Telling::new(run(false), Position::begin(CHAT, TURN, TURN));
    assert!(telling.ask(std::slice::from_ref(&answered)).is_none());
    let told = telling.ask(&[call, answered]).expect("one waits");
    let outcome = &value(&told[0].0)["outcome"];
    let expected = json!({"kind": "client_tool", "toolName": "f", "input": {"n": 1}});
    assert_eq!((&outcome["type"], &outcome["interrupts"][0]["metadata"]), (&json!("interrupt"), &expected));
    assert_eq!(outcome["interrupts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_turn_that_is_told_anew_closes_what_is_open_first() {
    let mut telling = Telling::new(run(true), Position::begin(CHAT, TURN, TURN));
    let mark = Mark { cursor: Some(Cursor::default()), begun: true, queued: false, runs: true };
    let preview = PreviewPosition {
        episode: episode(1, 1),
        lease: mainstem_machine::Lease(1),
        to: PreviewProgress::Seq(Seq(1)),
    };
    let after = Mark { cursor: Some(Cursor { preview: Some(preview), ..Cursor::default() }), ..mark };
    let event = TurnEvent::Piece { place: 0, block: Block::Text, text: "on".into() };
    telling.tell(Marked { event, episode: Some(episode(1, 1)), before: mark, after });
    let told = telling.begin_anew(MessageId(9));
    assert_eq!(kinds(&told), ["TEXT_MESSAGE_END", "snapshot"]);
    let last = told[1].1;
    assert_eq!(
        (last.mark.cursor, last.after, last.open, last.partial),
        (None, MessageId(9), Open::Nothing, None)
    );
    assert!(last.count > 3, "no event has another's id");
}
