//! What must be seen, and what must not happen.

use super::{DEFAULT_CHAT, Declared};
use crate::ast::{Absence, Expectation, Sight};
use crate::lexer::Token;
use crate::words::{Parsed, Words};

impl Declared {
    pub(super) fn expectation(&mut self, words: &mut Words<'_>) -> Parsed<Expectation> {
        if words.eat("model on") {
            let replica = self.replica(words)?;
            let runs = words.one_of(&[("runs", true), ("is gone", false)])?;
            let chat = self.optional_chat(words, "in")?;
            return Ok(Expectation::ModelRuns { replica, chat, runs });
        }
        if words.eat("nothing is left on") {
            return Ok(Expectation::NothingLeft { replica: self.replica(words)? });
        }
        match words.peek() {
            Some(name) if self.viewers.contains(name) => {
                let viewer = words.word("a viewer")?;
                words.expect("sees")?;
                Ok(Expectation::Sees { viewer, sight: self.sight(words)? })
            }
            Some(name) if self.replicas.contains(name) => {
                let from = self.replica(words)?;
                if words.eat("dialed") {
                    let to = self.replica(words)?;
                    return Ok(Expectation::Dialed { from, to, count: words.times()? });
                }
                words.expect("has")?;
                let count = words.count()?;
                let dial = words.one_of(&[
                    ("connections", false),
                    ("connection", false),
                    ("dials", true),
                    ("dial", true),
                ])?;
                words.expect("to")?;
                let to = self.replica(words)?;
                Ok(if dial {
                    Expectation::DialsInFlight { from, to, count }
                } else {
                    Expectation::Connections { from, to, count }
                })
            }
            Some(name) if name.starts_with(DEFAULT_CHAT) => {
                let chat = self.chat(words)?;
                words.expect("is")?;
                let status = self.status(words)?;
                Ok(Expectation::Chat { chat, status, worker: self.optional_worker(words, "on")? })
            }
            _ => words.problem("what must be so: who `sees`, `has` or `dialed` what, or what a chat `is`"),
        }
    }

    pub(super) fn status(&self, words: &mut Words<'_>) -> Parsed<String> {
        let names = ["waiting", "running", "interrupting", "requires_action", "error"]
            .map(|name| (name, name.to_owned()));
        words.one_of(&names)
    }

    pub(super) fn sight(&mut self, words: &mut Words<'_>) -> Parsed<Sight> {
        if words.eat("status") {
            let status = self.status(words)?;
            return Ok(Sight::Status { status, worker: self.optional_worker(words, "on")? });
        }
        if words.eat("parts") || words.eat("part") {
            let (first, last) = match words.tokens.get(words.at) {
                Some((_, Token::Range(first, last))) => (*first, *last),
                Some((_, Token::Number(n))) => (*n, *n),
                _ => return words.problem("a range like 1..3"),
            };
            words.at += 1;
            return Ok(Sight::Parts { first, last, worker: self.optional_worker(words, "of")? });
        }
        if words.eat("message") {
            return Ok(Sight::Message { text: words.text()? });
        }
        if words.eat("answer of") {
            let parts = words.number()?;
            words.one_of(&[("parts", ()), ("part", ())])?;
            return Ok(Sight::Answer { parts, interrupted: words.eat("interrupted") });
        }
        if words.eat("preview_reset") {
            let reason = words.peek().map(str::to_owned);
            if reason.is_some() {
                words.one_of(&[("retry", ()), ("takeover", ()), ("edit", ())])?;
            }
            return Ok(Sight::PreviewReset { reason });
        }
        if words.eat("queue of") {
            let length = usize::try_from(words.number()?).unwrap_or(usize::MAX);
            return Ok(Sight::Queue { length });
        }
        if words.eat("error") {
            let code = if words.is_over() { None } else { Some(words.word("the code of an error")?) };
            return Ok(Sight::Error { code });
        }
        words.one_of(&[
            ("history_reset", Sight::HistoryReset),
            ("synced", Sight::Synced),
            ("retry over", Sight::Retry { over: true }),
            ("retry", Sight::Retry { over: false }),
            ("end", Sight::End),
        ])
    }

    pub(super) fn absence(&mut self, words: &mut Words<'_>) -> Parsed<Absence> {
        match words.peek() {
            Some(name) if self.viewers.contains(name) => {
                let viewer = words.word("a viewer")?;
                words.expect("sees")?;
                if words.eat("nothing") {
                    return Ok(Absence::SeesNothing { viewer });
                }
                words.expect("no")?;
                if words.eat("preview_reset") {
                    return Ok(Absence::SeesNoReset { viewer });
                }
                if words.eat("retry") {
                    return Ok(Absence::SeesNoRetry { viewer });
                }
                words.expect("part")?;
                Ok(Absence::SeesNoPart { viewer, worker: self.optional_worker(words, "of")? })
            }
            _ => {
                let from = self.replica(words)?;
                words.expect("dials nobody")?;
                Ok(Absence::Dials { from })
            }
        }
    }
}
