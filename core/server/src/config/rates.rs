//! How often each user and each address may ask, and how much of the server each may have. All of it is off unless it is set: a user
//! may be a whole service that asks for many people, and an address a proxy or an office.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::Deserialize;

use super::group::{Group, or};
use crate::limits::edge::CONNECTIONS_MAX;
use crate::limits::rates::PROXIES_MAX;
use crate::units::Rate;

/// In which header proxies say whom a request is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    Forwarded,
}

#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RatesOptions {
    /// How often each user may ask, or each address where nobody is asked for a token: N/s, N/m or N/h, and N/s:BURST for more at
    /// once [default: no limit]
    #[arg(long, env = "MAINSTEM_REQUEST_RATE", value_name = "RATE")]
    pub request_rate: Option<Rate>,
    /// How often each of them may have a model begin work [default: no limit]
    #[arg(long, env = "MAINSTEM_SEND_RATE", value_name = "RATE")]
    pub send_rate: Option<Rate>,
    /// Streams that each of them may have open here [default: no limit]
    #[arg(long, env = "MAINSTEM_USER_STREAMS_MAX", value_name = "N")]
    pub user_streams_max: Option<usize>,
    /// Connections that each address may have open; proxies that are trusted have no limit [default: no limit]
    #[arg(long, env = "MAINSTEM_ADDRESS_CONNECTIONS_MAX", value_name = "N")]
    pub address_connections_max: Option<usize>,
    /// How often each address may connect; further connections are closed at once [default: no limit]
    #[arg(long, env = "MAINSTEM_ADDRESS_CONNECTION_RATE", value_name = "RATE")]
    pub address_connection_rate: Option<Rate>,
    /// How often all together may connect; further connections wait [default: no limit]
    #[arg(long, env = "MAINSTEM_CONNECTION_RATE", value_name = "RATE")]
    pub connection_rate: Option<Rate>,
    /// A network of proxies that are believed when they say whom a request is from. Repeatable, or separated by commas
    #[arg(long, env = "MAINSTEM_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxy: Option<Vec<String>>,
    /// The header in which they say it [default: x-forwarded-for]
    #[arg(long, env = "MAINSTEM_TRUSTED_PROXY_HEADER", value_name = "HEADER")]
    pub trusted_proxy_header: Option<ForwardedHeader>,
}

impl Group for RatesOptions {
    fn or(self, other: Self) -> Self {
        or!(
            self, other:
            request_rate, send_rate, user_streams_max, address_connections_max, address_connection_rate, connection_rate,
            trusted_proxy, trusted_proxy_header
        )
    }
}

/// The limits of users and addresses. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RatesConfig {
    pub requests: Option<Rate>,
    pub sends: Option<Rate>,
    pub user_streams: Option<usize>,
    pub address_connections: Option<usize>,
    pub address_connection_rate: Option<Rate>,
    pub connection_rate: Option<Rate>,
    pub trusted_proxies: Vec<IpNet>,
    pub trusted_header: ForwardedHeader,
}

impl RatesOptions {
    pub(super) fn check(self) -> Result<RatesConfig, String> {
        let bounds = [
            ("--user-streams-max", self.user_streams_max),
            ("--address-connections-max", self.address_connections_max),
        ];
        for (flag, value) in bounds {
            if let Some(value) = value.filter(|value| !(1..=CONNECTIONS_MAX).contains(value)) {
                return Err(format!("{flag} is {value}: expected 1 to {CONNECTIONS_MAX}"));
            }
        }
        let given = self.trusted_proxy.unwrap_or_default();
        if given.is_empty() && self.trusted_proxy_header.is_some() {
            return Err(
                "--trusted-proxy-header says nothing without --trusted-proxy: give both, or none".into()
            );
        }
        if given.len() > PROXIES_MAX {
            return Err(format!(
                "--trusted-proxy names {} networks: expected up to {PROXIES_MAX}",
                given.len()
            ));
        }
        Ok(RatesConfig {
            requests: self.request_rate,
            sends: self.send_rate,
            user_streams: self.user_streams_max,
            address_connections: self.address_connections_max,
            address_connection_rate: self.address_connection_rate,
            connection_rate: self.connection_rate,
            trusted_proxies: given.iter().map(|text| network(text)).collect::<Result<_, _>>()?,
            trusted_header: self.trusted_proxy_header.unwrap_or_default(),
        })
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(|| address().ok());
    network.ok_or_else(|| {
        format!(
            "--trusted-proxy {text:?}: expected a network as in 10.0.0.0/8 or 2001:db8::/32, or an address"
        )
    })
}
