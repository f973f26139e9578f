//! The production adapters of the database and the bus: SQLite with a bus inside the process, and PostgreSQL
//! with its notifications or another bus.

mod faults;
mod local_bus;
mod migrations;
mod nats_bus;
mod notices;
mod postgres;
mod postgres_bus;
mod reads;
mod redis_bus;
mod rows;
mod served_bus;
mod sqlite;
mod supervised;
mod topics;
mod transaction;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstem_runtime::ports::{Bus, Store};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

use crate::config::{self, Pooler};
use crate::limits::adapters::DATABASE_CONNECTIONS;
use crate::limits::process::FRESH_SECRET_BYTES;
pub use local_bus::LocalBus;
pub use migrations::Schema;
use nats_bus::Nats;
pub use nats_bus::NatsAddress;
use notices::Inbox;
pub use postgres::{
    Connecting, Examination, Heard, KeptSecret, PostgresStore, ServerConnections, Unexamined,
    examine as examine_postgres, notify_oneself, place as place_of_postgres,
};
pub use postgres_bus::PostgresBus;
use redis_bus::Redis;
pub use redis_bus::RedisAddress;
use served_bus::{ServedBus, Server};
pub use sqlite::{SqliteExamination, SqliteStore, examine as examine_sqlite};
use topics::Topics;
use uuid::Uuid;

/// Opens the database that `url` names (`sqlite:FILE` or `postgres://…`), with the bus that belongs to it,
/// and migrates its schema. Errors are one line that says what to do.
pub async fn open(url: &str, lease_ttl: Duration) -> anyhow::Result<(Arc<dyn Store>, Arc<dyn Bus>)> {
    open_with(url, lease_ttl, DATABASE_CONNECTIONS, Pooler::None, &config::Bus::Postgres).await
}

/// The same with so many connections for requests, by way of this pooler, and this bus, where the database is a
/// server.
pub async fn open_with(
    url: &str,
    lease_ttl: Duration,
    connections: u32,
    pooler: Pooler,
    bus: &config::Bus,
) -> anyhow::Result<(Arc<dyn Store>, Arc<dyn Bus>)> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let store = SqliteStore::open(url, lease_ttl).await?;
            Ok((Arc::new(store), Arc::new(LocalBus::default())))
        }
        Some("postgres" | "postgresql") => {
            let listens = *bus == config::Bus::Postgres;
            let connecting = Connecting { requests: connections, listens, pooler };
            let store = PostgresStore::open(url, lease_ttl, connecting).await?;
            let bus: Arc<dyn Bus> = match bus {
                config::Bus::Postgres => Arc::new(PostgresBus::open(&store).await?),
                config::Bus::Local => Arc::new(LocalBus::default()),
                config::Bus::Served { .. } => open_bus(bus, &name_of(&store).await?).await,
            };
            Ok((Arc::new(store), bus))
        }
        _ => anyhow::bail!(
            "the database must be given as sqlite:FILE or postgres://USER@HOST/NAME, and what came has another \
             scheme or none"
        ),
    }
}

/// The bus on a server of its own, for the replicas on the database of this name; any other is within the process.
pub async fn open_bus(bus: &config::Bus, database: &str) -> Arc<dyn Bus> {
    let config::Bus::Served { address, prefix } = bus else { return Arc::new(LocalBus::default()) };
    let (prefix, database) = (prefix.clone(), database.to_owned());
    match address.clone() {
        config::BusAddress::Nats(address) => {
            Arc::new(ServedBus::open(Nats { address, prefix, database }).await)
        }
        config::BusAddress::Redis(address) => {
            Arc::new(ServedBus::open(Redis { address, prefix, database }).await)
        }
    }
}

/// Connects to the bus's server, publishes a notice on a channel that nobody else knows, and tells how long it took until
/// that came back, from the begin of the connection.
pub async fn publish_to_oneself(address: &config::BusAddress, prefix: &str) -> Result<Duration, String> {
    let (prefix, database) = (prefix.to_owned(), format!("doctor-{}", Uuid::now_v7().simple()));
    let server: Box<dyn Server> = match address.clone() {
        config::BusAddress::Nats(address) => Box::new(Nats { address, prefix, database }),
        config::BusAddress::Redis(address) => Box::new(Redis { address, prefix, database }),
    };
    let began = Instant::now();
    server.connect(Arc::new(Inbox::new(Topics::default()))).await?;
    Ok(began.elapsed())
}

/// What tells a database from others on a server of notices, and tells nothing else of it.
async fn name_of(store: &dyn Store) -> anyhow::Result<String> {
    let mut fresh = [0; FRESH_SECRET_BYTES];
    OsRng.try_fill_bytes(&mut fresh)?;
    let secret = store.secret(&fresh).await?;
    let digest = Sha256::new().chain_update("bus").chain_update(secret).finalize();
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
