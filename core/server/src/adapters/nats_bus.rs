//! The bus on NATS. All notices of a cluster are on one subject, `<prefix>.<database>.notices`.
//!
//! The client would connect again by itself and say nothing of what was missed in between. So whatever it reports, a loss,
//! messages that it dropped, an error of the server's, ends the connection for us, and a new client is made. NATS confirms
//! neither a subscription nor a message, but it takes what one connection sends in order: what comes back on a
//! subject of our own says that it has all that was sent before.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, Subscriber};
use async_trait::async_trait;
use futures::StreamExt;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::notices::{Inbox, Probe, encode};
use super::served_bus::{Line, Server};
use crate::limits::adapters::{
    BUS_CONNECT_TIMEOUT, BUS_SERVERS_MAX, LISTEN_CHECK_INTERVAL, NATS_READ_BYTES, NATS_RECEIVED_MAX,
    NATS_WAITING_MAX,
};

/// Where NATS is: `nats://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]`, or `tls://…`. `Debug` has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsAddress {
    /// Without users.
    servers: Vec<ServerAddr>,
    user: Option<(String, String)>,
}

impl FromStr for NatsAddress {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let expected =
            "expected nats://[USER:PASSWORD@]HOST[:PORT], or tls://…, and more servers behind commas";
        let (scheme, _) = given.split_once("://").ok_or(expected)?;
        let (mut servers, mut user) = (vec![], None);
        for server in given.split(',') {
            let url = if server.contains("://") { server.to_owned() } else { format!("{scheme}://{server}") };
            let mut url = Url::parse(&url).map_err(|error| format!("{expected}: {error}"))?;
            let is_plain = url.path().trim_end_matches('/').is_empty() && url.query().is_none();
            if url.scheme() != scheme || !matches!(scheme, "nats" | "tls") || !url.has_host() || !is_plain {
                return Err(expected.into());
            }
            if !url.username().is_empty() {
                let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                let named = (plain(url.username()), plain(url.password().unwrap_or("")));
                if user.get_or_insert_with(|| named.clone()) != &named {
                    return Err("all servers are to have the same user and password".into());
                }
            }
            let stripped = url.set_username("").and_then(|()| url.set_password(None));
            stripped.map_err(|()| expected)?;
            servers.push(ServerAddr::from_url(url).map_err(|_| expected)?);
        }
        if servers.len() > BUS_SERVERS_MAX {
            return Err(format!("expected up to {BUS_SERVERS_MAX} servers"));
        }
        Ok(Self { servers, user })
    }
}

impl fmt::Display for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port()));
        write!(f, "NATS at {}", servers.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The server, and the subjects below which all of ours are.
pub(super) struct Nats {
    pub(super) address: NatsAddress,
    pub(super) prefix: String,
    pub(super) database: String,
}

#[async_trait]
impl Server for Nats {
    fn place(&self) -> String {
        self.address.to_string()
    }

    async fn connect(&self, inbox: Arc<Inbox>) -> Result<Arc<dyn Line>, String> {
        let (loses, lost) = watch::channel(None::<String>);
        let loses = Arc::new(loses);
        let told = loses.clone();
        let mut options = ConnectOptions::new()
            .name("mainstem")
            .connection_timeout(BUS_CONNECT_TIMEOUT)
            .ping_interval(LISTEN_CHECK_INTERVAL)
            .subscription_capacity(NATS_RECEIVED_MAX)
            .client_capacity(NATS_WAITING_MAX)
            .read_buffer_capacity(NATS_READ_BYTES)
            .ignore_discovered_servers()
            // One try each. It tries to come back before we hear that it is gone, and has to give up then.
            .max_reconnects(self.address.servers.len())
            .event_callback(move |event| {
                let why = reason(&event);
                let told = told.clone();
                async move {
                    told.send_if_modified(|known| {
                        let is_new = known.is_none() && why.is_some();
                        *known = known.take().or(why);
                        is_new
                    });
                }
            });
        if let Some((user, password)) = &self.address.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        let client =
            options.connect(&self.address.servers[..]).await.map_err(|error| match error.kind() {
                ConnectErrorKind::AuthorizationViolation => "it refuses this user and password".to_owned(),
                _ => error.to_string(),
            })?;
        let subject = |name: &str| format!("{}.{}.{name}", self.prefix, self.database);
        let notices = subject("notices");
        let echo = subject(&format!("echo.{}", Uuid::now_v7().simple()));
        let listening = client.subscribe(notices.clone()).await.map_err(|error| error.to_string())?;
        let echoing = client.subscribe(echo.clone()).await.map_err(|error| error.to_string())?;
        let probe = Probe { probe: Uuid::now_v7() };
        let (echoes, echoed) = watch::channel(Echoes::default());
        let forwarding = tokio::spawn(forward(listening, echoing, inbox, probe, echoes, loses));
        let line = NatsLine { client, notices, echo, asked: AtomicU64::new(0), echoed, lost, forwarding };
        // The server has both subscriptions when both have brought something, and lets us publish.
        let confirmed = async {
            line.send(line.notices.clone(), encode(&probe)).await?;
            line.check().await?;
            let mut echoed = line.echoed.clone();
            let heard = echoed.wait_for(|echoes| echoes.has_probe).await;
            heard.map(drop).map_err(|_| "it was closed".to_owned())
        };
        tokio::select! {
            confirmed = confirmed => confirmed?,
            why = line.lost() => return Err(why),
        }
        Ok(Arc::new(line))
    }
}

/// Why the connection is not to be relied on any more, if it is so.
fn reason(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected | Event::Closed => Some("it was closed".to_owned()),
        Event::SlowConsumer(_) => Some("notices came faster than they were taken".to_owned()),
        Event::ServerError(error) => Some(format!("it said: {error}")),
        Event::ClientError(error) => Some(error.to_string()),
        Event::Connected | Event::LameDuckMode | Event::Draining => None,
    }
}

/// What came back.
#[derive(Debug, Default)]
struct Echoes {
    has_probe: bool,
    last: u64,
}

struct NatsLine {
    client: Client,
    notices: String,
    echo: String,
    /// How often it was asked for an echo.
    asked: AtomicU64,
    echoed: watch::Receiver<Echoes>,
    lost: watch::Receiver<Option<String>>,
    forwarding: JoinHandle<()>,
}

impl NatsLine {
    async fn send(&self, subject: String, message: String) -> Result<(), String> {
        self.client.publish(subject, message.into()).await.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Line for NatsLine {
    async fn publish(&self, notices: Vec<String>) -> Result<(), String> {
        for notice in notices {
            self.send(self.notices.clone(), notice).await?;
        }
        self.check().await
    }

    async fn check(&self) -> Result<(), String> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.send(self.echo.clone(), asked.to_string()).await?;
        let mut echoed = self.echoed.clone();
        echoed.wait_for(|echoes| echoes.last >= asked).await.map_err(|_| "it was closed".to_owned())?;
        // It reports when it has connected again, but reports may be lost.
        match self.client.statistics().connects.load(Ordering::Relaxed) {
            0 | 1 => Ok(()),
            _ => Err("it was lost, and is another one".to_owned()),
        }
    }

    async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        let why = lost.wait_for(Option::is_some).await.map(|why| why.clone());
        why.ok().flatten().unwrap_or_else(|| "it was closed".to_owned())
    }
}

impl Drop for NatsLine {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

/// Takes what comes until the connection ends.
async fn forward(
    mut listening: Subscriber,
    mut echoing: Subscriber,
    inbox: Arc<Inbox>,
    own: Probe,
    echoes: watch::Sender<Echoes>,
    loses: Arc<watch::Sender<Option<String>>>,
) {
    loop {
        tokio::select! {
            message = listening.next() => match message {
                Some(message) => {
                    if inbox.take(&message.payload) == Some(own) {
                        echoes.send_modify(|echoes| echoes.has_probe = true);
                    }
                }
                None => break,
            },
            message = echoing.next() => match message {
                Some(message) => {
                    let number = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok());
                    echoes.send_modify(|echoes| echoes.last = echoes.last.max(number.unwrap_or(0)));
                }
                None => break,
            },
        }
    }
    loses.send_if_modified(|known| known.is_none() && known.replace("it was closed".to_owned()).is_none());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_servers_and_one_user_and_shows_no_password() {
        let address: NatsAddress = "nats://u:hid%40den@a:4333,b,[::1]:9".parse().expect("an address");
        assert_eq!(address.user, Some(("u".to_owned(), "hid@den".to_owned())));
        assert_eq!(address.to_string(), "NATS at a:4333, b:4222, ::1:9");
        assert!(!format!("{address:?}{:?}", address.servers).contains("hid"));
        let address: NatsAddress = "tls://a,tls://b".parse().expect("an address");
        assert!(address.servers.iter().all(ServerAddr::tls_required) && address.user.is_none());
    }

    #[test]
    fn whatever_may_have_cost_a_notice_ends_the_connection() {
        let error = async_nats::ServerError::Other("Permissions Violation".to_owned());
        for event in [Event::Disconnected, Event::Closed, Event::SlowConsumer(1), Event::ServerError(error)] {
            assert!(reason(&event).is_some(), "{event}");
        }
        assert_eq!(reason(&Event::Connected), None);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        let many = format!("nats://h{}", ",h".repeat(BUS_SERVERS_MAX));
        for given in [
            "nats://",
            "nats://u:hidden@",
            "nats://u:hidden@a:x",
            "nats://u:hidden@a/path",
            "nats://u:hidden@a?q=1",
            "nats://u:hidden@a,nats://v:hidden@b",
            "nats://u:hidden@a,tls://u:hidden@b",
            "ws://u:hidden@a",
            "nats://a,",
            &many,
        ] {
            let why = given.parse::<NatsAddress>().expect_err(given);
            assert!(!why.contains("hidden"), "{given}: {why}");
        }
    }
}
