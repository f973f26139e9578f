//! Plays a story in a cluster: performs its sentences and waits for its expectations. In the recovery phase
//! at the end it clears all faults, and requires that all viewers agree with the database and that nothing is
//! left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use mainstem_machine::hub::Measure;
use mainstem_machine::{ChatId, Completion, RunError, Time, limits};
use mainstem_oracles::{Evidence, FaultKind, Guarantee, Standing, WorldFacts};
use mainstem_runtime::ports::{Env, Generated, Notice};
use mainstem_runtime::tape::Recording;

use mainstem_world::Heard;

use super::orders::{Asking, Used};
use super::viewers::Visit;
use crate::client::{self, USER, Viewer};
use crate::cluster::Cluster;
use crate::database::Whose;
use crate::env::SimEnv;
use crate::net::Death;
use crate::world::World;
use mainstem_story::BusFaults;
use mainstem_story::LateAnswers;
use mainstem_story::{
    Absence, BusFate, DatabaseFate, LinkFate, ReplicaFate, Said, Sentence, Step, Story, Workers,
};

/// The interval at which expectations are checked.
pub(super) const STEP: Duration = Duration::from_millis(5);
/// How long a user waits for an answer, and a sentence about a model for a run.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long replicas have to find each other before the story begins.
pub const START: Duration = Duration::from_secs(12);
/// After the time to agree, viewers are watched for this long ...
const CALM: Duration = Duration::from_secs(8);
/// ... and no difference may last longer than this.
const DIFFERENCE_MAX: Duration = Duration::from_secs(2);
/// How long chats have to come to rest, once no model or user adds anything.
const REST: Duration = Duration::from_secs(120);

/// The failure of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub guarantee: Guarantee,
    /// The line and text of the sentence that failed, if it was a sentence.
    pub line: Option<(usize, String)>,
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, text)) = &self.line {
            writeln!(f, "line {line}: {text}")?;
        }
        write!(f, "{}: {}", self.guarantee, self.why)
    }
}

/// A story that is being played, with all participants.
pub(super) struct StoryRun {
    pub(super) cluster: Cluster,
    pub(super) viewers: BTreeMap<String, Viewer>,
    /// Of all viewers that ever came.
    pub(super) visits: BTreeMap<String, Visit>,
    pub(super) chats: BTreeMap<String, ChatId>,
    /// How many events of each viewer are consumed by expectations.
    pub(super) marks: BTreeMap<String, usize>,
    /// The number of tasks of each replica before anything happened.
    pub(super) baseline: BTreeMap<String, usize>,
    pub(super) resumes: Vec<(Time, String)>,
    pub(super) user: SimEnv,
    absences: Vec<(Sentence, Absence, usize)>,
    /// Faults, the names under which they are counted, and how many were counted before.
    faults: Vec<(Sentence, &'static str, u64)>,
    pub(super) asked: u64,
    /// What each key was used for.
    pub(super) used: Used,
    pub(super) unanswered: Arc<AtomicUsize>,
    /// Chats for which a request to create was sent.
    pub(super) created: BTreeSet<ChatId>,
    /// The default replica of users.
    pub(super) first_replica: String,
    /// The replicas that clients try in turn when they lose theirs.
    pub(super) roams: Vec<String>,
    /// When the first sentence was performed.
    started: Time,
    final_crash: bool,
}

/// Plays a story to its end. `Err` is the first violation.
pub async fn play(story: &Story, world: &World, recording: Option<Recording>) -> Result<(), Failure> {
    let outcome = play_in(story, world, recording).await;
    world.tally().simulated(world.now());
    world.judge(|judge| world.tally().judged(judge.docket()));
    outcome
}

async fn play_in(story: &Story, world: &World, recording: Option<Recording>) -> Result<(), Failure> {
    let mut cluster = Cluster::new(world.clone(), story.settings);
    cluster.recording = recording;
    cluster.net.bring_up(USER);
    let user = SimEnv::new(world, &cluster.net, USER);
    let mut run = StoryRun {
        cluster,
        viewers: BTreeMap::new(),
        visits: BTreeMap::new(),
        chats: BTreeMap::new(),
        marks: BTreeMap::new(),
        baseline: BTreeMap::new(),
        resumes: vec![],
        user,
        absences: vec![],
        faults: vec![],
        asked: 0,
        used: Used::new(),
        unanswered: Arc::default(),
        created: BTreeSet::new(),
        first_replica: story.replicas[0].clone(),
        roams: if story.roaming { story.replicas.clone() } else { vec![] },
        started: Time::START,
        final_crash: story.final_crash,
    };
    for name in &story.wrong_secrets {
        run.cluster.set_wrong_secret(name);
    }
    for name in &story.replicas {
        run.cluster.start(name);
    }
    run.pass(START).await;
    for name in &story.replicas {
        if run.cluster.node(name).is_none() {
            return Err(broken(Guarantee::L1, format!("{name} did not start")));
        }
        run.baseline.insert(name.clone(), run.cluster.tasks(name));
    }
    let guarded = story.guards[0];
    run.started = run.user.now();
    for sentence in &story.sentences {
        if let Err(why) = run.perform(sentence).await {
            let line = Some((sentence.line, sentence.text.clone()));
            // This tells judges that wait for something that time has passed.
            run.inspect();
            // A violation says more than a failed sentence.
            if let Some(found) = world.judge(|judge| judge.verdict().cloned()) {
                let why = format!("{}; and the story: {why}", found.why);
                return Err(Failure { guarantee: found.guarantee, line, why });
            }
            return Err(Failure { guarantee: guarded, line, why });
        }
        run.stop_if_judged()?;
    }
    let never_landed = run.check_faults();
    let ended = match run.check_absences(guarded) {
        Ok(()) => run.finale().await.and(never_landed),
        failed => failed,
    };
    world.finish();
    match (ended, world.judge(|judge| judge.verdict().cloned())) {
        (ended, None) => ended,
        (Ok(()), Some(found)) => Err(broken(found.guarantee, found.to_string())),
        (Err(failure), Some(found)) => {
            Err(Failure { guarantee: found.guarantee, why: found.to_string(), ..failure })
        }
    }
}

fn broken(guarantee: Guarantee, why: String) -> Failure {
    Failure { guarantee, line: None, why }
}

impl StoryRun {
    pub(super) fn chat(&mut self, name: &str) -> ChatId {
        let next = self.chats.len() as u64;
        let ms = u64::try_from(self.cluster.world.wall().0).unwrap_or_default();
        *self.chats.entry(name.to_owned()).or_insert_with(|| {
            // A UUIDv7 with a counter instead of the random half: ids are the same in every run.
            let mut random = [0; 10];
            random[2..].copy_from_slice(&next.to_be_bytes());
            ChatId(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
        })
    }

    async fn perform(&mut self, sentence: &Sentence) -> Result<(), String> {
        if let Some(at) = sentence.at {
            let due = self.started + at;
            self.pass(due.since(self.user.now())).await;
        }
        self.cluster.world.trace("story", format_args!("{}", sentence.text));
        // What a plan draws may find nothing to affect, what a story says must.
        if let Some(fault) = sentence.step.lands_as().filter(|_| sentence.at.is_none()) {
            self.faults.push((sentence.clone(), fault, self.landed(fault)));
        }
        match &sentence.step {
            Step::Wait(span) => self.pass(*span).await,
            Step::Within { bound, expectation } => {
                let until = self.user.now() + *bound;
                while let Err(why) = self.hold(expectation) {
                    if self.user.now() >= until {
                        return Err(format!("not within {bound:?}: {why}"));
                    }
                    self.pass(STEP).await;
                }
            }
            Step::Assert(expectation) => return self.hold(expectation),
            Step::For { span, absence } => {
                let since = self.since(absence);
                self.pass(*span).await;
                return self.intruder(absence, since).map_or(Ok(()), Err);
            }
            Step::FromNowOn(absence) => {
                let since = self.since(absence);
                self.absences.push((sentence.clone(), absence.clone(), since));
            }
            Step::Watch { .. } | Step::Resume { .. } | Step::Foresee { .. } => {
                return self.come(&sentence.step, sentence.at.is_some());
            }
            Step::Leave { viewer } => {
                self.cluster.world.trace(viewer, format_args!("leaves"));
                self.cluster.world.tally().landed("viewer leaves");
                self.viewers.remove(viewer);
            }
            Step::Move { viewer, replica } => {
                self.cluster.world.landed(FaultKind::ViewerMoves, viewer, format_args!("to {replica}"));
                self.viewer(viewer)?.move_to(replica);
            }
            Step::Read { viewer, reads } => {
                if !reads {
                    self.cluster.world.landed(
                        FaultKind::ViewerStopsReading,
                        viewer,
                        format_args!("for a while"),
                    );
                } else {
                    self.cluster.world.over(FaultKind::ViewerStopsReading, viewer, None);
                }
                self.viewer(viewer)?.set_reading(*reads);
            }
            Step::Order { caller, order, chat, replica, again, key, refused } => {
                let asking = Asking { caller, order, chat, key };
                if sentence.at.is_none() && again.is_none() {
                    return self.order(&asking, replica.as_deref(), *refused).await;
                }
                self.order_at_once(&asking, replica.as_deref(), again.as_deref());
            }
            Step::Stranger { replica, chat } => self.try_as_stranger(replica, chat),
            Step::Model { replica, chat, line } => return self.model(replica, chat, line).await,
            step => self.befall(step),
        }
        self.inspect();
        Ok(())
    }

    /// Measures every replica, and asserts its invariants.
    fn inspect(&self) {
        for name in self.cluster.names().iter().filter(|name| self.cluster.is_up(name)) {
            let measures = self.cluster.node(name).map(|node| node.inspect()).unwrap_or_default();
            for Measure { what, value, max } in measures {
                let (value, max) = (value as u64, max as u64);
                self.cluster.world.observe(Evidence::Measured { what, value, max });
            }
        }
    }

    fn viewer(&self, name: &str) -> Result<&Viewer, String> {
        self.viewers.get(name).ok_or_else(|| format!("{name} has left"))
    }

    /// Performs a sentence that takes no time.
    fn befall(&mut self, step: &Step) {
        let Cluster { net, messenger, .. } = &self.cluster;
        match step {
            Step::Work(workers) => self.set_workers(workers),
            Step::Dials { from, to, rule, next_only: true } => net.set_next_dial(from, to, *rule),
            Step::Dials { from, to, rule, next_only: false } => net.set_dials(from, to, *rule),
            Step::Flow { from, to, flows: true } => net.unclog(from, to),
            Step::Flow { from, to, flows: false } => net.clog(from, to),
            Step::Link { one, other, fate } => match fate {
                LinkFate::Breaks => drop(net.reset(one, other)),
                LinkFate::GoesSilent => drop(net.silence(one, other)),
                LinkFate::Cut => net.cut(one, other),
                LinkFate::Joined => net.join(one, other),
                LinkFate::Takes(least, more) => {
                    net.set_latency(one, other, *least, *more);
                    net.set_latency(other, one, *least, *more);
                }
            },
            Step::Notices { replica, faults } => messenger.set_faults(replica, *faults),
            Step::Bus { replica, fate } => match fate {
                BusFate::Breaks => messenger.disconnect(replica),
                BusFate::GoesSilent => messenger.silence(replica),
                BusFate::Refuses => {
                    let with_refusals = BusFaults { refuses: true, ..messenger.faults(replica) };
                    messenger.set_faults(replica, with_refusals);
                }
                BusFate::Hangs => {
                    let hanging = BusFaults { hangs: true, ..messenger.faults(replica) };
                    messenger.set_faults(replica, hanging);
                }
                BusFate::Recovers => messenger.set_faults(replica, BusFaults::default()),
            },
            Step::Database { replica, chat, fate } => {
                let chat = chat.as_deref().map(|chat| self.chat(chat));
                self.set_database(Whose { replica: replica.clone(), chat }, *fate);
            }
            Step::CallFault(planned) => {
                let chat = planned.chat.as_deref().map(|chat| self.chat(chat));
                let whose = Whose { replica: planned.replica.clone(), chat };
                self.cluster.database.plan(whose, planned.clone());
            }
            Step::Replica { replica, fate } => match fate {
                ReplicaFate::Crashes => self.cluster.take_down(replica, Death::Process),
                ReplicaFate::Vanishes => self.cluster.take_down(replica, Death::Machine),
                ReplicaFate::Restarts => self.cluster.start(replica),
                ReplicaFate::Drains => drop(self.cluster.drain(replica)),
                ReplicaFate::Resumes => self.cluster.resume(replica),
                ReplicaFate::RestartsWithWrongSecret => self.cluster.restart_with_wrong_secret(replica),
                ReplicaFate::Drifts(drift) => self.cluster.set_drift(replica, *drift),
                ReplicaFate::Pauses(span) => {
                    self.cluster.pause(replica);
                    if let Some(span) = span {
                        self.resumes.push((self.user.now() + *span, replica.clone()));
                    }
                }
            },
            step => unreachable!("{step:?} takes time"),
        }
    }

    fn set_database(&self, whose: Whose, fate: DatabaseFate) {
        let database = &self.cluster.database;
        match fate {
            DatabaseFate::Slow(by) => database.set_slow(whose, by),
            DatabaseFate::AnswersLate(late) => database.set_late(whose, late),
            DatabaseFate::CutOff => database.set_cut_off(whose, true),
            DatabaseFate::Exhausted => database.set_exhausted(whose, true),
            DatabaseFate::Recovers => {
                database.set_cut_off(whose.clone(), false);
                database.set_exhausted(whose.clone(), false);
                database.set_slow(whose.clone(), Duration::ZERO);
                database.set_late(whose, LateAnswers::default());
            }
        }
    }

    /// Announces the waiting chats to replicas that may work from now on.
    fn set_workers(&self, workers: &Workers) {
        let Cluster { database, messenger, .. } = &self.cluster;
        for name in self.cluster.names() {
            match workers {
                Workers::Only(only) => database.set_may_work(&name, name == *only),
                Workers::Also(also) if *also == name => database.set_may_work(&name, true),
                Workers::Also(_) => {}
                Workers::Everybody => database.set_may_work(&name, true),
                Workers::Nobody => database.set_may_work(&name, false),
            }
        }
        for state in database.free() {
            let notice = Notice {
                chat: state.id,
                snapshot_version: state.snapshot_version,
                history_version: state.history_version,
                queue_version: state.queue_version,
                status: state.status,
                free: state.worker.is_none(),
                deleted: false,
                row: None,
            };
            messenger.announce("story", &notice);
        }
    }

    async fn model(&mut self, replica: &str, chat: &str, said: &Said) -> Result<(), String> {
        let id = self.chat(chat);
        let until = self.user.now() + WAIT_MAX;
        while self.cluster.model_control.active_run(replica, id).is_none() {
            if self.user.now() >= until {
                return Err(format!("no model runs on {replica} within {WAIT_MAX:?}"));
            }
            self.pass(STEP).await;
        }
        let model_control = &self.cluster.model_control;
        let line = match said {
            Said::Parts(count) => {
                model_control.say_parts(replica, id, *count);
                return Ok(());
            }
            Said::IgnoresCancellation => {
                model_control.ignore_cancellation(replica, id);
                return Ok(());
            }
            Said::Text(text) => Generated::text(text.clone()),
            Said::Done => Generated::Done(Completion::STOPPED),
            Said::Failed { retryable } => {
                let error = RunError { code: "model_failed".into(), message: "as the story says".into() };
                Generated::Failed { error, retryable: *retryable, retry_after: None }
            }
        };
        model_control.say(replica, id, line);
        Ok(())
    }

    fn check_absences(&self, guarded: Guarantee) -> Result<(), Failure> {
        for (sentence, absence, since) in &self.absences {
            if let Some(why) = self.intruder(absence, *since) {
                let line = Some((sentence.line, sentence.text.clone()));
                return Err(Failure { guarantee: guarded, line, why });
            }
        }
        Ok(())
    }

    /// How often a kind of fault took effect so far.
    fn landed(&self, fault: &str) -> u64 {
        self.cluster.world.tally().counts().faults.get(fault).copied().unwrap_or_default()
    }

    /// D2: a story whose fault affects nothing shows nothing.
    fn check_faults(&self) -> Result<(), Failure> {
        let Some((sentence, fault, _)) =
            self.faults.iter().find(|(_, fault, before)| self.landed(fault) == *before)
        else {
            return Ok(());
        };
        let line = Some((sentence.line, sentence.text.clone()));
        Err(Failure { guarantee: Guarantee::D2, line, why: format!("no {fault:?} took effect since") })
    }

    /// Sends the requests of somebody who may not see the chat. The judges check the outcome (S10).
    fn try_as_stranger(&self, replica: &str, chat: &str) {
        let Some(id) = self.chats.get(chat).copied() else { return };
        self.cluster.world.landed(FaultKind::StrangerTries, "stranger", format_args!("{chat} on {replica}"));
        let (env, replica) = (self.user.clone(), replica.to_owned());
        self.user.spawn(async move { client::try_as_stranger(&env, &replica, id).await }).detach();
    }

    /// The recovery phase: viewers agree with the database (L1), chats come to rest (L2, L3), nothing is left
    /// (B2).
    async fn finale(&mut self) -> Result<(), Failure> {
        let settings = self.cluster.settings;
        let bound = 2 * settings.poll_interval + settings.lease_ttl + Duration::from_secs(5);
        self.cluster.world.trace("story", format_args!("recovery: all faults are cleared"));
        self.resumes.clear();
        self.cluster.clear_faults();
        self.set_workers(&Workers::Everybody);
        let over = self.user.now() + bound;
        self.eventually(&[Guarantee::L1], bound).await?;
        self.pass(over.since(self.user.now())).await;
        self.remain_agreed().await?;
        // Unless clients roam, those of the dead replica would wait for ever.
        if self.final_crash && !self.roams.is_empty() && self.crash_a_worker() {
            self.eventually(&[Guarantee::L1], bound).await?;
        }
        self.cluster.world.trace("story", format_args!("models finish"));
        self.cluster.model_control.finish_all();
        self.eventually(&[Guarantee::L2, Guarantee::L3], REST).await?;
        self.eventually(&[Guarantee::L1], bound).await?;
        self.cluster.world.trace("story", format_args!("everybody leaves"));
        self.viewers.clear();
        let retention = limits::HUB_RETENTION + limits::EPISODE_RETENTION + limits::OP_TIMEOUT;
        self.eventually(&[Guarantee::B2], retention).await
    }

    /// Between two turns of a chat there is little that could differ, so agreeing once is not enough: from
    /// now on, no difference may last.
    async fn remain_agreed(&mut self) -> Result<(), Failure> {
        let until = self.user.now() + CALM;
        let mut differs_since = None;
        while self.user.now() < until {
            self.pass(STEP * 10).await;
            let now = self.user.now();
            match self.missing(&[Guarantee::L1]) {
                None => differs_since = None,
                Some((guarantee, why)) => {
                    let lasts = now.since(*differs_since.get_or_insert(now));
                    if lasts >= DIFFERENCE_MAX {
                        self.overdue(guarantee, format!("for {lasts:?}, long after the last fault: {why}"));
                        break;
                    }
                }
            }
        }
        self.stop_if_judged()
    }

    /// Crashes one more worker, without any other fault. False if no replica works.
    fn crash_a_worker(&mut self) -> bool {
        let working = |state: &mainstem_machine::ChatState| state.status.is_runnable();
        let states = self.chats.values().filter_map(|chat| self.cluster.database.chat(*chat));
        let worker = states.filter(working).find_map(|state| state.worker);
        let Some(worker) = worker.map(|worker| worker.as_str().to_owned()) else { return false };
        let others = self.cluster.names().into_iter().filter(|name| *name != worker).count();
        if others == 0 || !self.cluster.is_up(&worker) {
            return false;
        }
        self.cluster.take_down(&worker, Death::Process);
        true
    }

    /// Waits until these guarantees hold.
    async fn eventually(&mut self, guarantees: &[Guarantee], bound: Duration) -> Result<(), Failure> {
        let until = self.user.now() + bound;
        while let Some((guarantee, why)) = self.missing(guarantees) {
            if self.user.now() >= until {
                self.overdue(guarantee, format!("not within {bound:?} after the last fault: {why}"));
                break;
            }
            self.stop_if_judged()?;
            self.pass(STEP * 10).await;
        }
        self.stop_if_judged()?;
        self.cluster.world.testify(|| Heard::Holds(guarantees.to_vec(), self.facts(guarantees)));
        Ok(())
    }

    fn overdue(&self, guarantee: Guarantee, why: String) {
        let now = self.user.now();
        self.cluster.world.judge(|judge| judge.overdue(now, guarantee, why));
    }

    /// The first of these guarantees that does not hold yet, and why.
    fn missing(&self, guarantees: &[Guarantee]) -> Option<(Guarantee, String)> {
        let facts = self.facts(guarantees);
        self.cluster.world.judge(|judge| judge.missing(guarantees, &facts))
    }

    /// What judges are told at the end, of these guarantees.
    fn facts(&self, guarantees: &[Guarantee]) -> WorldFacts {
        // Whoever may not see a chat is not shown it.
        let may_see = |viewer: &&Viewer| {
            let chat = self.cluster.database.chat(viewer.chat());
            chat.is_none_or(|chat| chat.is_there_for(viewer.caller()) || viewer.is_connected())
        };
        let viewers = self.viewers.iter().filter(|(_, viewer)| may_see(viewer)).map(|(name, viewer)| {
            Standing { viewer: name.as_str().into(), chat: viewer.chat(), connected: viewer.is_connected() }
        });
        let names = self.cluster.names();
        let left = names.iter().filter(|_| guarantees.contains(&Guarantee::B2));
        let left = left.filter_map(|name| self.nothing_left(name).err()).collect();
        WorldFacts { now: self.user.now(), viewers: viewers.collect(), unanswered: self.unanswered(), left }
    }

    /// Fails if the judges have found a violation. Only the first one counts: others may follow from it.
    fn stop_if_judged(&self) -> Result<(), Failure> {
        let found = self.cluster.world.judge(|judge| judge.verdict().cloned());
        found.map_or(Ok(()), |found| Err(broken(found.guarantee, found.to_string())))
    }
}
