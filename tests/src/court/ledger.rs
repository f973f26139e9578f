//! Where everybody who takes part in a run says what happens, as it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use mainstem_machine::{CallResult, ReplicaId};
use mainstem_oracles::{Evidence, FaultKind, Life, Name, RunId, StreamId};

use super::commits::Fact;

/// What was heard, before it is evidence.
#[derive(Debug)]
pub(super) enum Heard {
    Evidence(Evidence),
    Fact(Fact),
    /// A replica asks a model.
    Begun {
        run: RunId,
        replica: ReplicaId,
        /// What the user said last.
        prompt: String,
        /// What came of calls stands behind it.
        has_results: bool,
    },
    /// A tool that knows a call by what the model named it, which no other call of the run is named, says this of it.
    Called {
        replica: Name,
        call: Arc<str>,
        what: CallNews,
    },
}

/// What a tool says of a call.
#[derive(Clone, Debug)]
pub(super) enum CallNews {
    Begun { is_repeatable: bool },
    Returned(CallResult),
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Vec<(i64, Heard)>>,
    /// How often faults took effect, by the names of their kinds.
    landed: Mutex<BTreeMap<&'static str, u64>>,
    streams: AtomicU64,
    runs: AtomicUsize,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Shared>);

/// Microseconds of Unix time, as the database on this machine counts them too.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

impl Ledger {
    fn hear(&self, heard: Heard) {
        // Stamped under the lock: what is taken out is older than what comes later.
        let mut all = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((now(), heard));
    }

    pub fn say(&self, evidence: Evidence) {
        self.hear(Heard::Evidence(evidence));
    }

    /// The same, of something that happened at that time.
    pub fn say_of(&self, at: i64, evidence: Evidence) {
        let mut all = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((at, Heard::Evidence(evidence)));
    }

    /// The time, for [`Self::say_of`].
    pub fn now(&self) -> i64 {
        now()
    }

    /// A replica asks a model. `prompt`: what the user said last; `has_results`: what came of calls stands behind it.
    pub fn begun(&self, replica: &str, prompt: String, has_results: bool) -> RunId {
        let run = RunId(self.0.runs.fetch_add(1, Ordering::Relaxed));
        let replica = ReplicaId::new(replica).expect("stories name replicas so");
        self.hear(Heard::Begun { run, replica, prompt, has_results });
        run
    }

    /// A replica has a tool begin with a call that the tool knows by its name alone: no other call of the run is named so.
    pub fn call_begun(&self, replica: &str, call: &str, is_repeatable: bool) {
        let (replica, call) = (replica.into(), call.into());
        self.hear(Heard::Called { replica, call, what: CallNews::Begun { is_repeatable } });
    }

    /// What comes of such a call, before the replica hears of it.
    pub fn call_returned(&self, replica: &str, call: &str, result: CallResult) {
        let (replica, call) = (replica.into(), call.into());
        self.hear(Heard::Called { replica, call, what: CallNews::Returned(result) });
    }

    pub fn next_stream(&self) -> StreamId {
        StreamId(self.0.streams.fetch_add(1, Ordering::Relaxed))
    }

    pub fn lived(&self, replica: &str, life: Life) {
        self.say(Evidence::Lived { replica: replica.into(), life });
    }

    /// A fault affects this host, or the link from it to the other one.
    pub fn fault(&self, kind: FaultKind, who: &str, other: Option<&str>) {
        *self.landed_by_name().entry(kind.as_str()).or_default() += 1;
        self.say(Evidence::Fault { kind, who: who.into(), other: other.map(Into::into), chat: None });
    }

    fn landed_by_name(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.landed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often faults of this kind took effect so far.
    pub fn landed(&self, kind: &str) -> u64 {
        self.landed_by_name().get(kind).copied().unwrap_or_default()
    }

    pub(super) fn take(&self) -> Vec<(i64, Heard)> {
        std::mem::take(&mut *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
