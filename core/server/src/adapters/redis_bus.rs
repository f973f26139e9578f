//! The bus on Redis, version 6 or later, or what speaks its protocol. All notices of a cluster are on one channel,
//! `<prefix>:<database>:notices`.
//!
//! One connection does everything, by RESP3: there a message comes between the answers, and is delivered where it is read,
//! so that nothing piles up behind the connection. Redis confirms a subscription, and each message.
//!
//! A server that has become a replica takes messages and forwards them to nobody else, so it is asked what it is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisError, Value,
};
use reqwest::Url;
use tokio::sync::watch;
use uuid::Uuid;

use super::notices::{Inbox, Probe, encode};
use super::served_bus::{Line, Server};
use crate::limits::adapters::{BUS_CONNECT_TIMEOUT, LISTEN_CHECK_TIMEOUT};

/// Where Redis is: `redis://[USER:PASSWORD@]HOST[:PORT]`, or `rediss://…`. `Debug` has no password.
#[derive(Clone)]
pub struct RedisAddress(Box<ConnectionInfo>);

impl FromStr for RedisAddress {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let expected = "expected redis://[USER:PASSWORD@]HOST[:PORT], or rediss://…";
        let url = Url::parse(given).map_err(|error| format!("{expected}: {error}"))?;
        // A fragment would turn the checks of TLS off.
        let is_plain = url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "redis" | "rediss") || !is_plain {
            return Err(expected.into());
        }
        let info = url.into_connection_info().map_err(|error| format!("{expected}: {error}"))?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self(Box::new(info.set_redis_settings(settings.set_skip_set_lib_name()))))
    }
}

impl PartialEq for RedisAddress {
    fn eq(&self, other: &Self) -> bool {
        let of = |info: &ConnectionInfo| {
            let settings = info.redis_settings();
            let user = (settings.username().map(str::to_owned), settings.password().map(str::to_owned));
            (info.addr().clone(), settings.db(), user)
        };
        of(&self.0) == of(&other.0)
    }
}

impl Eq for RedisAddress {}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}", self.0.addr())
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The server, and what the channel is named by.
pub(super) struct Redis {
    pub(super) address: RedisAddress,
    pub(super) prefix: String,
    pub(super) database: String,
}

#[async_trait]
impl Server for Redis {
    fn place(&self) -> String {
        self.address.to_string()
    }

    async fn connect(&self, inbox: Arc<Inbox>) -> Result<Arc<dyn Line>, String> {
        let probe = Probe { probe: Uuid::now_v7() };
        let (states, state) = watch::channel(State::Open { has_probe: false });
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(BUS_CONNECT_TIMEOUT))
            .set_response_timeout(Some(LISTEN_CHECK_TIMEOUT))
            .set_push_sender(move |push| take(push, &inbox, probe, &states));
        let client = Client::open((*self.address.0).clone()).map_err(told)?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(told)?;
        let channel = format!("{}:{}:notices", self.prefix, self.database);
        connection.subscribe(&channel).await.map_err(told)?;
        let line = RedisLine { connection, channel, state };
        line.check().await?;
        line.publish(vec![encode(&probe)]).await?;
        let mut state = line.state.clone();
        let heard = state.wait_for(|state| *state != State::Open { has_probe: false }).await;
        match heard.as_deref() {
            Ok(State::Open { .. }) => {}
            _ => return Err("it was closed".to_owned()),
        }
        drop(heard);
        Ok(Arc::new(line))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open {
        /// Our own probe has come back.
        has_probe: bool,
    },
    Closed,
}

/// Takes what comes between the answers.
fn take(
    push: PushInfo,
    inbox: &Inbox,
    own: Probe,
    states: &watch::Sender<State>,
) -> Result<(), std::convert::Infallible> {
    match (push.kind, &push.data[..]) {
        (PushKind::Message, [_, Value::BulkString(message)]) if inbox.take(message) == Some(own) => {
            states.send_modify(|state| {
                if *state != State::Closed {
                    *state = State::Open { has_probe: true };
                }
            });
        }
        (PushKind::Disconnection, _) => {
            states.send_replace(State::Closed);
        }
        _ => {}
    }
    Ok(())
}

struct RedisLine {
    connection: MultiplexedConnection,
    channel: String,
    state: watch::Receiver<State>,
}

#[async_trait]
impl Line for RedisLine {
    async fn publish(&self, notices: Vec<String>) -> Result<(), String> {
        let mut all = redis::pipe();
        for notice in notices {
            all.publish(&self.channel, notice).ignore();
        }
        all.query_async::<()>(&mut self.connection.clone()).await.map_err(told)
    }

    async fn check(&self) -> Result<(), String> {
        let mut connection = self.connection.clone();
        match redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await {
            Ok(role) => match role.first() {
                Some(Value::BulkString(role)) if role == b"master" => Ok(()),
                _ => Err("it is not the primary, and nobody hears there what is published".to_owned()),
            },
            // A user may be kept from asking.
            Err(error) if error.code() == Some("NOPERM") => {
                redis::cmd("PING").query_async::<()>(&mut connection).await.map_err(told)
            }
            Err(error) => Err(told(error)),
        }
    }

    async fn lost(&self) -> String {
        let mut state = self.state.clone();
        // It is also over when nobody is left to tell.
        state.wait_for(|state| *state == State::Closed).await.ok();
        "it was closed".to_owned()
    }
}

fn told(error: RedisError) -> String {
    match error.code() {
        Some("WRONGPASS" | "NOAUTH") => "it refuses this user and password".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_server_and_a_user_and_shows_no_password() {
        let address: RedisAddress = "redis://u:hid%40den@a:7/2".parse().expect("an address");
        assert_eq!(address.0.redis_settings().password(), Some("hid@den"));
        assert_eq!(
            (address.to_string(), format!("{address:?}")),
            ("Redis at a:7".into(), "Redis at a:7".into())
        );
        let other = |text: &str| text.parse::<RedisAddress>().expect("an address");
        assert_eq!(address, other("redis://u:hid%40den@a:7/2"));
        assert_ne!(address, other("redis://u:another@a:7/2"));
        assert_ne!(other("redis://a"), other("rediss://a"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for given in [
            "redis://",
            "redis://:hidden@",
            "redis://:hidden@a:x",
            "redis://:hidden@a/x",
            "redis://:hidden@a?protocol=2",
            "rediss://:hidden@a#insecure",
            "redis+unix:///hidden",
            "redis://:hidden@0.0.0.0",
        ] {
            let why = given.parse::<RedisAddress>().expect_err(given);
            assert!(!why.contains("hidden"), "{given}: {why}");
        }
    }
}
