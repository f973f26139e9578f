//! S12 and its neighbours: turns that begin again, and those of a chat that is created with a history.

use std::sync::Arc;

use mainstem_machine::{
    ChatState, Command, Content, MessageId, NewMessage, Role, SendMode, Turn, TurnStatus, Usage,
};

use super::scene::{CHAT, Scene};
use crate::Committed;

const AGAIN: Command = Command::Regenerate { message: None, mode: SendMode::Queue };

fn alter(change: &mut Committed, alter: impl FnOnce(&mut ChatState)) {
    let mut state = ChatState::clone(&change.state);
    alter(&mut state);
    change.state = Arc::new(state);
}

/// An answer is there, and is to be given again.
fn answered() -> Scene {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.finish("a ");
    scene
}

fn turn(change: &mut Committed, alter_turn: impl FnOnce(&mut Turn)) {
    alter(change, |state| alter_turn(state.turn.as_mut().expect("it has a turn")));
}

#[test]
fn an_answer_that_is_given_again_is_an_answer() {
    let mut scene = answered();
    scene.commit(AGAIN);
    scene.begin("A");
    scene.say("b ");
    scene.finish("b ");
    scene.expect_nothing();
    // While it runs, and as one that nothing was said of.
    scene.commit(AGAIN);
    scene.commit(Command::Interrupt { episode: None });
    scene.commit(Command::Regenerate { message: Some(MessageId(1)), mode: SendMode::Interrupt });
    scene.expect_nothing();
}

#[test]
fn s12_a_turn_that_does_not_begin_again_from_nothing_is_found() {
    let damages: [fn(&mut Committed); 4] = [
        |change| turn(change, |turn| turn.usage = Some(Usage::default())),
        |change| turn(change, |turn| turn.steps = 1),
        |change| turn(change, |turn| turn.id = turn.id.next()),
        |change| alter(change, |state| state.turn = None),
    ];
    for damage in damages {
        let mut scene = answered();
        let mut change = scene.change(None, AGAIN);
        damage(&mut change);
        scene.take(change);
        scene.expect("S12");
    }
}

#[test]
fn s1_a_cut_elsewhere_than_behind_the_message_is_found() {
    for cut in [None, Some(MessageId(1)), Some(MessageId(3))] {
        let mut scene = answered();
        let mut change = scene.change(None, AGAIN);
        change.cut_from = cut;
        scene.take(change);
        scene.expect("S1");
    }
}

#[test]
fn s7_what_runs_is_cut_off_only_by_who_says_so() {
    let mut scene = Scene::new("A");
    let interrupting = Command::Regenerate { message: None, mode: SendMode::Interrupt };
    let mut change = scene.change(None, interrupting);
    change.command = AGAIN;
    scene.take(change);
    scene.expect("S7");
}

#[test]
fn s8_an_answer_to_a_history_before_the_cut_is_found() {
    let mut scene = answered();
    scene.commit(AGAIN);
    scene.begin("A");
    let completion = mainstem_machine::Completion::STOPPED;
    scene.end_run(crate::RunEnd::Done(completion));
    let (fence, answer) = (scene.fence(), Some(Content::text("")));
    let mut change = scene.change(None, Command::FinishTurn { fence, answer, completion });
    let episode = change.inserted[0].episode.as_mut().expect("it was generated");
    episode.history_version.0 -= 1;
    scene.take(change);
    let found: Vec<_> = scene.judge.found().iter().map(|found| found.guarantee.as_str()).collect();
    assert!(found.contains(&"S8"), "{found:?}");
}

/// A chat is created with two turns, of which one is over, and the judges are told something else.
fn created(damage: impl FnOnce(&mut Committed)) -> Scene {
    let mut scene = answered();
    scene.commit(Command::Delete);
    (scene.state, scene.messages) = (None, vec![]);
    let message = |(role, name): (Role, Option<&str>)| NewMessage {
        role,
        content: Content::text("so"),
        client_id: name.map(Into::into),
    };
    let messages = [(Role::User, Some("a")), (Role::Assistant, Some("b")), (Role::User, None)].map(message);
    let (owner, settings) = ("u".into(), Default::default());
    let command = Command::Create { chat: CHAT, owner, settings, messages: messages.to_vec() };
    scene.ask_only("again", Some("so"));
    let mut change = scene.change(Some("again"), command);
    damage(&mut change);
    scene.take(change);
    scene
}

#[test]
fn s12_a_chat_that_is_created_with_other_turns_than_its_messages_is_found() {
    // What a user said elsewhere was never sent here.
    created(|_| {}).expect_nothing();
    let damages: [fn(&mut Committed); 6] = [
        |change| change.ended.clear(),
        |change| change.ended[0].status = TurnStatus::Interrupted,
        |change| change.ended[0].last = MessageId(1),
        |change| turn(change, |turn| turn.status = TurnStatus::Completed),
        |change| change.inserted[1].turn = None,
        |change| change.inserted[1].client_id = Some("a".into()),
    ];
    for damage in damages {
        created(damage).expect("S12");
    }
}

#[test]
fn s6_a_chat_that_begins_with_something_else_than_it_was_created_with_is_found() {
    let damages: [fn(&mut Committed); 3] = [
        |change| change.inserted[0].content = Content::text("other"),
        |change| change.inserted[1].content = Content::text("other"),
        |change| change.inserted[1].role = Role::System,
    ];
    for damage in damages {
        created(damage).expect("S6");
    }
}
