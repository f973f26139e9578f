//! How often each user and each address may ask, and how much of the server each may have, so that nobody's flood is another's
//! matter (B3). [`Rates`] bounds what is asked, by whom it is asked; [`Doors`] bounds connections, of which nobody knows whose they
//! are. What is refused is counted here, and told elsewhere.

mod address;
mod at_once;
mod doors;
mod limiter;
mod proxies;

use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap};

pub use self::address::{Address, Peer};
use self::at_once::{AtOnce, Share};
pub use self::doors::{Doors, Entry};
use self::limiter::Limiter;
use self::proxies::Proxies;
use crate::config::RatesConfig;
use crate::insight::{Edge, Limit};
use crate::limits::rates::STREAMS_RETRY_DELAY;

/// On whose account something is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payer {
    User(Arc<str>),
    /// Who has no name.
    Address(Option<Address>),
}

/// It is too much: when it will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    pub limit: Limit,
    pub wait: Duration,
}

/// A stream that is counted as its user's, until this is dropped.
pub type StreamShare = Option<Share<Payer>>;

/// The limits of what is asked.
#[derive(Debug)]
pub struct Rates {
    requests: Option<Limiter<Payer>>,
    sends: Option<Limiter<Payer>>,
    streams: Option<Arc<AtOnce<Payer>>>,
    proxies: Proxies,
    edge: Arc<Edge>,
}

impl Rates {
    pub fn new(config: &RatesConfig, edge: Arc<Edge>) -> Self {
        Self {
            requests: config.requests.map(Limiter::new),
            sends: config.sends.map(Limiter::new),
            streams: config.user_streams.map(AtOnce::new),
            proxies: Proxies::of(config),
            edge,
        }
    }

    /// Where a request comes from, by its connection and by what proxies say that are believed.
    pub fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Payer {
        let peer = extensions.get::<Peer>();
        Payer::Address(peer.map(|peer| self.proxies.origin(peer.0, headers)))
    }

    /// A request.
    pub fn request(&self, payer: &Payer) -> Result<(), Limited> {
        self.take(self.requests.as_ref(), Limit::Requests, payer)
    }

    /// A request that has a model begin work.
    pub fn send(&self, payer: &Payer) -> Result<(), Limited> {
        self.take(self.sends.as_ref(), Limit::Sends, payer)
    }

    fn take(&self, of: Option<&Limiter<Payer>>, limit: Limit, payer: &Payer) -> Result<(), Limited> {
        of.map_or(Ok(()), |limiter| limiter.take(payer)).map_err(|wait| self.refused(limit, wait))
    }

    /// A stream.
    pub fn stream(&self, payer: &Payer) -> Result<StreamShare, Limited> {
        let Some(streams) = &self.streams else { return Ok(None) };
        let share = streams.take(payer).map(Some);
        share.ok_or_else(|| self.refused(Limit::Streams, STREAMS_RETRY_DELAY))
    }

    fn refused(&self, limit: Limit, wait: Duration) -> Limited {
        self.edge.limited(limit);
        Limited { limit, wait }
    }
}
