//! The replica's state machine, event by event.

#[path = "told/replica.rs"]
mod told;

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{HubEvent, LeaseEvent, OpOutcome};
use mainstem_machine::replica::{Heartbeat, ReplicaAction, ReplicaConfig, ReplicaEvent, SyncResult};
use mainstem_machine::{
    ChatId, ChatState, Command, Content, Effect, NewMessage, OpId, ReplicaId, Status, StoreFacts, Time,
    WallTime,
};
use uuid::Uuid;

use crate::told::Replica;

const CHAT: ChatId = ChatId(Uuid::from_u128(1));
const POLL_INTERVAL: Duration = Duration::from_secs(1);

fn actions(replica: &mut Replica) -> Vec<ReplicaAction> {
    std::iter::from_fn(|| replica.poll_action()).collect()
}

fn syncs(replica: &mut Replica) -> Vec<OpId> {
    let sync = |action| match action {
        ReplicaAction::Sync { op, .. } => Some(op),
        _ => None,
    };
    actions(replica).into_iter().filter_map(sync).collect()
}

fn heartbeats(replica: &mut Replica) -> Vec<OpId> {
    let heartbeat = |action| match action {
        ReplicaAction::Heartbeat { op, .. } => Some(op),
        _ => None,
    };
    actions(replica).into_iter().filter_map(heartbeat).collect()
}

fn replica(workers: usize) -> Replica {
    let id = ReplicaId::new("a").expect("an id");
    let (heartbeat, poll_interval) = (POLL_INTERVAL / 2, POLL_INTERVAL);
    Replica::new(Time::START, ReplicaConfig { replica: id, workers, heartbeat, poll_interval })
}

/// A runnable chat as it is after `id` acquired it.
fn acquired(id: &str) -> Arc<ChatState> {
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let content = Some(Content::text("hello"));
    let create = Command::Create {
        chat: CHAT,
        owner: "ada".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    };
    let acquire = Command::Acquire { replica: ReplicaId::new(id).expect("an id"), interrupting_only: false };
    let mut state = None;
    for command in [create, acquire] {
        match command.apply_to(state.as_deref(), None, &facts).effect {
            Effect::Changed(change) => state = Some(change.state),
            other => panic!("expected a change, came {other:?}"),
        }
    }
    state.expect("two commands were applied")
}

fn acquisitions(actions: &[ReplicaAction]) -> Vec<(OpId, bool)> {
    let ask = |action: &ReplicaAction| match action {
        ReplicaAction::Acquire { op, command: Command::Acquire { interrupting_only, .. }, .. } => {
            Some((*op, *interrupting_only))
        }
        _ => None,
    };
    actions.iter().filter_map(ask).collect()
}

fn free(status: Status) -> ReplicaEvent {
    ReplicaEvent::Free { chat: CHAT, status }
}

#[test]
fn an_answer_that_comes_later_than_the_next_heartbeat_still_confirms() {
    let mut replica = replica(1);
    replica.handle(Time::START, free(Status::Running));
    let all = actions(&mut replica);
    let asked = acquisitions(&all);
    assert_eq!(asked.len(), 1);
    let state = acquired("a");
    replica.handle(after(1), ReplicaEvent::Acquired { op: asked[0].0, outcome: OpOutcome::Done(Ok(state)) });
    actions(&mut replica);
    replica.handle(after(500), ReplicaEvent::Wake);
    let slow = heartbeats(&mut replica)[0];
    replica.handle(after(1000), ReplicaEvent::Wake);
    assert_eq!(heartbeats(&mut replica).len(), 1, "the slow one is not waited for");
    let confirmed = Heartbeat::Confirmed { leases: vec![(CHAT, mainstem_machine::Lease(1))], peers: vec![] };
    replica
        .handle(after(1200), ReplicaEvent::HeartbeatResult { op: slow, outcome: OpOutcome::Done(confirmed) });
    let sent_at = after(500);
    let event = HubEvent::Lease(LeaseEvent::Confirmed { lease: mainstem_machine::Lease(1), sent_at });
    let confirm = ReplicaAction::To { chat: CHAT, event };
    assert!(actions(&mut replica).contains(&confirm), "S5: it counts from when it was sent");
}

#[test]
fn a_chat_is_asked_for_once_however_often_it_is_told_of() {
    let mut replica = replica(4);
    replica.handle(Time::START, free(Status::Running));
    assert_eq!(acquisitions(&actions(&mut replica)).len(), 1);
    replica.handle(after(1), free(Status::Running));
    assert!(acquisitions(&actions(&mut replica)).is_empty());
}

#[test]
fn without_a_slot_only_an_interruption_is_acquired() {
    let mut replica = replica(0);
    replica.handle(Time::START, free(Status::Running));
    assert!(acquisitions(&actions(&mut replica)).is_empty());
    let mut other = self::replica(0);
    other.handle(Time::START, free(Status::Interrupting));
    let all = actions(&mut other);
    assert!(matches!(acquisitions(&all)[..], [(_, true)]), "L2: finishing one needs no place");
}

#[test]
fn who_drains_takes_nothing_more() {
    let mut replica = replica(4);
    replica.handle(Time::START, ReplicaEvent::Drain);
    actions(&mut replica);
    replica.handle(after(1), free(Status::Running));
    assert!(acquisitions(&actions(&mut replica)).is_empty());
    assert!(replica.is_drained());
}

#[test]
fn an_acquisition_of_unknown_outcome_is_asked_for_again_after_a_while() {
    let mut replica = replica(4);
    replica.handle(Time::START, free(Status::Running));
    let all = actions(&mut replica);
    let (op, _) = acquisitions(&all)[0];
    replica.handle(after(1), ReplicaEvent::Acquired { op, outcome: OpOutcome::Unknown });
    assert!(acquisitions(&actions(&mut replica)).is_empty(), "L4: not at once");
    let due = replica.poll_timeout().expect("it waits for something").at;
    assert!(due > after(1));
    replica.handle(due, ReplicaEvent::Wake);
    assert_eq!(acquisitions(&actions(&mut replica)).len(), 1);
}

fn after(milliseconds: u64) -> Time {
    Time::START + Duration::from_millis(milliseconds)
}

/// The looks that are asked for, with every heartbeat answered.
fn looks_with_beats(replica: &mut Replica, now: Time) -> Vec<OpId> {
    let mut syncs = vec![];
    for action in actions(replica) {
        match action {
            ReplicaAction::Sync { op, .. } => syncs.push(op),
            ReplicaAction::Heartbeat { op, .. } => {
                replica.handle(
                    now,
                    ReplicaEvent::HeartbeatResult {
                        op,
                        outcome: OpOutcome::Done(Heartbeat::Confirmed { leases: vec![], peers: vec![] }),
                    },
                );
            }
            _ => {}
        }
    }
    syncs
}

#[test]
fn a_database_that_gives_no_answer_is_away_until_it_gives_one() {
    let mut replica = replica(1);
    replica.handle(Time::START, ReplicaEvent::Wake);
    let first = looks_with_beats(&mut replica, Time::START)[0];
    assert!(!replica.is_connected(), "it has not answered yet");
    let done = || OpOutcome::Done(SyncResult::default());
    replica.handle(after(10), ReplicaEvent::Synced { op: first, outcome: done() });
    assert!(replica.is_connected() && syncs(&mut replica).is_empty());
    // The next sync hangs, and its failure arrives when the one after it is in flight.
    replica.handle(after(1010), ReplicaEvent::Wake);
    let hanging = looks_with_beats(&mut replica, after(1010))[0];
    replica.handle(after(2010), ReplicaEvent::Wake);
    let next = looks_with_beats(&mut replica, after(2010))[0];
    assert!(!replica.is_connected());
    replica.handle(after(2100), ReplicaEvent::Synced { op: hanging, outcome: OpOutcome::Refused });
    assert!(!replica.is_connected() && syncs(&mut replica).is_empty());
    replica.handle(after(2200), ReplicaEvent::Synced { op: next, outcome: done() });
    assert!(replica.is_connected());
}

#[test]
fn a_database_that_does_not_take_heartbeats_is_not_one_to_work_with() {
    let mut replica = replica(1);
    replica.handle(Time::START, ReplicaEvent::Wake);
    let asked = actions(&mut replica);
    let op = |wanted: fn(&ReplicaAction) -> Option<OpId>| asked.iter().find_map(wanted).expect("it is asked");
    let sync = op(|action| if let ReplicaAction::Sync { op, .. } = action { Some(*op) } else { None });
    let heartbeat =
        op(|action| if let ReplicaAction::Heartbeat { op, .. } = action { Some(*op) } else { None });
    let outcome = OpOutcome::Done(SyncResult::default());
    replica.handle(after(1), ReplicaEvent::Synced { op: sync, outcome });
    assert!(!replica.is_connected(), "it can be read, and nobody knows whether it can be written");
    replica.handle(
        after(2),
        ReplicaEvent::HeartbeatResult {
            op: heartbeat,
            outcome: OpOutcome::Done(Heartbeat::Confirmed { leases: vec![], peers: vec![] }),
        },
    );
    assert!(replica.is_connected());
    let later = [
        (OpOutcome::Refused, false),
        (OpOutcome::Done(Heartbeat::Confirmed { leases: vec![], peers: vec![] }), true),
        (OpOutcome::Unknown, false),
    ];
    for (outcome, connected) in later
        .into_iter()
        .chain([(OpOutcome::Done(Heartbeat::Confirmed { leases: vec![], peers: vec![] }), true)])
    {
        let (now, op) = next_beat(&mut replica);
        replica.handle(now, ReplicaEvent::HeartbeatResult { op, outcome });
        assert_eq!(replica.is_connected(), connected);
    }
    // One that is not answered at all is a failure when the next one is due.
    next_beat(&mut replica);
    assert!(replica.is_connected());
    next_beat(&mut replica);
    assert!(!replica.is_connected());
}

/// Lets time pass until a heartbeat is asked for; looks are answered meanwhile.
fn next_beat(replica: &mut Replica) -> (Time, OpId) {
    loop {
        let now = replica.poll_timeout().expect("it waits for something").at;
        replica.handle(now, ReplicaEvent::Wake);
        let mut heartbeat = None;
        for action in actions(replica) {
            match action {
                ReplicaAction::Heartbeat { op, .. } => heartbeat = Some(op),
                ReplicaAction::Sync { op, .. } => {
                    let outcome = OpOutcome::Done(SyncResult::default());
                    replica.handle(now, ReplicaEvent::Synced { op, outcome });
                }
                _ => {}
            }
        }
        if let Some(op) = heartbeat {
            return (now, op);
        }
    }
}
