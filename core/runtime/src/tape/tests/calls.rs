//! The tape of a hub whose model calls tools: it tells calls of one length apart without their ids.

use std::collections::VecDeque;

use mainstem_machine::hub::{
    AudienceEvent, BusEvent, ChatEvent, DatabaseEvent, Hub, HubAction, HubEvent, LeaseEvent, ModelEvent,
    OpOutcome, Told, ToolEvent,
};
use mainstem_machine::store::Request;
use mainstem_machine::{
    Accepted, Block, Body, CallResult, Carrier, ChatId, ChatState, Command, Completion, Content, Cursor,
    FinishReason, GenerationId, NewMessage, Offered, OpId, ReplicaId, Resume, Settings, Status, StreamEvent,
    SubscriptionId, Time, Tool, WallTime,
};
use mainstem_rows::Rows;

use super::*;

const CHAT: ChatId = ChatId(uuid::Uuid::nil());
const SAID: [(&str, &str); 4] =
    [("call_1", "find"), ("call_2", "find"), ("call_3", "read"), ("call_4", "none")];

/// A hub with its database, which answers at once, and a viewer.
struct World {
    now: u64,
    hub: Recorded<Hub>,
    rows: Rows,
    generation: Option<GenerationId>,
    called: Vec<(OpId, Arc<str>)>,
    saw: Vec<StreamEvent>,
}

impl World {
    fn apply(&mut self, command: Command) -> Accepted {
        let request = Request { chat: CHAT, command, by: None, idempotency_key: None };
        self.rows.apply(at(self.now), WallTime(0), &request).answer.expect("it is accepted")
    }

    fn state(&self) -> Arc<ChatState> {
        self.rows.row(CHAT).expect("a chat").state.clone()
    }

    fn tell(&mut self, event: HubEvent) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.now += 1;
            let actions = tell(&mut self.hub, self.now, event).actions;
            events.extend(actions.into_iter().filter_map(|action| self.carry_out(action)));
        }
        self.watch(SubscriptionId(1));
    }

    fn carry_out(&mut self, action: HubAction) -> Option<HubEvent> {
        match action {
            HubAction::BusSubscribe { op } => {
                Some(HubEvent::Bus(BusEvent::Subscribed { op, established: true }))
            }
            HubAction::ReadSnapshot { op, cached } => {
                let outcome = OpOutcome::Done(self.rows.snapshot(CHAT, cached));
                Some(HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome }))
            }
            HubAction::LoadHistory { op } => {
                let outcome = OpOutcome::Done(self.state().history_version);
                Some(HubEvent::Database(DatabaseEvent::HistoryLoaded { op, outcome }))
            }
            HubAction::Apply { op, command } => {
                self.apply(command);
                let outcome = OpOutcome::Done(Ok(self.state()));
                Some(HubEvent::Database(DatabaseEvent::Applied { op, outcome }))
            }
            HubAction::Start { generation, .. } => {
                self.generation = Some(generation);
                None
            }
            HubAction::Call { op, id, .. } => {
                self.called.push((op, id));
                None
            }
            _ => None,
        }
    }

    fn watch(&mut self, viewer: SubscriptionId) {
        while let Some(event) = self.hub.take(Input { at: at(self.now), what: Told::NextEvent(viewer) }).event
        {
            self.saw.push(event);
        }
    }

    fn subscribe(&mut self, viewer: u64, from: Resume) {
        let subscription = SubscriptionId(viewer);
        self.tell(HubEvent::Audience(AudienceEvent::Subscribe { subscription, from, user: None }));
    }

    /// How many calls wait for the client, as viewers were told.
    fn asked(&self) -> Vec<usize> {
        let statuses = self.saw.iter().filter_map(|event| match &event.body {
            Body::Status { calls, .. } => Some(calls.iter().filter(|call| call.waits_for_client()).count()),
            _ => None,
        });
        statuses.collect()
    }
}

fn tool(name: &str) -> Tool {
    Tool { name: name.into(), description: "".into(), input_schema: "{}".into() }
}

/// A model calls four tools at once: two calls are for the client, one is the worker's, and one names no tool. Returns the
/// cursor of a viewer that saw the client asked.
fn play(hub: Recorded<Hub>) -> (World, Cursor) {
    let mut world = World {
        now: 6,
        hub,
        rows: Rows::new(Duration::from_secs(15)),
        generation: None,
        called: vec![],
        saw: vec![],
    };
    let settings = Settings { tools: [tool("find"), tool("list")].into(), ..Settings::default() };
    let messages = NewMessage::opening(Some(Content::text(MARKER)));
    world.apply(Command::Create { chat: CHAT, owner: "ann".into(), settings, messages });
    world.subscribe(1, Resume::Fresh);
    let replica = ReplicaId::new("a").expect("an id");
    world.apply(Command::Acquire { replica, interrupting_only: false });
    let (state, asked_at) = (world.state(), Time::from_micros(world.now));
    world.tell(HubEvent::Lease(LeaseEvent::Acquired { state, asked_at, has_slot: true }));
    let generation = world.generation.expect("a model runs");
    for (at, (id, name)) in SAID.into_iter().enumerate() {
        for (begins, text) in [(Some(Block::tool_call(id, name)), "{\"n\": "), (None, "1}")] {
            world.tell(HubEvent::Model(ModelEvent::Generated { generation, begins, text: text.into() }));
        }
        assert_eq!(world.called, [], "S11: {at}");
    }
    let completion = Completion { finish_reason: Some(FinishReason::ToolCalls), usage: None };
    let offered = ["some", "read"].map(|name| Offered { name: name.into(), is_repeatable: name == "some" });
    world.tell(HubEvent::Model(ModelEvent::Done { generation, completion, offered: offered.into() }));
    let carriers: Vec<_> =
        world.state().calls.iter().map(|call| (call.carrier, call.result.is_some())).collect();
    let expected = [
        (Carrier::Client, false),
        (Carrier::Client, false),
        (Carrier::Server, false),
        (Carrier::Client, true),
    ];
    assert_eq!(carriers, expected, "S11");
    let [(op, id)] = &world.called[..] else { panic!("S11: {:?}", world.called) };
    assert_eq!(&**id, "call_3");
    let result = CallResult { content: format!("{MARKER:?}").into(), is_error: false };
    let returned = ToolEvent::Returned { op: *op, result: result.clone() };
    world.tell(HubEvent::Tool(returned));
    assert_eq!(world.state().status, Status::RequiresAction);
    let cursor = world.saw.last().expect("it was told").cursor;
    world.apply(Command::ToolResults { results: vec![("call_1".into(), result)] });
    world.tell(HubEvent::Chat(ChatEvent::Committed { state: world.state(), appended: Some([].into()) }));
    (world, cursor)
}

#[test]
fn calls_and_tools_are_told_apart_on_a_tape_that_has_no_name_of_them() {
    for with_content in [false, true] {
        let (place, hub) = recorded(usize::MAX, with_content);
        let (mut world, cursor) = play(hub);
        assert_eq!(world.asked().last_chunk(), Some(&[2, 1]), "S9: {:?}", world.asked());
        let before = world.asked().len();
        world.subscribe(2, Resume::At(cursor));
        world.watch(SubscriptionId(2));
        assert_eq!(world.asked()[before..], [1], "S9: who comes back is told which of them is answered");
        let cursor = world.saw.last().expect("it was told").cursor;
        world.subscribe(3, Resume::At(cursor));
        world.watch(SubscriptionId(3));
        assert_eq!(world.asked().len(), before + 1, "S1: nothing again");
        drop(world);
        let bytes = place.bytes();
        for word in SAID.iter().flat_map(|(id, name)| [*id, *name]).chain(["list", "some", MARKER]) {
            assert_eq!(contains(&bytes, word), with_content, "{word}");
        }
        assert_eq!(replayed(&bytes).verdict, Verdict::Same, "D4");
    }
}
