//! Parses the lines of a story. Errors point at the unexpected word.

mod expectations;
mod faults;
mod heading;
mod steps;
#[cfg(test)]
mod tests;
mod viewers;

use std::collections::{BTreeMap, BTreeSet};

use crate::USER;
use crate::ast::{Sentence, Story};
use crate::lexer::{Problem, cut};
use crate::settings::Settings;
use crate::words::{Parsed, Words};

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
        untold: BTreeMap::new(),
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

impl Declared {
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
