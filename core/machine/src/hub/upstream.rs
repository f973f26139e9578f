//! What is relayed here from the replica that works on the chat.

use alloc::sync::Arc;

use super::Hub;
use super::episodes::{Gap, Source};
use super::event::RelayEvent;
use super::relay::Target;
use crate::marks::sometimes;
use crate::{ChatState, DialId, RelayFrame, ReplicaId, Time};

impl Hub {
    /// A dial or a relay goes on, or ends.
    pub(super) fn on_relay(&mut self, now: Time, event: RelayEvent) {
        match event {
            RelayEvent::Relayed { dial, frame } => self.on_relayed(now, dial, frame),
            RelayEvent::Located { replica, address } => self.on_located(now, &replica, address),
            RelayEvent::Dialed { dial } => self.relay.on_dialed(dial, &mut self.out),
            RelayEvent::Gone { dial, fault } => {
                if let Some(lease) = self.relay.on_gone(now, dial, fault) {
                    self.reader.want_word_of(lease);
                }
            }
        }
    }

    fn on_located(&mut self, now: Time, worker: &ReplicaId, address: Option<Arc<str>>) {
        let Some(address) = address else {
            if self.relay.on_not_located(now, worker) {
                self.reader.want();
            }
            return;
        };
        let episodes = &self.episodes;
        self.relay.on_located(worker, address, |target| episodes.position(target.lease), &mut self.out);
    }

    fn on_relayed(&mut self, now: Time, dial: DialId, frame: RelayFrame) {
        if !self.relay.is_present(dial) {
            return;
        }
        let state = self.cached.as_ref().map(|cached| &cached.state);
        let present = state.map(|state| state.present_episode());
        let is_stale = |episode| present.is_some_and(|present| episode < present);
        match frame {
            RelayFrame::Opened { episode, lease } => {
                let held = self.episodes.find(episode).is_some();
                if !is_stale(episode) && !held {
                    self.episodes.open(now, episode, lease, Source::Relayed);
                }
                if present.is_none_or(|present| episode > present) {
                    sometimes!("a follower is ahead of the snapshot");
                    self.reader.want();
                }
            }
            RelayFrame::Parts { episode, first_seq, parts } => {
                // The database may report the end of an episode before the worker's last parts arrive. That
                // is no reason to abort the relay.
                let is_live =
                    state.and_then(|state| state.live_episode()).map(|(live, _)| live) == Some(episode);
                if is_stale(episode) || (present == Some(episode) && !is_live) {
                    return;
                }
                let bytes_max = self.config.episode_bytes_max;
                match self.episodes.push_relayed(episode, first_seq, &parts, bytes_max) {
                    Ok(grew) => self.news |= grew,
                    // The next dial asks for the parts after the last one held, or from the start (S2).
                    Err(Gap::Missing) => self.relay.abort(now, dial, &mut self.out),
                    Err(Gap::Nonsense) => {
                        self.episodes.drop_episode(episode);
                        self.relay.abort(now, dial, &mut self.out);
                    }
                }
            }
            RelayFrame::Closed { episode } => {
                if self.episodes.find(episode).is_some_and(|buffer| buffer.source == Source::Relayed) {
                    self.episodes.settle_outcome(now, episode);
                    self.reader.want_end_of(episode);
                }
            }
        }
    }

    pub(super) fn settle_relay(&mut self, now: Time) {
        let wanted = self.wanted_target();
        if wanted.is_none() && self.relay.target().is_none() {
            return;
        }
        self.relay.settle(now, wanted, &mut self.out);
    }

    /// The worker to follow: another replica, while there are viewers here.
    pub(super) fn wanted_target(&self) -> Option<Target> {
        let state: &ChatState = &self.cached.as_ref()?.state;
        let here = self.ending.is_some() || self.subscriptions.is_empty() || self.runner.is_some();
        if here || !self.config.relays || self.is_named_worker() {
            return None;
        }
        state.worker.clone().map(|worker| Target { chat: state.id, worker, lease: state.lease })
    }
}
