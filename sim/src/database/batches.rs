//! What is asked of the database for many chats at once. A chat that something befalls is left out, as one whose row is locked:
//! what is done for it then is done for it alone. A lost or late answer is that of all that went together.

use async_trait::async_trait;
use mainstem_machine::ChatId;
use mainstem_runtime::ports::{
    Applied, BatchStore, CachedVersions, Fault, KnownRow, Request, Snapshot, Write,
};

use super::commits::{self, clock};
use super::{Calls, What};

#[async_trait]
impl BatchStore for Calls {
    async fn apply_locked(&self, request: &Request) -> Result<Applied, Fault> {
        let (request, replica) = (request.clone(), self.replica.clone());
        let asked = self.asked(&request);
        let what = What::of(request.command.name(), Some(request.chat));
        self.call(what, move |rows, world, may_work| {
            commits::apply(rows, world, &replica, &request, asked, may_work)
        })
        .await
    }

    async fn snapshot_alone(
        &self,
        chat: ChatId,
        cached: Option<CachedVersions>,
    ) -> Result<Option<Snapshot>, Fault> {
        self.call(What::of("snapshot", Some(chat)), move |rows, _, _| rows.snapshot(chat, cached)).await
    }

    async fn snapshots(
        &self,
        asked: &[(ChatId, Option<CachedVersions>)],
    ) -> Vec<Result<Option<Snapshot>, Fault>> {
        let split = Split::of(asked, |(chat, _)| self.is_left_alone("snapshot", *chat));
        let alone = || Err(Fault::Refused("something befalls this chat".into()));
        let subjects = split.together.iter().map(|(chat, _)| ("snapshot", Some(*chat))).collect();
        let Some(what) = What::together("snapshots", subjects) else {
            return asked.iter().map(|_| alone()).collect();
        };
        let together = split.together;
        let read = self.call(what, move |rows, _, _| {
            together.iter().map(|(chat, cached)| rows.snapshot(*chat, *cached)).collect::<Vec<_>>()
        });
        joined(&split.are_together, read.await, alone)
    }

    async fn rows(&self, chats: &[ChatId]) -> Vec<Result<KnownRow, Fault>> {
        let asked = chats.to_vec();
        let read = self.call(What::of("rows", None), move |rows, world, _| {
            let known = |chat: &ChatId| Ok(rows.known_row(clock(world), world.wall(), *chat));
            asked.iter().map(known).collect()
        });
        read.await.unwrap_or_else(|fault| chats.iter().map(|_| Err(fault.clone())).collect())
    }

    async fn write(&self, writes: &[Write]) -> Vec<Result<bool, Fault>> {
        let split =
            Split::of(writes, |write| self.is_left_alone(write.request.command.name(), write.request.chat));
        let together = split.together;
        let subjects = together.iter().map(|write| (write.request.command.name(), Some(write.request.chat)));
        let what = What::together("write", subjects.collect());
        let untouched = || Ok(false);
        let (Some(what), replica) = (what, self.replica.clone()) else {
            return writes.iter().map(|_| untouched()).collect();
        };
        let asked: Vec<_> = together.iter().map(|write| self.asked(&write.request)).collect();
        let written = self.call(what, move |rows, world, may_work| {
            let write = |(write, asked)| commits::write(rows, world, &replica, write, asked, may_work);
            together.iter().zip(asked).map(write).collect::<Vec<bool>>()
        });
        joined(&split.are_together, written.await, untouched)
    }
}

impl Calls {
    /// Whether something is to befall this operation on this chat, which a statement of many leaves out.
    fn is_left_alone(&self, op: &'static str, chat: ChatId) -> bool {
        self.database.with(|state| state.faults.befalls(&self.replica, op, Some(chat)))
    }
}

/// What goes together, and what does not.
struct Split<T> {
    /// Of each, in their order.
    are_together: Vec<bool>,
    together: Vec<T>,
}

impl<T: Clone> Split<T> {
    fn of(all: &[T], is_left_alone: impl Fn(&T) -> bool) -> Self {
        let are_together: Vec<bool> = all.iter().map(|one| !is_left_alone(one)).collect();
        let together =
            all.iter().zip(&are_together).filter(|(_, is)| **is).map(|(one, _)| one.clone()).collect();
        Self { are_together, together }
    }
}

/// The outcome of each: of what went together, and `alone` of what did not. A fault is that of all.
fn joined<O>(
    are_together: &[bool],
    done: Result<Vec<O>, Fault>,
    alone: impl Fn() -> Result<O, Fault>,
) -> Vec<Result<O, Fault>> {
    let mut done = match done {
        Ok(done) => done.into_iter(),
        Err(fault) => return are_together.iter().map(|_| Err(fault.clone())).collect(),
    };
    let outcome = |is: &bool| if *is { done.next().map_or_else(&alone, Ok) } else { alone() };
    are_together.iter().map(outcome).collect()
}
