//! Simulated clients, each on a host of its own: viewers that watch a chat and resume by cursor, and users
//! that repeat their requests until they are answered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{Either, select};
use mainstem_machine::{Accepted, Body, ChatId, Cursor};
use mainstem_oracles::{Answer, Begin, Evidence, Name, StreamEnd, StreamId};
use mainstem_runtime::ports::{Env, TaskHandle, within};
use tokio::io::BufReader;
use tokio::sync::Notify;

use crate::device::Has;
use crate::edge;
use crate::env::SimEnv;
use crate::net::Net;
use crate::wire::{Ask, Ended, From, Order, Reply, read_line, write_line};
use crate::world::World;

/// The user that all clients of a run act for.
pub use mainstem_story::{USER, describe};
/// A user that owns no chat.
pub const STRANGER: &str = "stranger";
/// Delay between a broken stream and the next try.
const RETURN_DELAY: Duration = Duration::from_millis(200);
/// A stream without any sign of life for this long is abandoned.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A connection that is not established within this time is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A request that is not answered within this time is sent again, under its key.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches one chat. Dropping it makes the viewer leave.
#[derive(Debug)]
pub struct Viewer {
    shared: Arc<Shared>,
    _task: TaskHandle,
}

/// Who watches what, and with what it comes.
#[derive(Clone, Debug)]
pub struct Watch {
    pub name: Name,
    /// The account for which it asks.
    pub caller: Name,
    pub chat: ChatId,
    pub replica: String,
    pub has: Has,
}

#[derive(Debug)]
struct Shared {
    name: Name,
    caller: Name,
    chat: ChatId,
    has: Has,
    env: SimEnv,
    state: Mutex<State>,
    /// Wakes the viewer after a change of its state.
    changed: Notify,
    /// The replicas that the viewer tries in turn when it loses its replica. Empty: it waits for that one.
    roams: Vec<String>,
}

#[derive(Debug)]
struct State {
    replica: String,
    cursor: Option<Cursor>,
    /// Incremented to make the viewer leave its current stream for another replica.
    moves: u64,
    reads: bool,
    /// How its last stream ended.
    ended: Option<Ended>,
    connected: bool,
}

impl Viewer {
    pub fn new(world: &World, net: &Net, watch: Watch, roams: Vec<String>) -> Self {
        let Watch { name, caller, chat, replica, has } = watch;
        net.bring_up(&name);
        has.recall(world, &name, &caller, chat);
        let env = SimEnv::new(world, net, &name);
        let state = State { replica, cursor: None, moves: 0, reads: true, ended: None, connected: false };
        let (state, changed) = (Mutex::new(state), Notify::new());
        let shared = Arc::new(Shared { name, caller, chat, has, env: env.clone(), state, changed, roams });
        let watching = shared.clone();
        let task = env.spawn(async move { watching.watch().await });
        Self { shared, _task: task }
    }

    pub fn chat(&self) -> ChatId {
        self.shared.chat
    }

    pub fn caller(&self) -> &str {
        &self.shared.caller
    }

    /// The replica on which it watches, or tries to.
    pub fn replica(&self) -> String {
        self.shared.with(|state| state.replica.clone())
    }

    /// Continues at another replica, by its cursor.
    pub fn move_to(&self, replica: &str) {
        self.shared.with(|state| {
            state.replica = replica.to_owned();
            state.moves += 1;
        });
        self.shared.changed.notify_one();
    }

    pub fn set_reading(&self, reads: bool) {
        self.shared.with(|state| state.reads = reads);
        self.shared.changed.notify_one();
    }

    /// Why its last stream was ended, if one was.
    pub fn ended(&self) -> Option<Ended> {
        self.shared.with(|state| state.ended)
    }

    pub fn is_connected(&self) -> bool {
        self.shared.with(|state| state.connected)
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().expect("a viewer is whole"))
    }

    async fn watch(&self) {
        loop {
            let broke = self.watch_once().await;
            self.with(|state| state.connected = false);
            let world = self.env.world();
            match broke {
                Ok(Some(true)) => {
                    world.trace(&self.name, format_args!("is told that the chat was deleted"));
                    return;
                }
                Ok(Some(false)) => world.trace(&self.name, format_args!("is told to go elsewhere")),
                Ok(None) => world.trace(&self.name, format_args!("loses its stream")),
                Err(error) => world.trace(&self.name, format_args!("loses its stream: {}", error.kind())),
            }
            if self.ended_by_refusal() {
                return;
            }
            let there = self.with(|state| state.replica.clone());
            if let Some(next) = next_after(&self.roams, &there) {
                self.with(|state| state.replica = next);
            }
            self.env.sleep(RETURN_DELAY).await;
        }
    }

    /// Whether the chat was deleted: the viewer has seen it, and now it does not exist.
    fn ended_by_refusal(&self) -> bool {
        self.with(|state| state.ended == Some(Ended::Deleted))
    }

    /// `Some` if the replica ended the stream: whether because the chat was deleted.
    async fn watch_once(&self) -> std::io::Result<Option<bool>> {
        let world = self.env.world();
        let (replica, cursor, moves) = self.with(|state| (state.replica.clone(), state.cursor, state.moves));
        let address = edge::address(&replica);
        let stream = within(&self.env, CONNECT_TIMEOUT, self.env.connect(&address)).await??;
        let mut stream = BufReader::new(stream);
        let from = cursor.map_or_else(|| self.has.begin(), Begin::At);
        let id = world.next_stream();
        world.observe(Evidence::Watches {
            stream: id,
            viewer: self.name.clone(),
            caller: self.caller.clone(),
            chat: self.chat,
            on: replica.as_str().into(),
            from,
        });
        let watching = Watching { world: world.clone(), id, how: StreamEnd::Broken };
        let by = self.caller.to_string();
        write_line(&mut stream, &Ask::Subscribe { by, chat: self.chat, from: from.into(), stream: id.0 })
            .await?;
        world.trace(&self.name, format_args!("watches on {replica}"));
        self.with(|state| state.connected = true);
        self.follow(&mut stream, watching, moves).await
    }

    async fn follow(
        &self,
        stream: &mut BufReader<crate::net::Stream>,
        mut watching: Watching,
        moves: u64,
    ) -> std::io::Result<Option<bool>> {
        let world = self.env.world();
        loop {
            let reply = {
                let reading = read_line(stream);
                let mut reading = std::pin::pin!(reading);
                let mut silence = std::pin::pin!(self.env.sleep(SILENCE_MAX));
                loop {
                    if self.with(|state| state.moves != moves) {
                        return Ok(None);
                    }
                    if !self.with(|state| state.reads) {
                        self.changed.notified().await;
                        silence.set(self.env.sleep(SILENCE_MAX));
                        continue;
                    }
                    let changed = std::pin::pin!(self.changed.notified());
                    match select(reading.as_mut(), select(silence.as_mut(), changed)).await {
                        Either::Left((reply, _)) => break reply?,
                        Either::Right((Either::Left(_), _)) => {
                            return Err(std::io::ErrorKind::TimedOut.into());
                        }
                        Either::Right((Either::Right(_), _)) => {}
                    }
                }
            };
            match reply {
                None => return Ok(None),
                Some(Reply::Alive) => {}
                Some(Reply::Events(events)) => {
                    for event in events {
                        let event = event.into_event()?;
                        world.trace(&self.name, format_args!("sees {}", describe(&event.body)));
                        self.with(|state| state.cursor = Some(event.cursor));
                        if let Body::Parts { first_seq, last_seq, .. } = &event.body {
                            world.tally().delivered(last_seq.0 + 1 - first_seq.0);
                        }
                        world.observe(Evidence::Saw { stream: watching.id, event });
                    }
                }
                Some(Reply::End(ended)) => {
                    let deleted = ended == Ended::Deleted;
                    watching.how = match ended {
                        Ended::Deleted => StreamEnd::Deleted,
                        Ended::Unshared => StreamEnd::Unshared,
                        Ended::Leaving => StreamEnd::Leaving,
                    };
                    self.with(|state| state.ended = Some(ended));
                    return Ok(Some(deleted));
                }
                Some(Reply::Rejected(why)) => {
                    watching.how = StreamEnd::Refused;
                    // What is shared may be taken, and be shared again.
                    let is_guest = world.judge(|judge| {
                        let last = judge.index().past(self.chat).and_then(|past| past.last());
                        last.is_some_and(|last| *last.state.owner != *self.caller)
                    });
                    let was_there = self.with(|state| state.cursor.is_some()) && !is_guest;
                    self.with(|state| state.ended = was_there.then_some(Ended::Deleted));
                    return Err(std::io::Error::other(why));
                }
                Some(Reply::Unavailable(why)) => return Err(std::io::Error::other(why)),
                Some(Reply::Accepted(_)) => return Err(std::io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// A stream as the judges know it. Reports its end when dropped.
struct Watching {
    world: World,
    id: StreamId,
    how: StreamEnd,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.world.observe(Evidence::StreamEnded { stream: self.id, how: self.how });
    }
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub enum Answered {
    Accepted(Accepted),
    Rejected(String),
    /// Nobody knows: it had no key.
    Lost,
}

/// A request, ready to be sent, also again under its key.
#[derive(Clone, Debug)]
pub struct Request {
    pub caller: Name,
    pub chat: ChatId,
    pub order: Order,
    pub key: Option<String>,
    /// The judges' name for it: no two have the same one.
    pub name: Name,
}

/// The replica after `there`; `None` if clients do not roam.
fn next_after(roams: &[String], there: &str) -> Option<String> {
    let at = roams.iter().position(|name| name == there).map_or(0, |at| at + 1);
    roams.get(at).or(roams.first()).cloned()
}

/// Sends a request, under one key, until it is answered: to the replica, or to those in `roams` in turn. Without a key
/// it is sent once.
pub async fn ask(env: &SimEnv, replica: &str, roams: &[String], request: Request) -> Answered {
    let mut replica = replica.to_owned();
    let Request { caller, chat, order, key, name } = &request;
    let (world, chat) = (env.world(), *chat);
    let asked = || (caller.clone(), name.clone());
    let answered = |answer| {
        let (caller, key) = asked();
        world.observe(Evidence::Answered { caller, key, chat, answer });
    };
    loop {
        let ((caller, key_), text) = (asked(), order.text().map(str::to_owned));
        let on = Name::from(replica.as_str());
        let keyed = !key.as_deref().is_some_and(|key| edge::is_named(order, key));
        world.observe(Evidence::Asked { caller, key: key_, chat, on, text, keyed });
        match within(env, ANSWER_TIMEOUT, ask_once(env, &replica, &request)).await {
            Ok(Ok(Reply::Accepted(accepted))) => {
                answered(Answer::Accepted(accepted.clone()));
                world.trace(env.name(), format_args!("is acknowledged {name}"));
                return Answered::Accepted(accepted);
            }
            Ok(Ok(Reply::Rejected(why))) => {
                answered(Answer::Refused);
                world.trace(env.name(), format_args!("is refused {name}: {why}"));
                return Answered::Rejected(why);
            }
            Ok(Ok(Reply::Unavailable(why))) => {
                world.trace(env.name(), format_args!("waits with {name}: {why}"))
            }
            Ok(Ok(_)) => world.trace(env.name(), format_args!("gets nonsense for {name}")),
            Ok(Err(error)) | Err(error) => {
                world.trace(env.name(), format_args!("gets no answer to {name}: {}", error.kind()));
            }
        }
        if key.is_none() {
            let (caller, key) = asked();
            world.tally().landed("answer lost for good");
            world.observe(Evidence::Unanswered { caller, key, chat });
            return Answered::Lost;
        }
        if let Some(next) = next_after(roams, &replica) {
            replica = next;
        }
        env.sleep(RETURN_DELAY).await;
    }
}

/// Requests to watch somebody else's chat, and to interrupt it. Both must be rejected (S10), or may go
/// unanswered.
pub async fn try_as_stranger(env: &SimEnv, replica: &str, chat: ChatId) {
    let by = || STRANGER.to_owned();
    let world = env.world();
    let stream = world.next_stream();
    world.observe(Evidence::Watches {
        stream,
        viewer: STRANGER.into(),
        caller: STRANGER.into(),
        chat,
        on: replica.into(),
        from: Begin::Fresh,
    });
    let _watching = Watching { world: world.clone(), id: stream, how: StreamEnd::Refused };
    let watch = Ask::Subscribe { by: by(), chat, from: From::Fresh, stream: stream.0 };
    let stop = Ask::Execute { by: by(), chat, order: Order::Interrupt, key: Some("a stranger's".into()) };
    for ask in [watch, stop] {
        match within(env, ANSWER_TIMEOUT, reply_once(env, replica, &ask)).await {
            Ok(Ok(Reply::Accepted(accepted))) => {
                let (caller, key, answer) =
                    (STRANGER.into(), "a stranger's".into(), Answer::Accepted(accepted));
                world.observe(Evidence::Answered { caller, key, chat, answer });
            }
            Ok(Ok(Reply::Events(events))) => {
                for event in events.into_iter().filter_map(|event| event.into_event().ok()) {
                    world.observe(Evidence::Saw { stream, event });
                }
            }
            _ => {}
        }
    }
}

async fn ask_once(env: &SimEnv, replica: &str, request: &Request) -> std::io::Result<Reply> {
    let Request { caller, chat, order, key, .. } = request;
    let ask = Ask::Execute { by: caller.to_string(), chat: *chat, order: order.clone(), key: key.clone() };
    reply_once(env, replica, &ask).await
}

/// Sends one request and waits for the first reply.
async fn reply_once(env: &SimEnv, replica: &str, ask: &Ask) -> std::io::Result<Reply> {
    let mut stream = BufReader::new(env.connect(&edge::address(replica)).await?);
    write_line(&mut stream, ask).await?;
    read_line(&mut stream).await?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
