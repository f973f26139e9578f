//! Splits a line of a story into tokens with their columns.

use std::fmt;
use std::time::Duration;

/// A syntax error in a story. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for Problem {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    Text(String),
    Number(u64),
    /// `1..3`
    Range(u64, u64),
    Time(Duration),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(n) => write!(f, "`{n}`"),
            Self::Range(first, last) => write!(f, "`{first}..{last}`"),
            Self::Time(time) => write!(f, "`{time:?}`"),
        }
    }
}

/// The tokens of one line, each with its column.
pub(crate) fn cut(line: usize, text: &str) -> Result<Vec<(usize, Token)>, Problem> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = vec![];
    let mut at = 0;
    while at < characters.len() {
        let (start, c) = (at, characters[at]);
        let problem = |what: String| Problem { line, column: start + 1, what };
        if c.is_whitespace() || c == ',' {
            at += 1;
            continue;
        }
        if c == '#' {
            break;
        }
        if c == '"' {
            let close = characters[at + 1..].iter().position(|c| *c == '"');
            let close = close.ok_or_else(|| problem("this quotation has no end on its line".into()))?;
            tokens.push((start + 1, Token::Text(characters[at + 1..at + 1 + close].iter().collect())));
            at += close + 2;
            continue;
        }
        while at < characters.len() && is_part_of_word(characters[at]) {
            at += 1;
        }
        if at == start {
            return Err(problem(format!("{c:?} is not part of this language")));
        }
        let word: String = characters[start..at].iter().collect();
        tokens.push((start + 1, classify(word).map_err(problem)?));
    }
    Ok(tokens)
}

fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn classify(word: String) -> Result<Token, String> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(Token::Word(word));
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number"));
    if let Some((first, last)) = word.split_once("..") {
        let (first, last) = (number(first)?, number(last)?);
        if first == 0 || last < first {
            return Err(format!("`{word}` is no range: it counts from 1, upwards"));
        }
        return Ok(Token::Range(first, last));
    }
    if let Ok(count) = word.parse() {
        return Ok(Token::Number(count));
    }
    humantime::parse_duration(&word)
        .map(Token::Time)
        .map_err(|_| format!("`{word}` is no number, no range like 1..3, and no time like 500ms, 2s or 1m"))
}
