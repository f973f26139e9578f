//! What the client understands, and what it wants when it leaves: the query of its URL.

use http::Uri;

use super::super::super::Problem;
use super::super::super::request::Parameters;
use super::super::streamed::stops_on_close;

/// The major version of the npm package `ai`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dialect {
    /// What all of them understand.
    #[default]
    Any,
    /// Puts what is told anew behind what it shows, if its connection broke in a browser.
    Five,
    /// So does its hook, unless a page makes the chat itself. It takes a call whose input comes in pieces.
    Six,
    /// Also `reset-step`, and that an answer was interrupted.
    Seven,
}

impl Dialect {
    /// Whether an answer that is told from its begin takes the place of what there was of it.
    pub(super) fn replaces(self) -> bool {
        matches!(self, Self::Any | Self::Seven)
    }

    pub(super) fn resets(self) -> bool {
        self >= Self::Seven
    }

    pub(super) fn tells_interrupted(self) -> bool {
        self >= Self::Seven
    }

    pub(super) fn streams_inputs(self) -> bool {
        self >= Self::Six
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) dialect: Dialect,
    /// Whether a client that leaves stops its turn.
    pub(super) stops_on_close: bool,
    /// Whether the last answer is told to who resumes when nothing runs: it may have been cut before its end.
    pub(super) tells_last: bool,
}

impl Options {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = Parameters::of(uri)?;
        let dialect = match query.text("ai")? {
            None => Dialect::Any,
            Some("5") => Dialect::Five,
            Some("6") => Dialect::Six,
            Some("7") => Dialect::Seven,
            Some(_) => return Err(Problem::malformed("`ai` is the major version of the package: 5, 6 or 7")),
        };
        let stops_on_close = stops_on_close(&query)?;
        let tells_last = match query.text("resume")? {
            None => false,
            Some("last") => true,
            Some(_) => return Err(Problem::malformed("`resume` is `last`, or is left out")),
        };
        Ok(Self { dialect, stops_on_close, tells_last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_or_refused() {
        let of = |query: &str| Options::of(&format!("/ai/chat?{query}").parse().expect("a URI"));
        assert_eq!(of("").expect("it is fine"), Options::default());
        assert_eq!(of("x=1&ai=7").expect("it is fine").dialect, Dialect::Seven);
        assert!(of("on_close=stop&ai=5").expect("it is fine").stops_on_close);
        assert!(of("resume=last").expect("it is fine").tells_last);
        for wrong in ["resume=", "resume=all", "ai=4", "ai=", "ai=7&ai=7", "on_close=", "on_close=go"] {
            assert_eq!(of(wrong).map_err(|problem| problem.code), Err("malformed"), "{wrong}");
        }
    }
}
