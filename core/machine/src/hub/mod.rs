//! The hub: one chat at one replica, while it has a viewer, a follower or a run there.
//!
//! [`Hub::take`] is its one door: a value in, a value out. What has happened goes in there, and so does that a viewer or
//! a follower can take more: its next event or frame is computed only then, so nothing is queued.
//! [`Hub::poll_timeout`] says when to wake the hub.

mod action;
mod audience;
mod cached;
mod call_runs;
mod database;
mod episodes;
mod event;
mod follower;
mod holding;
mod input;
mod joined_parts;
mod measure;
mod outbox;
mod reader;
mod relay;
mod runner;
mod subscription;
mod upstream;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;

pub use action::{Deadline, HubAction, Reason};
use audience::Pages;
use cached::CachedChat;
use episodes::Episodes;
pub use event::{
    AudienceEvent, BusEvent, ChatEvent, DatabaseEvent, HubEvent, LeaseEvent, LeavingEvent, ModelEvent,
    Noticed, OpOutcome, RelayEvent, ToolEvent,
};
use follower::Follower;
pub use input::{Input, Output, Told};
pub use joined_parts::JoinedParts;
pub use measure::Measure;
use outbox::Outbox;
use reader::Reader;
use relay::Relay;
use runner::{HandOver, Runner};
use subscription::Subscription;

use crate::bus_subscription::BusSubscription;
use crate::limits::{FOLLOWERS_MAX, HUB_RETENTION, NOTICED_ROWS_MAX, PAGE_READS_MAX, SUBSCRIPTIONS_MAX};
use crate::marks::sometimes;
use crate::{
    CachedVersions, ChatState, Ending, FollowerId, RelayFault, ReplicaId, SubscriptionId, Time, Version,
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
    /// Answers of one turn that may end with calls.
    pub tool_steps_max: u64,
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
///     AudienceEvent, BusEvent, DatabaseEvent, Hub, HubAction, HubConfig, HubEvent, Input, JoinedParts, OpOutcome,
///     Output, Told,
/// };
/// use mainstem_machine::{Body, ChatId, Command, Content, Effect, NewMessage, ReplicaId, Resume};
/// use mainstem_machine::{Snapshot, Status, StoreFacts, SubscriptionId, Tail, Time, WallTime};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let config = HubConfig {
///     replica: ReplicaId::new("a").unwrap(),
///     relays: false,
///     lease_ttl: Duration::from_secs(15),
///     episode_bytes_max: 8 << 20,
///     tool_steps_max: 32,
/// };
/// let mut now = Time::START;
/// let mut hub = Hub::new(now, Arc::new(config));
/// let mut joined = JoinedParts::default();
/// let mut tell = |hub: &mut Hub, at, what| hub.take(Input { at, what }, &mut joined);
///
/// // A viewer comes. The bus goes before the read, so that no change falls between the two.
/// let viewer = SubscriptionId(1);
/// let comes = HubEvent::Audience(AudienceEvent::Subscribe { subscription: viewer, from: Resume::Fresh, user: None });
/// let said = tell(&mut hub, now, Told::Event(comes));
/// let [HubAction::BusSubscribe { op }] = said.actions[..] else { panic!() };
/// assert!(hub.poll_timeout().is_some(), "it does not wait for ever");
///
/// now = now + Duration::from_millis(3);
/// let said = tell(&mut hub, now, Told::Event(HubEvent::Bus(BusEvent::Subscribed { op, established: true })));
/// let [HubAction::ReadSnapshot { op, cached: None }] = said.actions[..] else { panic!() };
///
/// // What the database has: a chat that was created with a message.
/// let create = Command::Create {
///     chat: ChatId(uuid::Uuid::from_u128(1)),
///     owner: "ann".into(),
///     settings: Default::default(),
///     messages: NewMessage::opening(Some(Content::text("hello"))),
/// };
/// let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
/// let Effect::Changed(created) = create.apply_to(None, Some("ann"), &facts).effect else { panic!() };
/// let messages = created.inserted.into_iter().map(Arc::new).collect();
/// let tail = Tail::Newest { messages, from_start: true };
/// let snapshot = Snapshot { state: created.state, tail };
///
/// now = now + Duration::from_millis(2);
/// let read = HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome: OpOutcome::Done(Some(snapshot)) });
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
/// tell(&mut hub, now, Told::Event(HubEvent::Audience(AudienceEvent::Leave { subscription: viewer })));
/// let viewer = SubscriptionId(2);
/// let comes = HubEvent::Audience(AudienceEvent::Subscribe { subscription: viewer, from: Resume::At(told[1].cursor), user: None });
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
    noticed: BTreeMap<Version, Noticed>,
    episodes: Episodes,
    relay: Relay,
    runner: Option<Runner>,
    last_generation: u64,
    /// Boxed: a map of few has room for many, and most chats have one viewer.
    subscriptions: BTreeMap<SubscriptionId, Box<Subscription>>,
    followers: BTreeMap<FollowerId, Follower>,
    pages: Pages,
    ending: Option<Ending>,
    idle_since: Option<Time>,
    finished: bool,
    news: bool,
    out: Outbox,
}

impl Hub {
    /// A hub that knows nothing yet. It subscribes to the bus and reads when it is given its first event.
    pub fn new(now: Time, config: Arc<HubConfig>) -> Self {
        Self {
            config,
            bus_subscription: BusSubscription::new(),
            reader: Reader::default(),
            cached: None,
            noticed: BTreeMap::new(),
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
        let runner = self.runner.iter().flat_map(Runner::deadlines);
        parts
            .into_iter()
            .flatten()
            .chain(self.episodes.deadline())
            .chain(idle)
            .chain(pages)
            .chain(runner)
            .min()
    }

    /// Why the streams of the viewers end once all remaining events are sent; `None` if they go on.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
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

    /// The newest row of the chat that is known here.
    pub fn row(&self) -> Option<&Arc<ChatState>> {
        let known = [self.cached.as_ref().map(|cached| &cached.state), self.runner.as_ref().map(Runner::row)];
        known.into_iter().flatten().max_by_key(|row| row.snapshot_version)
    }

    fn is_named_worker(&self) -> bool {
        self.cached.as_ref().is_some_and(|cached| cached.state.worker.as_ref() == Some(&self.config.replica))
    }

    fn apply(&mut self, now: Time, event: HubEvent) {
        match event {
            HubEvent::Audience(event) => self.on_audience(event),
            HubEvent::Bus(event) => self.on_bus(now, event),
            HubEvent::Chat(event) => self.on_chat(now, event),
            HubEvent::Database(event) => self.on_database(now, event),
            HubEvent::Lease(event) => self.on_lease(now, event),
            HubEvent::Relay(event) => self.on_relay(now, event),
            HubEvent::Model(event) => self.on_model(now, event),
            HubEvent::Tool(event) => self.on_tool(now, event),
            HubEvent::Leaving(event) => self.on_leaving(now, event),
            HubEvent::Wake => {}
        }
    }

    fn on_leaving(&mut self, now: Time, event: LeavingEvent) {
        match event {
            LeavingEvent::Drain => {
                self.with_runner(now, |runner, _| runner.hand_over(HandOver::AfterTurn));
            }
            LeavingEvent::HandOver => {
                self.with_runner(now, |runner, _| runner.hand_over(HandOver::Now));
            }
            LeavingEvent::Close => self.end(Ending::Leaving),
        }
    }

    fn end(&mut self, ending: Ending) {
        if ending == Ending::Deleted && self.ending.is_none() {
            sometimes!("a hub ends with its chat");
        }
        self.ending = self.ending.or(Some(ending));
        self.news = true;
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
        assert!(self.noticed.len() <= NOTICED_ROWS_MAX, "B1: rows that wait for a read are bounded");
        let newest = self.snapshot_version();
        assert!(self.noticed.keys().all(|version| *version > newest), "B2: what is behind is let go");
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
