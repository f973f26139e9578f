//! Brings real runs before the laboratory's judges: what the database committed, what the models said, what became of
//! their calls, what viewers were shown, what users asked and were told, and what was done to whom, in the order in which it happened.
//!
//! All of it is stamped by the one clock of this machine, and so that what has a cause is stamped behind it: a commit
//! where its transaction writes, what a model says before it is sent, what a viewer sees after it was read.

mod commits;
mod events;
mod ledger;
mod rows;
mod transitions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{ChatId, Command, Episode, ReplicaId, Role, Time, Version};
use mainstem_oracles::{
    Evidence, Guarantee, Judge, Moment, Name, RunId, Settings, Violation, WorldFacts, begins_attempt,
};
use mainstem_world::Heard as Told;

pub use commits::replica_url;
use commits::{Fact, Witness};
pub use events::{cursor, first_of_page, parse, sent};
pub use ledger::Ledger;
use ledger::{CallNews, Heard, now};

/// What a loaded machine adds: a second of the guarantees' own lasts this long here. Leases and intervals are the
/// servers' and last as long as they say.
pub const PATIENCE: u32 = 4;

/// How long it may take until it is heard here that a replica has closed the connection to its model, which it does
/// before it commits what the model had said, or to a tool that it waits for no longer.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// A judge of one run, and what it was told.
#[derive(Debug)]
pub struct Court {
    began: i64,
    witness: Witness,
    ledger: Ledger,
    /// What was heard and is not judged yet.
    waiting: Vec<(i64, Heard)>,
    judge: Judge,
    told: Vec<Told>,
    last: Time,
    attempts: BTreeMap<RunId, (ChatId, Episode)>,
    runs: BTreeMap<(ChatId, Episode), RunId>,
    returned: BTreeSet<Called>,
}

/// A call of a server's tool: its chat, the history that ends with it, and its name.
type Called = (ChatId, Version, Arc<str>);

/// What has to be heard before a commit is judged.
#[derive(Debug)]
enum Lacking {
    /// Of a run.
    End(RunId),
    /// Of a call.
    Return(Called),
}

impl Lacking {
    fn is(&self, heard: &Heard) -> bool {
        match (self, heard) {
            (Self::End(run), Heard::Evidence(Evidence::RunEnded { run: ended, .. })) => run == ended,
            (
                Self::Return((chat, of, call)),
                Heard::Evidence(Evidence::CallReturned { chat: in_it, of: then, call: it, .. }),
            ) => (chat, of, call) == (in_it, then, it),
            (Self::Return((_, _, call)), Heard::Called { call: it, what: CallNews::Returned(_), .. }) => {
                call == it
            }
            _ => false,
        }
    }
}

impl Court {
    /// Judges what happens in the database of this URL from now on. `settings` are those of its servers; `ledger` is
    /// where everybody who takes part says what happens.
    pub async fn open(url: &str, settings: Settings, ledger: Ledger) -> Self {
        let witness = Witness::call(url, settings.lease_ttl).await;
        let mut court = Self {
            began: now(),
            witness,
            ledger,
            waiting: vec![],
            judge: Judge::new(),
            told: vec![],
            last: Time::START,
            attempts: BTreeMap::new(),
            runs: BTreeMap::new(),
            returned: BTreeSet::new(),
        };
        let Settings { lease_ttl, poll_interval, drain_timeout, tool_timeout, .. } = settings;
        let [lease_ttl, poll_interval, drain_timeout, tool_timeout] =
            [lease_ttl, poll_interval, drain_timeout, tool_timeout].map(|span| span / PATIENCE);
        let judged = Settings { lease_ttl, poll_interval, drain_timeout, tool_timeout, ..settings };
        court.tell(Time::START, Evidence::Settings(judged));
        court
    }

    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// The judge's time.
    fn time(&self, at: i64) -> Time {
        let since = u64::try_from(at.saturating_sub(self.began)).unwrap_or(0);
        Time::from_micros(since / u64::from(PATIENCE))
    }

    /// Tells the judge all that has happened. `Err`: the first guarantee that was broken.
    pub async fn hear(&mut self) -> Result<(), Violation> {
        // What has followed from a commit is heard before the commits are read, so that they come first.
        let until = now();
        self.waiting.extend(self.ledger.take());
        let commits = self.witness.commits().await;
        self.waiting.extend(commits.into_iter().map(|(at, fact)| (at, Heard::Fact(fact))));
        self.waiting.sort_by_key(|(at, heard)| (*at, !matches!(heard, Heard::Fact(_))));
        let due = self.waiting.partition_point(|(at, _)| *at <= until);
        let mut due: VecDeque<_> = self.waiting.drain(..due).collect();
        'due: while let Some((stamp, heard)) = due.pop_front() {
            while let Some(lacking) = self.lacks(&heard) {
                let found = due.iter().position(|(_, heard)| lacking.is(heard)).and_then(|at| due.remove(at));
                match found {
                    Some((_, found)) => self.hear_one(self.time(stamp), found),
                    _ if until - stamp < micros(CLOSED_WITHIN) => {
                        due.push_front((stamp, heard));
                        break 'due;
                    }
                    _ => break,
                }
            }
            self.hear_one(self.time(stamp), heard);
        }
        self.waiting.splice(..0, due);
        // Time passes for those who wait for something.
        let waiting = self.waiting.len() as u64;
        self.tell(
            self.time(until),
            Evidence::Measured { what: "evidence ahead", value: waiting, max: u64::MAX },
        );
        self.verdict()
    }

    fn hear_one(&mut self, at: Time, heard: Heard) {
        match heard {
            Heard::Evidence(evidence) => self.tell(at, evidence),
            Heard::Fact(Fact::Renewed { replica, chat, lease, at, asked }) => {
                let (at, sent) = (self.time(at), self.time(asked));
                let (of, by) = (replica.clone(), replica);
                self.tell_of_then(at, Evidence::Confirmed { replica: of, chat, lease, sent });
                self.tell_of_then(at, Evidence::Assured { replica: by, chat, lease, sent });
            }
            Heard::Fact(Fact::Committed { mut change, at, asked }) => {
                change.asked = self.time(asked);
                // Leases are counted from the database's own time.
                self.tell_of_then(self.time(at), Evidence::Committed(change));
            }
            Heard::Begun { run, replica, prompt, has_results } => {
                self.begin(at, run, replica, &prompt, has_results);
            }
            Heard::Called { replica, call, what } => self.call(at, replica, call, what),
        }
    }

    /// `Err`: the first guarantee that was broken.
    pub fn verdict(&self) -> Result<(), Violation> {
        self.judge.verdict().cloned().map_or(Ok(()), Err)
    }

    fn tell(&mut self, at: Time, evidence: Evidence) {
        self.last = self.last.max(at);
        self.tell_of_then(self.last, evidence);
    }

    fn tell_of_then(&mut self, at: Time, evidence: Evidence) {
        if let Evidence::CallReturned { chat, of, call, .. } = &evidence {
            self.returned.insert((*chat, *of, call.clone()));
        }
        self.told.push(Told::Evidence(at, evidence.clone()));
        self.judge.observe(at, evidence);
    }

    /// What a commit follows from, if it was not heard so far: who closes a connection is heard here when the other end
    /// notices.
    fn lacks(&self, heard: &Heard) -> Option<Lacking> {
        let Heard::Fact(Fact::Committed { change, .. }) = heard else { return None };
        match &change.command {
            Command::FinishInterruption { fence, .. } => {
                self.is_cut_short_by(change.chat, fence.episode).map(Lacking::End)
            }
            Command::CommitResults { fence, results } => {
                let of = |call: &Arc<str>| (change.chat, fence.episode.history_version, call.clone());
                let mut calls = results.iter().map(|(call, _)| of(call));
                calls.find(|call| !self.returned.contains(call)).map(Lacking::Return)
            }
            _ => None,
        }
    }

    /// The run whose partial answer is committed now, if it has not ended as far as is known.
    fn is_cut_short_by(&self, chat: ChatId, episode: Episode) -> Option<RunId> {
        let run = self.runs.get(&(chat, episode)).copied()?;
        let has_ended = self.judge.index().run(chat, episode).is_some_and(|run| run.ended.is_some());
        (!has_ended).then_some(run)
    }

    /// A model was asked. It does not know of what chat or attempt: it is the newest attempt of that replica that no
    /// model was asked for, in a chat whose question this is.
    fn begin(&mut self, at: Time, run: RunId, replica: ReplicaId, prompt: &str, has_results: bool) {
        let index = self.judge.index();
        let begins = |chat: ChatId, moment: &Moment| {
            let begins = begins_attempt(&moment.command, &moment.state);
            let worker = moment.state.worker.as_ref().filter(|_| begins)?;
            let episode = moment.state.present_episode();
            let question = moment.history.iter().rfind(|message| message.role == Role::User);
            let asks = question.is_some_and(|question| prompt.ends_with(&question.content.to_text()))
                && moment.history.last().is_some_and(|last| (last.role == Role::Tool) == has_results);
            let is_it = *worker == replica && asks && index.run(chat, episode).is_none();
            is_it.then_some((moment.at, chat, episode))
        };
        let of_chat = |(chat, past): (ChatId, &mainstem_oracles::Past)| {
            past.moments.iter().rev().find_map(|moment| begins(chat, moment))
        };
        let newest: Option<(Time, ChatId, Episode)> = index.chats().filter_map(of_chat).max();
        let Some((_, chat, episode)) = newest else {
            let why = format!("{replica} asks a model {prompt:?}, for no attempt that it began");
            return self.judge.overdue(at, Guarantee::S5, why);
        };
        self.attempts.insert(run, (chat, episode));
        self.runs.insert((chat, episode), run);
        self.tell(at, Evidence::RunStarted { run, replica, chat, episode });
    }

    /// A tool says something of a call that it knows by its name alone: it is that of the step that was committed with it.
    fn call(&mut self, at: Time, replica: Name, call: Arc<str>, what: CallNews) {
        let calls = |moment: &&Moment| {
            let is_step = matches!(moment.command, Command::CommitStep { .. });
            is_step && moment.state.calls.iter().any(|open| open.id == call)
        };
        let of_chat = |(chat, past): (ChatId, &mainstem_oracles::Past)| {
            past.moments.iter().find(calls).map(|moment| (chat, moment.state.history_version))
        };
        let found = self.judge.index().chats().find_map(of_chat);
        let Some((chat, of)) = found else {
            let why = format!("{replica} begins {call}, which no step that was committed has called");
            return self.judge.overdue(at, Guarantee::S11, why);
        };
        let evidence = match what {
            CallNews::Begun { is_repeatable } => {
                Evidence::CallBegun { replica, chat, of, call, is_repeatable }
            }
            CallNews::Returned(result) => Evidence::CallReturned { replica, chat, of, call, result },
        };
        self.tell(at, evidence);
    }

    /// The chat that a model was asked for.
    pub fn chat_of(&self, run: RunId) -> Option<ChatId> {
        self.attempt_of(run).map(|(chat, _)| chat)
    }

    /// The chat and the attempt that a model was asked for.
    pub fn attempt_of(&self, run: RunId) -> Option<(ChatId, Episode)> {
        self.attempts.get(&run).copied()
    }

    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    pub fn now(&self) -> Time {
        self.time(now())
    }

    /// The first of these guarantees that does not hold yet, and why.
    pub fn missing(&mut self, ids: &[Guarantee], facts: WorldFacts) -> Option<(Guarantee, String)> {
        let facts = WorldFacts { now: self.last, ..facts };
        let missing = self.judge.missing(ids, &facts);
        if missing.is_none() {
            self.told.push(Told::Holds(ids.to_vec(), facts));
        }
        missing
    }

    /// Records that a guarantee does not hold at the end of its bound.
    pub fn overdue(&mut self, id: Guarantee, why: String) {
        self.judge.overdue(self.last, id, why);
    }

    /// The run is over. Returns all that the judge was told.
    pub fn close(mut self) -> Result<Vec<Told>, Violation> {
        self.judge.finish(self.last);
        self.told.push(Told::Finished(self.last));
        self.verdict()?;
        Ok(self.told)
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// How long something may take that the judges' time would give this long.
pub fn patient(span: Duration) -> Duration {
    span * PATIENCE
}
