//! `mainstem serve`: starts, tells where it listens, and ends in an orderly way.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstem_runtime::Node;
use mainstem_runtime::ports::Env;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::failure::Failure;
use crate::http::{Access, App, Hosts, Tokens, router};
use crate::listener::Listener;

/// What handing over may take beyond the time that running chats are given.
const DRAIN_SLACK: Duration = Duration::from_secs(3);
/// A shorter secret could be guessed.
const PEER_SECRET_BYTES_MIN: usize = 16;

/// The clients' side, before the node is started: whatever can be refused is refused by then.
#[derive(Debug)]
pub struct Front {
    listener: Listener,
    access: Access,
}

impl Front {
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let access = match &config.auth_file {
            Some(path) => {
                let describe = |error: String| format!("--auth-file {}: {error}", path.display());
                let text = read(path, "--auth-file")?;
                let text =
                    String::from_utf8(text).map_err(|_| Failure::usage(describe("not UTF-8".into())))?;
                Access::Tokens(Tokens::from_toml(&text).map_err(|error| Failure::usage(describe(error)))?)
            }
            None => {
                Access::Anybody(Hosts::new(&config.allowed_hosts, config.insecure).map_err(Failure::usage)?)
            }
        };
        let addresses = tokio::net::lookup_host(&config.listen).await;
        let addresses: Vec<SocketAddr> = addresses
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidInput => {
                    Failure::usage(format!("--listen {}: expected HOST:PORT", config.listen))
                }
                _ => Failure::environment(format!("--listen {}: {error}", config.listen)),
            })?
            .collect();
        let open_to_all = matches!(access, Access::Anybody(_)) && !config.insecure;
        if open_to_all && addresses.iter().any(|address| !address.ip().is_loopback()) {
            return Err(Failure::usage(format!(
                "--listen {} is reached from other hosts, where anybody could do anything: give --auth-file, or \
                 --insecure if that is what you want",
                config.listen
            )));
        }
        let listener = Listener::bind(&addresses, config.client_timeout)
            .map_err(|error| Failure::environment(format!("--listen {}: {error}", config.listen)))?;
        Ok(Self { listener, access })
    }
}

/// What peers authenticate by, if a file has it.
pub fn peer_secret(config: &Config) -> Result<Option<Arc<[u8]>>, Failure> {
    let Some(path) = &config.peer_secret_file else { return Ok(None) };
    let secret = read(path, "--peer-secret-file")?;
    let secret = secret.trim_ascii();
    if secret.len() < PEER_SECRET_BYTES_MIN {
        return Err(Failure::usage(format!(
            "--peer-secret-file {}: expected at least {PEER_SECRET_BYTES_MIN} bytes",
            path.display()
        )));
    }
    Ok(Some(secret.into()))
}

fn read(path: &Path, flag: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::environment(format!("{flag} {}: {error}", path.display())))
}

/// Serves until a signal says to end; then hands over and returns.
pub async fn serve<E: Env>(config: &Config, front: Front, node: Node<E>) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::environment)?;
    let app = App {
        node: node.clone(),
        replica: config.replica.clone(),
        access: front.access,
        queue_max: config.queue_max,
        message_bytes_max: config.message_bytes_max,
        client_timeout: config.client_timeout,
    };
    let address = front.listener.local_addr().map_err(Failure::environment)?;
    let (closing, is_closing) = watch::channel(false);
    let serving = tokio::spawn(front.listener.serve(router(Arc::new(app)), is_closing));
    tracing::info!(%address, replica = %config.replica, version = env!("CARGO_PKG_VERSION"), "listening");
    announce(address);

    let name = signals.next().await;
    tracing::info!(signal = name, "draining");
    let ending = async {
        if tokio::time::timeout(config.drain_timeout + DRAIN_SLACK, node.drain()).await.is_err() {
            tracing::warn!("handing over did not end in time");
        }
        let _ = closing.send(true);
        let _ = serving.await;
    };
    tokio::select! {
        () = ending => {
            tracing::info!("ended");
            Ok(())
        }
        name = signals.next() => {
            Err(Failure::environment(format!("{name} came again: ended before all was handed over")))
        }
    }
}

/// For those who asked for any free port. That nobody reads it is no reason to end.
fn announce(address: SocketAddr) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
