//! Where other replicas are reached: who asks, who looks it up, and what a hub does with the answer, claim by claim.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{
    AudienceEvent, BusEvent, ChatEvent, DatabaseEvent, Deadline, HubAction, HubConfig, HubEvent, OpOutcome,
    Reason, RelayEvent,
};
use mainstem_machine::limits::{DIAL_RETRY_DELAY, DIAL_TIMEOUT};
use mainstem_machine::replica::{Heartbeat, ReplicaAction, ReplicaConfig, ReplicaEvent};
use mainstem_machine::store::Peer;
use mainstem_machine::{
    ChatId, Command, Content, DialId, Effect, Lease, NewMessage, OpId, ReplicaId, Resume, Snapshot,
    StoreFacts, SubscriptionId, Tail, Time, WallTime,
};
use uuid::Uuid;

#[allow(dead_code, reason = "these tests talk to it in fewer ways than others")]
#[path = "told/hub.rs"]
mod hub_told;
#[path = "told/replica.rs"]
mod replica_told;

use hub_told::Hub;
use replica_told::Replica;

fn chat(n: u128) -> ChatId {
    ChatId(Uuid::from_u128(n))
}

fn id(name: &str) -> ReplicaId {
    ReplicaId::new(name).expect("an id")
}

fn after(millis: u64) -> Time {
    Time::START + Duration::from_millis(millis)
}

fn peer(name: &str, address: &str) -> Peer {
    Peer { replica: id(name), address: address.into() }
}

/// A replica, and the time.
struct Asker {
    replica: Replica,
    now: Time,
}

/// One whose first heartbeat was answered so.
fn replica(peers: Vec<Peer>) -> Asker {
    let second = Duration::from_secs(1);
    let config = ReplicaConfig { replica: id("a"), workers: 1, heartbeat: second, poll_interval: second };
    let mut asker = Asker { replica: Replica::new(Time::START, config), now: Time::START };
    let asked = asker.tell(ReplicaEvent::Wake);
    asker.answer(heartbeats(&asked)[0], peers);
    asker
}

impl Asker {
    fn tell(&mut self, event: ReplicaEvent) -> Vec<ReplicaAction> {
        self.replica.handle(self.now, event);
        std::iter::from_fn(|| self.replica.poll_action()).collect()
    }

    /// The next heartbeat that is due.
    fn beat(&mut self) -> OpId {
        self.now = self.now + Duration::from_secs(1);
        heartbeats(&self.tell(ReplicaEvent::Wake))[0]
    }

    fn answer(&mut self, op: OpId, peers: Vec<Peer>) -> Vec<ReplicaAction> {
        let outcome = OpOutcome::Done(Heartbeat::Confirmed { leases: vec![], peers });
        self.tell(ReplicaEvent::HeartbeatResult { op, outcome })
    }

    fn ask(&mut self, n: u128, name: &str) -> Vec<ReplicaAction> {
        self.tell(ReplicaEvent::Locate { chat: chat(n), replica: id(name) })
    }
}

fn located(n: u128, name: &str, address: Option<&str>) -> ReplicaAction {
    let event = HubEvent::Relay(RelayEvent::Located { replica: id(name), address: address.map(Arc::from) });
    ReplicaAction::To { chat: chat(n), event }
}

fn heartbeats(asked: &[ReplicaAction]) -> Vec<OpId> {
    let op = |action: &ReplicaAction| match action {
        ReplicaAction::Heartbeat { op, .. } => Some(*op),
        _ => None,
    };
    asked.iter().filter_map(op).collect()
}

fn look_up(asked: &[ReplicaAction]) -> OpId {
    let [ReplicaAction::LookUp { op }] = asked else {
        panic!("B3: one look-up, and nothing else: {asked:?}")
    };
    *op
}

#[test]
fn what_a_heartbeat_told_is_answered_at_once() {
    let mut replica = replica(vec![peer("b", "there:1")]);
    assert_eq!(replica.ask(1, "b"), [located(1, "b", Some("there:1"))], "T5");
}

#[test]
fn a_replica_that_restarts_elsewhere_is_reached_there_from_the_next_heartbeat_on() {
    let mut replica = replica(vec![peer("b", "there:1"), peer("c", "third:1")]);
    let next = replica.beat();
    replica.answer(next, vec![peer("b", "elsewhere:1"), peer("c", "third:1")]);
    assert_eq!(replica.ask(1, "b"), [located(1, "b", Some("elsewhere:1"))], "T5");
    // One that has gone is looked for, and is not where it was.
    let next = replica.beat();
    replica.answer(next, vec![peer("b", "elsewhere:1")]);
    look_up(&replica.ask(1, "c"));
}

#[test]
fn a_heartbeat_that_is_answered_late_takes_nothing_back() {
    let mut replica = replica(vec![]);
    let slow = replica.beat();
    let next = replica.beat();
    replica.answer(next, vec![peer("b", "elsewhere:1")]);
    replica.answer(slow, vec![peer("b", "there:1")]);
    assert_eq!(replica.ask(1, "b"), [located(1, "b", Some("elsewhere:1"))], "T5: the newest counts");
}

#[test]
fn many_that_ask_at_once_ask_the_database_once() {
    let mut replica = replica(vec![]);
    let op = look_up(&replica.ask(1, "b"));
    // It began before these were asked, and may find what they ask for all the same.
    for n in 2..100 {
        assert_eq!(replica.ask(n, "b"), [], "B3: one look-up is under way");
    }
    let expected: Vec<_> = (1..100).map(|n| located(n, "b", Some("there:1"))).collect();
    assert_eq!(replica.answer(op, vec![peer("b", "there:1")]), expected, "B3: it answers all");
    assert_eq!(replica.answer(op, vec![peer("b", "there:1")]), [], "each once");
}

#[test]
fn a_look_up_that_began_before_a_question_is_no_reason_to_say_no() {
    let mut replica = replica(vec![]);
    let first = look_up(&replica.ask(1, "b"));
    assert_eq!(replica.ask(2, "c"), []);
    assert_eq!(replica.ask(3, "c"), []);
    // Both may have come since: it is looked again, once for both.
    let told = replica.answer(first, vec![]);
    assert_eq!(told[0], located(1, "b", None), "T5: it began after this question");
    let second = look_up(&told[1..]);
    assert_eq!(replica.ask(4, "b"), [], "B3");
    let told = replica.answer(second, vec![peer("b", "there:1")]);
    let expected = [located(2, "c", None), located(3, "c", None), located(4, "b", Some("there:1"))];
    assert_eq!(told, expected, "nothing is left to be looked up");
}

#[test]
fn a_look_up_that_fails_is_the_answer_to_those_who_waited_for_it() {
    for outcome in [
        OpOutcome::Refused,
        OpOutcome::Unknown,
        OpOutcome::Done(Heartbeat::NameLost { to: "another:1".into() }),
    ] {
        let mut replica = replica(vec![]);
        let op = look_up(&replica.ask(1, "b"));
        assert_eq!(replica.ask(2, "b"), []);
        let told = replica.tell(ReplicaEvent::HeartbeatResult { op, outcome });
        assert_eq!(told[0], located(1, "b", None), "T5: it is told, and asks again when it likes");
        // The other one came later: it has a look-up of its own, and that is heard.
        let op = look_up(&told[1..]);
        assert_eq!(replica.answer(op, vec![peer("b", "there:1")]), [located(2, "b", Some("there:1"))]);
    }
}

#[test]
fn a_heartbeat_that_comes_first_answers_as_well_unless_it_fails() {
    for fails in [false, true] {
        let mut replica = replica(vec![]);
        let look_up = look_up(&replica.ask(1, "b"));
        let op = replica.beat();
        if fails {
            let outcome = OpOutcome::Unknown;
            assert_eq!(replica.tell(ReplicaEvent::HeartbeatResult { op, outcome }), []);
            assert_eq!(replica.answer(look_up, vec![]), [located(1, "b", None)], "T5: it is waited for");
        } else {
            assert_eq!(replica.answer(op, vec![]), [located(1, "b", None)], "T5: it began later");
            assert_eq!(replica.answer(look_up, vec![]), []);
        }
    }
}

#[test]
fn a_hub_that_asks_for_another_replica_does_not_hear_of_the_first_any_more() {
    let mut replica = replica(vec![peer("c", "third:1")]);
    let op = look_up(&replica.ask(1, "b"));
    assert_eq!(replica.ask(1, "c"), [located(1, "c", Some("third:1"))]);
    assert_eq!(replica.answer(op, vec![peer("b", "there:1"), peer("c", "third:1")]), []);
}

/// The chat, as the replica works on it.
fn worked_on_by(name: &str) -> Snapshot {
    let facts = StoreFacts { now: WallTime(0), lease_expired: true, found: None, known: None };
    let content = Some(Content::text("hello"));
    let create = Command::Create {
        chat: chat(1),
        owner: "ann".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    };
    let Effect::Changed(change) = create.apply_to(None, Some("ann"), &facts).effect else {
        panic!("created")
    };
    let messages = change.inserted.into_iter().map(Arc::new).collect();
    let acquire = Command::Acquire { replica: id(name), interrupting_only: false };
    let Effect::Changed(change) = acquire.apply_to(Some(&change.state), None, &facts).effect else {
        panic!("acquired")
    };
    Snapshot { state: change.state, tail: Tail::Newest { messages, from_start: true } }
}

/// A hub with a viewer that has just read that `b` works on the chat, and what it asks for then.
fn hub() -> (Hub, Vec<HubAction>) {
    let config = HubConfig {
        replica: id("a"),
        relays: true,
        lease_ttl: Duration::from_secs(15),
        episode_bytes_max: 1024,
        tool_steps_max: 4,
    };
    let mut hub = Hub::new(Time::START, Arc::new(config));
    let (subscription, from) = (SubscriptionId(1), Resume::Fresh);
    hub.handle(Time::START, HubEvent::Audience(AudienceEvent::Subscribe { subscription, from, user: None }));
    let Some(HubAction::BusSubscribe { op }) = hub.poll_action() else { panic!("the bus comes first") };
    hub.handle(Time::START, HubEvent::Bus(BusEvent::Subscribed { op, established: true }));
    let asked = read(&mut hub, Time::START, worked_on_by("b"));
    (hub, asked)
}

fn act(hub: &mut Hub, now: Time, event: HubEvent) -> Vec<HubAction> {
    hub.handle(now, event);
    hub.assert_invariants();
    std::iter::from_fn(|| hub.poll_action()).collect()
}

/// Answers the read that the hub asks for, and returns what else it asks for.
fn read(hub: &mut Hub, now: Time, read: Snapshot) -> Vec<HubAction> {
    let Some(HubAction::ReadSnapshot { op, .. }) = hub.poll_action() else { panic!("it reads") };
    answer_read(hub, now, op, read)
}

fn answer_read(hub: &mut Hub, now: Time, op: OpId, read: Snapshot) -> Vec<HubAction> {
    let outcome = OpOutcome::Done(Some(read));
    act(hub, now, HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome }))
}

fn locate(name: &str) -> HubAction {
    HubAction::ToReplica(ReplicaEvent::Locate { chat: chat(1), replica: id(name) })
}

fn at(name: &str, address: Option<&str>) -> HubEvent {
    HubEvent::Relay(RelayEvent::Located { replica: id(name), address: address.map(Arc::from) })
}

fn dials(n: u64, name: &str, address: &str) -> HubAction {
    HubAction::Dial { dial: DialId(n), worker: id(name), address: address.into(), position: None }
}

#[test]
fn a_hub_asks_where_the_worker_is_and_dials_it_there() {
    let (mut hub, asked) = hub();
    assert_eq!(asked, [locate("b")], "T5");
    assert_eq!(act(&mut hub, after(1), HubEvent::Wake), [], "L4: it asks once");
    assert_eq!(act(&mut hub, after(2), at("b", Some("there:1"))), [dials(1, "b", "there:1")], "T5");
    assert_eq!(act(&mut hub, after(3), at("b", Some("elsewhere:1"))), [], "T6: one dial at a time");
}

#[test]
fn a_hub_that_is_told_of_another_replica_than_it_asks_for_dials_nobody() {
    let (mut hub, _) = hub();
    for address in [Some("third:1"), None] {
        assert_eq!(act(&mut hub, after(1), at("c", address)), [], "T5");
    }
    assert_eq!(act(&mut hub, after(2), at("b", Some("there:1"))), [dials(1, "b", "there:1")]);
}

#[test]
fn a_worker_that_cannot_be_found_is_looked_for_again_and_the_row_is_read() {
    let (mut hub, _) = hub();
    let asked = act(&mut hub, after(1), at("b", None));
    let [HubAction::ReadSnapshot { op, .. }] = asked[..] else { panic!("L1: another may work: {asked:?}") };
    assert_eq!(answer_read(&mut hub, after(1), op, worked_on_by("b")), []);
    let due = Deadline { at: after(1) + DIAL_RETRY_DELAY, reason: Reason::DialRetry };
    assert_eq!(hub.poll_timeout(), Some(due), "T5");
    assert_eq!(act(&mut hub, due.at, HubEvent::Wake), [locate("b")], "T5");
    // What it was told before is no answer to a question that it has not asked.
    let (mut hub, _) = self::hub();
    act(&mut hub, after(1), HubEvent::Audience(AudienceEvent::Leave { subscription: SubscriptionId(1) }));
    assert_eq!(act(&mut hub, after(2), at("b", Some("there:1"))), [], "B2: nobody watches");
    assert_eq!(act(&mut hub, after(3), at("b", None)), [], "B2");
}

#[test]
fn the_time_that_a_dial_may_take_counts_from_the_question() {
    let due = Deadline { at: Time::START + DIAL_TIMEOUT, reason: Reason::DialTimeout };
    for is_located in [true, false] {
        let (mut hub, _) = hub();
        assert_eq!(hub.poll_timeout(), Some(due), "T5: no answer is one too");
        if is_located {
            act(&mut hub, after(1500), at("b", Some("there:1")));
            assert_eq!(hub.poll_timeout(), Some(due), "T5: the look-up counts");
        }
        let asked = act(&mut hub, due.at, HubEvent::Wake);
        let closed = HubAction::CloseDial { dial: DialId(1) };
        assert_eq!(asked, if is_located { vec![closed] } else { vec![] }, "B2: only what is open is closed");
        let again = Deadline { at: due.at + DIAL_RETRY_DELAY, reason: Reason::DialRetry };
        assert_eq!(hub.poll_timeout(), Some(again));
        // By then somebody else works on it.
        let mut read = worked_on_by("c");
        let state = Arc::make_mut(&mut read.state);
        (state.lease, state.snapshot_version) = (Lease(9), state.snapshot_version.next());
        let snapshot_version = state.snapshot_version;
        let asked = act(&mut hub, due.at, HubEvent::Chat(ChatEvent::Hint { snapshot_version }));
        let [HubAction::ReadSnapshot { op, .. }] = asked[..] else { panic!("it reads: {asked:?}") };
        assert_eq!(answer_read(&mut hub, due.at, op, read), [locate("c")], "T5: at once");
    }
}
