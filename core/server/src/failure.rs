//! Fatal errors of the process, and their exit codes.

use std::fmt;
use std::process::ExitCode;

/// An error, as one line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Invalid usage or configuration.
    Usage(String),
    /// Something in the environment is missing or fails.
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
