use mainstem_machine::{Content, Cursor, Episode, OpenCall, ResetReason, WallTime};
use uuid::Uuid;

use super::*;

const TURN: MessageId = MessageId(3);

fn from(since: u64, stale: u64, begun: bool) -> From {
    let (since, stale) = (Version(since), Version(stale));
    From { chat: ChatId(Uuid::nil()), turn: TURN, after: TURN, behind_results: false, begun, since, stale }
}

fn at(version: u64, body: Body) -> StreamEvent {
    StreamEvent { cursor: Cursor { snapshot_version: Version(version), ..Cursor::default() }, body }
}

fn status(status: Status, turn: u64) -> Body {
    let calls: Arc<[OpenCall]> = [].into();
    let (history_version, turn) = (Version(1), Some(MessageId(turn)));
    Body::Status { status, worker: None, history_version, attempt: 1, turn, calls }
}

fn part(place: u32, block: Block, text: &'static str) -> Body {
    let episode = Episode { history_version: Version(1), attempt: 1 };
    let seq = mainstem_machine::Seq(1);
    Body::Parts { episode, first_seq: seq, last_seq: seq, place, block, text: text.into() }
}

fn reset() -> Body {
    let episode = Episode { history_version: Version(1), attempt: 1 };
    Body::PreviewReset { episode, reason: ResetReason::Takeover }
}

fn said(revision: u64, role: Role, turn: MessageId, json: &str) -> Body {
    Body::Message(Arc::new(Message {
        id: MessageId(revision),
        revision: Version(revision),
        role,
        content: Content::from_stored(json),
        interrupted: false,
        episode: None,
        finish_reason: None,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: Some(turn),
        created_at: WallTime::default(),
    }))
}

/// What is told of events, behind a place where a client is, if it was told anything.
pub(in super::super) fn marked(
    from: From,
    client: Option<(Mark, Shown)>,
    events: Vec<StreamEvent>,
) -> (Vec<Marked>, Mark) {
    let mut reader = match client {
        Some((here, shown)) => Reader::going_on(from, here, shown),
        None => Reader::new(from),
    };
    events.into_iter().for_each(|event| reader.read(event));
    (reader.out.into(), reader.here)
}

const TEXT: &str = r#"[{"type":"text","text":"one two"}]"#;

/// What is told of an answer, in short: news of the chat are left out.
fn told(reader: &mut Reader, events: Vec<StreamEvent>) -> Vec<String> {
    events.into_iter().for_each(|event| reader.read(event));
    let told = reader.out.drain(..).filter_map(|marked| match marked.event {
        TurnEvent::Piece { place, text, .. } => {
            Some(format!("{place}:{}", std::str::from_utf8(&text).expect("UTF-8")))
        }
        TurnEvent::Call(call) => Some(format!("call {}", call.id)),
        TurnEvent::Void => Some("void".into()),
        TurnEvent::Answer => Some("answer".into()),
        TurnEvent::Results(_) => Some("results".into()),
        TurnEvent::End(end) => Some(format!("{end:?}")),
        TurnEvent::Begins | TurnEvent::Committed(_) => None,
        TurnEvent::Queue(_) | TurnEvent::Status(_) | TurnEvent::Retry(_) => None,
    });
    told.collect()
}

#[test]
fn a_message_tells_what_was_not_told_of_it() {
    for (first, rest) in [(None, "0:one two"), (Some("one"), "0: two"), (Some("one two"), "")] {
        let mut reader = Reader::new(from(4, 0, true));
        let mut events = vec![at(5, status(Status::Running, 3))];
        events.extend(first.map(|first| at(5, part(0, Block::Text, first))));
        let mut expected: Vec<String> = first.map(|first| format!("0:{first}")).into_iter().collect();
        expected.extend((!rest.is_empty()).then(|| rest.to_owned()));
        expected.push("answer".into());
        events.push(at(6, said(6, Role::Assistant, TURN, TEXT)));
        events.push(at(6, status(Status::Waiting, 3)));
        assert_eq!(told(&mut reader, events), expected, "S4");
        assert_eq!(reader.over, Over::Ended, "S12");
    }
}

#[test]
fn what_is_void_is_told_only_if_there_was_something() {
    let mut reader = Reader::new(from(4, 0, true));
    let running = || at(5, status(Status::Running, 3));
    assert_eq!(told(&mut reader, vec![running(), at(5, reset())]), Vec::<String>::new());
    let events = vec![
        at(5, part(0, Block::Text, "on")),
        at(6, reset()),
        running(),
        at(6, part(0, Block::Text, "one")),
    ];
    assert_eq!(told(&mut reader, events), ["0:on", "void", "0:one"]);
    let message = at(7, said(7, Role::Assistant, TURN, TEXT));
    assert_eq!(told(&mut reader, vec![message]), ["0: two", "answer"], "S4: of the second attempt");
}

#[test]
fn news_of_before_the_command_say_nothing_of_the_end() {
    let mut reader = Reader::new(from(9, 9, true));
    let old = vec![
        at(8, said(8, Role::Assistant, TURN, TEXT)),
        at(8, status(Status::Running, 3)),
        at(8, part(0, Block::Text, "old")),
        at(8, status(Status::Waiting, 3)),
        at(8, status(Status::RequiresAction, 3)),
    ];
    assert_eq!(told(&mut reader, old), Vec::<String>::new(), "S3");
    assert_eq!(reader.over, Over::No);
    let new = vec![at(10, status(Status::Running, 3)), at(10, part(0, Block::Text, "new"))];
    assert_eq!(told(&mut reader, new), ["0:new"]);
}

#[test]
fn parts_and_messages_of_other_turns_are_none_of_it() {
    let mut reader = Reader::new(from(4, 0, false));
    let queue: Vec<QueuedMessage> = vec![QueuedMessage {
        id: TURN,
        client_id: None,
        revision: Version(4),
        content: Content::text("x"),
        created_at: WallTime::default(),
    }];
    let waits = vec![
        at(4, Body::QueueUpdate(queue.into())),
        at(4, status(Status::Running, 1)),
        at(4, part(0, Block::Text, "theirs")),
        at(5, said(5, Role::Assistant, MessageId(1), TEXT)),
    ];
    assert_eq!(told(&mut reader, waits), Vec::<String>::new());
    let begins = vec![
        at(5, said(5, Role::User, TURN, TEXT)),
        at(5, Body::QueueUpdate([].into())),
        at(5, status(Status::Running, 3)),
        at(5, part(0, Block::Text, "ours")),
    ];
    assert_eq!(told(&mut reader, begins), ["0:ours"]);
    told(
        &mut reader,
        vec![at(8, said(8, Role::User, MessageId(8), TEXT)), at(8, status(Status::Running, 8))],
    );
    assert_eq!(reader.over, Over::Ended, "S12: the next one runs");
}

#[test]
fn a_message_that_was_taken_back_is_gone_and_a_history_that_was_cut_is_told_elsewhere() {
    let mut reader = Reader::new(from(4, 0, false));
    told(&mut reader, vec![at(5, Body::QueueUpdate([].into())), at(5, status(Status::Running, 1))]);
    assert_eq!(reader.over, Over::As(End::Gone));
    let mut reader = Reader::new(from(4, 0, true));
    let shown = vec![
        at(5, status(Status::Running, 3)),
        at(5, part(0, Block::Text, "one")),
        at(6, Body::HistoryReset),
    ];
    told(&mut reader, shown);
    assert_eq!(reader.over, Over::As(End::Anew));
    let mut reader = Reader::new(from(4, 0, true));
    told(&mut reader, vec![at(6, Body::HistoryReset), at(6, status(Status::Waiting, 1))]);
    assert_eq!(reader.over, Over::As(End::Gone), "it did not come again");
}

#[test]
fn what_is_whole_is_told_once_and_calls_when_they_are_kept() {
    let json = concat!(
        r#"[{"type":"reasoning","text":"hm"},{"type":"tool_call","id":"a","name":"f","input":{"n":1}},"#,
        r#"{"type":"source","url":"u"},{"type":"source","url":"v"}]"#
    );
    let mut reader = Reader::new(from(4, 0, true));
    let events = vec![
        at(5, status(Status::Running, 3)),
        at(5, part(0, Block::Reasoning, "h")),
        at(5, part(1, Block::tool_call("a", "f"), "{\"n\"")),
        at(5, part(2, Block::Whole, r#"{"type":"source","url":"u"}"#)),
        at(6, said(6, Role::Assistant, TURN, json)),
        at(6, status(Status::RequiresAction, 3)),
    ];
    let expected = [
        "0:h",
        "1:{\"n\"",
        r#"2:{"type":"source","url":"u"}"#,
        "0:m",
        "call a",
        r#"3:{"type":"source","url":"v"}"#,
        "answer",
    ];
    assert_eq!(told(&mut reader, events), expected);
    assert_eq!(reader.over, Over::As(End::Asked), "S11");
}

#[test]
fn who_goes_on_at_any_mark_is_told_the_rest_and_nothing_twice() {
    let events = || {
        vec![
            at(5, status(Status::Running, 3)),
            at(6, part(0, Block::Text, "one")),
            at(7, said(7, Role::Assistant, TURN, TEXT)),
            at(8, status(Status::Waiting, 3)),
        ]
    };
    let mut reader = Reader::new(from(4, 0, true));
    events().into_iter().for_each(|event| reader.read(event));
    let all: Vec<Marked> = reader.out.drain(..).collect();
    let version = |mark: &Mark| mark.cursor.map(|cursor| cursor.snapshot_version.0);
    let marks: Vec<_> = all.iter().map(|marked| (version(&marked.before), version(&marked.after))).collect();
    let message = (Some(6), Some(6));
    let expected = [
        (None, Some(5)),
        (Some(5), Some(6)),
        message,
        message,
        (Some(6), Some(7)),
        // The end is found again.
        (Some(7), Some(7)),
    ];
    assert_eq!(marks, expected);
    // In the middle of the answer, and of what its message brings.
    for (mark, bytes, rest) in [(6, 3, vec!["0: two", "answer"]), (6, 7, vec!["answer"]), (7, 0, vec![])] {
        let here = all.iter().map(|marked| marked.after).find(|after| version(after) == Some(mark));
        let shown = if bytes == 0 { Shown::default() } else { Shown::up_to(0, bytes) };
        let mut reader = Reader::going_on(from(4, 0, true), here.expect("there is one"), shown);
        let later = events().into_iter().filter(|event| event.cursor.snapshot_version.0 > mark);
        assert_eq!(told(&mut reader, later.collect()), rest, "S4: from {mark}");
        assert_eq!(reader.over, Over::Ended);
    }
    assert!(all[2].before.runs && all[2].before.begun);
}
