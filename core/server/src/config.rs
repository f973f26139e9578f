//! The configuration of `mainstem serve`: from flags, the environment, a file, and defaults, in this order of
//! precedence. Contradictory settings are refused before anything starts. What concerns one room alone is in a group
//! of its own (`group`).

mod access;
mod bus;
mod group;
mod insight;
mod pooler;
mod rates;
mod retention;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mainstem_machine::{ReplicaId, limits};
use serde::Deserialize;
use uuid::Uuid;

use self::access::AccessOptions;
pub use self::access::{AccessConfig, JwtAlgorithm, JwtConfig, QueryTokens};
use self::bus::BusOptions;
pub use self::bus::{Bus, BusAddress};
use self::group::Group;
pub use self::insight::Insight;
use self::insight::InsightOptions;
pub use self::pooler::Pooler;
use self::pooler::PoolerOptions;
use self::rates::RatesOptions;
pub use self::rates::{ForwardedHeader, RatesConfig};
use self::retention::RetentionOptions;
use self::tls::TlsOptions;
pub use self::tls::{RelayTls, Tls};
use crate::failure::Failure;
use crate::http::{Hosts, Origins};
use crate::limits::adapters::{DATABASE_CONNECTIONS, DATABASE_CONNECTIONS_MAX, DATABASE_CONNECTIONS_MIN};
use crate::limits::model::{FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT};
use crate::limits::settings::{
    EPISODE_BYTES_DEFAULT, LEASE_TTL_MIN, MESSAGE_BYTES_MAX, QUEUE_MAX, RUNTIME_THREADS_MAX, WORKERS_MAX,
};
use crate::limits::tapes::{TAPES_BYTES_DEFAULT, TAPES_BYTES_MIN};
use crate::limits::tools::{
    CALL_TIMEOUT, RESULT_BYTES_DEFAULT, RESULT_BYTES_MAX, RESULT_BYTES_MIN, STEPS_DEFAULT, STEPS_MAX,
};
use crate::units::{Size, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GeneratorKind {
    Demo,
    Openai,
    Agent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// The settings. Each flag can also be set as `MAINSTEM_…` in the environment, or as a key of the file.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ServeOptions {
    /// A TOML file with any of these settings, by the flags' names
    #[arg(long, env = "MAINSTEM_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(long, env = "MAINSTEM_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// sqlite:FILE or postgres://… [default: sqlite:mainstem.db]
    #[arg(long, env = "MAINSTEM_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
    /// Connections that requests may use; PostgreSQL only [default: 24]
    #[arg(long, env = "MAINSTEM_DATABASE_CONNECTIONS", value_name = "N")]
    pub database_connections: Option<u32>,
    /// This replica's id [default: a random UUID at each start]
    #[arg(long, env = "MAINSTEM_REPLICA", value_name = "ID")]
    pub replica: Option<String>,
    /// Where peers connect; ignored with SQLite [default: 127.0.0.1:0]
    #[arg(long, env = "MAINSTEM_RELAY_LISTEN", value_name = "HOST:PORT")]
    pub relay_listen: Option<String>,
    /// The address at which peers reach the relay [default: the bound address]
    #[arg(long, env = "MAINSTEM_RELAY_ADVERTISE", value_name = "HOST:PORT")]
    pub relay_advertise: Option<String>,
    /// The secret by which peers authenticate [default: one stored in the database]
    #[arg(long, env = "MAINSTEM_PEER_SECRET_FILE", value_name = "FILE")]
    pub peer_secret_file: Option<PathBuf>,
    /// TOML: [tokens] with "<token>" = "<user>"
    #[arg(long, env = "MAINSTEM_AUTH_FILE", value_name = "FILE")]
    pub auth_file: Option<PathBuf>,
    /// One more name by which a server without tokens may be called; loopback ones always may. Repeatable, or
    /// separated by commas
    #[arg(long, env = "MAINSTEM_ALLOWED_HOST", value_name = "HOST", value_delimiter = ',')]
    pub allowed_host: Option<Vec<String>>,
    /// Pages of which other origins may use this server: SCHEME://HOST, https://*.HOST for all below it, or *. Repeatable, or
    /// separated by commas
    #[arg(long, env = "MAINSTEM_ALLOWED_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origin: Option<Vec<String>>,
    /// Listen beyond loopback though anybody may do anything, under any name unless --allowed-host gives some
    #[arg(long, env = "MAINSTEM_INSECURE", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub insecure: Option<bool>,
    /// Chats this replica generates at once; 0: it only serves clients [default: 64]
    #[arg(long, env = "MAINSTEM_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// The generator of answers [default: demo]
    #[arg(long, env = "MAINSTEM_GENERATOR")]
    pub generator: Option<GeneratorKind>,
    /// An OpenAI-compatible endpoint [default: https://api.openai.com/v1]
    #[arg(long, env = "MAINSTEM_OPENAI_BASE_URL", value_name = "URL")]
    pub openai_base_url: Option<String>,
    /// The model, unless a chat names one
    #[arg(long, env = "MAINSTEM_OPENAI_MODEL", value_name = "MODEL")]
    pub openai_model: Option<String>,
    /// Where an agent that speaks AG-UI takes its runs
    #[arg(long, env = "MAINSTEM_AGENT_URL", value_name = "URL")]
    pub agent_url: Option<String>,
    /// How long a model may be silent before it begins [default: 5m]
    #[arg(long, env = "MAINSTEM_MODEL_FIRST_BYTE_TIMEOUT", value_name = "DURATION")]
    pub model_first_byte_timeout: Option<Span>,
    /// How long a model may be silent between parts [default: 2m]
    #[arg(long, env = "MAINSTEM_MODEL_IDLE_TIMEOUT", value_name = "DURATION")]
    pub model_idle_timeout: Option<Span>,
    /// The system prompt of chats that bring none
    #[arg(long, env = "MAINSTEM_INSTRUCTIONS_FILE", value_name = "FILE")]
    pub instructions_file: Option<PathBuf>,
    /// TOML: the tools that this server carries out, over HTTP and MCP
    #[arg(long, env = "MAINSTEM_TOOLS", value_name = "FILE")]
    pub tools: Option<PathBuf>,
    /// How long a call of a tool may take, unless the file says otherwise [default: 2m]
    #[arg(long, env = "MAINSTEM_TOOL_TIMEOUT", value_name = "DURATION")]
    pub tool_timeout: Option<Span>,
    /// Maximum size of one result [default: 256KiB]
    #[arg(long, env = "MAINSTEM_TOOL_RESULT_BYTES_MAX", value_name = "SIZE")]
    pub tool_result_bytes_max: Option<Size>,
    /// How often a model may call tools within one turn [default: 32]
    #[arg(long, env = "MAINSTEM_TOOL_STEPS_MAX", value_name = "N")]
    pub tool_steps_max: Option<usize>,
    /// How long a worker may be silent before another takes its chats [default: 15s]
    #[arg(long, env = "MAINSTEM_LEASE_TTL", value_name = "DURATION")]
    pub lease_ttl: Option<Span>,
    /// How often leases are renewed [default: 5s]
    #[arg(long, env = "MAINSTEM_HEARTBEAT", value_name = "DURATION")]
    pub heartbeat: Option<Span>,
    /// How often the database is polled, in addition to notifications [default: 5s]
    #[arg(long, env = "MAINSTEM_POLL_INTERVAL", value_name = "DURATION")]
    pub poll_interval: Option<Span>,
    /// How long running chats may finish at shutdown [default: 10s]
    #[arg(long, env = "MAINSTEM_DRAIN_TIMEOUT", value_name = "DURATION")]
    pub drain_timeout: Option<Span>,
    /// How long a client may read nothing before it is disconnected [default: 30s]
    #[arg(long, env = "MAINSTEM_CLIENT_TIMEOUT", value_name = "DURATION")]
    pub client_timeout: Option<Span>,
    /// Messages that may be queued in a chat [default: 20]
    #[arg(long, env = "MAINSTEM_QUEUE_MAX", value_name = "N")]
    pub queue_max: Option<usize>,
    /// Maximum size of one message [default: 1MiB]
    #[arg(long, env = "MAINSTEM_MESSAGE_BYTES_MAX", value_name = "SIZE")]
    pub message_bytes_max: Option<Size>,
    /// Maximum size of one answer [default: 8MiB]
    #[arg(long, env = "MAINSTEM_EPISODE_BYTES_MAX", value_name = "SIZE")]
    pub episode_bytes_max: Option<Size>,
    /// Keep tapes of what the machines are told in this directory, without texts of users and models
    #[arg(long, env = "MAINSTEM_RECORD", value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Maximum size of all tapes [default: 64MiB]
    #[arg(long, env = "MAINSTEM_RECORD_BYTES_MAX", value_name = "SIZE")]
    pub record_bytes_max: Option<Size>,
    /// Keep texts of users and models on the tapes
    #[arg(long, env = "MAINSTEM_RECORD_CONTENT", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub record_content: Option<bool>,
    /// A `tracing` filter [default: info]
    #[arg(long, env = "MAINSTEM_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines are written [default: text]
    #[arg(long, env = "MAINSTEM_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Threads that do all the work [default: 1]
    #[arg(long, env = "MAINSTEM_RUNTIME_THREADS", value_name = "N")]
    pub runtime_threads: Option<usize>,
    #[command(flatten)]
    #[serde(skip)]
    pub access: AccessOptions,
    #[command(flatten)]
    #[serde(skip)]
    pub insight: InsightOptions,
    #[command(flatten)]
    #[serde(skip)]
    pub bus: BusOptions,
    #[command(flatten)]
    #[serde(skip)]
    pub pooler: PoolerOptions,
    #[command(flatten)]
    #[serde(skip)]
    pub tls: TlsOptions,
    #[command(flatten)]
    #[serde(skip)]
    pub retention: RetentionOptions,
    #[command(flatten)]
    #[serde(skip)]
    pub rates: RatesOptions,
}

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub listen: String,
    pub database: String,
    pub database_connections: u32,
    pub replica: ReplicaId,
    pub relay_listen: String,
    pub relay_advertise: Option<String>,
    pub peer_secret_file: Option<PathBuf>,
    pub auth_file: Option<PathBuf>,
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
    pub insecure: bool,
    pub workers: usize,
    pub generator: Generator,
    pub model_first_byte_timeout: Duration,
    pub model_idle_timeout: Duration,
    pub instructions_file: Option<PathBuf>,
    pub tools: Option<PathBuf>,
    pub tool_timeout: Duration,
    pub tool_result_bytes_max: usize,
    pub tool_steps_max: usize,
    pub lease_ttl: Duration,
    pub heartbeat: Duration,
    pub poll_interval: Duration,
    pub drain_timeout: Duration,
    pub client_timeout: Duration,
    pub queue_max: usize,
    pub message_bytes_max: usize,
    pub episode_bytes_max: usize,
    pub record: Option<PathBuf>,
    pub record_bytes_max: usize,
    pub record_content: bool,
    pub log: String,
    pub log_format: LogFormat,
    pub runtime_threads: usize,
    pub access: AccessConfig,
    pub insight: Insight,
    pub bus: Bus,
    pub pooler: Pooler,
    pub rates: RatesConfig,
    pub tls: Option<Tls>,
    pub chat_retention: Option<Duration>,
    pub relay_tls: Option<RelayTls>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generator {
    Demo,
    OpenAi { base_url: String, model: String },
    Agent { url: String },
}

impl Generator {
    /// The name of the model that answers where a chat names none.
    pub fn default_model(&self) -> &str {
        match self {
            Self::Demo => "demo",
            Self::OpenAi { model, .. } => model,
            Self::Agent { .. } => "agent",
        }
    }
}

impl Group for ServeOptions {
    fn or(self, other: Self) -> Self {
        group::or!(self, other: config, listen, database, database_connections, replica, relay_listen, relay_advertise,
            peer_secret_file, auth_file, allowed_host, allowed_origin, insecure, workers, generator, openai_base_url, openai_model, agent_url,
            model_first_byte_timeout, model_idle_timeout, instructions_file, tools, tool_timeout, tool_result_bytes_max,
            tool_steps_max, lease_ttl, heartbeat, poll_interval, drain_timeout, client_timeout, queue_max, message_bytes_max, episode_bytes_max, record, record_bytes_max, record_content, log,
            log_format, runtime_threads, access, insight, bus, pooler, tls, retention, rates)
    }
}

impl ServeOptions {
    /// Reads the file, if there is one, and combines all sources.
    pub fn into_config(self) -> Result<Config, Failure> {
        let file = match &self.config {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::environment(format!("--config {}: {error}", path.display())))?;
                Self::from_toml(&text)
                    .map_err(|error| Failure::usage(format!("--config {}: {error}", path.display())))?
            }
        };
        self.or(file).check()
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        group::known_keys::<Self>(text)?;
        Ok(Self {
            insight: group::from_toml(text)?,
            bus: group::from_toml(text)?,
            pooler: group::from_toml(text)?,
            tls: group::from_toml(text)?,
            retention: group::from_toml(text)?,
            rates: group::from_toml(text)?,
            access: group::from_toml(text)?,
            ..group::from_toml(text)?
        })
    }

    fn check(self) -> Result<Config, Failure> {
        let span = |given: Option<Span>, default: Duration| given.map_or(default, |span| span.0);
        let bytes = |given: Option<Size>, default: usize| given.map_or(default, |size| size.0);
        let replica = self.replica.unwrap_or_else(|| Uuid::now_v7().to_string());
        let database = self.database.unwrap_or_else(|| "sqlite:mainstem.db".into());
        let bus = self.bus.check(is_sqlite(&database)).map_err(Failure::Usage)?;
        let (tls, relay_tls) = self.tls.check().map_err(Failure::Usage)?;
        let config = Config {
            tls,
            relay_tls,
            chat_retention: self.retention.check().map_err(Failure::Usage)?,
            listen: self.listen.unwrap_or_else(|| "127.0.0.1:8080".into()),
            pooler: self.pooler.check(is_sqlite(&database), &bus).map_err(Failure::Usage)?,
            bus,
            database,
            database_connections: self.database_connections.unwrap_or(DATABASE_CONNECTIONS),
            replica: ReplicaId::new(replica)
                .map_err(|error| Failure::usage(format!("--replica: {error}")))?,
            relay_listen: self.relay_listen.unwrap_or_else(|| "127.0.0.1:0".into()),
            relay_advertise: self.relay_advertise,
            peer_secret_file: self.peer_secret_file,
            auth_file: self.auth_file,
            allowed_hosts: self.allowed_host.unwrap_or_default(),
            allowed_origins: self.allowed_origin.unwrap_or_default(),
            insecure: self.insecure.unwrap_or(false),
            workers: self.workers.unwrap_or(64),
            generator: match self.generator.unwrap_or(GeneratorKind::Demo) {
                GeneratorKind::Demo => Generator::Demo,
                GeneratorKind::Openai => Generator::OpenAi {
                    base_url: self.openai_base_url.unwrap_or_else(|| "https://api.openai.com/v1".into()),
                    model: self.openai_model.ok_or_else(|| {
                        Failure::usage("--generator openai needs --openai-model: which model to ask")
                    })?,
                },
                GeneratorKind::Agent => Generator::Agent {
                    url: self.agent_url.ok_or_else(|| {
                        Failure::usage("--generator agent needs --agent-url: where to post its runs")
                    })?,
                },
            },
            model_first_byte_timeout: span(self.model_first_byte_timeout, FIRST_BYTE_TIMEOUT),
            model_idle_timeout: span(self.model_idle_timeout, IDLE_TIMEOUT),
            instructions_file: self.instructions_file,
            tools: self.tools,
            tool_timeout: span(self.tool_timeout, CALL_TIMEOUT),
            tool_result_bytes_max: bytes(self.tool_result_bytes_max, RESULT_BYTES_DEFAULT),
            tool_steps_max: self.tool_steps_max.unwrap_or(STEPS_DEFAULT),
            lease_ttl: span(self.lease_ttl, Duration::from_secs(15)),
            heartbeat: span(self.heartbeat, Duration::from_secs(5)),
            poll_interval: span(self.poll_interval, Duration::from_secs(5)),
            drain_timeout: span(self.drain_timeout, Duration::from_secs(10)),
            client_timeout: span(self.client_timeout, Duration::from_secs(30)),
            queue_max: self.queue_max.unwrap_or(20),
            message_bytes_max: bytes(self.message_bytes_max, 1 << 20),
            episode_bytes_max: bytes(self.episode_bytes_max, EPISODE_BYTES_DEFAULT),
            record: self.record,
            record_bytes_max: bytes(self.record_bytes_max, TAPES_BYTES_DEFAULT),
            record_content: self.record_content.unwrap_or(false),
            log: self.log.unwrap_or_else(|| "info".into()),
            log_format: self.log_format.unwrap_or(LogFormat::Text),
            runtime_threads: self.runtime_threads.unwrap_or(1),
            access: self.access.check().map_err(Failure::Usage)?,
            insight: self.insight.check(),
            rates: self.rates.check().map_err(Failure::Usage)?,
        };
        config.check().map_err(Failure::Usage)
    }
}

impl Config {
    fn check(self) -> Result<Self, String> {
        Hosts::new(&self.allowed_hosts, self.insecure)?;
        if Origins::new(&self.allowed_origins)?.is_any() && !self.asks_for_tokens() && !self.insecure {
            return Err(
                "--allowed-origin * lets every page of the web do everything here: give --auth-file or \
                        --jwt-key-file, or --insecure if that is what you want"
                    .into(),
            );
        }
        let scheme = self.database.split_once(':').map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("sqlite" | "postgres" | "postgresql")) {
            return Err("--database: expected sqlite:FILE or postgres://…".into());
        }
        let connections = self.database_connections;
        if !(DATABASE_CONNECTIONS_MIN..=DATABASE_CONNECTIONS_MAX).contains(&connections) {
            return Err(format!(
                "--database-connections is {connections}: expected {DATABASE_CONNECTIONS_MIN} to \
                 {DATABASE_CONNECTIONS_MAX}; leases and notifications have others of their own"
            ));
        }
        if self.lease_ttl < LEASE_TTL_MIN {
            return Err(format!("--lease-ttl is {:?}: expected at least {LEASE_TTL_MIN:?}", self.lease_ttl));
        }
        if self.poll_interval > self.lease_ttl / 2 {
            return Err(format!(
                "--poll-interval is {:?}: expected at most half of --lease-ttl, which is {:?}",
                self.poll_interval, self.lease_ttl
            ));
        }
        if self.heartbeat >= self.lease_ttl / 2 {
            return Err(format!(
                "--heartbeat is {:?}: expected less than half of --lease-ttl, which is {:?}",
                self.heartbeat, self.lease_ttl
            ));
        }
        if self.record.is_none() && self.record_content {
            return Err("--record-content keeps nothing without --record: give both, or none".into());
        }
        if self.record_bytes_max < TAPES_BYTES_MIN {
            return Err(format!(
                "--record-bytes-max is {}: expected at least {TAPES_BYTES_MIN}",
                self.record_bytes_max
            ));
        }
        let bounds = [
            ("--workers", self.workers, 0, WORKERS_MAX),
            ("--queue-max", self.queue_max, 0, QUEUE_MAX),
            ("--message-bytes-max", self.message_bytes_max, 1, MESSAGE_BYTES_MAX),
            ("--episode-bytes-max", self.episode_bytes_max, 1, limits::EPISODES_BYTES_MAX),
            ("--tool-result-bytes-max", self.tool_result_bytes_max, RESULT_BYTES_MIN, RESULT_BYTES_MAX),
            ("--tool-steps-max", self.tool_steps_max, 1, STEPS_MAX),
            ("--runtime-threads", self.runtime_threads, 1, RUNTIME_THREADS_MAX),
        ];
        for (flag, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return Err(format!("{flag} is {value}: expected {min} to {max}"));
            }
        }
        Ok(self)
    }

    /// Whether nobody is answered without a token.
    pub fn asks_for_tokens(&self) -> bool {
        self.auth_file.is_some() || self.access.jwt.is_some()
    }

    /// Whether the database is SQLite, so that this replica has no peers.
    pub fn is_alone(&self) -> bool {
        is_sqlite(&self.database)
    }
}

fn is_sqlite(database: &str) -> bool {
    database.starts_with("sqlite:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{FromArgMatches, Parser};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        serve: ServeOptions,
    }

    fn options(args: &[&str]) -> ServeOptions {
        Cli::try_parse_from([&["mainstem"], args].concat()).expect("flags").serve
    }

    fn refused(args: &[&str]) -> String {
        match options(args).check() {
            Err(Failure::Usage(why)) => why,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documents() {
        let config = options(&[]).check().expect("a set-up");
        assert_eq!((&*config.listen, &*config.database), ("127.0.0.1:8080", "sqlite:mainstem.db"));
        assert_eq!((config.workers, config.queue_max, config.insecure), (64, 20, false));
        assert_eq!(config.database_connections, 24);
        let seconds = [config.lease_ttl, config.heartbeat, config.poll_interval].map(|span| span.as_secs());
        assert_eq!(seconds, [15, 5, 5]);
        assert_eq!((config.drain_timeout.as_secs(), config.client_timeout.as_secs()), (10, 30));
        let seconds = [config.model_first_byte_timeout, config.model_idle_timeout].map(|span| span.as_secs());
        assert_eq!(seconds, [300, 120]);
        assert_eq!((config.message_bytes_max, config.episode_bytes_max), (1 << 20, 8 << 20));
        assert_eq!((config.tools, config.tool_timeout.as_secs()), (None, 120));
        assert_eq!((config.tool_result_bytes_max, config.tool_steps_max), (256 << 10, 32));
        assert_eq!((config.generator, &*config.log), (Generator::Demo, "info"));
        assert!(Uuid::try_parse(config.replica.as_str()).is_ok());
        assert_eq!((config.record, config.record_bytes_max, config.record_content), (None, 64 << 20, false));
        assert!(config.relay_advertise.is_none() && config.relay_listen == "127.0.0.1:0");
    }

    #[test]
    fn a_flag_counts_more_than_the_file() {
        let file = "workers = 0\nlease-ttl = \"8s\"\npoll-interval = \"4s\"\nheartbeat=\"3s\"\ninsecure = true\nmessage-bytes-max = 9\n";
        let file = ServeOptions::from_toml(file).expect("a file");
        let config = options(&["--workers", "3", "--insecure=false"]).or(file).check().expect("a set-up");
        assert_eq!((config.workers, config.insecure, config.message_bytes_max), (3, false, 9));
        assert_eq!(config.poll_interval.as_secs(), 4);
        assert!(options(&["--insecure"]).check().expect("a set-up").insecure);
    }

    #[test]
    fn every_flag_is_also_in_the_environment_and_in_the_file() {
        let command = ServeOptions::augment_args(clap::Command::new("serve"));
        for arg in command.get_arguments() {
            let flag = arg.get_long().expect("a flag");
            let variable = format!("MAINSTEM_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(&*variable));
            let unknown = ServeOptions::from_toml(&format!("{flag} = [[]]")).expect_err("no value");
            assert_eq!(unknown.contains("unknown field"), flag == "config", "{flag}: {unknown}");
        }
        assert!(ServeOptions::from_arg_matches(&command.get_matches_from(["serve"])).is_ok());
    }

    #[test]
    fn hosts_are_a_flag_that_repeats_a_list_of_commas_and_an_array() {
        let hosts = |options: ServeOptions| options.check().expect("a set-up").allowed_hosts;
        assert!(hosts(options(&[])).is_empty());
        assert_eq!(
            hosts(options(&["--allowed-host", "a.example", "--allowed-host", "b,c"])),
            ["a.example", "b", "c"]
        );
        let file = || ServeOptions::from_toml("allowed-host = [\"a\", \"b\"]").expect("a file");
        assert_eq!(hosts(file()), ["a", "b"]);
        assert_eq!(hosts(options(&["--allowed-host", "c"]).or(file())), ["c"], "the flag counts more");
        assert!(refused(&["--allowed-host", "a:80"]).contains("--allowed-host"));
    }

    #[test]
    fn every_origin_is_allowed_only_where_tokens_are_asked_for_or_on_demand() {
        let origins = |options: ServeOptions| options.check().expect("a set-up").allowed_origins;
        let two = ["https://a.example", "https://*.b.example"];
        assert_eq!(origins(options(&["--allowed-origin", &two.join(",")])), two);
        assert!(refused(&["--allowed-origin", "a.example"]).contains("--allowed-origin"));
        assert!(refused(&["--allowed-origin", "*"]).contains("--auth-file"));
        for fine in [["--insecure", "--allowed-origin=*"], ["--auth-file=f", "--allowed-origin=*"]] {
            assert_eq!(origins(options(&fine)), ["*"]);
        }
    }

    #[test]
    fn an_unknown_key_in_the_file_is_named() {
        let why = ServeOptions::from_toml("listen = \"x\"\nlissten = \"x\"\n").expect_err("a slip");
        assert!(why.contains("lissten"), "{why}");
        assert!(ServeOptions::from_toml("lease-ttl = 15").is_err());
        for odd in ["database = \"postgres://u:hidden@h/d\" x", "\ndatabase = [\"postgres://u:hidden@h/d\"]"]
        {
            let why = ServeOptions::from_toml(odd).expect_err("a slip");
            assert!(why.contains("line ") && !why.contains("hidden"), "{why}");
        }
        assert!(ServeOptions::from_toml("listen =").is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(refused(&["--lease-ttl", "9s"]).contains("--poll-interval"));
        assert!(refused(&["--heartbeat", "7500ms"]).contains("--heartbeat"));
        assert!(options(&["--poll-interval", "7500ms"]).check().is_ok());
        assert!(refused(&["--poll-interval", "7501ms"]).contains("half"));
        assert!(refused(&["--database", "mysql://x"]).contains("--database"));
        assert!(refused(&["--replica", "a b"]).contains("--replica"));
        assert!(refused(&["--generator", "openai"]).contains("--openai-model"));
        assert!(refused(&["--generator", "agent"]).contains("--agent-url"));
        assert!(refused(&["--database-connections", "3"]).contains("4 to 1000"));
        assert!(refused(&["--database-connections", "1001"]).contains("4 to 1000"));
        assert!(refused(&["--runtime-threads", "0"]).contains("1 to"));
        assert!(refused(&["--tool-steps-max", "0"]).contains("1 to 1000"));
        assert!(refused(&["--tool-result-bytes-max", "1KiB", "--tool-steps-max", "1001"]).contains("steps"));
        assert!(refused(&["--tool-result-bytes-max", "1MiB"]).contains("1024 to 524288"));
        assert!(refused(&["--record", "x", "--record-bytes-max", "1KiB"]).contains("--record-bytes-max"));
        assert!(refused(&["--record-content"]).contains("--record:"));
        assert!(refused(&["--user-streams-max", "0"]).contains("1 to 65536"));
        assert!(refused(&["--trusted-proxy", "10.0.0.0/8,proxy.example"]).contains("proxy.example"));
        assert!(refused(&["--trusted-proxy", "10.0.0.0/33"]).contains("a network as in"));
        assert!(refused(&["--trusted-proxy-header", "forwarded"]).contains("--trusted-proxy:"));
        assert!(
            refused(&["--lease-ttl", "100ms", "--poll-interval", "1ms", "--heartbeat", "1ms"])
                .contains("lease")
        );
    }
}
