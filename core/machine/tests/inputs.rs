//! Whatever a machine can be told, and its settings, is the same after it was written and read.

mod common;

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{
    self, AudienceEvent, BusEvent, ChatEvent, DatabaseEvent, HubConfig, HubEvent, LeaseEvent, LeavingEvent,
    ModelEvent, Noticed, OpOutcome, RelayEvent, Told, ToolEvent,
};
use mainstem_machine::replica::{self, Heartbeat, ReplicaConfig, ReplicaEvent, SyncResult};
use mainstem_machine::store::Peer;
use mainstem_machine::{
    Block, CallResult, Carrier, ChatId, ChatState, Completion, Content, Cursor, DialId, Episode, Fingerprint,
    FinishReason, FollowerId, GenerationId, Lease, Message, MessageId, NextRow, Offered, OpId, OpenCall,
    Page, Part, PreviewPosition, PreviewProgress, QueuedMessage, Rejection, RelayFault, RelayFrame,
    RelayPosition, ReplicaId, Resume, Retry, Role, RunError, Seq, Snapshot, Status, SubscriptionId, Tail,
    Time, Tool, Turn, TurnStatus, Usage, Version, WallTime,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn n() -> impl Strategy<Value = u64> {
    any::<u64>()
}

fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        select(vec![Block::Text, Block::Reasoning, Block::Whole, Block::Unknown]),
        (text(), text()).prop_map(|(id, name)| Block::tool_call(&id, &name)),
    ]
}

fn text() -> impl Strategy<Value = Arc<str>> {
    any::<String>().prop_map(Arc::from)
}

fn replica() -> impl Strategy<Value = ReplicaId> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|id| ReplicaId::new(id).expect("an id"))
}

fn chat() -> impl Strategy<Value = ChatId> {
    any::<u128>().prop_map(|id| ChatId(uuid::Uuid::from_u128(id)))
}

fn time() -> impl Strategy<Value = Time> {
    n().prop_map(Time::from_micros)
}

fn span() -> impl Strategy<Value = Duration> {
    n().prop_map(Duration::from_micros)
}

fn episode() -> impl Strategy<Value = Episode> {
    (n(), n()).prop_map(|(history, attempt)| Episode { history_version: Version(history), attempt })
}

fn content() -> impl Strategy<Value = Content> {
    any::<String>().prop_map(|text| Content::text(&text))
}

fn error() -> impl Strategy<Value = RunError> {
    (text(), text()).prop_map(|(code, message)| RunError { code, message })
}

fn retry() -> BoxedStrategy<Retry> {
    (n(), n(), error(), any::<i64>())
        .prop_map(|(attempt, delay_ms, error, at)| Retry { attempt, delay_ms, error, at: WallTime(at) })
        .boxed()
}

fn queued() -> BoxedStrategy<QueuedMessage> {
    (n(), content(), any::<i64>())
        .prop_map(|(id, content, at)| QueuedMessage {
            id: MessageId(id),
            content,
            created_at: WallTime(at),
            client_id: None,
            revision: Version(0),
        })
        .boxed()
}

fn completion() -> impl Strategy<Value = Completion> {
    let usage = option::of(
        (n(), n()).prop_map(|(input_tokens, output_tokens)| Usage { input_tokens, output_tokens }),
    );
    (option::of(select(&FinishReason::ALL)), usage)
        .prop_map(|(finish_reason, usage)| Completion { finish_reason, usage })
}

fn message() -> BoxedStrategy<Arc<Message>> {
    let role = select(&[Role::User, Role::Assistant, Role::Tool, Role::System]);
    let numbers = any::<([u64; 2], [Option<u64>; 2], i64)>();
    (numbers, role, content(), any::<bool>(), option::of(episode()), completion())
        .prop_map(
            |(([id, revision], [queued_as, turn], at), role, content, interrupted, episode, completion)| {
                Arc::new(Message {
                    id: MessageId(id),
                    revision: Version(revision),
                    role,
                    content,
                    interrupted,
                    episode,
                    finish_reason: completion.finish_reason,
                    usage: completion.usage,
                    queued_as: queued_as.map(MessageId),
                    client_id: turn.map(|turn| turn.to_string().into()),
                    turn: turn.map(MessageId),
                    created_at: WallTime(at),
                })
            },
        )
        .boxed()
}

fn tool() -> impl Strategy<Value = Tool> {
    [text(), text(), text()].prop_map(|[name, description, input_schema]| Tool {
        name,
        description,
        input_schema,
    })
}

fn call_result() -> impl Strategy<Value = CallResult> {
    (text(), any::<bool>()).prop_map(|(content, is_error)| CallResult { content, is_error })
}

fn offered() -> impl Strategy<Value = Offered> {
    (text(), any::<bool>()).prop_map(|(name, is_repeatable)| Offered { name, is_repeatable })
}

fn call() -> impl Strategy<Value = OpenCall> {
    let result = call_result();
    let carrier = select(&[Carrier::Client, Carrier::Server, Carrier::ServerAgain]);
    ([text(), text(), text()], carrier, option::of(result))
        .prop_map(|([id, name, input], carrier, result)| OpenCall { id, name, input, carrier, result })
}

fn turn() -> BoxedStrategy<Turn> {
    use TurnStatus::{Completed, Failed, Interrupted, Queued, RequiresAction, Running};
    let status = select(&[Queued, Running, RequiresAction, Completed, Interrupted, Failed]);
    (any::<[u64; 4]>(), status, completion(), option::of(error()))
        .prop_map(|(n, status, Completion { finish_reason, usage }, error)| {
            let [id, message, last, steps] = n;
            let [id, message, last] = [id, message, last].map(MessageId);
            Turn { id, message, last, status, finish_reason, usage, error, steps }
        })
        .boxed()
}

fn state() -> BoxedStrategy<Arc<ChatState>> {
    let texts = (text(), option::of(text()), option::of(text()));
    let work = (select(&Status::ALL), option::of(replica()), n(), option::of(n()), n());
    let rest = (
        option::of(error()),
        option::of(retry()),
        vec(queued(), 0..3),
        option::of(turn()),
        vec(tool(), 0..3),
        vec(call(), 0..3),
    );
    (chat(), texts, work, any::<[u64; 7]>(), rest, any::<[i64; 2]>())
        .prop_map(
            |(
                id,
                (owner, title, model),
                (status, worker, lease, begun, attempt),
                n,
                (error, retry, queue, turn, tools, calls),
                times,
            )| {
                Arc::new(ChatState {
                    id,
                    owner,
                    title,
                    model,
                    status,
                    worker,
                    lease: Lease(lease),
                    attempt_lease: begun.map(Lease),
                    snapshot_version: Version(n[0]),
                    history_version: Version(n[1]),
                    queue_version: Version(n[2]),
                    reset_version: Version(n[3]),
                    attempt,
                    error,
                    retry,
                    queue,
                    last_message: MessageId(n[4]),
                    last_id: MessageId(n[5]),
                    last_told: MessageId(n[6]),
                    external_id: begun.map(|begun| begun.to_string().into()),
                    instructions: begun.map(|begun| (begun / 2).to_string().into()),
                    tools: tools.into(),
                    calls: calls.into(),
                    shares: [].into(),
                    turn,
                    created_at: WallTime(times[0]),
                    updated_at: WallTime(times[1]),
                })
            },
        )
        .boxed()
}

fn cursor() -> BoxedStrategy<Cursor> {
    let to =
        option::of(n()).prop_map(|seq| seq.map_or(PreviewProgress::Voided, |n| PreviewProgress::Seq(Seq(n))));
    let preview = (episode(), n(), to).prop_map(|(episode, lease, to)| PreviewPosition {
        episode,
        lease: Lease(lease),
        to,
    });
    (any::<[u64; 3]>(), any::<[u32; 3]>(), option::of(preview))
        .prop_map(|(n, prints, preview)| Cursor {
            snapshot_version: Version(n[0]),
            message: MessageId(n[1]),
            queue_version: Version(n[2]),
            status: Fingerprint(prints[0]),
            error: Fingerprint(prints[1]),
            retry: Fingerprint(prints[2]),
            preview,
        })
        .boxed()
}

fn resume() -> impl Strategy<Value = Resume> {
    prop_oneof![
        Just(Resume::Fresh),
        n().prop_map(|id| Resume::After(MessageId(id))),
        cursor().prop_map(Resume::At),
    ]
}

fn outcome<T: std::fmt::Debug + Clone + 'static>(
    done: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = OpOutcome<T>> {
    prop_oneof![done.prop_map(OpOutcome::Done), Just(OpOutcome::Refused), Just(OpOutcome::Unknown)]
}

fn snapshot() -> BoxedStrategy<Snapshot> {
    let tail = prop_oneof![
        vec(message(), 0..3).prop_map(Tail::After),
        (vec(message(), 0..3), any::<bool>())
            .prop_map(|(messages, from_start)| Tail::Newest { messages, from_start }),
    ];
    (state(), tail).prop_map(|(state, tail)| Snapshot { state, tail }).boxed()
}

fn page() -> BoxedStrategy<Page> {
    (vec(message(), 0..3), any::<[bool; 2]>(), any::<[u64; 2]>())
        .prop_map(|(messages, [more, has_base], [reset, history])| Page {
            messages,
            more,
            has_base,
            reset_version: Version(reset),
            history_version: Version(history),
        })
        .boxed()
}

/// A key that was used for something else is what a client is told; no machine has a key.
fn rejection() -> impl Strategy<Value = Rejection> {
    use Rejection::*;
    select(&[
        NoSuchChat,
        Exists,
        NoSuchMessage,
        NoSuchQueued,
        NotEditable,
        Busy,
        QueueFull,
        NotPending,
        ResultsTooLarge,
        NotRunning,
        NotFree,
        Fenced,
    ])
}

fn applied() -> BoxedStrategy<OpOutcome<Result<Arc<ChatState>, Rejection>>> {
    outcome(prop_oneof![state().prop_map(Ok), rejection().prop_map(Err)]).boxed()
}

fn frame() -> BoxedStrategy<RelayFrame> {
    // What a peer sends need not be text.
    let part = (option::of(block()), vec(any::<u8>(), 0..20));
    let parts = vec(part.prop_map(|(begins, text)| Part { begins, text: text.into() }), 0..3);
    prop_oneof![
        (episode(), n()).prop_map(|(episode, lease)| RelayFrame::Opened { episode, lease: Lease(lease) }),
        (episode(), n(), parts).prop_map(|(episode, seq, parts)| RelayFrame::Parts {
            episode,
            first_seq: Seq(seq),
            parts
        }),
        episode().prop_map(|episode| RelayFrame::Closed { episode }),
    ]
    .boxed()
}

fn fault() -> impl Strategy<Value = RelayFault> {
    select(&[RelayFault::Gone, RelayFault::NotWorker, RelayFault::Denied, RelayFault::Nonsense])
}

fn noticed() -> impl Strategy<Value = Noticed> {
    let versions = (n(), n(), n());
    let status = select(Status::ALL.to_vec());
    (versions, status, option::of(replica()), n(), option::of(n()), n(), any::<bool>()).prop_map(
        |((snapshot, history, queue), status, worker, lease, begun, attempt, retries)| Noticed {
            snapshot_version: Version(snapshot),
            history_version: Version(history),
            queue_version: Version(queue),
            row: Box::new(NextRow {
                status,
                worker,
                lease: Lease(lease),
                attempt_lease: begun.map(Lease),
                attempt,
                retries,
                updated_at: WallTime(1_700_000_000_000),
            }),
        },
    )
}

fn hub_event() -> impl Strategy<Value = HubEvent> {
    let viewers = prop_oneof![
        (n(), resume()).prop_map(|(id, from)| HubEvent::Audience(AudienceEvent::Subscribe {
            subscription: SubscriptionId(id),
            from,
            user: None
        })),
        n().prop_map(|id| HubEvent::Audience(AudienceEvent::Leave { subscription: SubscriptionId(id) })),
        (n(), option::of((episode(), n()))).prop_map(|(id, position)| HubEvent::Audience(
            AudienceEvent::Follow {
                follower: FollowerId(id),
                position: position.map(|(episode, seq)| RelayPosition { episode, seq: Seq(seq) }),
            }
        )),
        n().prop_map(|id| HubEvent::Audience(AudienceEvent::Unfollow { follower: FollowerId(id) })),
    ]
    .boxed();
    let database = prop_oneof![
        (n(), any::<bool>())
            .prop_map(|(op, established)| HubEvent::Bus(BusEvent::Subscribed { op: OpId(op), established })),
        Just(HubEvent::Bus(BusEvent::Lost)),
        n().prop_map(|version| HubEvent::Chat(ChatEvent::Hint { snapshot_version: Version(version) })),
        Just(HubEvent::Chat(ChatEvent::NotFound)),
        noticed().prop_map(|noticed| HubEvent::Chat(ChatEvent::Noticed(noticed))),
        (state(), option::of(vec(message(), 0..3))).prop_map(|(state, appended)| {
            let appended = appended.map(Into::into);
            HubEvent::Chat(ChatEvent::Committed { state, appended })
        }),
        (n(), outcome(option::of(snapshot()))).prop_map(|(op, outcome)| HubEvent::Database(
            DatabaseEvent::SnapshotRead { op: OpId(op), outcome }
        )),
        (n(), outcome(option::of(page())))
            .prop_map(|(op, outcome)| HubEvent::Database(DatabaseEvent::PageRead { op: OpId(op), outcome })),
        (n(), outcome(n().prop_map(Version))).prop_map(|(op, outcome)| HubEvent::Database(
            DatabaseEvent::HistoryLoaded { op: OpId(op), outcome }
        )),
        (n(), n()).prop_map(|(generation, entropy)| {
            HubEvent::Model(ModelEvent::BrokeOff { generation: GenerationId(generation), entropy })
        }),
        (n(), applied())
            .prop_map(|(op, outcome)| HubEvent::Database(DatabaseEvent::Applied { op: OpId(op), outcome })),
    ]
    .boxed();
    let work = prop_oneof![
        (state(), time(), any::<bool>()).prop_map(|(state, asked_at, has_slot)| HubEvent::Lease(
            LeaseEvent::Acquired { state, asked_at, has_slot }
        )),
        (n(), time()).prop_map(|(lease, sent_at)| HubEvent::Lease(LeaseEvent::Confirmed {
            lease: Lease(lease),
            sent_at
        })),
        n().prop_map(|lease| HubEvent::Lease(LeaseEvent::Lost { lease: Lease(lease) })),
        (n(), option::of(block()), any::<String>()).prop_map(|(run, begins, text)| HubEvent::Model(
            ModelEvent::Generated { generation: GenerationId(run), begins, text }
        )),
        (n(), completion(), vec(offered(), 0..3)).prop_map(|(run, completion, offered)| {
            let offered = offered.into();
            HubEvent::Model(ModelEvent::Done { generation: GenerationId(run), completion, offered })
        }),
        (n(), call_result())
            .prop_map(|(op, result)| HubEvent::Tool(ToolEvent::Returned { op: OpId(op), result })),
        (n(), error(), any::<bool>(), option::of(span()), n()).prop_map(
            |(run, error, retryable, retry_after, entropy)| HubEvent::Model(ModelEvent::Failed {
                generation: GenerationId(run),
                error,
                retryable,
                retry_after,
                entropy,
            })
        ),
    ]
    .boxed();
    let relay = prop_oneof![
        (replica(), option::of(text()))
            .prop_map(|(replica, address)| HubEvent::Relay(RelayEvent::Located { replica, address })),
        n().prop_map(|dial| HubEvent::Relay(RelayEvent::Dialed { dial: DialId(dial) })),
        (n(), frame())
            .prop_map(|(dial, frame)| HubEvent::Relay(RelayEvent::Relayed { dial: DialId(dial), frame })),
        (n(), fault())
            .prop_map(|(dial, fault)| HubEvent::Relay(RelayEvent::Gone { dial: DialId(dial), fault })),
    ]
    .boxed();
    let bare = select(vec![
        HubEvent::Leaving(LeavingEvent::Drain),
        HubEvent::Leaving(LeavingEvent::HandOver),
        HubEvent::Leaving(LeavingEvent::Close),
        HubEvent::Wake,
    ]);
    prop_oneof![viewers, database, work, relay, bare]
}

fn hub_input() -> impl Strategy<Value = hub::Input> {
    let what = prop_oneof![
        8 => hub_event().prop_map(Told::Event),
        1 => n().prop_map(|id| Told::NextEvent(SubscriptionId(id))),
        1 => n().prop_map(|id| Told::NextFrame(FollowerId(id))),
    ];
    (time(), what).prop_map(|(at, what)| hub::Input { at, what })
}

fn replica_input() -> impl Strategy<Value = replica::Input> {
    let news = vec((chat(), option::of(n().prop_map(Version))), 0..3);
    let found = (news, vec((chat(), select(&Status::ALL)), 0..3), option::of(span()))
        .prop_map(|(news, runnable, soonest_expiry)| SyncResult { news, runnable, soonest_expiry });
    let peer = (replica(), any::<String>()).prop_map(|(replica, address)| Peer { replica, address });
    let heartbeat = prop_oneof![
        (vec((chat(), n().prop_map(Lease)), 0..3), vec(peer, 0..3))
            .prop_map(|(leases, peers)| Heartbeat::Confirmed { leases, peers }),
        text().prop_map(|to| Heartbeat::NameLost { to }),
    ];
    let event = prop_oneof![
        (chat(), select(&Status::ALL)).prop_map(|(chat, status)| ReplicaEvent::Free { chat, status }),
        (n(), any::<bool>())
            .prop_map(|(op, established)| ReplicaEvent::BusSubscribed { op: OpId(op), established }),
        (n(), outcome(found)).prop_map(|(op, outcome)| ReplicaEvent::Synced { op: OpId(op), outcome }),
        (n(), applied()).prop_map(|(op, outcome)| ReplicaEvent::Acquired { op: OpId(op), outcome }),
        (n(), outcome(heartbeat))
            .prop_map(|(op, outcome)| ReplicaEvent::HeartbeatResult { op: OpId(op), outcome }),
        (chat(), replica()).prop_map(|(chat, replica)| ReplicaEvent::Locate { chat, replica }),
        (chat(), n()).prop_map(|(chat, lease)| ReplicaEvent::RunnerGone { chat, lease: Lease(lease) }),
        select(vec![ReplicaEvent::BusLost, ReplicaEvent::Drain, ReplicaEvent::Wake]),
    ];
    (time(), event).prop_map(|(at, event)| replica::Input { at, event })
}

fn read_again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let bytes = postcard::to_allocvec(value).expect("it is written");
    postcard::from_bytes(&bytes).expect("it is read")
}

proptest! {
    #![proptest_config(common::config(256))]

    #[test]
    fn what_a_hub_is_told_is_the_same_after_it_was_written(input in hub_input()) {
        prop_assert_eq!(read_again(&input), input);
    }

    #[test]
    fn what_a_replica_is_told_is_the_same_after_it_was_written(input in replica_input()) {
        prop_assert_eq!(read_again(&input), input);
    }

    #[test]
    fn the_settings_of_machines_are_the_same_after_they_were_written(
        replica in replica(), spans in [span(), span()], relays in any::<bool>(), count in any::<u32>(),
    ) {
        let [first, second] = spans;
        let hub = HubConfig {
            replica: replica.clone(),
            relays,
            lease_ttl: first,
            episode_bytes_max: count as usize, tool_steps_max: 4,
        };
        let replica =
            ReplicaConfig { replica, workers: count as usize, heartbeat: first, poll_interval: second };
        prop_assert_eq!((read_again(&hub), read_again(&replica)), (hub.clone(), replica.clone()));
        // And in text that people read.
        let json = serde_json::to_string(&(&hub, &replica)).expect("it is written");
        let read: (HubConfig, ReplicaConfig) = serde_json::from_str(&json).expect("it is read");
        prop_assert_eq!(read, (hub, replica));
    }
}
