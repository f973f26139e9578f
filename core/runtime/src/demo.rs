//! The demo generator, which needs no model: it counts. Part `i` is `"i "`. A user's message that begins with
//! `/demo` sets how many parts there are, how fast they come, how long they are, which are reasoning, what is called
//! at the end, and where the provider fails. Its only source of time is its `Env`, so production and simulation run the same code.

mod script;

use std::fmt::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use mainstem_machine::{Block, Completion, Episode, FinishReason, Role, RunError, Time};

use crate::ports::{Conversation, Env, Generated, Generation, Generator};

use script::Script;

/// Of each call.
const CALL_PARTS: u64 = 3;

/// A generator that counts, at the pace and with the faults that the last user message asks for.
#[derive(Clone, Debug)]
pub struct Demo<E: Env> {
    env: E,
    unix_micros: fn() -> u64,
}

impl<E: Env> Demo<E> {
    /// `unix_micros` reads the wall clock, for `stamp=1`.
    pub fn new(env: E, unix_micros: fn() -> u64) -> Self {
        Self { env, unix_micros }
    }
}

impl<E: Env> Generator for Demo<E> {
    fn start(&self, conversation: Conversation) -> Generation {
        let asked = conversation.history.messages.iter().rfind(|message| message.role == Role::User);
        let mut script = asked.map(|message| Script::parse(&message.content.to_text())).unwrap_or_default();
        let has_results = conversation.history.messages.last().is_some_and(|last| last.role == Role::Tool);
        script.call = script.call.filter(|_| !has_results);
        Box::pin(Run {
            script,
            episode: conversation.episode,
            emitted: 0,
            started: self.env.now(),
            timer: None,
            waiting: false,
            ended: false,
            env: self.env.clone(),
            unix_micros: self.unix_micros,
        })
    }
}

/// One answer that is being generated.
struct Run<E: Env> {
    script: Script,
    episode: Episode,
    /// Parts given so far.
    emitted: u64,
    started: Time,
    /// The timer's allocation is reused for each part.
    timer: Option<Pin<Box<E::Sleep>>>,
    /// The timer is set for the next part and has not gone off.
    waiting: bool,
    ended: bool,
    env: E,
    unix_micros: fn() -> u64,
}

/// What a run does next.
enum Step {
    Part,
    Stall,
    End(Generated),
}

impl<E: Env> Run<E> {
    fn step(&self) -> Step {
        let now = Some(self.emitted);
        if self.episode.attempt == 1 && self.script.retryable == now {
            return Step::End(failed("provider_unavailable", self.emitted, true));
        }
        if self.script.fatal == now {
            return Step::End(failed("provider_rejected", self.emitted, false));
        }
        if self.script.stall == now {
            return Step::Stall;
        }
        let calls = if self.script.call.is_some() { self.script.calls } else { 0 };
        if self.emitted < self.script.parts + calls * CALL_PARTS {
            return Step::Part;
        }
        let reason = if calls > 0 { FinishReason::ToolCalls } else { FinishReason::Stop };
        Step::End(Generated::Done(Completion { finish_reason: Some(reason), usage: None }))
    }

    /// Waits until the next part is due. Due times count from the start of the run, so that one late part
    /// does not delay the others.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.script.interval.is_zero() {
            return Poll::Ready(());
        }
        if !self.waiting {
            let micros = self.script.interval.as_micros() as u64;
            let due = self.started + Duration::from_micros(micros.saturating_mul(self.emitted + 1));
            let left = due.since(self.env.now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            let sleep = self.env.sleep(left);
            match &mut self.timer {
                Some(timer) => timer.set(sleep),
                None => self.timer = Some(Box::pin(sleep)),
            }
            self.waiting = true;
        }
        let timer = self.timer.as_mut().expect("a timer is set while waiting");
        ready!(timer.as_mut().poll(cx));
        self.waiting = false;
        Poll::Ready(())
    }

    fn part(&mut self) -> Generated {
        let (at, parts) = (self.emitted, self.script.parts);
        self.emitted += 1;
        match &self.script.call {
            Some(tool) if at >= parts => call_part(tool, self.episode, at - parts),
            _ => {
                let begins = match at {
                    0 if self.script.reasoning > 0 => Some(Block::Reasoning),
                    0 => None,
                    _ => (at == self.script.reasoning).then_some(Block::Text),
                };
                Generated::Part { begins, text: self.text() }
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(self.script.size.max(24));
        let written = if self.script.stamp {
            write!(text, "{}@{}", self.emitted, (self.unix_micros)())
        } else {
            write!(text, "{}", self.emitted)
        };
        written.expect("a string takes what is written");
        let pad = self.script.size.saturating_sub(text.len() + 1);
        text.extend(std::iter::repeat_n('.', pad));
        text.push(' ');
        text
    }
}

impl<E: Env> Stream for Run<E> {
    type Item = Generated;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Generated>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.step() {
            Step::Part => {
                ready!(self.poll_due(cx));
                Poll::Ready(Some(self.part()))
            }
            // Nothing wakes it again: only dropping the run ends it.
            Step::Stall => Poll::Pending,
            Step::End(end) => {
                self.ended = true;
                self.timer = None;
                Poll::Ready(Some(end))
            }
        }
    }
}

impl<E: Env> fmt::Debug for Run<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("script", &self.script).field("emitted", &self.emitted).finish()
    }
}

/// A call's part `at`, counted over all calls: its beginning, and its input in two pieces.
fn call_part(tool: &str, Episode { history_version, attempt }: Episode, at: u64) -> Generated {
    let number = at / CALL_PARTS + 1;
    match at % CALL_PARTS {
        0 => {
            let id = format!("call_{history_version}_{attempt}_{number}");
            Generated::Part { begins: Some(Block::tool_call(&id, tool)), text: String::new() }
        }
        1 => Generated::text("{\"n\": "),
        _ => Generated::text(format!("{number}}}")),
    }
}

fn failed(code: &str, after: u64, retryable: bool) -> Generated {
    let message = format!("the demo failed after part {after}, as it was asked to");
    let error = RunError { code: code.into(), message: message.into() };
    Generated::Failed { error, retryable, retry_after: None }
}
