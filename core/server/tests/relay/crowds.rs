//! Strangers that crowd the port from several places, and a peer that is far away.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstem_runtime::limits::relay::HANDSHAKES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::world::{SECRET, World, follow, peers_with, soon};

/// What the strangers say: as a peer would begin.
const GREETING: [u8; 40] = *b"mainstm\x01and a nonce of thirty-two bytes.";
/// Connections that one place holds open, all it can have pending and more.
const HELD: usize = 200;
const PLACES: [u8; 3] = [2, 3, 4];
/// Each place makes so many connections in each such period, which is thousands a second together.
const AT_ONCE: usize = 5;
const PACE: Duration = Duration::from_millis(5);
const TRIES: u128 = 8;
/// One way to the peer.
const DISTANCE: Duration = Duration::from_millis(30);
/// The peer's own place.
const PEER: u8 = 9;

async fn connect_from(place: u8, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, place], 0)))?;
    socket.connect(target).await
}

/// Connects and greets, again and again, and says no more.
async fn crowd(place: u8, target: SocketAddr, greeted: Arc<AtomicUsize>) {
    let mut held = VecDeque::new();
    let mut pace = interval(PACE);
    for connections in 1.. {
        if connections % AT_ONCE == 0 {
            pace.tick().await;
        }
        if let Ok(mut stream) = connect_from(place, target).await
            && stream.write_all(&GREETING).await.is_ok()
        {
            greeted.fetch_add(1, Ordering::Relaxed);
            // An orderly end would leave its port unusable for a minute.
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            held.push_back(stream);
        }
        if held.len() > HELD {
            held.pop_front();
        }
    }
}

/// A way to the target from the peer's place, on which everything takes its time.
async fn far_way(target: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let far = connect_from(PEER, target).await.expect("it listens");
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::join!(carry(near_in, far_out), carry(far_in, near_out));
            });
        }
    });
    address
}

async fn carry(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        sleep(DISTANCE).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_far_away_connects_in_every_try_whoever_crowds_the_port() {
    let world = World::start().await;
    let target: SocketAddr = world.address.parse().expect("an address");
    let greeted = Arc::new(AtomicUsize::new(0));
    let mut crowds = JoinSet::new();
    for place in PLACES {
        crowds.spawn(crowd(place, target, greeted.clone()));
    }
    soon("the port is crowded", || greeted.load(Ordering::Relaxed) > 1000).await;
    let way = far_way(target).await;
    let before = greeted.load(Ordering::Relaxed);
    for attempt in 0..TRIES {
        let peers = peers_with(SECRET);
        let followed = peers.follow(&way, follow(attempt)).await;
        assert!(followed.is_ok(), "B3: {:?} in try {attempt}", followed.err());
    }
    let meanwhile = greeted.load(Ordering::Relaxed) - before;
    assert!(meanwhile > 3 * HANDSHAKES_MAX, "only {meanwhile} greetings are no crowd");
}
