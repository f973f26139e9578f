//! Models that say what a story tells them to, when it tells them, or play by themselves what a user's message
//! asks of them. Every part that a replica takes from one is told to the judges.

mod script;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::{Stream, StreamExt};
use mainstem_machine::{ChatId, Episode, ReplicaId, Role, RunError, Time};
use mainstem_oracles::{Evidence, RunEnd, RunId};
use mainstem_runtime::ports::{Conversation, Generated, Generation, Generator};

use crate::world::{Sleep, World};

use script::{Script, Turn};

/// All models of a run. Cheap to clone.
#[derive(Clone)]
pub struct Stage(Arc<Mutex<State>>);

struct State {
    world: World,
    actors: Vec<Actor>,
    /// Whoever is on stage, or enters it, finishes at once.
    curtain: bool,
}

/// One run of a model; its place in `actors` is its id for the judges.
struct Actor {
    replica: String,
    chat: ChatId,
    episode: Episode,
    lines: VecDeque<Generated>,
    script: Option<Script>,
    /// When the script's next turn is due; `None` when it has none any more.
    due: Option<Time>,
    waker: Option<Waker>,
    /// Lines handed to it so far that are text.
    said: u64,
    /// Of these, taken by the replica.
    taken: u64,
    over: bool,
    /// It stays on stage when it is cancelled.
    deaf: bool,
}

/// What is left on stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnStage {
    pub chat: ChatId,
    pub episode: Episode,
}

impl Stage {
    pub fn new(world: &World) -> Self {
        Self(Arc::new(Mutex::new(State { world: world.clone(), actors: vec![], curtain: false })))
    }

    pub fn generator(&self, replica: &str) -> SimGenerator {
        SimGenerator { stage: self.clone(), replica: replica.to_owned() }
    }

    /// The run that the replica has for the chat, if it has one.
    pub fn on_stage(&self, replica: &str, chat: ChatId) -> Option<OnStage> {
        self.with(|state| {
            let at = state.find(replica, chat)?;
            Some(OnStage { chat, episode: state.actors[at].episode })
        })
    }

    /// So many parts more, each with a text that says where it belongs. False: nobody is on stage.
    pub fn say_parts(&self, replica: &str, chat: ChatId, count: u64) -> bool {
        self.with(|state| {
            let Some(at) = state.find(replica, chat) else { return false };
            state.actors[at].say_parts(count);
            state.actors[at].wake();
            true
        })
    }

    /// False: nobody is on stage.
    pub fn say(&self, replica: &str, chat: ChatId, line: Generated) -> bool {
        self.with(|state| {
            let Some(at) = state.find(replica, chat) else { return false };
            state.actors[at].said += u64::from(matches!(line, Generated::Text(_)));
            state.actors[at].lines.push_back(line);
            state.actors[at].wake();
            true
        })
    }

    /// The run stays on stage when it is cancelled, and whatever it says then, nobody should hear. False: nobody
    /// is on stage.
    pub fn ignore_cancellation(&self, replica: &str, chat: ChatId) -> bool {
        self.with(|state| {
            let Some(at) = state.find(replica, chat) else { return false };
            state.actors[at].deaf = true;
            true
        })
    }

    /// Every run finishes as soon as it can, those that come later too.
    pub fn lower_curtain(&self) {
        self.with(|state| {
            state.curtain = true;
            state.actors.iter_mut().for_each(Actor::wake);
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().expect("the stage is whole"))
    }
}

impl State {
    fn find(&self, replica: &str, chat: ChatId) -> Option<usize> {
        self.actors.iter().rposition(|a| a.replica == replica && a.chat == chat && !a.over)
    }
}

impl Actor {
    fn say_parts(&mut self, count: u64) {
        let size = self.script.as_ref().map_or(0, |script| script.size);
        for _ in 0..count {
            self.said += 1;
            let mut text = format!("{}:{:?}:{} ", self.replica, self.episode, self.said);
            text.extend(std::iter::repeat_n('.', size.saturating_sub(text.len())));
            self.lines.push_back(Generated::Text(text));
        }
    }

    /// The script has its next turn, if it is due and nothing else is left to say.
    fn play(&mut self, world: &World) {
        let (Some(script), Some(due)) = (self.script.as_ref(), self.due) else { return };
        if !self.lines.is_empty() || self.over {
            return;
        }
        let (now, who) = (world.now(), self.replica.as_str());
        let turn = script.turn(self.said, self.episode.attempt);
        match turn {
            Turn::Stall => {
                world.landed("model stalls", who, format_args!("{:?}", self.episode));
                self.due = None;
            }
            _ if now < due => {}
            Turn::Parts(count) => {
                if script.burst > 1 {
                    world.landed("model bursts", who, format_args!("{count} parts of {:?}", self.episode));
                }
                self.due = Some(due + script.every);
                self.say_parts(count);
            }
            Turn::Fail { retryable } => {
                let fault = if retryable { "model fails" } else { "model fails for good" };
                world.landed(fault, who, format_args!("{:?}", self.episode));
                let error = RunError { code: "model_failed".into(), message: "as it was asked to".into() };
                self.lines.push_back(Generated::Failed { error, retryable });
            }
            Turn::Done => self.lines.push_back(Generated::Done),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

/// The models of one replica.
#[derive(Clone, Debug)]
pub struct SimGenerator {
    stage: Stage,
    replica: String,
}

impl Generator for SimGenerator {
    fn start(&self, conversation: Conversation) -> Generation {
        let Conversation { chat, episode, messages, .. } = conversation;
        let asked = messages.iter().rfind(|message| message.role == Role::User);
        let script = asked.and_then(|message| Script::parse(&message.content.to_text()));
        let id = self.stage.with(|state| {
            let world = &state.world;
            world.trace(
                &self.replica,
                format_args!("starts the model for {episode:?}, {} messages", messages.len()),
            );
            let replica = ReplicaId::new(self.replica.as_str()).expect("a replica's name is an id");
            let started = world.now();
            let run = RunId(state.actors.len());
            world.observe(Evidence::RunStarted { run, replica, chat, episode });
            let due = script.as_ref().map(|script| started + script.every);
            state.actors.push(Actor {
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
            });
            state.actors.len() - 1
        });
        Performance { stage: self.stage.clone(), id, timer: None }.boxed()
    }
}

struct Performance {
    stage: Stage,
    id: usize,
    timer: Option<(Time, Sleep)>,
}

impl Performance {
    /// Polled again when the script's next turn is due.
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

impl Stream for Performance {
    type Item = Generated;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Generated>> {
        let Self { stage, id, timer } = &mut *self;
        let id = *id;
        stage.with(|state| {
            let (curtain, world) = (state.curtain, state.world.clone());
            let actor = &mut state.actors[id];
            if actor.over {
                return Poll::Ready(None);
            }
            if !curtain {
                actor.play(&world);
            }
            let next = actor.lines.pop_front().or(curtain.then_some(Generated::Done));
            let Some(line) = next else {
                actor.waker = Some(cx.waker().clone());
                if let Some(due) = actor.due {
                    Self::wake_at(timer, due, &world, cx);
                }
                return Poll::Pending;
            };
            actor.over = !matches!(line, Generated::Text(_));
            let said = match &line {
                Generated::Text(text) => {
                    world.observe(Evidence::RunSaid { run: RunId(id), text: text.clone() });
                    actor.taken += 1;
                    format!("part {}", actor.taken)
                }
                Generated::Done => {
                    world.observe(Evidence::RunEnded { run: RunId(id), how: RunEnd::Done });
                    "the end".to_owned()
                }
                Generated::Failed { retryable, .. } => {
                    world.observe(Evidence::RunEnded { run: RunId(id), how: RunEnd::Failed });
                    format!("failure, retryable {retryable}")
                }
            };
            world.trace(&actor.replica, format_args!("takes from the model of {:?}: {said}", actor.episode));
            Poll::Ready(Some(line))
        })
    }
}

impl Drop for Performance {
    fn drop(&mut self) {
        self.stage.with(|state| {
            let actor = &mut state.actors[self.id];
            if !actor.over {
                let (run, how) = (RunId(self.id), RunEnd::Cancelled);
                state.world.observe(Evidence::RunEnded { run, how });
            }
            if actor.deaf && !actor.over {
                let what = format_args!("the model of {:?} goes on", actor.episode);
                state.world.landed("model ignores cancellation", &actor.replica, what);
            } else if !std::mem::replace(&mut actor.over, true) {
                state.world.trace(&actor.replica, format_args!("cancels the model of {:?}", actor.episode));
                if actor.script.as_ref().is_some_and(|script| script.deaf) {
                    let episode = actor.episode;
                    state.world.landed(
                        "model ignores cancellation",
                        &actor.replica,
                        format_args!("{episode:?}"),
                    );
                }
            }
        });
    }
}
