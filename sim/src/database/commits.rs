//! What commands and heartbeats do to the rows, told to the judges.

use mainstem_machine::store::{HeartbeatReport, Held, ReplicaRow, Request};
use mainstem_machine::{Accepted, Applied, Change, Command, Effect, Rejection, ReplicaId, Time, Write};
use mainstem_oracles::{Committed, Evidence};
use mainstem_rows::Rows;

use crate::world::World;

/// The database's clock has millisecond resolution.
pub(super) fn clock(world: &World) -> Time {
    Time::from_micros(world.now().as_micros() / 1000 * 1000)
}

pub(super) fn apply(
    rows: &mut Rows,
    world: &World,
    replica: &str,
    request: &Request,
    asked: Time,
    may_work: bool,
) -> Applied {
    if matches!(request.command, Command::Acquire { .. }) && !may_work {
        return Applied::rejected(Rejection::NotFree);
    }
    let applied = rows.apply(clock(world), world.wall(), request);
    let name = request.command.name();
    match (&applied.effect, &applied.answer) {
        (Effect::Replayed, _) | (_, Err(Rejection::KeyReused)) => {
            world.observe(Evidence::Replayed { replica: replica.into(), chat: request.chat });
        }
        (_, Err(rejection)) => {
            world.trace("database", format_args!("rejects {name} of {replica}: {rejection}"));
        }
        (Effect::Changed(change), Ok(accepted)) => {
            committed(world, replica, request, asked, change, accepted);
        }
        (Effect::Unchanged, Ok(_)) => {}
    }
    applied
}

/// The same of a change that was made without a lock.
pub(super) fn write(
    rows: &mut Rows,
    world: &World,
    replica: &str,
    write: &Write,
    asked: Time,
    may_work: bool,
) -> bool {
    let Write { request, change, accepted, .. } = write;
    let may = may_work || !matches!(request.command, Command::Acquire { .. });
    let written = may && rows.write_compared(clock(world), world.wall(), write);
    let name = request.command.name();
    if written {
        committed(world, replica, request, asked, change, accepted);
    } else {
        world.trace("database", format_args!("does not write {name} of {replica}: the chat has moved on"));
    }
    written
}

fn committed(
    world: &World,
    replica: &str,
    request: &Request,
    asked: Time,
    change: &Change,
    accepted: &Accepted,
) {
    world.observe(Evidence::Committed(Box::new(Committed {
        chat: request.chat,
        by: replica.into(),
        asked,
        caller: request.by.clone(),
        key: request.idempotency_key.as_ref().map(|idempotency_key| idempotency_key.key.clone()),
        command: request.command.clone(),
        state: change.state.clone(),
        deleted: change.deleted,
        cut_from: change.cut_from,
        inserted: change.inserted.clone(),
        ended: change.ended.clone(),
        accepted: accepted.clone(),
    })));
    tell(world, replica, request.command.name(), change);
}

fn tell(world: &World, replica: &str, command: &'static str, change: &Change) {
    let Change { state, deleted, inserted, .. } = change;
    world.trace(
        "database",
        format_args!(
            "commits {command} of {replica}: version {}, {}, worker {}, lease {}, attempt {:?}, {} queued{}",
            state.snapshot_version,
            state.status.as_str(),
            state.worker.as_ref().map_or("nobody", ReplicaId::as_str),
            state.lease,
            state.present_episode(),
            state.queue.len(),
            if inserted.is_empty() { "" } else { ", history grows" },
        ),
    );
    world.tally().committed(state, *deleted);
}

pub(super) fn heartbeat(
    rows: &mut Rows,
    world: &World,
    sent: Time,
    replica: &ReplicaRow,
    held: Vec<Held>,
) -> HeartbeatReport {
    let report = rows.heartbeat(clock(world), replica, held);
    for Held { chat, lease } in report.confirmed.iter().copied() {
        world.observe(Evidence::Confirmed { replica: replica.replica.clone(), chat, lease, sent });
    }
    report
}
