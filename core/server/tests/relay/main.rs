//! The relay on real TCP: its guarantees for followers and workers, whatever the network and unauthenticated
//! connections do. The reactions of the machines are tested elsewhere.

mod bounds;
mod crowds;
mod follows;
mod memory_net;
mod world;

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use mainstem_machine::{RelayFault, RelayFrame, Seq};
use mainstem_runtime::limits::relay::{
    FOLLOW_WINDOW, IDLE_MAX, JOINED_TEXT_BYTES_MAX, PREFACE_TIMEOUT, SEND_BUFFER_MAX, SILENCE_MAX,
    STREAM_WINDOW,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use world::{Script, World, episode, follow, opened, part, parts, peers_with, soon, text_of, within};

/// How long it may take until silence is detected: an interval and a time-out of one second each, with slack
/// for a busy machine.
const NOTICED: Duration = Duration::from_millis(3500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_arrive_in_order_and_each_once() {
    for world in World::of_each_release().await {
        let (worker, mut follower) = world.follow(1).await;
        worker.say(opened()).await;
        let sender = tokio::spawn(async move {
            for seq in 1..=10_000 {
                worker.say(part(seq, &format!("{seq} "))).await;
            }
            worker.say(RelayFrame::Closed { episode: episode() }).await;
            worker
        });
        assert_eq!(follower.next().await, Some(Ok(opened())));
        let mut next = 1;
        let mut frames = 0;
        while next <= 10_000 {
            let Some(Ok(RelayFrame::Parts { first_seq, parts, .. })) = follower.next().await else {
                panic!("S2: expected part {next}");
            };
            assert_eq!(first_seq, Seq(next), "S2: no gap, no repeat");
            for part in parts {
                assert_eq!(part.text, format!("{next} "), "S2");
                next += 1;
            }
            frames += 1;
        }
        assert!(frames < 10_000, "parts that are ready together travel together: {frames} frames");
        assert_eq!(follower.next().await, Some(Ok(RelayFrame::Closed { episode: episode() })));
        drop(sender.await);
        assert_eq!(follower.next().await, Some(Err(RelayFault::Gone)), "the worker ended the stream");
        assert_eq!(follower.next().await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_any_size_arrives_in_bounded_frames() {
    let world = World::start().await;
    let (worker, mut follower) = world.follow(1).await;
    let sizes = [1, 200, 60 * 1024, 5, 256 * 1024];
    let all: Vec<String> = (0..5000).map(|i| "x".repeat(if i < 5 { sizes[i] } else { 70 })).collect();
    worker.say(parts(1, all.iter().map(String::as_str))).await;
    let mut got = Vec::new();
    while got.len() < all.len() {
        let frame = follower.next().await.expect("not over").expect("no fault");
        let RelayFrame::Parts { first_seq, parts, .. } = frame else { panic!("parts") };
        assert_eq!(first_seq.0, got.len() as u64 + 1, "S2");
        let bytes: usize = parts.iter().map(|part| part.text.len()).sum();
        assert!(parts.len() == 1 || bytes <= JOINED_TEXT_BYTES_MAX, "B1: a frame is bounded, not {bytes}");
        got.extend(parts);
    }
    assert!(got.iter().zip(&all).all(|(got, sent)| got.text == *sent), "S2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_that_begin_together_share_one_dial_and_one_connection() {
    let world = World::start().await;
    let address = world.proxy.address.clone();
    let follows = (0..50).map(|chat| world.peers.follow(&address, follow(chat)));
    let streams = join_all(follows).await;
    assert!(streams.iter().all(Result::is_ok));
    assert_eq!(world.proxy.connections(), 1, "one connection for each peer");
    assert_eq!(world.peers.connections(), 1);
    assert_eq!(world.server.as_ref().unwrap().connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_that_do_not_read_stop_nobody_else_and_cost_a_bounded_amount() {
    for world in World::of_each_release().await {
        world.source.script(Script::Flood);
        let stalled =
            join_all((100..140).map(|chat| world.peers.follow(&world.proxy.address, follow(chat)))).await;
        world.source.script(Script::Fed);
        let (worker, mut follower) = world.follow(1).await;
        for seq in 1..=5000 {
            worker.say(part(seq, &"x".repeat(1000))).await;
            if seq % 50 == 0 {
                let mut got = 0;
                while got < 50 {
                    let frame = within(NOTICED, follower.next()).await.expect("B3: a reader is served");
                    got += text_of(frame.expect("B3: a reader is served")).len() / 1000;
                }
            }
        }
        let flooded = world.source.flooded();
        let bound = (STREAM_WINDOW as usize + SEND_BUFFER_MAX + 4 * JOINED_TEXT_BYTES_MAX) * stalled.len();
        let bound = if world.is_earlier {
            bound
        } else {
            (FOLLOW_WINDOW + 2 * JOINED_TEXT_BYTES_MAX) * stalled.len()
        };
        assert!(flooded <= bound, "B1: {flooded} bytes were taken for those who do not read, over {bound}");
        assert_eq!(world.proxy.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_follow_ends_the_workers_stream() {
    for world in World::of_each_release().await {
        let (worker, follower) = world.follow(1).await;
        let (other, mut others) = world.follow(2).await;
        drop(follower);
        soon("B2: the worker's stream ends", || worker.is_left()).await;
        other.say(opened()).await;
        assert_eq!(others.next().await, Some(Ok(opened())), "B3: only that stream");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follow_given_up_before_the_worker_agreed_is_given_up_there_too() {
    for world in World::of_each_release().await {
        world.source.script(Script::Undecided);
        let asking = Box::pin(world.peers.follow(&world.proxy.address, follow(1)));
        let asked = soon("the worker is asked", || world.source.undecided() == 1);
        let first = futures::future::select(asking, Box::pin(asked)).await;
        assert!(matches!(first, futures::future::Either::Right(_)), "T5: there is no answer yet");
        drop(first);
        soon("T5: nothing waits for a follower who left", || world.source.undecided() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_dial_leaves_no_connection_open() {
    let world = World::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let dial = Box::pin(world.peers.follow(&address, follow(1)));
    let accepted = Box::pin(async { silent.accept().await.unwrap().0 });
    let futures::future::Either::Right((mut accepted, dial)) = futures::future::select(dial, accepted).await
    else {
        panic!("a silent peer agreed to nothing");
    };
    drop(dial);
    let mut greeting = Vec::new();
    let closed = within(NOTICED / 2, accepted.read_to_end(&mut greeting)).await;
    assert!(closed.is_some(), "T5, R06: the connection is closed");
    assert_eq!(world.peers.connections(), 0, "B2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_goes_on_while_anybody_waits_for_it() {
    let world = World::start().await;
    world.proxy.stall();
    let mut first = Box::pin(world.peers.follow(&world.proxy.address, follow(1)));
    let mut second = Box::pin(world.peers.follow(&world.proxy.address, follow(2)));
    let dialed = soon("the dial is in flight", || world.proxy.connections() == 1);
    futures::future::select(futures::future::select(&mut first, &mut second), Box::pin(dialed)).await;
    drop(first);
    world.proxy.resume();
    assert!(second.await.is_ok(), "the second asked for it too");
    assert_eq!(world.proxy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_another_secret_is_denied_and_reaches_no_worker() {
    let world = World::start().await;
    let peers = peers_with(b"another secret");
    let denied = peers.follow(&world.proxy.address, follow(1)).await;
    assert_eq!(denied.err(), Some(RelayFault::Denied), "S10: final, and told as such");
    assert_eq!(world.source.asked(), 0, "S10: nothing reaches the worker");
    assert_eq!(peers.connections(), 0, "B2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_does_not_know_the_secret_is_not_believed() {
    let impostor = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = impostor.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut peer, _) = impostor.accept().await.unwrap();
        let mut greeting = [0; 40];
        peer.read_exact(&mut greeting).await.unwrap();
        // Reflects its own nonce and proof.
        peer.write_all(&greeting).await.unwrap();
        let mut proof = [0; 32];
        peer.read_exact(&mut proof).await.unwrap();
        peer.write_all(&[1]).await.unwrap();
        peer.write_all(&proof).await.unwrap();
        peer.read_to_end(&mut Vec::new()).await
    });
    let peers = peers_with(world::SECRET);
    assert_eq!(peers.follow(&address, follow(1)).await.err(), Some(RelayFault::Denied), "S10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_cut_off_and_peers_stream_on() {
    let world = World::start().await;
    let (worker, mut follower) = world.follow(1).await;
    let strangers =
        ["GET / HTTP/1.1\r\nHost: relay\r\n\r\n", "mainstm\u{1}", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""];
    let began = Instant::now();
    let cut = join_all(strangers.map(|said| {
        let address = world.address.clone();
        async move {
            let mut stranger = TcpStream::connect(address).await.unwrap();
            stranger.write_all(said.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // The kernel may report the end as a reset.
            let _ = within(PREFACE_TIMEOUT + NOTICED, stranger.read_to_end(&mut answer))
                .await
                .expect("B1: a stranger is cut off");
            answer
        }
    }));
    let mut cut = Box::pin(cut);
    let mut seq = 0;
    let answers = loop {
        seq += 1;
        worker.say(part(seq, "x")).await;
        assert!(matches!(follower.next().await, Some(Ok(_))), "B3: a peer streams on");
        let pause = Box::pin(tokio::time::sleep(Duration::from_millis(10)));
        match futures::future::select(cut, pause).await {
            futures::future::Either::Left((answers, _)) => break answers,
            futures::future::Either::Right((_, still)) => cut = still,
        }
    };
    assert!(began.elapsed() >= PREFACE_TIMEOUT, "the half-open ones had their time");
    assert!(answers.iter().all(Vec::is_empty), "S10: the listener answers nobody else");
    assert_eq!(world.source.asked(), 1, "S10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_connection_ends_that_connection_only() {
    let world = World::start().await;
    let direct = peers_with(world::SECRET);
    let mut bystander = direct.follow(&world.address, follow(2)).await.unwrap();
    let bystanders_worker = world.source.worker().await;
    let (worker, mut follower) = world.follow(1).await;
    world.proxy.corrupt();
    worker.say(opened()).await;
    assert!(matches!(follower.next().await, Some(Err(_))), "a broken connection is told");
    soon("B2: its worker's stream ends", || worker.is_left()).await;
    bystanders_worker.say(opened()).await;
    assert_eq!(bystander.next().await, Some(Ok(opened())), "B3: nobody else notices");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_answers_is_given_up_in_time() {
    let world = World::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let answer = within(NOTICED, world.peers.follow(&address, follow(1))).await.expect("L1: no dial hangs");
    assert_eq!(answer.err(), Some(RelayFault::Gone));
    assert_eq!(world.peers.connections(), 0, "B2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_is_noticed_by_both_sides() {
    let world = World::start().await;
    let (worker, mut follower) = world.follow(1).await;
    worker.say(opened()).await;
    assert_eq!(follower.next().await, Some(Ok(opened())));
    world.proxy.stall();
    let fault = within(NOTICED, follower.next()).await.expect("L5: the follower notices");
    assert_eq!(fault, Some(Err(RelayFault::Gone)));
    soon("B2: so does the worker", || worker.is_left()).await;
    soon("B2: nothing is left there", || world.server.as_ref().unwrap().connections() == 0).await;
    world.proxy.resume();
    let (worker, mut follower) = world.follow(1).await;
    worker.say(opened()).await;
    assert_eq!(follower.next().await, Some(Ok(opened())), "L1: the next follow dials anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_with_much_in_flight_leaves_nothing_behind() {
    let world = World::start().await;
    let (_worker, _follower) = world.follow(0).await;
    world.source.script(Script::Flood);
    world.proxy.stall_answers();
    let peers = world.peers.clone();
    let address = world.proxy.address.clone();
    let follows = tokio::spawn(async move {
        join_all((1..=400).map(|chat| peers.follow(&address, follow(chat)))).await;
    });
    // More than the network buffers.
    soon("the worker sends as much as it can", || world.source.flooded() > 250_000).await;
    world.proxy.stall();
    within(NOTICED, follows).await.expect("L5: the followers notice").unwrap();
    let ends = Instant::now() + 2 * SILENCE_MAX;
    while world.server.as_ref().unwrap().connections() > 0 {
        assert!(Instant::now() < ends, "B2: the worker's side is stuck in its farewell");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_follow_over_one_connection() {
    let world = World::start().await;
    let mut follows = Vec::new();
    for chat in 0..300 {
        follows.push(world.follow(chat).await);
    }
    for (worker, _) in &follows {
        worker.say(opened()).await;
    }
    for (_, follower) in &mut follows {
        let frame = within(NOTICED, follower.next()).await.expect("no follower is held back in silence");
        assert_eq!(frame, Some(Ok(opened())));
    }
    assert_eq!(world.proxy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_that_leave_as_soon_as_they_came_hurt_nobody() {
    let world = World::start().await;
    let (worker, mut follower) = world.follow(0).await;
    for round in 0..20 {
        let mut burst: Vec<_> =
            (1..=200).map(|chat| Box::pin(world.peers.follow(&world.proxy.address, follow(chat)))).collect();
        // Each is polled once, so that it is started, and then dropped: some before they were sent, some
        // before the worker saw them, some after that, and now and then one that was answered already.
        for follow in &mut burst {
            let _ = futures::poll!(follow);
        }
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        drop(burst);
    }
    let opened_and_dropped =
        join_all((1..=200).map(|chat| world.peers.follow(&world.proxy.address, follow(chat)))).await;
    assert!(opened_and_dropped.iter().all(Result::is_ok));
    drop(opened_and_dropped);
    worker.say(opened()).await;
    assert_eq!(follower.next().await, Some(Ok(opened())), "B3: the connection lives");
    assert_eq!(world.proxy.connections(), 1, "and is the same");
    soon("B2: their streams have ended", || world.source.live() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_ends_all_its_follows_and_the_next_dials_anew() {
    for world in World::of_each_release().await {
        let (_first_worker, mut first) = world.follow(1).await;
        let (_second_worker, mut second) = world.follow(2).await;
        world.proxy.cut();
        assert_eq!(first.next().await, Some(Err(RelayFault::Gone)));
        let again = world.peers.follow(&world.proxy.address, follow(1)).await;
        assert!(again.is_ok(), "L1: at once, without a failed try in between");
        assert_eq!(second.next().await, Some(Err(RelayFault::Gone)));
        assert_eq!(world.proxy.connections(), 2);
        soon("B2: the lost one is forgotten", || world.peers.connections() == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_nobody_uses_is_closed() {
    let world = World::start().await;
    let (worker, follower) = world.follow(1).await;
    drop(follower);
    soon("the worker is left", || worker.is_left()).await;
    let (_worker, follower) = world.follow(2).await;
    assert_eq!(world.proxy.connections(), 1, "it stays for a while");
    drop(follower);
    let ends = Instant::now() + IDLE_MAX + NOTICED;
    while world.peers.connections() + world.server.as_ref().unwrap().connections() > 0 {
        assert!(Instant::now() < ends, "B2: an unused connection is closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_refuses_for_is_told() {
    for world in World::of_each_release().await {
        for fault in [RelayFault::NotWorker, RelayFault::Denied, RelayFault::Nonsense, RelayFault::Gone] {
            world.source.script(Script::Refuse(fault));
            let answer = world.peers.follow(&world.proxy.address, follow(1)).await;
            assert_eq!(answer.err(), Some(fault));
        }
        assert_eq!(world.proxy.connections(), 1, "a refusal costs no connection");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_every_stream_and_every_further_dial() {
    let world = World::start().await;
    let (worker, mut follower) = world.follow(1).await;
    world.peers.close();
    assert_eq!(follower.next().await, Some(Err(RelayFault::Gone)));
    soon("the worker is left", || worker.is_left()).await;
    let answer = world.peers.follow(&world.proxy.address, follow(1)).await;
    assert_eq!(answer.err(), Some(RelayFault::Gone));
    assert_eq!(world.proxy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_dropped_ends_its_streams_and_frees_its_address() {
    let mut world = World::start().await;
    let (worker, mut follower) = world.follow(1).await;
    drop(world.server.take());
    assert_eq!(follower.next().await, Some(Err(RelayFault::Gone)));
    soon("B2: its streams end", || worker.is_left()).await;
    let address = world.address.clone();
    soon("B2: its address is free", || std::net::TcpListener::bind(&address).is_ok()).await;
}
