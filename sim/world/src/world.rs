//! The world: replicas, rows, bus, links, operations in flight, models, viewers and users, as one value.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::drain::Drain;
use mainstem_machine::hub::{HubConfig, HubEvent, JoinedParts};
use mainstem_machine::replica::{Replica, ReplicaConfig, ReplicaEvent};
use mainstem_machine::store::{IdempotencyKey, Request};
use mainstem_machine::{ChatId, Command, Content, Cursor, Keep, ReplicaId, SubscriptionId, Time};
use mainstem_oracles::{
    Answer, Evidence, FaultKind, Judge, Life as Lived, Name, RunId, Settings, StreamId, Violation,
};
use mainstem_rows::Rows;
use uuid::Uuid;

use crate::choice::{ChatAt, Choice, NodeAt, Order, ViewerAt};
use crate::damage::{Heard, Testimony};
use crate::hashed::Hashed;
use crate::node::{Label, Life, Node, Operation};
use crate::operations::Work;
use crate::trace::{Line, Told, Trace};

/// The user that all viewers and requests act for.
pub(crate) const USER: &str = "user";
/// Parts that a model says at once, now and then: more than wait for anybody.
const MANY: usize = 24;

/// How large a world is, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    /// Replicas, all of them up.
    pub replicas: u8,
    /// Chats, each created with a message.
    pub chats: u8,
    /// Viewers; the first watches the first chat, and so on.
    pub viewers: u8,
    /// Runs at once, at each replica.
    pub workers: usize,
    /// How long a lease lasts.
    pub lease_ttl: Duration,
    /// How often a replica looks for news.
    pub poll_interval: Duration,
    /// Bytes of an answer.
    pub episode_bytes_max: usize,
    /// Messages that a snapshot carries.
    pub tail_messages_max: usize,
    /// How often leases are renewed; `None` for three times before they expire.
    pub heartbeat: Option<Duration>,
    /// There is no chat until somebody creates it.
    pub empty: bool,
    /// What may happen that need not.
    pub budget: Budget,
}

impl Setup {
    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat.unwrap_or(self.lease_ttl / 3)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            replicas: 2,
            chats: 1,
            viewers: 1,
            workers: 4,
            lease_ttl: Duration::from_secs(15),
            poll_interval: Duration::from_secs(5),
            episode_bytes_max: 160,
            tail_messages_max: 3,
            heartbeat: None,
            empty: false,
            budget: Budget::default(),
        }
    }
}

/// How much may still happen that need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Things that go wrong.
    pub faults: u16,
    /// Things that take their time.
    pub delays: u16,
    /// Requests of users.
    pub requests: u16,
    /// Times that a viewer comes or goes.
    pub moves: u16,
    /// Parts that models say.
    pub parts: u16,
    /// Times that nothing happens until something is due.
    pub passes: u16,
}

impl Default for Budget {
    fn default() -> Self {
        Self { faults: 20, delays: 20, requests: 20, moves: 20, parts: 60, passes: u16::MAX }
    }
}

/// All of the world that decides what may happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: Time,
    pub(crate) rows: Hashed<Rows>,
    pub(crate) nodes: Vec<Hashed<Node>>,
    pub(crate) viewers: Vec<Viewer>,
    pub(crate) asks: Hashed<Vec<Ask>>,
    /// Operations that nobody waits for any more, and that may happen yet, with the replica they came from.
    pub(crate) strays: VecDeque<(NodeAt, Operation)>,
    pub(crate) budget: Budget,
    pub(crate) runs: Label<usize>,
    pub(crate) streams: Label<u64>,
    pub(crate) entropy: Label<u64>,
    /// Times in a row that something was due and was still due afterwards.
    pub(crate) stuck: u16,
}

/// A viewer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Viewer {
    pub(crate) name: Name,
    pub(crate) chat: ChatAt,
    pub(crate) stream: Option<Stream>,
    pub(crate) cursor: Option<Cursor>,
    /// It was told that the chat is gone.
    pub(crate) over: bool,
    /// It reads nothing for a while.
    pub(crate) stalled: bool,
}

/// A viewer's stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) on: NodeAt,
    pub(crate) subscription: SubscriptionId,
    pub(crate) id: Label<StreamId>,
    /// There was nothing for it, and there was no news since.
    pub(crate) idle: bool,
}

/// A request of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) key: Name,
    pub(crate) text: Option<Arc<str>>,
    pub(crate) request: Request,
    pub(crate) stage: Asking,
    /// It was answered by a rejection.
    pub(crate) rejected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asking {
    /// At this replica.
    InFlight(NodeAt),
    /// Nobody knows what became of it: it may be asked again.
    Unanswered,
    Answered,
}

/// The world, with the judges that watch it.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) setup: Arc<Setup>,
    pub(crate) state: State,
    pub(crate) judge: Judge,
    /// What the machines asked for and was not carried out yet: nothing, between two choices.
    pub(crate) work: VecDeque<Work>,
    pub(crate) working: bool,
    /// The machines are held to their laws.
    pub(crate) laws: bool,
    /// With laws, one for all hubs, which is more than any driver would do.
    pub(crate) joined: JoinedParts,
    /// Lines of what happened, if they are kept.
    trace: Option<Trace>,
    /// What the judges are told, if it is kept.
    testimony: Option<Testimony>,
}

/// The chat at this place.
pub(crate) fn chat_id(chat: ChatAt) -> ChatId {
    ChatId(Uuid::from_u128(u128::from(chat.0) + 1))
}

/// The place of this chat.
pub(crate) fn chat_at(chat: ChatId) -> ChatAt {
    ChatAt(u8::try_from(chat.0.as_u128() - 1).expect("there are few chats"))
}

impl World {
    /// A world in which nothing has happened yet: all replicas are about to start.
    pub fn new(setup: Setup, judge: Judge) -> Self {
        Self::testified(setup, judge, None)
    }

    /// The same, and what the judges are told is kept.
    pub(crate) fn testified(setup: Setup, judge: Judge, testimony: Option<Testimony>) -> Self {
        let now = Time::from_micros(1_000_000);
        let node = |at: u8| {
            let id = ReplicaId::new(NodeAt(at).to_string()).expect("a letter is an id");
            let replica_config = ReplicaConfig {
                replica: id.clone(),
                workers: setup.workers,
                heartbeat: setup.heartbeat(),
                poll_interval: setup.poll_interval,
            };
            let config = HubConfig {
                replica: id.clone(),
                relays: setup.replicas > 1,
                lease_ttl: setup.lease_ttl,
                episode_bytes_max: setup.episode_bytes_max,
            };
            Hashed::new(Node {
                id,
                life: Life::Down,
                drain: Drain::default(),
                replica: Hashed::new(Replica::new(now, replica_config)),
                config: Arc::new(config),
                work_bus: false,
                hubs: Default::default(),
                operations: vec![],
                notices: VecDeque::new(),
                notices_held: false,
                may_work: true,
            })
        };
        let viewer = |at: u8| Viewer {
            name: ViewerAt(at).to_string().into(),
            chat: ChatAt(at % setup.chats.max(1)),
            stream: None,
            cursor: None,
            over: false,
            stalled: false,
        };
        let mut rows = Rows::new(setup.lease_ttl);
        rows.set_tail_messages_max(setup.tail_messages_max);
        let state = State {
            now,
            rows: Hashed::new(rows),
            nodes: (0..setup.replicas).map(node).collect(),
            viewers: (0..setup.viewers).map(viewer).collect(),
            asks: Hashed::new(vec![]),
            strays: VecDeque::new(),
            budget: setup.budget,
            runs: Label(0),
            streams: Label(0),
            entropy: Label(0),
            stuck: 0,
        };
        let mut world = Self {
            setup: Arc::new(setup),
            state,
            judge,
            work: VecDeque::new(),
            working: false,
            laws: false,
            joined: JoinedParts::default(),
            trace: None,
            testimony,
        };
        world.observe(Evidence::Settings(Settings {
            lease_ttl: setup.lease_ttl,
            poll_interval: setup.poll_interval,
            workers: setup.workers,
            episode_bytes_max: setup.episode_bytes_max,
        }));
        for at in 0..setup.replicas {
            world.start(NodeAt(at));
        }
        world.settle();
        for at in (0..setup.chats).filter(|_| !setup.empty) {
            world.create(NodeAt(0), ChatAt(at));
        }
        world
    }

    /// Keeps lines of what happens from now on. What is told is held to the laws as well.
    pub(crate) fn keep(&mut self, trace: Trace) {
        self.keep_laws();
        self.trace = Some(trace);
    }

    /// The first guarantee that was broken.
    pub fn verdict(&self) -> Option<&Violation> {
        self.judge.verdict()
    }

    /// The judges.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    pub(crate) fn note(&self, told: Told, line: impl FnOnce() -> (String, String)) {
        if let Some(trace) = &self.trace {
            let (who, what) = line();
            trace.push(Line { at: self.state.now, told, who, what });
        }
    }

    pub(crate) fn observe(&mut self, evidence: Evidence) {
        let before = self.judge.found().len();
        self.testify(|now| Heard::Evidence(now, evidence.clone()));
        self.judge.observe(self.state.now, evidence);
        if self.judge.found().len() > before {
            let found = self.judge.found()[before].to_string();
            self.note(Told::Broken, || ("judge".into(), found));
        }
    }

    pub(crate) fn testify(&self, heard: impl FnOnce(Time) -> Heard) {
        if let Some(testimony) = &self.testimony {
            testimony.push(heard(self.state.now));
        }
    }

    pub(crate) fn node(&mut self, at: NodeAt) -> &mut Node {
        &mut self.state.nodes[usize::from(at.0)]
    }

    pub(crate) fn peek(&self, at: NodeAt) -> Option<&Node> {
        self.state.nodes.get(usize::from(at.0)).map(|node| &**node)
    }

    pub(crate) fn name(&self, at: NodeAt) -> Name {
        self.state.nodes[usize::from(at.0)].id.clone().into()
    }

    pub(crate) fn fault(&mut self, kind: FaultKind, who: Name, other: Option<Name>) {
        self.note(Told::Fault, || (who.to_string(), kind.to_string()));
        self.observe(Evidence::Fault { kind, who, other });
    }

    /// A user creates a chat.
    fn create(&mut self, node: NodeAt, chat: ChatAt) {
        if chat.0 >= self.setup.chats || !self.peek(node).is_some_and(Node::is_up) {
            return;
        }
        let text: Arc<str> = format!("begin {chat}").into();
        let (title, model, owner) = (None, None, USER.into());
        let content = Some(Content::text(&text));
        let command = Command::Create { chat: chat_id(chat), owner, title, model, content };
        self.ask(node, chat_id(chat), command, Some(text));
    }

    /// A new request of a user, on its way.
    pub(crate) fn ask(&mut self, node: NodeAt, chat: ChatId, command: Command, text: Option<Arc<str>>) {
        let key: Name = format!("k{}", self.state.asks.len()).into();
        let (caller, body, keep) = (USER.into(), [0; 32], Keep::Answer);
        let idempotency_key = Some(IdempotencyKey { caller, key: key.clone(), body, keep });
        let request = Request { chat, command, by: Some(USER.into()), idempotency_key };
        self.state.asks.push(Ask { key, text, request, stage: Asking::Unanswered, rejected: false });
        self.send(self.state.asks.len() - 1, node);
    }

    /// The user is told what became of a request.
    pub(crate) fn answered(&mut self, at: usize, answer: Answer) {
        let ask = &mut self.state.asks[at];
        ask.stage = Asking::Answered;
        ask.rejected = !matches!(answer, Answer::Accepted(_));
        let (caller, key, chat) = (USER.into(), ask.key.clone(), ask.request.chat);
        self.observe(Evidence::Answered { caller, key, chat, answer });
    }

    pub(crate) fn next_run(&mut self) -> RunId {
        self.state.runs.0 += 1;
        RunId(self.state.runs.0)
    }

    pub(crate) fn next_stream(&mut self) -> StreamId {
        self.state.streams.0 += 1;
        StreamId(self.state.streams.0)
    }

    pub(crate) fn next_entropy(&mut self) -> u64 {
        self.state.entropy.0 = self.state.entropy.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.state.entropy.0
    }

    /// Carries on with what was asked for, in order, until there is nothing left that does not need time.
    pub fn settle(&mut self) {
        while let Some(choice) = self.first_urgent() {
            self.step(choice);
        }
    }

    pub(crate) fn lived(&mut self, node: NodeAt, life: Lived) {
        let replica = self.name(node);
        self.note(Told::Happened, || (replica.to_string(), format!("{life:?}").to_lowercase()));
        self.observe(Evidence::Lived { replica, life });
    }

    /// What a user may ask for now, as a command.
    pub(crate) fn command(&self, chat: ChatAt, order: Order) -> Option<(Command, Option<Arc<str>>)> {
        let (rows, id) = (&self.state.rows, chat_id(chat));
        let state = rows.state(id)?;
        let text: Arc<str> = format!("said {}", self.state.asks.len()).into();
        let content = || Content::text(&text);
        Some(match order {
            Order::Send(mode) => (Command::Send { content: content(), mode, queue_max: 4 }, Some(text)),
            Order::Edit => {
                let users =
                    |message: &&Arc<mainstem_machine::Message>| message.role == mainstem_machine::Role::User;
                let message = rows.history(id).iter().rfind(users)?.id;
                (Command::Edit { message, content: content() }, Some(text))
            }
            Order::Interrupt => (Command::Interrupt { episode: None }, None),
            Order::Promote => (Command::Promote { queued: state.queue.last()?.id }, None),
            Order::DeleteQueued => (Command::DeleteQueued { queued: state.queue.first()?.id }, None),
            Order::Delete => (Command::Delete, None),
            Order::EditThis(message) => (Command::Edit { message, content: content() }, Some(text)),
            Order::PromoteThis(queued) => (Command::Promote { queued }, None),
            Order::DeleteThisQueued(queued) => (Command::DeleteQueued { queued }, None),
        })
    }

    /// Does what was chosen; nothing if it is not possible now.
    pub fn step(&mut self, choice: Choice) {
        self.note(Told::Chosen, || ("run".into(), choice.to_string()));
        match choice {
            Choice::Operation { node, chat, kind, how } => self.operation(node, chat, kind, how),
            Choice::Stray => self.stray(),
            Choice::Notice(node) => self.take_notice(node, false),
            Choice::RepeatNotice(node) => self.take_notice(node, true),
            Choice::LoseNotice(node) => self.lose_notice(node),
            Choice::HoldNotices(node) => self.hold_notices(node),
            Choice::BreakBus(node) => self.break_bus(node),
            Choice::AnswerDial(node, chat) => self.answer_dial(node, chat),
            Choice::Relay(node, chat) => self.relay(node, chat),
            Choice::HoldLink(node, chat) => self.hold_link(node, chat),
            Choice::BreakLink(node, chat) => self.break_link(node, chat),
            Choice::Say(node, chat) => self.say(node, chat, 1),
            Choice::SayMuch(node, chat) => self.say(node, chat, 60),
            Choice::SayMany(node, chat) => (0..MANY).for_each(|_| self.say(node, chat, 1)),
            Choice::Finish(node, chat) => self.finish(node, chat),
            Choice::Fail(node, chat) => self.fail(node, chat, true),
            Choice::FailForGood(node, chat) => self.fail(node, chat, false),
            Choice::Watch(viewer, node, from) => self.watch(viewer, node, from),
            Choice::Read(viewer) => self.read(viewer, false),
            Choice::Lose(viewer) => self.read(viewer, true),
            Choice::Leave(viewer) => self.leave(viewer),
            Choice::Stall(viewer) => self.stall(viewer),
            Choice::Ask(node, chat, order) => self.ask_for(node, chat, order),
            Choice::AskAgain(node) => self.ask_again(node),
            Choice::Create(node, chat) => self.create(node, chat),
            Choice::Pass => self.pass(None),
            Choice::PassAtMost(span) => self.pass(Some(span)),
            Choice::MayWork(node) => self.let_work(node, true),
            Choice::MayNotWork(node) => self.let_work(node, false),
            Choice::Crash(node) => self.crash(node, Life::Down),
            Choice::Lost(node) => self.crash(node, Life::Lost),
            Choice::Start(node) => self.start(node),
            Choice::Pause(node) => self.pause(node),
            Choice::Resume(node) => self.resume(node),
            Choice::Drain(node) => self.drain(node),
            Choice::HandOver(node) => self.hand_over(node),
            Choice::Exit(node) => self.exit(node),
        }
        self.settle_drains();
        if self.laws {
            self.check_open();
        }
    }

    /// Hands an event to a hub, if it is open, and carries out what it asks for.
    pub(crate) fn handle(&mut self, node: NodeAt, chat: ChatAt, event: HubEvent) {
        let now = self.state.now;
        let there = self.peek(node).and_then(|node| node.hubs.get(&chat));
        if there.is_none_or(|open| open.hub.is_finished()) {
            return;
        }
        self.open(node, chat).hub.handle(now, event);
        self.settle_hub(node, chat);
    }

    /// Hands an event to a replica's machine, and carries out what it asks for.
    pub(crate) fn tell_replica(&mut self, node: NodeAt, event: ReplicaEvent) {
        let now = self.state.now;
        self.node(node).replica.handle(now, event);
        self.settle_replica(node);
    }
}
