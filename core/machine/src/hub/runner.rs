//! The runner: the worker's side of a chat, which exists while this replica holds the lease. It starts
//! generations, collects parts, commits, retries, interrupts and hands over.
//!
//! It acts on the row alone, never on a notice (S7, R25): after each event it does what the newest row it
//! knows requires. Every write is fenced. After a write that was rejected, or whose outcome is unknown, it
//! reads the row before it does anything else (R34).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::HubConfig;
use super::action::{Deadline, HubAction, Reason};
use super::cached::CachedChat;
use super::call_runs::CallRuns;
use super::episodes::{Episodes, Source};
use super::event::OpOutcome;
use super::outbox::Outbox;
use super::reader::{ReadMark, Reader};
use crate::backoff::{Backoff, retry_delay};
use crate::limits::{
    ATTEMPTS_MAX, CALL_INPUTS_BYTES_MAX, CALLS_MAX, HISTORY_PATIENCE, JOINED_PART_BYTES_MAX,
    LEASE_MARGIN_PER_MILLE, WHOLE_PART_BYTES_MAX,
};
use crate::marks::sometimes;
use crate::replica::ReplicaEvent;
use crate::{
    Block, CallResult, Carrier, ChatState, Command, Completion, Content, Episode, Fence, FinishReason,
    GenerationId, Lease, Offered, OpId, OpenCall, Rejection, RunError, Seq, Status, Time, Tool, Version,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Runner {
    lease: Lease,
    /// When the lease expires by our own clock. It is looked at for whatever a hub is told.
    expires_at: Time,
    /// The lease has expired by our own clock: nothing is done or sent until the database confirms it.
    suspended: bool,
    /// The newest row known under this lease.
    row: Arc<ChatState>,
    run: Run,
    /// The last attempt under this lease that a model was started for: none is generated twice.
    started: Option<Episode>,
    /// The chat's own tools that the last run's model was told of: what is changed meanwhile does not touch it.
    told_of: Arc<[Tool]>,
    calls: CallRuns,
    step: Step,
    backoff: Backoff,
    /// The version of the history that was loaded last, and the operation that loaded it.
    loaded: Option<(Version, OpId)>,
    /// Until when the history may wait for the hub's first read, and whether it does: that read waits for the bus.
    first_read_by: Time,
    awaits_first_read: bool,
    /// When the next attempt begins after a recorded retry.
    retry_at: Option<Time>,
    handing_over: HandOver,
}

/// The state of the model's run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Run {
    None,
    Live {
        episode: Episode,
        generation: GenerationId,
    },
    /// No part is added any more, and the end is not in the row yet.
    Ended {
        episode: Episode,
        how: Ended,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ended {
    Complete {
        completion: Completion,
        offered: Arc<[Offered]>,
    },
    Failed {
        error: RunError,
        /// `None`: for good.
        again: Option<Again>,
    },
    /// Cancelled by this replica.
    Cut,
}

/// What the delay before another attempt follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Again {
    pub(super) retry_after: Option<Duration>,
    pub(super) entropy: u64,
}

/// What the runner waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Nothing,
    Loading {
        op: OpId,
    },
    Beginning {
        op: OpId,
    },
    Writing {
        op: OpId,
    },
    /// A row that was read after the failure.
    Rereading {
        mark: ReadMark,
    },
    WaitingToRetry {
        until: Time,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum HandOver {
    No,
    /// When the current turn has ended.
    AfterTurn,
    Now,
}

/// When a lease expires by our own clock that a heartbeat confirmed which was sent at this time.
fn local_expiry(sent_at: Time, config: &HubConfig) -> Time {
    sent_at + (config.lease_ttl - config.lease_ttl * LEASE_MARGIN_PER_MILLE / 1000)
}

/// The parts of the hub that the runner works with.
pub(super) struct RunnerContext<'a> {
    pub(super) now: Time,
    pub(super) config: &'a HubConfig,
    pub(super) cached: Option<&'a CachedChat>,
    /// The bus has been asked for, and reads may begin.
    pub(super) is_heard: bool,
    pub(super) episodes: &'a mut Episodes,
    pub(super) reader: &'a mut Reader,
    pub(super) last_generation: &'a mut u64,
    pub(super) out: &'a mut Outbox,
}

impl Runner {
    pub(super) fn new(
        config: &HubConfig,
        state: Arc<ChatState>,
        now: Time,
        asked_at: Time,
        handing_over: HandOver,
    ) -> Self {
        Self {
            lease: state.lease,
            expires_at: local_expiry(asked_at, config),
            suspended: false,
            row: state,
            run: Run::None,
            started: None,
            told_of: [].into(),
            calls: CallRuns::default(),
            step: Step::Nothing,
            backoff: Backoff::default(),
            loaded: None,
            first_read_by: now + HISTORY_PATIENCE,
            awaits_first_read: false,
            retry_at: None,
            handing_over,
        }
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease
    }

    /// The newest row known under the lease.
    pub(super) fn row(&self) -> &Arc<ChatState> {
        &self.row
    }

    /// The lease under which nothing may be sent, because it has expired locally.
    pub(super) fn suspended_lease(&self) -> Option<Lease> {
        self.suspended.then_some(self.lease)
    }

    pub(super) fn hand_over(&mut self, when: HandOver) {
        self.handing_over = self.handing_over.max(when);
    }

    /// Suspends the runner if the lease has expired by our own clock (S5, R35). Returns whether it did so
    /// just now.
    #[inline]
    pub(super) fn check_lease(&mut self, context: &mut RunnerContext<'_>) -> bool {
        if self.suspended || context.now < self.expires_at {
            return false;
        }
        sometimes!("a lease expires locally");
        self.suspended = true;
        self.stop(context);
        true
    }

    pub(super) fn on_confirmed(&mut self, lease: Lease, sent_at: Time, context: &mut RunnerContext<'_>) {
        if lease != self.lease {
            return;
        }
        self.expires_at = self.expires_at.max(local_expiry(sent_at, context.config));
        if self.suspended && context.now < self.expires_at {
            sometimes!("a lease is confirmed again after local expiry");
            self.suspended = false;
        }
    }

    /// Takes a row if it is newer than the one known.
    pub(super) fn observe(&mut self, row: &Arc<ChatState>) {
        if row.snapshot_version > self.row.snapshot_version {
            self.row = row.clone();
        }
    }

    /// Whether this replica still holds the chat under this lease, by the newest row known.
    pub(super) fn is_holder(&self, config: &HubConfig) -> bool {
        self.row.is_held_by(&config.replica, self.lease)
    }

    pub(super) fn on_generated(
        &mut self,
        generation: GenerationId,
        begins: Option<Block>,
        text: &str,
        context: &mut RunnerContext<'_>,
    ) -> bool {
        let Some(episode) = self.live(generation) else { return false };
        let Some(buffer) = context.episodes.find(episode) else { return false };
        let mut begins = buffer.begins(begins);
        if text.is_empty() && !begins.as_ref().is_some_and(|block| block.takes(text)) {
            return false;
        }
        let is_too_large = begins == Some(Block::Whole) && text.len() > WHOLE_PART_BYTES_MAX;
        if is_too_large || buffer.bytes_with(begins.as_ref(), text) > context.config.episode_bytes_max {
            sometimes!("an answer outgrows its bound");
            let error = RunError {
                code: "answer_too_large".into(),
                message: "the answer exceeded the maximum size of an answer".into(),
            };
            context.out.push(HubAction::Cancel { generation });
            self.end(episode, Ended::Failed { error, again: None }, context);
            return true;
        }
        if begins == Some(Block::Whole) || text.is_empty() {
            context.episodes.push(episode, begins, text);
        } else {
            for part in split(text) {
                context.episodes.push(episode, begins.take(), part);
            }
        }
        true
    }

    pub(super) fn on_generation_done(
        &mut self,
        generation: GenerationId,
        completion: Completion,
        offered: Arc<[Offered]>,
        context: &mut RunnerContext<'_>,
    ) {
        if let Some(episode) = self.live(generation) {
            self.end(episode, Ended::Complete { completion, offered }, context);
        }
    }

    pub(super) fn on_generation_failed(
        &mut self,
        generation: GenerationId,
        error: RunError,
        again: Option<Again>,
        context: &mut RunnerContext<'_>,
    ) {
        if let Some(episode) = self.live(generation) {
            self.end(episode, Ended::Failed { error, again }, context);
        }
    }

    pub(super) fn on_generation_broke_off(
        &mut self,
        generation: GenerationId,
        entropy: u64,
        context: &mut RunnerContext<'_>,
    ) {
        let message = "the model's answer broke off".into();
        let error = RunError { code: "generator_broke_off".into(), message };
        let again = Some(Again { retry_after: None, entropy });
        self.on_generation_failed(generation, error, again, context);
    }

    pub(super) fn on_returned(&mut self, op: OpId, result: CallResult) {
        self.calls.on_returned(op, result);
    }

    /// The episode of the run, if `generation` is the current one (R36).
    fn live(&self, generation: GenerationId) -> Option<Episode> {
        match self.run {
            Run::Live { episode, generation: present } if present == generation => Some(episode),
            _ => None,
        }
    }

    fn end(&mut self, episode: Episode, how: Ended, context: &mut RunnerContext<'_>) {
        context.episodes.seal(episode);
        self.run = Run::Ended { episode, how };
    }

    /// Cancels the run, if there is one, and seals its episode.
    fn stop(&mut self, context: &mut RunnerContext<'_>) {
        if let Run::Live { episode, generation } = self.run {
            assert!(self.row.present_episode() >= episode, "S7: no run is stopped by news of its own past");
            sometimes!("a run is cancelled by its row");
            context.out.push(HubAction::Cancel { generation });
            self.end(episode, Ended::Cut, context);
        }
    }

    /// Returns whether what was loaded is the one that is waited for, and kept.
    pub(super) fn on_loaded(
        &mut self,
        op: OpId,
        outcome: OpOutcome<Version>,
        context: &mut RunnerContext<'_>,
    ) -> bool {
        if self.step != (Step::Loading { op }) {
            return false;
        }
        match outcome {
            OpOutcome::Done(version) => {
                self.backoff.reset();
                self.drop_history(context);
                self.loaded = Some((version, op));
                self.step = Step::Nothing;
                if version != self.row.history_version {
                    self.reread(context);
                }
                true
            }
            OpOutcome::Refused | OpOutcome::Unknown => {
                self.retry_later(context);
                false
            }
        }
    }

    fn drop_history(&mut self, context: &mut RunnerContext<'_>) {
        if let Some((_, op)) = self.loaded.take() {
            context.out.push(HubAction::DropHistory { op });
        }
    }

    pub(super) fn on_applied(
        &mut self,
        op: OpId,
        outcome: &OpOutcome<Result<Arc<ChatState>, Rejection>>,
        context: &mut RunnerContext<'_>,
    ) {
        let step = self.step;
        match step {
            Step::Beginning { op: asked } | Step::Writing { op: asked } if asked == op => {}
            _ => return,
        }
        match outcome {
            OpOutcome::Done(Ok(state)) => {
                self.backoff.reset();
                self.observe(state);
                self.step = Step::Nothing;
                // What was written needs no word: the row says it.
                if matches!(step, Step::Beginning { .. }) {
                    self.forget_run(context);
                    self.start(state.present_episode(), context);
                }
            }
            OpOutcome::Done(Err(_)) => {
                sometimes!("a commit is refused by its fence");
                self.reread(context);
            }
            OpOutcome::Refused => self.retry_later(context),
            OpOutcome::Unknown => {
                sometimes!("a commit's outcome is unknown");
                self.retry_later(context);
            }
        }
    }

    /// The attempt has begun: starts the model, unless the row has changed in the meantime.
    fn start(&mut self, episode: Episode, context: &mut RunnerContext<'_>) {
        let named = self.row.status == Status::Running && self.row.present_episode() == episode;
        let Some((_, history)) = self.loaded.filter(|(version, _)| *version == episode.history_version)
        else {
            return;
        };
        if self.suspended || !named {
            return;
        }
        self.retry_at = None;
        *context.last_generation += 1;
        let generation = GenerationId(*context.last_generation);
        context.episodes.open(context.now, episode, self.lease, Source::Local);
        let prompt = self.row.prompt();
        self.told_of = prompt.tools.clone();
        context.out.push(HubAction::Start { generation, episode, prompt, history });
        self.started = Some(episode);
        self.run = Run::Live { episode, generation };
    }

    /// The outcome of the run is in the row, even if an edit has voided it. The episode to settle is that of
    /// the run, not the one that the row names: followers get its end before they get the next episode.
    fn forget_run(&mut self, context: &mut RunnerContext<'_>) {
        if let Run::Ended { episode, .. } = self.run {
            context.episodes.settle_outcome(context.now, episode);
            self.run = Run::None;
        }
    }

    /// Another writer may have won: reads the row before doing anything else.
    fn reread(&mut self, context: &mut RunnerContext<'_>) {
        if self.backoff.is_fresh() {
            let _ = self.backoff.next_delay();
            self.step = Step::Rereading { mark: context.reader.want_fresh() };
        } else {
            self.retry_later(context);
        }
    }

    fn retry_later(&mut self, context: &RunnerContext<'_>) {
        self.step = Step::WaitingToRetry { until: context.now + self.backoff.next_delay() };
    }

    /// Does the next thing that the row requires, unless the runner is waiting for something.
    pub(super) fn settle(&mut self, context: &mut RunnerContext<'_>) {
        self.calls.keep_to(&self.row, context.out);
        self.awaits_first_read = false;
        if self.suspended {
            return;
        }
        match self.step {
            Step::Nothing => {}
            Step::Loading { .. } | Step::Beginning { .. } | Step::Writing { .. } => return,
            Step::WaitingToRetry { until } if until > context.now => return,
            Step::WaitingToRetry { .. } => {
                self.step = Step::Rereading { mark: context.reader.want_fresh() };
                return;
            }
            Step::Rereading { mark } if !context.reader.is_past(mark) => return,
            Step::Rereading { .. } => self.step = Step::Nothing,
        }
        match self.row.status {
            Status::Interrupting => self.finish_interruption(context),
            Status::Running if self.handing_over == HandOver::Now && !self.has_results() => {
                self.release(context)
            }
            Status::Running if !self.row.calls.is_empty() => self.carry_out(context),
            Status::Running => self.carry_on(context),
            Status::Waiting | Status::RequiresAction | Status::Error => {}
        }
        let waits = self.step != Step::Nothing;
        assert!(
            waits || self.row.status != Status::Interrupting,
            "L2: an interruption is on its way to its end"
        );
        assert!(
            waits || self.row.status != Status::Running || self.calls.has_begun_all(&self.row),
            "L6: what a turn waits for is under way"
        );
    }

    fn finish_interruption(&mut self, context: &mut RunnerContext<'_>) {
        self.stop(context);
        let episode = self.row.present_episode();
        let partial = self.committed(episode, true, context);
        self.write(Command::FinishInterruption { fence: self.fence(context), partial }, context);
    }

    fn carry_on(&mut self, context: &mut RunnerContext<'_>) {
        let present = self.row.present_episode();
        let has_begun = self.row.attempt_lease == Some(self.lease);
        let is_present = |episode: &Episode| has_begun && *episode == present;
        match &self.run {
            Run::Live { episode, .. } if is_present(episode) => {}
            Run::Ended { episode, how } if is_present(episode) => match how.clone() {
                Ended::Complete { completion, offered } => {
                    let command = self.ending(present, completion, &offered, context);
                    self.write(command, context);
                }
                Ended::Failed { error, again } => self.fail(present, error, again, context),
                Ended::Cut => self.begin(context),
            },
            _ => self.begin(context),
        }
    }

    /// What is to be done with a complete answer: its turn ends, unless it ends with calls.
    fn ending(
        &self,
        episode: Episode,
        completion: Completion,
        offered: &[Offered],
        context: &RunnerContext<'_>,
    ) -> Command {
        let fence = self.fence(context);
        let is_cut = completion.finish_reason.is_some_and(FinishReason::is_cut);
        let answer = self.committed(episode, is_cut, context);
        let has_calls = completion.finish_reason == Some(FinishReason::ToolCalls);
        let calls = answer.as_ref().filter(|_| has_calls).map(Content::open_calls).unwrap_or_default();
        let (Some(said), false) = (&answer, calls.is_empty()) else {
            return Command::FinishTurn { fence, answer, completion };
        };
        let steps = self.row.turn.as_ref().map_or(0, |turn| turn.steps);
        if steps >= context.config.tool_steps_max {
            let message = "the turn called tools more often than it may".into();
            let error = RunError { code: "too_many_steps".into(), message };
            // Calls that are never made ask for no result.
            let partial = self.committed(episode, true, context);
            return Command::Fail { fence, partial, error };
        }
        let calls = self.shared_out(calls, offered);
        Command::CommitStep { fence, answer: said.clone(), completion, calls }
    }

    /// Says of each call who carries it out. What nobody carries out has its result already, and takes no place of others.
    fn shared_out(&self, mut calls: Vec<OpenCall>, offered: &[Offered]) -> Vec<OpenCall> {
        let (mut begun, mut bytes) = (0, 0);
        for call in &mut calls {
            let carrier = self.carrier(call, offered);
            let is_servers = carrier.is_some_and(|carrier| carrier != Carrier::Client);
            call.carrier = carrier.unwrap_or_default();
            call.result = match carrier {
                None => Some(CallResult::error("There is no tool of this name.")),
                Some(_) if bytes + call.input.len() > CALL_INPUTS_BYTES_MAX => {
                    Some(CallResult::input_too_large())
                }
                Some(_) if is_servers && begun == CALLS_MAX => {
                    Some(CallResult::error("These are more calls at once than may be made."))
                }
                Some(_) => None,
            };
            if call.result.is_none() {
                bytes += call.input.len();
                begun += usize::from(is_servers);
            }
        }
        calls
    }

    /// Who carries a call out: the client those of the chat's own tools, the worker those of the server's.
    fn carrier(&self, call: &OpenCall, offered: &[Offered]) -> Option<Carrier> {
        if self.told_of.iter().any(|tool| tool.name == call.name) {
            return Some(Carrier::Client);
        }
        let tool = offered.iter().find(|tool| tool.name == call.name)?;
        Some(if tool.is_repeatable { Carrier::ServerAgain } else { Carrier::Server })
    }

    /// Whether something came back that the row does not have.
    fn has_results(&self) -> bool {
        !self.calls.results(&self.row).is_empty()
    }

    /// Carries out the server's calls, and commits what comes of them.
    fn carry_out(&mut self, context: &mut RunnerContext<'_>) {
        self.stop(context);
        self.forget_run(context);
        if self.handing_over != HandOver::Now {
            self.calls.begin(&self.row, context.out);
        }
        let results = self.calls.results(&self.row);
        if !results.is_empty() || !self.row.calls.iter().any(OpenCall::waits_for_server) {
            let fence = self.fence(context);
            self.write(Command::CommitResults { fence, results }, context);
        }
    }

    fn fail(
        &mut self,
        episode: Episode,
        error: RunError,
        again: Option<Again>,
        context: &mut RunnerContext<'_>,
    ) {
        let fence = self.fence(context);
        if let Some(Again { retry_after, entropy }) = again
            && episode.attempt < ATTEMPTS_MAX
        {
            let delay = retry_delay(episode.attempt, retry_after, entropy);
            let delay_ms = delay.as_millis() as u64;
            sometimes!("a retry is recorded");
            let command = Command::RecordRetry { fence, delay_ms, error };
            self.write(command, context);
        } else {
            let partial = self.committed(episode, true, context);
            self.write(Command::Fail { fence, partial, error }, context);
        }
    }

    /// The run, if there is one, is not of the attempt that the row names: begins a new attempt, or starts the model of
    /// the one that has begun with the last result of its calls.
    fn begin(&mut self, context: &mut RunnerContext<'_>) {
        self.stop(context);
        // What was cut short is kept until the new attempt has begun: it may yet turn out to be interrupted
        // (S7).
        if !matches!(&self.run, Run::Ended { episode, .. } if *episode == self.row.present_episode()) {
            self.forget_run(context);
        }
        if self.handing_over != HandOver::No {
            return self.release(context);
        }
        if let Some(left) = self.row.retry_left() {
            // Who recorded it may have been another worker, or this one without hearing the outcome.
            let retry_at = *self.retry_at.get_or_insert(context.now + left);
            if retry_at > context.now {
                return self.forget_run(context);
            }
        }
        if self.loaded.is_none_or(|(version, _)| version != self.row.history_version)
            && !self.take_history(context)
        {
            return;
        }
        if self.has_begun() {
            self.forget_run(context);
            self.start(self.row.present_episode(), context);
        } else {
            let command = Command::BeginAttempt { fence: self.fence(context) };
            self.step = Step::Beginning { op: context.out.ask(|op| HubAction::Apply { op, command }) };
        }
    }

    /// Takes the history from what is cached here, if all of it is or is about to be: the hub reads after an acquisition
    /// anyway. Otherwise it is loaded. Returns whether it is there.
    fn take_history(&mut self, context: &mut RunnerContext<'_>) -> bool {
        let version = self.row.history_version;
        if let Some(messages) = context.cached.and_then(|cached| cached.history(version)) {
            self.drop_history(context);
            let op = context.out.ask(|op| HubAction::KeepHistory { op, version, messages });
            self.loaded = Some((version, op));
            return true;
        }
        let is_behind =
            context.cached.is_none_or(|cached| cached.state.snapshot_version < self.row.snapshot_version);
        self.awaits_first_read = is_behind && !context.is_heard && context.now < self.first_read_by;
        if is_behind && context.is_heard {
            self.step = Step::Rereading { mark: context.reader.want_fresh() };
        } else if !self.awaits_first_read {
            self.step = Step::Loading { op: context.out.ask(|op| HubAction::LoadHistory { op }) };
        }
        false
    }

    /// Whether the attempt that the row names began under this lease, and no model was started for it yet.
    fn has_begun(&self) -> bool {
        self.row.attempt_lease == Some(self.lease) && self.started != Some(self.row.present_episode())
    }

    fn release(&mut self, context: &mut RunnerContext<'_>) {
        sometimes!("a run is handed over");
        self.stop(context);
        self.calls.give_up(context.out);
        let command = Command::Release { replica: context.config.replica.clone(), lease: self.lease };
        self.write(command, context);
    }

    fn write(&mut self, command: Command, context: &mut RunnerContext<'_>) {
        assert!(!self.suspended, "S5: nothing is written under a lease that has expired");
        let op = context.out.ask(|op| HubAction::Apply { op, command });
        self.step = Step::Writing { op };
    }

    fn fence(&self, context: &RunnerContext<'_>) -> Fence {
        let replica = context.config.replica.clone();
        Fence { replica, lease: self.lease, episode: self.row.present_episode() }
    }

    /// The blocks of the attempt, if this runner generated it (S4); `None` for any other attempt. Calls in an
    /// answer that `is_cut` are never made.
    fn committed(&self, episode: Episode, is_cut: bool, context: &RunnerContext<'_>) -> Option<Content> {
        let ours = self.row.attempt_lease == Some(self.lease)
            && matches!(&self.run, Run::Ended { episode: ended, .. } if *ended == episode);
        let buffer = context.episodes.find(episode).filter(|buffer| ours && buffer.lease == self.lease)?;
        assert!(!buffer.is_open(), "S4: an episode is closed before it is committed");
        (buffer.last() > Seq(0)).then(|| Content::of_blocks(buffer.blocks(), is_cut))
    }

    /// The chat is not held any more. Unless it was let go under this lease, what was generated is dropped: another
    /// lease has replaced this one, or the chat is deleted, and no newer row says so (S5).
    pub(super) fn leave(mut self, context: &mut RunnerContext<'_>) {
        self.stop(context);
        self.calls.give_up(context.out);
        self.forget_run(context);
        self.drop_history(context);
        let is_let_go = self.row.lease == self.lease && !self.is_holder(context.config);
        if !is_let_go {
            context.episodes.drop_local(self.lease);
        }
        let gone = ReplicaEvent::RunnerGone { chat: self.row.id, lease: self.lease };
        context.out.push(HubAction::ToReplica(gone));
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        let lease =
            (!self.suspended).then_some(Deadline { at: self.expires_at, reason: Reason::LeaseRunsOut });
        let step = match self.step {
            Step::WaitingToRetry { until } => Some(Deadline { at: until, reason: Reason::RunnerRetry }),
            _ => None,
        };
        let is_free = self.step == Step::Nothing && self.run == Run::None && !self.awaits_first_read;
        let retry = self.retry_at.filter(|_| is_free);
        let retry = retry.map(|at| Deadline { at, reason: Reason::GenerationRetry });
        let first_read = Deadline { at: self.first_read_by, reason: Reason::RunnerRetry };
        let history = self.awaits_first_read.then_some(first_read);
        // While suspended, nothing is done until the lease is confirmed, so no deadline is needed.
        let rest = (!self.suspended).then(|| step.into_iter().chain(retry).chain(history));
        lease.into_iter().chain(rest.into_iter().flatten())
    }

    pub(super) fn assert_invariants(&self, episodes: &Episodes) {
        self.calls.assert_invariants();
        match &self.run {
            Run::Live { episode, .. } => {
                assert!(!self.suspended, "S5: nothing runs under a lease that has run out");
                assert!(
                    episodes.find(*episode).is_some_and(|buffer| buffer.is_open()),
                    "S4: a run has its buffer"
                );
            }
            Run::Ended { episode, .. } => {
                assert!(
                    episodes.find(*episode).is_none_or(|buffer| !buffer.is_open()),
                    "S4: nothing is added"
                );
            }
            Run::None => {}
        }
    }
}

/// Splits a text, between characters, into parts that each fit one event.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let end = rest.floor_char_boundary(JOINED_PART_BYTES_MAX);
        let (part, after) = rest.split_at(end);
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}
