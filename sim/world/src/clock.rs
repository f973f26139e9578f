//! The clock of a replica, which may run fast or slow.

use std::time::Duration;

use mainstem_machine::Time;
use mainstem_oracles::{Evidence, FaultKind};

use crate::choice::NodeAt;
use crate::node::{Life, Node};
use crate::world::World;

/// By how many thousandths a clock may run fast or slow if that is chosen: less than the lease's margin, and so much
/// more that only fences help.
pub(crate) const DRIFTS: [i16; 4] = [15, -15, 100, -100];

/// A clock, as it was when its rate changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Clock {
    shown: Time,
    at: Time,
    /// It runs fast by this many thousandths.
    per_mille: i16,
}

impl Clock {
    fn rate(self) -> u64 {
        u64::try_from(1_000 + i32::from(self.per_mille)).expect("a clock goes forward")
    }

    /// What it shows.
    #[inline]
    pub(crate) fn read(self, now: Time) -> Time {
        let gone = now.since(self.at);
        if self.per_mille == 0 {
            return self.shown + gone;
        }
        self.shown + Duration::from_micros(micros(gone) * self.rate() / 1_000)
    }

    /// The first moment at which it shows this, or more.
    #[inline]
    pub(crate) fn when(self, shows: Time) -> Time {
        let left = shows.since(self.shown);
        if self.per_mille == 0 {
            return self.at + left;
        }
        self.at + Duration::from_micros((micros(left) * 1_000).div_ceil(self.rate()))
    }

    fn is_off(self) -> bool {
        self.per_mille != 0
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("a run is shorter than that")
}

impl Node {
    /// Whether its clock keeps the time of the others.
    pub(crate) fn keeps_time(&self) -> bool {
        !self.clock.is_off()
    }
}

impl World {
    /// What a replica's clock shows.
    #[inline]
    pub(crate) fn local(&self, node: NodeAt) -> Time {
        self.state.nodes[usize::from(node.0)].clock.read(self.state.now)
    }

    /// From now on, a replica's clock runs fast by so many thousandths.
    pub(crate) fn drift(&mut self, node: NodeAt, per_mille: i16) {
        let is_up = self.peek(node).is_some_and(|here| here.life == Life::Up);
        if !is_up || self.state.budget.drifts == 0 || per_mille.unsigned_abs() >= 1_000 {
            return;
        }
        self.state.budget.drifts -= 1;
        if per_mille != 0 {
            let who = self.name(node);
            self.fault(FaultKind::ClockDrifts, who, None);
        }
        self.set_rate(node, per_mille);
    }

    /// All clocks keep the same time from now on.
    pub(crate) fn mend_clocks(&mut self) {
        for at in 0..self.state.nodes.len() {
            if self.state.nodes[at].clock.is_off() {
                self.set_rate(NodeAt(at as u8), 0);
            }
        }
    }

    fn set_rate(&mut self, node: NodeAt, per_mille: i16) {
        let (now, shown) = (self.state.now, self.local(node));
        self.node(node).clock = Clock { shown, at: now, per_mille };
        let (replica, per_mille) = (self.name(node), u32::from(per_mille.unsigned_abs()));
        self.observe(Evidence::Drifts { replica, per_mille });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_what_is_due_when_it_is_due_and_not_before() {
        for per_mille in [0, 15, -15, 100, -100, 999, -999] {
            let clock = Clock { shown: Time::from_micros(5_000), at: Time::from_micros(7_000), per_mille };
            for shows in 5_000..7_000 {
                let when = clock.when(Time::from_micros(shows));
                assert!(clock.read(when) >= Time::from_micros(shows), "{per_mille}: {shows}");
                let before = when - Duration::from_micros(1);
                assert!(
                    shows == 5_000 || clock.read(before) < Time::from_micros(shows),
                    "{per_mille}: {shows}"
                );
            }
        }
        let fast = Clock { per_mille: 100, ..Clock::default() };
        assert_eq!(fast.read(Time::from_micros(1_000)), Time::from_micros(1_100));
    }
}
