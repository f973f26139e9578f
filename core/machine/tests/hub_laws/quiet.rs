//! What a hub does when little happens: news, retention, a lost bus, a replica without peers.

use std::sync::Arc;
use std::time::Duration;

use mainstem_machine::hub::{
    AudienceEvent, BusEvent, ChatEvent, DatabaseEvent, Deadline, HubAction, HubConfig, HubEvent, OpOutcome,
    Reason,
};
use mainstem_machine::limits::{BUS_SUBSCRIBE_TIMEOUT, HUB_RETENTION, OP_RETRY_DELAY_MIN};
use mainstem_machine::replica::ReplicaEvent;
use mainstem_machine::{Ending, ReplicaId, Resume, SubscriptionId};

use crate::database::LEASE_TTL;
use crate::node::Pending;
use crate::step::{From, How, Rival, Step};
use crate::told::Hub;
use crate::world::World;

const VIEWER: Step = Step::Subscribe { node: 0, from: From::Fresh };

fn world(steps: &[Step]) -> World {
    let mut world = World::new(false);
    steps.iter().for_each(|step| world.take(*step));
    world
}

fn actions(hub: &mut Hub) -> Vec<HubAction> {
    std::iter::from_fn(|| hub.poll_action()).collect()
}

#[test]
fn what_there_is_to_tell_is_announced_once_and_not_before_nor_forgotten() {
    let world = world(&[VIEWER, Step::Flow]);
    let mut hub = world.nodes[0].hub.clone().expect("it has a viewer");
    assert!(!hub.take_news(), "L4: all was told");
    hub.handle(world.now, HubEvent::Wake);
    assert!(!hub.take_news(), "L4: nothing happened");
    let (subscription, from) = (SubscriptionId(1_000), Resume::Fresh);
    hub.handle(world.now, HubEvent::Audience(AudienceEvent::Subscribe { subscription, from, user: None }));
    actions(&mut hub);
    hub.handle(world.now, HubEvent::Wake);
    assert!(hub.take_news(), "L1: who came is told something");
    assert!(!hub.take_news(), "L4: it is announced once");
}

#[test]
fn a_hub_is_kept_for_the_retention_time_after_its_last_viewer_and_no_longer() {
    let mut world = world(&[VIEWER, Step::Flow]);
    world.take(Step::Leave(0));
    let mut hub = world.nodes[0].hub.clone().expect("it is kept");
    let end = world.now + HUB_RETENTION;
    assert_eq!(hub.poll_timeout(), Some(Deadline { at: end, reason: Reason::HubRetention }), "B2");
    for (now, finished) in [(world.now, false), (end - Duration::from_micros(1), false), (end, true)] {
        hub.handle(now, HubEvent::Wake);
        let unsubscribed = if finished { vec![HubAction::BusUnsubscribe] } else { vec![] };
        assert_eq!((actions(&mut hub), hub.is_finished()), (unsubscribed, finished), "B2: {now:?}");
    }
    assert_eq!(hub.poll_timeout(), None);
}

/// A sync is older than what it leads to: another may have made the chat since, or the read in flight may have begun
/// before it was deleted.
#[test]
fn a_chat_that_a_sync_did_not_find_is_read_and_gone_only_if_the_read_finds_none_either() {
    for gone in [false, true] {
        let mut world = world(&[VIEWER, Step::Flow]);
        world.handle(0, HubEvent::Chat(ChatEvent::NotFound));
        let reads = |world: &World| world.nodes[0].pending.iter().filter(is_read).count();
        assert_eq!(reads(&world), 1, "L1: it is read");
        assert_eq!(
            world.nodes[0].hub.as_ref().and_then(|hub| hub.ending()),
            None,
            "S1: a sync ends no stream"
        );
        // The read in flight sees the chat as it was.
        let at = world.nodes[0].pending.iter().position(|pending| is_read(&pending)).expect("it was counted");
        world.answer(0, at, How::Happens);
        if gone {
            world.database.rows = mainstem_rows::Rows::new(LEASE_TTL);
        }
        world.handle(0, HubEvent::Chat(ChatEvent::NotFound));
        world.answer(0, at, How::Done);
        assert_eq!(reads(&world), 1, "L1: one that begins later follows");
        world.answer(0, 0, How::Done);
        let ending = world.nodes[0].hub.as_ref().and_then(|hub| hub.ending());
        assert_eq!(ending, gone.then_some(Ending::Deleted), "L1");
        assert_eq!(reads(&world), 0, "L4");
    }
}

fn is_read(pending: &&Pending) -> bool {
    matches!(pending, Pending::Snapshot { .. })
}

#[test]
fn a_bus_that_was_lost_is_subscribed_to_again_after_a_delay() {
    let mut world = world(&[VIEWER, Step::Flow, Step::BusLost { node: 0 }, Step::Settle { node: 0 }]);
    let retry = world.nodes[0].hub.as_ref().and_then(|hub| hub.poll_timeout());
    let due = world.now + OP_RETRY_DELAY_MIN;
    assert_eq!(retry, Some(Deadline { at: due, reason: Reason::BusRetry }), "R04");
    world.now = due;
    world.handle(0, HubEvent::Wake);
    assert!(matches!(world.nodes[0].pending[..], [Pending::Bus { .. }]));
}

#[test]
fn a_bus_that_does_not_answer_is_not_waited_for_and_asked_again_after_a_delay() {
    let mut world = world(&[VIEWER]);
    let due = |world: &World| world.nodes[0].hub.as_ref().and_then(|hub| hub.poll_timeout()).expect("R04");
    world.now = world.now + BUS_SUBSCRIBE_TIMEOUT;
    assert_eq!(due(&world), Deadline { at: world.now, reason: Reason::BusRetry });
    world.handle(0, HubEvent::Wake);
    assert!(matches!(world.nodes[0].pending[..], [Pending::Bus { .. }, Pending::Snapshot { .. }]), "L1");
    assert_eq!(due(&world), Deadline { at: world.now + OP_RETRY_DELAY_MIN, reason: Reason::BusRetry }, "L4");
}

#[test]
fn a_replica_without_peers_dials_nobody() {
    let world = world(&[Step::Rival(Rival::Acquire)]);
    for relays in [true, false] {
        let config = HubConfig {
            replica: ReplicaId::new("node").expect("a replica's id"),
            relays,
            lease_ttl: LEASE_TTL,
            episode_bytes_max: 1024,
            tool_steps_max: 4,
        };
        let mut hub = Hub::new(world.now, Arc::new(config));
        let (subscription, from) = (SubscriptionId(1), Resume::Fresh);
        hub.handle(
            world.now,
            HubEvent::Audience(AudienceEvent::Subscribe { subscription, from, user: None }),
        );
        let [HubAction::BusSubscribe { op }] = actions(&mut hub)[..] else { panic!("the bus comes first") };
        hub.handle(world.now, HubEvent::Bus(BusEvent::Subscribed { op, established: true }));
        let [HubAction::ReadSnapshot { op, cached }] = actions(&mut hub)[..] else { panic!("it reads") };
        let outcome = OpOutcome::Done(world.database.snapshot(cached));
        hub.handle(world.now, HubEvent::Database(DatabaseEvent::SnapshotRead { op, outcome }));
        let dials = actions(&mut hub)
            .iter()
            .any(|action| matches!(action, HubAction::ToReplica(ReplicaEvent::Locate { .. })));
        assert_eq!(dials, relays, "L4: it has nobody to follow");
    }
}
