//! Connections that have yet to prove that they are peers: bounded, and shared out among the addresses that
//! they come from. Whoever crowds the port takes the places of their own connections, not of a peer's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use futures::future::{AbortHandle, AbortRegistration};

use crate::limits::relay::HANDSHAKES_MAX;

#[derive(Default)]
pub(super) struct Pending(BTreeMap<u64, (Option<IpAddr>, AbortHandle)>);

impl Pending {
    /// Takes in a connection; ids grow. Too many make the oldest of those whose place has most give way: then
    /// the second is true.
    pub(super) fn insert(&mut self, id: u64, origin: Option<IpAddr>) -> (AbortRegistration, bool) {
        let (abort, registration) = AbortHandle::new_pair();
        self.0.insert(id, (origin.map(place), abort));
        let is_crowded = self.0.len() > HANDSHAKES_MAX;
        if is_crowded && let Some((_, victim)) = self.victim().and_then(|id| self.0.remove(&id)) {
            victim.abort();
        }
        (registration, is_crowded)
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.0.remove(&id);
    }

    fn victim(&self) -> Option<u64> {
        let mut places: BTreeMap<Option<IpAddr>, (usize, u64)> = BTreeMap::new();
        for (id, (place, _)) in &self.0 {
            places.entry(*place).or_insert((0, *id)).0 += 1;
        }
        let crowd = places.into_values().max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)));
        crowd.map(|(_, oldest)| oldest)
    }
}

/// Whoever has one address of IPv6 has the other 2⁶⁴ of its network as well.
fn place(origin: IpAddr) -> IpAddr {
    match origin {
        IpAddr::V4(_) => origin,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> Option<IpAddr> {
        Some(origin.parse().expect("an address"))
    }

    #[test]
    fn whoever_has_most_gives_way_and_their_oldest_first() {
        let mut pending = Pending::default();
        let (peer, _) = pending.insert(0, from("10.0.0.9"));
        let (crowd, others): (Vec<_>, Vec<_>) = (1..=10 * HANDSHAKES_MAX as u64)
            .map(|id| pending.insert(id, from(["10.0.0.1", "10.0.0.2", "10.0.0.3"][id as usize % 3])).0)
            .enumerate()
            .partition(|(at, _)| *at < HANDSHAKES_MAX);
        assert_eq!(pending.0.len(), HANDSHAKES_MAX, "B1");
        assert!(!peer.handle().is_aborted(), "B3: a place with one connection keeps it");
        assert!(crowd.iter().all(|(_, registration)| registration.handle().is_aborted()));
        assert!(!others.last().expect("there are some").1.handle().is_aborted());
    }

    #[test]
    fn a_network_of_ipv6_is_one_place() {
        let mut pending = Pending::default();
        let (peer, _) = pending.insert(0, from("fd00:0:0:2::1"));
        for id in 1..=2 * HANDSHAKES_MAX as u64 {
            pending.insert(id, from(&format!("fd00:0:0:1::{id:x}")));
        }
        assert!(!peer.handle().is_aborted(), "B3");
    }
}
