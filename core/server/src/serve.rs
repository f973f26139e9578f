//! `mainstem serve`: starts a replica, prints its address, and shuts down gracefully.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstem_runtime::Node;
use mainstem_runtime::ports::Env;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::rustls::ServerConfig;

use crate::config::Config;
use crate::descriptors::connections_max;
use crate::failure::Failure;
use crate::http::{
    Access, App, Bearers, Bodies, Hosts, Jwks, JwksTask, Jwts, Keys, Origins, Tokens, jwks, router,
};
use crate::insight::{self, Insight};
use crate::limits::access::KEY_FILE_BYTES_MAX;
use crate::limits::edge::{CONNECTIONS_MIN, REQUEST_SOCKETS_MAX, UNSTREAMED_SHARE};
use crate::limits::insight::CONNECTIONS_MAX as INTERNAL_CONNECTIONS_MAX;
use crate::limits::process::DRAIN_SLACK;
use crate::limits::settings::PEER_SECRET_BYTES_MIN;
use crate::listener::Listener;
use crate::rates::{Doors, Rates};
use crate::retention;
use crate::service_manager::ServiceManager;
use crate::tls::{self, Mutual};
use crate::watched_file::WatchedFile;

/// The clients' side, set up before the node is started, so that configuration errors come first.
#[derive(Debug)]
pub struct Front {
    listener: Listener,
    access: Access,
    tokens: Option<WatchedFile<Tokens>>,
    keys: Option<WatchedFile<Keys>>,
    key_set: Option<JwksTask>,
    certificates: Option<WatchedFile<Arc<ServerConfig>>>,
    connections_max: usize,
    internal: Option<Listener>,
}

impl Front {
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let tokens = token_file(config)?;
        let keys = key_file(config)?;
        let (set, key_set) = key_set(config)?.unzip();
        let access = if config.asks_for_tokens() {
            let of_file = keys.as_ref().map(WatchedFile::value);
            Access::Tokens(Arc::new(Bearers {
                file: tokens.as_ref().map(WatchedFile::value),
                jwts: config.access.jwt.as_ref().map(|jwt| Jwts::new(jwt, of_file, set)),
                in_query: config.access.query_tokens,
                grace: config.access.token_grace,
            }))
        } else {
            Access::Anybody(Hosts::new(&config.allowed_hosts, config.insecure).map_err(Failure::usage)?)
        };
        let addresses = addresses("--listen", &config.listen).await?;
        let open_to_all = matches!(access, Access::Anybody(_)) && !config.insecure;
        if open_to_all && addresses.iter().any(|address| !address.ip().is_loopback()) {
            return Err(Failure::usage(format!(
                "--listen {} is reached from other hosts, where anybody could do anything: give --auth-file or \
                 JWTs, or --insecure if that is what you want",
                config.listen
            )));
        }
        let connections_max = connections_max(config)?;
        let listener = bind("--listen", &config.listen, &addresses, config.client_timeout)?;
        let certificates = config.tls.as_ref().map(tls::for_clients).transpose()?;
        let listener = listener
            .with_connections_max(connections_max)
            .with_tls(certificates.as_ref().map(WatchedFile::value));
        let internal = match &config.insight.internal_listen {
            Some(address) => Some(internal(address, config.client_timeout).await?),
            None => None,
        };
        Ok(Self { listener, access, tokens, keys, key_set, certificates, connections_max, internal })
    }
}

async fn internal(address: &str, client_timeout: Duration) -> Result<Listener, Failure> {
    let flag = "--internal-listen";
    let listener = bind(flag, address, &addresses(flag, address).await?, client_timeout)?;
    Ok(listener.with_connections_max(INTERNAL_CONNECTIONS_MAX))
}

async fn addresses(flag: &str, given: &str) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = tokio::net::lookup_host(given).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => Failure::usage(format!("{flag} {given}: expected HOST:PORT")),
        _ => Failure::environment(format!("{flag} {given}: {error}")),
    })?;
    Ok(addresses.collect())
}

fn bind(flag: &str, given: &str, to: &[SocketAddr], client_timeout: Duration) -> Result<Listener, Failure> {
    Listener::bind(to, client_timeout)
        .map_err(|error| Failure::environment(format!("{flag} {given}: {error}")))
}

pub(crate) fn token_file(config: &Config) -> Result<Option<WatchedFile<Tokens>>, Failure> {
    let Some(path) = &config.auth_file else { return Ok(None) };
    let parse = |bytes: &[u8]| Tokens::from_toml(std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?);
    WatchedFile::open("--auth-file", path, parse).map(Some)
}

pub(crate) fn key_file(config: &Config) -> Result<Option<WatchedFile<Keys>>, Failure> {
    let Some(jwt) = &config.access.jwt else { return Ok(None) };
    let Some(path) = &jwt.key_file else { return Ok(None) };
    let algorithms = jwt.algorithms.clone();
    let parse = move |bytes: &[u8]| {
        if bytes.len() > KEY_FILE_BYTES_MAX {
            return Err(format!("it has more than {KEY_FILE_BYTES_MAX} bytes, which no key has"));
        }
        Keys::from_file(bytes, &algorithms)
    };
    WatchedFile::open("--jwt-key-file", path, parse).map(Some)
}

fn key_set(config: &Config) -> Result<Option<(Jwks, JwksTask)>, Failure> {
    let Some(jwt) = &config.access.jwt else { return Ok(None) };
    let Some(url) = &jwt.set else { return Ok(None) };
    let set = jwks(url, &jwt.algorithms);
    set.map(Some).map_err(|error| Failure::environment(format!("--jwks-url: {error}")))
}

/// The secret for peers, if it is in a file.
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

/// Serves until a signal asks to stop; then drains and returns.
pub(crate) async fn serve<E: Env>(
    config: &Config,
    front: Front,
    node: Node<E>,
    insight: Insight,
    peer_certificates: Option<WatchedFile<Mutual>>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::environment)?;
    // Where there are files to be read, SIGHUP is what makes it read them, and does not end the process.
    let mut reading = JoinSet::new();
    reading.spawn(std::future::pending());
    if let Some(file) = front.tokens {
        reading.spawn(file.watch(signals.take_hangup().map_err(Failure::environment)?));
    }
    if let Some(file) = front.keys {
        reading.spawn(file.watch(signals.take_hangup().map_err(Failure::environment)?));
    }
    if let Some(retention) = config.chat_retention {
        reading.spawn(retention::keep(node.clone(), retention));
    }
    if let Some(files) = front.certificates {
        reading.spawn(files.watch(signals.take_hangup().map_err(Failure::environment)?));
    }
    if let Some(files) = peer_certificates {
        reading.spawn(files.watch(signals.take_hangup().map_err(Failure::environment)?));
    }
    if let Some(set) = front.key_set {
        reading.spawn(set.watch());
    }
    let unstreamed = (front.connections_max / UNSTREAMED_SHARE).max(CONNECTIONS_MIN / 2);
    let streams_max = front.connections_max - unstreamed;
    let internal = insight::internal::router(node.clone(), config.replica.clone(), &insight);
    let doors = Doors::new(&config.rates, insight.edge.clone());
    let app = App {
        node: node.clone(),
        replica: config.replica.clone(),
        access: front.access,
        origins: Origins::new(&config.allowed_origins).map_err(Failure::usage)?,
        default_model: config.generator.default_model().into(),
        queue_max: config.queue_max,
        message_bytes_max: config.message_bytes_max,
        bodies: Bodies::new(config.message_bytes_max),
        rates: Rates::new(&config.rates, insight.edge.clone()),
        client_timeout: config.client_timeout,
        streams: Arc::new(Semaphore::new(streams_max)),
        request_sockets: Arc::new(Semaphore::new(REQUEST_SOCKETS_MAX)),
        insight,
    };
    let listener = front.listener.with_doors(doors);
    let address = listener.local_addr().map_err(Failure::environment)?;
    let (closing, is_closing) = watch::channel(false);
    let mut serving = tokio::spawn(listener.serve(router(Arc::new(app)), is_closing.clone()));
    let mut showing = None;
    if let Some(listener) = front.internal {
        let address = listener.local_addr().map_err(Failure::environment)?;
        tracing::info!(%address, "the internal listener listens");
        showing = Some((address, tokio::spawn(listener.serve(internal, is_closing))));
    }
    let (internal_address, mut showing) = showing.unzip();
    tracing::info!(%address, replica = %config.replica, version = env!("CARGO_PKG_VERSION"), "listening");
    announce(if config.tls.is_some() { "https" } else { "http" }, address, internal_address);
    let mut service_manager = ServiceManager::from_environment();
    service_manager.ready();

    let task_ended =
        |task: &str| format!("the task {task:?} has ended, which this replica cannot live without");
    let failed = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "draining");
            None
        }
        to = node.name_lost() => Some(format!(
            "--replica {}: another mainstem, whose relay is {to}, has this name by now: this one was not heard of for \
             longer than a lease",
            config.replica
        )),
        task = node.failure() => Some(task_ended(task)),
        _ = &mut serving => Some(task_ended("clients' listener")),
        () = ended(&mut showing) => Some(task_ended("internal listener")),
        _ = reading.join_next() => Some(task_ended("reader of files, or the one that deletes old chats")),
    };
    service_manager.stopping();
    if let Some(why) = failed {
        return Err(abandon(why, &node, &closing, serving).await);
    }
    let ending = async {
        if tokio::time::timeout(config.drain_timeout + DRAIN_SLACK, node.drain()).await.is_err() {
            tracing::warn!("could not hand over everything in time: others take over when the leases expire");
        }
        let _ = closing.send(true);
        let _ = serving.await;
        if showing.is_some() {
            ended(&mut showing).await;
        }
    };
    tokio::select! {
        () = ending => {
            tracing::info!("stopped");
            Ok(())
        }
        name = signals.demanded() => {
            Err(Failure::environment(format!("{name} came again: ended before all was handed over")))
        }
    }
}

/// Waits for a task, if there is one, to end.
async fn ended(task: &mut Option<JoinHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

/// The replica cannot go on. Its streams are sent elsewhere, if that can still be done.
async fn abandon<E: Env>(
    why: String,
    node: &Node<E>,
    closing: &watch::Sender<bool>,
    serving: JoinHandle<()>,
) -> Failure {
    tracing::error!(why, "this replica cannot go on");
    let node = node.clone();
    // On its own: what is broken may panic again.
    let abandoning = tokio::spawn(async move { node.abandon().await });
    if !matches!(tokio::time::timeout(DRAIN_SLACK, abandoning).await, Ok(Ok(()))) {
        tracing::warn!("could not hand over everything in time: others take over when the leases expire");
    }
    let _ = closing.send(true);
    if !serving.is_finished() {
        let _ = serving.await;
    }
    Failure::environment(why)
}

/// For those who asked for any free port. That nobody reads it is no reason to end, or to wait.
fn announce(scheme: &'static str, address: SocketAddr, internal: Option<SocketAddr>) {
    let announcing = move || {
        let mut out = std::io::stdout().lock();
        let mut lines = format!("listening on {scheme}://{address}\n");
        if let Some(internal) = internal {
            lines += &format!("internal listener on http://{internal}\n");
        }
        let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    };
    if let Err(error) = std::thread::Builder::new().name("announce".into()).spawn(announcing) {
        tracing::warn!(%error, "where it listens was not written to standard output");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` while it has another meaning.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: Some(signal(SignalKind::hangup())?),
        })
    }

    fn take_hangup(&mut self) -> std::io::Result<Signal> {
        self.hangup.take().map_or_else(|| signal(SignalKind::hangup()), Ok)
    }

    /// Asks the process to end.
    async fn next(&mut self) -> &'static str {
        let hangup = self.hangup.as_mut();
        let hangup = async {
            match hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = hangup => "SIGHUP",
        }
    }

    /// Asks an ending process to end at once. A terminal that is closed hangs up more than once.
    async fn demanded(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
