//! The laws of a hub, claim by claim: two hubs of one chat, and a third replica that only writes rows and relays. On
//! random events hubs keep their laws in the pure world (`world_laws`). Here are the moments that those seldom meet,
//! bounds that are larger than such a world, and what no driver lets happen but a hub withstands all the same: answers to
//! what it has given up, frames of a relay that it has closed, and peers that relay nonsense. After every step, judges
//! that know nothing about hubs check the guarantees.

mod appended;
mod backoff;
mod calls;
mod claims;
#[path = "../common/mod.rs"]
mod common;
mod court;
mod database;
mod driver;
mod following;
mod large;
mod node;
mod noticed;
mod quiet;
mod recover;
mod relays;
mod rival;
mod running;
mod step;
#[path = "../told/hub.rs"]
mod told;
mod viewers;
mod withstood;
mod work;
mod world;

use mainstem_machine::hub::{DatabaseEvent, HubAction, HubEvent, LeaseEvent};
use mainstem_machine::{Body, StreamEvent};

fn word<T, E: std::fmt::Debug>(result: &Result<T, E>) -> String {
    result.as_ref().map_or_else(|error| format!("{error:?}"), |_| "done".into())
}

fn event(event: &StreamEvent) -> String {
    match &event.body {
        Body::Message(message) => format!("message {} of {:?}", message.id, message.episode),
        Body::QueueUpdate(queue) => format!("queue of {}", queue.len()),
        other => format!("{other:?}"),
    }
}

fn describe(event: &HubEvent) -> String {
    match event {
        HubEvent::Database(DatabaseEvent::SnapshotRead {
            op,
            outcome: mainstem_machine::hub::OpOutcome::Done(Some(snapshot)),
        }) => {
            let state = &snapshot.state;
            let (version, worker) = (state.snapshot_version, &state.worker);
            format!("read {op}: {version}, {:?} {:?}, {worker:?}", state.status, state.live_episode())
        }
        HubEvent::Database(DatabaseEvent::Applied {
            op,
            outcome: mainstem_machine::hub::OpOutcome::Done(done),
        }) => {
            format!("applied {op}: {}", word(done))
        }
        HubEvent::Lease(LeaseEvent::Acquired { state, .. }) => format!("acquired {:?}", state.lease),
        other => format!("{other:?}"),
    }
}

fn asked(action: &HubAction) -> String {
    match action {
        HubAction::Apply { op, command } => format!("apply {op}: {}", command.name()),
        other => format!("{other:?}"),
    }
}
