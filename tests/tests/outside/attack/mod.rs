//! What an outsider can do to a server: bytes, frames, tokens and floods that no well-behaved client would send. Whatever it is, nobody
//! panics, nobody else is disturbed, and what it took is given back.

mod crowds;
mod dice;
mod floods;
mod forged;
mod frames;
mod framing;
mod lines;
mod mutations;
mod peers;
mod seats;
mod sockets;
mod strangers;
mod windows;

use mainstem_tests::authority::Authority;
use mainstem_tests::client::Client;
use mainstem_tests::cluster::alone;
use mainstem_tests::deadline::until;
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;

const TOKENS: &str = "[tokens]\nanns = \"ann\"\nbobs = \"bob\"\ncarls = \"carl\"\n";

/// A replica that asks for tokens, with what there was of it before anything was tried.
struct Server {
    replica: Replica,
    authority: Authority,
    files: usize,
    _scratch: Scratch,
}

async fn server(flags: &[&str]) -> Server {
    started(&[], flags).await
}

/// One that speaks TLS.
async fn secured(flags: &[&str]) -> Server {
    started(&["localhost", "127.0.0.1"], flags).await
}

async fn started(names: &[&str], flags: &[&str]) -> Server {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let mut ours = vec!["--auth-file".to_owned(), scratch.file("auth.toml", TOKENS)];
    ours.extend(["--internal-listen", "127.0.0.1:0"].map(str::to_owned));
    if !names.is_empty() {
        let issued = authority.issue(names);
        ours.extend(["--tls-cert".into(), scratch.file("leaf.pem", &issued.certificate)]);
        ours.extend(["--tls-key".into(), scratch.file("leaf-key.pem", &issued.key)]);
    }
    let ours: Vec<_> = ours.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    let replica = alone(&scratch, &ours).await;
    let files = files_of(&replica);
    Server { replica, authority, files, _scratch: scratch }
}

/// How many files a replica has open.
fn files_of(replica: &Replica) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", replica.process_id()));
    open.expect("it runs").count()
}

/// Kilobytes of memory that a replica has had at most so far: what is given back at once counts as well (B1).
fn memory_of(replica: &Replica) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", replica.process_id()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// That nothing of a replica's broke.
fn is_sound(replica: &Replica) {
    let log = replica.log();
    for word in ["panicked", "ERROR"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}

impl Server {
    fn address(&self) -> &str {
        self.replica.address()
    }

    fn client(&self, token: &str) -> Client {
        let url = self.replica.url();
        let client = if url.starts_with("https") {
            Client::trusting(&url, &self.authority, true)
        } else {
            Client::new(&url)
        };
        client.with_token(token)
    }

    /// It serves, its log has nothing that somebody would have to wake up for, and it has not many more files open than before.
    async fn is_unharmed(&self) {
        self.replica.internal().get("/readyz").await.expect(200);
        is_sound(&self.replica);
        // Clients of the test's own keep some open.
        until("connections of who went are closed", async || {
            (files_of(&self.replica) < self.files + 30).then_some(())
        })
        .await;
    }
}
