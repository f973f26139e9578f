//! Sentences about viewers: who comes and what it has already, who moves, pauses and goes.

use mainstem_machine::MessageId;

use super::{Declared, account, last_but};
use crate::USER;
use crate::ast::{Claim, Step};
use crate::words::{Parsed, Words};

impl Declared {
    /// After `viewer`.
    pub(super) fn coming(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        let viewer = words.word("a viewer's name")?;
        if self.replicas.contains(&viewer) || self.viewers.contains(&viewer) {
            words.at -= 1;
            return words.problem("a name that nobody has yet");
        }
        words.expect("on")?;
        let replica = self.replica(words)?;
        let step = if words.eat("resumes") {
            let of = match words.peek() {
                Some(name) if self.viewers.contains(name) => words.word("a viewer")?,
                _ => return words.problem("a viewer that has been there"),
            };
            if words.eat("from a future") {
                Step::Foresee {
                    viewer: viewer.clone(),
                    replica,
                    of,
                    messages: words.eat("with more messages"),
                }
            } else {
                let back = if words.is_over() { 0 } else { words.number()? };
                if back > 0 {
                    words.one_of(&[("events back", ()), ("event back", ())])?;
                }
                Step::Resume { viewer: viewer.clone(), replica, of, back }
            }
        } else {
            words.expect("watches")?;
            let chat = self.chat(words)?;
            let claim = if words.eat("after") { claim(words)? } else { Claim::Nothing };
            let caller = if words.eat("as") { account(words)? } else { USER.to_owned() };
            Step::Watch { viewer: viewer.clone(), replica, chat, claim, caller }
        };
        self.viewers.insert(viewer);
        Ok(step)
    }

    pub(super) fn viewer(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        let viewer = words.word("a viewer")?;
        if words.eat("moves to") {
            return Ok(Step::Move { viewer, replica: self.replica(words)? });
        }
        match words.one_of(&[
            ("leaves", None),
            ("stops reading", Some(false)),
            ("reads again", Some(true)),
        ])? {
            None => Ok(Step::Leave { viewer }),
            Some(reads) => Ok(Step::Read { viewer, reads }),
        }
    }
}

fn claim(words: &mut Words<'_>) -> Parsed<Claim> {
    if words.eat("last message") {
        return Ok(Claim::AfterLast { but: last_but(words)? });
    }
    if words.eat("message") {
        return Ok(Claim::After(MessageId(words.number()?)));
    }
    words.one_of(&[("a message that was cut", Claim::AfterCut)])
}
