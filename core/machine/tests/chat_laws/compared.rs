//! The laws of commands that are applied to a row that somebody knows: what is written by comparing is what the store would have
//! written under the lock, and of two that write at once, the rows are those of one order of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::store::{Held, IdempotencyKey, Request};
use mainstem_machine::{
    AnswerRecord, Applied, Change, ChatId, ChatState, Command, Decision, Effect, Keep, KnownRow, StoreFacts,
    Time, WallTime,
};
use mainstem_rows::Rows;
use proptest::prelude::*;
use uuid::Uuid;

use super::REACHED_MIN;
use super::world::{Op, World, ops};

const CHAT: ChatId = ChatId(Uuid::nil());
const TTL: Duration = Duration::from_secs(15);

/// What came of a command by a row: its name, and "write", "answer" or "lock".
pub(crate) type Came = BTreeMap<(&'static str, &'static str), usize>;

/// What a store tells of the row, in all the ways in which it may be known.
fn ways_to_know(state: Option<&ChatState>, facts: &StoreFacts) -> Vec<KnownRow> {
    let state = state.cloned().map(Arc::new);
    let now = facts.now;
    let ends: &[Option<WallTime>] = match facts.lease_expired {
        true => &[None, Some(now), Some(WallTime(now.0 - 1))],
        false => &[Some(WallTime(now.0 + 1))],
    };
    let read = ends.iter().map(|end| KnownRow { state: state.clone(), lease: Some(*end), now });
    let known = [now, WallTime(0)].map(|now| KnownRow { state: state.clone(), lease: None, now });
    read.chain(known).collect()
}

/// Every decision about a command is what the store would have come to with the same facts.
pub(crate) fn decisions_are_the_stores(
    state: Option<&ChatState>,
    command: &Command,
    facts: &StoreFacts,
    came: &mut Came,
) {
    let key = |key: &str, keep| IdempotencyKey { caller: "ada".into(), key: key.into(), body: [7; 32], keep };
    let keys = [None, Some(key("theirs", Keep::Answer)), Some(key("internal 1", Keep::Decision))];
    let mut keys = keys.iter().cycle();
    for row in ways_to_know(state, facts) {
        for by in [None, Some("someone"), Some("zoe"), Some("stranger")] {
            let (by, idempotency_key) = (by.map(Arc::from), keys.next().cloned().flatten());
            let request = Request { chat: CHAT, command: command.clone(), by, idempotency_key };
            let way = decision_is_the_stores(&request, &row, facts);
            *came.entry((command.name(), way)).or_default() += 1;
        }
    }
}

/// Commands that are written by comparing, and those that are not, each often enough.
pub(crate) fn every_command_went_its_ways(came: &Came) {
    let written = [
        "acquire",
        "begin_attempt",
        "commit_results",
        "commit_step",
        "create",
        "delete_queued",
        "fail",
        "finish_interruption",
        "finish_turn",
        "interrupt",
        "promote",
        "release",
        "send",
        "tool_results",
    ];
    let locked = ["delete", "edit", "expire", "record_retry", "regenerate", "share", "unshare"];
    let of = |wanted| came.iter().filter(move |((_, way), _)| *way == wanted);
    assert!(
        of("write").map(|((name, _), _)| *name).eq(written),
        "what needs more goes by the lock: {came:?}"
    );
    let [writes, answers] = ["write", "answer"].map(|way| of(way).all(|(_, times)| *times >= REACHED_MIN));
    assert!(writes && answers, "D2: {came:?}");
    for name in locked {
        assert!(
            came.get(&(name, "lock")).is_some_and(|times| *times >= REACHED_MIN),
            "D2: {name} of {came:?}"
        );
        assert_eq!(came.get(&(name, "answer")), None, "{name} is answered by no row alone");
    }
}

fn decision_is_the_stores(request: &Request, row: &KnownRow, facts: &StoreFacts) -> &'static str {
    let (command, key) = (&request.command, &request.idempotency_key);
    let now = row.state.as_ref().map_or(row.now, |state| state.updated_at.max(row.now));
    let facts = StoreFacts { now, ..facts.clone() };
    let applied = command.apply_to(row.state.as_deref(), request.by.as_deref(), &facts);
    let acquires = matches!(command, Command::Acquire { .. });
    match request.decide(row) {
        Decision::Write(write) => {
            assert_eq!(write.applied(), applied, "S6: {command:?} is applied as under the lock");
            assert_eq!(Some(&write.change), applied.change());
            assert_eq!(write.request, *request);
            assert_eq!(write.of, row.state.as_ref().map(|state| state.snapshot_version), "S5: of that row");
            let held = if acquires { row.lease } else { None };
            assert_eq!(write.lease, held, "S5: whoever acquires it knows until when it is held");
            assert_eq!(acquires, write.lease.is_some(), "S5: the end of the lease is compared");
            let kept = key.as_ref().map(|key| AnswerRecord::of(&write.accepted, command, key.keep));
            assert_eq!(write.kept, kept, "S6: it is found again under its key");
            assert!(write.change.is_plain());
            changes_no_more_than_is_written(row.state.as_deref(), &write.change);
            "write"
        }
        Decision::Answer(answered) => {
            assert_eq!(answered, applied, "{command:?} is answered as under the lock");
            assert_eq!(answered.effect, Effect::Unchanged);
            assert_eq!(*key, None, "S6: what is kept under a key is written");
            "answer"
        }
        Decision::Lock => {
            let needs_more = !request.can_be_compared() || (acquires && row.lease.is_none());
            let is_kept = key.is_some() && applied.change().is_none();
            let is_not_plain = applied.change().is_some_and(|change| !change.is_plain());
            assert!(needs_more || is_kept || is_not_plain, "{command:?} needs no lock");
            "lock"
        }
    }
}

/// What the statements of a store that writes by comparing do not write.
fn changes_no_more_than_is_written(before: Option<&ChatState>, change: &Change) {
    let Change { deleted, cut_from, reopened, named, shares_changed, listed, unlisted, .. } = change;
    assert_eq!((*deleted, *cut_from, *reopened, &named[..]), (false, None, None, &[][..]));
    assert_eq!((*shares_changed, listed, unlisted), (false, &None, &None));
    let after = &*change.state;
    let Some(before) = before else { return assert_eq!(after.shares[..], []) };
    assert_eq!((after.id, &after.owner, after.created_at), (before.id, &before.owner, before.created_at));
    assert_eq!((&after.title, &after.model), (&before.title, &before.model));
    assert_eq!((&after.external_id, &after.instructions), (&before.external_id, &before.instructions));
    assert_eq!((&after.tools, &after.shares), (&before.tools, &before.shares));
    assert_eq!(after.reset_version, before.reset_version);
    assert!(change.queue_changed || after.queue == before.queue);
    assert!(after.updated_at >= before.updated_at, "a chat's times do not go back");
}

/// What happens to one row, each at a moment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Of the first writer and of the second one.
    Writer(usize),
    /// The holder's lease is renewed.
    Renewal,
}

/// A writer that goes as [`mainstem_machine::Write`] says: it looks at the row, or knows it; then it writes by comparing, and if that
/// does not work out, under the lock.
#[derive(Debug)]
struct Writer {
    request: Request,
    known: Option<KnownRow>,
    answer: Option<Applied>,
}

/// The rows of one chat, and when it is.
#[derive(Clone, Debug)]
struct Database {
    rows: Rows,
    now: Duration,
}

impl Database {
    fn moment(&self) -> (Time, WallTime) {
        (Time::START + self.now, WallTime(self.now.as_millis() as i64))
    }

    fn apply(&mut self, request: &Request) -> Applied {
        let (now, wall) = self.moment();
        self.rows.apply(now, wall, request)
    }

    fn row(&self) -> KnownRow {
        let (now, wall) = self.moment();
        self.rows.known_row(now, wall, CHAT)
    }

    /// Who holds it has its lease renewed, and is told so.
    fn renew(&mut self, held: Option<&(mainstem_machine::ReplicaId, Held)>) -> Vec<Held> {
        let now = self.moment().0;
        held.map_or(vec![], |(replica, held)| self.rows.renew(now, replica, [*held]))
    }

    /// The next step of a writer.
    fn step(&mut self, writer: &mut Writer) {
        let Some(row) = &writer.known else {
            writer.known = Some(self.row());
            return;
        };
        let (now, wall) = self.moment();
        writer.answer = Some(match writer.request.decide(row) {
            Decision::Write(write) if self.rows.write_compared(now, wall, &write) => write.applied(),
            // A row that was not read for it says nothing for certain.
            Decision::Answer(applied) if row.lease.is_some() => applied,
            _ => self.apply(&writer.request),
        });
    }
}

/// What came of all: the rows, what both writers were told, and whose lease was renewed.
type Outcome = (Rows, [Option<Applied>; 2], Vec<Held>);

/// How two write at once.
#[derive(Clone, Debug)]
pub(crate) struct Rivals {
    before: Vec<Op>,
    ops: [Op; 2],
    keys: [Option<u8>; 2],
    /// The lease has run out when they come.
    late: bool,
    /// Which row each of them knows, counted from the newest one; otherwise it looks.
    known: [Option<usize>; 2],
    order: Vec<usize>,
    renews: bool,
}

pub(crate) fn rivals() -> impl Strategy<Value = Rivals> {
    let known = prop::option::of(0..3_usize);
    let key = prop::option::weighted(0.3, 0..2_u8);
    let order = prop::collection::vec(any::<usize>(), 8);
    let pair = ops(3).prop_filter_map("two come", |ops| match &ops[..] {
        [.., first, second] => Some([first.clone(), second.clone()]),
        _ => None,
    });
    let of_a_worker = any::<(bool, bool)>().prop_map(|(first, second)| {
        let acquire = |who| Op::Acquire { who, expired: false, stopping_only: false };
        [acquire(u8::from(first)), acquire(u8::from(second))]
    });
    let ops_at_once = prop_oneof![3 => pair, 1 => of_a_worker];
    (ops(24), ops_at_once, [key.clone(), key], any::<bool>(), [known.clone(), known], order, any::<bool>())
        .prop_map(|(before, ops, keys, late, known, order, renews)| Rivals {
            before,
            ops,
            keys,
            late,
            known,
            order,
            renews,
        })
}

impl Rivals {
    /// Whether both wrote by comparing, one of them after the other had, or one was left out.
    pub(crate) fn come_to_one_order_of_both(&self) -> &'static str {
        let (mut world, mut past) = (World::default(), vec![]);
        let mut database = Database { rows: Rows::new(TTL), now: Duration::ZERO };
        for op in &self.before {
            let (command, facts, _) = world.resolve(op);
            database.now += if facts.lease_expired { TTL } else { Duration::from_millis(1) };
            let request = Request { chat: CHAT, command, by: None, idempotency_key: None };
            if let Some(change) = database.apply(&request).change() {
                world.write_down(change);
                if change.deleted {
                    past.clear();
                }
                past.push(database.row());
            }
        }
        database.now += if self.late { TTL } else { Duration::from_millis(1) };
        let key = |number: u8| IdempotencyKey {
            caller: "ada".into(),
            key: format!("{number}").into(),
            body: [0; 32],
            keep: Keep::Answer,
        };
        let mut writers = [0, 1].map(|at| {
            let (command, ..) = world.resolve(&self.ops[at]);
            let idempotency_key = self.keys[at].map(key);
            let request = Request { chat: CHAT, command, by: None, idempotency_key };
            let acquires = matches!(request.command, Command::Acquire { .. });
            // As replicas know it: the row alone, and what the clock shows.
            let known = self.known[at].and_then(|back| past.iter().rev().nth(back)).filter(|_| !acquires);
            let known = known.map(|row| KnownRow { lease: None, now: database.moment().1, ..row.clone() });
            Writer { request, known, answer: None }
        });
        let state = database.rows.state(CHAT).cloned();
        let held =
            state.and_then(|state| Some((state.worker.clone()?, Held { chat: CHAT, lease: state.lease })));
        let held = held.filter(|_| self.renews);

        let mut turns = vec![Turn::Writer(0), Turn::Writer(1), Turn::Renewal];
        let expected: Vec<Outcome> = orders(&turns)
            .into_iter()
            .map(|turns| {
                let (mut serial, mut answers, mut renewed) = (database.clone(), [None, None], vec![]);
                for turn in turns {
                    match turn {
                        Turn::Writer(at) => answers[at] = Some(serial.apply(&writers[at].request)),
                        Turn::Renewal => renewed = serial.renew(held.as_ref()),
                    }
                }
                (serial.rows, answers, renewed)
            })
            .collect();

        let mut renewed = vec![];
        let mut draws = self.order.iter();
        let mut left_out = 0;
        while !turns.is_empty() {
            let at = draws.next().copied().unwrap_or_default() % turns.len();
            match turns[at] {
                Turn::Writer(writer) => {
                    let writer = &mut writers[writer];
                    let before = database.rows.state(CHAT).map(|state| state.snapshot_version);
                    let known = writer.known.clone();
                    database.step(writer);
                    if writer.answer.is_some() {
                        turns.remove(at);
                        let known = known.and_then(|row| Some(row.state?.snapshot_version));
                        left_out += usize::from(known != before);
                    }
                }
                Turn::Renewal => {
                    renewed = database.renew(held.as_ref());
                    turns.remove(at);
                }
            }
        }
        let answers = writers.map(|writer| writer.answer);
        let changed = answers.iter().flatten().filter(|applied| applied.change().is_some()).count();
        let outcome = (database.rows, answers, renewed);
        assert!(
            expected.contains(&outcome),
            "S5, S6: {outcome:#?} is of no order, and these are {expected:#?}"
        );
        match (changed, left_out) {
            (2, 1..) => "both, one behind the other",
            (2, _) => "both",
            (_, 1..) => "one, and one was left out",
            _ => "at most one",
        }
    }
}

fn orders(turns: &[Turn]) -> Vec<Vec<Turn>> {
    let [first, second, third] = turns else { unreachable!("there are three") };
    [
        [first, second, third],
        [first, third, second],
        [second, first, third],
        [second, third, first],
        [third, first, second],
        [third, second, first],
    ]
    .map(|order| order.map(|turn| *turn).to_vec())
    .to_vec()
}
