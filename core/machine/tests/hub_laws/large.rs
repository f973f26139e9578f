//! Parts that are as large as they may be, and a byte larger: what is whole stays whole, and a text does not.

use mainstem_machine::hub::{HubEvent, ModelEvent};
use mainstem_machine::limits::{JOINED_PART_BYTES_MAX, WHOLE_PART_BYTES_MAX};
use mainstem_machine::{Block, Body, Command, Seq};

use crate::node::Pending;
use crate::step::{From, Step};
use crate::world::World;

const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A world in which a model says these, and somebody watches.
fn said(parts: impl IntoIterator<Item = (Option<Block>, String)>) -> World {
    let mut world = World::with_answers_of(ANSWER_BYTES_MAX, false);
    let watches = Step::Subscribe { node: 0, from: From::Fresh };
    [Step::Work { node: 0 }, watches, Step::Flow].into_iter().for_each(|step| world.take(step));
    for (begins, text) in parts {
        let model = world.nodes[0].model.expect("it runs");
        world.nodes[0].outgrown = begins == Some(Block::Whole) && text.len() > WHOLE_PART_BYTES_MAX;
        world.court.said(world.now, model.episode, begins.clone(), &text);
        let generation = model.generation;
        world.handle(0, HubEvent::Model(ModelEvent::Generated { generation, begins, text }));
        world.nodes[0].outgrown = false;
    }
    world
}

/// The first and the last part of each event about parts that the viewer is told now, and their bytes.
fn told(world: &mut World) -> Vec<(u64, u64, usize)> {
    let mut joined = mainstem_machine::hub::JoinedParts::default();
    let (now, viewer) = (world.now, world.viewers[0].id);
    let hub = world.nodes[0].hub.as_mut().expect("it works");
    let events = std::iter::from_fn(|| hub.next_event(now, viewer, &mut joined));
    let parts = events.filter_map(|event| match event.body {
        Body::Parts { first_seq: Seq(first), last_seq: Seq(last), text, .. } => {
            Some((first, last, text.len()))
        }
        _ => None,
    });
    parts.collect()
}

/// An object of so many bytes.
fn whole(bytes: usize) -> (Option<Block>, String) {
    let head = r#"{"type":"data","name":"n","data":""#;
    (Some(Block::Whole), format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2)))
}

#[test]
fn what_is_whole_is_one_part_however_large() {
    let mut world = said([whole(JOINED_PART_BYTES_MAX + 1), whole(WHOLE_PART_BYTES_MAX)]);
    assert_eq!(told(&mut world), [(1, 1, JOINED_PART_BYTES_MAX + 1), (2, 2, WHOLE_PART_BYTES_MAX)], "S2");
}

#[test]
fn what_is_whole_and_larger_than_may_be_ends_the_answer() {
    let world = said([whole(WHOLE_PART_BYTES_MAX + 1)]);
    assert!(world.nodes[0].model.is_none(), "B1");
    let [Pending::Apply { command: Command::Fail { error, partial: None, .. }, .. }] =
        &world.nodes[0].pending[..]
    else {
        panic!("it fails: {:?}", world.nodes[0].pending)
    };
    assert_eq!(&*error.code, "answer_too_large");
}

#[test]
fn a_long_text_is_told_in_pieces() {
    for begins in [None, Some(Block::Text), Some(Block::Reasoning), Some(Block::tool_call("id", "name"))] {
        let mut world = said([(begins, "x".repeat(2 * JOINED_PART_BYTES_MAX + 1))]);
        let piece = JOINED_PART_BYTES_MAX;
        assert_eq!(told(&mut world), [(1, 1, piece), (2, 2, piece), (3, 3, 1)], "S2");
    }
}
