//! What ships, started by a shell that sets something up first: limits, signals, what its log goes to.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::deadline::{WAIT_MAX, until};
use crate::postgres::kill;
use crate::shipped_binary::server_binary;

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A `mainstem serve` that runs; it does not outlive its test.
#[derive(Debug)]
pub struct Shelled {
    child: Child,
    url: String,
}

impl Shelled {
    /// Runs `prelude; exec mainstem serve --listen 127.0.0.1:0 FLAGS…`, and waits until it is ready.
    pub async fn start(prelude: &str, flags: &[&str], stderr: Stdio) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{prelude}\nexec \"$@\""), "sh"]).arg(server_binary());
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags);
        command.env_clear().env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("a shell starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("what it says can be read");
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let shelled = Self { child, url: url.unwrap_or_else(|| panic!("it said {line:?}")) };
        let client = shelled.client();
        let ready = async || (client.get("/readyz").await.status == 200).then_some(());
        until("the replica is ready", ready).await;
        shelled
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// HOST:PORT.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("HTTP")
    }

    /// The reading end of its log, if that was to be piped.
    pub fn take_stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("it is piped")
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub fn terminate(&self) {
        kill(self.child.id().cast_signed(), libc::SIGTERM);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end within {WAIT_MAX:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Shelled {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
