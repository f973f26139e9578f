//! Whether the replicas that were heard of lately can be called, and have the same secret.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::join_all;
use mainstem_machine::RelayFault;
use mainstem_runtime::relay::Peers;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use crate::TokioEnv;
use crate::adapters::Heard;
use crate::config::Config;
use crate::limits::doctor::CHECK_TIMEOUT;
use crate::wiring::peer_environment;

const PEERS: &str = "peers";

pub(super) async fn check(config: &Config, heard: &[Heard], secret: Option<Arc<[u8]>>) -> Vec<Finding> {
    if heard.is_empty() {
        return vec![Finding::ok(PEERS, "no other replica was heard of lately")];
    }
    let Ok(env) = peer_environment(config) else {
        let remedy = "mend the files that --relay-tls-cert, --relay-tls-key and --relay-tls-ca name first";
        return vec![Finding::warn(
            PEERS,
            "they were not called: the relay's certificates are of no use",
            remedy,
        )];
    };
    let calls = heard.iter().map(|peer| call(&env, config, peer, secret.clone()));
    let mut findings = join_all(calls).await;
    findings.extend(of_own_address(config, heard));
    findings
}

async fn call(env: &TokioEnv, config: &Config, peer: &Heard, secret: Option<Arc<[u8]>>) -> Finding {
    let Heard { replica, address, silent_for } = peer;
    let told = format!("{replica} at {address}, heard of {silent_for:?} ago");
    let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
        return Finding::warn(
            PEERS,
            format!("{told}, was not called: no secret is known"),
            "mend the rights first",
        );
    };
    match timeout(CHECK_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return gone(config, peer, &format!("{told}: {error}")),
        Err(_) => return gone(config, peer, &format!("{told}: no connection within {CHECK_TIMEOUT:?}")),
    }
    let peers = Peers::new(env.clone(), secret);
    match timeout(CHECK_TIMEOUT, peers.greet(address)).await {
        Ok(Ok(())) => Finding::ok(PEERS, format!("{told}, has the same secret")),
        Ok(Err(RelayFault::Denied)) => Finding::fail(
            PEERS,
            format!("{told}, has another secret"),
            "give all replicas the same --peer-secret-file, or none of them one",
        ),
        Ok(Err(RelayFault::Nonsense)) => Finding::fail(
            PEERS,
            format!("{told}: what answers there is no relay"),
            "look at that replica's --relay-advertise and at what is on the way to it",
        ),
        _ => Finding::fail(
            PEERS,
            format!("{told}: it takes connections and does not answer"),
            "look whether that replica is stopped or overloaded, and whether both are in TLS by the same authority \
             (--relay-tls-ca), or neither; if it is gone, its row goes by itself",
        ),
    }
}

/// A replica that dies leaves its row for a while.
fn gone(config: &Config, peer: &Heard, told: &str) -> Finding {
    if peer.silent_for > config.lease_ttl {
        let remedy = "it is dead, or its network is: others take its chats. Its row goes by itself";
        return Finding::warn(PEERS, told, remedy);
    }
    Finding::fail(
        PEERS,
        told,
        "if it has just died, ask again in a moment; else mend its --relay-listen and --relay-advertise, or the network \
         between replicas",
    )
}

/// Peers on other hosts cannot reach a replica that tells them an address of its own host.
fn of_own_address(config: &Config, heard: &[Heard]) -> Option<Finding> {
    let is_elsewhere = |peer: &Heard| ip(&peer.address).is_some_and(|ip| !ip.is_loopback());
    let told = config.relay_advertise.as_ref().unwrap_or(&config.relay_listen);
    let reaches = !ip(told).is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
    (!reaches && heard.iter().any(is_elsewhere)).then(|| {
        Finding::fail(
            "relay",
            format!("this replica would tell its peers to call {told}, and some are on other hosts"),
            "give --relay-listen an address of the network, and --relay-advertise one by which peers reach it",
        )
    })
}

fn ip(address: &str) -> Option<IpAddr> {
    address.parse::<SocketAddr>().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::config::ServeOptions;

    fn config(args: &[&str]) -> Config {
        let args = [&["serve", "--database", "postgres://h/d"], args].concat();
        let matches = ServeOptions::augment_args(clap::Command::new("serve")).get_matches_from(args);
        ServeOptions::from_arg_matches(&matches).expect("flags").into_config().expect("a set-up")
    }

    #[test]
    fn a_replica_that_peers_elsewhere_cannot_reach_is_told_of() {
        let at = |address: &str| {
            [Heard { replica: "a".into(), address: address.into(), silent_for: Duration::ZERO }]
        };
        assert!(of_own_address(&config(&[]), &at("10.1.2.3:9000")).is_some());
        assert!(of_own_address(&config(&["--relay-listen", "0.0.0.0:9000"]), &at("10.1.2.3:9000")).is_some());
        assert!(of_own_address(&config(&[]), &at("127.0.0.1:9000")).is_none());
        let told = ["--relay-listen", "0.0.0.0:9000", "--relay-advertise", "10.1.2.4:9000"];
        assert!(of_own_address(&config(&told), &at("10.1.2.3:9000")).is_none());
    }
}
