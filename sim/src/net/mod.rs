//! The simulated network: byte streams between hosts, with latency, bounded windows, and the faults that a
//! kernel's TCP has. madsim's own network is too kind for this: its partitions break no connection, and
//! closes cross them.
//!
//! Each stream delivers in order. Data in flight is bounded, and a full window blocks the writer. Each fault
//! is counted where it takes effect (D2). A crashed host reaches nobody any more.

mod dial;
mod faults;
mod frames;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use mainstem_machine::Time;
use rand::Rng;
use rand::rngs::StdRng;

use crate::arrows::{ArrowId, Standing, Way};
use crate::world::World;

pub use faults::Death;
pub use mainstem_story::DialRule;
pub use stream::{Listener, Stream};

/// Bytes in flight in one direction of a connection (B1).
const WINDOW: usize = 64 * 1024;
/// Connections that wait to be accepted at one address (B1).
const BACKLOG_MAX: usize = 128;
/// The default latency of one direction.
const LATENCY: Duration = Duration::from_millis(1);

/// All hosts and links. Cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Mutex<Inner>>);

struct Inner {
    world: World,
    rng: StdRng,
    /// The default jitter of links.
    vary: Duration,
    hosts: BTreeMap<String, Host>,
    listeners: BTreeMap<String, Backlog>,
    /// By the host that writes, and the one that reads.
    links: BTreeMap<String, BTreeMap<String, Link>>,
    connections: BTreeMap<u64, Connection>,
    dials: BTreeMap<u64, Dial>,
    /// The number of dials so far, by direction.
    dialed: BTreeMap<(String, String), u64>,
    last_id: u64,
}

#[derive(Clone, Copy)]
struct Host {
    up: bool,
    /// The machine vanished: nothing answers, not even with a refusal.
    vanished: bool,
    life: u64,
}

struct Backlog {
    host: String,
    waiting: VecDeque<Stream>,
    acceptor: Option<Waker>,
}

#[derive(Clone)]
struct Link {
    latency: Duration,
    /// Random latency, up to this much, is added for each write.
    jitter: Duration,
    clogged: bool,
    /// The fault of each kind that no write has met yet (D2).
    awaits_clog: bool,
    awaits_delay: bool,
    dials: DialRule,
    /// The rule for the next dial only.
    next_dial: Option<DialRule>,
}

impl Link {
    fn new(jitter: Duration) -> Self {
        Self {
            latency: LATENCY,
            jitter,
            clogged: false,
            awaits_clog: false,
            awaits_delay: false,
            dials: DialRule::Through,
            next_dial: None,
        }
    }

    fn rules_dials(&self) -> bool {
        self.dials != DialRule::Through || self.next_dial.is_some()
    }
}

/// A dial in flight.
struct Dial {
    from: String,
    to: String,
    address: String,
    waker: Option<Waker>,
    /// When it will be decided; `None` while it hangs.
    due: Option<Time>,
    refused: bool,
    arrow: ArrowId,
}

/// A connection between the host that dialed (end 0) and the one that accepted (end 1).
struct Connection {
    ends: [End; 2],
    /// `pipes[n]` carries what end `n` writes.
    pipes: [Pipe; 2],
    /// Half-open: nothing arrives any more, without any error.
    silent: bool,
    silence_landed: bool,
    way: Way,
}

/// The listener at an address.
fn way_to(address: &str) -> Way {
    if address.ends_with(":edge") { Way::Client } else { Way::Relay }
}

struct End {
    host: String,
    life: u64,
    /// The stream has not been dropped.
    open: bool,
    /// Every use of it fails.
    reset: Option<Time>,
}

#[derive(Default)]
struct Pipe {
    /// In order of arrival.
    flight: VecDeque<Chunk>,
    used: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The data of one write, in flight. An empty chunk is the end of the stream.
struct Chunk {
    arrives: Time,
    bytes: Vec<u8>,
    arrow: ArrowId,
}

impl Pipe {
    /// Drops everything in flight, which is counted as lost.
    fn lose(&self, world: &World) {
        self.flight.iter().for_each(|chunk| world.lost(chunk.arrow));
    }

    /// Drops everything in flight because the reader is gone. An end of the stream does not count as lost.
    fn leave_unread(&self, world: &World) {
        for chunk in &self.flight {
            if chunk.bytes.is_empty() { world.arrived(chunk.arrow) } else { world.lost(chunk.arrow) }
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Net {
    pub fn new(world: &World) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            world: world.clone(),
            rng: world.stream("network"),
            vary: Duration::ZERO,
            hosts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            dials: BTreeMap::new(),
            dialed: BTreeMap::new(),
            last_id: 0,
        })))
    }

    /// Sets the default jitter, for new links and for links whose faults are cleared.
    pub fn set_vary(&self, vary: Duration) {
        self.lock().vary = vary;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("the network is whole")
    }

    /// Brings a host up, for the first time or again.
    pub fn bring_up(&self, host: &str) {
        let mut net = self.lock();
        let life = net.hosts.get(host).map_or(0, |host| host.life) + 1;
        net.hosts.insert(host.to_owned(), Host { up: true, vanished: false, life });
        net.world.stands(host, Standing::Up);
    }

    /// The number of the host's current incarnation.
    pub fn life(&self, host: &str) -> u64 {
        self.lock().hosts.get(host).map_or(0, |host| host.life)
    }

    /// The number of undecided dials from one host to another.
    pub fn dials_in_flight(&self, from: &str, to: &str) -> usize {
        self.lock().dials.values().filter(|dial| dial.from == from && dial.to == to).count()
    }

    /// The number of dials so far from one host to another.
    pub fn dialed(&self, from: &str, to: &str) -> u64 {
        self.lock().dialed.get(&(from.to_owned(), to.to_owned())).copied().unwrap_or_default()
    }

    /// The number of open connections that `from` dialed to `to`.
    pub fn connections(&self, from: &str, to: &str) -> usize {
        let holds = |c: &&Connection| c.ends[0].open && c.ends[0].host == from && c.ends[1].host == to;
        self.lock().connections.values().filter(holds).count()
    }

    /// Binds `host:port`; port 0 is any.
    pub(crate) fn listen(&self, host: &str, address: &str) -> io::Result<Listener> {
        let mut net = self.lock();
        let (at, port) = address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        if at != host || !net.is_up(host) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let address = if port == "0" { format!("{host}:{}", 40_000 + net.id()) } else { address.to_owned() };
        if net.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let backlog = Backlog { host: host.to_owned(), waiting: VecDeque::new(), acceptor: None };
        net.listeners.insert(address.clone(), backlog);
        let life = net.hosts[host].life;
        Ok(Listener::new(self.clone(), address, host.to_owned(), life))
    }
}

impl Inner {
    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn is_up(&self, host: &str) -> bool {
        self.hosts.get(host).is_some_and(|host| host.up)
    }

    fn link(&mut self, from: &str, to: &str) -> &mut Link {
        let is_known = self.links.get(from).is_some_and(|links| links.contains_key(to));
        if !is_known {
            let link = Link::new(self.vary);
            self.links.entry(from.to_owned()).or_default().insert(to.to_owned(), link);
        }
        self.links.get_mut(from).and_then(|links| links.get_mut(to)).expect("it is there")
    }

    /// The arrival time of data that is written now, without regard to earlier data.
    fn arrival(&mut self, from: &str, to: &str) -> Time {
        let Link { latency, jitter, .. } = self.link(from, to).clone();
        let most = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX);
        let extra = if most == 0 { 0 } else { self.rng.random_range(0..=most) };
        self.world.now() + latency + Duration::from_micros(extra)
    }

    /// Whether the end still belongs to the incarnation that opened it.
    fn is_alive(&self, end: &End) -> bool {
        self.hosts.get(&end.host).is_some_and(|host| host.up && host.life == end.life)
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

#[cfg(test)]
mod tests;
