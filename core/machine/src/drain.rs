//! How a replica goes away: its runs may finish, those that do not are handed over, others are told, streams end, and
//! it takes leave. Each step has its time, so that a replica ends even if its database or its bus does not answer.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Time;
use crate::hub::{HubEvent, LeavingEvent};
use crate::limits::HAND_OVER_TIMEOUT;
use crate::replica::ReplicaEvent;

/// What a drain is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrainEvent {
    /// Runs may go on for this long. Told again, it can only make the time shorter.
    Begin {
        /// From now.
        limit: Duration,
    },
    /// How things stand. To be told whenever that may have changed, and when time has passed.
    Seen {
        /// No chat is held here any more.
        is_drained: bool,
        /// Others were told of all that was committed here.
        is_announced: bool,
    },
    /// The answer to [`DrainAction::Part`], however it came out.
    Parted,
}

/// What a drain asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DrainAction {
    /// Tell this replica's own machine.
    ToReplica(ReplicaEvent),
    /// Tell all hubs.
    ToHubs(HubEvent),
    /// End the replica's own task and its membership, after its last heartbeat. Answered by [`DrainEvent::Parted`].
    Part,
    /// Something takes too long, and is waited for no longer. To be logged.
    Late(Late),
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Late {
    /// Others take over what still runs when its leases expire.
    HandOver,
    /// Others find what was handed over by their next sync.
    Announcing,
}

/// The drain of a replica. The order of calls is a hub's: [`handle`](Self::handle) an event, then
/// [`poll_action`](Self::poll_action) until there is nothing; [`poll_timeout`](Self::poll_timeout) says until when to
/// wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Drain {
    phase: Phase,
    out: VecDeque<DrainAction>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Working,
    /// Runs may finish.
    Finishing {
        until: Time,
    },
    /// What still runs is handed over.
    HandingOver {
        until: Time,
    },
    /// Streams have ended, and others are told of what was handed over.
    Announcing {
        until: Time,
    },
    Parting,
    Gone,
}

impl Drain {
    /// Whether the drain has begun: the replica is not to get any more work.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Working
    }

    /// Whether runs may still finish in their own time.
    pub fn is_patient(&self) -> bool {
        matches!(self.phase, Phase::Finishing { .. })
    }

    /// Whether all is done but to take leave.
    pub fn is_parting(&self) -> bool {
        self.phase == Phase::Parting
    }

    /// Whether the replica is gone, but for what its driver has to close.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// What it asks for next, if anything.
    pub fn poll_action(&mut self) -> Option<DrainAction> {
        self.out.pop_front()
    }

    /// When to tell it again how things stand, if nothing changes before.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self.phase {
            Phase::Finishing { until } | Phase::HandingOver { until } | Phase::Announcing { until } => {
                Some(until)
            }
            Phase::Working | Phase::Parting | Phase::Gone => None,
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Time, event: DrainEvent) {
        // How things stood before what it asked for was done says nothing: a replica that does not know yet that it
        // drains may take up a chat (L3).
        if matches!(event, DrainEvent::Seen { .. }) && !self.out.is_empty() {
            return;
        }
        match (event, self.phase) {
            (DrainEvent::Begin { limit }, Phase::Working) => {
                self.phase = Phase::Finishing { until: now + limit };
                self.out.push_back(DrainAction::ToReplica(ReplicaEvent::Drain));
                self.out.push_back(DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Drain)));
            }
            (DrainEvent::Begin { limit }, Phase::Finishing { until }) => {
                self.phase = Phase::Finishing { until: until.min(now + limit) };
            }
            (
                DrainEvent::Seen { is_drained: true, .. },
                Phase::Finishing { .. } | Phase::HandingOver { .. },
            ) => self.close(now),
            (DrainEvent::Seen { is_announced: true, .. }, Phase::Announcing { .. }) => self.part(),
            (DrainEvent::Parted, Phase::Parting) => self.phase = Phase::Gone,
            _ => {}
        }
        // Whoever says how things stand has looked before the time was over.
        if !matches!(event, DrainEvent::Begin { .. }) && self.poll_timeout().is_some_and(|until| until <= now)
        {
            self.expire(now);
        }
    }

    fn expire(&mut self, now: Time) {
        match self.phase {
            Phase::Finishing { .. } => {
                self.out.push_back(DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::HandOver)));
                self.phase = Phase::HandingOver { until: now + HAND_OVER_TIMEOUT };
            }
            Phase::HandingOver { .. } => {
                self.out.push_back(DrainAction::Late(Late::HandOver));
                self.close(now);
            }
            Phase::Announcing { .. } => {
                self.out.push_back(DrainAction::Late(Late::Announcing));
                self.part();
            }
            Phase::Working | Phase::Parting | Phase::Gone => {}
        }
    }

    /// Streams end, and their viewers go elsewhere.
    fn close(&mut self, now: Time) {
        self.out.push_back(DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Close)));
        // What was handed over is taken up at once only if others hear of it (L3).
        self.phase = Phase::Announcing { until: now + HAND_OVER_TIMEOUT };
    }

    fn part(&mut self) {
        self.out.push_back(DrainAction::Part);
        self.phase = Phase::Parting;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const NOTHING: DrainEvent = DrainEvent::Seen { is_drained: false, is_announced: false };

    fn seen(is_drained: bool, is_announced: bool) -> DrainEvent {
        DrainEvent::Seen { is_drained, is_announced }
    }

    fn told(drain: &mut Drain, now: Time, event: DrainEvent) -> Vec<DrainAction> {
        drain.handle(now, event);
        core::iter::from_fn(|| drain.poll_action()).collect()
    }

    fn begun() -> Drain {
        let mut drain = Drain::default();
        assert!(!drain.has_begun() && drain.poll_timeout().is_none());
        assert_eq!(
            told(&mut drain, Time::START, DrainEvent::Begin { limit: LIMIT }),
            [
                DrainAction::ToReplica(ReplicaEvent::Drain),
                DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Drain))
            ]
        );
        drain
    }

    #[test]
    fn runs_may_finish_and_streams_end_only_then() {
        let mut drain = begun();
        assert_eq!(told(&mut drain, Time::START, seen(false, true)), []);
        assert!(drain.is_patient());
        assert_eq!(
            told(&mut drain, Time::START, seen(true, false)),
            [DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Close))]
        );
        assert_eq!(told(&mut drain, Time::START, seen(true, false)), [], "L3: others are told first");
        assert_eq!(told(&mut drain, Time::START, seen(true, true)), [DrainAction::Part]);
        assert!(!drain.is_over());
        assert_eq!(told(&mut drain, Time::START, DrainEvent::Parted), []);
        assert!(drain.is_over() && drain.poll_timeout().is_none());
    }

    #[test]
    fn how_things_stood_before_the_replica_knew_that_it_drains_does_not_count() {
        let mut drain = Drain::default();
        drain.handle(Time::START, DrainEvent::Begin { limit: LIMIT });
        drain.handle(Time::START, seen(true, true));
        assert_eq!(core::iter::from_fn(|| drain.poll_action()).count(), 2, "L3: it may take up a chat yet");
        assert_eq!(
            told(&mut drain, Time::START, seen(true, true)),
            [DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Close))]
        );
    }

    #[test]
    fn nothing_that_does_not_answer_keeps_a_replica_for_ever() {
        let (mut drain, mut said, mut now) = (begun(), vec![], Time::START);
        while let Some(until) = drain.poll_timeout() {
            assert_eq!(told(&mut drain, now, NOTHING), [], "nothing happens before its time");
            now = until;
            said.extend(told(&mut drain, now, NOTHING));
        }
        assert_eq!(
            said,
            [
                DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::HandOver)),
                DrainAction::Late(Late::HandOver),
                DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Close)),
                DrainAction::Late(Late::Announcing),
                DrainAction::Part,
            ]
        );
        assert_eq!(now.since(Time::START), LIMIT + HAND_OVER_TIMEOUT * 2, "B1");
    }

    #[test]
    fn a_shorter_time_counts_and_a_longer_one_does_not() {
        let mut drain = begun();
        assert_eq!(told(&mut drain, Time::START, DrainEvent::Begin { limit: LIMIT * 2 }), []);
        assert_eq!(drain.poll_timeout(), Some(Time::START + LIMIT));
        assert_eq!(told(&mut drain, Time::START, DrainEvent::Begin { limit: Duration::ZERO }), []);
        assert_eq!(
            told(&mut drain, Time::START, NOTHING),
            [DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::HandOver))]
        );
        assert!(drain.has_begun() && !drain.is_patient());
        assert_eq!(
            told(&mut drain, Time::START, seen(true, true)),
            [DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Close))]
        );
    }

    #[test]
    fn who_holds_nothing_when_the_time_is_over_hands_nothing_over() {
        let mut drain = Drain::default();
        told(&mut drain, Time::START, DrainEvent::Begin { limit: Duration::ZERO });
        assert_eq!(
            told(&mut drain, Time::START, seen(true, true)),
            [DrainAction::ToHubs(HubEvent::Leaving(LeavingEvent::Close))]
        );
    }
}
