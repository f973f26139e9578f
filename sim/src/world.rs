//! The state that all parts of one run share: virtual clock, seed, trace, counters, and the judges.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mainstem_machine::{ChatId, StreamEvent, Time, WallTime};
use mainstem_oracles::{Evidence, FaultKind, Judge, Name, StreamId};
use mainstem_world::{Heard, Testimony};
use rand::rngs::StdRng;

use crate::arrows::{ArrowId, Fate, Standing, Way};
use crate::seed;
use crate::tally::Tally;
use crate::trace::{Kind, Trace};

/// Cheap to clone. Must be created inside a madsim runtime.
#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    seed: u64,
    time: madsim::time::TimeHandle,
    handle: madsim::runtime::Handle,
    trace: Trace,
    tally: Tally,
    judge: Mutex<Judge>,
    /// All events that each viewer received, over all its streams and chats, with the replica they came from.
    received: Mutex<BTreeMap<Name, Vec<(Name, StreamEvent)>>>,
    streams: AtomicU64,
    testimony: OnceLock<Testimony>,
}

/// The database's wall clock when a run begins.
const WALL_START: WallTime = WallTime(1_767_225_600_000);

impl World {
    pub fn new(seed: u64, trace: Trace) -> Self {
        Self::judged_by(Judge::new(), seed, trace, Tally::default())
    }

    pub fn judged_by(judge: Judge, seed: u64, trace: Trace, tally: Tally) -> Self {
        Self(Arc::new(Shared {
            seed,
            time: madsim::time::TimeHandle::current(),
            handle: madsim::runtime::Handle::current(),
            trace,
            tally,
            judge: Mutex::new(judge),
            received: Mutex::default(),
            streams: AtomicU64::new(0),
            testimony: OnceLock::new(),
        }))
    }

    /// Keeps what the judges are told.
    pub fn keep(&self, testimony: Testimony) {
        let _ = self.0.testimony.set(testimony);
    }

    /// The judges are told this.
    pub(crate) fn testify(&self, heard: impl FnOnce() -> Heard) {
        if let Some(testimony) = self.0.testimony.get() {
            testimony.push(heard());
        }
    }

    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    pub fn stream(&self, name: &str) -> StdRng {
        seed::stream(self.0.seed, name)
    }

    pub fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.0.time.elapsed().as_micros()).expect("a run is short"))
    }

    pub fn wall(&self) -> WallTime {
        WALL_START.after_ms(self.now().as_micros() / 1000)
    }

    pub fn handle(&self) -> &madsim::runtime::Handle {
        &self.0.handle
    }

    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep { alarm: Arc::default(), inner: self.0.time.sleep(duration), registered: false }
    }

    pub fn sleep_until(&self, at: Time) -> Sleep {
        self.sleep(at.since(self.now()))
    }

    pub fn trace(&self, who: &str, what: fmt::Arguments<'_>) {
        let kind = match who {
            "story" => Kind::Story,
            "judge" => Kind::Broken,
            _ => Kind::Done,
        };
        self.0.trace.write(self.now(), who, kind, what);
    }

    /// Records that a fault of this kind took effect just now (D2).
    pub fn landed(&self, fault: FaultKind, who: &str, what: fmt::Arguments<'_>) {
        self.landed_for(None, fault, who, what);
    }

    /// The same of a fault that struck what is done there for one chat.
    pub fn landed_for(&self, chat: Option<ChatId>, kind: FaultKind, who: &str, what: fmt::Arguments<'_>) {
        self.0.tally.landed(kind.as_str());
        self.0.trace.write(self.now(), who, Kind::Fault, format_args!("fault: {kind}: {what}"));
        self.observe(Evidence::Fault { kind, who: Name::from(who), other: None, chat });
    }

    /// Records that this fault is over: for the chat, if one is named.
    pub fn over(&self, kind: FaultKind, who: &str, chat: Option<ChatId>) {
        self.observe(Evidence::FaultOver { kind, who: Name::from(who), other: None, chat });
    }

    /// Whether the trace of this run is kept.
    pub fn is_watched(&self) -> bool {
        self.0.trace.keeps()
    }

    /// Records that something was sent.
    pub fn sent(&self, from: &str, to: &str, way: Way, label: fmt::Arguments<'_>) -> ArrowId {
        if self.is_watched() {
            self.0.trace.sent(self.now(), from, to, way, label)
        } else {
            ArrowId::UNRECORDED
        }
    }

    pub fn arrived(&self, id: ArrowId) {
        if self.is_watched() {
            self.0.trace.settle(id, Fate::Arrived(self.now()));
        }
    }

    pub fn lost(&self, id: ArrowId) {
        if self.is_watched() {
            self.0.trace.settle(id, Fate::Lost(self.now()));
        }
    }

    pub fn stands(&self, who: &str, standing: Standing) {
        if self.is_watched() {
            self.0.trace.stands(self.now(), who, standing);
        }
    }

    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Passes evidence to the judges. Violations are written to the trace.
    pub fn observe(&self, evidence: Evidence) {
        let at = self.now();
        self.testify(|| Heard::Evidence(at, evidence.clone()));
        self.judge(|judge| {
            if let Evidence::Saw { stream, event } = &evidence
                && let Some(watcher) = judge.index().watcher(*stream)
            {
                let mut received = self.0.received.lock().expect("what was received is whole");
                let event = (watcher.on.clone(), event.clone());
                received.entry(watcher.name.clone()).or_default().push(event);
            }
            for found in judge.observe(at, evidence) {
                self.trace("judge", format_args!("{found}"));
            }
        });
    }

    /// All events that a viewer received, over all its streams and chats, with the replica they came from.
    pub fn received(&self, viewer: &str) -> Vec<(Name, StreamEvent)> {
        let received = self.0.received.lock().expect("what was received is whole");
        received.get(viewer).cloned().unwrap_or_default()
    }

    /// Ends the run for the judges: later evidence is ignored.
    pub fn finish(&self) {
        let at = self.now();
        self.testify(|| Heard::Finished(at));
        self.judge(|judge| {
            for found in judge.finish(at) {
                self.trace("judge", format_args!("{found}"));
            }
        });
    }

    /// A new id for a stream, for the judges.
    pub fn next_stream(&self) -> StreamId {
        StreamId(self.0.streams.fetch_add(1, Ordering::Relaxed))
    }

    pub fn judge<T>(&self, with: impl FnOnce(&mut Judge) -> T) -> T {
        with(&mut self.0.judge.lock().expect("the judge is whole"))
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World(seed {})", self.0.seed)
    }
}

/// A pause. madsim's own one registers a timer each time it is polled; this one registers only one.
pub struct Sleep {
    alarm: Arc<Alarm>,
    inner: madsim::time::Sleep,
    registered: bool,
}

#[derive(Default)]
struct Alarm(Mutex<Option<Waker>>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(waker) = self.0.lock().expect("a waker is kept").take() {
            waker.wake();
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.inner.is_elapsed() {
            return Poll::Ready(());
        }
        *self.alarm.0.lock().expect("a waker is kept") = Some(cx.waker().clone());
        if !self.registered {
            self.registered = true;
            let waker = Waker::from(self.alarm.clone());
            let _ = Pin::new(&mut self.inner).poll(&mut Context::from_waker(&waker));
        }
        Poll::Pending
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleep")
    }
}
