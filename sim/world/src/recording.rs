//! A run as a file: how the world was set up, and a choice on each line.
//!
//! ```text
//! # What is worth saying about it.
//! world replicas=2 chats=1 viewers=1 workers=4 lease-ttl=15s poll-interval=5s answer-bytes=160 tail-messages=3
//! allow faults=2 delays=1 requests=2 moves=1 parts=4 passes=10
//! watch v1 b newest
//! carry a chat1 snapshot
//! ```

use std::fmt;
use std::time::Duration;

use crate::choice::{Choice, NotAChoice};
use crate::setup::{Budget, Setup, Tools};

/// What is replayed: how the world is set up, and what is chosen in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// How the world is set up.
    pub setup: Setup,
    /// What is chosen, in order.
    pub choices: Vec<Choice>,
}

/// A file that is no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARecording {
    /// It begins with something else.
    #[error("line {line}: expected a line that begins with `{expected}`, got {got:?}")]
    Heading {
        /// Where, from 1.
        line: usize,
        /// What ought to be there.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// A heading with something that is not a setting.
    #[error("line {line}: {got:?} is not `{expected}=` and a value within its bounds")]
    Setting {
        /// Where, from 1.
        line: usize,
        /// What ought to be there.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// A line that is not a choice.
    #[error("line {line}: {why}")]
    Choice {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: NotAChoice,
    },
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { replicas, chats, viewers, workers, lease_ttl, poll_interval, .. } = self.setup;
        let Setup { episode_bytes_max, tail_messages_max, budget, .. } = self.setup;
        let Budget { faults, delays, requests, moves, parts, passes, claims, strangers, drifts } = budget;
        write!(f, "world replicas={replicas} chats={chats} viewers={viewers} workers={workers} ")?;
        let (lease_ttl, poll_interval) = (Span(lease_ttl), Span(poll_interval));
        write!(f, "lease-ttl={lease_ttl} poll-interval={poll_interval} ")?;
        write!(f, "answer-bytes={episode_bytes_max} tail-messages={tail_messages_max}")?;
        if self.setup.users != 1 {
            write!(f, " users={}", self.setup.users)?;
        }
        if self.setup.friends != 0 {
            write!(f, " friends={}", self.setup.friends)?;
        }
        if let Some(heartbeat) = self.setup.heartbeat {
            write!(f, " heartbeat={}", Span(heartbeat))?;
        }
        if self.setup.tools != Tools::None {
            write!(f, " tools={}", self.setup.tools as u8)?;
        }
        writeln!(f, "{}", if self.setup.empty { " empty" } else { "" })?;
        write!(f, "allow faults={faults} delays={delays} requests={requests} ")?;
        write!(f, "moves={moves} parts={parts} passes={passes}")?;
        for (name, more) in [("claims", claims), ("strangers", strangers), ("drifts", drifts)]
            .into_iter()
            .filter(|(_, more)| *more > 0)
        {
            write!(f, " {name}={more}")?;
        }
        writeln!(f)?;
        self.choices.iter().try_for_each(|choice| writeln!(f, "{choice}"))
    }
}

impl Recording {
    /// Reads what [`Display`](fmt::Display) wrote. Empty lines and those that begin with `#` say nothing.
    pub fn parse(text: &str) -> Result<Self, NotARecording> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut world = Heading::of("world", lines.next())?;
        let mut allow = Heading::of("allow", lines.next())?;
        let setup = Setup {
            replicas: world.number("replicas", 1..=26)?,
            chats: world.number("chats", 1..=200)?,
            viewers: world.number("viewers", 0..=200)?,
            workers: world.number("workers", 0..=1_000)?,
            lease_ttl: world.span("lease-ttl")?,
            poll_interval: world.span("poll-interval")?,
            episode_bytes_max: world.number("answer-bytes", 1..=100_000_000)?,
            tail_messages_max: world.number("tail-messages", 0..=1_000)?,
            users: if world.comes("users=") { world.number("users", 1..=200)? } else { 1 },
            friends: if world.comes("friends=") { world.number("friends", 1..=200)? } else { 0 },
            heartbeat: if world.comes("heartbeat=") { Some(world.span("heartbeat")?) } else { None },
            tools: match if world.comes("tools=") { world.number("tools", 1..=2)? } else { 0_u8 } {
                0 => Tools::None,
                1 => Tools::Client,
                _ => Tools::Server,
            },
            empty: world.eats("empty"),
            budget: Budget {
                faults: allow.number("faults", 0..=u16::MAX)?,
                delays: allow.number("delays", 0..=u16::MAX)?,
                requests: allow.number("requests", 0..=u16::MAX)?,
                moves: allow.number("moves", 0..=u16::MAX)?,
                parts: allow.number("parts", 0..=u16::MAX)?,
                passes: allow.number("passes", 0..=u16::MAX)?,
                claims: allow.more("claims")?,
                strangers: allow.more("strangers")?,
                drifts: allow.more("drifts")?,
            },
        };
        let choice =
            |(line, text): (usize, &str)| text.parse().map_err(|why| NotARecording::Choice { line, why });
        Ok(Self { setup, choices: lines.map(choice).collect::<Result<_, _>>()? })
    }

    /// A name for it, which is the same for the same recording.
    pub fn fingerprint(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.to_string().as_bytes())
    }

    /// Whether a text wants to be one.
    pub fn looks_like(text: &str) -> bool {
        let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        first.is_some_and(|line| line.starts_with("world "))
    }
}

/// A span as it is written: whole seconds, or milliseconds.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms.is_multiple_of(1_000) { write!(f, "{}s", ms / 1_000) } else { write!(f, "{ms}ms") }
    }
}

/// The settings of a line, in order.
struct Heading<'a> {
    line: usize,
    words: std::str::SplitWhitespace<'a>,
}

impl<'a> Heading<'a> {
    fn of(expected: &'static str, found: Option<(usize, &'a str)>) -> Result<Self, NotARecording> {
        let (line, text) = found.unwrap_or_default();
        match text.strip_prefix(expected).filter(|rest| rest.starts_with(' ')) {
            Some(rest) => Ok(Self { line, words: rest.split_whitespace() }),
            None => Err(NotARecording::Heading { line, expected, got: text.chars().take(80).collect() }),
        }
    }

    fn value(&mut self, expected: &'static str) -> Result<&'a str, NotARecording> {
        let word = self.words.next().unwrap_or_default();
        let value = word.strip_prefix(expected).and_then(|rest| rest.strip_prefix('='));
        value.ok_or_else(|| self.wrong(expected, word))
    }

    fn number<T: std::str::FromStr + PartialOrd>(
        &mut self,
        expected: &'static str,
        bounds: std::ops::RangeInclusive<T>,
    ) -> Result<T, NotARecording> {
        let value = self.value(expected)?;
        let number = value.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| self.wrong(expected, value))
    }

    /// How much more is allowed, if it is said.
    fn more(&mut self, expected: &'static str) -> Result<u16, NotARecording> {
        if self.comes(expected) { self.number(expected, 0..=u16::MAX) } else { Ok(0) }
    }

    fn span(&mut self, expected: &'static str) -> Result<Duration, NotARecording> {
        let value = self.value(expected)?;
        let ms = match value.strip_suffix("ms") {
            Some(ms) => ms.parse().ok(),
            None => {
                value.strip_suffix('s').and_then(|seconds| seconds.parse::<u64>().ok()?.checked_mul(1_000))
            }
        };
        let ms = ms.filter(|ms| (1..=3_600_000).contains(ms));
        ms.map(Duration::from_millis).ok_or_else(|| self.wrong(expected, value))
    }

    /// Whether the next word begins like this.
    fn comes(&self, begin: &str) -> bool {
        self.words.clone().next().is_some_and(|word| word.starts_with(begin))
    }

    /// Takes the next word if it is this one.
    fn eats(&mut self, word: &str) -> bool {
        let is_next = self.words.clone().next() == Some(word);
        if is_next {
            self.words.next();
        }
        is_next
    }

    fn wrong(&self, expected: &'static str, got: &str) -> NotARecording {
        NotARecording::Setting { line: self.line, expected, got: got.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_everything_else_is_refused_with_its_line() {
        let choices = ["pass", "carry a chat1 snapshot", "ask b chat1 send-interrupt", "watch v1 a message"];
        let choices = choices.map(|choice| choice.parse().expect("a choice")).to_vec();
        let recording = Recording { setup: Setup::default(), choices };
        let text = format!("# Found.\n\n{recording}");
        assert_eq!(Recording::parse(&text), Ok(recording));
        assert!(Recording::looks_like(&text));
        for (from, to, why) in [
            ("world ", "word ", "line 3: expected a line that begins with `world`"),
            ("allow ", "", "line 4: expected a line that begins with `allow`"),
            ("replicas=2", "replicas=0", "line 3: \"0\" is not `replicas=`"),
            ("lease-ttl=15s", "lease-ttl=15", "line 3: \"15\" is not `lease-ttl=`"),
            ("parts=", "part=", "line 4:"),
            ("pass\n", "pas\n", "line 5: \"pas\" is not a choice"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Recording::parse(&text.replace(from, to)).expect_err(to).to_string();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
