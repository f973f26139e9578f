//! The relays between a worker and its followers: hanging dials, frames in flight, broken links, and peers
//! that violate the protocol.

use mainstem_machine::hub::{AudienceEvent, HubEvent, RelayEvent};
use mainstem_machine::{Episode, FollowerId, Part, RelayFault, RelayFrame, Seq, Version};

use crate::node::{Link, Sent};
use crate::rival;
use crate::step::{Garbage, Step};
use crate::world::{RIVAL, World, pick};

/// Of which some are open, and most are not any more.
const CONNECTIONS_KEPT: usize = 6;

impl World {
    pub(crate) fn relay(&mut self, step: Step) {
        let (Step::DialAnswer { node, which, .. }
        | Step::Carry { node, which, .. }
        | Step::Deliver { node, which, .. }
        | Step::Break { node, which }
        | Step::Garbage { node, which, .. }) = step
        else {
            return;
        };
        let node = if self.nodes[node].connections.is_empty() { 1 - node } else { node };
        let len = self.nodes[node].connections.len();
        // The newest most of all: the others are ghosts.
        let recent = len.min(CONNECTIONS_KEPT);
        let Some(back) = pick(usize::from(which).saturating_sub(128), recent) else { return };
        let at = len - 1 - back;
        match step {
            Step::DialAnswer { ok, .. } => self.answer_dial(node, at, ok),
            Step::Carry { frames, .. } => {
                for _ in 0..frames {
                    self.carry(node, at, frames == 5);
                }
            }
            Step::Deliver { frames, .. } => {
                for _ in 0..frames {
                    self.deliver(node, at);
                }
            }
            Step::Break { .. } => self.break_link(node, at),
            Step::Garbage { garbage, .. } => self.garbage(node, at, garbage),
            _ => {}
        }
    }

    pub(crate) fn answer_dial(&mut self, node: usize, at: usize, ok: bool) {
        let connection = &mut self.nodes[node].connections[at];
        let (dial, peer, position) = (connection.dial, connection.peer, connection.position);
        match connection.link {
            Link::Following => {}
            Link::Dialing => {
                let works = peer == RIVAL || self.nodes[peer].hub.is_some();
                if !ok || !works {
                    self.nodes[node].connections[at].link = Link::Closed;
                    return self.handle(
                        node,
                        HubEvent::Relay(RelayEvent::Gone { dial, fault: RelayFault::NotWorker }),
                    );
                }
                if peer != RIVAL {
                    self.nodes[peer].last_id += 1;
                    let follower = FollowerId(self.nodes[peer].last_id);
                    self.nodes[node].connections[at].follower = Some(follower);
                    self.handle(peer, HubEvent::Audience(AudienceEvent::Follow { follower, position }));
                }
                self.nodes[node].connections[at].link = Link::Following;
                self.handle(node, HubEvent::Relay(RelayEvent::Dialed { dial }));
            }
            // The dial completes late, and has to be closed (R06).
            Link::Closed => {
                if ok && self.nodes[node].hub.is_some() {
                    self.nodes[node].connections[at].asked_to_close = false;
                    self.handle(node, HubEvent::Relay(RelayEvent::Dialed { dial }));
                    let closed = self.nodes[node].connections.get(at).is_none_or(|c| c.asked_to_close);
                    assert!(closed, "R06: a dial that lost its purpose is closed");
                    self.saw("late dial");
                }
            }
        }
    }

    /// Takes one frame from the worker. Returns whether there was one.
    pub(crate) fn carry(&mut self, node: usize, at: usize, replay: bool) -> bool {
        let now = self.now;
        let connection = &self.nodes[node].connections[at];
        let peer = connection.peer;
        if connection.link != Link::Following {
            return self.part_ways(node, at);
        }
        if peer == RIVAL {
            let connection = &mut self.nodes[node].connections[at];
            let Some(sent) = rival::next_frame(&self.database.produced, connection, replay) else {
                return false;
            };
            connection.under_way.push_back(sent);
            return true;
        }
        let Some(follower) = connection.follower else { return false };
        let Some(hub) = &mut self.nodes[peer].hub else { return false };
        let (frame, over) = (hub.next_frame(now, follower), hub.is_over_for(follower));
        let ends = hub.ending().is_some();
        self.settle_node(peer);
        if let Some(RelayFrame::Opened { .. } | RelayFrame::Parts { .. }) = &frame {
            self.check_relay_silence(peer, frame.as_ref().expect("just matched"));
        }
        let connection = &mut self.nodes[node].connections[at];
        match frame {
            Some(frame) => connection.under_way.push_back(Sent::Frame(frame)),
            None if over => {
                let works = self.nodes[peer].held.is_some() && !ends;
                assert!(!works, "S2: who works on the chat sends its follower away");
                connection.under_way.push_back(Sent::End);
                return self.unfollow(node, at);
            }
            None => {
                connection.idle = true;
                return false;
            }
        }
        true
    }

    fn check_relay_silence(&self, worker: usize, frame: &RelayFrame) {
        let (RelayFrame::Opened { episode, .. } | RelayFrame::Parts { episode, .. }) = frame else { return };
        let Some(held) = &self.nodes[worker].held else { return };
        let near_expiry = self.is_suspended(worker) && self.database.produced[episode].lease == held.lease;
        assert!(!near_expiry, "S5: a worker whose lease has expired relays {episode:?}");
    }

    /// The worker notices that its follower is gone.
    fn part_ways(&mut self, node: usize, at: usize) -> bool {
        self.nodes[node].connections[at].follower.is_some() && self.unfollow(node, at)
    }

    fn unfollow(&mut self, node: usize, at: usize) -> bool {
        let connection = &mut self.nodes[node].connections[at];
        let (peer, follower) = (connection.peer, connection.follower.take());
        connection.idle = false;
        if let Some(follower) = follower {
            self.handle(peer, HubEvent::Audience(AudienceEvent::Unfollow { follower }));
        }
        true
    }

    /// Delivers one frame, also on a closed link.
    pub(crate) fn deliver(&mut self, node: usize, at: usize) -> bool {
        let Some(connection) = self.nodes[node].connections.get_mut(at) else { return false };
        let dial = connection.dial;
        match connection.under_way.pop_front() {
            Some(Sent::Frame(frame)) => {
                let event = HubEvent::Relay(RelayEvent::Relayed { dial, frame });
                if connection.link == Link::Closed {
                    self.saw("frame on a closed link");
                    self.handle_in_vain(node, event);
                } else {
                    self.handle(node, event);
                }
            }
            Some(Sent::End) => {
                connection.link = Link::Closed;
                self.handle(node, HubEvent::Relay(RelayEvent::Gone { dial, fault: RelayFault::Gone }));
            }
            None => return false,
        }
        true
    }

    fn break_link(&mut self, node: usize, at: usize) {
        let connection = &mut self.nodes[node].connections[at];
        if connection.link == Link::Following {
            connection.link = Link::Closed;
            connection.under_way.clear();
            let dial = connection.dial;
            self.handle(node, HubEvent::Relay(RelayEvent::Gone { dial, fault: RelayFault::Gone }));
        }
    }

    fn garbage(&mut self, node: usize, at: usize, garbage: Garbage) {
        let connection = &mut self.nodes[node].connections[at];
        if connection.link == Link::Dialing {
            return;
        }
        connection.spoiled = true;
        let dial = connection.dial;
        let present = self.database.state().present_episode();
        let produced = &self.database.produced;
        let some = |which: u8| pick(which.into(), produced.len()).and_then(|at| produced.keys().nth(at));
        let longer = produced.get(&present).map_or(0, |produced| produced.parts.len() as u64) + 1;
        let parts = |episode, first: u64, part: &[u8]| RelayFrame::Parts {
            episode,
            first_seq: Seq(first),
            parts: vec![Part::piece(part.to_vec())],
        };
        let unknown = Episode { history_version: Version(1_000_000), attempt: 1 };
        let frames = match garbage {
            Garbage::Gap => vec![parts(present, longer + 1, b"gap")],
            Garbage::SeqZero => vec![parts(present, 0, b"zero")],
            // Beyond the last part: otherwise they would correctly be skipped.
            Garbage::NoText => vec![parts(present, longer, &[0xff, 0xfe])],
            Garbage::EmptyPart => vec![parts(present, longer, b"")],
            Garbage::NeverOpened => vec![parts(unknown, 1, b"unknown")],
            Garbage::ClosesAnything(which) => {
                some(which).map(|episode| RelayFrame::Closed { episode: *episode }).into_iter().collect()
            }
            Garbage::Stale(which) => match some(which) {
                None => vec![],
                Some(episode) => {
                    let held = &produced[episode];
                    let all = held.parts.iter().map(|part| Part::piece(part.clone())).collect();
                    let first_seq = Seq(1);
                    vec![
                        RelayFrame::Opened { episode: *episode, lease: held.lease },
                        RelayFrame::Parts { episode: *episode, first_seq, parts: all },
                    ]
                }
            },
        };
        for frame in frames {
            self.saw("garbage");
            self.handle(node, HubEvent::Relay(RelayEvent::Relayed { dial, frame }));
        }
    }
}
