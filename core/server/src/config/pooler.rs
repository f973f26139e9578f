//! What is between a replica and PostgreSQL.

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::bus::Bus;
use super::group::{Group, or};

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct PoolerOptions {
    /// A pooler before PostgreSQL that shares sessions among its clients: transaction, if it gives each transaction another
    /// one [default: none]
    #[arg(long, env = "MAINSTEM_DATABASE_POOLER", value_name = "MODE")]
    pub database_pooler: Option<Pooler>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooler {
    /// A connection has its session for itself.
    #[default]
    None,
    /// A transaction has a session for itself, and nothing else.
    Transaction,
}

impl Group for PoolerOptions {
    fn or(self, other: Self) -> Self {
        or!(self, other: database_pooler)
    }
}

impl PoolerOptions {
    /// `is_alone`: the database is SQLite.
    pub(super) fn check(self, is_alone: bool, bus: &Bus) -> Result<Pooler, String> {
        let pooler = self.database_pooler.unwrap_or_default();
        match pooler {
            Pooler::None => Ok(pooler),
            Pooler::Transaction if is_alone => {
                Err("--database-pooler is for PostgreSQL, and --database is a SQLite file".into())
            }
            Pooler::Transaction if *bus == Bus::Postgres => {
                Err("--database-pooler transaction leaves no session to LISTEN in: give --bus nats://HOST, \
                     redis://HOST, or none as well"
                    .into())
            }
            Pooler::Transaction => Ok(pooler),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_of_transactions_takes_a_bus_that_needs_no_session() {
        let checked =
            |database_pooler, is_alone, bus| PoolerOptions { database_pooler }.check(is_alone, &bus);
        let shared = Some(Pooler::Transaction);
        assert_eq!(checked(None, false, Bus::Postgres), Ok(Pooler::None));
        assert_eq!(checked(shared, false, Bus::Local), Ok(Pooler::Transaction));
        let nats = Bus::on_server("nats://h", "p").expect("a bus");
        assert_eq!(checked(shared, false, nats), Ok(Pooler::Transaction));
        assert!(checked(shared, false, Bus::Postgres).is_err_and(|why| why.contains("--bus")));
        assert!(checked(shared, true, Bus::Local).is_err_and(|why| why.contains("SQLite")));
    }
}
