//! Which bus carries notices between replicas. What its URL has of a password is neither in an error nor in a log.

use std::fmt;

use clap::Args;
use serde::Deserialize;

use super::group::{Group, or};
use crate::adapters::{NatsAddress, RedisAddress};
use crate::limits::adapters::BUS_PREFIX_BYTES_MAX;

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BusOptions {
    /// What carries notices between replicas, with PostgreSQL: postgres, nats://…, redis://…, or none, so that they only
    /// poll [default: postgres]
    #[arg(long, env = "MAINSTEM_BUS", value_name = "BUS", hide_env_values = true)]
    pub bus: Option<Address>,
    /// The first word of the names that the bus's server is given [default: mainstem]
    #[arg(long, env = "MAINSTEM_BUS_PREFIX", value_name = "NAME")]
    pub bus_prefix: Option<String>,
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
        or!(self, other: bus, bus_prefix)
    }
}

/// What carries notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Nothing between processes: one process has the database for itself, or its replicas poll.
    Local,
    /// LISTEN and NOTIFY.
    Postgres,
    /// A server of its own.
    Served {
        address: BusAddress,
        /// The first word of the names that it is given.
        prefix: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusAddress {
    Nats(NatsAddress),
    Redis(RedisAddress),
}

impl Bus {
    /// A word for it, in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Postgres => "postgres",
            Self::Served { address: BusAddress::Nats(_), .. } => "nats",
            Self::Served { address: BusAddress::Redis(_), .. } => "redis",
        }
    }

    /// The bus on the server that a URL names.
    pub fn on_server(url: &str, prefix: &str) -> Result<Self, String> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let address = match scheme {
            Some("nats" | "tls") => url.parse().map(BusAddress::Nats),
            Some("redis" | "rediss") => url.parse().map(BusAddress::Redis),
            _ => Err("expected postgres, nats://HOST, redis://HOST, or none".into()),
        };
        let address = address.map_err(|why: String| format!("--bus: {why}"))?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if prefix.is_empty() || prefix.len() > BUS_PREFIX_BYTES_MAX || !prefix.bytes().all(is_name) {
            return Err(format!("--bus-prefix: expected 1 to {BUS_PREFIX_BYTES_MAX} of A-Z a-z 0-9 _ -"));
        }
        Ok(Self::Served { address, prefix: prefix.to_owned() })
    }
}

impl BusOptions {
    /// `is_alone`: the database is SQLite.
    pub(super) fn check(self, is_alone: bool) -> Result<Bus, String> {
        if is_alone && self.bus.is_some() {
            return Err(
                "--bus is for replicas on PostgreSQL: a SQLite file has one server, and the bus is inside \
                        it; leave --bus out, or give --database postgres://…"
                    .into(),
            );
        }
        let given = self.bus.as_ref().map_or("postgres", |bus| &bus.0);
        if self.bus_prefix.is_some() && !given.contains("://") {
            return Err("--bus-prefix names nothing without a --bus that is a server".into());
        }
        match given {
            _ if is_alone => Ok(Bus::Local),
            "postgres" => Ok(Bus::Postgres),
            "none" => Ok(Bus::Local),
            url => {
                let prefix = self.bus_prefix.as_deref().unwrap_or("mainstem");
                Bus::on_server(url, prefix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bus: Option<&str>, is_alone: bool) -> Result<Bus, String> {
        BusOptions { bus: bus.map(Address::from), bus_prefix: None }.check(is_alone)
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
        let odd = [
            "amqp://u:hidden@host",
            "Postgres",
            "",
            "postgres://u:hidden@h",
            "none://hidden",
            "nats://u:hidden@a/b",
            "redis://u:hidden@a?b",
        ];
        for bus in odd {
            let why = checked(Some(bus), false).expect_err("no bus");
            assert!(why.contains("expected") && !why.contains("hidden"), "{why}");
        }
        let given = BusOptions { bus: Some("nats://u:hidden@h".into()), bus_prefix: None };
        assert!(!format!("{given:?}").contains("hidden"));
        assert!(!format!("{:?}", given.check(false)).contains("hidden"));
    }

    #[test]
    fn a_prefix_is_one_word_for_a_server() {
        let named = |bus: &str, prefix: &str| {
            BusOptions { bus: Some(bus.into()), bus_prefix: Some(prefix.to_owned()) }.check(false)
        };
        let bus = named("nats://h", "blue-1").expect("a bus");
        assert!(matches!(bus, Bus::Served { prefix, .. } if prefix == "blue-1"));
        assert!(
            matches!(checked(Some("tls://h"), false), Ok(Bus::Served { prefix, .. }) if prefix == "mainstem")
        );
        for prefix in ["", "a.b", "*", "a b", &"x".repeat(65)] {
            assert!(named("nats://h", prefix).is_err_and(|why| why.contains("--bus-prefix")), "{prefix:?}");
        }
        for bus in ["postgres", "none"] {
            assert!(named(bus, "x").is_err_and(|why| why.contains("--bus-prefix")), "{bus}");
        }
    }
}
