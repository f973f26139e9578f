//! A PgBouncer of the test's own in front of a PostgreSQL, set up by nothing but its mode: what it refuses
//! unless it is told otherwise, it refuses here.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use mainstem_programs::PGBOUNCER;

use crate::last_will::LastWill;
use crate::postgres::{Postgres, account, directory};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Settings by which no two transactions in a row have the same session.
const MIXED: &str = "server_round_robin = 1\ndefault_pool_size = 6\nmax_client_conn = 400\n";

#[derive(Debug)]
pub struct Pooler {
    directory: PathBuf,
    port: u16,
    child: Child,
    _last_will: LastWill,
}

impl Pooler {
    /// With this `pool_mode`, in front of all databases of that server.
    pub fn start(postgres: &Postgres, mode: &str) -> anyhow::Result<Self> {
        Self::with(postgres, mode, "", "")
    }

    /// One that gives each transaction another session than the last one, of a few.
    pub fn that_mixes_sessions(postgres: &Postgres) -> anyhow::Result<Self> {
        Self::with(postgres, "transaction", "", MIXED)
    }

    /// The same, which leads each of these replicas to this database by a name of its own, [`name_of`], and says in its
    /// sessions which replica it is.
    pub fn of_replicas(postgres: &Postgres, database: &str, replicas: &[String]) -> anyhow::Result<Self> {
        let entry = |replica: &String| {
            let (name, port) = (name_of(database, replica), postgres.port());
            let says = format!("SET witness.replica TO ''{replica}''");
            format!(
                "{name} = host=127.0.0.1 port={port} user=mainstem dbname={database} connect_query='{says}'\n"
            )
        };
        Self::with(postgres, "transaction", &replicas.iter().map(entry).collect::<String>(), MIXED)
    }

    fn with(postgres: &Postgres, mode: &str, databases: &str, more: &str) -> anyhow::Result<Self> {
        let program = PGBOUNCER.path()?;
        let account = account()?;
        let directory = directory(account)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = format!(
            "[databases]\n{databases}* = host=127.0.0.1 port={} user=mainstem\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n{more}",
            postgres.port()
        );
        let file = directory.join("pgbouncer.ini");
        fs::write(&file, settings)?;
        let log = fs::File::create(directory.join("log"))?;
        let mut command = Command::new(program);
        command.arg(&file).env_clear().current_dir(&directory).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // It refuses to run as root.
        if let Some((user, group)) = account {
            command.uid(user).gid(group);
        }
        let child = command.spawn().context("pgbouncer does not start")?;
        let will = "kill -KILL \"$1\"; rm -rf \"$2\"";
        let place = directory.to_str().context("a path of UTF-8")?;
        let last_will = LastWill::new(will, &[&child.id().to_string(), place])?;
        let mut pooler = Self { directory, port, child, _last_will: last_will };
        pooler.wait_until_ready()?;
        Ok(pooler)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `url` of a database of the server on `port`, by way of the pooler.
    pub fn url(&self, url: &str, port: u16) -> String {
        url.replacen(&format!(":{port}/"), &format!(":{}/", self.port), 1)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("pgbouncer ended with {status}: {}", log());
            }
            ensure!(Instant::now() < deadline, "pgbouncer is not ready after {START_TIMEOUT:?}: {}", log());
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// By which name a pooler leads a replica to a database.
pub fn name_of(database: &str, replica: &str) -> String {
    format!("{database}_{replica}")
}
