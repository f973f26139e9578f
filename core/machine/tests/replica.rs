//! The replica's machine, event by event.

use std::time::Duration;

use mainstem_machine::hub::OpOutcome;
use mainstem_machine::replica::{Outlook, Replica, ReplicaAction, ReplicaConfig, ReplicaEvent};
use mainstem_machine::{OpId, ReplicaId, Time};

const POLL_INTERVAL: Duration = Duration::from_secs(1);

fn looks(replica: &mut Replica) -> Vec<OpId> {
    std::iter::from_fn(|| replica.poll_action())
        .filter_map(|action| match action {
            ReplicaAction::Sync { op, .. } => Some(op),
            _ => None,
        })
        .collect()
}

fn after(milliseconds: u64) -> Time {
    Time::START + Duration::from_millis(milliseconds)
}

#[test]
fn a_database_that_gives_no_answer_is_away_until_it_gives_one() {
    let config = ReplicaConfig {
        replica: ReplicaId::new("a").expect("an id"),
        workers: 1,
        heartbeat: POLL_INTERVAL / 2,
        poll_interval: POLL_INTERVAL,
    };
    let mut replica = Replica::new(Time::START, config);
    replica.handle(Time::START, ReplicaEvent::Wake);
    let first = looks(&mut replica)[0];
    assert!(!replica.is_connected(), "it has not answered yet");
    let done = || OpOutcome::Done(Outlook::default());
    replica.handle(after(10), ReplicaEvent::Synced { op: first, outcome: done() });
    assert!(replica.is_connected() && looks(&mut replica).is_empty());
    // The next look hangs, and its refusal comes when the one after it is under way.
    replica.handle(after(1010), ReplicaEvent::Wake);
    let hanging = looks(&mut replica)[0];
    replica.handle(after(2010), ReplicaEvent::Wake);
    let next = looks(&mut replica)[0];
    assert!(!replica.is_connected());
    replica.handle(after(2100), ReplicaEvent::Synced { op: hanging, outcome: OpOutcome::Refused });
    assert!(!replica.is_connected() && looks(&mut replica).is_empty());
    replica.handle(after(2200), ReplicaEvent::Synced { op: next, outcome: done() });
    assert!(replica.is_connected());
}
