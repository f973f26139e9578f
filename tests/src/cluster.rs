//! Several replicas on one database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::postgres::Postgres;
use crate::process::Replica;
use crate::scratch::Scratch;
use crate::shipped_binary::server_binary;

/// Short, so that tests that wait for it are quick.
pub const LEASE_TTL: Duration = Duration::from_secs(3);
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Flags that make a replica keep them.
pub const TIMES: [&str; 6] = ["--lease-ttl", "3s", "--heartbeat", "500ms", "--poll-interval", "1s"];

/// Flags that make a replica show operators how it is.
pub const INTERNAL: [&str; 2] = ["--internal-listen", "127.0.0.1:0"];

/// Replicas `a`, `b`, … on one PostgreSQL. The processes end before their database does.
#[derive(Debug)]
pub struct Cluster {
    pub replicas: Vec<Replica>,
    pub database: String,
    pub postgres: Arc<Postgres>,
}

impl Cluster {
    /// A replica for each set of flags, on a database of the shared PostgreSQL.
    pub async fn start(flags: &[&[&str]]) -> Self {
        Self::start_on(Postgres::shared().expect("a PostgreSQL"), flags).await
    }

    /// The first replica works, the others serve viewers only.
    pub async fn with_one_worker() -> Self {
        Self::start(&[&[], &["--workers", "0"], &["--workers", "0"]]).await
    }

    pub async fn start_on(postgres: Arc<Postgres>, flags: &[&[&str]]) -> Self {
        let database = postgres.fresh_database().expect("a database");
        let mut cluster = Self { replicas: vec![], database, postgres };
        for (flags, id) in flags.iter().zip('a'..) {
            cluster.add(&id.to_string(), flags).await;
        }
        cluster
    }

    /// One more replica on the same database.
    pub async fn add(&mut self, id: &str, flags: &[&str]) {
        self.add_of(server_binary(), id, flags).await;
    }

    /// The same with variables in its environment.
    pub async fn add_with(&mut self, id: &str, flags: &[&str], environment: &[(&str, &str)]) {
        let ours = [&TIMES[..], &["--database", &self.database], flags].concat();
        self.replicas.push(Replica::start_with(id, &ours, environment).await);
    }

    /// The same without [`TIMES`].
    pub async fn add_bare(&mut self, id: &str, flags: &[&str]) {
        let ours = [&["--database", &self.database], flags].concat();
        self.replicas.push(Replica::start_of(server_binary(), id, &ours, &[]).await);
    }

    /// The same of another program than what ships.
    pub async fn add_of(&mut self, program: &Path, id: &str, flags: &[&str]) {
        let ours = [&TIMES[..], &["--database", &self.database], flags].concat();
        self.replicas.push(Replica::start_of(program, id, &ours, &[]).await);
    }

    /// The name of the database on its server.
    pub fn database_name(&self) -> &str {
        self.database.rsplit('/').next().expect("a split has a last piece")
    }

    /// The port of the replica at this index.
    pub fn port(&self, index: usize) -> u16 {
        let address = self.replicas[index].address();
        address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// The index of the replica with this id.
    pub fn index_of(&self, id: &str) -> usize {
        let index = self.replicas.iter().position(|replica| replica.id == id);
        index.unwrap_or_else(|| panic!("there is no replica {id:?}"))
    }
}

/// A replica alone, on SQLite in `directory`.
pub async fn alone(directory: &Scratch, flags: &[&str]) -> Replica {
    alone_with(directory, flags, &[]).await
}

/// The same with variables in its environment.
pub async fn alone_with(directory: &Scratch, flags: &[&str], environment: &[(&str, &str)]) -> Replica {
    let url = directory.sqlite_url();
    let flags = [&TIMES[..], &["--database", &url], flags].concat();
    Replica::start_with("alone", &flags, environment).await
}
