//! Why the process ends before its work is done, and its exit code.

use std::fmt;
use std::process::ExitCode;

/// One line for whoever started the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What it was told makes no sense.
    Usage(String),
    /// What it needs is not there.
    Environment(String),
}

impl Failure {
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::Usage(what.to_string())
    }

    pub fn environment(what: impl fmt::Display) -> Self {
        Self::Environment(what.to_string())
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(64),
            Self::Environment(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(what) | Self::Environment(what)) = self;
        what.lines().map(str::trim).collect::<Vec<_>>().join(" ").fmt(f)
    }
}
