//! The shipped binary as child processes: replicas that can be killed, paused, stopped and restarted, and
//! other command lines. No process outlives its test. If a test fails, the logs of its replicas are printed.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::deadline::WAIT_MAX;
use crate::last_will::LastWill;
use crate::postgres::kill;
use crate::shipped_binary::server_binary;

/// Longer than any start takes, also one that waits for a lease to run out.
const START_MAX: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Last lines of a log that are kept for a failure.
const LOG_LINES_MAX: usize = 2000;
const LOG_LINES_REPORTED: usize = 80;

type Log = Arc<Mutex<VecDeque<String>>>;

/// A `mainstem serve` process that is running, or has ended.
#[derive(Debug)]
pub struct Replica {
    /// Its `--replica`.
    pub id: String,
    /// What it runs, from its next start on.
    pub program: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    scheme: String,
    address: String,
    /// Where its internal listener is, if it has one.
    internal: Option<String>,
    child: Option<Child>,
    last_will: Option<LastWill>,
    logging: Option<JoinHandle<()>>,
    log: Log,
}

impl Replica {
    /// Starts `serve --replica ID FLAGS…` on a free port, and waits until it listens and is ready.
    pub async fn start(id: &str, flags: &[&str]) -> Self {
        Self::start_with(id, flags, &[]).await
    }

    /// The same, with exactly these environment variables.
    pub async fn start_with(id: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_of(server_binary(), id, flags, environment).await
    }

    /// The same of another program than what ships.
    pub async fn start_of(program: &Path, id: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut replica = Self {
            id: id.to_owned(),
            program: program.to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            environment: environment.iter().map(owned).collect(),
            scheme: String::new(),
            address: "127.0.0.1:0".to_owned(),
            internal: None,
            child: None,
            last_will: None,
            logging: None,
            log: Log::default(),
        };
        replica.start_again().await;
        replica
    }

    /// Starts it, for the first time or again on the same port.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.id);
        let mut command = bare(&self.program);
        command.args(["serve", "--listen", &self.address, "--replica", &self.id]).args(&self.flags);
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("what ships starts");
        let will = LastWill::new("kill -KILL \"$1\"", &[&child.id().to_string()]);
        self.last_will = Some(will.expect("a shell starts"));
        let stdout = child.stdout.take().expect("it is piped");
        self.logging = Some(keep_log(child.stderr.take().expect("it is piped"), self.log.clone()));
        self.child = Some(child);
        // The pipe ends with the process. What stands between it and others goes on meanwhile.
        let lines = 1 + usize::from(self.flags.iter().any(|flag| flag == "--internal-listen"));
        let reading = tokio::task::spawn_blocking(move || {
            BufReader::new(stdout).lines().take(lines).collect::<Result<Vec<_>, _>>()
        });
        let Ok(said) = tokio::time::timeout(START_MAX, reading).await else {
            panic!("{} has not said within {START_MAX:?} where it listens", self.id);
        };
        let said = said.expect("it does not panic").expect("what it says can be read");
        let line = said.first().cloned().unwrap_or_default();
        let internal = said.get(1).and_then(|line| line.strip_prefix("internal listener on "));
        self.internal = internal.map(str::to_owned);
        let Some((scheme, address)) =
            line.strip_prefix("listening on ").and_then(|url| url.split_once("://"))
        else {
            panic!("{} said {line:?} instead of where it listens", self.id);
        };
        (self.scheme, self.address) = (scheme.to_owned(), address.trim().to_owned());
        self.until_ready().await;
    }

    pub async fn until_ready(&self) {
        // Whose certificate the others are to trust only the test knows.
        let client = if self.scheme == "https" { self.internal() } else { self.client() };
        let ready = async || (client.get("/readyz").await.status == 200).then_some(());
        crate::deadline::until("the replica is ready", ready).await;
    }

    /// HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// Of its internal listener.
    pub fn internal(&self) -> Client {
        Client::new(self.internal.as_ref().expect("it was started with an internal listener"))
    }

    pub fn process_id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        self.last_will = None;
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
        self.logging.take().map(JoinHandle::join);
    }

    /// Pauses it.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Tells it that its terminal is gone, or that its files have changed.
    pub fn hang_up(&self) {
        self.signal(libc::SIGHUP);
    }

    fn signal(&self, signal: i32) {
        kill(self.process_id().cast_signed(), signal);
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let status = wait(child).await;
        self.child = None;
        self.last_will = None;
        self.logging.take().map(JoinHandle::join);
        status.unwrap_or_else(|| panic!("{} did not end within {WAIT_MAX:?}", self.id))
    }

    /// Its resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process_id()));
        let status = status.expect("the kernel tells of every process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kilobytes = line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number");
        kilobytes * 1024
    }

    /// How many sockets it has open.
    pub fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.process_id()));
        let files = files.expect("the kernel tells of every process");
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        self.logging.take().map(JoinHandle::join);
        if thread::panicking() {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let mut out = std::io::stderr().lock();
            let _ = writeln!(out, "--- the log of {} ({})", self.id, self.address);
            for line in log.iter().skip(log.len().saturating_sub(LOG_LINES_REPORTED)) {
                let _ = writeln!(out, "{line}");
            }
        }
    }
}

fn keep_log(stderr: ChildStderr, log: Log) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == LOG_LINES_MAX {
                log.pop_front();
            }
            log.push_back(line);
        }
    })
}

async fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    child.kill().ok();
    child.wait().ok();
    None
}

/// A command with an empty environment.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("NO_COLOR", "1");
    command
}

/// Runs `mainstem ARGS…` to its end, within [`WAIT_MAX`].
pub async fn run(args: &[&str]) -> Output {
    run_with(args, &[], "").await
}

/// The same, with environment variables and standard input.
pub async fn run_with(args: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Running::start_with(args, environment);
    let mut stdin = child.child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.ended().await.unwrap_or_else(|| panic!("mainstem {args:?} did not end within {WAIT_MAX:?}"))
}

/// A running command line.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    said: Arc<Mutex<Vec<u8>>>,
    told: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// The same with variables in its environment.
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = bare(server_binary());
        command.args(args).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("what ships starts");
        let (said, told) = <(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<u8>>>)>::default();
        let stdout = read_all(child.stdout.take().expect("it is piped"), said.clone());
        let stderr = read_all(child.stderr.take().expect("it is piped"), told.clone());
        Self { child, stdout: Some(stdout), stderr: Some(stderr), said, told }
    }

    /// Its standard output so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// What it wrote to its standard error so far.
    pub fn reported(&self) -> String {
        String::from_utf8_lossy(&self.told.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Its output and exit status; `None` if it has not ended.
    pub async fn ended(mut self) -> Option<Output> {
        let status = wait(&mut self.child).await?;
        let mut read = |stream: fn(&mut Self) -> &mut Option<JoinHandle<Vec<u8>>>| {
            stream(&mut self).take().and_then(|reading| reading.join().ok()).unwrap_or_default()
        };
        let (stdout, stderr) = (read(|s| &mut s.stdout), read(|s| &mut s.stderr));
        Some(Output { status, stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn read_all(mut from: impl Read + Send + 'static, said: Arc<Mutex<Vec<u8>>>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            said.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..length]);
        }
        said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    })
}

/// A free port of the loopback.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}
