//! Who may connect: so many from one address, and so often; and so often in all. Beyond what an address may, a connection is closed
//! before anything is read or said, which costs least: TLS is not begun. Beyond what all may, it waits, and those behind it wait in
//! the kernel.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::sleep;

use super::at_once::{AtOnce, Share};
use super::limiter::Limiter;
use super::proxies::Proxies;
use super::{Address, Peer};
use crate::config::RatesConfig;
use crate::insight::{Edge, Limit};

#[derive(Debug, Default)]
pub struct Doors {
    at_once: Option<Arc<AtOnce<Address>>>,
    of_address: Option<Limiter<Address>>,
    of_all: Option<Limiter<()>>,
    proxies: Proxies,
    edge: Arc<Edge>,
}

/// A connection that was let in. It is its address's until this is dropped.
#[derive(Debug)]
pub struct Entry {
    pub peer: Peer,
    _share: Option<Share<Address>>,
}

impl Doors {
    pub fn new(config: &RatesConfig, edge: Arc<Edge>) -> Self {
        Self {
            at_once: config.address_connections.map(AtOnce::new),
            of_address: config.address_connection_rate.map(Limiter::new),
            of_all: config.connection_rate.map(Limiter::new),
            proxies: Proxies::of(config),
            edge,
        }
    }

    /// Lets a connection in, if its address may have it. A proxy that is believed brings everybody's.
    pub fn enter(&self, peer: IpAddr) -> Option<Entry> {
        let entry = |share| Entry { peer: Peer(peer), _share: share };
        if self.proxies.have(peer) {
            return Some(entry(None));
        }
        let address = peer.into();
        let share = match self.at_once.as_ref().map(|at_once| at_once.take(&address)) {
            Some(None) => {
                self.edge.limited(Limit::AddressConnections);
                return None;
            }
            share => share.flatten(),
        };
        if self.of_address.as_ref().is_some_and(|rate| rate.take(&address).is_err()) {
            self.edge.limited(Limit::AddressConnectionRate);
            return None;
        }
        Some(entry(share))
    }

    /// Waits until one more may come.
    pub async fn pace(&self) {
        let Some(rate) = &self.of_all else { return };
        let mut is_counted = false;
        while let Err(wait) = rate.take(&()) {
            if !is_counted {
                self.edge.limited(Limit::ConnectionRate);
                is_counted = true;
            }
            sleep(wait).await;
        }
    }
}
