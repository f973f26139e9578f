//! How many clients may be connected: as many as the process may open files, less what it needs itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Generator};
use crate::failure::Failure;
use crate::limits::edge::{CONNECTIONS_MAX, CONNECTIONS_MIN, TURN_AWAY_MAX};
use crate::limits::insight;

/// The runtime, standard streams, files, signals, and connections that are about to be turned away.
const OWN: usize = 24 + TURN_AWAY_MAX;
/// An SQLite file on all its connections, with what belongs to it.
const SQLITE: usize = 20;
/// Connections to PostgreSQL besides those for requests: two that renew leases, the one that listens, and one that
/// is being replaced.
const POSTGRES_REST: usize = 4;
/// Peers, and whoever has yet to prove to be one; at most this share of all.
const RELAY: usize = 192;
const RELAY_SHARE: usize = 4;
/// A connection to the model or the agent for each worker; at most this share of all.
const MODEL_SHARE: usize = 4;

/// A connection to a tool for each worker; at most this share of all. And programs that carry out tools.
const TOOL_SHARE: usize = 8;
const TOOL_PROGRAMS: usize = 32;

/// How the files that may be open are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) files: usize,
    /// What the process needs itself.
    pub(crate) reserve: usize,
    /// What is left for clients.
    pub(crate) connections: usize,
}

impl Share {
    pub(crate) fn suffices(self) -> bool {
        self.connections >= CONNECTIONS_MIN
    }

    /// What is to be raised, and to what, if it does not suffice.
    pub(crate) fn told(self) -> String {
        format!(
            "the limit of open files is {}: expected at least {} (raise it by `ulimit -n`)",
            self.files,
            self.reserve + CONNECTIONS_MIN
        )
    }
}

/// Raises the limit of open files as far as it may be, and shares it out.
pub(crate) fn share(config: &Config) -> Share {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What the kernel does not grant is not counted on.
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let files = current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let reserve = reserve(config, files);
    Share { files, reserve, connections: files.saturating_sub(reserve).min(CONNECTIONS_MAX) }
}

/// How many clients there may be; a server that could have too few does not start.
pub(crate) fn connections_max(config: &Config) -> Result<usize, Failure> {
    let share = share(config);
    if !share.suffices() {
        return Err(Failure::environment(share.told()));
    }
    let Share { files, reserve, connections } = share;
    tracing::info!(files, reserve, connections, "the limit of open files bounds the clients' connections");
    Ok(connections)
}

fn reserve(config: &Config, files: usize) -> usize {
    let database = match config.is_alone() {
        true => SQLITE,
        false => POSTGRES_REST + config.database_connections as usize,
    };
    let relay = if config.is_alone() { 0 } else { RELAY.min(files / RELAY_SHARE) };
    let model = match config.generator {
        Generator::Demo => 0,
        Generator::OpenAi { .. } | Generator::Agent { .. } => config.workers.min(files / MODEL_SHARE),
    };
    let tools = match config.tools {
        None => 0,
        Some(_) => TOOL_PROGRAMS + config.workers.min(files / TOOL_SHARE),
    };
    let internal = config.insight.internal_listen.as_ref().map_or(0, |_| 1 + insight::CONNECTIONS_MAX);
    OWN + database + relay + model + tools + internal
}
