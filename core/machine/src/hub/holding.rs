//! The lease of this replica, and the run of the model under it: from the acquisition until the runner has gone.

use alloc::sync::Arc;

use super::Hub;
use super::event::{LeaseEvent, ModelEvent, ToolEvent};
use super::runner::{Again, HandOver, Runner, RunnerContext};
use crate::{ChatState, Ending, Time};

impl Hub {
    /// The database says whether this replica holds the chat.
    pub(super) fn on_lease(&mut self, now: Time, event: LeaseEvent) {
        match event {
            LeaseEvent::Acquired { state, asked_at, has_slot } => {
                self.on_acquired(now, state, asked_at, has_slot)
            }
            LeaseEvent::Confirmed { lease, sent_at } => {
                self.with_runner(now, |runner, context| runner.on_confirmed(lease, sent_at, context));
                self.news = true;
            }
            LeaseEvent::Lost { lease } => {
                if self.runner.as_ref().is_some_and(|runner| runner.lease() == lease) {
                    // The row decides, not the heartbeat: the answer only prompts a read.
                    self.reader.want();
                }
            }
        }
    }

    /// The model's run goes on, or ends.
    pub(super) fn on_model(&mut self, now: Time, event: ModelEvent) {
        match event {
            ModelEvent::Generated { generation, begins, text } => {
                let grew = self.with_runner(now, |runner, context| {
                    runner.on_generated(generation, begins, &text, context)
                });
                self.news |= grew.unwrap_or(false);
            }
            ModelEvent::Done { generation, completion, offered } => {
                self.with_runner(now, |runner, context| {
                    runner.on_generation_done(generation, completion, offered, context);
                });
            }
            ModelEvent::Failed { generation, error, retryable, retry_after, entropy } => {
                self.with_runner(now, |runner, context| {
                    let again = retryable.then_some(Again { retry_after, entropy });
                    runner.on_generation_failed(generation, error, again, context);
                });
            }
            ModelEvent::BrokeOff { generation, entropy } => {
                self.with_runner(now, |runner, context| {
                    runner.on_generation_broke_off(generation, entropy, context);
                });
            }
        }
    }

    /// A call has come to its end.
    pub(super) fn on_tool(&mut self, now: Time, event: ToolEvent) {
        let ToolEvent::Returned { op, result } = event;
        self.with_runner(now, |runner, _| runner.on_returned(op, result));
    }

    fn on_acquired(&mut self, now: Time, state: Arc<ChatState>, asked_at: Time, has_slot: bool) {
        self.dismiss_runner(now);
        let handing_over = if has_slot { HandOver::No } else { HandOver::AfterTurn };
        self.runner = Some(Runner::new(&self.config, state, now, asked_at, handing_over));
        // The answer may have arrived so late that the lease has expired already (S5).
        self.check_lease(now);
        if let Some(cached) = &self.cached {
            let row = cached.state.clone();
            self.with_runner(now, |runner, _| runner.observe(&row));
        }
        self.reader.want();
    }

    #[inline]
    pub(super) fn check_lease(&mut self, now: Time) {
        let newly_suspended =
            self.with_runner(now, |runner, context| runner.check_lease(context)).unwrap_or(false);
        self.news |= newly_suspended;
    }

    #[inline]
    pub(super) fn with_runner<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Runner, &mut RunnerContext<'_>) -> T,
    ) -> Option<T> {
        let runner = self.runner.as_mut()?;
        let mut context = RunnerContext {
            now,
            config: &self.config,
            cached: self.cached.as_ref(),
            is_heard: self.bus_subscription.is_answered(),
            episodes: &mut self.episodes,
            reader: &mut self.reader,
            last_generation: &mut self.last_generation,
            out: &mut self.out,
        };
        Some(act(runner, &mut context))
    }

    fn dismiss_runner(&mut self, now: Time) {
        let Some(runner) = self.runner.take() else { return };
        let mut context = RunnerContext {
            now,
            config: &self.config,
            cached: self.cached.as_ref(),
            is_heard: self.bus_subscription.is_answered(),
            episodes: &mut self.episodes,
            reader: &mut self.reader,
            last_generation: &mut self.last_generation,
            out: &mut self.out,
        };
        runner.leave(&mut context);
        self.news = true;
    }

    pub(super) fn settle_runner(&mut self, now: Time) {
        let Some(runner) = &self.runner else { return };
        if self.ending == Some(Ending::Deleted) || !runner.is_holder(&self.config) {
            return self.dismiss_runner(now);
        }
        let before = self.last_generation;
        self.with_runner(now, |runner, context| runner.settle(context));
        // What it started is told.
        self.news |= self.last_generation > before;
    }
}
