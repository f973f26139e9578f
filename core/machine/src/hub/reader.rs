//! Reads of the chat's snapshot: at most one in flight, and another after it if it was requested in the
//! meantime.

use super::action::{Deadline, HubAction, Reason};
use super::cached::CachedChat;
use super::outbox::Outbox;
use crate::backoff::Backoff;
use crate::{ChatState, Episode, Lease, OpId, Time, Version};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reader {
    phase: Phase,
    wanted: bool,
    /// A read is wanted unless one that is in flight brings this version.
    announced: Version,
    /// The relay said that this episode is over, or came to its end under this lease. A read is wanted unless the row that is known by
    /// then says so already.
    over: Option<Episode>,
    left: Option<Lease>,
    backoff: Backoff,
    started: u64,
    /// The number of the newest read that succeeded, counted by `started`.
    succeeded: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Idle,
    Reading {
        op: OpId,
    },
    WaitingToRetry {
        until: Time,
    },
}

/// A point in the sequence of reads. Its holder waits for a read that began after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ReadMark(u64);

impl Reader {
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Requests a row of at least this version, which is in the database already.
    pub(super) fn want_version(&mut self, version: Version) {
        self.announced = self.announced.max(version);
    }

    /// Requests a row that does not have this episode live any more.
    pub(super) fn want_end_of(&mut self, episode: Episode) {
        self.over = Some(episode);
    }

    /// Requests a row that says whether the worker still holds this lease, unless the row comes by itself that it does not.
    pub(super) fn want_word_of(&mut self, lease: Lease) {
        self.left = Some(lease);
    }

    /// Requests a read that begins after now, and returns the mark by which to recognize it.
    pub(super) fn want_fresh(&mut self) -> ReadMark {
        self.wanted = true;
        ReadMark(self.started)
    }

    /// Like [`Self::want_fresh`], but requests no read if the cached state is good enough for now.
    pub(super) fn want_fresh_unless(&mut self, cached: bool) -> ReadMark {
        self.wanted |= !cached;
        ReadMark(self.started)
    }

    /// Requests a read that begins after `mark`, unless there is or was one.
    pub(super) fn want_past(&mut self, mark: ReadMark) {
        self.wanted |= self.started <= mark.0;
    }

    /// Whether a read that began after `mark` has succeeded.
    pub(super) fn is_past(&self, mark: ReadMark) -> bool {
        self.succeeded > mark.0
    }

    /// Whether the outcome belongs to the read in flight. After a failure, another read follows.
    pub(super) fn on_read(&mut self, now: Time, op: OpId, succeeded: bool) -> bool {
        if self.phase != (Phase::Reading { op }) {
            return false;
        }
        if succeeded {
            self.phase = Phase::Idle;
            self.succeeded = self.started;
            self.backoff.reset();
        } else {
            self.wanted = true;
            self.phase = Phase::WaitingToRetry { until: now + self.backoff.next_delay() };
        }
        true
    }

    /// Whether a row is wanted that this one is not.
    fn is_due(&self, row: Option<&ChatState>) -> bool {
        let Some(row) = row else { return self.wanted || self.announced > Version(0) };
        let is_live = |episode| {
            row.present_episode() < episode || row.live_episode().is_some_and(|(live, _)| live == episode)
        };
        let is_held = |lease| row.worker.is_some() && row.lease == lease;
        self.wanted
            || self.announced > row.snapshot_version
            || self.over.is_some_and(is_live)
            || self.left.is_some_and(is_held)
    }

    pub(super) fn settle(&mut self, now: Time, cached: Option<&CachedChat>, out: &mut Outbox) {
        let free = match self.phase {
            Phase::Idle => true,
            Phase::WaitingToRetry { until } => until <= now,
            Phase::Reading { .. } => false,
        };
        let row = cached.map(|cached| &*cached.state);
        if free && self.is_due(row) {
            self.wanted = false;
            self.announced = Version(0);
            (self.over, self.left) = (None, None);
            let cached = cached.map(CachedChat::cached_versions);
            self.started += 1;
            self.phase = Phase::Reading { op: out.ask(|op| HubAction::ReadSnapshot { op, cached }) };
        }
        assert!(
            self.phase != Phase::Idle || !self.is_due(row),
            "L1: what was announced is read, now or at a time that is set"
        );
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self.phase {
            Phase::WaitingToRetry { until } => Some(Deadline { at: until, reason: Reason::ReadRetry }),
            _ => None,
        }
    }
}
