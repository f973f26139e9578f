//! Replicas: their leases, their names, and the work that there is for them.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::store::{HeartbeatReport, Held, Peer, ReplicaRow, Rival, SyncReport};
use mainstem_machine::{ChatId, ReplicaId, Status, Time};

use crate::{Row, Rows};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    address: String,
    heard: Time,
    /// The process that has the name.
    incarnation: u64,
}

impl Rows {
    /// Renews those of the leases that the replica still has, and names them.
    pub fn renew(
        &mut self,
        now: Time,
        replica: &ReplicaId,
        held: impl IntoIterator<Item = Held>,
    ) -> Vec<Held> {
        let (until, chats) = (now + self.lease_ttl, &mut self.chats);
        let renewed = held.into_iter().filter(|held| {
            let row = chats.get_mut(&held.chat).filter(|row| row.state.is_held_by(replica, held.lease));
            row.map(|row| Arc::make_mut(row).lease_until = Some(until)).is_some()
        });
        renewed.collect()
    }

    /// Renews leases and membership, unless the name is another process's.
    pub fn heartbeat(
        &mut self,
        now: Time,
        replica: &ReplicaRow,
        held: impl IntoIterator<Item = Held>,
    ) -> HeartbeatReport {
        if let Some(member) = self.members.get(&replica.replica)
            && member.incarnation != replica.incarnation
            && (now.since(member.heard) <= self.lease_ttl || self.has_ended(replica))
        {
            let rival = Rival { address: member.address.clone(), silent_for: now.since(member.heard) };
            return HeartbeatReport { confirmed: vec![], peers: vec![], rival: Some(rival) };
        }
        let confirmed = self.renew(now, &replica.replica, held);
        let ReplicaRow { replica, address, incarnation } = replica.clone();
        self.members.insert(replica.clone(), Member { address, heard: now, incarnation });
        let peers = self.members.iter().filter(|(id, member)| {
            **id != replica
                && !member.address.is_empty()
                && now.since(member.heard) <= self.lease_ttl.saturating_mul(3)
        });
        let peers = peers.map(|(id, member)| Peer { replica: id.clone(), address: member.address.clone() });
        HeartbeatReport { confirmed, peers: peers.collect(), rival: None }
    }

    /// The name is free, unless it is another process's.
    pub fn deregister(&mut self, replica: &ReplicaRow) {
        let holder = self.members.get(&replica.replica).map(|member| member.incarnation);
        if holder == Some(replica.incarnation) {
            self.members.remove(&replica.replica);
        }
    }

    /// What a start does first: from then on nothing that another process of this name has sent takes the name.
    pub fn claim_name(&mut self, now: Time, replica: &ReplicaId, incarnation: u64) {
        let address = self.members.remove(replica).map_or_else(String::new, |member| member.address);
        self.members.insert(replica.clone(), Member { address, heard: now, incarnation });
        self.started.insert(replica.clone(), incarnation);
    }

    /// Whether the process has ended. A real server has given up its statements long before a lease runs out, however
    /// slow it is; here leases may be shorter than that.
    fn has_ended(&self, replica: &ReplicaRow) -> bool {
        self.started.get(&replica.replica).is_some_and(|newest| replica.incarnation < *newest)
    }

    /// The versions of these chats, and what there is to work on.
    pub fn sync(
        &self,
        now: Time,
        chats: impl IntoIterator<Item = ChatId>,
        runnable_max: usize,
    ) -> SyncReport {
        let version = |chat| Some((chat, self.state(chat)?.snapshot_version));
        let mut free: Vec<_> = self.chats.values().filter(|row| row.is_free(now)).collect();
        // An interruption needs no free slot, so it comes first (L2).
        free.sort_by_key(|row| (row.state.status != Status::Interrupting, row.waiting_since(), row.state.id));
        let runnable = free.into_iter().take(runnable_max).map(|row| (row.state.id, row.state.status));
        let is_held = |row: &&Arc<Row>| row.state.status.is_runnable() && !row.is_free(now);
        let soonest: Option<Time> =
            self.chats.values().filter(is_held).filter_map(|row| row.lease_until).min();
        SyncReport {
            versions: chats.into_iter().filter_map(version).collect(),
            runnable: runnable.collect(),
            soonest_expiry: soonest.map(|until| -> Duration { until.since(now) }),
        }
    }

    /// The cluster's secret: the stored one, or `fresh`, which is stored if there was none.
    pub fn secret(&mut self, fresh: &[u8]) -> Vec<u8> {
        self.secret.get_or_insert_with(|| fresh.to_vec()).clone()
    }
}
