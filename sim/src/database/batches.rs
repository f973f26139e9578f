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
        let is_taken = |chat: ChatId| {
            let befalls =
                self.database.with(|state| state.faults.befalls(&self.replica, "snapshot", Some(chat)));
            !befalls
        };
        let taken: Vec<bool> = asked.iter().map(|(chat, _)| is_taken(*chat)).collect();
        let chosen = asked.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(reader, _)| *reader);
        let together: Vec<_> = chosen.collect();
        let alone = || Err(Fault::Refused("something befalls this chat".into()));
        let subjects = together.iter().map(|(chat, _)| ("snapshot", Some(*chat))).collect();
        let Some(what) = What::together("snapshots", subjects) else {
            return asked.iter().map(|_| alone()).collect();
        };
        let read = self.call(what, move |rows, _, _| {
            together.iter().map(|(chat, cached)| rows.snapshot(*chat, *cached)).collect::<Vec<_>>()
        });
        let mut read = match read.await {
            Ok(read) => read.into_iter().map(Ok).collect::<Vec<_>>().into_iter(),
            Err(fault) => vec![Err(fault); asked.len()].into_iter(),
        };
        let outcome = |taken: bool| if taken { read.next().unwrap_or_else(alone) } else { alone() };
        taken.into_iter().map(outcome).collect()
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
        let is_taken = |write: &Write| {
            let (op, chat) = (write.request.command.name(), Some(write.request.chat));
            !self.database.with(|state| state.faults.befalls(&self.replica, op, chat))
        };
        let taken: Vec<bool> = writes.iter().map(is_taken).collect();
        let together: Vec<Write> =
            writes.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(write, _)| write.clone()).collect();
        let untouched = || vec![Ok(false); writes.len()];
        let subjects = together.iter().map(|write| (write.request.command.name(), Some(write.request.chat)));
        let what = What::together("write", subjects.collect());
        let (Some(what), replica) = (what, self.replica.clone()) else { return untouched() };
        let asked: Vec<_> = together.iter().map(|write| self.asked(&write.request)).collect();
        let written = self.call(what, move |rows, world, may_work| {
            let write = |(write, asked)| commits::write(rows, world, &replica, write, asked, may_work);
            together.iter().zip(asked).map(write).collect::<Vec<bool>>()
        });
        let mut written = match written.await {
            Ok(written) => written.into_iter().map(Ok).collect::<Vec<_>>().into_iter(),
            Err(fault) => vec![Err(fault); writes.len()].into_iter(),
        };
        let outcome = |taken| if taken { written.next().unwrap_or(Ok(false)) } else { Ok(false) };
        taken.into_iter().map(outcome).collect()
    }
}
