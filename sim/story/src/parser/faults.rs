//! Sentences about faults of the network, the bus, the database and the clocks.

use std::time::Duration;

use super::Declared;
use crate::ast::{ReplicaFate, Step};
use crate::faults::{
    BusFate, BusFaults, CallFault, DatabaseFate, DialRule, LateAnswers, LinkFate, PlannedFault,
};
use crate::words::{Parsed, Words};

/// The largest drift of a clock, in thousandths.
const DRIFT_MAX: i32 = 500;

/// The commands and other calls of the database, and `call` for any of them.
const CALLS: [&str; 27] = [
    "call",
    "create",
    "send",
    "edit",
    "regenerate",
    "interrupt",
    "delete_queued",
    "promote",
    "delete",
    "acquire",
    "release",
    "begin_attempt",
    "record_retry",
    "commit_step",
    "commit_results",
    "finish_turn",
    "finish_interruption",
    "fail",
    "rows",
    "snapshot",
    "page",
    "list",
    "heartbeat",
    "deregister",
    "sync",
    "secret",
    "ping",
];

impl Declared {
    pub(super) fn dials(&mut self, words: &mut Words<'_>, next_only: bool) -> Parsed<Step> {
        let from = self.host(words)?;
        words.expect("to")?;
        let to = self.replica(words)?;
        let rule = if words.eat("take") || words.eat("takes") {
            DialRule::Takes(words.time()?)
        } else {
            words.one_of(&[
                ("hang", DialRule::Hangs),
                ("hangs", DialRule::Hangs),
                ("fail", DialRule::Refused),
                ("fails", DialRule::Refused),
                ("complete", DialRule::Through),
            ])?
        };
        Ok(Step::Dials { from, to, rule, next_only })
    }

    pub(super) fn link(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        if words.eat("from") {
            let from = self.host(words)?;
            words.expect("to")?;
            let to = self.host(words)?;
            let flows = words.one_of(&[("clogs", false), ("flows", true)])?;
            return Ok(Step::Flow { from, to, flows });
        }
        words.expect("between")?;
        let one = self.host(words)?;
        words.expect("and")?;
        let other = self.host(words)?;
        if words.eat("takes") {
            let least = words.time()?;
            let more = if words.eat("plus up to") { words.time()? } else { Duration::ZERO };
            return Ok(Step::Link { one, other, fate: LinkFate::Takes(least, more) });
        }
        let fate = words.one_of(&[
            ("breaks", LinkFate::Breaks),
            ("goes silent", LinkFate::GoesSilent),
            ("is cut", LinkFate::Cut),
            ("is joined", LinkFate::Joined),
        ])?;
        Ok(Step::Link { one, other, fate })
    }

    pub(super) fn faults(&self, words: &mut Words<'_>) -> Parsed<BusFaults> {
        words.expect("are")?;
        let fair = BusFaults::default();
        if words.eat("late by") {
            return Ok(BusFaults { late: words.time()?, ..fair });
        }
        if words.eat("scattered over") {
            return Ok(BusFaults { scattered: words.time()?, ..fair });
        }
        words.one_of(&[
            ("lost", BusFaults { lost: true, ..fair }),
            ("doubled", BusFaults { doubled: true, ..fair }),
            ("delivered", fair),
        ])
    }

    /// After `clock of`.
    pub(super) fn clock(&self, words: &mut Words<'_>) -> Parsed<Step> {
        let replica = self.replica(words)?;
        let sign = words.one_of(&[("gains", 1), ("loses", -1)])?;
        let drift = i32::try_from(words.number()?).ok().filter(|drift| *drift <= DRIFT_MAX);
        let Some(drift) = drift else {
            words.at -= 1;
            return words.problem("at most 500 in a thousand");
        };
        words.expect("in a thousand")?;
        Ok(Step::Replica { replica, fate: ReplicaFate::Drifts(sign * drift) })
    }

    /// After `bus of`.
    pub(super) fn bus(&self, words: &mut Words<'_>) -> Parsed<Step> {
        let replica = self.replica(words)?;
        let fate = words.one_of(&[
            ("breaks", BusFate::Breaks),
            ("goes silent", BusFate::GoesSilent),
            ("refuses", BusFate::Refuses),
            ("hangs", BusFate::Hangs),
            ("recovers", BusFate::Recovers),
        ])?;
        Ok(Step::Bus { replica, fate })
    }

    /// After `database`.
    pub(super) fn database(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        let replica = self.optional_worker(words, "of")?;
        let chat = if words.eat("for") { Some(self.chat(words)?) } else { None };
        if words.eat("is slow by") {
            return Ok(Step::Database { replica, chat, fate: DatabaseFate::Slow(words.time()?) });
        }
        if words.eat("answers") {
            let at_once = LateAnswers::default();
            let late = match words.one_of(&[("late by", false), ("scattered over", true)])? {
                false => LateAnswers { by: words.time()?, ..at_once },
                true => LateAnswers { scattered: words.time()?, ..at_once },
            };
            return Ok(Step::Database { replica, chat, fate: DatabaseFate::AnswersLate(late) });
        }
        let fate = words.one_of(&[
            ("is cut off", DatabaseFate::CutOff),
            ("has no connection free", DatabaseFate::Exhausted),
            ("recovers", DatabaseFate::Recovers),
        ])?;
        if fate == DatabaseFate::Exhausted && chat.is_some() {
            words.at -= 1;
            return words.problem("something that befalls one chat: all share the connections");
        }
        Ok(Step::Database { replica, chat, fate })
    }

    /// After `next`, when no dial is meant.
    pub(super) fn next_call(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        if !words.peek().is_some_and(|word| CALLS.contains(&word)) {
            return words.problem("the name of a command, or of a call of the database, or `call`");
        }
        let op = Some(words.word("a call")?).filter(|op| op != "call");
        let replica = self.optional_worker(words, "of")?;
        let chat = if words.eat("for") { Some(self.chat(words)?) } else { None };
        let call_fault = if words.eat("is answered after") {
            CallFault::AnswerLate(words.time()?)
        } else {
            words.one_of(&[
                ("is refused", CallFault::Refused),
                ("conflicts", CallFault::Conflict),
                ("loses its answer", CallFault::AnswerLost),
            ])?
        };
        let times = if words.is_over() { 1 } else { words.times()? };
        let Some(times) = u32::try_from(times).ok().filter(|times| *times > 0) else {
            words.at -= 1;
            return words.problem("how many calls it befalls, once or more");
        };
        Ok(Step::CallFault(PlannedFault { call_fault, replica, op, chat, times }))
    }
}
