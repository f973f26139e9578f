//! The production adapters of the database and the bus: SQLite with a bus inside the process, and PostgreSQL
//! with its notifications or another bus.

mod faults;
mod local_bus;
mod migrations;
mod postgres;
mod postgres_bus;
mod reads;
mod rows;
mod sqlite;
mod supervised;
mod topics;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use mainstem_runtime::ports::{Bus, Store};

use crate::config;
use crate::limits::adapters::DATABASE_CONNECTIONS;
pub use local_bus::LocalBus;
pub use postgres::PostgresStore;
pub use postgres_bus::PostgresBus;
pub use sqlite::SqliteStore;

/// Opens the database that `url` names (`sqlite:FILE` or `postgres://…`), with the bus that belongs to it,
/// and migrates its schema. Errors are one line that says what to do.
pub async fn open(url: &str, lease_ttl: Duration) -> anyhow::Result<(Arc<dyn Store>, Arc<dyn Bus>)> {
    open_with(url, lease_ttl, DATABASE_CONNECTIONS, &config::Bus::Postgres).await
}

/// The same with so many connections for requests and this bus, where the database is a server.
pub async fn open_with(
    url: &str,
    lease_ttl: Duration,
    connections: u32,
    bus: &config::Bus,
) -> anyhow::Result<(Arc<dyn Store>, Arc<dyn Bus>)> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let store = SqliteStore::open(url, lease_ttl).await?;
            Ok((Arc::new(store), Arc::new(LocalBus::default())))
        }
        Some("postgres" | "postgresql") => {
            let store = PostgresStore::open(url, lease_ttl, connections).await?;
            let bus: Arc<dyn Bus> = match bus {
                config::Bus::Local => Arc::new(LocalBus::default()),
                config::Bus::Postgres => Arc::new(PostgresBus::open(&store).await?),
            };
            Ok((Arc::new(store), bus))
        }
        _ => anyhow::bail!(
            "the database must be given as sqlite:FILE or postgres://USER@HOST/NAME, and what came has another \
             scheme or none"
        ),
    }
}
