//! The cost of a part on its way through a hub to its viewers, and of resuming, without encoding.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mainstem_machine::hub::{
    AudienceEvent, BusEvent, DatabaseEvent, Hub, HubAction, HubConfig, HubEvent, Input, JoinedParts,
    LeaseEvent, ModelEvent, OpOutcome, Output, Told,
};
use mainstem_machine::{
    ChatId, ChatState, Command, Content, Effect, GenerationId, Message, NewMessage, ReplicaId, Resume,
    Snapshot, StoreFacts, StreamEvent, SubscriptionId, Tail, Time, WallTime,
};
use uuid::Uuid;

const NOW: Time = Time::START;
const STORE_FACTS: StoreFacts =
    StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
/// Parts of one answer. With 8 bytes each, an answer stays below its maximum size.
const PARTS: u64 = 20_000;

/// A hub whose run has begun, with `viewers` that are up to date, and the id of the run.
fn generating(viewers: u64) -> (Hub, GenerationId) {
    let replica = ReplicaId::new("bench").expect("an id");
    let (relays, lease_ttl, episode_bytes_max) = (true, Duration::from_secs(15), usize::MAX);
    let config =
        HubConfig { replica: replica.clone(), relays, lease_ttl, episode_bytes_max, tool_steps_max: 4 };
    let mut database = Database::new(replica);
    let mut hub = Hub::new(NOW, Arc::new(config));
    let mut generation = None;
    let acquired = HubEvent::Lease(LeaseEvent::Acquired {
        state: database.state.clone(),
        asked_at: NOW,
        has_slot: true,
    });
    let said = handle(&mut hub, acquired);
    database.answer(&mut hub, said, &mut generation);
    for viewer in 1..=viewers {
        subscribe(&mut hub, &mut database, viewer);
    }
    (hub, generation.expect("a run has begun"))
}

fn subscribe(hub: &mut Hub, database: &mut Database, viewer: u64) {
    let subscription = SubscriptionId(viewer);
    let said = handle(
        hub,
        HubEvent::Audience(AudienceEvent::Subscribe { subscription, from: Resume::Fresh, user: None }),
    );
    database.answer(hub, said, &mut None);
    let mut joined = JoinedParts::default();
    while next_event(hub, subscription, &mut joined).is_some() {}
}

fn handle(hub: &mut Hub, event: HubEvent) -> Output {
    hub.take(Input { at: NOW, what: Told::Event(event) }, &mut JoinedParts::default())
}

fn next_event(hub: &mut Hub, viewer: SubscriptionId, joined: &mut JoinedParts) -> Option<StreamEvent> {
    hub.take(Input { at: NOW, what: Told::NextEvent(viewer) }, joined).event
}

/// The database: a chat with one message, to which the runner's commands are applied.
struct Database {
    state: Arc<ChatState>,
    messages: Vec<Arc<Message>>,
}

impl Database {
    fn new(replica: ReplicaId) -> Self {
        let chat = ChatId(Uuid::from_u128(1));
        let content = Some(Content::text("hello"));
        let create = Command::Create {
            chat,
            owner: "ada".into(),
            settings: Default::default(),
            messages: NewMessage::opening(content),
        };
        let (state, messages) = change(None, &create);
        let acquire = Command::Acquire { replica, interrupting_only: false };
        let (state, _) = change(Some(&state), &acquire);
        Self { state, messages: messages.into_iter().map(Arc::new).collect() }
    }

    /// Answers all actions of the hub, in order.
    fn answer(&mut self, hub: &mut Hub, said: Output, generation: &mut Option<GenerationId>) {
        let mut asked = VecDeque::from(said.actions);
        while let Some(action) = asked.pop_front() {
            let event = match action {
                HubAction::BusSubscribe { op } => {
                    HubEvent::Bus(BusEvent::Subscribed { op, established: true })
                }
                HubAction::ReadSnapshot { op, .. } => {
                    let tail = Tail::Newest { messages: self.messages.clone(), from_start: true };
                    let snapshot = Snapshot { state: self.state.clone(), tail };
                    HubEvent::Database(DatabaseEvent::SnapshotRead {
                        op,
                        outcome: OpOutcome::Done(Some(snapshot)),
                    })
                }
                HubAction::LoadHistory { op } => HubEvent::Database(DatabaseEvent::HistoryLoaded {
                    op,
                    outcome: OpOutcome::Done(self.state.history_version),
                }),
                HubAction::Apply { op, command } => {
                    self.state = change(Some(&self.state), &command).0;
                    HubEvent::Database(DatabaseEvent::Applied {
                        op,
                        outcome: OpOutcome::Done(Ok(self.state.clone())),
                    })
                }
                HubAction::Start { generation: started, .. } => {
                    *generation = Some(started);
                    HubEvent::Wake
                }
                other => panic!("nothing else is asked for, came {other:?}"),
            };
            asked.extend(handle(hub, event).actions);
        }
    }
}

fn change(state: Option<&ChatState>, command: &Command) -> (Arc<ChatState>, Vec<Message>) {
    match command.apply_to(state, None, &STORE_FACTS).effect {
        Effect::Changed(change) => (change.state, change.inserted),
        other => panic!("expected a change, came {other:?}"),
    }
}

fn generate(hub: &mut Hub, generation: GenerationId) {
    black_box(handle(
        hub,
        HubEvent::Model(ModelEvent::Generated { generation, begins: None, text: "a part. ".into() }),
    ));
}

/// Each part is sent to every viewer before the next one comes.
fn a_part_to_its_viewers(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("a part to its viewers");
    for viewers in [1, 100, 10_000] {
        let parts = if viewers > 100 { 20 } else { PARTS / viewers };
        group.throughput(Throughput::Elements(parts * viewers)).sample_size(20);
        let (hub, generation) = generating(viewers);
        group.bench_function(BenchmarkId::from_parameter(viewers), |bench| {
            let run = |mut hub: Hub| {
                let mut joined = JoinedParts::default();
                for _ in 0..parts {
                    generate(&mut hub, generation);
                    for viewer in 1..=viewers {
                        let event = next_event(&mut hub, SubscriptionId(viewer), &mut joined);
                        black_box(event.expect("a part is told"));
                    }
                }
                hub
            };
            bench.iter_batched(|| hub.clone(), run, BatchSize::LargeInput);
        });
    }
}

/// A viewer subscribes when there are 5,000 parts, and gets all of them.
fn resuming(bench: &mut Criterion) {
    let (mut hub, generation) = generating(1);
    for _ in 0..5_000 {
        generate(&mut hub, generation);
    }
    bench.bench_function("resuming with 5,000 parts buffered", |bench| {
        let subscription = SubscriptionId(2);
        let run = |mut hub: Hub| {
            black_box(handle(
                &mut hub,
                HubEvent::Audience(AudienceEvent::Subscribe {
                    subscription,
                    from: Resume::Fresh,
                    user: None,
                }),
            ));
            let mut joined = JoinedParts::default();
            while let Some(event) = next_event(&mut hub, subscription, &mut joined) {
                black_box(event);
            }
            hub
        };
        bench.iter_batched(|| hub.clone(), run, BatchSize::LargeInput);
    });
}

criterion_group!(benches, a_part_to_its_viewers, resuming);
criterion_main!(benches);
