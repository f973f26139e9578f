//! What became of this replica's follows of chats at its peers, counted for those who operate it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstem_machine::RelayFault;

/// Follows since the start, and those that go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// Accepted by a worker.
    pub accepted: u64,
    /// Given up before there was an answer: what they were for was over.
    pub given_up: u64,
    /// The peer could not be reached, went away, or took too long.
    pub gone: u64,
    /// The peer does not work on the chat.
    pub not_worker: u64,
    /// The peer has another secret.
    pub denied: u64,
    /// The peer violated the protocol.
    pub nonsense: u64,
    /// Accepted, and not over.
    pub open: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    accepted: AtomicU64,
    given_up: AtomicU64,
    gone: AtomicU64,
    not_worker: AtomicU64,
    denied: AtomicU64,
    nonsense: AtomicU64,
    open: AtomicU64,
}

/// A follow that was asked for. One that is dropped before it was answered was given up.
pub(super) struct Asked(Option<Arc<Counts>>);

/// A follow that goes on until this is dropped.
#[derive(Debug)]
pub(super) struct Open(Arc<Counts>);

fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(super) fn read(&self) -> RelayCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RelayCounts {
            accepted: read(&self.accepted),
            given_up: read(&self.given_up),
            gone: read(&self.gone),
            not_worker: read(&self.not_worker),
            denied: read(&self.denied),
            nonsense: read(&self.nonsense),
            open: read(&self.open),
        }
    }
}

impl Asked {
    pub(super) fn of(counts: &Arc<Counts>) -> Self {
        Self(Some(counts.clone()))
    }

    pub(super) fn accepted(mut self) -> Open {
        let counts = self.0.take().expect("it is answered once");
        add_one(&counts.accepted);
        add_one(&counts.open);
        Open(counts)
    }

    pub(super) fn refused(mut self, fault: RelayFault) {
        let counts = self.0.take().expect("it is answered once");
        add_one(match fault {
            RelayFault::Gone => &counts.gone,
            RelayFault::NotWorker => &counts.not_worker,
            RelayFault::Denied => &counts.denied,
            RelayFault::Nonsense => &counts.nonsense,
        });
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(counts) = self.0.take() {
            add_one(&counts.given_up);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_follow_is_counted_once_and_an_open_one_until_it_ends() {
        let counts = Arc::new(Counts::default());
        let open = Asked::of(&counts).accepted();
        drop(Asked::of(&counts));
        for fault in [RelayFault::Gone, RelayFault::NotWorker, RelayFault::Denied, RelayFault::Nonsense] {
            Asked::of(&counts).refused(fault);
        }
        let one_each =
            RelayCounts { accepted: 1, given_up: 1, gone: 1, not_worker: 1, denied: 1, nonsense: 1, open: 1 };
        assert_eq!(counts.read(), one_each);
        drop(open);
        assert_eq!(counts.read(), RelayCounts { open: 0, ..one_each });
    }
}
