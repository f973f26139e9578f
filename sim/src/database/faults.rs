//! Faults of calls to the database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_machine::ChatId;
use mainstem_story::{CallFault, LateAnswers, PlannedFault};

/// Whose calls a fault befalls: `None` for every replica, or every chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whose {
    pub replica: Option<String>,
    pub chat: Option<ChatId>,
}

impl Whose {
    fn takes(&self, replica: &str, chat: Option<ChatId>) -> bool {
        let meant = self.replica.as_deref().is_none_or(|meant| meant == replica);
        meant && self.chat.is_none_or(|meant| chat == Some(meant))
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<(Whose, PlannedFault)>,
    slow: BTreeMap<Whose, Duration>,
    late: BTreeMap<Whose, LateAnswers>,
    cut_off: BTreeSet<Whose>,
    exhausted: BTreeSet<Whose>,
    idle: BTreeSet<String>,
}

impl Faults {
    pub(super) fn plan(&mut self, whose: Whose, planned: PlannedFault) {
        self.planned.push((whose, planned));
    }

    pub(super) fn take(&mut self, replica: &str, op: &str, chat: Option<ChatId>) -> Option<CallFault> {
        let meant = |(whose, planned): &(Whose, PlannedFault)| {
            whose.takes(replica, chat) && planned.op.as_deref().is_none_or(|meant| meant == op)
        };
        let at = self.planned.iter().position(meant)?;
        let (_, planned) = &mut self.planned[at];
        let call_fault = planned.call_fault;
        planned.times -= 1;
        if planned.times == 0 {
            self.planned.remove(at);
        }
        Some(call_fault)
    }

    pub(super) fn set_slow(&mut self, whose: Whose, by: Duration) {
        self.slow.insert(whose, by);
    }

    pub(super) fn slow(&self, replica: &str, chat: Option<ChatId>) -> Duration {
        self.slow.iter().filter(|(whose, _)| whose.takes(replica, chat)).map(|(_, by)| *by).sum()
    }

    pub(super) fn set_late(&mut self, whose: Whose, late: LateAnswers) {
        self.late.insert(whose, late);
    }

    pub(super) fn late(&self, replica: &str, chat: Option<ChatId>) -> LateAnswers {
        let mine = self.late.iter().filter(|(whose, _)| whose.takes(replica, chat));
        mine.fold(LateAnswers::default(), |all, (_, own)| LateAnswers {
            by: all.by + own.by,
            scattered: all.scattered + own.scattered,
        })
    }

    pub(super) fn set_cut_off(&mut self, whose: Whose, cut: bool) {
        if cut {
            self.cut_off.insert(whose);
        } else {
            self.cut_off.remove(&whose);
        }
    }

    pub(super) fn is_cut_off(&self, replica: &str, chat: Option<ChatId>) -> bool {
        self.cut_off.iter().any(|whose| whose.takes(replica, chat))
    }

    pub(super) fn set_exhausted(&mut self, whose: Whose, exhausted: bool) {
        if exhausted {
            self.exhausted.insert(whose);
        } else {
            self.exhausted.remove(&whose);
        }
    }

    pub(super) fn is_exhausted(&self, replica: &str, chat: Option<ChatId>) -> bool {
        self.exhausted.iter().any(|whose| whose.takes(replica, chat))
    }

    /// Whether such a call for this chat cannot go together with others: something befalls it there and no other, or the next
    /// one of its kind is to be refused.
    pub(super) fn befalls(&self, replica: &str, op: &str, chat: Option<ChatId>) -> bool {
        let is_alone = |whose: &Whose| whose.chat.is_some() && whose.takes(replica, chat);
        let refuses = |call_fault| matches!(call_fault, CallFault::Refused | CallFault::Conflict);
        let planned = self.planned.iter().find(|(whose, planned)| {
            whose.takes(replica, chat) && planned.op.as_deref().is_none_or(|meant| meant == op)
        });
        let is_refused = planned.is_some_and(|(_, planned)| refuses(planned.call_fault));
        is_refused || self.single_out(replica, chat) || self.exhausted.iter().any(is_alone)
    }

    /// Whether something befalls this chat there and no other.
    pub(super) fn single_out(&self, replica: &str, chat: Option<ChatId>) -> bool {
        let slow = self.slow.iter().filter(|(_, by)| !by.is_zero()).map(|(whose, _)| whose);
        let late =
            self.late.iter().filter(|(_, late)| **late != LateAnswers::default()).map(|(whose, _)| whose);
        let all = slow.chain(late).chain(&self.cut_off);
        all.filter(|whose| whose.chat.is_some()).any(|whose| whose.takes(replica, chat))
    }

    pub(super) fn set_may_work(&mut self, replica: &str, may: bool) {
        if may {
            self.idle.remove(replica);
        } else {
            self.idle.insert(replica.to_owned());
        }
    }

    pub(super) fn may_work(&self, replica: &str) -> bool {
        !self.idle.contains(replica)
    }

    /// Which replicas may work is up to the story, so that stays.
    pub(super) fn clear_faults(&mut self) {
        *self = Self { idle: std::mem::take(&mut self.idle), ..Self::default() };
    }
}
