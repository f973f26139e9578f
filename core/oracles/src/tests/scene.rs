//! A scene for the tests: a chat with a small database, workers, and viewers that get the events that a test
//! chooses.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::{
    Accepted, Applied, Block, Body, ChatId, ChatState, Command, Completion, Content, Cursor, Effect, Episode,
    Fence, Fingerprint, Found, Lease, Message, MessageId, NewMessage, PreviewPosition, PreviewProgress,
    ReplicaId, Role, SendMode, Seq, Sought, StoreFacts as Row, StreamEvent, Time, WallTime,
};

use crate::{
    Answer, Begin, Committed, Evidence, Judge, Life, RunEnd, RunId, Standing, StreamEnd, StreamId, WorldFacts,
};

pub(super) struct Scene {
    pub(super) judge: Judge,
    pub(super) state: Option<ChatState>,
    pub(super) messages: Vec<Message>,
    pub(super) clock: Time,
    runs: usize,
    /// The current viewer.
    pub(super) stream: StreamId,
    /// Where its stream is.
    pub(super) cursor: Cursor,
}

pub(super) const CHAT: ChatId = ChatId(uuid::Uuid::from_u128(1));
pub(super) const OTHER: ChatId = ChatId(uuid::Uuid::from_u128(2));

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name).unwrap()
}

pub(super) fn send(text: &str, mode: SendMode) -> Command {
    Command::Send { content: Content::text(text), mode, queue_max: 9, client_id: None }
}

pub(super) fn queue(text: &str) -> Command {
    send(text, SendMode::Queue)
}

impl Scene {
    /// `one` was sent, `worker` has begun to answer, and a viewer has just subscribed.
    pub(super) fn new(worker: &str) -> Self {
        Self::judged_by(Judge::new(), worker)
    }

    pub(super) fn judged_by(judge: Judge, worker: &str) -> Self {
        let (state, messages, stream) = (None, vec![], StreamId(0));
        let mut scene =
            Self { judge, state, messages, clock: Time::START, runs: 0, stream, cursor: Cursor::default() };
        for name in ["A", "B", "C"] {
            scene.live(name, Life::Up);
        }
        let content = Some(Content::text("one"));
        scene.ask(
            "create",
            Command::Create {
                chat: CHAT,
                owner: "u".into(),
                settings: Default::default(),
                messages: NewMessage::opening(content),
            },
            Some("one"),
        );
        scene.begin(worker);
        scene.watch("V", "C", Begin::Fresh);
        scene.catch_up();
        scene
    }

    /// A new viewer gets the current state of the database.
    pub(super) fn catch_up(&mut self) {
        for at in 0..self.messages.len() {
            self.show(Body::Message(self.message(at)));
        }
        self.show_status();
        self.show(Body::Synced);
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.clock = self.clock + span;
    }

    pub(super) fn observe(&mut self, evidence: Evidence) {
        self.pass(Duration::from_micros(1));
        self.judge.observe(self.clock, evidence);
    }

    pub(super) fn live(&mut self, name: &str, life: Life) {
        self.observe(Evidence::Lived { replica: name.into(), life });
    }

    /// A replica drains, for as long as it lets runs go on.
    pub(super) fn drain(&mut self, name: &str) {
        self.live(name, Life::Draining);
        self.pass(crate::Settings::default().drain_timeout);
    }

    /// The user sends a request under a key, it is committed, and the user gets the answer.
    pub(super) fn ask(&mut self, key: &str, command: Command, text: Option<&str>) {
        self.ask_only(key, text);
        let accepted = self.commit_for(Some(key), command);
        self.answer(key, Answer::Accepted(accepted));
    }

    pub(super) fn ask_only(&mut self, key: &str, text: Option<&str>) {
        let text = text.map(str::to_owned);
        self.observe(Evidence::Asked {
            caller: "u".into(),
            key: key.into(),
            chat: CHAT,
            on: "C".into(),
            text,
            keyed: true,
        });
    }

    pub(super) fn answer(&mut self, key: &str, answer: Answer) {
        self.observe(Evidence::Answered { caller: "u".into(), key: key.into(), chat: CHAT, answer });
    }

    pub(super) fn commit(&mut self, command: Command) -> Accepted {
        self.commit_for(None, command)
    }

    pub(super) fn commit_for(&mut self, key: Option<&str>, command: Command) -> Accepted {
        let committed = self.change(key, command);
        self.take(committed)
    }

    /// The result of a command, which the test may falsify before it is committed.
    pub(super) fn change(&mut self, key: Option<&str>, command: Command) -> Committed {
        let found = command.sought().and_then(|sought| {
            let is_it = |message: &&Message| match sought {
                Sought::Message(id) => message.id == id,
                Sought::LastOfUser => message.role == Role::User,
            };
            self.messages.iter().rfind(is_it).map(Found::from)
        });
        let now = WallTime((self.clock.as_micros() / 1000) as i64);
        let row = Row { now, lease_expired: true, found, known: None };
        let applied = command.apply_to(self.state.as_ref(), None, &row);
        let Applied { answer: Ok(accepted), effect: Effect::Changed(change) } = applied else {
            panic!("{command:?} is accepted");
        };
        let by = match &command {
            Command::Acquire { replica, .. } => replica.clone(),
            _ => self.state.as_ref().and_then(|state| state.worker.clone()).unwrap_or_else(|| replica("A")),
        };
        Committed {
            chat: CHAT,
            by: by.as_str().into(),
            asked: self.clock,
            caller: key.map(|_| "u".into()),
            key: key.map(Into::into),
            command,
            state: change.state,
            deleted: change.deleted,
            cut_from: change.cut_from,
            inserted: change.inserted,
            ended: change.ended,
            accepted,
        }
    }

    pub(super) fn take(&mut self, committed: Committed) -> Accepted {
        if let Some(from) = committed.cut_from {
            self.messages.retain(|message| message.id < from);
        }
        self.messages.extend(committed.inserted.iter().cloned());
        self.state = Some((*committed.state).clone());
        let accepted = committed.accepted.clone();
        self.observe(Evidence::Committed(Box::new(committed)));
        accepted
    }

    /// The same change happens to another chat.
    pub(super) fn commit_elsewhere(&mut self, committed: &Committed) {
        let state = Arc::new(ChatState { id: OTHER, turn: None, ..(*committed.state).clone() });
        let committed =
            Committed { chat: OTHER, state, inserted: vec![], ended: vec![], ..committed.clone() };
        self.observe(Evidence::Committed(Box::new(committed)));
    }

    pub(super) fn state(&self) -> &ChatState {
        self.state.as_ref().unwrap()
    }

    pub(super) fn episode(&self) -> Episode {
        self.state().present_episode()
    }

    pub(super) fn fence(&self) -> Fence {
        let state = self.state();
        Fence { replica: state.worker.clone().unwrap(), lease: state.lease, episode: self.episode() }
    }

    pub(super) fn acquire(&mut self, worker: &str) {
        self.commit(Command::Acquire { replica: replica(worker), interrupting_only: false });
    }

    /// The replica acquires and begins an attempt.
    pub(super) fn begin(&mut self, worker: &str) {
        if self.state().worker.is_some() {
            self.pass(Duration::from_secs(15));
        }
        self.acquire(worker);
        if self.state().attempt_lease != Some(self.state().lease) {
            self.commit(Command::BeginAttempt { fence: self.fence() });
        }
        self.start(worker);
    }

    pub(super) fn start(&mut self, worker: &str) {
        self.runs += 1;
        let (run, episode) = (RunId(self.runs), self.episode());
        self.observe(Evidence::RunStarted { run, replica: replica(worker), chat: CHAT, episode });
    }

    pub(super) fn say(&mut self, part: &str) {
        self.say_of(None, part);
    }

    /// Says a part that may begin a block.
    pub(super) fn say_of(&mut self, begins: Option<Block>, part: &str) {
        self.observe(Evidence::RunSaid { run: RunId(self.runs), begins, text: part.into() });
    }

    pub(super) fn end_run(&mut self, how: RunEnd) {
        self.observe(Evidence::RunEnded { run: RunId(self.runs), how });
    }

    pub(super) fn finish(&mut self, answer: &str) {
        self.end_run(RunEnd::Done(Completion::STOPPED));
        self.commit(Command::FinishTurn {
            fence: self.fence(),
            answer: Some(Content::text(answer)),
            completion: Completion::STOPPED,
        });
    }

    pub(super) fn message(&self, at: usize) -> Arc<Message> {
        Arc::new(self.messages[at].clone())
    }

    pub(super) fn watch(&mut self, viewer: &str, on: &str, from: Begin) {
        self.watch_as(viewer, "u", on, from);
    }

    pub(super) fn watch_as(&mut self, viewer: &str, caller: &str, on: &str, from: Begin) {
        let stream = StreamId(self.stream.0 + 1);
        self.stream = stream;
        self.cursor = match from {
            Begin::Fresh => Cursor::default(),
            Begin::After(message) => Cursor { message, ..Cursor::default() },
            Begin::At(cursor) => cursor,
        };
        let (viewer, caller, on, chat) = (viewer.into(), caller.into(), on.into(), CHAT);
        self.observe(Evidence::Watches { stream, viewer, caller, chat, on, from });
    }

    pub(super) fn leave(&mut self) {
        self.observe(Evidence::StreamEnded { stream: self.stream, how: StreamEnd::Broken });
    }

    pub(super) fn show(&mut self, body: Body) {
        self.show_with(Cursor::default(), body);
    }

    /// The edge sends an event, and the client receives it.
    pub(super) fn show_with(&mut self, cursor: Cursor, body: Body) {
        let event = self.event(cursor, body);
        let stream = self.stream;
        self.observe(Evidence::Sent { stream, event: event.clone() });
        self.observe(Evidence::Saw { stream, event });
    }

    /// An event whose cursor moves by what it tells. `cursor`: where the preview is, if it tells parts.
    pub(super) fn event(&mut self, cursor: Cursor, body: Body) -> StreamEvent {
        let (at, print) = (&mut self.cursor, Fingerprint::of(&body));
        match &body {
            Body::Message(message) => (at.message, at.preview) = (message.id, None),
            Body::HistoryReset => (at.message, at.preview) = (MessageId(0), None),
            Body::QueueUpdate(_) => {
                at.queue_version = self.state.as_ref().map(|state| state.queue_version).unwrap_or_default();
            }
            Body::Status { .. } => (at.status, at.error) = (print, Fingerprint::NOTHING),
            Body::Error(_) => at.error = print,
            Body::Retry(_) => at.retry = print,
            Body::Parts { .. } | Body::PreviewReset { .. } => at.preview = cursor.preview,
            Body::Synced => {}
        }
        StreamEvent { cursor: *at, body }
    }

    pub(super) fn show_status(&mut self) {
        let ChatState { status, worker, history_version, attempt, .. } = self.state().clone();
        let (turn, calls) = (self.state().turn_id(), self.state().calls.clone());
        self.show(Body::Status { status, worker, history_version, attempt, turn, calls });
    }

    pub(super) fn show_parts(&mut self, episode: Episode, first: u64, text: &[&str]) {
        let (cursor, body) = parts(self.state().lease, episode, first, text);
        self.show_with(cursor, body);
    }

    pub(super) fn facts(&self) -> WorldFacts {
        let viewer = Standing { viewer: "V".into(), chat: CHAT, connected: true };
        WorldFacts { now: self.clock, viewers: vec![viewer], unanswered: 0, left: vec![] }
    }

    #[track_caller]
    pub(super) fn expect(&mut self, guarantee: &str) {
        self.judge.finish(self.clock);
        let found = self.judge.found();
        assert_eq!(found.first().map(|found| found.guarantee.as_str()), Some(guarantee), "{found:?}");
    }

    #[track_caller]
    pub(super) fn expect_nothing(&self) {
        assert_eq!(self.judge.found(), []);
    }
}

pub(super) fn parts(lease: Lease, episode: Episode, first: u64, text: &[&str]) -> (Cursor, Body) {
    let (first_seq, last_seq) = (Seq(first), Seq(first + text.len() as u64 - 1));
    let preview = Some(PreviewPosition { episode, lease, to: PreviewProgress::Seq(last_seq) });
    let text = text.concat().into_bytes().into();
    let (place, block) = (0, Block::Text);
    (
        Cursor { preview, ..Cursor::default() },
        Body::Parts { episode, first_seq, last_seq, place, block, text },
    )
}

pub(super) fn id_of(accepted: &Accepted) -> MessageId {
    crate::evidence::taken_as(accepted).expect("it was given an id")
}
