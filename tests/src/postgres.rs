//! A private PostgreSQL for tests, in the system's temporary directory and on a free port of the loopback. It
//! runs as another user if we are root, and is removed when dropped.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::last_will::LastWill;

/// Stops the server in the directory `$1`, and removes the directory.
const LAST_WILL: &str = "postmaster=$(head -n 1 \"$1/data/postmaster.pid\") && kill -CONT \"$postmaster\" && \
                         kill -QUIT \"$postmaster\" && while kill -0 \"$postmaster\"; do sleep 0.1; done; \
                         rm -rf \"$1\"";

/// The superuser of the server.
const USER: &str = "mainstem";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Tries to find a port that is still free when the server binds it.
const PORTS_TRIED_MAX: usize = 5;

/// The options of a server.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whether a commit waits for the disk. Needed only if a test kills a machine.
    pub fsync: bool,
    pub max_connections: u32,
    /// More settings, as `name=value`.
    pub settings: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { fsync: false, max_connections: 200, settings: vec![] }
    }
}

/// A server that is running, or was stopped.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    /// The user that it runs as, if not ours.
    account: Option<(u32, u32)>,
    setup: Setup,
    port: u16,
    server: Mutex<Option<Child>>,
    databases: AtomicU64,
    _last_will: LastWill,
}

impl Postgres {
    pub fn new() -> anyhow::Result<Self> {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> anyhow::Result<Self> {
        let postgres = Self::without_data(setup)?;
        let mut initdb = postgres.program("initdb");
        initdb.args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]);
        initdb.args(["--no-sync", "--no-instructions", "--pgdata"]).arg(postgres.data());
        run(&mut initdb)?;
        postgres.start_on_a_free_port()
    }

    /// A standby of this server, which follows it and lets read.
    pub fn standby(&self) -> anyhow::Result<Self> {
        let standby = Self::without_data(self.setup.clone())?;
        let mut copy = standby.program("pg_basebackup");
        copy.args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--dbname"]);
        copy.arg(self.url("postgres")).arg("--pgdata").arg(standby.data());
        run(&mut copy)?;
        standby.start_on_a_free_port()
    }

    /// Makes a standby a primary, and waits until it is.
    pub fn promote(&self) -> anyhow::Result<()> {
        let promoted = self.sql("postgres", "SELECT pg_promote(true, 30)")?;
        ensure!(promoted == "t", "the standby was not promoted: {promoted}");
        Ok(())
    }

    fn without_data(setup: Setup) -> anyhow::Result<Self> {
        let programs = programs()?;
        let account = account()?;
        let directory = directory(account)?;
        let last_will = LastWill::new(LAST_WILL, &[directory.to_str().context("a path of UTF-8")?])?;
        let postgres = Self {
            programs,
            directory,
            account,
            setup,
            port: 0,
            server: Mutex::new(None),
            databases: AtomicU64::new(0),
            _last_will: last_will,
        };
        Ok(postgres)
    }

    fn start_on_a_free_port(mut self) -> anyhow::Result<Self> {
        let mut tried = 0;
        loop {
            tried += 1;
            self.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            match self.start() {
                Ok(()) => return Ok(self),
                Err(error) if tried == PORTS_TRIED_MAX => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// One server shared by all tests of this process that run at the same time. It ends with the last
    /// handle.
    pub fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(postgres) = shared.upgrade() {
            return Ok(postgres);
        }
        let postgres = Arc::new(Self::new()?);
        *shared = Arc::downgrade(&postgres);
        Ok(postgres)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The process id of the postmaster.
    ///
    /// # Panics
    ///
    /// If the server was stopped.
    pub fn process_id(&self) -> u32 {
        self.server().as_ref().expect("it runs").id()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database, and returns its URL.
    pub fn create_database(&self, name: &str) -> anyhow::Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.url(name))
    }

    /// Creates an empty database with a unique name, and returns its URL.
    pub fn fresh_database(&self) -> anyhow::Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.create_database(&format!("fresh_{number}"))
    }

    /// Runs SQL by psql, and returns its unaligned output.
    pub fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        self.sql_at(&self.url(database), sql)
    }

    /// The same by way of this URL.
    pub fn sql_at(&self, url: &str, sql: &str) -> anyhow::Result<String> {
        let mut psql = self.program("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        psql.args(["--dbname", url, "--command", sql]);
        run(&mut psql).map(|output| output.trim().to_owned())
    }

    /// Terminates the connections to databases with a name like `database`. Returns how many there were.
    pub fn terminate_backends(&self, database: &str) -> anyhow::Result<usize> {
        let count = self.sql(
            "postgres",
            &format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname LIKE '{database}' AND pid <> pg_backend_pid()"
            ),
        )?;
        count.parse().with_context(|| format!("psql counted {count:?} backends"))
    }

    /// Starts it (again), on the same port.
    pub fn start(&self) -> anyhow::Result<()> {
        let mut server = self.server();
        ensure!(server.is_none(), "the server runs already");
        let log = fs::File::create(self.directory.join("log"))?;
        let mut command = self.program("postgres");
        let connections = format!("max_connections={}", self.setup.max_connections);
        let fsync = format!("fsync={}", if self.setup.fsync { "on" } else { "off" });
        let sockets = format!("unix_socket_directories={}", self.directory.display());
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let settings =
            [&*connections, &*fsync, &*sockets, "listen_addresses=127.0.0.1", "shared_buffers=32MB"];
        for setting in settings.into_iter().chain(self.setup.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        // A process group of its own, so that an interrupt at the terminal does not reach it.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *server = Some(command.spawn().context("postgres does not start")?);
        drop(server);
        let started = self.wait_until_ready();
        if started.is_err() {
            self.stop();
        }
        started
    }

    /// Stops it at once, like a crash.
    pub fn stop(&self) {
        // A paused process could not end.
        self.resume();
        let Some(mut child) = self.server().take() else { return };
        // Only to the postmaster, which ends the others.
        kill(child.id().cast_signed(), libc::SIGQUIT);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                kill(child.id().cast_signed(), libc::SIGKILL);
                child.wait().ok();
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Pauses all of its processes: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.for_each_process(libc::SIGSTOP);
    }

    /// Resumes a paused server.
    pub fn resume(&self) {
        self.for_each_process(libc::SIGCONT);
    }

    /// Signals all processes: backends have process groups of their own, and are children of the postmaster.
    fn for_each_process(&self, signal: i32) {
        let server = self.server();
        let Some(child) = server.as_ref() else { return };
        let postmaster = child.id().cast_signed();
        // The postmaster first, because it creates new ones.
        kill(postmaster, signal);
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            kill(child.parse().expect("the kernel lists process ids"), signal);
        }
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.sql("postgres", "SELECT 1").is_ok() {
                return Ok(());
            }
            let ended = match self.server().as_mut() {
                Some(child) => child.try_wait()?,
                None => bail!("the server was stopped while it started"),
            };
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if let Some(status) = ended {
                bail!("postgres ended with {status}: {}", log());
            }
            ensure!(Instant::now() < deadline, "postgres is not ready after {START_TIMEOUT:?}: {}", log());
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.directory).env_clear().env("LC_ALL", "C").env("PATH", &self.programs);
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            // A panic here could hide the original one.
            let _ = writeln!(io::stderr(), "{} is left behind: {error}", self.directory.display());
        }
    }
}

/// Sends a signal by the `kill` program, because the system call needs unsafe code.
pub(crate) fn kill(process: i32, signal: i32) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).output();
    sent.expect("the program kill is there");
}

pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} does not start", name.display()))?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        name.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where PostgreSQL's programs are. Only some of them may be linked into a directory of `PATH`.
pub fn programs() -> anyhow::Result<PathBuf> {
    let initdb = fs::canonicalize(mainstem_programs::POSTGRESQL.path()?)?;
    Ok(initdb.parent().context("initdb is in a directory")?.to_owned())
}

/// PostgreSQL refuses to run as root, so there it runs as another.
pub(crate) fn account() -> anyhow::Result<Option<(u32, u32)>> {
    let own = fs::metadata("/proc/self").context("the system has no /proc")?;
    if std::os::unix::fs::MetadataExt::uid(&own) != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd")?;
    for name in ["postgres", "nobody"] {
        let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        if let Some(fields) = fields.into_iter().find(|fields| fields.first() == Some(&name)) {
            return Ok(Some((fields[2].parse()?, fields[3].parse()?)));
        }
    }
    bail!("we are root, PostgreSQL must not be, and there is neither a user postgres nor nobody")
}

pub(crate) fn directory(account: Option<(u32, u32)>) -> anyhow::Result<PathBuf> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("mainstem-postgres-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    // A process with the same id may have been killed before it could clean up.
    fs::remove_dir_all(&directory).ok();
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
    if let Some((user, group)) = account {
        chown(&directory, Some(user), Some(group))?;
    }
    Ok(directory)
}
