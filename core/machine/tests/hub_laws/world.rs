//! The world: two replicas with a hub each, a third one that only writes rows and relays, one chat, and
//! everything in flight between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{
    BusEvent, ChatEvent, HubConfig, HubEvent, JoinedParts, LeavingEvent, ModelEvent,
};
use mainstem_machine::{Command, Completion, Content, Cursor, SendMode, Time};

use crate::court::{Court, Memory};
use crate::database::{Database, LEASE_TTL};
use crate::node::{Model, Node};
use crate::rival::Rivalry;
use crate::step::Step;
use crate::told::Hub;
use crate::viewers::Viewer;

pub(crate) const EPISODE_BYTES_MAX: usize = 256;
pub(crate) const RIVAL: usize = 2;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) database: Database,
    pub(crate) nodes: [Node; 2],
    pub(crate) rivalry: Rivalry,
    pub(crate) viewers: Vec<Viewer>,
    /// One for both hubs, which is more than any driver would do.
    pub(crate) joined: JoinedParts,
    pub(crate) court: Court,
    pub(crate) checkpoints: Vec<(Cursor, Memory)>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) parts: u64,
    pub(crate) episode_bytes_max: usize,
    /// Counts of rare situations, so that a test can require that they occur (D2).
    pub(crate) seen: BTreeMap<&'static str, usize>,
    /// Counts of requested operations, by kind.
    pub(crate) asked: BTreeMap<&'static str, usize>,
}

impl World {
    pub(crate) fn new(traced: bool) -> Self {
        Self::with_answers_of(EPISODE_BYTES_MAX, traced)
    }

    pub(crate) fn with_answers_of(episode_bytes_max: usize, traced: bool) -> Self {
        let nodes = [Node::new("node-a"), Node::new("node-b")];
        let court = Court::new(episode_bytes_max, nodes.iter().map(|node| node.id.clone()));
        let mut world = Self {
            now: Time::from_micros(1_000_000),
            database: Database::new(),
            nodes,
            rivalry: Rivalry::default(),
            viewers: Vec::new(),
            joined: JoinedParts::default(),
            court,
            checkpoints: Vec::new(),
            trace: traced.then(Vec::new),
            parts: 0,
            episode_bytes_max,
            seen: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        world.tell_commits();
        world
    }

    fn tell_commits(&mut self) {
        for committed in std::mem::take(&mut self.database.commits) {
            self.court.committed(self.now, committed);
        }
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:?} {}", self.now, line()));
            if std::env::var_os("HUB_LAWS_TRACE").is_some() {
                eprintln!("{}", trace.last().expect("a line was pushed"));
            }
        }
    }

    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(crate) fn take(&mut self, step: Step) {
        self.note(|| format!("* {step:?}"));
        match step {
            Step::Subscribe { node, from } => self.subscribe(node, from),
            Step::Leave(which) => self.leave(which.into()),
            Step::View { viewer, events } => {
                if let Some(at) = pick(viewer.into(), self.viewers.len()) {
                    self.view(at, events.into());
                }
            }
            Step::Acquire { node, has_slot, late } => self.acquire(node, has_slot, late),
            Step::Acquired { node } => self.assign(node),
            Step::Rival(rival) => self.rival(rival),
            Step::Answer { node, which, how } => {
                if let Some(at) = pick(which.into(), self.nodes[node].pending.len()) {
                    self.answer(node, at, how);
                }
            }
            Step::Hint { node, which, twice, whole } => {
                if let Some(at) = pick(which.into(), self.nodes[node].hints.len()) {
                    let snapshot_version = self.nodes[node].hints.remove(at);
                    let event = match self.database.entry(snapshot_version) {
                        Some(entry) if whole => entry.committed(),
                        Some(entry) => entry.noticed(),
                        None => HubEvent::Chat(ChatEvent::Hint { snapshot_version }),
                    };
                    self.handle(node, event.clone());
                    if twice {
                        self.handle(node, event);
                    }
                }
            }
            Step::DropHints { node } => {
                let node = &mut self.nodes[node];
                node.missed |= !node.hints.is_empty();
                node.hints.clear();
            }
            Step::BusLost { node } => {
                if std::mem::take(&mut self.nodes[node].established) {
                    self.handle(node, HubEvent::Bus(BusEvent::Lost));
                }
            }
            Step::Sync { node } => self.sync(node),
            Step::Part { node, size } => self.generate(self.worker_or(node), size.into()),
            Step::Finish { node } => {
                let node = self.worker_or(node);
                if let Some(Model { generation, .. }) = self.nodes[node].model {
                    let completion = Completion::STOPPED;
                    self.end(
                        node,
                        HubEvent::Model(ModelEvent::Done { generation, completion, offered: [].into() }),
                    );
                }
            }
            Step::Fail { node, retryable, after_ms, entropy } => {
                let node = self.worker_or(node);
                if let Some(Model { generation, .. }) = self.nodes[node].model {
                    let error = crate::rival::error();
                    let retry_after = after_ms.map(Duration::from_millis);
                    let failed = HubEvent::Model(ModelEvent::Failed {
                        generation,
                        error,
                        retryable,
                        retry_after,
                        entropy,
                    });
                    self.end(node, failed);
                }
            }
            Step::Ghost { node, which } => {
                if let Some(at) = pick(which.into(), self.nodes[node].cancelled.len()) {
                    let generation = self.nodes[node].cancelled[at];
                    self.handle_in_vain(
                        node,
                        HubEvent::Model(ModelEvent::Generated {
                            generation,
                            begins: None,
                            text: "late ".into(),
                        }),
                    );
                    self.handle_in_vain(
                        node,
                        HubEvent::Model(ModelEvent::Done {
                            generation,
                            completion: Completion::default(),
                            offered: [].into(),
                        }),
                    );
                }
            }
            Step::Heartbeat { node, late } => self.heartbeat(node, late),
            Step::HeartbeatResult { node, which } => {
                if let Some(at) = pick(which.into(), self.nodes[node].heartbeats.len()) {
                    let (lease, sent_at) = self.nodes[node].heartbeats.remove(at);
                    self.confirm(node, lease, sent_at);
                }
            }
            Step::Deadline { node } => {
                let deadline = self.nodes[node].hub.as_ref().and_then(|hub| hub.poll_timeout());
                if let Some(deadline) = deadline {
                    self.now = self.now.max(deadline.at);
                    self.handle(node, HubEvent::Wake);
                }
            }
            Step::Wake { node } => self.handle(node, HubEvent::Wake),
            Step::Jump => self.now = self.now + LEASE_TTL + Duration::from_secs(1),
            Step::Drain { node } => self.hand_over(node, HubEvent::Leaving(LeavingEvent::Drain)),
            Step::HandOver { node } => self.hand_over(node, HubEvent::Leaving(LeavingEvent::HandOver)),
            Step::Flow => self.flow(),
            Step::Settle { node } => {
                self.settle_database(node);
            }
            Step::Work { node } => {
                if self.database.is_free(self.now) {
                    self.acquire(node, true, false);
                    self.settle_database(node);
                }
            }
            Step::DialAnswer { .. }
            | Step::Carry { .. }
            | Step::Deliver { .. }
            | Step::Break { .. }
            | Step::Garbage { .. } => self.relay(step),
            Step::Talk { turns } => self.talk(turns),
            Step::Send { .. } | Step::Edit(_) | Step::Interrupt { .. } | Step::Delete => self.request(step),
        }
    }

    /// The node with a model at work, or `node`.
    fn worker_or(&self, node: usize) -> usize {
        self.nodes.iter().position(|node| node.model.is_some()).unwrap_or(node)
    }

    fn request(&mut self, step: Step) {
        let content = Content::text("said");
        let entry = self.database.last();
        let command = match step {
            Step::Send { interrupt } => {
                let mode = if interrupt { SendMode::Interrupt } else { SendMode::Queue };
                Some(Command::Send { content, mode, queue_max: 5, client_id: None })
            }
            Step::Edit(which) => pick(which.into(), entry.messages.len())
                .map(|at| Command::Edit { message: entry.messages[at].id, content }),
            Step::Interrupt { named } => {
                Some(Command::Interrupt { episode: named.then(|| entry.state.present_episode()) })
            }
            Step::Delete => Some(Command::Delete),
            _ => None,
        };
        if let Some(command) = command {
            let _ = self.commit(&command);
        }
    }

    /// Commits, and sends a hint to every hub that is subscribed to the bus.
    pub(crate) fn commit(&mut self, command: &Command) -> crate::node::Acceptance {
        let applied = self.database.apply(self.now, command);
        self.tell_commits();
        self.note(|| format!("  database: {} {}", command.name(), crate::word(&applied)));
        let (state, changed) = applied?;
        if changed {
            for node in self.nodes.iter_mut().filter(|node| node.established) {
                node.hints.push(state.snapshot_version);
            }
        }
        Ok(state)
    }

    pub(crate) fn hub(&mut self, node: usize) -> &mut Hub {
        let (now, episode_bytes_max) = (self.now, self.episode_bytes_max);
        let Node { hub, id, .. } = &mut self.nodes[node];
        hub.get_or_insert_with(|| {
            let config = HubConfig {
                replica: id.clone(),
                relays: true,
                lease_ttl: LEASE_TTL,
                episode_bytes_max,
                tool_steps_max: 4,
            };
            Hub::new(now, Arc::new(config))
        })
    }
}

/// The index that a number chooses.
pub(crate) fn pick(which: usize, len: usize) -> Option<usize> {
    (len > 0).then(|| which % len)
}
