//! The cost of one transition of a chat. It is computed inside a database transaction, under the row's lock.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mainstem_machine::{
    ChatId, ChatState, Command, Completion, Content, Effect, Fence, NewMessage, ReplicaId, SendMode,
    StoreFacts, WallTime,
};
use uuid::Uuid;

/// Queued messages while the chat is running: the default of `--queue-max`.
const QUEUED: usize = 20;

const STORE_FACTS: StoreFacts =
    StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };

fn content() -> Content {
    Content::text(&"what somebody says ".repeat(50))
}

fn send(mode: SendMode) -> Command {
    Command::Send { content: content(), mode, queue_max: QUEUED + 1, client_id: None }
}

fn changed(state: Option<&ChatState>, command: &Command) -> Arc<ChatState> {
    match command.apply_to(state, None, &STORE_FACTS).effect {
        Effect::Changed(change) => change.state,
        other => panic!("expected a change, came {other:?}"),
    }
}

/// A chat that runs its first attempt, with this many queued messages.
fn running(queued: usize) -> (Arc<ChatState>, Fence) {
    let replica = ReplicaId::new("bench").unwrap();
    let create = Command::Create {
        chat: ChatId(Uuid::nil()),
        owner: "someone".into(),
        settings: Default::default(),
        messages: NewMessage::opening(Some(content())),
    };
    let state = changed(None, &create);
    let state =
        changed(Some(&state), &Command::Acquire { replica: replica.clone(), interrupting_only: false });
    let fence = Fence { replica, lease: state.lease, episode: state.present_episode() };
    let state = changed(Some(&state), &Command::BeginAttempt { fence: fence.clone() });
    let state = (0..queued).fold(state, |state, _| changed(Some(&state), &send(SendMode::Queue)));
    let episode = state.present_episode();
    (state, Fence { episode, ..fence })
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chat/apply");
    for queued in [0, QUEUED] {
        let (state, fence) = running(queued);
        let stale = Fence { lease: fence.lease.next(), ..fence.clone() };
        let completion = Completion::STOPPED;
        let commands = [
            ("send", send(SendMode::Queue)),
            ("begin_attempt", Command::BeginAttempt { fence: fence.clone() }),
            ("finish_turn", Command::FinishTurn { fence, answer: Some(content()), completion }),
            ("fenced", Command::FinishTurn { fence: stale, answer: Some(content()), completion }),
        ];
        for (name, command) in commands {
            group.bench_function(format!("{name}/queued_{queued}"), |bencher| {
                bencher.iter(|| black_box(&command).apply_to(Some(black_box(&state)), None, &STORE_FACTS));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
