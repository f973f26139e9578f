//! What faults did to which place, and for how long that may be felt.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{ChatId, Time};

use crate::fault::Strikes;
use crate::{FaultKind, Name};

/// How long a fault of the database or the bus is felt after its end: by then, operations and subscriptions that
/// were in flight have timed out and been retried.
const RETRIED_WITHIN: Duration = Duration::from_secs(13);
/// How long after a host or a link works again, or an operation was answered, what was held back may still be on its
/// way.
const HELD_BACK: Duration = Duration::from_secs(2);

/// Where a fault takes effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Host(Name),
    /// What a replica asks of the database: for one chat, or for none in particular.
    Database(Name, Option<ChatId>),
    Bus(Name),
    /// The names in their order.
    Dials(Name, Name),
    Link(Name, Name),
}

/// What a fault struck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Struck<'a> {
    pub(crate) who: &'a Name,
    pub(crate) other: Option<&'a Name>,
    pub(crate) chat: Option<ChatId>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// When it took effect for the last time.
    at: Time,
    /// When it was over; `None` while it is in force.
    ended: Option<Time>,
    /// How long it is felt after that.
    lasts: Duration,
    /// Operations that it struck and that were not answered.
    open: u64,
}

/// For each place, the kinds that struck there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(BTreeMap<Place, BTreeMap<FaultKind, Mark>>);

impl Marks {
    /// A fault takes effect. Whatever it does to a host's clock is kept elsewhere.
    pub(crate) fn strike(&mut self, at: Time, kind: FaultKind, struck: &Struck<'_>) {
        let momentary = Some(at);
        for place in places(kind, struck) {
            match place {
                // Each call that it strikes is told.
                Place::Database(..) => self.mark(place, kind, at, momentary, RETRIED_WITHIN),
                // A subscription that was ended is made anew.
                Place::Bus(_) => {
                    let ended = momentary.filter(|_| kind == FaultKind::BusLost);
                    self.mark(place, kind, at, ended, RETRIED_WITHIN);
                }
                Place::Host(_) => self.mark(place, kind, at, None, HELD_BACK),
                Place::Dials(..) => self.mark(place, kind, at, None, Duration::ZERO),
                // A connection that was reset does not come back, and one that is silent is given up.
                Place::Link(..) => {
                    let (ended, lasts) = match kind {
                        FaultKind::Reset => (momentary, Duration::ZERO),
                        FaultKind::HalfOpen => (momentary, RETRIED_WITHIN),
                        _ => (None, HELD_BACK),
                    };
                    self.mark(place, kind, at, ended, lasts);
                }
            }
        }
    }

    fn mark(&mut self, place: Place, kind: FaultKind, at: Time, ended: Option<Time>, lasts: Duration) {
        let mark = self.0.entry(place).or_default().entry(kind).or_insert(Mark { at, ended, lasts, open: 0 });
        (mark.at, mark.ended, mark.lasts) = (at, ended, lasts);
        mark.open += 1;
    }

    /// A fault is over. Of operations that it struck, the last one has to be answered.
    pub(crate) fn over(&mut self, at: Time, kind: FaultKind, struck: &Struck<'_>) {
        for place in places(kind, struck) {
            let Some(mark) = self.0.get_mut(&place).and_then(|kinds| kinds.get_mut(&kind)) else { continue };
            mark.open = mark.open.saturating_sub(1);
            match place {
                Place::Database(..) if mark.open > 0 => {}
                Place::Database(..) => (mark.ended, mark.lasts) = (Some(at), HELD_BACK),
                Place::Host(_) | Place::Bus(_) | Place::Dials(..) | Place::Link(..) => {
                    mark.ended.get_or_insert(at);
                }
            }
        }
    }

    pub(crate) fn strike_host(&mut self, at: Time, kind: FaultKind, who: &Name) {
        self.mark(Place::Host(who.clone()), kind, at, None, HELD_BACK);
    }

    pub(crate) fn host_ended(&mut self, at: Time, who: &Name) {
        for mark in self.0.get_mut(&Place::Host(who.clone())).into_iter().flat_map(BTreeMap::values_mut) {
            mark.ended.get_or_insert(at);
        }
    }

    /// All faults are over.
    pub(crate) fn clear(&mut self, at: Time) {
        for mark in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            mark.ended.get_or_insert(at);
        }
    }

    /// The fault that may be felt in a place at some time since then.
    fn felt(&self, place: &Place, since: Time) -> Option<FaultKind> {
        let mut kinds = self.0.get(place)?.iter();
        let felt = |mark: &Mark| mark.ended.is_none_or(|ended| since <= ended + mark.lasts);
        kinds.find(|(_, mark)| felt(mark)).map(|(kind, _)| *kind)
    }

    pub(crate) fn host(&self, name: &str, since: Time) -> Option<FaultKind> {
        self.felt(&Place::Host(name.into()), since)
    }

    /// What befell the replica's way to the database, for this chat or for none in particular.
    pub(crate) fn database(&self, name: &str, chat: ChatId, since: Time) -> Option<FaultKind> {
        database(name, chat).iter().find_map(|place| self.felt(place, since))
    }

    /// What befell the replica's way to the database for other chats than this one, one fault for each of them.
    pub(crate) fn database_of_others(&self, name: &str, chat: ChatId, since: Time) -> Vec<FaultKind> {
        let other =
            |place: &&Place| matches!(place, Place::Database(at, Some(of)) if &**at == name && *of != chat);
        self.0.keys().filter(other).filter_map(|place| self.felt(place, since)).collect()
    }

    pub(crate) fn bus(&self, name: &str, since: Time) -> Option<FaultKind> {
        self.felt(&Place::Bus(name.into()), since)
    }

    /// Why data over the link may be late.
    pub(crate) fn link(&self, one: &str, other: &str, since: Time) -> Option<FaultKind> {
        self.felt(&link(&one.into(), &other.into()), since)
    }

    /// Why a dial over the link may fail.
    pub(crate) fn dials(&self, one: &str, other: &str, since: Time) -> Option<FaultKind> {
        self.felt(&dials(&one.into(), &other.into()), since)
    }

    /// What struck the replica itself, or its way to the database for this chat or for none in particular, since
    /// then.
    pub(crate) fn worker(&self, name: &str, chat: ChatId, since: Time) -> Option<FaultKind> {
        let own = std::iter::once(Place::Host(name.into())).chain(database(name, chat));
        let mut kinds = own.filter_map(|place| self.0.get(&place)).flatten();
        let there = |mark: &Mark| mark.at >= since || mark.ended.is_none_or(|ended| ended >= since);
        kinds.find(|(_, mark)| there(mark)).map(|(kind, _)| *kind)
    }
}

/// Where a fault of this kind is felt.
fn places(kind: FaultKind, struck: &Struck<'_>) -> Vec<Place> {
    let Struck { who, other, chat } = *struck;
    match (kind.strikes(), other) {
        (Strikes::Nothing | Strikes::Clock, _) => vec![],
        (Strikes::Bus, _) => vec![Place::Bus(who.clone())],
        (Strikes::Database, _) => vec![Place::Database(who.clone(), chat)],
        (Strikes::Host, _) => vec![Place::Host(who.clone())],
        // What a dial or a connection suffers comes with its link.
        (Strikes::Dials | Strikes::Link, None) => vec![],
        (Strikes::Dials, Some(other)) => vec![dials(who, other)],
        (Strikes::Link, Some(other)) if matches!(kind, FaultKind::Clog | FaultKind::HalfOpen) => {
            vec![dials(who, other), link(who, other)]
        }
        (Strikes::Link, Some(other)) => vec![link(who, other)],
    }
}

fn database(name: &str, chat: ChatId) -> [Place; 2] {
    [Place::Database(name.into(), None), Place::Database(name.into(), Some(chat))]
}

fn dials(one: &Name, other: &Name) -> Place {
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    Place::Dials(one.clone(), other.clone())
}

fn link(one: &Name, other: &Name) -> Place {
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    Place::Link(one.clone(), other.clone())
}
