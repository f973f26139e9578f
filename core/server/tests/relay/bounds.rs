//! The bounds of the relay (B1): when one is reached, the next peer or follow is refused, and no other is
//! affected.

use std::io::ErrorKind;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::{join_all, select_all};
use mainstem_machine::RelayFault;
use mainstem_runtime::limits::relay::{
    CONNECTIONS_MAX, FOLLOWS_PER_PEER_MAX, HANDSHAKES_MAX, PEERS_MAX, PREFACE_TIMEOUT,
};
use mainstem_runtime::ports::Env;
use mainstem_runtime::relay::{Peers, RelayServer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::memory_net::MemoryNet;
use crate::world::{SECRET, Source, World, follow, opened, soon, within};

/// Follows that are requested at the same time.
const AT_ONCE: usize = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_fill_the_door_push_out_the_oldest_and_no_peer() {
    let world = World::start().await;
    let mut oldest = TcpStream::connect(&world.address).await.unwrap();
    let mut others = vec![];
    for _ in 0..HANDSHAKES_MAX {
        others.push(TcpStream::connect(&world.address).await.unwrap());
    }
    let ended = within(PREFACE_TIMEOUT / 2, oldest.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_some(), "B1: it goes before its time");
    let (worker, mut follower) = world.follow(1).await;
    worker.say(opened()).await;
    assert_eq!(follower.next().await, Some(Ok(opened())), "B3: a peer gets in");
    // The peer came after all of them, and took the place of one.
    let ended = others.iter().filter(|other| is_ended(other)).count();
    assert!(ended <= 1 && !is_ended(others.last().expect("many")), "B1: only the oldest, not {ended} more");
}

/// Whether the other side has closed.
fn is_ended(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follow_too_many_at_one_peer_is_refused_and_one_that_ends_frees_its_slot() {
    let world = World::start().await;
    let address = &world.address;
    let mut streams = vec![];
    while streams.len() < FOLLOWS_PER_PEER_MAX {
        let count = AT_ONCE.min(FOLLOWS_PER_PEER_MAX - streams.len());
        let first = streams.len() as u128;
        let asked = (0..count as u128).map(|chat| world.peers.follow(address, follow(first + chat)));
        for stream in join_all(asked).await {
            streams.push(stream.expect("there is room"));
        }
    }
    let refused = world.peers.follow(address, follow(1 << 64)).await;
    assert_eq!(refused.err(), Some(RelayFault::Gone), "B1");
    assert_eq!(world.source.live(), FOLLOWS_PER_PEER_MAX, "the worker was not asked");
    assert_eq!(world.peers.connections(), 1);
    world.source.worker().await.say(opened()).await;
    // They were requested at the same time, so the order is unknown.
    let (received, _, _) = select_all(streams.iter_mut().map(StreamExt::next)).await;
    assert_eq!(received, Some(Ok(opened())), "B3: who follows goes on");
    drop(streams.pop());
    soon("the worker hears that one has gone", || world.source.live() < FOLLOWS_PER_PEER_MAX).await;
    assert!(world.peers.follow(address, follow(1 << 64)).await.is_ok(), "there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_too_many_is_refused_on_either_side_and_one_that_leaves_frees_its_slot() {
    const { assert!(PEERS_MAX == CONNECTIONS_MAX, "one follower reaches both bounds") };
    let net = MemoryNet::new();
    let source = Arc::<Source>::default();
    let listener = net.listen("").await.unwrap();
    let server = RelayServer::serve(&net, listener, SECRET.into(), source.clone());
    let peers = Peers::new(net.clone(), SECRET.into());
    let mut streams = vec![];
    for first in (0..PEERS_MAX).step_by(64) {
        let names: Vec<_> = (first..first + 64).map(|number| format!("peer-{number}:1")).collect();
        let asked = names.iter().zip(first as u128..).map(|(name, chat)| peers.follow(name, follow(chat)));
        for stream in join_all(asked).await {
            streams.push(stream.expect("there is room"));
        }
    }
    assert_eq!((peers.connections(), server.connections()), (PEERS_MAX, CONNECTIONS_MAX));
    let refused = peers.follow("one-more:1", follow(1 << 64)).await;
    assert_eq!(refused.err(), Some(RelayFault::Gone), "B1: the follower dials no further peer");
    let others = Peers::new(net.clone(), SECRET.into());
    let refused = others.follow("peer-0:1", follow(1 << 64)).await;
    assert_eq!(refused.err(), Some(RelayFault::Gone), "B1: the worker lets no further peer in");
    assert_eq!((source.asked(), server.connections()), (PEERS_MAX, CONNECTIONS_MAX));
    source.worker().await.say(opened()).await;
    let (received, _, _) = select_all(streams.iter_mut().map(StreamExt::next)).await;
    assert_eq!(received, Some(Ok(opened())), "B3: who follows goes on");
    peers.close();
    soon("B2: the places are given back", || server.connections() == 0).await;
    assert!(others.follow("peer-0:1", follow(1 << 64)).await.is_ok(), "there is room again");
}
