//! Parses the lines of a story. Errors point at the unexpected word.

mod viewers;

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_machine::MessageId;

use super::ast::{
    Absence, BusFate, DatabaseFate, Expectation, LinkFate, ReplicaFate, Said, Sentence, Sight, Step, Story,
    UserOrder, Workers,
};
use super::lexer::{Problem, Token, cut};
use super::words::{Parsed, Words};
use crate::bus::BusFaults;
use crate::client::USER;
use crate::cluster::Settings;
use crate::database::{CallFault, LateAnswers, PlannedFault};
use crate::net::DialRule;
use crate::wire::Order;

/// Parses a story.
pub fn parse(name: &str, text: &str) -> Result<Story, Problem> {
    let mut story = Story {
        name: name.to_owned(),
        seed: None,
        guards: vec![],
        replicas: vec![],
        settings: Settings::default(),
        roaming: false,
        final_crash: false,
        wrong_secrets: vec![],
        errors: vec![],
        tolerated: vec![],
        sentences: vec![],
    };
    let mut declared = Declared::default();
    for (number, line) in text.lines().enumerate() {
        let tokens = cut(number + 1, line)?;
        if tokens.is_empty() {
            continue;
        }
        let mut words = Words { line: number + 1, end: line.chars().count() + 1, tokens: &tokens, at: 0 };
        if !declared.heading(&mut words, &mut story)? {
            let at = if words.eat("at") { Some(words.time()?) } else { None };
            let step = declared.step(&mut words)?;
            let text = line.split('#').next().unwrap_or(line).trim().to_owned();
            story.sentences.push(Sentence { line: number + 1, text, at, step });
        }
        words.finish()?;
    }
    let lacks = |what: &str| Problem { line: text.lines().count().max(1), column: 1, what: what.into() };
    if story.guards.is_empty() {
        return Err(lacks("the story does not say what it `guards`"));
    }
    if story.replicas.is_empty() {
        return Err(lacks("the story has no `replicas`"));
    }
    Ok(story)
}

/// The names that were introduced so far.
#[derive(Default)]
struct Declared {
    replicas: BTreeSet<String>,
    viewers: BTreeSet<String>,
    chats: BTreeSet<String>,
}

const DEFAULT_CHAT: &str = "chat";
/// The largest drift of a clock, in thousandths.
const DRIFT_MAX: i32 = 500;

/// The commands and other calls of the database, and `call` for any of them.
const CALLS: [&str; 24] = [
    "call",
    "create",
    "send",
    "edit",
    "interrupt",
    "delete_queued",
    "promote",
    "delete",
    "acquire",
    "release",
    "begin_attempt",
    "record_retry",
    "commit_step",
    "finish_turn",
    "finish_interruption",
    "fail",
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
    /// Parses a line of the heading. False if it is not one.
    fn heading(&mut self, words: &mut Words<'_>, story: &mut Story) -> Parsed<bool> {
        if words.eat("guards") {
            while !words.is_over() {
                let Some(guarantee) = words.peek().and_then(|word| word.parse().ok()) else {
                    return words.problem("the id of a guarantee, like S3");
                };
                words.at += 1;
                story.guards.push(guarantee);
            }
            return Ok(true);
        }
        if words.eat("replicas") {
            while !words.is_over() {
                let name = words.word("a replica's name")?;
                self.replicas.insert(name.clone());
                story.replicas.push(name);
            }
            return Ok(true);
        }
        if words.eat("seed") {
            story.seed = Some(words.number()?);
            return Ok(true);
        }
        for (words_of_it, flag) in
            [("clients roam", &mut story.roaming), ("in the end a worker dies", &mut story.final_crash)]
        {
            if words.eat(words_of_it) {
                *flag = true;
                return Ok(true);
            }
        }
        if words.eat("secret of") {
            story.wrong_secrets.push(self.replica(words)?);
            words.expect("is another")?;
            return Ok(true);
        }
        if words.eat("may log") {
            story.tolerated.push(words.text()?);
            return Ok(true);
        }
        if words.eat("expects an error") {
            story.errors.push(words.text()?);
            return Ok(true);
        }
        let settings = &mut story.settings;
        for (name, count) in [
            ("workers", &mut settings.workers),
            ("tail", &mut settings.tail_messages_max),
            ("answers", &mut settings.episode_bytes_max),
        ] {
            if words.eat(name) {
                *count = usize::try_from(words.number()?).unwrap_or(usize::MAX);
                return Ok(true);
            }
        }
        for (name, setting) in [
            ("lease", &mut settings.lease_ttl),
            ("heartbeat", &mut settings.heartbeat),
            ("poll", &mut settings.poll_interval),
            ("grace", &mut settings.drain_timeout),
            ("delays vary by", &mut settings.vary),
        ] {
            if words.eat(name) {
                *setting = words.time()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn replica(&self, words: &mut Words<'_>) -> Parsed<String> {
        match words.peek() {
            Some(name) if self.replicas.contains(name) => words.word("a replica"),
            _ => words.problem("the name of a replica of this story"),
        }
    }

    /// The name of a replica or a viewer: both are hosts of the network.
    fn host(&self, words: &mut Words<'_>) -> Parsed<String> {
        match words.peek() {
            Some(name) if self.viewers.contains(name) => words.word("a viewer"),
            _ => self.replica(words),
        }
    }

    fn optional_worker(&self, words: &mut Words<'_>, before: &str) -> Parsed<Option<String>> {
        if words.eat(before) { self.replica(words).map(Some) } else { Ok(None) }
    }

    fn chat(&mut self, words: &mut Words<'_>) -> Parsed<String> {
        match words.peek() {
            Some(name) if name.starts_with(DEFAULT_CHAT) => {
                let name = words.word("a chat")?;
                self.chats.insert(name.clone());
                Ok(name)
            }
            _ => words.problem("a chat, whose name begins with `chat`"),
        }
    }

    fn optional_chat(&mut self, words: &mut Words<'_>, before: &str) -> Parsed<String> {
        if words.eat(before) { self.chat(words) } else { Ok(DEFAULT_CHAT.to_owned()) }
    }

    fn step(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
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
        if words.eat("user") {
            return self.order(words);
        }
        if words.eat("stranger on") {
            let replica = self.replica(words)?;
            words.expect("tries")?;
            return Ok(Step::Stranger { replica, chat: self.chat(words)? });
        }
        if words.eat("clock of") {
            let replica = self.replica(words)?;
            let sign = words.one_of(&[("gains", 1), ("loses", -1)])?;
            let drift = i32::try_from(words.number()?).ok().filter(|drift| *drift <= DRIFT_MAX);
            let Some(drift) = drift else {
                words.at -= 1;
                return words.problem("at most 500 in a thousand");
            };
            words.expect("in a thousand")?;
            return Ok(Step::Replica { replica, fate: ReplicaFate::Drifts(sign * drift) });
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
            let replica = self.replica(words)?;
            let fate = words.one_of(&[
                ("breaks", BusFate::Breaks),
                ("goes silent", BusFate::GoesSilent),
                ("refuses", BusFate::Refuses),
                ("hangs", BusFate::Hangs),
                ("recovers", BusFate::Recovers),
            ])?;
            return Ok(Step::Bus { replica, fate });
        }
        if words.eat("database") {
            let replica = self.optional_worker(words, "of")?;
            if words.eat("is slow by") {
                return Ok(Step::Database { replica, fate: DatabaseFate::Slow(words.time()?) });
            }
            if words.eat("answers") {
                let at_once = LateAnswers::default();
                let late = match words.one_of(&[("late by", false), ("scattered over", true)])? {
                    false => LateAnswers { by: words.time()?, ..at_once },
                    true => LateAnswers { scattered: words.time()?, ..at_once },
                };
                return Ok(Step::Database { replica, fate: DatabaseFate::AnswersLate(late) });
            }
            let fate = words.one_of(&[
                ("is cut off", DatabaseFate::CutOff),
                ("has no connection free", DatabaseFate::Exhausted),
                ("recovers", DatabaseFate::Recovers),
            ])?;
            return Ok(Step::Database { replica, fate });
        }
        if words.eat("next") {
            if !words.peek().is_some_and(|word| CALLS.contains(&word)) {
                return words.problem("the name of a command, or of a call of the database, or `call`");
            }
            let op = Some(words.word("a call")?).filter(|op| op != "call");
            let replica = self.optional_worker(words, "of")?;
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
            return Ok(Step::CallFault(PlannedFault { call_fault, replica, op, times }));
        }
        match words.peek() {
            Some(name) if self.viewers.contains(name) => self.viewer(words),
            Some(name) if self.replicas.contains(name) => self.replica_fate(words),
            _ => words.problem("a sentence of this language, or the name of somebody in this story"),
        }
    }

    fn order(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
        let replica = self.optional_worker(words, "on")?;
        let again = if replica.is_some() { self.optional_worker(words, "and")? } else { None };
        if words.eat("sends") {
            let text = words.text()?;
            let interrupting = words.eat("interrupting");
            let chat = self.optional_chat(words, "to")?;
            return Ok(Step::Order { order: UserOrder::Send { text, interrupting }, chat, replica, again });
        }
        let order = if words.eat("edits last message") {
            let but = last_but(words)?;
            words.expect("to")?;
            UserOrder::EditLast { but, text: words.text()? }
        } else if words.eat("edits message") {
            let message = MessageId(words.number()?);
            words.expect("to")?;
            UserOrder::Other(Order::Edit { message, text: words.text()? })
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
        let chat = if words.is_over() { DEFAULT_CHAT.to_owned() } else { self.chat(words)? };
        Ok(Step::Order { order, chat, replica, again })
    }

    fn model(&mut self, words: &mut Words<'_>, replica: String) -> Parsed<Step> {
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

    fn dials(&mut self, words: &mut Words<'_>, next_only: bool) -> Parsed<Step> {
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

    fn link(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
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

    fn faults(&self, words: &mut Words<'_>) -> Parsed<BusFaults> {
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

    fn replica_fate(&mut self, words: &mut Words<'_>) -> Parsed<Step> {
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

    fn expectation(&mut self, words: &mut Words<'_>) -> Parsed<Expectation> {
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

    fn status(&self, words: &mut Words<'_>) -> Parsed<String> {
        let names = ["waiting", "running", "interrupting", "error"].map(|name| (name, name.to_owned()));
        words.one_of(&names)
    }

    fn sight(&mut self, words: &mut Words<'_>) -> Parsed<Sight> {
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

    fn absence(&mut self, words: &mut Words<'_>) -> Parsed<Absence> {
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

/// An account, whose name begins with `user`.
fn account(words: &mut Words<'_>) -> Parsed<String> {
    match words.peek() {
        Some(name) if name.starts_with(USER) => words.word("an account"),
        _ => words.problem("an account, whose name begins with `user`"),
    }
}

/// `but 2`: the second one before the last.
fn last_but(words: &mut Words<'_>) -> Parsed<usize> {
    if !words.eat("but") {
        return Ok(0);
    }
    words.number().map(|but| usize::try_from(but).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::parse;

    const HEAD: &str = "guards S3\nreplicas A B C\n";

    fn problem(line: &str) -> String {
        parse("x", &format!("{HEAD}{line}\n")).expect_err(line).to_string()
    }

    #[test]
    fn errors_point_at_the_word_that_was_not_expected() {
        for (line, expected) in [
            ("viewer V at C watches chat", "3:10: expected `on`, found `at`"),
            ("viewer V on D watches chat", "3:13: expected the name of a replica of this story, found `D`"),
            ("within soon A has no dial to B", "3:8: expected a time like 500ms or 2s, found `soon`"),
            ("user sends", "3:11: expected a text in quotes, found the end of the line"),
            ("user sends \"one", "3:12: this quotation has no end on its line"),
            ("model on A says 3 parts loudly", "3:25: expected the end of the sentence, found `loudly`"),
            ("wait 5x", "3:6: `5x` is no number, no range like 1..3, and no time like 500ms, 2s or 1m"),
            (
                "next finish_trun loses its answer",
                "3:6: expected the name of a command, or of a call of the database, or `call`, found `finish_trun`",
            ),
            ("wait 3..1", "3:6: `3..1` is no range: it counts from 1, upwards"),
            (
                "A sleeps",
                "3:3: expected `crashes` or `restarts with another secret` or `vanishes` or `restarts` or `drains` or `pauses` or \
             `resumes`, found `sleeps`",
            ),
            (
                "V sees parts 1..3",
                "3:1: expected a sentence of this language, or the name of somebody in this \
             story, found `V`",
            ),
        ] {
            assert_eq!(problem(line), expected);
        }
    }

    #[test]
    fn a_story_says_what_it_guards_and_who_is_there() {
        assert!(parse("x", "replicas A\n").expect_err("no guards").what.contains("guards"));
        assert!(parse("x", "guards S1\n").expect_err("nobody").what.contains("replicas"));
        let unknown = parse("x", "replicas A\n\nguards S1 S99\n").expect_err("no guarantee");
        assert_eq!((unknown.line, unknown.column), (3, 11), "{unknown}");
        assert!(unknown.what.contains("the id of a guarantee, like S3"), "{unknown}");
    }

    #[test]
    fn a_sentence_keeps_its_line_and_its_words() {
        let story = parse("x", &format!("{HEAD}\n# a remark\n  wait 500ms   # and another\n")).unwrap();
        assert_eq!((story.sentences[0].line, story.sentences[0].text.as_str()), (5, "wait 500ms"));
    }
}
