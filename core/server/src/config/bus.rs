//! Which bus carries notices between replicas. What its URL has of a password is neither in an error nor in a log.

use std::fmt;

use clap::Args;
use serde::Deserialize;

use super::group::{Group, or};

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BusOptions {
    /// What carries notices between replicas, with PostgreSQL: postgres, or none, so that they only poll [default: postgres]
    #[arg(long, env = "MAINSTEM_BUS", value_name = "BUS", hide_env_values = true)]
    pub bus: Option<Address>,
}

/// What was given. Not checked while it is parsed: who parses shows what was wrong, and a password may be in it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl From<&str> for Address {
    fn from(given: &str) -> Self {
        Self(given.to_owned())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address")
    }
}

impl Group for BusOptions {
    fn or(self, other: Self) -> Self {
        or!(self, other: bus)
    }
}

/// What carries notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Nothing between processes: one process has the database for itself, or its replicas poll.
    Local,
    /// LISTEN and NOTIFY.
    Postgres,
}

impl BusOptions {
    /// `is_alone`: the database is SQLite.
    pub(super) fn check(self, is_alone: bool) -> Result<Bus, String> {
        let Some(Address(given)) = self.bus else {
            return Ok(if is_alone { Bus::Local } else { Bus::Postgres });
        };
        if is_alone {
            return Err(
                "--bus is for replicas on PostgreSQL: a SQLite file has one server, and the bus is inside \
                        it; leave --bus out, or give --database postgres://…"
                    .into(),
            );
        }
        match &*given {
            "postgres" => Ok(Bus::Postgres),
            "none" => Ok(Bus::Local),
            _ => Err("--bus: expected postgres or none".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bus: Option<&str>, is_alone: bool) -> Result<Bus, String> {
        BusOptions { bus: bus.map(Address::from) }.check(is_alone)
    }

    #[test]
    fn a_replica_on_postgresql_listens_unless_it_is_told_otherwise() {
        assert_eq!(checked(None, false), Ok(Bus::Postgres));
        assert_eq!(checked(Some("postgres"), false), Ok(Bus::Postgres));
        assert_eq!(checked(Some("none"), false), Ok(Bus::Local));
        assert_eq!(checked(None, true), Ok(Bus::Local));
    }

    #[test]
    fn a_server_on_sqlite_has_no_bus_to_choose() {
        for bus in ["postgres", "none"] {
            assert!(checked(Some(bus), true).is_err_and(|why| why.contains("SQLite")), "{bus}");
        }
    }

    #[test]
    fn what_is_no_bus_is_refused_without_being_repeated() {
        for bus in ["amqp://u:hidden@host", "Postgres", ""] {
            let why = checked(Some(bus), false).expect_err("no bus");
            assert!(why.contains("expected") && !why.contains("hidden"), "{why}");
        }
        assert!(!format!("{:?}", BusOptions { bus: Some("u:hidden@h".into()) }).contains("hidden"));
    }
}
