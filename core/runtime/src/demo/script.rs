//! The settings of the demo generator, parsed from a `/demo` line. Every text is a valid script: words that
//! are not settings are ignored, and values out of range are clamped. The generator plays the script.

use std::time::Duration;

use crate::limits::demo::{
    CALLS_MAX, INTERVAL_DEFAULT, INTERVAL_MAX, PARTS_DEFAULT, PARTS_MAX, SIZE_MAX, TOOL_NAME_CHARS_MAX,
};

/// How an answer is generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) parts: u64,
    /// Zero is full speed.
    pub(super) interval: Duration,
    /// The least length of a part in bytes, its space included.
    pub(super) size: usize,
    /// The provider fails after this part, retryably, on the first attempt only.
    pub(super) retryable: Option<u64>,
    /// The provider fails for good after this part.
    pub(super) fatal: Option<u64>,
    /// The run stalls after this part, until it is cancelled.
    pub(super) stall: Option<u64>,
    /// Each part contains the time at which it was emitted.
    pub(super) stamp: bool,
    /// So many parts, from the first on, are reasoning.
    pub(super) reasoning: u64,
    /// The tool that is called at the end, before it has answered.
    pub(super) call: Option<String>,
    /// How often.
    pub(super) calls: u64,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            parts: PARTS_DEFAULT,
            interval: INTERVAL_DEFAULT,
            size: 0,
            retryable: None,
            fatal: None,
            stall: None,
            stamp: false,
            reasoning: 0,
            call: None,
            calls: 1,
        }
    }
}

impl Script {
    /// Parses the script in a user's message. If a setting is given twice, the last one counts.
    pub(super) fn parse(message: &str) -> Self {
        let mut script = Self::default();
        let mut words = message.split_whitespace();
        if !message.starts_with("/demo") || words.next() != Some("/demo") {
            return script;
        }
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            script.set(name, value);
        }
        script
    }

    fn set(&mut self, name: &str, value: &str) {
        if name == "call" && !value.is_empty() {
            self.call = Some(value.chars().take(TOOL_NAME_CHARS_MAX).collect());
            return;
        }
        let Some(number) = number(value) else {
            if let ("interval", Ok(interval)) = (name, humantime::parse_duration(value)) {
                self.interval = interval.min(INTERVAL_MAX);
            }
            return;
        };
        match name {
            "parts" => self.parts = number.min(PARTS_MAX),
            "interval" if number == 0 => self.interval = Duration::ZERO,
            "size" => self.size = usize::try_from(number).unwrap_or(SIZE_MAX).min(SIZE_MAX),
            "retryable" => self.retryable = Some(number),
            "fatal" => self.fatal = Some(number),
            "stall" => self.stall = Some(number),
            "reasoning" => self.reasoning = number,
            "calls" => self.calls = number.clamp(1, CALLS_MAX),
            "stamp" if number <= 1 => self.stamp = number == 1,
            _ => {}
        }
    }
}

/// Parses decimal digits and nothing else. Numbers beyond 64 bits become the maximum.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_no_demo_line_gets_the_default() {
        for text in ["", "hello", "/demonstrate parts=3", " /demo parts=3", "say /demo parts=3", "/demo"] {
            assert_eq!(Script::parse(text), Script::default(), "{text:?}");
        }
    }

    #[test]
    fn every_setting_is_taken() {
        let line = "/demo parts=500 interval=5ms size=32 retryable=40 fatal=90 stall=20 stamp=1 \
            reasoning=5 call=find calls=3";
        let wanted = Script {
            parts: 500,
            interval: Duration::from_millis(5),
            size: 32,
            retryable: Some(40),
            fatal: Some(90),
            stall: Some(20),
            stamp: true,
            reasoning: 5,
            call: Some("find".into()),
            calls: 3,
        };
        assert_eq!(Script::parse(line), wanted);
    }

    #[test]
    fn intervals_have_units_and_zero_needs_none() {
        for (text, wanted) in [
            ("0", Duration::ZERO),
            ("0ms", Duration::ZERO),
            ("250us", Duration::from_micros(250)),
            ("5ms", Duration::from_millis(5)),
            ("1s", Duration::from_secs(1)),
            ("1.5s", Duration::from_millis(1500)),
            ("9999999s", INTERVAL_MAX),
            ("1h", INTERVAL_MAX),
            // Not settings: the default stays.
            ("5", INTERVAL_DEFAULT),
            ("-1s", INTERVAL_DEFAULT),
            ("ms", INTERVAL_DEFAULT),
            ("99999999999999999999999s", INTERVAL_DEFAULT),
        ] {
            assert_eq!(Script::parse(&format!("/demo interval={text}")).interval, wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_setting_is_ignored_and_what_is_absurd_is_clamped() {
        let script =
            Script::parse("/demo please parts=x parts= parts=7 colour=red = size=-1 stamp=2 and thanks");
        assert_eq!(script, Script { parts: 7, ..Script::default() });
        let script = Script::parse("/demo call= calls=0 reasoning=many");
        assert_eq!(script, Script::default());
        let script = Script::parse("/demo\nparts=99999999999999999999999 size=99999999999999999999999");
        assert_eq!(script, Script { parts: PARTS_MAX, size: SIZE_MAX, ..Script::default() });
    }
}
