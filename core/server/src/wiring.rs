//! Assembles a server: the tokio environment, the database, the generator.

use std::io::Read;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mainstem_runtime::demo::Demo;
use mainstem_runtime::ports::{Generator, Ports, ReplicaRow, Rival, Store, Untraced};
use mainstem_runtime::tape::Recording;
use mainstem_runtime::{Node, NodeConfig, RelayConfig};
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::adapters;
use crate::config::{Config, Generator as GeneratorConfig};
use crate::failure::Failure;
use crate::generators::{Agent, AgentConfig, ApiKey, Instructed, OpenAi, OpenAiConfig, event_bytes_max};
use crate::insight::{Insight, Provider, Traces};
use crate::limits::model::INSTRUCTIONS_BYTES_MAX;
use crate::limits::process::{FRESH_SECRET_BYTES, NAME_POLL_INTERVAL, NAME_SLACK};
use crate::limits::tapes::FLUSH_TIMEOUT;
use crate::serve::{Front, peer_secret, serve};
use crate::tapes::DiskTapes;
use crate::tls::{self, Mutual};
use crate::tokio_env::{PeerTls, TokioEnv};
use crate::tools::{ToolFile, Toolbox};
use crate::watched_file::WatchedFile;

/// Starts a node and serves it.
pub(crate) async fn run(config: Config) -> Result<(), Failure> {
    let secret = peer_secret(&config)?;
    let generator = instructed(generator(&config)?, &config)?;
    let tool_file = tool_file(&config)?;
    let front = Front::open(&config).await?;
    let tapes = tapes(&config)?;
    let traces = Traces::from_environment(config.replica.as_str(), config.insight.trace_content);
    let traces = traces.map_err(|error| Failure::usage(format!("{error:#}")))?;
    let insight = Insight::new(config.bus.name(), traces);
    let (connections, pooler) = (config.database_connections, config.pooler);
    let opened =
        adapters::open_with(&config.database, config.lease_ttl, connections, pooler, &config.bus).await;
    let (store, bus) = opened.map_err(|error| Failure::environment(format!("--database: {error:#}")))?;
    let incarnation = OsRng.try_next_u64().map_err(Failure::environment)?;
    let mut tape_key = [0; 32];
    OsRng.try_fill_bytes(&mut tape_key).map_err(Failure::environment)?;
    let peer_certificates = config.relay_tls.as_ref().map(tls::for_relay).transpose()?;
    let env = TokioEnv::new().with_tls(peer_tls(&config, peer_certificates.as_ref())?);
    let relay = if config.is_alone() {
        None
    } else {
        let secret = match secret {
            Some(secret) => secret,
            None => kept_secret(&*store).await?,
        };
        let (listen, advertise) = (config.relay_listen.clone(), config.relay_advertise.clone());
        Some(RelayConfig { listen, advertise, secret })
    };
    let node_config = NodeConfig {
        replica: config.replica.clone(),
        incarnation,
        workers: config.workers,
        lease_ttl: config.lease_ttl,
        heartbeat: config.heartbeat,
        poll_interval: config.poll_interval,
        drain_timeout: config.drain_timeout,
        episode_bytes_max: config.episode_bytes_max,
        tool_steps_max: config.tool_steps_max as u64,
        relay,
        recording: tapes.as_ref().map(|tapes| Recording {
            tapes: tapes.clone(),
            with_content: config.record_content,
            key: tape_key,
            build: env!("CARGO_PKG_VERSION").into(),
        }),
    };
    claim_name(&config, &*store, incarnation).await?;
    let tools = Toolbox::start(tool_file, config.tool_result_bytes_max).await;
    let tools = Arc::new(tools.map_err(|error| Failure::environment(format!("--tools: {error}")))?);
    let ports =
        Ports { store: store.clone(), bus, generator, tools: tools.clone(), hops: Arc::new(Untraced) };
    let ports =
        insight.around(ports, if config.is_alone() { "sqlite" } else { "postgresql" }, provider(&config));
    let node = match Node::start(env, node_config, ports).await {
        Ok(node) => node,
        Err(error) => {
            tools.stop().await;
            // So that the next start, with a port that is free, need not wait for the name.
            let row = ReplicaRow { replica: config.replica.clone(), address: String::new(), incarnation };
            if let Err(error) = store.deregister(&row).await {
                tracing::warn!(%error, "could not deregister this replica");
            }
            return Err(Failure::environment(format!("--relay-listen {}: {error}", config.relay_listen)));
        }
    };
    let served = serve(&config, front, node, insight.clone(), peer_certificates).await;
    insight.flush();
    tools.stop().await;
    if let Some(tapes) = tapes {
        tapes.flush(FLUSH_TIMEOUT);
    }
    served
}

/// Who answers, as traces tell it.
fn provider(config: &Config) -> Provider {
    let (name, url) = match &config.generator {
        GeneratorConfig::Demo => ("mainstem.demo", None),
        GeneratorConfig::OpenAi { base_url, .. } => ("openai", Some(base_url)),
        GeneratorConfig::Agent { url } => ("ag_ui", Some(url)),
    };
    let url = url.and_then(|url| reqwest::Url::parse(url).ok());
    let address = url.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    Provider { name, model: config.generator.default_model().into(), address }
}

/// How this replica's settings call other replicas: in TLS if that is set up. Certificates that change later are not seen.
pub(crate) fn peer_environment(config: &Config) -> Result<TokioEnv, Failure> {
    let files = config.relay_tls.as_ref().map(tls::for_relay).transpose()?;
    Ok(TokioEnv::new().with_tls(peer_tls(config, files.as_ref())?))
}

fn peer_tls(config: &Config, files: Option<&WatchedFile<Mutual>>) -> Result<Option<PeerTls>, Failure> {
    let Some((tls, files)) = config.relay_tls.as_ref().zip(files) else { return Ok(None) };
    let tls = PeerTls::new(files.value(), tls.name.as_deref());
    tls.map(Some).map_err(|error| Failure::usage(format!("--relay-tls-name: {error}")))
}

fn tapes(config: &Config) -> Result<Option<Arc<DiskTapes>>, Failure> {
    let Some(directory) = &config.record else { return Ok(None) };
    let tapes = DiskTapes::open(directory, config.record_bytes_max as u64)
        .map_err(|error| Failure::environment(format!("--record {}: {error:#}", directory.display())))?;
    Ok(Some(Arc::new(tapes)))
}

/// Waits until this replica's name is free. One that is not heard of any more has crashed, and its name is free
/// after a lease: who starts replicas anew under their names need do nothing. One that is heard of is alive.
async fn claim_name(config: &Config, store: &dyn Store, incarnation: u64) -> Result<(), Failure> {
    // Where peers reach it is not known yet.
    let row = ReplicaRow { replica: config.replica.clone(), address: String::new(), incarnation };
    let mut waiting_since = None;
    loop {
        let asked = Instant::now();
        let report = store.heartbeat(&row, &[]).await;
        let report = report.map_err(|error| Failure::environment(format!("--database: {error}")))?;
        let Some(Rival { address, silent_for }) = report.rival else { return Ok(()) };
        let left = config.lease_ttl.saturating_sub(silent_for);
        match waiting_since {
            None => {
                tracing::info!(
                    replica = %config.replica,
                    address,
                    ?silent_for,
                    ?left,
                    "another process had this name and did not deregister: waiting for its lease to run out"
                );
                waiting_since = Some(asked);
            }
            Some(since) if silent_for < asked - since => {
                return Err(Failure::environment(format!(
                    "--replica {}: another mainstem of this name, whose relay is {address}, is alive and was heard \
                     of {silent_for:?} ago: give each replica a name of its own, or stop that one; its name is free \
                     when it has ended, or {:?} after it was last heard of",
                    config.replica, config.lease_ttl
                )));
            }
            Some(_) => {}
        }
        tokio::time::sleep(NAME_POLL_INTERVAL.min(left + NAME_SLACK)).await;
    }
}

async fn kept_secret(store: &dyn Store) -> Result<Arc<[u8]>, Failure> {
    let mut fresh = [0; FRESH_SECRET_BYTES];
    OsRng.try_fill_bytes(&mut fresh).map_err(Failure::environment)?;
    Ok(store.secret(&fresh).await.map_err(Failure::environment)?.into())
}

fn generator(config: &Config) -> Result<Arc<dyn Generator>, Failure> {
    match &config.generator {
        GeneratorConfig::Demo => Ok(Arc::new(Demo::new(TokioEnv::new(), unix_micros))),
        GeneratorConfig::OpenAi { base_url, model } => {
            let key = api_key("OPENAI_API_KEY");
            let openai = OpenAi::new(OpenAiConfig {
                first_byte_timeout: config.model_first_byte_timeout,
                idle_timeout: config.model_idle_timeout,
                event_bytes_max: event_bytes_max(config.episode_bytes_max),
                ..OpenAiConfig::new(base_url, model, key)
            });
            Ok(Arc::new(openai.map_err(|error| Failure::usage(format!("--generator openai: {error}")))?))
        }
        GeneratorConfig::Agent { url } => {
            let agent = Agent::new(AgentConfig {
                first_byte_timeout: config.model_first_byte_timeout,
                idle_timeout: config.model_idle_timeout,
                event_bytes_max: event_bytes_max(config.episode_bytes_max),
                ..AgentConfig::new(url, api_key("AGENT_API_KEY"))
            });
            Ok(Arc::new(agent.map_err(|error| Failure::usage(format!("--generator agent: {error}")))?))
        }
    }
}

fn api_key(variable: &str) -> Option<ApiKey> {
    std::env::var(variable).ok().filter(|key| !key.is_empty()).map(ApiKey::new)
}

/// With the system prompt of `--instructions-file`.
fn instructed(generator: Arc<dyn Generator>, config: &Config) -> Result<Arc<dyn Generator>, Failure> {
    let Some(text) = instructions(config)? else { return Ok(generator) };
    Ok(Arc::new(Instructed::new(generator, text)))
}

/// What `--instructions-file` says, if it is given.
pub(crate) fn instructions(config: &Config) -> Result<Option<String>, Failure> {
    let Some(path) = &config.instructions_file else { return Ok(None) };
    let told = |why: String| format!("--instructions-file {}: {why}", path.display());
    let wrong = |why: String| Failure::usage(told(why));
    let unreadable = |error: std::io::Error| Failure::environment(told(error.to_string()));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(INSTRUCTIONS_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() > INSTRUCTIONS_BYTES_MAX {
        return Err(wrong(format!("it has more than {INSTRUCTIONS_BYTES_MAX} bytes")));
    }
    match text.trim() {
        "" => Err(wrong(
            "it is empty: write what every model is to be told first, or leave the flag out".into(),
        )),
        text => Ok(Some(text.to_owned())),
    }
}

pub(crate) fn tool_file(config: &Config) -> Result<ToolFile, Failure> {
    let Some(path) = &config.tools else { return Ok(ToolFile::default()) };
    ToolFile::read(path, config.tool_timeout).map_err(|error| error.into_failure(path))
}

fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
