//! The environment of a simulated host: madsim's time and tasks, and our own network.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use madsim::runtime::NodeHandle;
use mainstem_machine::Time;
use mainstem_runtime::ports::{Env, TaskHandle};
use rand::Rng;
use rand::rngs::StdRng;

use crate::arrows::Standing;
use crate::net::{Listener, Net, Stream};
use crate::pulse::Pulse;
use crate::world::{Sleep, World};

/// One incarnation of one host. The tasks it spawns end with it.
#[derive(Clone)]
pub struct SimEnv(Arc<Host>);

struct Host {
    name: String,
    world: World,
    net: Net,
    node: NodeHandle,
    /// The number of the incarnation of the host.
    life: u64,
    entropy: Mutex<StdRng>,
    tasks: Arc<AtomicUsize>,
    clock: Mutex<Clock>,
    pulse: Pulse,
}

/// The clock of the host, which may run fast or slow.
#[derive(Clone, Copy)]
struct Clock {
    /// Its reading at the last change of its rate, and when that was.
    shown: Time,
    at: Time,
    /// By how many thousandths it runs fast.
    drift: i32,
}

impl Clock {
    fn read(self, now: Time) -> Time {
        self.shown + scaled(now.since(self.at), 1000 + self.drift, 1000)
    }
}

fn scaled(span: Duration, numerator: i32, denominator: i32) -> Duration {
    if numerator == denominator {
        return span;
    }
    let whole = |n: i32| u128::try_from(n).expect("a pace is more than nothing");
    let micros = span.as_micros() * whole(numerator) / whole(denominator);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

impl SimEnv {
    /// The host must be up in `net`.
    pub fn new(world: &World, net: &Net, name: &str) -> Self {
        let life = net.life(name);
        let node = world.handle().create_node().name(format!("{name}.{life}")).build();
        let entropy = Mutex::new(world.stream(&format!("entropy {name} {life}")));
        let (world, net, name) = (world.clone(), net.clone(), name.to_owned());
        let clock = Mutex::new(Clock { shown: world.now(), at: world.now(), drift: 0 });
        let (tasks, pulse) = (Arc::default(), Pulse::default());
        Self(Arc::new(Host { name, world, net, node, life, entropy, tasks, clock, pulse }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// Tasks of this incarnation that have not ended.
    pub fn tasks(&self) -> usize {
        self.0.tasks.load(Ordering::Relaxed)
    }

    /// Ends all tasks of this incarnation at once. Take the host down in the network first, so that nothing
    /// they do while they are dropped reaches anybody.
    pub fn kill(&self) {
        self.0.world.handle().kill(self.0.node.id());
    }

    /// Makes its clock run fast by this many thousandths from now on.
    pub fn set_drift(&self, drift: i32) {
        let mut clock = self.0.clock.lock().expect("a clock is whole");
        let now = self.0.world.now();
        *clock = Clock { shown: clock.read(now), at: now, drift };
    }

    fn clock(&self) -> Clock {
        *self.0.clock.lock().expect("a clock is whole")
    }

    pub fn pause(&self) {
        self.0.world.stands(&self.0.name, Standing::Paused);
        self.0.world.handle().pause(self.0.node.id());
    }

    pub fn resume(&self) {
        self.0.world.stands(&self.0.name, Standing::Up);
        self.0.world.handle().resume(self.0.node.id());
    }
}

impl fmt::Debug for SimEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimEnv({}.{})", self.0.name, self.0.life)
    }
}

/// Counts a task while it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Env for SimEnv {
    type Stream = Stream;
    type Listener = Listener;
    type Sleep = Sleep;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        let counted = Counted::new(&self.0.tasks);
        let handle = self.0.node.spawn(async move {
            let _counted = counted;
            task.await;
        });
        let abort = handle.abort_handle();
        TaskHandle::new(move || abort.abort())
    }

    fn now(&self) -> Time {
        let now = self.0.world.now();
        self.0.pulse.tick(&self.0.name, now);
        self.clock().read(now)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.world.sleep(scaled(duration, 1000, 1000 + self.clock().drift))
    }

    async fn listen(&self, address: &str) -> io::Result<Listener> {
        self.0.net.listen(&self.0.name, address)
    }

    fn local_address(&self, listener: &Listener) -> io::Result<String> {
        Ok(listener.address().to_owned())
    }

    fn accept<'a>(
        &self,
        listener: &'a mut Listener,
    ) -> impl Future<Output = io::Result<Stream>> + Send + use<'a> {
        listener.accept()
    }

    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Stream>> + Send {
        self.0.net.connect(&self.0.name, address)
    }

    fn entropy(&self) -> u64 {
        self.0.entropy.lock().expect("the generator is whole").random()
    }
}
