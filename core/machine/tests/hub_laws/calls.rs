//! What a worker does with the calls of its model, claim by claim: a hub with a database that answers at once.

use std::collections::VecDeque;
use std::sync::Arc;

use mainstem_machine::hub::{
    BusEvent, ChatEvent, DatabaseEvent, HubAction, HubConfig, HubEvent, LeaseEvent, LeavingEvent, ModelEvent,
    OpOutcome, ToolEvent,
};
use mainstem_machine::limits::{CALL_INPUTS_BYTES_MAX, CALLS_MAX};
use mainstem_machine::store::Request;
use mainstem_machine::{
    Block, CallResult, Carrier, ChatState, Command, Completion, Content, FinishReason, GenerationId,
    NewMessage, Offered, OpId, OpenCall, ReplicaId, Role, Settings, Status, Time, Tool, TurnStatus, WallTime,
};
use mainstem_rows::Rows;

use crate::database::{CHAT, LEASE_TTL};
use crate::told::Hub;

/// Answers of the database to all that one event leads to.
const ROUNDS_MAX: usize = 100;

struct Worker {
    now: Time,
    hub: Hub,
    rows: Rows,
    generation: Option<GenerationId>,
    /// The calls that were begun, by their ids.
    begun: Vec<(OpId, Arc<str>)>,
    given_up: Vec<OpId>,
    written: Vec<Command>,
}

impl Worker {
    /// A chat with the tools `find` and `both` of its client.
    fn new(tool_steps_max: u64) -> Self {
        let replica = replica("worker");
        let (relays, episode_bytes_max) = (false, 8 << 20);
        let config = HubConfig { replica, relays, lease_ttl: LEASE_TTL, episode_bytes_max, tool_steps_max };
        let now = Time::from_micros(1_000_000);
        let hub = Hub::new(now, Arc::new(config));
        let (generation, begun, given_up, written) = (None, vec![], vec![], vec![]);
        let mut worker = Self { now, hub, rows: Rows::new(LEASE_TTL), generation, begun, given_up, written };
        let tool = |name: &str| Tool { name: name.into(), description: "".into(), input_schema: "{}".into() };
        let settings = Settings { tools: ["find", "both"].map(tool).into(), ..Settings::default() };
        let messages = NewMessage::opening(Some(Content::text("begin")));
        worker.apply(Command::Create { chat: CHAT, owner: "owner".into(), settings, messages });
        worker
    }

    /// It has the chat, and its model runs unless calls are open.
    fn working(tool_steps_max: u64) -> Self {
        let mut worker = Self::new(tool_steps_max);
        worker.acquire();
        worker
    }

    fn acquire(&mut self) {
        self.apply(Command::Acquire { replica: replica("worker"), interrupting_only: false });
        let (state, asked_at) = (self.state(), self.now);
        self.tell(HubEvent::Lease(LeaseEvent::Acquired { state, asked_at, has_slot: true }));
    }

    fn apply(&mut self, command: Command) {
        let request = Request { chat: CHAT, command, by: None, idempotency_key: None };
        let applied = self.rows.apply(self.now, WallTime(0), &request);
        assert!(applied.answer.is_ok(), "{:?} to {:?}", applied.answer, request.command);
    }

    /// Somebody asks for it, and the worker hears of it.
    fn ask(&mut self, command: Command) {
        self.apply(command);
        self.tell(HubEvent::Chat(ChatEvent::Hint { snapshot_version: self.state().snapshot_version }));
    }

    fn state(&self) -> Arc<ChatState> {
        self.rows.row(CHAT).expect("a chat").state.clone()
    }

    fn roles(&self) -> Vec<Role> {
        self.rows.row(CHAT).expect("a chat").history.iter().map(|message| message.role).collect()
    }

    fn tell(&mut self, event: HubEvent) {
        let mut events = VecDeque::from([event]);
        let mut rounds = 0;
        while let Some(event) = events.pop_front() {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "L4: without time passing, there is no end of it");
            self.hub.handle(self.now, event);
            self.hub.assert_invariants();
            while let Some(action) = self.hub.poll_action() {
                events.extend(self.carry_out(action));
            }
        }
    }

    fn carry_out(&mut self, action: HubAction) -> Option<HubEvent> {
        match action {
            HubAction::BusSubscribe { op } => {
                return Some(HubEvent::Bus(BusEvent::Subscribed { op, established: true }));
            }
            HubAction::ReadSnapshot { op, cached } => {
                let outcome = OpOutcome::Done(self.rows.snapshot(CHAT, cached));
                return Some(HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome }));
            }
            HubAction::LoadHistory { op } => {
                let outcome = OpOutcome::Done(self.state().history_version);
                return Some(HubEvent::Database(DatabaseEvent::HistoryLoaded { op, outcome }));
            }
            HubAction::Apply { op, command } => {
                if let Command::Release { .. } = command {
                    let row = self.state();
                    let waits =
                        |id: &str| row.calls.iter().any(|call| &*call.id == id && call.waits_for_server());
                    let left = |(op, id): &(OpId, Arc<str>)| waits(id) && !self.given_up.contains(op);
                    assert!(!self.begun.iter().any(left), "S11: it is given up before another may begin it");
                }
                self.written.push(command.clone());
                self.apply(command);
                let outcome = OpOutcome::Done(Ok(self.state()));
                return Some(HubEvent::Database(DatabaseEvent::Applied { op, outcome }));
            }
            HubAction::Start { generation, .. } => self.generation = Some(generation),
            HubAction::Call { op, id, turn, of, is_repeatable, .. } => {
                let row = self.state();
                let named = row.calls.iter().find(|call| call.id == id);
                let named = named.expect("S11: the row names it before it begins");
                assert_eq!(is_repeatable, named.carrier == Carrier::ServerAgain, "S11: its tool has to know");
                assert_eq!((Some(turn), of), (row.turn_id(), row.history_version), "S11: its key is its own");
                self.begun.push((op, id));
            }
            HubAction::GiveUpCall { op } => self.given_up.push(op),
            _ => {}
        }
        None
    }

    /// The model calls these tools, by id and name. Of the server's, `again` is repeatable.
    fn call(&mut self, calls: &[(&str, &str)]) {
        self.call_with(&calls.iter().map(|(id, name)| (*id, *name, "{}".into())).collect::<Vec<_>>());
    }

    /// With an input each.
    fn call_with(&mut self, calls: &[(&str, &str, String)]) {
        let generation = self.generation.take().expect("a model runs");
        for (id, name, input) in calls {
            let (begins, text) = (Some(Block::tool_call(id, name)), input.clone());
            self.tell(HubEvent::Model(ModelEvent::Generated { generation, begins, text }));
        }
        let completion = Completion { finish_reason: Some(FinishReason::ToolCalls), usage: None };
        let offered = ["both", "once", "again"];
        let offered =
            offered.map(|name| Offered { name: name.into(), is_repeatable: name == "again" }).into();
        self.tell(HubEvent::Model(ModelEvent::Done { generation, completion, offered }));
    }

    fn ids(&self) -> Vec<&str> {
        self.begun.iter().map(|(_, id)| &**id).collect()
    }

    fn returns(&mut self, at: usize, what: &str) {
        let (op, result) = (self.begun[at].0, CallResult { content: what.into(), is_error: false });
        self.tell(HubEvent::Tool(ToolEvent::Returned { op, result }));
    }

    /// Results that were written since, by their calls.
    fn results(&mut self) -> Vec<Vec<(String, String)>> {
        let results = self.written.drain(..).filter_map(|command| match command {
            Command::CommitResults { results, .. } => Some(results),
            _ => None,
        });
        let told = |(id, result): (Arc<str>, CallResult)| (id.to_string(), result.content.to_string());
        results.map(|results| results.into_iter().map(told).collect()).collect()
    }
}

fn replica(id: &str) -> ReplicaId {
    ReplicaId::new(id).expect("a replica's id")
}

fn pair(id: &str, result: &str) -> (String, String) {
    (id.into(), result.into())
}

#[test]
fn each_call_is_carried_out_by_whom_its_tool_belongs_to() {
    let mut worker = Worker::working(4);
    worker.call(&[("a", "find"), ("b", "both"), ("c", "once"), ("d", "again"), ("e", "none")]);
    let told = |call: &OpenCall| (call.carrier, call.result.as_ref().map(|result| result.is_error));
    let expected = [
        (Carrier::Client, None),
        (Carrier::Client, None),
        (Carrier::Server, None),
        (Carrier::ServerAgain, None),
        (Carrier::Client, Some(true)),
    ];
    assert_eq!(worker.state().calls.iter().map(told).collect::<Vec<_>>(), expected, "S11");
    assert_eq!(worker.ids(), ["c", "d"], "S11: each once, and no other");
    assert_eq!(worker.state().status, Status::Running, "S12: the worker is not done");
}

#[test]
fn what_is_known_of_a_call_is_in_the_row_at_once_and_once() {
    let mut worker = Worker::working(4);
    worker.call(&[("a", "once"), ("b", "again"), ("c", "find")]);
    worker.results();
    worker.returns(1, "\"first\"");
    assert_eq!(worker.results(), [[pair("b", "\"first\"")]], "S11");
    worker.returns(1, "\"second\"");
    worker.tell(HubEvent::Wake);
    assert!(worker.results().is_empty(), "S11: it has its result");
    worker.returns(0, "\"other\"");
    assert_eq!(worker.results(), [[pair("a", "\"other\"")]], "S11");
    assert_eq!((worker.ids(), &worker.given_up[..]), (vec!["a", "b"], &[][..]), "S11: each is begun once");
    assert_eq!(worker.state().status, Status::RequiresAction, "S11: the client's are left");
}

#[test]
fn a_turn_goes_on_when_the_last_result_is_there() {
    let mut worker = Worker::working(4);
    worker.call(&[("a", "once")]);
    worker.returns(0, "\"done\"");
    assert_eq!(worker.roles(), [Role::User, Role::Assistant, Role::Tool], "S11");
    assert!(worker.generation.is_some(), "L3: its model goes on");
    // Another step's call may have the same id.
    worker.call(&[("a", "once")]);
    assert_eq!(worker.ids(), ["a", "a"], "S11: it is another call");
    worker.returns(0, "\"late\"");
    assert_eq!(worker.state().status, Status::Running, "S11: of the step before");
    worker.results();
    worker.returns(1, "\"now\"");
    assert_eq!(worker.results(), [[pair("a", "\"now\"")]], "S11");
}

#[test]
fn so_many_calls_are_carried_out_at_once_and_what_is_beyond_has_its_answer() {
    for more in [0, 1] {
        let mut worker = Worker::working(4);
        let ids: Vec<_> = (0..CALLS_MAX + more).map(|n| format!("call {n}")).collect();
        worker.call(&ids.iter().map(|id| (&**id, "once")).collect::<Vec<_>>());
        assert_eq!(worker.ids(), ids[..CALLS_MAX], "B1");
        let answered: Vec<_> = worker.state().calls.iter().map(|call| call.result.is_some()).collect();
        assert!(answered.iter().enumerate().all(|(at, answered)| *answered == (at >= CALLS_MAX)), "S11");
    }
}

/// The JSON text of a string that has so many bytes.
fn input(bytes: usize) -> String {
    format!("\"{}\"", "i".repeat(bytes - 2))
}

#[test]
fn a_call_whose_input_does_not_fit_beside_the_others_has_its_answer() {
    let mut worker = Worker::working(4);
    worker.call_with(&[
        ("a", "find", input(CALL_INPUTS_BYTES_MAX + 1)),
        ("b", "once", input(CALL_INPUTS_BYTES_MAX - 10)),
        ("c", "again", input(11)),
        ("d", "find", input(10)),
        ("e", "find", input(3)),
        ("f", "none", input(100_000)),
    ]);
    let state = worker.state();
    let refused: Vec<_> = state.calls.iter().filter(|call| call.result.is_some()).collect();
    assert_eq!(refused.iter().map(|call| &*call.id).collect::<Vec<_>>(), ["a", "c", "e", "f"], "B1, S11");
    assert!(refused.iter().all(|call| &*call.input == "null"), "B1: the history has what it was");
    for call in refused.iter().filter(|call| &*call.id != "f") {
        let result = call.result.as_ref().expect("it has one");
        assert!(result.is_error && result.content.contains("input is too large"), "S11: {result:?}");
    }
    let kept: usize = state.calls.iter().map(|call| call.input.len()).sum();
    assert_eq!(kept, CALL_INPUTS_BYTES_MAX + refused.len() * "null".len(), "B1");
    assert_eq!(worker.ids(), ["b"], "S11: nothing else is begun");
    let said = &worker.rows.row(CHAT).expect("a chat").history[1].content;
    assert!(said.as_json().len() > 2 * CALL_INPUTS_BYTES_MAX, "S4: what the model said is kept as it was");
}

#[test]
fn calls_whose_inputs_are_all_too_large_let_the_turn_go_on() {
    let mut worker = Worker::working(4);
    worker.call_with(&[("a", "find", input(CALL_INPUTS_BYTES_MAX + 1))]);
    assert_eq!(worker.roles(), [Role::User, Role::Assistant, Role::Tool], "S11");
    assert!(worker.generation.is_some(), "L6: the model is told");
}

#[test]
fn a_call_that_nobody_waits_for_any_more_is_given_up() {
    for is_edited in [false, true] {
        let mut worker = Worker::working(4);
        worker.call(&[("a", "once"), ("b", "once")]);
        worker.returns(0, "\"done\"");
        let running = worker.begun[1].0;
        assert_eq!(worker.given_up, [], "S11");
        let message = worker.rows.row(CHAT).expect("a chat").history[0].id;
        let edit = Command::Edit { message, content: Content::text("anew") };
        worker.ask(if is_edited { edit } else { Command::Interrupt { episode: None } });
        assert_eq!(worker.given_up, [running], "B2: once, and not what has returned");
        worker.results();
        worker.returns(1, "\"late\"");
        assert!(worker.results().is_empty(), "S11: it has another result");
        let expected = if is_edited { Status::Running } else { Status::Waiting };
        assert_eq!(worker.state().status, expected);
        assert_eq!(worker.generation.is_some(), is_edited, "L3: what was edited is answered");
    }
}

#[test]
fn a_worker_that_takes_over_begins_what_may_be_begun_again_and_nothing_else() {
    for (name, begins) in [("once", false), ("again", true)] {
        let mut worker = Worker::working(4);
        worker.call(&[("a", name)]);
        let Worker { rows, now, .. } = worker;
        let mut next = Worker { rows, now, ..Worker::new(4) };
        next.acquire();
        assert_eq!(next.ids().len(), usize::from(begins), "S11: {name}");
        assert_eq!(next.generation.is_some(), !begins, "L3: {name}: its turn goes on without it");
        let results: &[Vec<_>] = if begins { &[] } else { &[vec![]] };
        assert_eq!(next.results(), results, "S11: {name}");
    }
}

#[test]
fn a_worker_that_hands_over_gives_its_calls_up_or_waits_for_them_as_is_asked() {
    for (how, is_at_once) in [(LeavingEvent::HandOver, true), (LeavingEvent::Drain, false)] {
        let mut worker = Worker::working(4);
        worker.call(&[("a", "once")]);
        let running = worker.begun[0].0;
        worker.tell(HubEvent::Leaving(how));
        assert_eq!(worker.given_up, if is_at_once { vec![running] } else { vec![] }, "B2: {is_at_once}");
        assert_eq!(worker.state().worker.is_none(), is_at_once);
        worker.returns(0, "\"done\"");
        let told = worker.results().concat();
        assert_eq!(told, if is_at_once { vec![] } else { vec![pair("a", "\"done\"")] }, "S11, S5");
        assert_eq!((&worker.state().worker, worker.generation), (&None, None), "L3: another one goes on");
    }
}

#[test]
fn a_worker_that_has_lost_the_chat_gives_its_calls_up() {
    let mut worker = Worker::working(4);
    worker.call(&[("a", "again")]);
    let running = worker.begun[0].0;
    worker.now = worker.now + LEASE_TTL;
    worker.ask(Command::Acquire { replica: replica("another"), interrupting_only: false });
    assert_eq!(worker.given_up, [running], "B2");
    worker.results();
    worker.returns(0, "\"done\"");
    assert!(worker.results().is_empty(), "S5: the other one has begun it again");
}

#[test]
fn what_comes_back_while_the_lease_is_not_confirmed_is_kept_until_it_is() {
    let mut worker = Worker::working(4);
    worker.call(&[("a", "once")]);
    worker.results();
    worker.now = worker.now + LEASE_TTL;
    worker.returns(0, "\"done\"");
    worker.returns(0, "\"twice\"");
    assert!(worker.results().is_empty(), "S5: nobody knows whose the chat is");
    let (lease, sent_at) = (worker.state().lease, worker.now);
    worker.tell(HubEvent::Lease(LeaseEvent::Confirmed { lease, sent_at }));
    assert_eq!(worker.results(), [[pair("a", "\"done\"")]], "S11");
}

#[test]
fn what_came_back_is_written_before_the_chat_is_handed_over() {
    let mut worker = Worker::working(4);
    worker.call(&[("a", "once"), ("b", "once")]);
    worker.now = worker.now + LEASE_TTL;
    worker.returns(0, "\"done\"");
    worker.tell(HubEvent::Leaving(LeavingEvent::HandOver));
    worker.written.clear();
    let (lease, sent_at) = (worker.state().lease, worker.now);
    worker.tell(HubEvent::Lease(LeaseEvent::Confirmed { lease, sent_at }));
    let names: Vec<_> = worker.written.iter().map(Command::name).collect();
    assert_eq!(names, ["commit_results", "release"], "S11");
    assert_eq!(
        worker.results(),
        [[pair("a", "\"done\"")]],
        "S11: a result that came back is what the history has"
    );
    assert_eq!(worker.given_up, [worker.begun[1].0], "B2: the other one is given up");
}

#[test]
fn a_turn_takes_as_many_steps_as_it_may_and_no_more() {
    let mut worker = Worker::working(2);
    for at in 0..2 {
        worker.call(&[("a", "once")]);
        worker.returns(at, "\"done\"");
    }
    worker.call(&[("a", "once")]);
    assert_eq!(worker.ids(), ["a", "a"], "L4: the third is not made");
    let (state, roles) = (worker.state(), worker.roles());
    assert_eq!((state.status, state.calls.len()), (Status::Error, 0), "S11");
    assert_eq!(state.error.as_ref().map(|error| &*error.code), Some("too_many_steps"));
    assert_eq!(
        state.turn.as_ref().map(|turn| (turn.status, turn.steps)),
        Some((TurnStatus::Failed, 2)),
        "S12"
    );
    assert_eq!((roles.len(), roles.last()), (6, Some(&Role::Assistant)), "S4: what was said is kept");
}
