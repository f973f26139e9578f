//! What faults did to which place, and for how long that may be felt.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::Time;

use crate::fault::Strikes;
use crate::{FaultKind, Name};

/// How long a fault of the database or the bus is felt after its end: by then, operations and subscriptions that
/// were in flight have timed out and been retried.
const RETRIED_WITHIN: Duration = Duration::from_secs(13);
/// How long after a host or a link works again what was held back may still be on its way.
const HELD_BACK: Duration = Duration::from_secs(2);

/// Where a fault takes effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Host(Name),
    Database(Name),
    Bus(Name),
    /// The names in their order.
    Dials(Name, Name),
    Link(Name, Name),
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    kind: FaultKind,
    /// When it took effect for the last time.
    at: Time,
    /// When it was over; `None` while it is in force.
    ended: Option<Time>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(BTreeMap<Place, Mark>);

impl Marks {
    /// A fault takes effect. Whatever it does to a host's clock is kept elsewhere.
    pub(crate) fn strike(&mut self, at: Time, kind: FaultKind, who: &Name, other: Option<&Name>) {
        let momentary = Some(at);
        match (kind.strikes(), other) {
            (Strikes::Nothing | Strikes::Clock, _) => {}
            (Strikes::Bus, _) => self.mark(Place::Bus(who.clone()), kind, at, None),
            // Each call that it strikes is told.
            (Strikes::Database, _) => self.mark(Place::Database(who.clone()), kind, at, momentary),
            (Strikes::Host, _) => self.mark(Place::Host(who.clone()), kind, at, None),
            // What a dial or a connection suffers comes with its link.
            (Strikes::Dials | Strikes::Link, None) => {}
            (Strikes::Dials, Some(other)) => self.mark(dials(who, other), kind, at, None),
            (Strikes::Link, Some(other)) => {
                if matches!(kind, FaultKind::Clog | FaultKind::HalfOpen) {
                    self.mark(dials(who, other), kind, at, None);
                }
                let ended = momentary.filter(|_| kind == FaultKind::Reset);
                self.mark(link(who, other), kind, at, ended);
            }
        }
    }

    fn mark(&mut self, place: Place, kind: FaultKind, at: Time, ended: Option<Time>) {
        let mark = self.0.entry(place).or_insert(Mark { kind, at, ended });
        mark.at = at;
        // A fault that is in force says more than one that was over at once.
        if mark.ended.is_some() {
            (mark.kind, mark.ended) = (kind, ended);
        }
    }

    pub(crate) fn strike_host(&mut self, at: Time, kind: FaultKind, who: &Name) {
        self.mark(Place::Host(who.clone()), kind, at, None);
    }

    pub(crate) fn host_ended(&mut self, at: Time, who: &Name) {
        if let Some(mark) = self.0.get_mut(&Place::Host(who.clone())) {
            mark.ended.get_or_insert(at);
        }
    }

    /// All faults are over.
    pub(crate) fn clear(&mut self, at: Time) {
        for mark in self.0.values_mut() {
            mark.ended.get_or_insert(at);
        }
    }

    /// The fault that may be felt in a place at some time since then.
    fn felt(&self, place: &Place, since: Time, lasts: Duration) -> Option<FaultKind> {
        let mark = self.0.get(place)?;
        mark.ended.is_none_or(|ended| since <= ended + lasts).then_some(mark.kind)
    }

    pub(crate) fn host(&self, name: &str, since: Time) -> Option<FaultKind> {
        self.felt(&Place::Host(name.into()), since, HELD_BACK)
    }

    pub(crate) fn database(&self, name: &str, since: Time) -> Option<FaultKind> {
        self.felt(&Place::Database(name.into()), since, RETRIED_WITHIN)
    }

    pub(crate) fn bus(&self, name: &str, since: Time) -> Option<FaultKind> {
        self.felt(&Place::Bus(name.into()), since, RETRIED_WITHIN)
    }

    /// Why data over the link may be late. A connection that was reset does not come back.
    pub(crate) fn link(&self, one: &str, other: &str, since: Time) -> Option<FaultKind> {
        let place = link(&one.into(), &other.into());
        let was_reset = self.0.get(&place).is_some_and(|mark| mark.kind == FaultKind::Reset);
        self.felt(&place, since, if was_reset { Duration::ZERO } else { HELD_BACK })
    }

    /// Why a dial over the link may fail.
    pub(crate) fn dials(&self, one: &str, other: &str, since: Time) -> Option<FaultKind> {
        self.felt(&dials(&one.into(), &other.into()), since, Duration::ZERO)
    }

    /// What struck the replica itself or its way to the database since then.
    pub(crate) fn worker(&self, name: &str, since: Time) -> Option<FaultKind> {
        let own = [Place::Host(name.into()), Place::Database(name.into())];
        own.iter().find_map(|place| {
            let mark = self.0.get(place)?;
            (mark.at >= since || mark.ended.is_none_or(|ended| ended >= since)).then_some(mark.kind)
        })
    }
}

fn dials(one: &Name, other: &Name) -> Place {
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    Place::Dials(one.clone(), other.clone())
}

fn link(one: &Name, other: &Name) -> Place {
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    Place::Link(one.clone(), other.clone())
}
