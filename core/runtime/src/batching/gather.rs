//! Natural batching of one kind of operation: while one is under way, what is asked for gathers, and goes together in
//! the next. Nobody waits when nothing is under way, and nobody waits for long for others: behind a batch that takes its
//! time, another one begins beside it (B3).

use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::limits::batching::{BYTES_MAX, ITEMS_MAX, PATIENCE, UNDER_WAY_MAX, WAITING_MAX};
use crate::ports::{Env, Fault, TaskHandle};

/// What is asked for, and who asks.
type Asked<I, O> = (I, oneshot::Sender<Result<O, Fault>>);

/// Carries out a batch. There is one answer to each item, in their order.
pub(super) type Carry<I, O> = Box<dyn Fn(Vec<I>) -> BoxFuture<'static, Vec<Result<O, Fault>>> + Send>;

/// Where operations of one kind are asked for.
pub(super) struct Gather<I, O> {
    asked: mpsc::Sender<Asked<I, O>>,
    _task: TaskHandle,
}

impl<I, O> fmt::Debug for Gather<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").finish_non_exhaustive()
    }
}

impl<I: Send + 'static, O: Send + 'static> Gather<I, O> {
    /// `bytes` is what an item weighs in a batch, which has [`BYTES_MAX`] at most, unless it is of one.
    pub(super) fn new<E: Env>(env: &E, bytes: fn(&I) -> usize, carry: Carry<I, O>) -> Self {
        let (asked, questions) = mpsc::channel(WAITING_MAX - ITEMS_MAX);
        let task = env.spawn(run(env.clone(), questions, bytes, carry));
        Self { asked, _task: task }
    }

    /// Asks for one. If it is dropped before it is under way, nothing happens.
    pub(super) async fn ask(&self, item: I) -> Result<O, Fault> {
        let (answer, answered) = oneshot::channel();
        self.asked.try_send((item, answer)).map_err(|error| match error {
            TrySendError::Full(_) => Fault::Full("too many operations of this kind wait".into()),
            TrySendError::Closed(_) => Fault::Refused("nobody carries out operations of this kind".into()),
        })?;
        answered.await.unwrap_or_else(|_| Err(Fault::Unknown("the batch with it panicked".into())))
    }
}

async fn run<E: Env, I: Send + 'static, O: Send + 'static>(
    env: E,
    mut questions: mpsc::Receiver<Asked<I, O>>,
    bytes: fn(&I) -> usize,
    carry: Carry<I, O>,
) {
    // Those of the next batch; all others wait in the channel.
    let mut waiting: VecDeque<Asked<I, O>> = VecDeque::new();
    let mut under_way = FuturesUnordered::new();
    let mut patience: Option<Pin<Box<E::Sleep>>> = None;
    loop {
        let ended = std::future::poll_fn(|context| {
            let mut news = false;
            while waiting.len() < ITEMS_MAX
                && let Poll::Ready(question) = questions.poll_recv(context)
            {
                let Some(question) = question else { return Poll::Ready(true) };
                waiting.push_back(question);
                news = true;
            }
            while let Poll::Ready(Some(())) = under_way.poll_next_unpin(context) {
                news = true;
            }
            if let Some(patient) = &mut patience
                && patient.as_mut().poll(context).is_ready()
            {
                (patience, news) = (None, true);
            }
            if news { Poll::Ready(false) } else { Poll::Pending }
        });
        if ended.await {
            return;
        }
        while may_begin(under_way.len(), patience.is_some()) {
            let batch = take(&mut waiting, bytes);
            if batch.is_empty() {
                break;
            }
            let (items, askers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let carried = carry(items);
            under_way.push(async move {
                match AssertUnwindSafe(carried).catch_unwind().await {
                    // Who has gone needs no answer.
                    Ok(answers) => {
                        askers.into_iter().zip(answers).for_each(|(asker, answer)| drop(asker.send(answer)))
                    }
                    // B3: those of other batches are not to suffer from it.
                    Err(_) => tracing::error!(
                        operations = askers.len(),
                        "a batch panicked: what became of it is unknown"
                    ),
                }
            });
            patience = Some(Box::pin(env.sleep(PATIENCE)));
        }
    }
}

fn may_begin(under_way: usize, is_patient: bool) -> bool {
    under_way == 0 || (under_way < UNDER_WAY_MAX && !is_patient)
}

/// The next batch: those that have waited longest, without those for which nobody waits.
fn take<I, O>(waiting: &mut VecDeque<Asked<I, O>>, bytes: fn(&I) -> usize) -> Vec<Asked<I, O>> {
    let (mut batch, mut weight) = (vec![], 0);
    while batch.len() < ITEMS_MAX
        && let Some((item, asker)) = waiting.pop_front()
    {
        if asker.is_closed() {
            continue;
        }
        weight += bytes(&item);
        if weight > BYTES_MAX && !batch.is_empty() {
            waiting.push_front((item, asker));
            break;
        }
        batch.push((item, asker));
    }
    batch
}
