//! A client that stops anywhere, and goes on at another replica, has all of the answer once.

use std::collections::BTreeMap;

use bytes::Bytes;
use mainstem_machine::{ChatId, Content, FinishReason, Role, Turn, TurnStatus, Version, WallTime};
use serde_json::Value;
use uuid::Uuid;

use super::super::super::turn::Mark;
use super::*;

const CHAT: ChatId = ChatId(Uuid::from_u128(7));
const ID: ResponseId = ResponseId { chat: CHAT, turn: MessageId(1), behind: None };

fn tools() -> ClientTools {
    ClientTools::named(&["ask"])
}

fn episode(attempt: u64) -> Episode {
    Episode { history_version: Version(3), attempt }
}

fn marked(attempt: u64, event: TurnEvent) -> Marked {
    let (before, after) = (Mark::default(), Mark::default());
    Marked { event, episode: Some(episode(attempt)), before, after }
}

fn blocks() -> Vec<(Block, &'static str)> {
    vec![
        (Block::Reasoning, "hm, élan"),
        (Block::Text, "So: ünïcode, and more of it."),
        (Block::tool_call("c1", "find"), " {\"n\":\n 1}"),
        (Block::tool_call("c2", "find"), ""),
        (Block::Text, "end"),
    ]
}

fn message(id: u64, role: Role, attempt: u64, content: Content) -> Arc<Message> {
    let finish_reason = Some(FinishReason::Stop).filter(|_| role == Role::Assistant);
    Arc::new(Message {
        id: MessageId(id),
        revision: Version(9),
        role,
        content,
        interrupted: false,
        episode: Some(episode(attempt)).filter(|_| role == Role::Assistant),
        finish_reason,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: Some(MessageId(1)),
        created_at: WallTime::default(),
    })
}

/// Pieces of so many characters, of as many blocks as there are; then the commit, if all are told.
fn answer(attempt: u64, chars: usize, is_whole: bool) -> Vec<Marked> {
    let mut events = vec![];
    for (place, (block, text)) in (0..).zip(blocks()) {
        let letters: Vec<char> = text.chars().collect();
        let mut pieces: Vec<String> =
            letters.chunks(chars.max(1)).map(|piece| piece.iter().collect()).collect();
        if pieces.is_empty() {
            pieces.push(String::new());
        }
        for text in pieces {
            let text = Bytes::from(text);
            events.push(marked(attempt, TurnEvent::Piece { place, block: block.clone(), text }));
        }
    }
    if is_whole {
        events.extend(kept(attempt));
    }
    events
}

/// What is told of an answer that is in the history.
fn kept(attempt: u64) -> Vec<Marked> {
    let own = blocks();
    let content = Content::of_blocks(own.iter().map(|(block, text)| (block, *text)), false);
    let results = r#"[{"type":"tool_result","tool_call_id":"c1","content":"x"},{"type":"tool_result","tool_call_id":"c2","content":"y","is_error":true}]"#;
    let turn = Turn { status: TurnStatus::Completed, ..Turn::queued(MessageId(1)) };
    [
        TurnEvent::Committed(message(2, Role::Assistant, attempt, content)),
        TurnEvent::Answer,
        TurnEvent::Results(message(3, Role::Tool, attempt, Content::from_stored(results))),
        TurnEvent::End(End::Over(turn)),
    ]
    .into_iter()
    .map(|event| marked(attempt, event))
    .collect()
}

/// What is told to who has all up to a number, as far as it is told.
fn told(events: Vec<Marked>, after: Option<u64>) -> Vec<(u64, &'static str, Value)> {
    let mut telling = Telling::new(ID, tools(), after);
    let mut said = telling.begin(false);
    for event in events {
        said.extend(telling.tell(event).0);
    }
    let said = said.into_iter().map(|said| match said {
        Said::Event(kind, json) => {
            let event: Value = serde_json::from_str(json.get()).expect("JSON");
            assert_eq!(event["type"], kind);
            (event["sequence_number"].as_u64().expect("a number"), kind, event)
        }
        Said::Standing { kind, number, up_to, .. } => (number, kind, Value::from(up_to.0)),
        Said::Ended | Said::Gone => (number::END, "end", Value::Null),
    });
    said.collect()
}

/// A client: the text of each item, by its name, and which of them are done.
#[derive(Clone, Debug, Default, PartialEq)]
struct Client(BTreeMap<String, (String, Option<Value>)>);

impl Client {
    fn take(&mut self, kind: &str, event: &Value) {
        let item = || event["item_id"].as_str().or(event["item"]["id"].as_str()).expect("an item").to_owned();
        match kind {
            "response.output_item.added" => {
                assert_eq!(self.0.insert(item(), Default::default()), None, "no item begins twice");
            }
            "response.output_item.done" => {
                self.0.get_mut(&item()).expect("it began").1 = Some(event["item"].clone());
            }
            // What is not in the history is void.
            "response.in_progress" if self.0.values().all(|(_, done)| done.is_none()) => self.0.clear(),
            "response.in_progress" => {
                self.0.retain(|_, (_, done)| done.as_ref().is_some_and(|done| done["status"] != "incomplete"))
            }
            kind if kind.ends_with(".delta") => {
                let text = event["delta"].as_str().expect("a text");
                self.0.get_mut(&item()).expect("it began").0.push_str(text);
            }
            _ => {}
        }
    }

    fn all(events: &[(u64, &'static str, Value)]) -> Self {
        let mut client = Self::default();
        events.iter().for_each(|(_, kind, event)| client.take(kind, event));
        client
    }
}

#[test]
fn each_event_has_one_number_however_the_answer_is_cut_and_when_it_is_kept() {
    let whole = told(kept(1), None);
    let by_number: BTreeMap<u64, &str> = whole.iter().map(|(number, kind, _)| (*number, *kind)).collect();
    assert_eq!(by_number.len(), whole.len());
    for chars in [1, 2, 5, 100] {
        let live = told(answer(1, chars, true), None);
        assert!(live.windows(2).all(|pair| pair[0].0 < pair[1].0), "{live:?}");
        for (number, kind, _) in &live {
            let is_piece = kind.ends_with(".delta");
            assert!(is_piece || by_number.get(number) == Some(kind), "{number} {kind}");
        }
        assert_eq!(Client::all(&live), Client::all(&whole));
    }
}

#[test]
fn who_stops_anywhere_and_goes_on_elsewhere_has_all_of_it_once() {
    let whole = Client::all(&told(kept(1), None));
    for chars in [1, 3, 100] {
        let live = told(answer(1, chars, true), None);
        for stop in 0..live.len() {
            let number = live[stop].0;
            for events in [kept(1), answer(1, 7, true)] {
                let mut client = Client::all(&live[..=stop]);
                let rest = told(events, Some(number));
                assert!(rest.iter().all(|(then, ..)| *then > number));
                rest.iter().for_each(|(_, kind, event)| client.take(kind, event));
                assert_eq!(client, whole, "stopped at {number}");
            }
        }
    }
}

#[test]
fn what_is_void_is_said_to_be_and_what_takes_its_place_has_other_names() {
    let live = |void: bool| {
        let mut events = answer(1, 4, false);
        events.truncate(6);
        if void {
            events.push(marked(1, TurnEvent::Void));
            events.extend(answer(2, 4, true));
        }
        events
    };
    let second = Client::all(&told(kept(2), None));
    let taken_over = told(live(true), None);
    assert!(taken_over.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let mut begun = std::collections::BTreeSet::new();
    let places = taken_over.iter().filter(|(_, kind, _)| *kind == "response.output_item.added");
    assert!(places.map(|(.., event)| event["output_index"].as_u64()).all(|place| begun.insert(place)));
    assert_eq!(Client::all(&taken_over), second);
    // Who was told the first attempt elsewhere, too.
    let first = told(live(false), None);
    for stop in 0..first.len() {
        let mut client = Client::all(&first[..=stop]);
        let rest = told(kept(2), Some(first[stop].0));
        rest.iter().for_each(|(_, kind, event)| client.take(kind, event));
        assert_eq!(client, second);
    }
}

#[test]
fn calls_of_the_servers_are_done_with_what_came_of_them() {
    let whole = Client::all(&told(answer(1, 3, true), None));
    let done: Vec<&Value> = whole.0.values().filter_map(|(_, done)| done.as_ref()).collect();
    let calls: Vec<_> = done.iter().filter(|item| item["type"] == "mcp_call").collect();
    assert_eq!((done.len(), calls.len()), (5, 2));
    assert_eq!((&calls[0]["output"], &calls[0]["arguments"]), (&"x".into(), &"{\"n\":  1}".into()));
    assert_eq!((&calls[1]["status"], &calls[1]["arguments"]), (&"failed".into(), &"{}".into()));
}

#[test]
fn a_response_ends_where_the_client_is_asked() {
    let content = Content::of_blocks([(&Block::tool_call("c", "ask"), "{}")], false);
    let results = r#"[{"type":"tool_result","tool_call_id":"c","content":"x"}]"#;
    let events = [
        TurnEvent::Committed(message(2, Role::Assistant, 1, content)),
        TurnEvent::Answer,
        TurnEvent::Results(message(3, Role::Tool, 1, Content::from_stored(results))),
    ];
    let mut telling = Telling::new(ID, tools(), None);
    let ends: Vec<Then> = events.into_iter().map(|event| telling.tell(marked(1, event)).1).collect();
    assert_eq!(ends, [Then::GoOn, Then::GoOn, Then::Finish]);
}

#[test]
fn who_has_the_end_has_all_and_who_waits_is_told_so() {
    assert_eq!(told(kept(1), Some(number::END)).len(), 0);
    let mut telling = Telling::new(ID, tools(), None);
    let kinds = |said: Vec<Said>| -> Vec<(&'static str, &'static str)> {
        said.iter()
            .filter_map(|said| match said {
                Said::Standing { kind, status, .. } => Some((*kind, *status)),
                _ => None,
            })
            .collect()
    };
    let begin = telling.begin(true);
    assert_eq!(kinds(begin), [("response.created", "queued"), ("response.queued", "queued")]);
    let (said, _) = telling.tell(marked(1, TurnEvent::Begins));
    assert_eq!(kinds(said), [("response.in_progress", "in_progress")]);
    let (said, then) = telling.tell(marked(1, TurnEvent::End(End::Cut)));
    assert_eq!((said.len(), then), (0, Then::Cut), "a cut is no end");
}
