//! How long chats are kept.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::group::{Group, or};
use crate::limits::retention::RETENTION_MIN;
use crate::units::Span;

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RetentionOptions {
    /// Delete chats that nobody has touched for so long, and that wait for nothing [default: never]
    #[arg(long, env = "MAINSTEM_CHAT_RETENTION", value_name = "DURATION")]
    pub chat_retention: Option<Span>,
}

impl Group for RetentionOptions {
    fn or(self, other: Self) -> Self {
        or!(self, other: chat_retention)
    }
}

impl RetentionOptions {
    pub(super) fn check(self) -> Result<Option<Duration>, String> {
        let retention = self.chat_retention.map(|span| span.0);
        match retention {
            Some(short) if short < RETENTION_MIN => {
                Err(format!("--chat-retention is {short:?}: expected at least {RETENTION_MIN:?}"))
            }
            retention => Ok(retention),
        }
    }
}
