//! What a hub knows of the chat: what it hears by the bus and otherwise, and what it reads.

use alloc::sync::Arc;

use super::cached::CachedChat;
use super::event::{BusEvent, ChatEvent, DatabaseEvent, Noticed, OpOutcome};
use super::{Hub, HubAction};
use crate::limits::NOTICED_ROWS_MAX;
use crate::marks::sometimes;
use crate::{ChatState, Ending, Message, OpId, Snapshot, Time};

impl Hub {
    /// The subscription to the bus begins, fails or ends.
    pub(super) fn on_bus(&mut self, now: Time, event: BusEvent) {
        match event {
            BusEvent::Subscribed { op, established } => {
                if self.bus_subscription.on_subscribed(now, op, established) {
                    self.reader.want();
                }
            }
            BusEvent::Lost => {
                self.bus_subscription.on_lost(now);
                self.reader.want();
            }
        }
    }

    /// The chat may have changed.
    pub(super) fn on_chat(&mut self, now: Time, event: ChatEvent) {
        match event {
            ChatEvent::Hint { snapshot_version } => {
                self.reader.want_version(snapshot_version);
            }
            // A read of its own says whether the chat is gone.
            ChatEvent::NotFound => self.reader.want(),
            ChatEvent::Committed { state, appended } => self.on_committed(now, &state, appended.as_deref()),
            ChatEvent::Noticed(noticed) => self.on_noticed(now, noticed),
        }
    }

    /// An operation has ended.
    pub(super) fn on_database(&mut self, now: Time, event: DatabaseEvent) {
        match event {
            DatabaseEvent::SnapshotRead { op, outcome } => self.on_snapshot(now, op, outcome),
            DatabaseEvent::PageRead { op, outcome } => self.on_page(now, op, outcome),
            DatabaseEvent::HistoryLoaded { op, outcome } => {
                let loaded = matches!(outcome, OpOutcome::Done(_));
                let kept = self.with_runner(now, |runner, context| runner.on_loaded(op, outcome, context));
                if loaded && !kept.unwrap_or(false) {
                    self.out.push(HubAction::DropHistory { op });
                }
            }
            DatabaseEvent::Applied { op, outcome } => {
                // Whoever carried it out has announced it with what it appended: here the row alone is new, if anything.
                if let OpOutcome::Done(Ok(state)) = &outcome {
                    self.on_committed(now, state, None);
                }
                self.with_runner(now, |runner, context| runner.on_applied(op, &outcome, context));
                self.news = true;
            }
        }
    }

    fn on_snapshot(&mut self, now: Time, op: OpId, outcome: OpOutcome<Option<Snapshot>>) {
        let OpOutcome::Done(read) = outcome else {
            self.reader.on_read(now, op, false);
            return;
        };
        if !self.reader.on_read(now, op, true) {
            return;
        }
        self.news = true;
        let Some(snapshot) = read else { return self.end(Ending::Deleted) };
        match &mut self.cached {
            Some(cached) => drop(cached.merge(snapshot)),
            None => self.cached = Some(CachedChat::new(snapshot)),
        }
        self.on_newer_row(now);
    }

    /// This replica committed a new row. What cannot be told from it and from what is cached has to be read: what came
    /// with a change in between, and what a cut has left.
    fn on_committed(&mut self, now: Time, state: &Arc<ChatState>, appended: Option<&[Arc<Message>]>) {
        if self.snapshot_version() >= state.snapshot_version {
            return;
        }
        if self.cached.as_mut().is_some_and(|cached| cached.merge_committed(state, appended)) {
            self.news = true;
            self.on_newer_row(now);
        } else {
            self.reader.want_version(state.snapshot_version);
        }
    }

    /// A notice brought a row. It is asked for as any other, in case that the one before does not come.
    fn on_noticed(&mut self, now: Time, noticed: Noticed) {
        if self.snapshot_version() >= noticed.snapshot_version {
            return;
        }
        self.reader.want_version(noticed.snapshot_version);
        self.noticed.insert(noticed.snapshot_version, noticed);
        if self.noticed.len() > NOTICED_ROWS_MAX {
            self.noticed.pop_last();
        }
        if self.take_noticed() {
            self.news = true;
            self.on_newest_row(now);
        }
    }

    /// Takes the rows that notices brought, as far as none is missing. Those that wait for one that is being read are kept.
    fn take_noticed(&mut self) -> bool {
        let Some(cached) = &mut self.cached else { return false };
        let mut is_newer = false;
        while let Some(first) = self.noticed.first_entry() {
            if *first.key() > cached.state.snapshot_version.next() {
                break;
            }
            is_newer |= cached.merge_noticed(&first.remove());
        }
        is_newer
    }

    /// Handles a newer row in the cache, and those that waited for it.
    fn on_newer_row(&mut self, now: Time) {
        if self.take_noticed() {
            sometimes!("a notice waits for a read");
        }
        self.on_newest_row(now);
    }

    fn on_newest_row(&mut self, now: Time) {
        let Some(cached) = &self.cached else { return };
        let state = cached.state.clone();
        let live = state.live_episode().map(|(episode, _)| episode);
        self.episodes.settle_all_but(now, live, state.present_episode());
        self.with_runner(now, |runner, _| runner.observe(&state));
    }

    pub(super) fn settle_reader(&mut self, now: Time) {
        if self.bus_subscription.expire(now) {
            self.reader.want();
        }
        if self.bus_subscription.is_due(now) {
            let op = self.out.ask(|op| HubAction::BusSubscribe { op });
            self.bus_subscription.begin(now, op);
        }
        if self.may_read() {
            self.reader.settle(now, self.cached.as_ref(), &mut self.out);
        }
    }

    pub(super) fn may_read(&self) -> bool {
        self.bus_subscription.is_answered() && self.ending.is_none()
    }
}
