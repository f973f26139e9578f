//! The hub: one chat at one replica, while it has a viewer, a follower or a run there.
//!
//! [`Hub::take`] is its one door: a value in, a value out. What has happened goes in there, and so does that a viewer or
//! a follower can take more: its next event or frame is computed only then, so nothing is queued.
//! [`Hub::poll_timeout`] says when to wake the hub.

mod cached;
mod episodes;
mod event;
mod follower;
mod input;
mod joined_parts;
mod measure;
mod outbox;
mod reader;
mod relay;
mod runner;
mod subscription;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::time::Duration;

use cached::CachedChat;
use episodes::{Episodes, Gap, Source};
pub use event::{Deadline, HubAction, HubEvent, OpOutcome, Reason};
use follower::Follower;
pub use input::{Input, Output, Told};
pub use joined_parts::JoinedParts;
pub use measure::Measure;
use outbox::Outbox;
use reader::Reader;
use relay::{Relay, Target};
use runner::{Again, HandOver, Runner, RunnerContext};
use subscription::{Step, Subscription};

use crate::backoff::Backoff;
use crate::bus_subscription::BusSubscription;
use crate::limits::{FOLLOWERS_MAX, HUB_RETENTION, PAGE_READS_MAX, SUBSCRIPTIONS_MAX};
use crate::marks::sometimes;
use crate::{
    CachedVersions, ChatState, DialId, Ending, FollowerId, OpId, Page, RelayFault, RelayFrame, ReplicaId,
    Snapshot, StreamEvent, SubscriptionId, Time, Version,
};

/// The settings that all hubs of a replica share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HubConfig {
    /// This replica.
    pub replica: ReplicaId,
    /// Whether the replica has peers to follow.
    pub relays: bool,
    /// How long a lease lasts without a heartbeat.
    pub lease_ttl: Duration,
    /// Bytes of text of one answer.
    pub episode_bytes_max: usize,
}

/// One chat at one replica: what it knows of the database, the parts at hand, its viewers and followers, the
/// relay to the worker or the run of the model.
///
/// Hand in by [`take`](Self::take) whatever happens, carry out the actions that it answers with, in their order, and
/// wake the hub by [`HubEvent::Wake`] at [`poll_timeout`](Self::poll_timeout) unless something else comes first. If
/// the answer says that there is news, ask for what viewers and followers are told next, each when its socket can take
/// it: [`Told::NextEvent`], [`Told::NextFrame`]; either may lead to a read. The clock never goes back.
///
/// ```
/// use mainstem_machine::hub::{
///     Hub, HubAction, HubConfig, HubEvent, Input, JoinedParts, OpOutcome, Output, Told,
/// };
/// use mainstem_machine::{Body, ChatId, Command, Content, Effect, ReplicaId, Resume};
/// use mainstem_machine::{Snapshot, Status, StoreFacts, SubscriptionId, Tail, Time, WallTime};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let config = HubConfig {
///     replica: ReplicaId::new("a").unwrap(),
///     relays: false,
///     lease_ttl: Duration::from_secs(15),
///     episode_bytes_max: 8 << 20,
/// };
/// let mut now = Time::START;
/// let mut hub = Hub::new(now, Arc::new(config));
/// let mut joined = JoinedParts::default();
/// let mut tell = |hub: &mut Hub, at, what| hub.take(Input { at, what }, &mut joined);
///
/// // A viewer comes. The bus goes before the read, so that no change falls between the two.
/// let viewer = SubscriptionId(1);
/// let comes = HubEvent::Subscribe { subscription: viewer, from: Resume::Fresh };
/// let said = tell(&mut hub, now, Told::Event(comes));
/// let [HubAction::BusSubscribe { op }] = said.actions[..] else { panic!() };
/// assert!(hub.poll_timeout().is_some(), "it does not wait for ever");
///
/// now = now + Duration::from_millis(3);
/// let said = tell(&mut hub, now, Told::Event(HubEvent::BusSubscribed { op, established: true }));
/// let [HubAction::ReadSnapshot { op, cached: None }] = said.actions[..] else { panic!() };
///
/// // What the database has: a chat that was created with a message.
/// let create = Command::Create {
///     chat: ChatId(uuid::Uuid::from_u128(1)),
///     owner: "ann".into(),
///     title: None,
///     model: None,
///     content: Some(Content::text("hello")),
/// };
/// let facts = StoreFacts { now: WallTime(0), lease_expired: false, message_role: None };
/// let Effect::Changed(created) = create.apply_to(None, Some("ann"), &facts).effect else { panic!() };
/// let messages = created.inserted.into_iter().map(Arc::new).collect();
/// let tail = Tail::Newest { messages, from_start: true };
/// let snapshot = Snapshot { state: created.state, tail };
///
/// now = now + Duration::from_millis(2);
/// let read = HubEvent::SnapshotRead { op, outcome: OpOutcome::Done(Some(snapshot)) };
/// let said = tell(&mut hub, now, Told::Event(read));
///
/// // Now there is something to tell: the message, the status, and that this was all.
/// assert_eq!(said, Output { actions: vec![], event: None, frame: None, news: true });
/// let mut told = vec![];
/// while let Some(event) = tell(&mut hub, now, Told::NextEvent(viewer)).event {
///     told.push(event);
/// }
/// assert!(matches!(&told[0].body, Body::Message(message) if message.content.to_text() == "hello"));
/// assert!(matches!(&told[1].body, Body::Status { status: Status::Running, .. }));
/// assert_eq!((&told[2].body, told.len()), (&Body::Synced, 3));
///
/// // It goes, and comes back with the cursor of what it had read: nothing is told again.
/// tell(&mut hub, now, Told::Event(HubEvent::Leave { subscription: viewer }));
/// let viewer = SubscriptionId(2);
/// let comes = HubEvent::Subscribe { subscription: viewer, from: Resume::At(told[1].cursor) };
/// tell(&mut hub, now, Told::Event(comes));
/// let next = tell(&mut hub, now, Told::NextEvent(viewer)).event;
/// assert_eq!(next.map(|event| event.body), Some(Body::Synced));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hub {
    config: Arc<HubConfig>,
    bus_subscription: BusSubscription,
    reader: Reader,
    cached: Option<CachedChat>,
    episodes: Episodes,
    relay: Relay,
    runner: Option<Runner>,
    last_generation: u64,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    followers: BTreeMap<FollowerId, Follower>,
    pages: Pages,
    ending: Option<Ending>,
    idle_since: Option<Time>,
    finished: bool,
    news: bool,
    out: Outbox,
}

/// Reads of pages: which viewers wait for one, which are in flight, and the delay after a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Pages {
    wanted: BTreeSet<SubscriptionId>,
    reading: BTreeMap<OpId, SubscriptionId>,
    backoff: Backoff,
    retry_at: Option<Time>,
}

impl Hub {
    /// A hub that knows nothing yet. It subscribes to the bus and reads when it is given its first event.
    pub fn new(now: Time, config: Arc<HubConfig>) -> Self {
        Self {
            config,
            bus_subscription: BusSubscription::new(),
            reader: Reader::default(),
            cached: None,
            episodes: Episodes::default(),
            relay: Relay::default(),
            runner: None,
            last_generation: 0,
            subscriptions: BTreeMap::new(),
            followers: BTreeMap::new(),
            pages: Pages::default(),
            ending: None,
            idle_since: Some(now),
            finished: false,
            news: false,
            out: Outbox::default(),
        }
    }

    fn handle(&mut self, now: Time, event: HubEvent) {
        assert!(!self.finished, "a finished hub takes no events");
        self.check_lease(now);
        self.apply(now, event);
        self.settle(now);
    }

    /// When to wake the hub, if no event comes first. May lie in the past only until the next wake-up.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.finished {
            return None;
        }
        let idle =
            self.idle_since.map(|at| Deadline { at: at + HUB_RETENTION, reason: Reason::HubRetention });
        let pages = self.pages.retry_at.map(|at| Deadline { at, reason: Reason::ReadRetry });
        let reader = self.reader.deadline().filter(|_| self.may_read());
        let parts = [self.bus_subscription.deadline(), reader, self.relay.deadline()];
        let runner = self.runner.iter().flat_map(|runner| runner.deadlines(&self.config));
        parts
            .into_iter()
            .flatten()
            .chain(self.episodes.deadline())
            .chain(idle)
            .chain(pages)
            .chain(runner)
            .min()
    }

    /// The next event of a viewer, if there is one. May request a read.
    fn next_event(
        &mut self,
        now: Time,
        subscription: SubscriptionId,
        joined: &mut JoinedParts,
    ) -> Option<StreamEvent> {
        self.check_lease(now);
        let cached = self.cached.as_ref()?;
        let viewer = self.subscriptions.get_mut(&subscription)?;
        let suspended_lease = self.runner.as_ref().and_then(Runner::suspended_lease);
        let (reader, deleted) = (&self.reader, self.ending == Some(Ending::Deleted));
        // A read that found no chat says nothing about a cursor that is ahead of the cached state.
        let is_past = |mark| !deleted && reader.is_past(mark);
        let step = viewer.next(cached, &self.episodes, joined, suspended_lease, is_past);
        match step {
            Step::Event(event) => return Some(event),
            Step::Nothing => {}
            Step::Page => {
                if viewer.wants_page() {
                    self.pages.wanted.insert(subscription);
                    self.settle_pages(now);
                }
            }
            Step::FreshRead(mark) => {
                self.reader.want_past(mark);
                self.settle_reader(now);
            }
        }
        None
    }

    /// The next frame of a follower, if there is one. May request a read.
    fn next_frame(&mut self, now: Time, follower: FollowerId) -> Option<RelayFrame> {
        self.check_lease(now);
        let came = self.followers.get(&follower)?.came;
        match &self.runner {
            Some(runner) if runner.suspended_lease().is_some() => return None,
            Some(_) => {}
            // The run has ended since: a read tells whether this replica works on the chat at all.
            None => {
                self.reader.want_past(came);
                self.settle_reader(now);
            }
        }
        self.followers.get_mut(&follower)?.next_frame(&self.episodes)
    }

    /// Why the streams of the viewers end once all remaining events are sent; `None` if they go on.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Whether a follower has nothing more to wait for, because this replica does not work on the chat.
    pub fn is_over_for(&self, follower: FollowerId) -> bool {
        let Some(follower) = self.followers.get(&follower) else { return true };
        let is_past = self.reader.is_past(follower.came);
        self.ending.is_some() || (self.runner.is_none() && is_past && !self.is_named_worker())
    }

    /// Whether one more viewer can be admitted (B1).
    pub fn has_capacity_for_viewer(&self) -> bool {
        self.subscriptions.len() < SUBSCRIPTIONS_MAX
    }

    /// Whether one more follower can be admitted (B1).
    pub fn has_capacity_for_follower(&self) -> bool {
        self.followers.len() < FOLLOWERS_MAX
    }

    /// The hub had no viewer, follower or run for `HUB_RETENTION`, and holds nothing any more: drop it.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Which state of the chat is cached here, so that a read need not return it again.
    pub fn cached(&self) -> Option<CachedVersions> {
        self.cached.as_ref().map(CachedChat::cached_versions)
    }

    /// The version of the chat that is cached here.
    pub fn snapshot_version(&self) -> Version {
        self.cached.as_ref().map_or(Version(0), |cached| cached.state.snapshot_version)
    }

    fn is_named_worker(&self) -> bool {
        self.cached.as_ref().is_some_and(|cached| cached.state.worker.as_ref() == Some(&self.config.replica))
    }

    fn check_lease(&mut self, now: Time) {
        let newly_suspended =
            self.with_runner(now, |runner, context| runner.check_lease(context)).unwrap_or(false);
        self.news |= newly_suspended;
    }

    fn with_runner<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Runner, &mut RunnerContext<'_>) -> T,
    ) -> Option<T> {
        let runner = self.runner.as_mut()?;
        let mut context = RunnerContext {
            now,
            config: &self.config,
            episodes: &mut self.episodes,
            reader: &mut self.reader,
            last_generation: &mut self.last_generation,
            out: &mut self.out,
        };
        Some(act(runner, &mut context))
    }

    fn apply(&mut self, now: Time, event: HubEvent) {
        match event {
            HubEvent::Generated { generation, text } => {
                let grew =
                    self.with_runner(now, |runner, context| runner.on_generated(generation, &text, context));
                self.news |= grew.unwrap_or(false);
            }
            HubEvent::Relayed { dial, frame } => self.on_relayed(now, dial, frame),
            HubEvent::GenerationDone { generation, completion } => {
                self.with_runner(now, |runner, context| {
                    runner.on_generation_done(generation, completion, context);
                });
            }
            HubEvent::GenerationFailed { generation, error, retryable, retry_after, entropy } => {
                self.with_runner(now, |runner, context| {
                    let again = retryable.then_some(Again { retry_after, entropy });
                    runner.on_generation_failed(generation, error, again, context);
                });
            }
            HubEvent::GenerationBrokeOff { generation, entropy } => {
                self.with_runner(now, |runner, context| {
                    runner.on_generation_broke_off(generation, entropy, context);
                });
            }
            HubEvent::Subscribe { subscription, from } => {
                assert!(self.has_capacity_for_viewer(), "B1: viewers are bounded");
                let viewer = Subscription::new(from, self.reader.want_fresh_unless(self.cached.is_some()));
                let replaced = self.subscriptions.insert(subscription, viewer);
                assert!(replaced.is_none(), "a subscription's id is used once");
                self.news = true;
            }
            HubEvent::Leave { subscription } => {
                self.subscriptions.remove(&subscription);
                self.pages.wanted.remove(&subscription);
            }
            HubEvent::Follow { follower, position } => {
                assert!(self.has_capacity_for_follower(), "B1: followers are bounded");
                let came = self.reader.want_fresh_unless(self.runner.is_some());
                self.followers.insert(follower, Follower::new(position, came));
                self.news = true;
            }
            HubEvent::Unfollow { follower } => drop(self.followers.remove(&follower)),
            HubEvent::BusSubscribed { op, established } => {
                if self.bus_subscription.on_subscribed(now, op, established) {
                    self.reader.want();
                }
            }
            HubEvent::BusLost => {
                self.bus_subscription.on_lost(now);
                self.reader.want();
            }
            HubEvent::Hint { snapshot_version } => {
                self.reader.want_version(snapshot_version);
            }
            // A read of its own says whether the chat is gone.
            HubEvent::NotFound => self.reader.want(),
            HubEvent::Committed { state } => self.on_committed(now, &state),
            HubEvent::SnapshotRead { op, outcome } => self.on_snapshot(now, op, outcome),
            HubEvent::PageRead { op, outcome } => self.on_page(now, op, outcome),
            HubEvent::HistoryLoaded { op, outcome } => {
                let loaded = matches!(outcome, OpOutcome::Done(_));
                let kept = self.with_runner(now, |runner, context| runner.on_loaded(op, outcome, context));
                if loaded && !kept.unwrap_or(false) {
                    self.out.push(HubAction::DropHistory { op });
                }
            }
            HubEvent::Applied { op, outcome } => {
                if let OpOutcome::Done(Ok(state)) = &outcome {
                    self.on_committed(now, state);
                }
                self.with_runner(now, |runner, context| runner.on_applied(op, &outcome, context));
                self.news = true;
            }
            HubEvent::Acquired { state, asked_at, has_slot } => {
                self.on_acquired(now, state, asked_at, has_slot)
            }
            HubEvent::LeaseConfirmed { lease, sent_at } => {
                self.with_runner(now, |runner, context| runner.on_confirmed(lease, sent_at, context));
                self.news = true;
            }
            HubEvent::LeaseLost { lease } => {
                if self.runner.as_ref().is_some_and(|runner| runner.lease() == lease) {
                    // The row decides, not the heartbeat: the answer only prompts a read.
                    self.reader.want();
                }
            }
            HubEvent::Located { replica, address } => self.on_located(now, &replica, address),
            HubEvent::Dialed { dial } => self.relay.on_dialed(dial, &mut self.out),
            HubEvent::RelayGone { dial, fault } => {
                self.relay.on_gone(now, dial, fault);
                self.reader.want();
            }
            HubEvent::Drain => {
                self.with_runner(now, |runner, _| runner.hand_over(HandOver::AfterTurn));
            }
            HubEvent::HandOver => {
                self.with_runner(now, |runner, _| runner.hand_over(HandOver::Now));
            }
            HubEvent::Close => self.end(Ending::Leaving),
            HubEvent::Wake => {}
        }
    }

    fn end(&mut self, ending: Ending) {
        if ending == Ending::Deleted && self.ending.is_none() {
            sometimes!("a hub ends with its chat");
        }
        self.ending = self.ending.or(Some(ending));
        self.news = true;
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

    /// This replica committed a new row. It has to be read again only if messages came with it.
    fn on_committed(&mut self, now: Time, state: &Arc<ChatState>) {
        if self.cached.as_mut().is_some_and(|cached| cached.merge_row(state)) {
            self.news = true;
            self.on_newer_row(now);
        } else {
            self.reader.want_version(state.snapshot_version);
        }
    }

    /// Handles a newer row in the cache.
    fn on_newer_row(&mut self, now: Time) {
        let Some(cached) = &self.cached else { return };
        let state = cached.state.clone();
        let live = state.live_episode().map(|(episode, _)| episode);
        self.episodes.settle_all_but(now, live, state.present_episode());
        self.with_runner(now, |runner, _| runner.observe(&state));
    }

    fn on_page(&mut self, now: Time, op: OpId, outcome: OpOutcome<Option<Page>>) {
        let Some(subscription) = self.pages.reading.remove(&op) else { return };
        let viewer = self.subscriptions.get_mut(&subscription).filter(|viewer| viewer.is_reading(op));
        let (Some(viewer), Some(cached)) = (viewer, &self.cached) else { return };
        match outcome {
            OpOutcome::Done(page) => {
                self.pages.backoff.reset();
                sometimes!("a page is read");
                if !page.is_some_and(|page| viewer.on_page(page, cached)) {
                    sometimes!("a page is of another history");
                    viewer.await_read(self.reader.want_fresh());
                }
            }
            OpOutcome::Refused | OpOutcome::Unknown => {
                viewer.on_page_failed();
                self.pages.wanted.insert(subscription);
                self.pages.retry_at = Some(now + self.pages.backoff.next_delay());
            }
        }
        self.news = true;
    }

    fn on_acquired(&mut self, now: Time, state: Arc<ChatState>, asked_at: Time, has_slot: bool) {
        self.dismiss_runner(now);
        let handing_over = if has_slot { HandOver::No } else { HandOver::AfterTurn };
        self.runner = Some(Runner::new(state, asked_at, handing_over));
        // The answer may have arrived so late that the lease has expired already (S5).
        self.check_lease(now);
        if let Some(cached) = &self.cached {
            let row = cached.state.clone();
            self.with_runner(now, |runner, _| runner.observe(&row));
        }
        self.reader.want();
    }

    fn dismiss_runner(&mut self, now: Time) {
        let Some(runner) = self.runner.take() else { return };
        let mut context = RunnerContext {
            now,
            config: &self.config,
            episodes: &mut self.episodes,
            reader: &mut self.reader,
            last_generation: &mut self.last_generation,
            out: &mut self.out,
        };
        runner.leave(&mut context);
        self.news = true;
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
                    self.reader.want();
                }
            }
        }
    }

    /// Lets each part act on the new state, in one pass. The order matters: whether to relay depends on the
    /// runner, and the runner may request a read.
    fn settle(&mut self, now: Time) {
        if self.finished {
            return;
        }
        self.settle_runner(now);
        self.settle_relay(now);
        self.settle_pages(now);
        self.settle_reader(now);
        self.episodes.drop_expired(now);
        self.settle_idle(now);
    }

    fn settle_runner(&mut self, now: Time) {
        let Some(runner) = &self.runner else { return };
        if self.ending == Some(Ending::Deleted) || !runner.is_holder(&self.config) {
            return self.dismiss_runner(now);
        }
        self.with_runner(now, |runner, context| runner.settle(context));
    }

    fn settle_relay(&mut self, now: Time) {
        let wanted = self.wanted_target();
        if wanted.is_none() && self.relay.target().is_none() {
            return;
        }
        self.relay.settle(now, wanted, &mut self.out);
    }

    /// The worker to follow: another replica, while there are viewers here.
    fn wanted_target(&self) -> Option<Target> {
        let state: &ChatState = &self.cached.as_ref()?.state;
        let here = self.ending.is_some() || self.subscriptions.is_empty() || self.runner.is_some();
        if here || !self.config.relays || self.is_named_worker() {
            return None;
        }
        state.worker.clone().map(|worker| Target { chat: state.id, worker, lease: state.lease })
    }

    fn settle_reader(&mut self, now: Time) {
        if self.bus_subscription.expire(now) {
            self.reader.want();
        }
        if self.bus_subscription.is_due(now) {
            let op = self.out.ask(|op| HubAction::BusSubscribe { op });
            self.bus_subscription.begin(now, op);
        }
        if self.may_read() {
            let cached = self.cached.as_ref().map(CachedChat::cached_versions);
            self.reader.settle(now, cached, &mut self.out);
        }
    }

    fn may_read(&self) -> bool {
        self.bus_subscription.is_answered() && self.ending.is_none()
    }

    fn settle_pages(&mut self, now: Time) {
        if self.pages.wanted.is_empty() {
            self.pages.retry_at = None;
        }
        if self.pages.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.pages.retry_at = None;
        let Some(cached) = &self.cached else { return };
        let until = cached.state.last_message;
        while self.pages.reading.len() < PAGE_READS_MAX
            && let Some(subscription) = self.pages.wanted.pop_first()
        {
            let Some(viewer) = self.subscriptions.get_mut(&subscription) else { continue };
            let after = viewer.message();
            let op = self.out.ask(|op| HubAction::ReadPage { op, after, until });
            viewer.begin_page(op);
            self.pages.reading.insert(op, subscription);
        }
    }

    fn settle_idle(&mut self, now: Time) {
        let busy = !self.subscriptions.is_empty() || !self.followers.is_empty() || self.runner.is_some();
        match self.idle_since {
            _ if busy => self.idle_since = None,
            None => self.idle_since = Some(now),
            Some(since) if since + HUB_RETENTION <= now && self.out.is_empty() => {
                self.out.push(HubAction::BusUnsubscribe);
                assert!(self.relay.target().is_none(), "B2: a hub that nobody needs leaves no relay behind");
                self.finished = true;
            }
            Some(_) => {}
        }
    }

    /// Checks all invariants with a full scan. For tests and simulations.
    pub fn assert_invariants(&self) {
        self.episodes.assert_invariants();
        if let Some(cached) = &self.cached {
            cached.assert_invariants();
        }
        if let Some(runner) = &self.runner {
            runner.assert_invariants(&self.episodes);
            assert!(self.relay.target().is_none(), "T8: who works on a chat follows nobody");
        }
        if self.subscriptions.is_empty() {
            assert!(self.relay.target().is_none(), "B2: no relay is left when nobody watches");
        }
        assert!(self.pages.reading.len() <= PAGE_READS_MAX, "B1: page reads are bounded");
        assert!(self.subscriptions.len() <= SUBSCRIPTIONS_MAX, "B1: viewers are bounded");
        assert!(self.followers.len() <= FOLLOWERS_MAX, "B1: followers are bounded");
        if self.finished {
            assert!(self.subscriptions.is_empty() && self.followers.is_empty(), "B2: nobody is left behind");
            assert!(self.runner.is_none(), "B2: no runner is left behind");
        }
    }
}

impl RelayFault {
    /// A stable name, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::NotWorker => "not_worker",
            Self::Denied => "denied",
            Self::Nonsense => "nonsense",
        }
    }
}
