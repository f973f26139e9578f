//! The simulated bus. As told, it loses, delays, reorders or duplicates notices, and refuses subscriptions,
//! ends them, or silently stops delivering to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use madsim::runtime::NodeHandle;
use mainstem_machine::Time;
use mainstem_oracles::{Evidence, FaultKind, Operation};
use mainstem_runtime::ports::{Bus, BusError, BusSubscription, Notice, Topic};
pub use mainstem_story::BusFaults;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use crate::arrows::{ArrowId, Way};
use crate::world::World;

/// From publishing to delivery.
const LATENCY: Duration = Duration::from_millis(1);
/// Notices that wait for one subscriber. A subscriber with more loses its subscription (B1).
const WAITING_MAX: usize = 1024;

/// One for all replicas. Cheap to clone.
#[derive(Clone)]
pub struct Messenger(Arc<Shared>);

struct Shared {
    world: World,
    node: NodeHandle,
    state: Mutex<State>,
}

struct State {
    rng: StdRng,
    last_id: u64,
    subscribers: BTreeMap<u64, Subscriber>,
    faults: BTreeMap<String, BusFaults>,
    /// Subscriptions that silently get nothing any more.
    silent: BTreeSet<u64>,
    /// Notices in flight, by time of arrival, and then in the order of sending.
    flight: BTreeMap<(Time, u64), (u64, Notice, ArrowId)>,
}

struct Subscriber {
    replica: String,
    topic: Topic,
    queue: mpsc::Sender<Notice>,
}

impl Messenger {
    pub fn new(world: &World) -> Self {
        let node = world.handle().create_node().name("bus").build();
        let state = State {
            rng: world.stream("bus"),
            last_id: 0,
            subscribers: BTreeMap::new(),
            faults: BTreeMap::new(),
            silent: BTreeSet::new(),
            flight: BTreeMap::new(),
        };
        Self(Arc::new(Shared { world: world.clone(), node, state: Mutex::new(state) }))
    }

    /// The bus, as one replica uses it.
    pub fn bus(&self, replica: &str) -> SimBus {
        SimBus { messenger: self.clone(), replica: replica.to_owned() }
    }

    pub fn set_faults(&self, replica: &str, faults: BusFaults) {
        let before = self.with(|state| state.faults.insert(replica.to_owned(), faults)).unwrap_or_default();
        for over in kinds(before).into_iter().filter(|kind| !kinds(faults).contains(kind)) {
            self.0.world.over(over, replica, None);
        }
    }

    pub fn faults(&self, replica: &str) -> BusFaults {
        self.with(|state| state.faults.get(replica).copied().unwrap_or_default())
    }

    /// Ends the replica's current subscriptions, visibly.
    pub fn disconnect(&self, replica: &str) {
        let ended = self.with(|state| {
            let mine = state.subscribers.extract_if(.., |_, subscriber| subscriber.replica == replica);
            mine.count()
        });
        if ended > 0 {
            self.0.world.landed(FaultKind::BusLost, replica, format_args!("{ended} subscriptions"));
        }
    }

    /// Silently stops delivery to the replica's current subscriptions.
    pub fn silence(&self, replica: &str) {
        self.with(|state| {
            let mine = state.subscribers.iter().filter(|(_, subscriber)| subscriber.replica == replica);
            state.silent.extend(mine.map(|(id, _)| *id));
        });
    }

    /// Subscriptions of a replica to chats (not to work).
    pub fn subscriptions(&self, replica: &str) -> usize {
        let counts = |s: &&Subscriber| s.replica == replica && matches!(s.topic, Topic::Chat(_));
        self.with(|state| state.subscribers.values().filter(counts).count())
    }

    /// Removes the subscriptions of a replica that crashed.
    pub fn forget(&self, replica: &str) {
        self.with(|state| state.subscribers.retain(|_, subscriber| subscriber.replica != replica));
    }

    /// Ends silent subscriptions, as happens when a connection is found to be dead.
    pub fn clear_faults(&self) {
        self.with(|state| {
            state.faults.clear();
            let silent = std::mem::take(&mut state.silent);
            state.subscribers.retain(|id, _| !silent.contains(id));
        });
    }

    pub fn announce(&self, from: &str, notice: &Notice) {
        let world = &self.0.world;
        let ids: Vec<u64> = self.with(|state| {
            let interested = state.subscribers.iter().filter(|(_, s)| s.topic.takes(notice));
            interested.map(|(id, _)| *id).collect()
        });
        world.trace(from, format_args!("announces version {}", notice.snapshot_version));
        world.observe(Evidence::Announced {
            replica: from.into(),
            chat: notice.chat,
            version: notice.snapshot_version,
        });
        for id in ids {
            let (replica, faults, silent) = self.with(|state| {
                let replica = state.subscribers[&id].replica.clone();
                let faults = state.faults.get(&replica).copied().unwrap_or_default();
                (replica, faults, state.silent.contains(&id))
            });
            let version = notice.snapshot_version;
            if faults.lost || silent {
                let fault = if silent { FaultKind::BusSilent } else { FaultKind::NoticeLost };
                world.landed(fault, &replica, format_args!("version {version}"));
                world.lost(world.sent("bus", &replica, Way::Bus, format_args!("version {version}")));
                continue;
            }
            self.deliver(id, &replica, faults, notice);
            if faults.doubled {
                world.landed(FaultKind::NoticeDoubled, &replica, format_args!("version {version}"));
                self.deliver(id, &replica, faults, notice);
            }
        }
    }

    fn deliver(&self, id: u64, replica: &str, faults: BusFaults, notice: &Notice) {
        let most = u64::try_from(faults.scattered.as_micros()).unwrap_or(u64::MAX);
        let extra = if most == 0 { 0 } else { self.with(|state| state.rng.random_range(0..=most)) };
        let late = faults.late + Duration::from_micros(extra);
        if !late.is_zero() {
            let ms = late.as_millis();
            self.0.world.landed(
                FaultKind::NoticeLate,
                replica,
                format_args!("by {ms} ms: {}", notice.snapshot_version),
            );
        }
        let world = &self.0.world;
        let due = world.now() + LATENCY + late;
        let arrow = world.sent("bus", replica, Way::Bus, format_args!("version {}", notice.snapshot_version));
        self.with(|state| {
            state.last_id += 1;
            state.flight.insert((due, state.last_id), (id, notice.clone(), arrow));
        });
        let this = self.clone();
        drop(self.0.node.spawn(async move {
            this.0.world.sleep_until(due).await;
            this.with(|state| state.land(&this.0.world));
        }));
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().expect("the bus is whole"))
    }
}

/// The kinds of faults that are in force.
fn kinds(faults: BusFaults) -> Vec<FaultKind> {
    let late = !faults.late.is_zero() || !faults.scattered.is_zero();
    let kinds = [
        (faults.lost, FaultKind::NoticeLost),
        (faults.doubled, FaultKind::NoticeDoubled),
        (late, FaultKind::NoticeLate),
        (faults.refuses, FaultKind::BusRefused),
        (faults.hangs, FaultKind::BusHangs),
    ];
    kinds.into_iter().filter(|(there, _)| *there).map(|(_, kind)| kind).collect()
}

impl State {
    /// Delivers the notices that have arrived, in order. A subscriber that falls behind loses its
    /// subscription.
    fn land(&mut self, world: &World) {
        let now = world.now();
        while let Some(first) = self.flight.first_entry().filter(|first| first.key().0 <= now) {
            let (id, notice, arrow) = first.remove();
            let taken = self.subscribers.get(&id).map(|s| s.queue.try_send(notice).is_ok());
            match taken {
                Some(true) => world.arrived(arrow),
                Some(false) => drop(self.subscribers.remove(&id)),
                None => {}
            }
            world.lost(arrow);
        }
    }
}

impl fmt::Debug for Messenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Messenger")
    }
}

trait Takes {
    fn takes(&self, notice: &Notice) -> bool;
}

impl Takes for Topic {
    fn takes(&self, notice: &Notice) -> bool {
        match self {
            Self::Chat(chat) => *chat == notice.chat,
            Self::Work => notice.free,
        }
    }
}

/// The bus, as one replica uses it.
#[derive(Clone, Debug)]
pub struct SimBus {
    messenger: Messenger,
    replica: String,
}

/// Unsubscribes when it is dropped.
struct Subscribed {
    messenger: Messenger,
    id: u64,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.messenger.with(|state| {
            state.silent.remove(&self.id);
            state.subscribers.remove(&self.id)
        });
    }
}

#[async_trait]
impl Bus for SimBus {
    async fn subscribe(&self, topic: Topic) -> Result<BusSubscription, BusError> {
        let (bus, world) = (&self.messenger, &self.messenger.0.world);
        world.observe(Evidence::Operated { replica: self.replica.as_str().into(), what: Operation::Bus });
        world.sleep(LATENCY).await;
        let mut reported = false;
        while bus.faults(&self.replica).hangs {
            if !std::mem::replace(&mut reported, true) {
                world.landed(FaultKind::BusHangs, &self.replica, format_args!("a subscription"));
            }
            world.sleep(LATENCY * 10).await;
        }
        if bus.faults(&self.replica).refuses {
            world.landed(FaultKind::BusRefused, &self.replica, format_args!("a subscription"));
            return Err(BusError("it takes no subscriptions now".into()));
        }
        let (queue, mut notices) = mpsc::channel(WAITING_MAX);
        let id = bus.with(|state| {
            state.last_id += 1;
            let subscriber = Subscriber { replica: self.replica.clone(), topic, queue };
            state.subscribers.insert(state.last_id, subscriber);
            state.last_id
        });
        let subscribed = Subscribed { messenger: bus.clone(), id };
        let notices = futures::stream::poll_fn(move |cx| {
            let _held = &subscribed;
            notices.poll_recv(cx)
        });
        // The way back to the subscriber. Notices published in the meantime wait in the queue.
        world.sleep(LATENCY).await;
        Ok(notices.boxed())
    }

    async fn publish(&self, notice: Notice) -> Result<(), BusError> {
        let world = &self.messenger.0.world;
        let version = notice.snapshot_version;
        world.arrived(world.sent(&self.replica, "bus", Way::Bus, format_args!("version {version}")));
        self.messenger.announce(&self.replica, &notice);
        Ok(())
    }
}
