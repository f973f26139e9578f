//! The laws of a chat's durable state, on random requests. Each request goes to the machine and to an
//! independent model, and the outcome is checked against the model and the laws.

#[path = "../common/mod.rs"]
mod common;

mod compared;
mod laws;
mod model;
mod names;
mod world;

use std::collections::BTreeMap;

use mainstem_machine::limits::IDS_AHEAD;
use mainstem_machine::{
    Access, Applied, Carrier, ChatState, Command, Completion, MessageId, OpenCall, Rejection, Role, SendMode,
    Status, StoreFacts,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use compared::{Came, decisions_are_the_stores, every_command_went_its_ways, rivals};
use laws::{Intents, Step, every_step};
use model::{By, Call, Chat, Kind, Model, Phase};
use names::Names;
use world::{Claimed, Op, PEOPLE, Wanted, World, number, ops, person, says, who};

const OPS_MAX: usize = 80;
/// `PROPTEST_CASES` asks for more, `LAWS_CASES` for fewer.
const CASES: u32 = 500;
/// The minimum number of times that the deterministic cases reach each row of the table.
const REACHED_MIN: usize = 5;

/// The kind of an outcome: the command, the status before it, and whether it was accepted.
type Met = (&'static str, Option<Status>, bool);

#[derive(Debug, Default)]
struct Run {
    world: World,
    model: Model,
    intents: Intents,
    names: Names,
    met: BTreeMap<Met, usize>,
    came: Came,
}

impl Run {
    fn take(&mut self, op: &Op) {
        let before = self.world.clone();
        let (command, facts, ask) = self.world.resolve(op);
        let state = before.state.as_ref();
        let applied = command.apply_to(state, Some("someone"), &facts);
        strangers_and_servers_see_the_same(state, &command, &facts, &applied);
        decisions_are_the_stores(state, &command, &facts, &mut self.came);
        if let (Some(state), Some(chat)) = (state, &self.model.0) {
            for user in 0..PEOPLE {
                let asked = command.apply_to(Some(state), Some(&person(user)), &facts);
                let expected = match chat.refuses(user, &ask) {
                    Some(rejection) => Applied::rejected(rejection),
                    None => applied.clone(),
                };
                let outcome =
                    if asked.answer == Err(Rejection::ReadOnly) { "refused to a reader" } else { "asked" };
                assert_eq!(asked, expected, "S10: {} by {}", command.name(), person(user));
                *self.met.entry((outcome, None, asked.answer.is_ok())).or_default() += 1;
            }
        }
        let expected = self.model.ask(&ask);
        let changed = applied.answer.as_ref().map(|_| applied.change().is_some());
        assert_eq!(changed.map_err(|r| *r), expected, "{} on {state:?}", command.name());
        every_step(&Step { before: state, command: &command, facts: &facts, applied: &applied });
        if applied.answer.is_ok() {
            self.intents.note(&ask, &before);
        }
        if let Some(change) = applied.change() {
            self.names.note(&command, state, change);
            self.world.write_down(change);
        }
        assert_same(&self.model, &self.world);
        self.intents.assert_kept(&self.world);
        *self.met.entry((command.name(), state.map(|s| s.status), applied.answer.is_ok())).or_default() += 1;
    }
}

fn strangers_and_servers_see_the_same(
    state: Option<&ChatState>,
    command: &Command,
    facts: &StoreFacts,
    applied: &Applied,
) {
    assert_eq!(&command.apply_to(state, None, facts), applied, "the server asks for anybody");
    assert_eq!(&command.apply_to(state, Some("someone"), facts), applied, "the same again is the same");
    if state.is_some() {
        let stranger = command.apply_to(state, Some("stranger"), facts);
        assert_eq!(
            stranger,
            Applied::rejected(Rejection::NoSuchChat),
            "S10: to others a chat does not exist"
        );
    }
}

/// Asserts that the model and the rows agree.
fn assert_same(model: &Model, world: &World) {
    let (Some(chat), Some(state)) = (&model.0, &world.state) else {
        assert_eq!((model.0.is_some(), world.messages.len()), (world.state.is_some(), 0));
        return;
    };
    let kind = |message: &mainstem_machine::Message| match (message.episode, message.interrupted) {
        (None, _) if message.role == Role::Tool => Kind::Results,
        (None, _) if message.role == Role::Assistant => Kind::Told,
        (None, _) => Kind::Said,
        (Some(_), false) => Kind::Generated,
        (Some(_), true) => Kind::Partial,
    };
    let text = |message: &mainstem_machine::Message| match message.role {
        Role::Tool => 0,
        _ => says(&message.content),
    };
    let call = |call: &OpenCall| {
        let by = match call.carrier {
            Carrier::Client => By::Client,
            Carrier::Server => By::Once,
            Carrier::ServerAgain => By::Again,
        };
        Call { by, answered: call.result.is_some() }
    };
    let phase = match state.status {
        Status::Waiting => Phase::Idle,
        Status::Running => Phase::Running,
        Status::Interrupting => Phase::Stopping,
        Status::RequiresAction => Phase::Asking,
        Status::Error => Phase::Broken,
    };
    let rows = Chat {
        history: world.messages.iter().map(|message| (kind(message), text(message))).collect(),
        calls: state.calls.iter().map(call).collect(),
        shares: state.shares.iter().map(|share| (number(&share.user), share.may == Access::Write)).collect(),
        queue: state.queue.iter().map(|queued| says(&queued.content)).collect(),
        phase,
        holder: state.worker.as_ref().map(who),
        term: state.lease.0,
        attempt: state.attempt,
        live: state.live_episode().is_some(),
        retrying: state.retry.is_some(),
        version: state.snapshot_version.0,
        history_at: state.history_version.0,
        queue_at: state.queue_version.0,
        cut_at: state.reset_version.0,
    };
    assert_eq!(&rows, chat, "S1, S6, S8: the rows (left) are what the model says (right)");
    for message in &world.messages {
        let said = Completion { finish_reason: message.finish_reason, usage: message.usage };
        let wanted = match (kind(message), message.role) {
            (Kind::Generated, Role::Assistant) if said != Completion::default() => {
                world::completion(says(&message.content))
            }
            _ => Completion::default(),
        };
        assert_eq!(said, wanted, "S1: only a complete answer tells how it ended, and as its model said");
    }
    assert!(world.messages.is_sorted_by(|a, b| a.id < b.id), "S1: history is in the order of its ids");
    assert_eq!(world.messages.last().map(|m| m.id).unwrap_or_default(), state.last_message, "S1");
}

proptest! {
    #![proptest_config(common::config(CASES))]

    #[test]
    fn a_chat_does_what_the_model_does_and_keeps_the_laws(ops in ops(OPS_MAX)) {
        let mut run = Run::default();
        for op in &ops {
            run.take(op);
        }
    }
}

proptest! {
    #![proptest_config(common::config(CASES))]

    #[test]
    fn of_two_that_write_at_once_the_rows_are_those_of_one_order(rivals in rivals()) {
        rivals.come_to_one_order_of_both();
    }
}

/// Guards the test above.
#[test]
fn random_rivals_meet_each_other_in_every_way() {
    let mut met = BTreeMap::<&str, usize>::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..2 * CASES {
        let rivals = rivals().new_tree(&mut runner).unwrap().current();
        *met.entry(rivals.come_to_one_order_of_both()).or_default() += 1;
    }
    assert!(met.len() == 4 && met.values().all(|times| *times >= REACHED_MIN), "D2: {met:?}");
}

/// Guards the tests above: a law that was never exercised proves nothing.
#[test]
fn the_random_requests_reach_every_row_of_the_table() {
    let (mut met, mut came) = (BTreeMap::<Met, usize>::new(), Came::new());
    let mut runner = TestRunner::deterministic();
    for _ in 0..2 * CASES {
        let ops = ops(OPS_MAX).new_tree(&mut runner).unwrap().current();
        let mut run = Run::default();
        ops.iter().for_each(|op| run.take(op));
        for (what, times) in run.met {
            *met.entry(what).or_default() += times;
        }
        for (what, times) in run.came {
            *came.entry(what).or_default() += times;
        }
    }
    every_command_went_its_ways(&came);
    use Status::{Error, Interrupting, RequiresAction, Running, Waiting};
    let accepted: &[(&str, &[Status])] = &[
        ("send", &[Waiting, Running, Interrupting, RequiresAction, Error]),
        ("edit", &[Waiting, Running, Interrupting, RequiresAction, Error]),
        ("regenerate", &[Waiting, Running, Interrupting, RequiresAction, Error]),
        ("interrupt", &[Running, Interrupting, RequiresAction]),
        ("tool_results", &[Running, RequiresAction]),
        ("delete_queued", &[Running, Interrupting, RequiresAction, Error]),
        ("promote", &[Running, Interrupting, RequiresAction, Error]),
        ("delete", &[Waiting, Error]),
        ("share", &Status::ALL),
        ("unshare", &Status::ALL),
        ("acquire", &[Running, Interrupting]),
        ("release", &[Running, Interrupting]),
        ("begin_attempt", &[Running]),
        ("record_retry", &[Running]),
        ("commit_step", &[Running]),
        ("commit_results", &[Running]),
        ("finish_turn", &[Running]),
        ("finish_interruption", &[Interrupting]),
        ("fail", &[Running]),
    ];
    for (name, statuses) in accepted {
        for status in Status::ALL {
            let times = met.get(&(name, Some(status), true)).copied().unwrap_or_default();
            if statuses.contains(&status) {
                assert!(times >= REACHED_MIN, "D2: {name} in {status:?} was accepted {times} times only");
            } else {
                assert_eq!(times, 0, "{name} is not accepted in {status:?}");
            }
        }
    }
    let refused = met.get(&("refused to a reader", None, false)).copied().unwrap_or_default();
    assert!(refused >= REACHED_MIN, "D2: readers were refused {refused} times only");
    // That nobody who may ask is refused to take a share back is a law of its own.
    for name in accepted.iter().map(|(name, _)| *name).filter(|name| *name != "unshare") {
        let rejected = met.iter().filter(|((met, _, ok), _)| *met == name && !ok);
        let times: usize = rejected.map(|(_, times)| times).sum();
        assert!(times >= REACHED_MIN, "D2: {name} was rejected {times} times only");
    }
}

/// The gap before what waits is left free for what a turn says. What was queued there and deleted has had its id.
#[test]
fn a_turn_that_says_more_than_there_is_room_for_gives_no_id_twice() {
    let send = Op::Send { mode: SendMode::Queue, queue_max: 2 };
    let right = |write| Op::Write { claim: Claimed::Right, write };
    let acquire = Op::Acquire { who: 0, expired: false, stopping_only: false };
    let mut run = Run::default();
    for op in [Op::Create { users: vec![true] }, acquire, send.clone(), send, Op::DeleteQueued { which: 0 }] {
        run.take(&op);
    }
    let waits = run.world.state.as_ref().expect("a chat").queue[0].id;
    let call = Call { by: By::Again, answered: true };
    for _ in 0..=IDS_AHEAD / 2 {
        run.take(&right(Wanted::Begin));
        run.take(&right(Wanted::Step(vec![call])));
    }
    let is_given = |id| run.world.messages.iter().any(|message| message.id == id);
    assert!(is_given(MessageId(IDS_AHEAD)), "S12: it has all the room there is");
    assert!(run.world.messages.last().is_some_and(|last| last.id > waits), "S1: and then goes on behind all");
}
