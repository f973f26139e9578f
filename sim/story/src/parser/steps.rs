//! Sentences that say what happens.

use mainstem_machine::{Access, MessageId, SendMode};

use super::{DEFAULT_CHAT, Declared, account, last_but};
use crate::USER;
use crate::ast::{Keyed, ReplicaFate, Said, Step, UserOrder, Workers};
use crate::lexer::Token;
use crate::order::Order;
use crate::words::{Parsed, Words};

impl Declared {
    pub(super) fn step(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        if words.eat("wait") {
            return Ok(Step::Wait(words.time()?));
        }
        if words.eat("within") {
            let bound = words.time()?;
            return Ok(Step::Within { bound, expectation: self.expectation(words)? });
        }
        if words.eat("for") {
            let span = words.time()?;
            return Ok(Step::For { span, absence: self.absence(words)? });
        }
        if words.eat("from now on") {
            return Ok(Step::FromNowOn(self.absence(words)?));
        }
        if words.eat("viewer") {
            return self.coming(words);
        }
        if words.eat("stranger on") {
            let replica = self.replica(words)?;
            words.expect("tries")?;
            return Ok(Step::Stranger { replica, chat: self.chat(words)? });
        }
        if words.eat("clock of") {
            return self.clock(words);
        }
        if words.eat("only") {
            let replica = self.replica(words)?;
            words.expect("works")?;
            return Ok(Step::Work(Workers::Only(replica)));
        }
        if words.eat("everybody works") {
            return Ok(Step::Work(Workers::Everybody));
        }
        if words.eat("nobody works") {
            return Ok(Step::Work(Workers::Nobody));
        }
        if words.eat("model on") {
            let (back, replica) = (words.at, self.replica(words)?);
            if words.eat("is gone") || words.eat("runs") {
                words.at = back - 2;
                return Ok(Step::Assert(self.expectation(words)?));
            }
            return self.model(words, replica);
        }
        if words.eat("dials from") {
            return self.dials(words, false);
        }
        if words.eat("next dial from") {
            return self.dials(words, true);
        }
        if words.eat("link") {
            return self.link(words);
        }
        if words.eat("notices to") {
            let replica = self.replica(words)?;
            let faults = self.faults(words)?;
            return Ok(Step::Notices { replica, faults });
        }
        if words.eat("bus of") {
            return self.bus(words);
        }
        if words.eat("database") {
            return self.database(words);
        }
        if words.eat("next") {
            return self.next_call(words);
        }
        match words.peek() {
            Some(name) if self.viewers.contains(name) => self.viewer(words),
            Some(name) if name.starts_with(USER) => self.order(words),
            Some(name) if self.replicas.contains(name) => self.replica_fate(words),
            _ => words.problem("a sentence of this language, or the name of somebody in this story"),
        }
    }

    pub(super) fn order(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        let caller = account(words)?;
        let replica = self.optional_worker(words, "on")?;
        let again = if replica.is_some() { self.optional_worker(words, "and")? } else { None };
        if words.eat("sends") {
            let text = words.text()?;
            let interrupting = words.eat("interrupting");
            let chat = self.optional_chat(words, "to")?;
            let order = UserOrder::Send { text, interrupting };
            return asked(words, caller, order, chat, replica, again);
        }
        let order = if words.eat("edits last message") {
            let but = last_but(words)?;
            words.expect("to")?;
            UserOrder::EditLast { but, text: words.text()? }
        } else if words.eat("edits message") {
            let message = MessageId(words.number()?);
            words.expect("to")?;
            UserOrder::Other(Order::Edit { message, text: words.text()? })
        } else if words.eat("regenerates last message") {
            UserOrder::RegenerateLast { but: last_but(words)?, mode: interrupting(words) }
        } else if words.eat("regenerates") {
            let message = if words.eat("message") { Some(MessageId(words.number()?)) } else { None };
            UserOrder::Other(Order::Regenerate { message, mode: interrupting(words) })
        } else if words.eat("answers the calls") {
            UserOrder::AnswerCalls
        } else if words.eat("shares with") {
            let user = account(words)?;
            words.expect("to")?;
            let may = words.one_of(&[("read", Access::Read), ("write", Access::Write)])?;
            UserOrder::Other(Order::Share { user, may })
        } else if words.eat("unshares from") {
            UserOrder::Other(Order::Unshare { user: account(words)? })
        } else if words.eat("promotes last") {
            UserOrder::PromoteLast { but: last_but(words)? }
        } else if words.eat("promotes") {
            UserOrder::Other(Order::Promote { queued: MessageId(words.number()?) })
        } else if words.eat("withdraws last") {
            UserOrder::WithdrawLast { but: last_but(words)? }
        } else if words.eat("withdraws") {
            UserOrder::Other(Order::Withdraw { queued: MessageId(words.number()?) })
        } else {
            let other = words.one_of(&[("interrupts", Order::Interrupt), ("deletes", Order::Delete)])?;
            UserOrder::Other(other)
        };
        let named = words.peek().is_some_and(|word| word.starts_with(DEFAULT_CHAT));
        let chat = if named { self.chat(words)? } else { DEFAULT_CHAT.to_owned() };
        asked(words, caller, order, chat, replica, again)
    }

    pub(super) fn model(&mut self, words: &mut Words<'_>, replica: String) -> Parsed<Step> {
        let line = if words.eat("says") {
            if let Some((_, Token::Text(_))) = words.tokens.get(words.at) {
                Said::Text(words.text()?)
            } else {
                let count = words.number()?;
                words.one_of(&[("parts", ()), ("part", ())])?;
                Said::Parts(count)
            }
        } else {
            words.one_of(&[
                ("finishes", Said::Done),
                ("fails for good", Said::Failed { retryable: false }),
                ("fails", Said::Failed { retryable: true }),
                ("ignores cancellation", Said::IgnoresCancellation),
            ])?
        };
        let chat = self.optional_chat(words, "in")?;
        Ok(Step::Model { replica, chat, line })
    }

    pub(super) fn replica_fate(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        if matches!(words.tokens.get(words.at + 1), Some((_, Token::Word(word))) if word == "dialed" || word == "has")
        {
            return Ok(Step::Assert(self.expectation(words)?));
        }
        let replica = self.replica(words)?;
        if words.eat("works") {
            return Ok(Step::Work(Workers::Also(replica)));
        }
        if words.eat("pauses for") {
            let fate = ReplicaFate::Pauses(Some(words.time()?));
            return Ok(Step::Replica { replica, fate });
        }
        let fate = words.one_of(&[
            ("crashes", ReplicaFate::Crashes),
            ("restarts with another secret", ReplicaFate::RestartsWithWrongSecret),
            ("vanishes", ReplicaFate::Vanishes),
            ("restarts", ReplicaFate::Restarts),
            ("drains", ReplicaFate::Drains),
            ("pauses", ReplicaFate::Pauses(None)),
            ("resumes", ReplicaFate::Resumes),
        ])?;
        Ok(Step::Replica { replica, fate })
    }
}

/// What a request does to a chat that is busy.
fn interrupting(words: &mut Words<'_>) -> SendMode {
    if words.eat("interrupting") { SendMode::Interrupt } else { SendMode::Queue }
}

/// What may be said of any request: its key, and that it is refused.
fn asked(
    words: &mut Words<'_>,
    caller: String,
    order: UserOrder,
    chat: String,
    replica: Option<String>,
    again: Option<String>,
) -> Parsed<Step> {
    let key = if words.eat("under key") {
        Keyed::Named(words.text()?)
    } else if again.is_none() && words.eat("without a key") {
        Keyed::Without
    } else {
        Keyed::Fresh
    };
    let refused = words.eat("and is refused");
    Ok(Step::Order { caller, order, chat, replica, again, key, refused })
}
