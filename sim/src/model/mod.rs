//! Simulated models. A story controls what they generate and when, or a user's message contains a script that
//! they follow. Every part that a replica receives from a model is reported to the judges.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::{Stream, StreamExt};
use mainstem_machine::{ChatId, Completion, Episode, FinishReason, ReplicaId, Role, RunError, Time, Usage};
use mainstem_oracles::{Evidence, FaultKind, RunEnd, RunId};
use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};
use mainstem_story::{Carrying, Script, Turn, part_of_all_kinds};

use crate::world::{Sleep, World};

/// From this length on, a part counts as large.
const MUCH: usize = 500;

/// Controls all models of a simulation. Cheap to clone.
#[derive(Clone)]
pub struct ModelControl(Arc<Mutex<State>>);

struct State {
    world: World,
    runs: Vec<ModelRun>,
    /// All runs finish at once, current and new ones.
    finishing: bool,
}

/// One run of a model. Its index in `runs` is its id for the judges.
struct ModelRun {
    replica: String,
    chat: ChatId,
    episode: Episode,
    lines: VecDeque<Generated>,
    script: Option<Script>,
    /// When the next step of the script is due; `None` if there is none.
    due: Option<Time>,
    waker: Option<Waker>,
    /// How many parts it was told to generate.
    said: u64,
    /// How many of them the replica has received.
    taken: u64,
    over: bool,
    /// It ignores cancellation.
    deaf: bool,
    /// It answers what came of its calls.
    has_results: bool,
}

/// A run that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveRun {
    pub chat: ChatId,
    pub episode: Episode,
}

impl ModelControl {
    pub fn new(world: &World) -> Self {
        Self(Arc::new(Mutex::new(State { world: world.clone(), runs: vec![], finishing: false })))
    }

    pub fn generator(&self, replica: &str) -> SimGenerator {
        SimGenerator { model_control: self.clone(), replica: replica.to_owned() }
    }

    /// The replica's active run for the chat, if there is one.
    pub fn active_run(&self, replica: &str, chat: ChatId) -> Option<ActiveRun> {
        self.with(|state| {
            let at = state.find(replica, chat)?;
            Some(ActiveRun { chat, episode: state.runs[at].episode })
        })
    }

    /// Generates this many more parts, each with a text that says which part it is. False if there is no
    /// active run.
    pub fn say_parts(&self, replica: &str, chat: ChatId, count: u64) -> bool {
        self.with(|state| {
            let Some(at) = state.find(replica, chat) else { return false };
            state.runs[at].say_parts(count);
            state.runs[at].wake();
            true
        })
    }

    /// Generates this event. False if there is no active run.
    pub fn say(&self, replica: &str, chat: ChatId, line: Generated) -> bool {
        self.with(|state| {
            let Some(at) = state.find(replica, chat) else { return false };
            state.runs[at].said += u64::from(matches!(line, Generated::Part { .. }));
            state.runs[at].lines.push_back(line);
            state.runs[at].wake();
            true
        })
    }

    /// Lets the run ignore cancellation: what it generates afterwards must reach nobody. False if there is no
    /// active run.
    pub fn ignore_cancellation(&self, replica: &str, chat: ChatId) -> bool {
        self.with(|state| {
            let Some(at) = state.find(replica, chat) else { return false };
            state.runs[at].deaf = true;
            true
        })
    }

    /// How the tools carry out what the chat's last run calls.
    pub fn carrying(&self, chat: ChatId) -> Carrying {
        self.with(|state| {
            let run = state.runs.iter().rfind(|run| run.chat == chat);
            let script = run.and_then(|run| run.script.as_ref());
            script.map_or(Carrying::Returns(Duration::ZERO), Script::carrying)
        })
    }

    /// Lets all runs finish as soon as possible, including later ones.
    pub fn finish_all(&self) {
        self.with(|state| {
            state.finishing = true;
            state.runs.iter_mut().for_each(ModelRun::wake);
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().expect("no run panicked under the lock"))
    }
}

impl State {
    fn find(&self, replica: &str, chat: ChatId) -> Option<usize> {
        self.runs.iter().rposition(|a| a.replica == replica && a.chat == chat && !a.over)
    }
}

impl ModelRun {
    fn say_parts(&mut self, count: u64) {
        let size = self.script.as_ref().map_or(0, |script| script.size);
        for _ in 0..count {
            self.said += 1;
            let mut text = format!("{}:{:?}:{} ", self.replica, self.episode, self.said);
            text.extend(std::iter::repeat_n('.', size.saturating_sub(text.len())));
            let (begins, text) = match self.script.as_ref().is_some_and(|script| script.kinds) {
                true => part_of_all_kinds(self.said, text),
                false => (None, text),
            };
            self.lines.push_back(Generated::Part { begins, text });
        }
    }

    /// Performs the next step of the script, if it is due and everything before was taken.
    fn play(&mut self, world: &World) {
        let (Some(script), Some(due)) = (self.script.as_ref(), self.due) else { return };
        if !self.lines.is_empty() || self.over {
            return;
        }
        let (now, who) = (world.now(), self.replica.as_str());
        let turn = script.turn(self.said, self.episode.attempt);
        match turn {
            Turn::Stall => {
                world.landed(FaultKind::ModelStalls, who, format_args!("{:?}", self.episode));
                self.due = None;
            }
            _ if now < due => {}
            Turn::Parts(count) => {
                if script.burst > 1 {
                    world.landed(
                        FaultKind::ModelBursts,
                        who,
                        format_args!("{count} parts of {:?}", self.episode),
                    );
                }
                if script.size >= MUCH && self.said == 0 {
                    world.landed(FaultKind::ModelSaysMuch, who, format_args!("{} B a part", script.size));
                }
                self.due = Some(due + script.every);
                self.say_parts(count);
            }
            Turn::Fail { retryable } => {
                let fault = if retryable { FaultKind::ModelFails } else { FaultKind::ModelFailsForGood };
                world.landed(fault, who, format_args!("{:?}", self.episode));
                let error = RunError { code: "model_failed".into(), message: "as it was asked to".into() };
                let retry_after = script.after.filter(|_| retryable);
                self.lines.push_back(Generated::Failed { error, retryable, retry_after });
            }
            Turn::Done => {
                let calls = (script.calls || script.tools) && !self.has_results;
                let completion = self.completion();
                if calls {
                    world.landed(FaultKind::ModelCalls, who, format_args!("{:?}", self.episode));
                }
                let finish_reason =
                    if calls { Some(FinishReason::ToolCalls) } else { completion.finish_reason };
                self.lines.push_back(Generated::Done(Completion { finish_reason, ..completion }));
            }
        }
    }

    /// Another one for each length of an answer, with and without what it may lack.
    fn completion(&self) -> Completion {
        let usage = Usage { input_tokens: self.episode.history_version.0, output_tokens: self.said };
        Completion {
            finish_reason: [FinishReason::Stop, FinishReason::Length].get(self.said as usize % 3).copied(),
            usage: (!self.said.is_multiple_of(5)).then_some(usage),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for ModelControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

/// The models of one replica.
#[derive(Clone, Debug)]
pub struct SimGenerator {
    model_control: ModelControl,
    replica: String,
}

impl Generator for SimGenerator {
    fn start(&self, conversation: Conversation) -> Generation {
        let Conversation { chat, episode, history, .. } = conversation;
        let messages = history.messages;
        let asked = messages.iter().rfind(|message| message.role == Role::User);
        let script = asked.and_then(|message| Script::parse(&message.content.to_text()));
        let has_results = messages.last().is_some_and(|last| last.role == Role::Tool);
        let id = self.model_control.with(|state| {
            let world = &state.world;
            world.trace(
                &self.replica,
                format_args!("starts the model for {episode:?}, {} messages", messages.len()),
            );
            let replica = ReplicaId::new(self.replica.as_str()).expect("a replica's name is an id");
            let started = world.now();
            let run = RunId(state.runs.len());
            world.observe(Evidence::RunStarted { run, replica, chat, episode });
            world.observe(Evidence::Prompted { run, history: messages });
            let due = script.as_ref().map(|script| started + script.every);
            state.runs.push(ModelRun {
                replica: self.replica.clone(),
                chat,
                episode,
                lines: VecDeque::new(),
                script,
                due,
                waker: None,
                said: 0,
                taken: 0,
                over: false,
                deaf: false,
                has_results,
            });
            state.runs.len() - 1
        });
        RunStream { model_control: self.model_control.clone(), id, timer: None }.boxed()
    }
}

struct RunStream {
    model_control: ModelControl,
    id: usize,
    timer: Option<(Time, Sleep)>,
}

impl RunStream {
    /// Wakes the stream when the next step of the script is due.
    fn wake_at(timer: &mut Option<(Time, Sleep)>, due: Time, world: &World, cx: &mut Context<'_>) {
        if timer.as_ref().is_none_or(|(at, _)| *at != due) {
            *timer = Some((due, world.sleep_until(due)));
        }
        let (_, sleep) = timer.as_mut().expect("set above");
        if Pin::new(sleep).poll(cx).is_ready() {
            *timer = None;
            cx.waker().wake_by_ref();
        }
    }
}

impl Stream for RunStream {
    type Item = Generated;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Generated>> {
        let Self { model_control, id, timer } = &mut *self;
        let id = *id;
        model_control.with(|state| {
            let (finishing, world) = (state.finishing, state.world.clone());
            let run = &mut state.runs[id];
            if run.over {
                return Poll::Ready(None);
            }
            if !finishing {
                run.play(&world);
            }
            let next = run.lines.pop_front().or(finishing.then(|| Generated::Done(run.completion())));
            let Some(line) = next else {
                run.waker = Some(cx.waker().clone());
                if let Some(due) = run.due {
                    Self::wake_at(timer, due, &world, cx);
                }
                return Poll::Pending;
            };
            run.over = !matches!(line, Generated::Part { .. });
            let said = match &line {
                Generated::Part { begins, text } => {
                    let (begins, text) = (begins.clone(), text.clone());
                    world.observe(Evidence::RunSaid { run: RunId(id), begins, text });
                    run.taken += 1;
                    format!("part {}", run.taken)
                }
                Generated::Done(completion) => {
                    let how = RunEnd::Done(*completion);
                    world.observe(Evidence::RunEnded { run: RunId(id), how });
                    "the end".to_owned()
                }
                Generated::Failed { retryable, .. } => {
                    world.observe(Evidence::RunEnded { run: RunId(id), how: RunEnd::Failed });
                    format!("failure, retryable {retryable}")
                }
            };
            world.trace(&run.replica, format_args!("takes from the model of {:?}: {said}", run.episode));
            Poll::Ready(Some(line))
        })
    }
}

impl Drop for RunStream {
    fn drop(&mut self) {
        self.model_control.with(|state| {
            let run = &mut state.runs[self.id];
            if !run.over {
                let (run, how) = (RunId(self.id), RunEnd::Cancelled);
                state.world.observe(Evidence::RunEnded { run, how });
            }
            if run.deaf && !run.over {
                let what = format_args!("the model of {:?} goes on", run.episode);
                state.world.landed(FaultKind::ModelDeaf, &run.replica, what);
            } else if !std::mem::replace(&mut run.over, true) {
                state.world.trace(&run.replica, format_args!("cancels the model of {:?}", run.episode));
                if run.script.as_ref().is_some_and(|script| script.deaf) {
                    let episode = run.episode;
                    state.world.landed(FaultKind::ModelDeaf, &run.replica, format_args!("{episode:?}"));
                }
            }
        });
    }
}
