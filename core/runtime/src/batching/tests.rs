//! Gathering under many schedules of its tasks, and with a clock that stands until it is moved: who waits for more than it has
//! to sleeps for ever here.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, poll};
use mainstem_machine::{
    Applied, CachedVersions, ChatId, ChatState, Command, Content, KnownRow, NewMessage, SendMode, Snapshot,
    Time, WallTime, Write,
};
use mainstem_rows::Rows;
use tokio::sync::watch;
use uuid::Uuid;

use super::Batching;
use super::gather::{Carry, Gather};
use crate::driver::interleavings::env::StillEnv;
use crate::driver::yield_now;
use crate::limits::batching::{ALONE_WITHIN, CLOCK_AGE_MAX, ITEMS_MAX, PATIENCE, UNDER_WAY_MAX, WAITING_MAX};
use crate::ports::{BatchStore, Fault, Request};
use crate::sync::{explore, once};

/// How often all tasks are given the chance to go on, where nothing is to come of it.
const TURNS: usize = 50;
/// An item with which a batch panics.
const BROKEN: u64 = 13;

/// What was carried, and whether it may be answered.
#[derive(Clone)]
struct Carried {
    batches: Arc<Mutex<Vec<Vec<u64>>>>,
    /// So many batches are answered.
    open: Arc<watch::Sender<usize>>,
}

impl Carried {
    fn new(open: usize) -> Self {
        Self { batches: Arc::default(), open: Arc::new(watch::Sender::new(open)) }
    }

    fn batches(&self) -> Vec<Vec<u64>> {
        self.batches.lock().expect("no panic").clone()
    }

    fn gather(&self, env: &StillEnv) -> Gather<u64, u64> {
        let this = self.clone();
        let carry: Carry<u64, u64> = Box::new(move |items| this.carry(items));
        Gather::new(env, |_| 1, carry)
    }

    /// Answers to each ten times as much.
    fn carry(&self, items: Vec<u64>) -> BoxFuture<'static, Vec<Result<u64, Fault>>> {
        let place = {
            let mut batches = self.batches.lock().expect("no panic");
            batches.push(items.clone());
            batches.len()
        };
        let mut open = self.open.subscribe();
        async move {
            yield_now().await;
            open.wait_for(|open| *open >= place).await.expect("it is there");
            if items.contains(&BROKEN) {
                resume_unwind(Box::new("a batch is broken"));
            }
            items.into_iter().map(|item| Ok(10 * item)).collect()
        }
        .boxed()
    }
}

async fn others_go_on() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}

#[test]
fn everybody_is_answered_with_what_is_theirs_and_nobody_waits_for_the_clock() {
    explore(|| {
        shuttle::future::block_on(async {
            let (env, carried) = (StillEnv::default(), Carried::new(usize::MAX));
            let gather = Arc::new(carried.gather(&env));
            let askers = (0..4).map(|asker| {
                let gather = gather.clone();
                shuttle::future::spawn(async move {
                    for item in [asker, 100 + asker] {
                        assert_eq!(gather.ask(item).await, Ok(10 * item));
                    }
                })
            });
            for asker in askers.collect::<Vec<_>>() {
                asker.await.expect("it is answered");
            }
            let mut items = carried.batches().concat();
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 100, 101, 102, 103], "each is carried once");
            drop(gather);
            env.all_tasks_ended().await;
        });
    });
}

#[test]
fn what_comes_while_a_batch_is_under_way_goes_together_without_what_nobody_waits_for() {
    once(|| {
        shuttle::future::block_on(async {
            let (env, carried) = (StillEnv::default(), Carried::new(0));
            let gather = carried.gather(&env);
            let mut asked: Vec<_> = (1..=5).map(|item| Box::pin(gather.ask(item))).collect();
            assert!(poll!(&mut asked[0]).is_pending());
            others_go_on().await;
            assert_eq!(carried.batches(), [[1]], "nothing was under way, so it waits for nobody");
            for ask in &mut asked[1..] {
                assert!(poll!(ask).is_pending());
            }
            others_go_on().await;
            drop(asked.remove(2));
            carried.open.send_replace(usize::MAX);
            assert_eq!(join_all(asked).await, [Ok(10), Ok(20), Ok(40), Ok(50)]);
            assert_eq!(carried.batches(), [vec![1], vec![2, 4, 5]]);
        });
    });
}

#[test]
fn a_batch_that_hangs_holds_up_others_for_as_long_as_they_are_patient_and_so_many_go_beside_it() {
    once(|| {
        shuttle::future::block_on(async {
            let (env, carried) = (StillEnv::default(), Carried::new(0));
            let gather = carried.gather(&env);
            let mut asked = vec![];
            for place in 0..UNDER_WAY_MAX as u64 {
                let item = 200 + place;
                asked.push(Box::pin(gather.ask(item)));
                assert!(poll!(asked.last_mut().expect("there is one")).is_pending());
                if place > 0 {
                    env.pass(PATIENCE - Duration::from_millis(1));
                    others_go_on().await;
                    assert_eq!(carried.batches().len() as u64, place, "it is patient");
                    env.pass(Duration::from_millis(1));
                }
                others_go_on().await;
                assert_eq!(carried.batches().last(), Some(&vec![item]), "B3: it goes beside those that hang");
            }
            asked.push(Box::pin(gather.ask(100)));
            assert!(poll!(asked.last_mut().expect("there is one")).is_pending());
            env.pass(100 * PATIENCE);
            others_go_on().await;
            assert_eq!(carried.batches().len(), UNDER_WAY_MAX, "B1: no more than so many are under way");
            carried.open.send_replace(1);
            others_go_on().await;
            assert_eq!(carried.batches().last(), Some(&vec![100]), "one has ended, and it goes");
            carried.open.send_replace(usize::MAX);
            let answers = join_all(asked).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        });
    });
}

#[test]
fn no_more_wait_and_no_more_go_together_than_may() {
    once(|| {
        shuttle::future::block_on(async {
            let (env, carried) = (StillEnv::default(), Carried::new(0));
            let gather = carried.gather(&env);
            let mut asked = vec![Box::pin(gather.ask(0))];
            assert!(poll!(&mut asked[0]).is_pending());
            others_go_on().await;
            let refused = loop {
                let mut ask = Box::pin(gather.ask(1000 + asked.len() as u64));
                match poll!(&mut ask) {
                    std::task::Poll::Ready(refused) => break refused,
                    std::task::Poll::Pending => asked.push(ask),
                }
                assert!(asked.len() <= 3 * WAITING_MAX, "B1: there is no end of those that wait");
                yield_now().await;
            };
            assert!(matches!(refused, Err(Fault::Full(_))), "B1: {refused:?}");
            // Beside the one that is under way.
            assert_eq!(asked.len() - 1, WAITING_MAX, "B1: so many wait");
            carried.open.send_replace(usize::MAX);
            let answers = join_all(asked).await;
            assert!(answers.iter().all(Result::is_ok));
            let most = carried.batches().iter().map(Vec::len).max();
            assert_eq!(most, Some(ITEMS_MAX), "B1: so many go together");
        });
    });
}

#[test]
fn a_panic_in_a_batch_leaves_nobody_hanging_and_no_other_batch_suffers_from_it() {
    explore(|| {
        shuttle::future::block_on(async {
            let (env, carried) = (StillEnv::default(), Carried::new(usize::MAX));
            let gather = Arc::new(carried.gather(&env));
            let askers = [1, BROKEN, 2].map(|item| {
                let gather = gather.clone();
                shuttle::future::spawn(async move { (item, gather.ask(item).await) })
            });
            for asker in askers {
                let (item, answer) = asker.await.expect("it is answered");
                let went_with_it =
                    carried.batches().iter().any(|batch| batch.contains(&item) && batch.contains(&BROKEN));
                match answer {
                    Ok(answer) => assert_eq!((went_with_it, answer), (false, 10 * item)),
                    Err(Fault::Unknown(_)) => assert!(went_with_it, "B3: {item} is another batch's"),
                    Err(fault) => panic!("{fault}"),
                }
            }
            assert_eq!(gather.ask(3).await, Ok(30), "B3: it goes on");
            drop(gather);
            env.all_tasks_ended().await;
        });
    });
}

/// Rows in memory, of which much can be asked at once.
#[derive(Debug)]
struct Store {
    rows: Mutex<Rows>,
    /// What is asked at once panics, as nothing in a store should.
    is_broken: bool,
    /// How long writes take that are refused, if they are.
    refuses_after: Option<(StillEnv, Duration)>,
    /// What was asked for alone, and how many rows were read.
    locked: Mutex<usize>,
    read: Mutex<usize>,
}

const NOW: (Time, WallTime) = (Time::START, WallTime(0));

#[async_trait]
impl BatchStore for Store {
    async fn apply_locked(&self, request: &Request) -> Result<Applied, Fault> {
        yield_now().await;
        *self.locked.lock().expect("no panic") += 1;
        let applied = self.rows.lock().expect("no panic").apply(NOW.0, NOW.1, request);
        yield_now().await;
        Ok(applied)
    }

    async fn snapshot_alone(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        yield_now().await;
        *self.locked.lock().expect("no panic") += 1;
        Ok(self.rows.lock().expect("no panic").snapshot(chat, cached))
    }

    async fn snapshots(
        &self,
        asked: &[(ChatId, Option<CachedVersions>)],
    ) -> Vec<Result<Option<Snapshot>, Fault>> {
        yield_now().await;
        if self.is_broken {
            resume_unwind(Box::new("the store is broken"));
        }
        // Whoever asks for what is not there is to ask alone.
        let refused = || Err(Fault::Refused("it cannot be read with others".into()));
        let rows = self.rows.lock().expect("no panic");
        let read =
            |(chat, cached): &(ChatId, _)| rows.snapshot(*chat, *cached).map(Some).map_or_else(refused, Ok);
        asked.iter().map(read).collect()
    }

    async fn rows(&self, chats: &[ChatId]) -> Vec<Result<KnownRow, Fault>> {
        yield_now().await;
        if self.is_broken {
            resume_unwind(Box::new("the store is broken"));
        }
        *self.read.lock().expect("no panic") += chats.len();
        let rows = self.rows.lock().expect("no panic");
        chats.iter().map(|chat| Ok(rows.known_row(NOW.0, NOW.1, *chat))).collect()
    }

    async fn write(&self, writes: &[Write]) -> Vec<Result<bool, Fault>> {
        yield_now().await;
        if self.is_broken {
            resume_unwind(Box::new("the store is broken"));
        }
        if let Some((env, after)) = &self.refuses_after {
            env.pass(*after);
            return writes.iter().map(|_| Err(Fault::Refused("not these".into()))).collect();
        }
        let written = {
            let mut rows = self.rows.lock().expect("no panic");
            writes.iter().map(|write| Ok(rows.write_compared(NOW.0, NOW.1, write))).collect()
        };
        yield_now().await;
        written
    }
}

fn chat(number: u128) -> ChatId {
    ChatId(Uuid::from_u128(number))
}

fn of(chat: ChatId, command: Command) -> Request {
    Request { chat, command, by: None, idempotency_key: None }
}

fn send(number: u128, text: &str) -> Request {
    let content = Content::text(text);
    of(chat(number), Command::Send { content, mode: SendMode::Queue, queue_max: 99, client_id: None })
}

/// A store with two chats, and their rows.
fn store(is_broken: bool) -> (Arc<Store>, [Arc<ChatState>; 2]) {
    let mut rows = Rows::new(Duration::MAX);
    let known = [1, 2].map(|number| {
        let create = Command::Create {
            chat: chat(number),
            owner: "ada".into(),
            settings: Default::default(),
            messages: NewMessage::opening(Some(Content::text("hello"))),
        };
        let applied = rows.apply(NOW.0, NOW.1, &of(chat(number), create));
        applied.change().expect("it is new").state.clone()
    });
    let (rows, locked, read) = (Mutex::new(rows), Mutex::default(), Mutex::default());
    (Arc::new(Store { rows, is_broken, refuses_after: None, locked, read }), known)
}

#[test]
fn commands_at_once_happen_once_each_whatever_their_senders_know() {
    explore(|| {
        shuttle::future::block_on(async {
            let (env, (store, known)) = (StillEnv::default(), store(false));
            let commands = Arc::new(Batching::new(env.clone(), store.clone()));
            let senders = [(1, true), (1, true), (1, false), (2, true)].into_iter().enumerate();
            let senders = senders.map(|(at, (number, knows))| {
                let known = known[number as usize - 1].clone();
                let commands = commands.clone();
                shuttle::future::spawn(async move {
                    let request = send(number, &format!("{at}"));
                    commands.apply(&request, knows.then_some(known)).await.expect("it is there")
                })
            });
            let mut versions = vec![];
            for sender in senders.collect::<Vec<_>>() {
                let applied = sender.await.expect("it is answered");
                let state = &applied.change().expect("S6: it happens").state;
                versions.push((state.id, state.snapshot_version.0));
            }
            versions.sort();
            let (one, other) = (chat(1), chat(2));
            assert_eq!(versions, [(one, 2), (one, 3), (one, 4), (other, 2)], "S1: each has its version");
            let queued = [one, other].map(|chat| {
                let rows = store.rows.lock().expect("no panic");
                rows.state(chat).expect("it is there").queue.len()
            });
            assert_eq!(queued, [3, 1], "S6: each once");
            drop(commands);
            env.all_tasks_ended().await;
        });
    });
}

#[test]
fn commands_go_on_under_the_lock_where_a_batch_has_panicked() {
    explore(|| {
        shuttle::future::block_on(async {
            let (env, (store, _)) = (StillEnv::default(), store(true));
            let commands = Arc::new(Batching::new(env.clone(), store.clone()));
            for round in 0..3 {
                let applied = commands.apply(&send(1, &format!("{round}")), None).await;
                assert!(applied.is_ok_and(|applied| applied.change().is_some()), "S6: it happens, once");
            }
            assert_eq!(*store.locked.lock().expect("no panic"), 3);
        });
    });
}

#[test]
fn what_took_long_to_be_refused_is_not_tried_again_alone() {
    once(|| {
        shuttle::future::block_on(async {
            for (after, tried) in [(ALONE_WITHIN, 1), (ALONE_WITHIN + Duration::from_millis(1), 0)] {
                let (env, (refusing, _)) = (StillEnv::default(), store(false));
                let mut refusing = Arc::into_inner(refusing).expect("nobody else has it");
                refusing.refuses_after = Some((env.clone(), after));
                let refusing = Arc::new(refusing);
                let commands = Batching::new(env, refusing.clone());
                let applied = commands.apply(&send(1, "a"), None).await;
                assert_eq!(
                    (applied.is_ok(), *refusing.locked.lock().expect("no panic")),
                    (tried == 1, tried)
                );
            }
        });
    });
}

#[test]
fn a_row_that_is_known_is_read_again_where_the_clock_was_read_long_ago() {
    once(|| {
        shuttle::future::block_on(async {
            let (env, (store, known)) = (StillEnv::default(), store(false));
            let commands = Batching::new(env.clone(), store.clone());
            let mut known = known[0].clone();
            // Nobody has read a clock yet; then one that is good to the end of its time, and one that is not.
            let rounds = [(Duration::ZERO, 1), (CLOCK_AGE_MAX, 1), (Duration::from_millis(1), 2)];
            for (passed, read) in rounds {
                env.pass(passed);
                let applied = commands.apply(&send(1, "a"), Some(known)).await.expect("it is applied");
                known = applied.change().expect("S6: it happens").state.clone();
                assert_eq!(*store.read.lock().expect("no panic"), read);
            }
            assert_eq!(*store.locked.lock().expect("no panic"), 0);
        });
    });
}

#[test]
fn snapshots_at_once_are_each_ones_own_and_what_cannot_be_read_with_others_is_read_alone() {
    explore(|| {
        shuttle::future::block_on(async {
            let (env, (store, known)) = (StillEnv::default(), store(false));
            let reads = Arc::new(Batching::new(env.clone(), store.clone()));
            let readers = [1, 2, 3, 1].map(|number| {
                let reads = reads.clone();
                shuttle::future::spawn(async move { (number, reads.snapshot(chat(number), None).await) })
            });
            for reader in readers {
                let (number, read) = reader.await.expect("it is answered");
                let expected = known.get(number as usize - 1);
                assert_eq!(read.expect("it is read").map(|snapshot| snapshot.state).as_ref(), expected);
            }
            assert_eq!(*store.locked.lock().expect("no panic"), 1, "the one that nobody has");
            drop(reads);
            env.all_tasks_ended().await;
        });
    });
}

#[test]
fn a_read_whose_batch_panicked_is_told_as_unknown() {
    once(|| {
        shuttle::future::block_on(async {
            let (env, (store, _)) = (StillEnv::default(), store(true));
            let reads = Batching::new(env, store.clone());
            for number in [1, 2] {
                let read = reads.snapshot(chat(number), None).await;
                assert!(matches!(read, Err(Fault::Unknown(_))), "{read:?}");
            }
        });
    });
}
