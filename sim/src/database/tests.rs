use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use madsim::runtime::Runtime;
use mainstem_machine::{
    ChatId, Command, Content, MessageId, NewMessage, Rejection, ReplicaId, SendMode, Status,
};
use mainstem_runtime::ports::{
    Applied, BatchStore, Bus, CachedVersions, Effect, Fault, Held, IdempotencyKey, Notice, ReplicaRow,
    Request, Store, SyncRequest, Tail, Topic,
};

use super::{CallFault, Database, LateAnswers, PlannedFault, SimStore, Whose};
use crate::bus::{BusFaults, Messenger};
use crate::env::SimEnv;
use crate::net::Net;
use crate::trace::Trace;
use crate::world::World;

const TTL: Duration = Duration::from_secs(15);

fn simulate<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let runtime = Runtime::with_seed_and_config(1, madsim::Config::default());
    runtime.block_on(async { test(World::new(1, Trace::default())).await });
}

fn store(world: &World, database: &Database, replica: &str) -> SimStore {
    database.store(&SimEnv::new(world, &Net::new(world), replica), replica)
}

fn of_a() -> Whose {
    Whose { replica: Some("A".into()), chat: None }
}

fn chat() -> ChatId {
    ChatId(uuid::Uuid::from_u128(7))
}

fn request(command: Command) -> Request {
    Request { chat: chat(), command, by: None, idempotency_key: None }
}

fn create() -> Request {
    let content = Some(Content::text("one"));
    request(Command::Create {
        chat: chat(),
        owner: "u".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    })
}

fn send(text: &str) -> Request {
    let content = Content::text(text);
    request(Command::Send { content, mode: SendMode::Queue, queue_max: 20, client_id: None })
}

fn acquire(replica: &str) -> Request {
    request(Command::Acquire { replica: ReplicaId::new(replica).unwrap(), interrupting_only: false })
}

#[test]
fn a_lease_lasts_as_long_as_it_is_renewed_and_is_free_afterwards() {
    simulate(|world| async move {
        let database = Database::new(&world, TTL);
        let (a, b) = (store(&world, &database, "A"), store(&world, &database, "B"));
        a.apply(&create()).await.unwrap();
        let sync = SyncRequest { chats: vec![chat()], runnable_max: 9 };
        assert_eq!(a.sync(&sync).await.unwrap().runnable, [(chat(), Status::Running)]);
        let acquired = a.apply(&acquire("A")).await.unwrap();
        let held = [Held { chat: chat(), lease: acquired.change().unwrap().state.lease }];
        let row =
            ReplicaRow { replica: ReplicaId::new("A").unwrap(), address: "A:relay".into(), incarnation: 1 };
        world.sleep(TTL - Duration::from_secs(1)).await;
        assert_eq!(a.heartbeat(&row, &held).await.unwrap().confirmed, held);
        world.sleep(TTL - Duration::from_secs(1)).await;
        assert_eq!(b.apply(&acquire("B")).await.unwrap(), Applied::rejected(Rejection::NotFree));
        let report = b.sync(&sync).await.unwrap();
        assert!(report.soonest_expiry.is_some_and(|left| left < Duration::from_secs(1)));
        world.sleep(Duration::from_secs(1)).await;
        assert!(b.apply(&acquire("B")).await.unwrap().change().is_some());
        assert_eq!(a.heartbeat(&row, &held).await.unwrap().confirmed, []);
    });
}

#[test]
fn a_lost_answer_is_found_again_by_its_idempotency_key_and_a_refused_call_did_not_happen() {
    simulate(|world| async move {
        let database = Database::new(&world, TTL);
        let a = store(&world, &database, "A");
        a.apply(&create()).await.unwrap();
        let planned = |call_fault| PlannedFault {
            call_fault,
            replica: None,
            op: Some("send".into()),
            chat: None,
            times: 1,
        };
        database.plan(Whose::default(), planned(CallFault::Refused));
        assert!(matches!(a.apply(&send("two")).await, Err(Fault::Refused(_))));
        assert!(database.chat(chat()).unwrap().queue.is_empty());
        let mut sent = send("two");
        sent.idempotency_key = Some(IdempotencyKey {
            caller: "u".into(),
            key: "k".into(),
            body: [1; 32],
            keep: Default::default(),
        });
        database.plan(Whose::default(), planned(CallFault::AnswerLost));
        assert!(matches!(a.apply(&sent).await, Err(Fault::Unknown(_))));
        assert_eq!(database.chat(chat()).unwrap().queue.len(), 1);
        let again = a.apply(&sent).await.unwrap();
        assert!(again.answer.is_ok() && again.effect == Effect::Replayed, "S6: {again:?}");
        assert_eq!(database.chat(chat()).unwrap().queue.len(), 1);
        sent.idempotency_key.as_mut().unwrap().body = [2; 32];
        assert_eq!(a.apply(&sent).await.unwrap(), Applied::rejected(Rejection::KeyReused));
    });
}

#[test]
fn what_is_answered_late_has_happened_and_others_act_on_it_meanwhile() {
    simulate(|world| async move {
        let database = Database::new(&world, TTL);
        let (a, b) = (store(&world, &database, "A"), store(&world, &database, "B"));
        a.apply(&create()).await.unwrap();
        let late = LateAnswers { by: TTL, ..LateAnswers::default() };
        database.set_late(of_a(), late);
        let (asked, two) = (world.now(), send("two"));
        let read_by_b = async {
            world.sleep(Duration::from_secs(1)).await;
            b.snapshot(chat(), None).await.unwrap().unwrap().state.queue.len()
        };
        let (answer, queued) = futures::join!(a.calls.apply_locked(&two), read_by_b);
        assert_eq!((answer.unwrap().answer.is_ok(), queued), (true, 1));
        assert!(world.now().since(asked) >= TTL, "to B the answers are quick, to A they are not");
        assert_eq!(world.tally().counts().faults["answer late"], 1);

        let call_fault = CallFault::AnswerLate(TTL);
        database.set_late(of_a(), LateAnswers::default());
        database.plan(
            Whose::default(),
            PlannedFault { call_fault, replica: None, op: Some("snapshot".into()), chat: None, times: 1 },
        );
        let asked = world.now();
        let clearing = async {
            world.sleep(Duration::from_secs(1)).await;
            database.clear_faults();
        };
        let (read, ()) = futures::join!(a.snapshot(chat(), None), clearing);
        assert!(
            read.is_ok() && world.now().since(asked) < Duration::from_secs(2),
            "nothing is in its way any more"
        );
    });
}

#[test]
fn scattered_answers_overtake_each_other() {
    simulate(|world| async move {
        let database = Database::new(&world, TTL);
        store(&world, &database, "A").apply(&create()).await.unwrap();
        database.set_late(Whose::default(), LateAnswers { scattered: TTL, ..LateAnswers::default() });
        let asked = (0..20).map(|n| {
            let store = store(&world, &database, "B");
            async move {
                store.ping().await.unwrap();
                n
            }
        });
        let order: Vec<i32> = asked.collect::<futures::stream::FuturesUnordered<_>>().collect().await;
        assert!(order.len() == 20 && !order.is_sorted(), "{order:?}");
    });
}

#[test]
fn a_dropped_call_is_carried_out_all_the_same() {
    simulate(|world| async move {
        let database = Database::new(&world, TTL);
        let a = store(&world, &database, "A");
        let create = create();
        futures::future::select(a.calls.apply_locked(&create), Box::pin(async {})).await;
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(database.chat(chat()).unwrap().status, Status::Running);
    });
}

#[test]
fn who_knows_a_part_is_sent_the_rest_unless_history_was_cut() {
    simulate(|world| async move {
        let database = Database::new(&world, TTL);
        let a = store(&world, &database, "A");
        a.apply(&create()).await.unwrap();
        let first = a.snapshot(chat(), None).await.unwrap().unwrap();
        let Tail::Newest { messages, from_start: true } = first.tail else { panic!() };
        let cached = CachedVersions {
            snapshot_version: first.state.snapshot_version,
            reset_version: first.state.reset_version,
            last_message: messages[0].id,
        };
        let again = a.snapshot(chat(), Some(cached)).await.unwrap().unwrap();
        assert_eq!(again.tail, Tail::After(vec![]));
        let content = Content::text("other");
        a.apply(&request(Command::Edit { message: messages[0].id, content })).await.unwrap();
        let cut = a.snapshot(chat(), Some(cached)).await.unwrap().unwrap();
        assert!(matches!(cut.tail, Tail::Newest { messages, .. } if messages[0].id == MessageId(2)));
        assert!(!a.page(chat(), MessageId(1), None, 10).await.unwrap().unwrap().has_base);
    });
}

#[test]
fn notices_are_lost_doubled_and_late_as_told_and_a_lost_bus_ends_its_subscriptions() {
    simulate(|world| async move {
        let messenger = Messenger::new(&world);
        let (a, b) = (messenger.bus("A"), messenger.bus("B"));
        let mut notices = b.subscribe(Topic::Chat(chat())).await.unwrap();
        let notice = |n| {
            let version = mainstem_machine::Version(n);
            Notice {
                chat: chat(),
                snapshot_version: version,
                history_version: version,
                queue_version: version,
                status: Status::Running,
                free: false,
                deleted: false,
                row: None,
            }
        };
        messenger.set_faults("B", BusFaults { lost: true, ..BusFaults::default() });
        a.publish(notice(1)).await.unwrap();
        messenger.set_faults("B", BusFaults { late: TTL, ..BusFaults::default() });
        a.publish(notice(2)).await.unwrap();
        messenger.set_faults("B", BusFaults { doubled: true, ..BusFaults::default() });
        a.publish(notice(3)).await.unwrap();
        let mut got = vec![];
        for _ in 0..3 {
            got.push(notices.next().await.unwrap().snapshot_version.0);
        }
        assert_eq!(got, [3, 3, 2]);
        messenger.disconnect("B");
        assert!(notices.next().await.is_none());
        drop(notices);
        assert_eq!(messenger.subscriptions("B"), 0);
        let faults: Vec<_> = world.tally().counts().faults.into_keys().collect();
        assert_eq!(faults, ["bus lost", "notice doubled", "notice late", "notice lost"]);
        let _unused: Arc<dyn Bus> = Arc::new(a);
    });
}
