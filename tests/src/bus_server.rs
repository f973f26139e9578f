//! A NATS or a Redis of the test's own, on a free port of the loopback, that can be killed, paused, and started again at the
//! same address. It lets go early of who takes too slowly what it is sent.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail, ensure};
use mainstem_programs::{NATS, REDIS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::authority::Authority;
use crate::deadline::{WAIT_MAX, within};
use crate::last_will::LastWill;
use crate::postgres::kill;
use crate::process::free_port;
use crate::scratch::Scratch;

const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(20);
/// Tries to find a port that is still free when the server binds it.
const PORTS_TRIED_MAX: usize = 5;
/// More than a server and the kernel hold for one client.
const FLOOD_BYTES: usize = 64 << 20;
const FLOOD_MESSAGE_BYTES: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nats,
    Redis,
}

#[derive(Debug)]
pub struct BusServer {
    kind: Kind,
    port: u16,
    directory: Scratch,
    has_tls: bool,
    running: Mutex<Option<(Child, LastWill)>>,
}

impl BusServer {
    pub async fn start(kind: Kind) -> anyhow::Result<Self> {
        Self::configured(kind, "").await
    }

    /// With more lines in the program's file of settings.
    pub async fn configured(kind: Kind, settings: &str) -> anyhow::Result<Self> {
        Self::start_in(kind, settings, |_| Ok(false)).await
    }

    /// Under TLS, as `localhost`, by an authority of its own: the file with its certificate is the second value.
    pub async fn with_tls(kind: Kind) -> anyhow::Result<(Self, String)> {
        let settings = match kind {
            Kind::Nats => "tls: { cert_file: \"leaf.pem\", key_file: \"key.pem\" }",
            Kind::Redis => {
                "tls-cert-file leaf.pem\ntls-key-file key.pem\ntls-ca-cert-file authority.pem\ntls-auth-clients no"
            }
        };
        let server = Self::start_in(kind, settings, certify).await?;
        let authority = server.directory.path().join("authority.pem").display().to_string();
        Ok((server, authority))
    }

    async fn start_in(
        kind: Kind,
        settings: &str,
        prepare: impl Fn(&Scratch) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Self> {
        let mut tried = 0;
        loop {
            tried += 1;
            let (port, directory) = (free_port(), Scratch::new());
            directory.file("settings", &format!("{}{settings}\n", bounds(kind)));
            let has_tls = prepare(&directory)?;
            let server = Self { kind, port, directory, has_tls, running: Mutex::default() };
            match server.start_again().await {
                Ok(()) => return Ok(server),
                Err(error) if tried == PORTS_TRIED_MAX => return Err(error),
                Err(_) => {}
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As `--bus` takes it, by way of this port.
    pub fn url_at(&self, port: u16) -> String {
        let (scheme, host) = match (self.kind, self.has_tls) {
            (Kind::Nats, false) => ("nats", "127.0.0.1"),
            (Kind::Nats, true) => ("tls", "localhost"),
            (Kind::Redis, false) => ("redis", "127.0.0.1"),
            (Kind::Redis, true) => ("rediss", "localhost"),
        };
        format!("{scheme}://{host}:{port}")
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The name of the channel on which a cluster's notices are, by the words that it is made of.
    pub fn channel(&self, prefix: &str, database: &str) -> String {
        match self.kind {
            Kind::Nats => format!("{prefix}.{database}.notices"),
            Kind::Redis => format!("{prefix}:{database}:notices"),
        }
    }

    /// Starts it (again), on the same port.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        ensure!(self.running().is_none(), "it runs already");
        let port = self.port.to_string();
        let mut command = match self.kind {
            Kind::Nats => {
                let mut command = Command::new(NATS.path()?);
                command.args(["--addr", "127.0.0.1", "--port", &port, "--config", "settings"]);
                command
            }
            Kind::Redis => {
                let mut command = Command::new(REDIS.path()?);
                let (plain, tls) = if self.has_tls { ("0", &*port) } else { (&*port, "0") };
                command.args(["settings", "--bind", "127.0.0.1", "--port", plain, "--tls-port", tls]);
                command.args(["--save", ""]);
                command
            }
        };
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        command.current_dir(self.directory.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("it does not start")?;
        let will = LastWill::new("kill -KILL \"$1\"", &[&child.id().to_string()])?;
        *self.running() = Some((child, will));
        let deadline = Instant::now() + WAIT_MAX;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if let Some((child, _)) = self.running().as_mut()
                && let Some(status) = child.try_wait()?
            {
                bail!("it ended with {status}: {}", self.log());
            }
            ensure!(Instant::now() < deadline, "it is not ready after {WAIT_MAX:?}: {}", self.log());
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends it without a word to its clients.
    pub fn kill(&self) {
        if let Some((mut child, _will)) = self.running().take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Its connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Gives a Redis a command of one line, and waits until it has carried it out.
    pub async fn order(&self, command: &str) {
        let mut stranger = self.stranger().await;
        stranger.write_all(format!("{command}\r\n").as_bytes()).await.expect("it reads");
        self.until_taken(&mut stranger).await;
    }

    /// Says these on a channel, as a stranger, and waits until the server has them.
    pub async fn say(&self, channel: &str, messages: &[Vec<u8>]) {
        let mut stranger = self.stranger().await;
        for message in messages {
            self.write(&mut stranger, channel, message).await;
        }
        self.until_taken(&mut stranger).await;
    }

    /// Says so much on a channel that who takes none of it is let go, and waits until somebody was.
    pub async fn drown(&self, channel: &str) {
        let let_go = match self.kind {
            Kind::Nats => "Slow Consumer Detected",
            Kind::Redis => "overcoming of output buffer limits",
        };
        let before = self.log().matches(let_go).count();
        let message = vec![b'x'; FLOOD_MESSAGE_BYTES];
        let mut stranger = self.stranger().await;
        let was_let_go = || self.log().matches(let_go).count() > before;
        for _ in 0..FLOOD_BYTES / FLOOD_MESSAGE_BYTES {
            self.write(&mut stranger, channel, &message).await;
            self.until_taken(&mut stranger).await;
            if was_let_go() {
                return;
            }
        }
        within("it lets go of who takes nothing", async {
            while !was_let_go() {
                sleep(POLL_INTERVAL).await;
            }
        })
        .await;
    }

    async fn stranger(&self) -> TcpStream {
        let mut stranger = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it runs");
        if self.kind == Kind::Nats {
            stranger.write_all(b"CONNECT {\"verbose\":false}\r\n").await.expect("it reads");
        }
        stranger
    }

    async fn write(&self, stranger: &mut TcpStream, channel: &str, message: &[u8]) {
        let head = match self.kind {
            Kind::Nats => format!("PUB {channel} {}\r\n", message.len()),
            Kind::Redis => {
                let words = format!("$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n", channel.len());
                format!("*3\r\n{words}${}\r\n", message.len())
            }
        };
        for piece in [head.as_bytes(), message, b"\r\n"] {
            stranger.write_all(piece).await.expect("it reads");
        }
    }

    async fn until_taken(&self, stranger: &mut TcpStream) {
        stranger.write_all(b"PING\r\n").await.expect("it reads");
        let mut said = vec![];
        while !said.windows(4).any(|word| word == b"PONG") {
            let length = within("an answer", stranger.read_buf(&mut said)).await.expect("it answers");
            assert_ne!(length, 0, "it hung up: {}", String::from_utf8_lossy(&said));
        }
    }

    fn signal(&self, signal: i32) {
        if let Some((child, _)) = self.running().as_ref() {
            kill(child.id().cast_signed(), signal);
        }
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    fn running(&self) -> MutexGuard<'_, Option<(Child, LastWill)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an authority, and by it the certificate of `localhost`.
fn certify(directory: &Scratch) -> anyhow::Result<bool> {
    let authority = Authority::new();
    let leaf = authority.issue(&["localhost"]);
    for (name, content) in
        [("authority.pem", authority.pem()), ("leaf.pem", leaf.certificate), ("key.pem", leaf.key)]
    {
        directory.file(name, &content);
    }
    Ok(true)
}

/// What a client may leave untaken.
fn bounds(kind: Kind) -> &'static str {
    match kind {
        Kind::Nats => "max_pending: 1MB\nwrite_deadline: \"1s\"\n",
        Kind::Redis => "client-output-buffer-limit pubsub 4mb 1mb 1\n",
    }
}

impl Drop for BusServer {
    fn drop(&mut self) {
        self.kill();
    }
}
