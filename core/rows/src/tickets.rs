//! Tickets: each opens one stream, once.

use std::sync::Arc;

use mainstem_machine::Time;
use mainstem_machine::store::Ticket;

use crate::Rows;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    owner: Arc<str>,
    body: Arc<str>,
    until: Time,
}

impl Rows {
    /// Keeps a ticket, unless its owner has as many as may be. Those that have run out go.
    pub fn keep_ticket(&mut self, now: Time, ticket: &Ticket) -> bool {
        self.tickets.retain(|_, kept| kept.until > now);
        let owned = self.tickets.values().filter(|kept| kept.owner == ticket.owner).count();
        if owned >= ticket.owned_max {
            return false;
        }
        let Ticket { digest, owner, body, lifetime, .. } = ticket.clone();
        self.tickets.insert(digest, Kept { owner, body, until: now + lifetime });
        true
    }

    /// Takes a ticket away, if it is there and has not run out, and gives what was kept with it.
    pub fn take_ticket(&mut self, now: Time, digest: &[u8; 32]) -> Option<Arc<str>> {
        self.tickets.remove(digest).filter(|kept| kept.until > now).map(|kept| kept.body)
    }
}
