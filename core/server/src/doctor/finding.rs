//! What was found, and how it is told: one line each, or JSON. Nothing that is told has a secret in it.

use std::fmt::Write;

use serde::Serialize;

use crate::client::printable;

/// How bad something is. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It works, but not as well as it could, or not for long.
    Warn,
    /// A replica would not start, or not do its work.
    Fail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// How to mend it, unless it is well.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        let mut line = format!("{verdict}  {}: {}", self.check, self.found);
        if let Some(remedy) = &self.remedy {
            write!(line, " — {remedy}").expect("a string takes all");
        }
        let line = line.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
        printable(&line).into_owned()
    }
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    pub(super) checks: Vec<Finding>,
}

impl Report {
    pub(super) fn new(checks: Vec<Finding>) -> Self {
        let verdict = checks.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        Self { verdict, checks }
    }

    pub(super) fn text(&self) -> String {
        self.checks.iter().map(|finding| finding.line() + "\n").collect()
    }

    pub(super) fn json(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("a report is written as JSON");
        format!("{json}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_one_line_and_the_worst_is_the_verdict() {
        let report = Report::new(vec![
            Finding::ok("a", "well"),
            Finding::fail("b", "two\nlines\u{1b}[31m", "mend it"),
            Finding::warn("c", "so so", "look"),
        ]);
        assert_eq!(report.verdict, Verdict::Fail);
        let text = report.text();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("fail  b: two lines") && !text.contains('\u{1b}'), "{text}");
        assert!(report.json().contains("\"verdict\": \"warn\""));
        assert_eq!(Report::new(vec![]).verdict, Verdict::Ok);
    }
}
