//! The script of a model that answers by itself, parsed from a user's message that begins with `/model`. Words that are
//! not settings are ignored, so that each message may contain a word that makes it unique.

use std::time::Duration;

/// One step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This many parts at once.
    Parts(u64),
    /// Stall until cancelled.
    Stall,
    Fail {
        retryable: bool,
    },
    Done,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallEnd {
    Returns,
    Fails,
    Never,
}

/// How a server's tools carry out a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrying {
    /// With a result, after so long.
    Returns(Duration),
    /// With an error.
    Fails(Duration),
    /// Not at all.
    Hangs,
}

/// How an answer goes: `/model parts=40 every=20ms burst=8 size=32 fail=12 after=900ms fatal=30 stall=9 deaf=1 kinds=1 calls=1
/// tools=1 takes=100ms broken=1 hangs=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub parts: u64,
    /// The time between two steps. Zero: as fast as it is polled.
    pub every: Duration,
    /// Parts in one step.
    pub burst: u64,
    /// The least length of a part in bytes.
    pub size: usize,
    /// Fails after this part, retryably, on the first attempt only.
    fail: Option<u64>,
    /// How long it asks to be left alone when it fails.
    pub after: Option<Duration>,
    /// It fails after this part, for good.
    fatal: Option<u64>,
    /// Stalls after this part.
    stall: Option<u64>,
    /// Ignores cancellation.
    pub deaf: bool,
    /// Its answer has blocks of all kinds.
    pub kinds: bool,
    /// What it calls is to be carried out: its chat has the tool.
    pub calls: bool,
    /// What it calls is to be carried out by the server.
    pub tools: bool,
    /// How long each call takes there.
    takes: Duration,
    /// How each call ends.
    ends: CallEnd,
}

/// How long a call takes unless it is said.
const TAKES: Duration = Duration::from_millis(50);
const PARTS_MAX: u64 = 100_000;
const SIZE_MAX: usize = 64 * 1024;

impl Script {
    fn usual() -> Self {
        Self {
            parts: 20,
            every: Duration::from_millis(20),
            burst: 1,
            size: 0,
            fail: None,
            after: None,
            fatal: None,
            stall: None,
            deaf: false,
            kinds: false,
            calls: false,
            tools: false,
            takes: TAKES,
            ends: CallEnd::Returns,
        }
    }

    /// How the server's tools carry out what it calls.
    pub fn carrying(&self) -> Carrying {
        match self.ends {
            CallEnd::Returns => Carrying::Returns(self.takes),
            CallEnd::Fails => Carrying::Fails(self.takes),
            CallEnd::Never => Carrying::Hangs,
        }
    }

    /// `None`: the message is not a script, so a story has to control the model.
    pub fn parse(message: &str) -> Option<Self> {
        let settings = message.strip_prefix("/model ")?;
        let mut script = Self::usual();
        for (name, value) in settings.split_whitespace().filter_map(|word| word.split_once('=')) {
            let Ok(number) = value.trim_end_matches("ms").parse::<u64>() else { continue };
            match name {
                "parts" => script.parts = number.min(PARTS_MAX),
                "every" => script.every = Duration::from_millis(number),
                "burst" => script.burst = number.clamp(1, PARTS_MAX),
                "size" => script.size = usize::try_from(number).unwrap_or(SIZE_MAX).min(SIZE_MAX),
                "fail" => script.fail = Some(number),
                "after" => script.after = Some(Duration::from_millis(number)),
                "fatal" => script.fatal = Some(number),
                "stall" => script.stall = Some(number),
                "deaf" => script.deaf = number == 1,
                "kinds" => script.kinds = number == 1,
                "calls" => script.calls = number == 1,
                "tools" => script.tools = number == 1,
                "takes" => script.takes = Duration::from_millis(number),
                "broken" if number == 1 => script.ends = CallEnd::Fails,
                "hangs" if number == 1 => script.ends = CallEnd::Never,
                _ => {}
            }
        }
        Some(script)
    }

    /// The step after `said` parts of this attempt.
    pub fn turn(&self, said: u64, attempt: u64) -> Turn {
        let fail = self.fail.filter(|_| attempt == 1);
        match () {
            () if fail == Some(said) => Turn::Fail { retryable: true },
            () if self.fatal == Some(said) => Turn::Fail { retryable: false },
            () if self.stall == Some(said) => Turn::Stall,
            () if said >= self.parts => Turn::Done,
            () => {
                let stops = [fail, self.fatal, self.stall, Some(self.parts)];
                let next = stops.into_iter().flatten().filter(|stop| *stop > said).min();
                Turn::Parts(self.burst.min(next.unwrap_or(self.parts) - said))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Script, Turn};

    #[test]
    fn only_what_begins_with_the_word_is_a_script() {
        assert_eq!(Script::parse("hello"), None);
        assert_eq!(Script::parse("a /model parts=3"), None);
        let script = Script::parse("/model parts=3 every=5ms burst=2 m7 colour=red parts=x").unwrap();
        assert_eq!((script.parts, script.every.as_millis(), script.burst), (3, 5, 2));
    }

    #[test]
    fn a_script_stops_where_it_says_and_bursts_do_not_run_over() {
        let script = Script::parse("/model parts=10 burst=4 fail=5 fatal=8").unwrap();
        let first: Vec<_> = [0, 4, 5].map(|said| script.turn(said, 1)).into();
        assert_eq!(first, [Turn::Parts(4), Turn::Parts(1), Turn::Fail { retryable: true }]);
        let second: Vec<_> = [4, 5, 8].map(|said| script.turn(said, 2)).into();
        assert_eq!(second, [Turn::Parts(4), Turn::Parts(3), Turn::Fail { retryable: false }]);
        let script = Script::parse("/model parts=3 stall=2").unwrap();
        assert_eq!([1, 2].map(|said| script.turn(said, 1)), [Turn::Parts(1), Turn::Stall]);
        assert_eq!(Script::parse("/model parts=3").unwrap().turn(3, 1), Turn::Done);
    }
}
