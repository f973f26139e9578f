//! MCP servers: each is connected, listened to and, when it is gone, connected again, by a task of its own. A server
//! that hangs, dies, floods or talks nonsense costs the calls that it has, and its tools are absent until it is back.

mod content;
mod gate;
mod http;
mod link;
mod pace;
mod stderr;
mod stdio;

use std::process::ExitStatus;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::TryRngCore;
use rand::rngs::OsRng;
use rmcp::ClientHandler;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, NotificationContext, RoleClient, RunningService,
    RunningServiceCancellationToken, serve_client,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::gate::{End, Gate};
pub(super) use self::link::Link;
use self::link::ListError;
use self::stdio::Program;
use super::file::{McpEntry, Reached};
use super::output;
use super::secrets::Secrets;
use super::shelf::{Carrier, Shelf};
use crate::limits::mcp::{
    CONNECT_TIMEOUT, LIST_INTERVAL, OUTPUT_GRACE, RETRY_DELAY_MAX, RETRY_DELAY_MIN, STEADY_TIME, STOP_TIMEOUT,
};
use crate::limits::tools::CAUSE_BYTES_MAX;

/// Keeps one server connected, and its tools at their place of the shelf.
pub(super) struct Keeper {
    pub(super) entry: Arc<McpEntry>,
    pub(super) place: usize,
    pub(super) shelf: Arc<Shelf>,
    pub(super) result_bytes_max: usize,
    /// True from the first try on.
    pub(super) is_tried: watch::Sender<bool>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("the program {program:?} cannot be started: {cause}")]
    Start { program: String, cause: std::io::Error },
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    #[error("it did not answer within {CONNECT_TIMEOUT:?}")]
    TimedOut,
    #[error("it {0}")]
    Ended(End),
    #[error("the protocol could not be agreed on: {0}")]
    Initialize(String),
    #[error("it does not list its tools: {0}")]
    List(ListError),
}

/// A server that has told its tools.
struct Connection {
    link: Arc<Link>,
    program: Option<Program>,
    cancel: Option<RunningServiceCancellationToken>,
    /// Waits for the end of the protocol's task. Aborting it ends that.
    waiter: JoinHandle<()>,
}

type Serving = BoxFuture<'static, Result<RunningService<RoleClient, Client>, ClientInitializeError>>;

/// What this side is to a server.
struct Client {
    changed: Arc<Notify>,
}

impl ClientHandler for Client {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("mainstem", env!("CARGO_PKG_VERSION")),
        )
    }
}

impl Keeper {
    /// Until `stop` is true, or nobody can say so any more.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let server = &*self.entry.name;
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let began = Instant::now();
            let connected = tokio::select! {
                connected = self.connect() => connected,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match connected {
                Ok(mut connection) => {
                    self.is_tried.send_replace(true);
                    let (gate, mut program) = (connection.link.gate.clone(), connection.program.take());
                    let end = tokio::select! {
                        end = ended(&gate, &mut program) => end,
                        end = self.keep_listed(&connection) => end,
                        _ = stop.wait_for(|stop| *stop) => End::Stopped,
                    };
                    connection.program = program;
                    self.shelf.put(self.place, vec![], None);
                    connection.link.gate.close(end.clone());
                    connection.stop().await;
                    if end == End::Stopped {
                        return;
                    }
                    tracing::warn!(server, %end, "an MCP server is gone: it will be connected again");
                }
                Err(error) => {
                    self.is_tried.send_replace(true);
                    tracing::warn!(server, %error, "an MCP server cannot be connected: it will be tried again");
                }
            }
            if began.elapsed() > STEADY_TIME {
                delay = RETRY_DELAY_MIN;
            }
            // Not all at once, if many have lost the same server.
            let share = OsRng.try_next_u32().unwrap_or(u32::MAX / 2);
            let jittered = delay.mul_f64(0.75 + f64::from(share) / f64::from(u32::MAX) / 2.0);
            tokio::select! {
                () = sleep(jittered) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    /// A connection, with its tools on the shelf.
    async fn connect(&self) -> Result<Connection, ConnectError> {
        let gate = Arc::new(Gate::new());
        let changed = Arc::new(Notify::new());
        let client = Client { changed: changed.clone() };
        let (mut program, serving) = self.start(client, gate.clone())?;
        let served = tokio::select! {
            biased;
            served = timeout(CONNECT_TIMEOUT, serving) => served.map_err(|_| ConnectError::TimedOut)?,
            end = ended(&gate, &mut program) => return Err(ConnectError::Ended(end)),
        };
        let service = match served {
            Ok(service) => service,
            Err(error) => {
                let initialize_error = || initialize_error(&error, &self.entry.secrets);
                let Some(_) = &program else { return Err(initialize_error()) };
                // That it has ended says more than what the protocol makes of it.
                let end = timeout(OUTPUT_GRACE, ended(&gate, &mut program)).await;
                return Err(end.map_or_else(|_| initialize_error(), ConnectError::Ended));
            }
        };
        service.peer().set_response_cache_config(ClientCacheConfig::disabled()).await;
        let link = Arc::new(Link {
            entry: self.entry.clone(),
            peer: service.peer().clone(),
            gate: gate.clone(),
            changed,
            result_bytes_max: self.result_bytes_max,
        });
        let cancel = service.cancellation_token();
        let closing = gate.clone();
        let waiter = tokio::spawn(async move {
            let _ = service.waiting().await;
            closing.close(End::Closed);
        });
        let mut connection = Connection { link, program, cancel: Some(cancel), waiter };
        let tools = tokio::select! {
            biased;
            tools = connection.link.tools(true) => tools.map_err(ConnectError::List)?,
            end = ended(&gate, &mut connection.program) => return Err(ConnectError::Ended(end)),
        };
        tracing::info!(server = %self.entry.name, tools = tools.len(), "an MCP server is connected");
        self.shelf.put(self.place, tools, Some(Carrier::Mcp(connection.link.clone())));
        Ok(connection)
    }

    fn start(&self, client: Client, gate: Arc<Gate>) -> Result<(Option<Program>, Serving), ConnectError> {
        match &self.entry.reached {
            Reached::Command { program, args, env } => {
                let started = Program::start(&self.entry.name, program, args, env, &self.entry.secrets, gate);
                let not_started = |cause| ConnectError::Start { program: program.clone(), cause };
                let (started, pipes) = started.map_err(not_started)?;
                Ok((Some(started), serve_client(client, pipes).boxed()))
            }
            Reached::Http { url, headers } => {
                let transport = http::transport(&url.0, headers, gate);
                let transport = transport.map_err(|error| ConnectError::Client(output::cause_of(&error)))?;
                Ok((None, serve_client(client, transport).boxed()))
            }
        }
    }

    /// Lists the tools again whenever they may have changed, until that fails.
    async fn keep_listed(&self, connection: &Connection) -> End {
        loop {
            connection.link.changed.notified().await;
            match connection.link.tools(false).await {
                Ok(tools) => {
                    tracing::info!(server = %self.entry.name, tools = tools.len(), "an MCP server's tools were listed again");
                    self.shelf.put(self.place, tools, Some(Carrier::Mcp(connection.link.clone())));
                }
                // It may do one thing at a time, and have a call.
                Err(error @ ListError::TimedOut) => {
                    tracing::warn!(server = %self.entry.name, %error, "an MCP server's tools cannot be listed again: they stay as they were");
                    connection.link.changed.notify_one();
                }
                Err(ListError::Failed(why)) => return End::Unlisted(why),
            }
            sleep(LIST_INTERVAL).await;
        }
    }
}

impl Connection {
    /// Ends it in order, as far as that can be done in time.
    async fn stop(mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel.cancel();
        }
        let _ = timeout(STOP_TIMEOUT, &mut self.waiter).await;
        if let Some(program) = self.program.take() {
            program.stop().await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.waiter.abort();
    }
}

/// Waits for the end of a connection.
async fn ended(gate: &Gate, program: &mut Option<Program>) -> End {
    let Some(program) = program else { return gate.ended().await };
    let exited = |status: std::io::Result<ExitStatus>| {
        End::Exited(status.map_or_else(|error| error.to_string(), |status| status.to_string()))
    };
    tokio::select! {
        end = gate.ended() => match end {
            End::Closed => timeout(OUTPUT_GRACE, program.ended()).await.map_or(end, exited),
            end => end,
        },
        status = program.ended() => {
            // What it wrote before counts.
            let end = timeout(OUTPUT_GRACE, gate.ended()).await;
            let end = end.ok().filter(|end| *end != End::Closed).unwrap_or_else(|| exited(status));
            gate.close(end.clone());
            end
        }
    }
}

fn initialize_error(error: &ClientInitializeError, secrets: &Secrets) -> ConnectError {
    let cause = match error {
        ClientInitializeError::TransportError { error, .. } => link::transport_cause(error, secrets),
        ClientInitializeError::JsonRpcError(error) => {
            format!("it answered with an error: {}", secrets.excerpt(&error.message, CAUSE_BYTES_MAX))
        }
        error => secrets.excerpt(&output::causes_of(error), CAUSE_BYTES_MAX),
    };
    ConnectError::Initialize(cause)
}
