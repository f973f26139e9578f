//! A cursor over the tokens of one line of a story.

use std::time::Duration;

use crate::lexer::{Problem, Token};

/// A cursor over the tokens of one line.
pub(crate) struct Words<'a> {
    pub(crate) line: usize,
    /// The column after the last character.
    pub(crate) end: usize,
    pub(crate) tokens: &'a [(usize, Token)],
    /// How many tokens were taken.
    pub(crate) at: usize,
}

pub(crate) type Parsed<T> = Result<T, Problem>;

impl Words<'_> {
    /// An error: the next token is not what was expected.
    pub(crate) fn problem<T>(&self, expected: &str) -> Parsed<T> {
        let (column, what) = match self.tokens.get(self.at) {
            Some((column, token)) => (*column, format!("expected {expected}, found {token}")),
            None => (self.end, format!("expected {expected}, found the end of the line")),
        };
        Err(Problem { line: self.line, column, what })
    }

    pub(crate) fn finish(&self) -> Parsed<()> {
        if self.at == self.tokens.len() { Ok(()) } else { self.problem("the end of the sentence") }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.at == self.tokens.len()
    }

    pub(crate) fn peek(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some((_, Token::Word(word))) => Some(word),
            _ => None,
        }
    }

    /// Takes the words if they come next.
    pub(crate) fn eat(&mut self, words: &str) -> bool {
        let wanted: Vec<_> = words.split(' ').collect();
        let found = wanted.iter().enumerate().all(|(offset, wanted)| {
            matches!(self.tokens.get(self.at + offset), Some((_, Token::Word(word))) if word == wanted)
        });
        if found {
            self.at += wanted.len();
        }
        found
    }

    pub(crate) fn expect(&mut self, words: &str) -> Parsed<()> {
        if self.eat(words) { Ok(()) } else { self.problem(&format!("`{words}`")) }
    }

    /// Takes one of several phrases, and returns what it stands for.
    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[(&str, T)]) -> Parsed<T> {
        for (words, meaning) in choices {
            if self.eat(words) {
                return Ok(meaning.clone());
            }
        }
        let names: Vec<_> = choices.iter().map(|(words, _)| format!("`{words}`")).collect();
        self.problem(&names.join(" or "))
    }

    pub(crate) fn word(&mut self, expected: &str) -> Parsed<String> {
        match self.tokens.get(self.at) {
            Some((_, Token::Word(word))) => {
                self.at += 1;
                Ok(word.clone())
            }
            _ => self.problem(expected),
        }
    }

    pub(crate) fn text(&mut self) -> Parsed<String> {
        match self.tokens.get(self.at) {
            Some((_, Token::Text(text))) => {
                self.at += 1;
                Ok(text.clone())
            }
            _ => self.problem("a text in quotes"),
        }
    }

    pub(crate) fn time(&mut self) -> Parsed<Duration> {
        match self.tokens.get(self.at) {
            Some((_, Token::Time(time))) => {
                self.at += 1;
                Ok(*time)
            }
            _ => self.problem("a time like 500ms or 2s"),
        }
    }

    pub(crate) fn number(&mut self) -> Parsed<u64> {
        match self.tokens.get(self.at) {
            Some((_, Token::Number(n))) => {
                self.at += 1;
                Ok(*n)
            }
            _ => self.problem("a number"),
        }
    }

    /// `no` or a number.
    pub(crate) fn count(&mut self) -> Parsed<u64> {
        if self.eat("no") { Ok(0) } else { self.number() }
    }

    pub(crate) fn times(&mut self) -> Parsed<u64> {
        for (word, count) in [("never", 0), ("once", 1), ("twice", 2)] {
            if self.eat(word) {
                return Ok(count);
            }
        }
        let Ok(count) = self.number() else {
            return self.problem("`never`, `once`, `twice` or a number of times");
        };
        self.expect("times")?;
        Ok(count)
    }
}
