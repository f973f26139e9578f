//! Each judge is shown a run in which its promise is broken, and one in which all are kept (D3).

use std::sync::Arc;

use mainstem_machine::{
    Body, ChatId, ChatState, Command, Content, Cursor, Episode, Facts, Fence, Lease, Message, Outcome,
    ReplicaId, ResetReason, Seq, Shown, ShownTo, Status, StreamEvent, Time, Version, WallTime,
};

use crate::{Begin, Committed, Record, Run, Stream, judge};

/// A chat with its own small database, and one viewer.
struct Scene {
    state: Option<ChatState>,
    messages: Vec<Message>,
    record: Record,
    clock: u64,
}

const CHAT: ChatId = ChatId(uuid());

const fn uuid() -> uuid::Uuid {
    uuid::Uuid::from_u128(1)
}

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name).unwrap()
}

fn text(text: &str) -> Content {
    Content::text(text)
}

impl Scene {
    /// `one` is asked, `worker` has begun to answer, and a viewer has just come.
    fn new(worker: &str) -> Self {
        let mut scene = Self { state: None, messages: vec![], record: Record::default(), clock: 0 };
        let content = Some(text("one"));
        scene.commit(&Command::Create { chat: CHAT, owner: "u".into(), title: None, model: None, content });
        scene.begin(worker);
        scene.watch(Begin::Fresh);
        scene.tell(Body::Message(scene.message(0)));
        scene.tell_status();
        scene.tell(Body::Synced);
        scene
    }

    fn now(&mut self) -> Time {
        self.clock += 1;
        Time::from_micros(self.clock)
    }

    fn commit(&mut self, command: &Command) {
        let facts = Facts { now: WallTime(0), lease_expired: true, message_role: None };
        let Ok(Outcome::Changed(change)) = command.apply_to(self.state.as_ref(), None, &facts) else {
            panic!("{command:?} is accepted");
        };
        self.messages.extend(change.inserted.iter().cloned());
        let at = self.now();
        let worker = self.state.as_ref().and_then(|state| state.worker.clone());
        self.record.committed.push(Committed {
            at,
            chat: CHAT,
            state: change.state.clone(),
            deleted: change.deleted,
            cut_from: change.cut_from,
            inserted: change.inserted,
            command: command.name(),
            replica: worker.unwrap_or_else(|| replica("A")),
        });
        self.state = Some(change.state);
    }

    fn state(&self) -> &ChatState {
        self.state.as_ref().unwrap()
    }

    fn episode(&self) -> Episode {
        self.state().present_episode()
    }

    fn fence(&self) -> Fence {
        let state = self.state();
        Fence { replica: state.worker.clone().unwrap(), lease: state.lease, episode: self.episode() }
    }

    /// The replica acquires and begins an attempt.
    fn begin(&mut self, worker: &str) {
        self.commit(&Command::Acquire { replica: replica(worker), interrupting_only: false });
        self.commit(&Command::BeginAttempt { fence: self.fence() });
        let (episode, started) = (self.episode(), self.now());
        let run = Run { chat: CHAT, episode, replica: replica(worker), started, parts: vec![], done: false };
        self.record.runs.push(run);
    }

    fn say(&mut self, part: &str) {
        self.record.runs.last_mut().unwrap().parts.push(part.into());
    }

    fn finish(&mut self, answer: &str) {
        self.record.runs.last_mut().unwrap().done = true;
        self.commit(&Command::FinishTurn { fence: self.fence(), answer: Some(text(answer)) });
    }

    fn message(&self, at: usize) -> Arc<Message> {
        Arc::new(self.messages[at].clone())
    }

    fn watch(&mut self, from: Begin) {
        let connected = self.now();
        let (viewer, on) = ("V".to_owned(), "C".to_owned());
        let (events, ended) = (vec![], None);
        self.record.streams.push(Stream { viewer, chat: CHAT, on, from, connected, events, ended });
    }

    fn tell(&mut self, body: Body) {
        self.tell_with(Cursor::default(), body);
    }

    fn tell_with(&mut self, cursor: Cursor, body: Body) {
        let at = self.now();
        self.record.streams.last_mut().unwrap().events.push((at, StreamEvent { cursor, body }));
    }

    fn tell_status(&mut self) {
        let ChatState { status, worker, history_version, attempt, .. } = self.state().clone();
        self.tell(Body::Status { status, worker, history_version, attempt });
    }

    fn tell_parts(&mut self, episode: Episode, first: u64, text: &[&str]) {
        let (first_seq, last_seq) = (Seq(first), Seq(first + text.len() as u64 - 1));
        let shown = Some(Shown { episode, lease: Lease(1), to: ShownTo::Seq(last_seq) });
        let text = text.concat().into_bytes().into();
        self.tell_with(
            Cursor { shown, ..Cursor::default() },
            Body::Parts { episode, first_seq, last_seq, text },
        );
    }

    #[track_caller]
    fn expect(&self, guarantee: &str) {
        let found = judge(&self.record);
        assert_eq!(found.first().map(|found| found.guarantee), Some(guarantee), "{found:?}");
    }

    #[track_caller]
    fn expect_nothing(&self) {
        assert_eq!(judge(&self.record), []);
    }
}

#[test]
fn a_run_that_keeps_its_promises_is_clean() {
    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("x ");
    scene.say("x ");
    scene.tell_parts(episode, 1, &["x ", "x "]);
    scene.finish("x x ");
    scene.tell(Body::Message(scene.message(1)));
    scene.tell_status();
    scene.expect_nothing();
}

#[test]
fn s1_a_message_told_again_skipped_or_made_up_is_found() {
    let mut scene = Scene::new("A");
    scene.tell(Body::Message(scene.message(0)));
    scene.expect("S1");

    let mut scene = Scene::new("A");
    scene.say("x ");
    scene.finish("x ");
    scene.tell_status();
    scene.expect("S8");
    scene.tell(Body::Message(scene.message(1)));
    scene.expect("S8");

    let mut scene = Scene::new("A");
    let mut other = (*scene.message(0)).clone();
    other.id = other.id.next();
    scene.tell(Body::Message(Arc::new(other)));
    scene.expect("S1");
}

#[test]
fn s1_a_resumed_stream_that_begins_again_is_found() {
    let mut scene = Scene::new("A");
    scene.watch(Begin::At(Cursor::default()));
    scene.tell(Body::Message(scene.message(0)));
    scene.expect("S1");

    let mut scene = Scene::new("A");
    scene.watch(Begin::Fresh);
    scene.tell(Body::Synced);
    scene.expect("S1");
}

#[test]
fn s2_a_gap_a_repeat_and_a_changed_part_are_found() {
    for (first, part) in [(1, "b "), (3, "b "), (2, "x ")] {
        let mut scene = Scene::new("A");
        let episode = scene.episode();
        scene.say("a ");
        scene.say("b ");
        scene.say("b ");
        scene.tell_parts(episode, 1, &["a "]);
        scene.tell_parts(episode, first, &[part]);
        scene.expect("S2");
    }
}

#[test]
fn s3_parts_of_an_old_worker_or_behind_their_answer_are_found() {
    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.begin("B");
    scene.tell_status();
    scene.tell_parts(old, 1, &["a "]);
    scene.expect("S3");

    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.commit(&Command::Acquire { replica: replica("B"), interrupting_only: false });
    scene.tell_status();
    scene.tell_parts(old, 1, &["a "]);
    scene.expect("S3");

    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.finish("a ");
    scene.tell(Body::Message(scene.message(1)));
    scene.tell_parts(old, 1, &["a "]);
    scene.expect("S3");

    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.tell(Body::PreviewReset { episode: old, reason: ResetReason::Retry });
    scene.tell_parts(old, 1, &["a "]);
    scene.expect("S3");
}

#[test]
fn s4_an_answer_that_differs_from_what_was_said_or_shown_is_found() {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.say("b ");
    scene.finish("a ");
    scene.expect("S4");

    let mut scene = Scene::new("A");
    let episode = scene.episode();
    scene.say("a ");
    scene.tell_parts(episode, 1, &["a "]);
    scene.commit(&Command::Interrupt { episode: None });
    scene.commit(&Command::FinishInterruption { fence: scene.fence(), partial: Some(text("")) });
    scene.tell(Body::Message(scene.message(1)));
    scene.expect("S4");
}

#[test]
fn s4_a_preview_that_is_neither_kept_nor_taken_back_is_found() {
    let mut scene = Scene::new("A");
    let old = scene.episode();
    scene.say("a ");
    scene.tell_parts(old, 1, &["a "]);
    scene.begin("B");
    scene.tell_status();
    scene.say("b ");
    let new = scene.episode();
    scene.tell_parts(new, 1, &["b "]);
    scene.expect("S4");
}

#[test]
fn s5_an_episode_that_two_models_answer_is_found() {
    let mut scene = Scene::new("A");
    let run = scene.record.runs[0].clone();
    scene.record.runs.push(run);
    scene.expect("S5");
}

#[test]
fn s5_a_write_of_a_replica_that_is_not_the_worker_is_found() {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.finish("a ");
    scene.record.committed.last_mut().unwrap().replica = replica("B");
    scene.expect("S5");
}

#[test]
fn s8_a_status_that_runs_ahead_or_never_was_is_found() {
    let mut scene = Scene::new("A");
    scene.say("a ");
    scene.finish("a ");
    scene.tell_status();
    scene.tell(Body::Message(scene.message(1)));
    scene.expect("S8");

    let mut scene = Scene::new("A");
    let Episode { history_version, attempt } = scene.episode();
    scene.tell(Body::Status { status: Status::Error, worker: None, history_version, attempt });
    scene.expect("S8");

    let mut scene = Scene::new("A");
    scene.say("a ");
    let next = Episode { history_version: Version(1), attempt: 2 };
    scene.tell_parts(next, 1, &["a "]);
    let found = judge(&scene.record);
    assert!(found.iter().any(|found| found.guarantee == "S8"), "{found:?}");
}

#[test]
fn l1_a_screen_that_differs_from_the_database_is_found() {
    let mut scene = Scene::new("A");
    let mut view = crate::View::default();
    scene.record.streams[0].events.iter().for_each(|(_, event)| view.apply(&event.body));
    let history = [scene.message(0)];
    assert_eq!(view.difference(scene.state(), &history), None);
    scene.finish("");
    assert!(view.difference(scene.state(), &history).is_some());
}

fn send(content: &str) -> Command {
    Command::Send { content: text(content), mode: mainstem_machine::SendMode::Queue, queue_max: 9 }
}

#[test]
fn s6_a_send_that_is_lost_doubled_or_out_of_turn_is_found() {
    let mut scene = Scene::new("A");
    for (text, id) in [("two", 2), ("three", 3)] {
        scene.commit(&send(text));
        let acknowledged = Some((scene.now(), mainstem_machine::MessageId(id)));
        scene.record.sends.push(crate::Send { chat: CHAT, text: text.into(), acknowledged });
    }
    scene.expect_nothing();

    let last = scene.record.committed.len() - 1;
    let lost = scene.record.committed[last].state.queue.remove(0);
    scene.expect("S6");
    scene.record.committed[last].state.queue.insert(0, lost);

    scene.record.sends[0].acknowledged = Some((Time::START, mainstem_machine::MessageId(7)));
    scene.expect("S6");
    scene.record.sends[0].acknowledged = None;

    scene.commit(&send("two"));
    scene.expect("S6");
    scene.record.sends[1].text = "two".into();
    scene.record.sends[1].acknowledged = None;
    scene.expect_nothing();

    scene.state.as_mut().unwrap().queue.swap(0, 1);
    scene.finish("");
    scene.expect("S6");
}
