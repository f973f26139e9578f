//! Two replicas with a hub each, a third that only writes rows and relays, one chat, and everything between
//! them that may come late, twice, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{Hub, HubAction, HubConfig, HubEvent, OpOutcome};
use mainstem_machine::{
    Body, Command, Content, Cursor, Episode, Lease, MessageId, OpId, Resume, SendMode, SubscriptionId, Time,
    Version,
};

use crate::client::Client;
use crate::database::{Database, LEASE_TTL};
use crate::node::{Connection, Held, Link, Model, Node, Pending};
use crate::rival::Rivalry;
use crate::step::{From, How, Step};

/// Actions that one event may lead to (L4).
const ACTIONS_MAX: usize = 64;
const EPISODE_BYTES_MAX: usize = 256;
const VIEWERS_MAX: usize = 6;
pub(crate) const RIVAL: usize = 2;

#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) node: usize,
    pub(crate) id: SubscriptionId,
    pub(crate) client: Client,
    /// It was told that there is nothing to tell, and waits for news.
    pub(crate) idle: bool,
    /// What its own replica had generated of the live episode when it came: told before `synced`.
    owed: Option<(Episode, u64)>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) database: Database,
    pub(crate) nodes: [Node; 2],
    pub(crate) rivalry: Rivalry,
    pub(crate) viewers: Vec<Viewer>,
    checkpoints: Vec<(Cursor, Client)>,
    pub(crate) trace: Option<Vec<String>>,
    parts: u64,
    /// What was seen of the rare things, so that a test can demand that they happen (D2).
    pub(crate) seen: BTreeMap<&'static str, usize>,
    /// What was asked for, by its kind.
    pub(crate) asked: BTreeMap<&'static str, usize>,
}

impl World {
    pub(crate) fn new(traced: bool) -> Self {
        Self {
            now: Time::from_micros(1_000_000),
            database: Database::new(),
            nodes: [Node::new("node-a"), Node::new("node-b")],
            rivalry: Rivalry::default(),
            viewers: Vec::new(),
            checkpoints: Vec::new(),
            trace: traced.then(Vec::new),
            parts: 0,
            seen: BTreeMap::new(),
            asked: BTreeMap::new(),
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
            Step::Acquire { node, room, late } => self.acquire(node, room, late),
            Step::Acquired { node } => self.assign(node),
            Step::Rival(rival) => self.rival(rival),
            Step::Answer { node, which, how } => {
                if let Some(at) = pick(which.into(), self.nodes[node].pending.len()) {
                    self.answer(node, at, how);
                }
            }
            Step::Zombie { node, which } => {
                if let Some(at) = pick(which.into(), self.nodes[node].zombies.len()) {
                    let command = self.nodes[node].zombies.remove(at);
                    let _ = self.commit(&command);
                }
            }
            Step::Hint { node, which, twice } => {
                if let Some(at) = pick(which.into(), self.nodes[node].hints.len()) {
                    let snapshot_version = self.nodes[node].hints.remove(at);
                    self.tell(node, HubEvent::Hint { snapshot_version });
                    if twice {
                        self.tell(node, HubEvent::Hint { snapshot_version });
                    }
                }
            }
            Step::DropHints { node } => {
                let node = &mut self.nodes[node];
                node.missed |= !node.hints.is_empty();
                node.hints.clear();
            }
            Step::BusLost { node } => {
                if std::mem::take(&mut self.nodes[node].armed) {
                    self.tell(node, HubEvent::BusLost);
                }
            }
            Step::Sync { node } => self.sync(node),
            Step::Part { node, size } => self.generate(self.worker_or(node), size.into()),
            Step::Finish { node } => {
                let node = self.worker_or(node);
                if let Some(Model { generation, .. }) = self.nodes[node].model {
                    self.saw("done");
                    self.end(node, HubEvent::GenerationDone { generation });
                }
            }
            Step::Fail { node, retryable } => {
                let node = self.worker_or(node);
                if let Some(Model { generation, .. }) = self.nodes[node].model {
                    let error = crate::rival::error();
                    self.end(node, HubEvent::GenerationFailed { generation, error, retryable });
                }
            }
            Step::Ghost { node, which } => {
                if let Some(at) = pick(which.into(), self.nodes[node].cancelled.len()) {
                    let generation = self.nodes[node].cancelled[at];
                    self.tell_in_vain(node, HubEvent::Generated { generation, text: "late ".into() });
                    self.tell_in_vain(node, HubEvent::GenerationDone { generation });
                }
            }
            Step::Beat { node, late } => self.beat(node, late),
            Step::Beaten { node, which } => {
                if let Some(at) = pick(which.into(), self.nodes[node].beats.len()) {
                    let (lease, sent_at) = self.nodes[node].beats.remove(at);
                    self.confirm(node, lease, sent_at);
                }
            }
            Step::Tick { ms } => self.now = self.now + Duration::from_millis(ms.into()),
            Step::Deadline { node } => {
                let deadline = self.nodes[node].hub.as_ref().and_then(Hub::poll_timeout);
                if let Some(deadline) = deadline {
                    self.now = self.now.max(deadline.at);
                    self.tell(node, HubEvent::Wake);
                }
            }
            Step::Wake { node } => self.tell(node, HubEvent::Wake),
            Step::Jump => self.now = self.now + LEASE_TTL + Duration::from_secs(1),
            Step::Drain { node } => self.hand_over(node, HubEvent::Drain),
            Step::HandOver { node } => self.hand_over(node, HubEvent::HandOver),
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
            Step::Send { .. }
            | Step::Edit(_)
            | Step::Interrupt { .. }
            | Step::Promote(_)
            | Step::DeleteQueued(_)
            | Step::Delete => self.request(step),
        }
    }

    /// The node with a model at work, or `node`.
    fn worker_or(&self, node: usize) -> usize {
        self.nodes.iter().position(|node| node.model.is_some()).unwrap_or(node)
    }

    fn request(&mut self, step: Step) {
        let content = Content::text("said");
        let entry = self.database.last();
        let queued = |which: u8| {
            let queue = &entry.state.queue;
            pick(which.into(), queue.len()).map(|at| queue[at].id)
        };
        let command = match step {
            Step::Send { interrupt } => {
                let mode = if interrupt { SendMode::Interrupt } else { SendMode::Queue };
                Some(Command::Send { content, mode, queue_max: 5 })
            }
            Step::Edit(which) => pick(which.into(), entry.messages.len())
                .map(|at| Command::Edit { message: entry.messages[at].id, content }),
            Step::Interrupt { named } => {
                Some(Command::Interrupt { episode: named.then(|| entry.state.present_episode()) })
            }
            Step::Promote(which) => queued(which).map(|queued| Command::Promote { queued }),
            Step::DeleteQueued(which) => queued(which).map(|queued| Command::DeleteQueued { queued }),
            Step::Delete => Some(Command::Delete),
            _ => None,
        };
        if let Some(command) = command {
            let _ = self.commit(&command);
        }
    }

    /// Commits, and gives a hint to whoever has armed the bus.
    pub(crate) fn commit(&mut self, command: &Command) -> crate::node::Acceptance {
        let applied = self.database.apply(self.now, command);
        self.note(|| format!("  database: {} {}", command.name(), crate::word(&applied)));
        let (state, changed) = applied?;
        if changed {
            self.saw(command.name());
            for node in self.nodes.iter_mut().filter(|node| node.armed) {
                node.hints.push(state.snapshot_version);
            }
        }
        Ok(state)
    }

    fn hub(&mut self, node: usize) -> &mut Hub {
        let now = self.now;
        let Node { hub, id, .. } = &mut self.nodes[node];
        hub.get_or_insert_with(|| {
            let config = HubConfig {
                replica: id.clone(),
                relays: true,
                lease_ttl: LEASE_TTL,
                episode_bytes_max: EPISODE_BYTES_MAX,
            };
            Hub::new(now, Arc::new(config))
        })
    }

    fn subscribe(&mut self, node: usize, from: From) {
        if self.viewers.len() >= VIEWERS_MAX {
            return;
        }
        let log = &self.database.log;
        let (resume, client) = match from {
            From::Fresh => (Resume::Fresh, Client::default()),
            From::After(which) => {
                let messages = &log[usize::from(which) % log.len()].messages;
                let Some(at) = pick(usize::from(which) / 7, messages.len()) else { return };
                let id = messages[at].id;
                let first = log.iter().find(|entry| entry.messages.iter().any(|m| m.id == id));
                (Resume::After(id), Client::up_to(first.expect("it was in one"), id))
            }
            From::AfterNothing => {
                let id = MessageId(1_000_000);
                (Resume::After(id), Client::astray(id))
            }
            From::Future => {
                let (id, version) = (MessageId(1_000_000), Version(1_000_000));
                let cursor = Cursor { snapshot_version: version, message: id, ..Cursor::default() };
                (Resume::At(cursor), Client::astray(id))
            }
            From::At(which) => {
                let Some(at) = pick(which.into(), self.checkpoints.len()) else { return };
                let (cursor, client) = &self.checkpoints[at];
                let cursor = Cursor::from_bytes(&cursor.to_bytes()).expect("a cursor survives its bytes");
                (Resume::At(cursor), client.resumed())
            }
        };
        self.hub(node);
        self.nodes[node].last_id += 1;
        let id = SubscriptionId(self.nodes[node].last_id);
        let live = self.nodes[node].model.map(|model| model.episode);
        let owed = live.map(|episode| (episode, self.database.produced[&episode].parts.len() as u64));
        self.viewers.push(Viewer { node, id, client, idle: false, owed });
        self.tell(node, HubEvent::Subscribe { subscription: id, from: resume });
    }

    pub(crate) fn leave(&mut self, which: usize) {
        if let Some(at) = pick(which, self.viewers.len()) {
            let viewer = self.viewers.remove(at);
            self.tell(viewer.node, HubEvent::Leave { subscription: viewer.id });
        }
    }

    /// Takes up to `events` events of a viewer's stream. Tells whether there was any.
    pub(crate) fn view(&mut self, at: usize, events: usize) -> bool {
        let (node, id) = (self.viewers[at].node, self.viewers[at].id);
        let mut any = false;
        for _ in 0..events {
            let now = self.now;
            let hub = self.nodes[node].hub.as_mut().expect("a hub with viewers stays");
            let event = hub.next_event(now, id);
            self.settle_node(node);
            let Some(event) = event else {
                self.viewers[at].idle = true;
                return any;
            };
            any = true;
            self.note(|| format!("  viewer {id} at {node}: {}", crate::event(&event)));
            self.check_silence(node, at, &event.body);
            self.count(&event.body);
            let viewer = &mut self.viewers[at];
            viewer.client.take(&event, &self.database);
            if let (Body::Synced, Some((episode, parts))) = (&event.body, viewer.owed)
                && self.nodes[node].model.is_some_and(|model| model.episode == episode)
                && viewer.client.sees_live(episode, &self.database)
            {
                let told = viewer.client.preview.as_ref().map_or(0, |preview| preview.last);
                assert!(told >= parts, "S9: synced after {told} of {parts} parts");
            }
            self.checkpoints.push((event.cursor, viewer.client.clone()));
        }
        any
    }

    fn count(&mut self, body: &Body) {
        self.saw(match body {
            Body::Message(_) => "told message",
            Body::QueueUpdate(_) => "told queue",
            Body::Status { .. } => "told status",
            Body::Error(_) => "told error",
            Body::Retry(_) => "told retry",
            Body::Parts { .. } => "told parts",
            Body::PreviewReset { .. } => "told preview_reset",
            Body::HistoryReset => "told history_reset",
            Body::Synced => "told synced",
        });
    }

    /// A worker whose lease has run out tells nothing that is not saved (S5).
    fn check_silence(&self, node: usize, viewer: usize, body: &Body) {
        let (Body::Parts { episode, .. }, Some(held)) = (body, &self.nodes[node].held) else { return };
        let produced = &self.database.produced[episode];
        if produced.by == node && produced.lease == held.lease && self.is_lapsed(node) {
            let saved = self.database.log.iter().any(|entry| {
                let client = &self.viewers[viewer].client;
                client.is_prefix_of(entry) && entry.messages.iter().any(|m| m.episode == Some(*episode))
            });
            assert!(saved, "S5: a lapsed worker tells of {episode:?}");
        }
    }

    pub(crate) fn is_lapsed(&self, node: usize) -> bool {
        self.nodes[node].held.as_ref().is_some_and(|held| held.confirmed_at + LEASE_TTL <= self.now)
    }

    pub(crate) fn acquire(&mut self, node: usize, room: bool, late: bool) {
        if self.nodes[node].held.is_some() || self.nodes[node].acquired.is_some() {
            return;
        }
        let replica = self.nodes[node].id.clone();
        if let Ok(state) = self.commit(&Command::Acquire { replica, interrupting_only: !room }) {
            self.nodes[node].acquired = Some((state, self.now, room));
            if !late {
                self.assign(node);
            }
        }
    }

    pub(crate) fn assign(&mut self, node: usize) {
        let Some((state, asked_at, room)) = self.nodes[node].acquired.take() else { return };
        let lease = state.lease;
        self.nodes[node].held =
            Some(Held { lease, confirmed_at: asked_at, was_confirmed_at: asked_at, handing_over: !room });
        self.hub(node);
        self.tell(node, HubEvent::Acquired { state, asked_at, room });
    }

    fn hand_over(&mut self, node: usize, event: HubEvent) {
        if let Some(held) = &mut self.nodes[node].held {
            held.handing_over = true;
        }
        self.tell(node, event);
    }

    pub(crate) fn beat(&mut self, node: usize, late: bool) {
        let Some(Held { lease, .. }) = self.nodes[node].held else { return };
        let id = self.nodes[node].id.clone();
        if !self.database.renew(self.now, &id, lease) {
            self.tell(node, HubEvent::LeaseLost { lease });
        } else if late {
            self.nodes[node].beats.push((lease, self.now));
        } else {
            self.confirm(node, lease, self.now);
        }
    }

    fn confirm(&mut self, node: usize, lease: Lease, sent_at: Time) {
        if let Some(held) = self.nodes[node].held.as_mut().filter(|held| held.lease == lease) {
            held.was_confirmed_at = held.confirmed_at;
            held.confirmed_at = held.confirmed_at.max(sent_at);
        }
        self.tell(node, HubEvent::LeaseConfirmed { lease, sent_at });
        if let Some(held) = &mut self.nodes[node].held {
            held.was_confirmed_at = held.confirmed_at;
        }
    }

    pub(crate) fn sync(&mut self, node: usize) {
        let gone = self.database.deleted;
        let version = if gone { Version(u64::MAX) } else { self.database.state().snapshot_version };
        self.tell(node, HubEvent::Hint { snapshot_version: version });
    }

    /// The model gives a part. It is taken unless the hub cancels the run in the same breath.
    pub(crate) fn generate(&mut self, node: usize, size: usize) {
        let Some(Model { generation, episode }) = self.nodes[node].model else { return };
        self.parts += 1;
        // Every fourth part is like the others: repeated text is not repetition.
        let text = if self.parts.is_multiple_of(4) { "é ".into() } else { format!("{} ", self.parts) };
        let text: String = text.chars().chain(std::iter::repeat_n('.', size)).take(size.max(2)).collect();
        let held = self.database.produced[&episode].text().len();
        let outgrown = held + text.len() > EPISODE_BYTES_MAX;
        self.nodes[node].outgrown = outgrown;
        self.tell(node, HubEvent::Generated { generation, text: text.clone() });
        self.nodes[node].outgrown = false;
        if self.nodes[node].model.is_some_and(|model| model.generation == generation) {
            assert!(!outgrown, "B1: an answer is bounded");
            self.database.produced.get_mut(&episode).expect("it began").parts.push(text);
            self.saw("part");
        } else if outgrown {
            self.saw("outgrown");
        }
    }

    /// The model's run is over, unless the hub cancels it in the same breath; a later one may have begun.
    fn end(&mut self, node: usize, event: HubEvent) {
        let ended = self.nodes[node].model;
        self.tell(node, event);
        let model = &mut self.nodes[node].model;
        model.take_if(|model| ended.is_some_and(|ended| ended.generation == model.generation));
    }

    pub(crate) fn answer(&mut self, node: usize, at: usize, how: How) {
        let happens = matches!(how, How::Happens | How::Done | How::DoneUnknown);
        let mut pending = self.nodes[node].pending.remove(at);
        if happens {
            self.happen(node, &mut pending);
        }
        if matches!(how, How::Happens) {
            self.nodes[node].pending.insert(at, pending);
            return;
        }
        fn outcome<T>(result: Option<T>, how: How) -> OpOutcome<T> {
            match (how, result) {
                (How::Done, Some(result)) => OpOutcome::Done(result),
                (How::Refused, None) => OpOutcome::Refused,
                _ => OpOutcome::Unknown,
            }
        }
        let event = match pending {
            Pending::Bus { op } => {
                let armed = matches!(how, How::Done);
                self.nodes[node].armed = armed;
                self.nodes[node].missed = false;
                HubEvent::BusSubscribed { op, armed }
            }
            Pending::Snapshot { op, read, .. } => {
                if let (How::Done, Some(Some(read))) = (how, &read) {
                    self.nodes[node].row = Some(read.state.clone());
                }
                HubEvent::SnapshotRead { op, outcome: outcome(read, how) }
            }
            Pending::Page { op, read, .. } => HubEvent::PageRead { op, outcome: outcome(read, how) },
            Pending::History { op, read } => {
                let outcome = outcome(read, how);
                if let OpOutcome::Done(version) = &outcome {
                    self.nodes[node].loaded = Some((op, *version));
                }
                HubEvent::HistoryLoaded { op, outcome }
            }
            Pending::Apply { op, command, done } => {
                if done.is_none() && matches!(how, How::Unknown) {
                    self.nodes[node].zombies.push(command);
                }
                HubEvent::Applied { op, outcome: outcome(done, how) }
            }
        };
        self.tell(node, event);
    }

    fn happen(&mut self, _node: usize, pending: &mut Pending) {
        match pending {
            Pending::Bus { .. } => {}
            Pending::Snapshot { known, read, .. } => {
                read.get_or_insert_with(|| self.database.snapshot(*known));
            }
            Pending::Page { after, until, read, .. } => {
                read.get_or_insert_with(|| self.database.page(*after, *until));
            }
            Pending::History { read, .. } => {
                read.get_or_insert(self.database.state().history_version);
            }
            Pending::Apply { command, done, .. } => {
                if done.is_none() {
                    *done = Some(self.commit(command));
                }
            }
        }
    }

    pub(crate) fn tell(&mut self, node: usize, event: HubEvent) {
        let now = self.now;
        let Some(hub) = self.nodes[node].hub.as_mut() else { return };
        hub.handle(now, event.clone());
        self.note(|| format!("  hub {node}: {}", crate::told(&event)));
        self.settle_node(node);
    }

    /// Tells what is nobody's any more: it must move the hub no further than the time does (R01, R36).
    pub(crate) fn tell_in_vain(&mut self, node: usize, event: HubEvent) {
        let now = self.now;
        let unmoved = self.nodes[node].hub.clone().map(|mut hub| {
            hub.handle(now, HubEvent::Wake);
            while hub.poll_action().is_some() {}
            hub.take_news();
            hub
        });
        let what = crate::told(&event);
        self.tell(node, event);
        let same = self.nodes[node].hub == unmoved.filter(|hub| !hub.is_finished());
        assert!(same, "S3: what is nobody's any more has moved the hub: {what}");
    }

    /// Carries out what a hub asks for, and looks whether it keeps its word.
    pub(crate) fn settle_node(&mut self, at: usize) {
        let Some(hub) = self.nodes[at].hub.as_mut() else { return };
        let mut actions = Vec::new();
        while let Some(action) = hub.poll_action() {
            actions.push(action);
            assert!(actions.len() <= ACTIONS_MAX, "L4: one event leads to {} actions", actions.len());
        }
        hub.assert_invariants();
        let finished = hub.is_finished();
        let news = hub.take_news();
        for action in actions {
            self.carry_out(at, action);
        }
        self.spread_news(at, news);
        self.check_rest(at);
        if finished {
            let node = &self.nodes[at];
            assert_eq!(node.open_connections(), 0, "B2: a hub that ends has no relay left");
            assert!(node.model.is_none() && node.held.is_none(), "B2: a hub that ends has no run left");
            let left = self.nodes[at].connections.iter().filter_map(|c| Some((c.peer, c.follower?)));
            let left: Vec<_> = left.collect();
            self.nodes[at].forget_hub();
            self.saw("finished");
            for (peer, follower) in left {
                self.tell(peer, HubEvent::Unfollow { follower });
            }
        } else if !self.viewers.iter().any(|viewer| viewer.node == at) {
            assert_eq!(self.nodes[at].open_connections(), 0, "B2: nobody watches, and a relay is left");
        }
    }

    /// Whoever waits for news has nothing to be told unless there is news.
    fn spread_news(&mut self, at: usize, news: bool) {
        let Self { nodes, viewers, now, .. } = self;
        let [a, b] = nodes;
        let (here, there) = if at == 0 { (a, b) } else { (b, a) };
        let waiting = viewers.iter_mut().filter(|viewer| viewer.node == at && viewer.idle);
        let following = |connection: &&mut Connection| connection.peer == at && connection.idle;
        let following = there.connections.iter_mut().filter(following);
        if news {
            waiting.for_each(|viewer| viewer.idle = false);
            following.for_each(|connection| connection.idle = false);
            return;
        }
        let Some(hub) = &here.hub else { return };
        for viewer in waiting {
            let owed = hub.clone().next_event(*now, viewer.id);
            assert!(owed.is_none(), "L1: there was no news of {}", crate::event(&owed.expect("checked")));
        }
        for connection in following {
            let follower = connection.follower.expect("who waits was let in");
            let owed = hub.clone().next_frame(*now, follower);
            assert!(owed.is_none() && !hub.is_over_for(follower), "L1: there was no news of {owed:?}");
        }
    }

    /// Woken twice, a hub has nothing more to do now (L4).
    fn check_rest(&self, at: usize) {
        let Some(hub) = self.nodes[at].hub.as_ref() else { return };
        let mut hub = hub.clone();
        for _ in 0..2 {
            if !hub.is_finished() {
                hub.handle(self.now, HubEvent::Wake);
                while hub.poll_action().is_some() {}
            }
        }
        if let Some(deadline) = hub.poll_timeout() {
            assert!(deadline.at > self.now, "L4: woken for {:?} again and again", deadline.reason);
        }
    }

    fn carry_out(&mut self, at: usize, action: HubAction) {
        self.note(|| format!("    asks: {}", crate::asked(&action)));
        self.count_action(&action);
        match action {
            HubAction::BusSubscribe { op } => self.nodes[at].pending.push(Pending::Bus { op }),
            HubAction::BusUnsubscribe => self.nodes[at].armed = false,
            HubAction::ReadSnapshot { op, known } => {
                let reading = |pending: &Pending| matches!(pending, Pending::Snapshot { .. });
                assert!(!self.nodes[at].pending.iter().any(reading), "B1: one read at a time");
                self.nodes[at].pending.push(Pending::Snapshot { op, known, read: None });
            }
            HubAction::ReadPage { op, after, until } => {
                self.saw("page");
                self.nodes[at].pending.push(Pending::Page { op, after, until, read: None });
            }
            HubAction::LoadHistory { op } => self.nodes[at].pending.push(Pending::History { op, read: None }),
            HubAction::Apply { op, command } => self.apply(at, op, command),
            HubAction::Dial { dial, worker, position } => {
                let node = &mut self.nodes[at];
                assert_eq!(node.open_connections(), 0, "T6: one dial at a time");
                let peer = match worker.as_str() {
                    "node-a" => 0,
                    "node-b" => 1,
                    _ => RIVAL,
                };
                assert_ne!(peer, at, "T8: nobody dials itself");
                let lease = node.row.as_ref().expect("the worker was read").lease;
                node.connections.push(Connection::new(dial, peer, position, lease));
            }
            HubAction::CloseDial { dial } => self.close(at, dial),
            HubAction::Start { generation, episode, history, .. } => {
                let (_, version) = self.nodes[at]
                    .loaded
                    .filter(|(op, _)| *op == history)
                    .expect("a run starts over the history that was loaded last");
                assert_eq!(version, episode.history_version, "S1: a run starts over its own history");
                assert!(self.nodes[at].model.is_none(), "S5: one run at a time");
                assert!(!self.is_lapsed(at), "S5: a lapsed worker starts nothing");
                let lease = self.nodes[at].held.as_ref().expect("S5: only a holder starts").lease;
                let began = |e: &crate::database::Entry| e.state.live_episode() == Some((episode, lease));
                assert!(self.database.log.iter().any(began), "S3: {episode:?} began in the database");
                self.nodes[at].model = Some(Model { generation, episode });
                let produced = crate::database::Produced { by: at, lease, parts: vec![] };
                let before = self.database.produced.insert(episode, produced);
                assert!(before.is_none(), "S5: {episode:?} begins once");
                self.saw("start");
            }
            HubAction::Cancel { generation } => {
                let model = self.nodes[at].model.take().expect("what is cancelled runs");
                assert_eq!(model.generation, generation, "S7: another run is cancelled");
                self.check_cancel(at, model);
                self.nodes[at].cancelled.push(generation);
                self.saw("cancel");
            }
            HubAction::RunnerGone { lease } => {
                let held = self.nodes[at].held.take().expect("a runner was there");
                assert_eq!(held.lease, lease, "the runner of another lease is gone");
                assert!(self.nodes[at].model.is_none(), "S7: a runner that goes cancels its run");
            }
        }
    }

    fn apply(&mut self, at: usize, op: OpId, command: Command) {
        assert!(!self.is_lapsed(at), "S5: a lapsed worker asks for {}", command.name());
        let held = self.nodes[at].held.as_ref().expect("S5: only a holder writes");
        if let Command::BeginAttempt { fence }
        | Command::FinishTurn { fence, .. }
        | Command::FinishInterruption { fence, .. } = &command
        {
            assert_eq!(fence.lease, held.lease, "S5: a write is fenced by the lease it is made under");
        }
        let writing = |pending: &Pending| matches!(pending, Pending::Apply { .. });
        assert!(!self.nodes[at].pending.iter().any(writing), "R34: one write at a time");
        self.nodes[at].pending.push(Pending::Apply { op, command, done: None });
    }

    /// A run is stopped because its episode is over, or because its worker is (S7).
    fn check_cancel(&self, at: usize, model: Model) {
        let held = self.nodes[at].held.as_ref().expect("a runner was there");
        // The worker may fall silent a little before its lease runs out.
        let silent = held.was_confirmed_at + LEASE_TTL * 9 / 10 <= self.now;
        let over = !self.database.wants(model.episode, held.lease);
        let outgrown = self.nodes[at].outgrown;
        assert!(
            over || silent || held.handing_over || outgrown,
            "S7: {:?} is stopped though nobody asked",
            model.episode
        );
    }
}

/// The place that a number chooses.
pub(crate) fn pick(which: usize, len: usize) -> Option<usize> {
    (len > 0).then(|| which % len)
}

impl World {
    fn close(&mut self, at: usize, dial: mainstem_machine::DialId) {
        let watched = self.viewers.iter().any(|viewer| viewer.node == at);
        let state = self.database.state();
        let node = &mut self.nodes[at];
        let spoiled = node.connections.iter().any(|connection| connection.spoiled);
        for connection in node.connections.iter_mut().filter(|c| c.dial == dial) {
            let healthy = connection.link == Link::Following && !spoiled;
            let good = state.lease == connection.lease && state.worker.is_some() && watched;
            let closing = healthy && good && node.held.is_none() && !self.database.deleted;
            assert!(!closing, "R33: a healthy relay is closed");
            connection.link = Link::Closed;
            connection.told_to_close = true;
        }
    }
}
