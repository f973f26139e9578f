//! How many follow chats here: bounded in total, and for each peer (B1).

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::ReplicaId;

use super::lock;
use crate::limits::driver::{FOLLOWS_MAX, FOLLOWS_OF_PEER_MAX};
use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Follows(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_peer: BTreeMap<ReplicaId, usize>,
}

impl Follows {
    /// A slot for one more, given back when dropped. `None` if there are too many.
    pub(crate) fn enter(&self, peer: &ReplicaId) -> Option<FollowSlot> {
        let mut counts = lock(&self.0);
        let of_peer = counts.by_peer.get(peer).copied().unwrap_or(0);
        if counts.all >= FOLLOWS_MAX || of_peer >= FOLLOWS_OF_PEER_MAX {
            return None;
        }
        counts.all += 1;
        counts.by_peer.insert(peer.clone(), of_peer + 1);
        drop(counts);
        Some(FollowSlot { counts: self.0.clone(), peer: peer.clone() })
    }
}

#[derive(Debug)]
pub(crate) struct FollowSlot {
    counts: Arc<Mutex<Counts>>,
    peer: ReplicaId,
}

impl Drop for FollowSlot {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.all -= 1;
        if let Some(of_peer) = counts.by_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                counts.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::once;

    #[test]
    fn a_peer_that_follows_too_much_leaves_room_for_others_and_gets_its_own_back() {
        once(|| {
            let follows = Follows::default();
            let [greedy, other] = ["greedy", "other"].map(|id| ReplicaId::new(id).expect("an id"));
            let mut slots: Vec<_> = (0..FOLLOWS_OF_PEER_MAX).map(|_| follows.enter(&greedy)).collect();
            assert!(slots.iter().all(Option::is_some) && follows.enter(&greedy).is_none(), "B1");
            assert!(follows.enter(&other).is_some(), "B3");
            slots.pop();
            assert!(follows.enter(&greedy).is_some());
            slots.clear();
            let counts = lock(&follows.0);
            assert!(counts.all == 0 && counts.by_peer.is_empty(), "B2");
        });
    }

    #[test]
    fn many_peers_together_have_a_bound_too() {
        once(|| {
            let follows = Follows::default();
            let peers = (0..=FOLLOWS_MAX / FOLLOWS_OF_PEER_MAX)
                .map(|n| ReplicaId::new(format!("p{n}")).expect("an id"));
            let mut slots: Vec<_> = peers
                .flat_map(|peer| {
                    (0..FOLLOWS_OF_PEER_MAX).map_while(|_| follows.enter(&peer)).collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(slots.len(), FOLLOWS_MAX, "B1");
            let late = ReplicaId::new("late").expect("an id");
            assert!(follows.enter(&late).is_none(), "B1");
            slots.pop();
            assert!(follows.enter(&late).is_some());
        });
    }
}
