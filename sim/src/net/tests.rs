use std::time::Duration;

use madsim::runtime::Runtime;
use mainstem_runtime::ports::{Env, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Death, DialRule, Net, WINDOW};
use crate::env::SimEnv;
use crate::trace::Trace;
use crate::world::World;

struct Two {
    net: Net,
    a: SimEnv,
    b: SimEnv,
}

fn with_two<F: Future<Output = ()>>(test: impl FnOnce(Two) -> F) {
    let runtime = Runtime::with_seed_and_config(1, madsim::Config::default());
    runtime.block_on(async {
        let world = World::new(1, Trace::default());
        let net = Net::new(&world);
        net.bring_up("A");
        net.bring_up("B");
        let (a, b) = (SimEnv::new(&world, &net, "A"), SimEnv::new(&world, &net, "B"));
        test(Two { net, a, b }).await;
    });
}

const SOON: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn bytes_arrive_in_order_after_the_latency_and_then_the_end() {
    with_two(|Two { net, a, b }| async move {
        net.set_latency("A", "B", Duration::from_millis(20), Duration::from_millis(30));
        let mut listener = b.listen("B:1").await.unwrap();
        let mut out = a.connect("B:1").await.unwrap();
        let mut from = b.accept(&mut listener).await.unwrap();
        let start = a.now();
        let landed = || a.world().tally().counts().faults.get("link slow").copied();
        assert_eq!(landed(), None, "D2: there is nothing to delay");
        for n in 0..100u8 {
            out.write_all(&[n]).await.unwrap();
        }
        drop(out);
        let mut all = vec![];
        from.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        assert_eq!(landed(), Some(1));
        let took = a.now().since(start);
        assert!(took >= Duration::from_millis(20) && took <= Duration::from_millis(60), "{took:?}");
    });
}

#[test]
fn a_full_window_holds_the_writer_back_until_somebody_reads() {
    with_two(|Two { a, b, .. }| async move {
        let mut listener = b.listen("B:1").await.unwrap();
        let mut out = a.connect("B:1").await.unwrap();
        let mut from = b.accept(&mut listener).await.unwrap();
        out.write_all(&vec![1; WINDOW]).await.unwrap();
        assert!(within(&a, LONG, out.write_all(&[2])).await.is_err());
        let mut half = vec![0; WINDOW / 2];
        from.read_exact(&mut half).await.unwrap();
        within(&a, SOON, out.write_all(&[2])).await.unwrap().unwrap();
    });
}

#[test]
fn a_half_open_connection_says_nothing_to_either_side() {
    with_two(|Two { net, a, b }| async move {
        let mut listener = b.listen("B:1").await.unwrap();
        let mut out = a.connect("B:1").await.unwrap();
        let mut from = b.accept(&mut listener).await.unwrap();
        assert_eq!(net.silence("B", "A"), 1);
        out.write_all(b"lost").await.unwrap();
        drop(out);
        assert!(within(&b, LONG, from.read_u8()).await.is_err(), "neither bytes nor the end arrive");
        assert_eq!(a.world().tally().counts().faults["half-open"], 1);
    });
}

#[test]
fn a_reset_ends_reads_and_writes_of_both() {
    with_two(|Two { net, a, b }| async move {
        let mut listener = b.listen("B:1").await.unwrap();
        let mut out = a.connect("B:1").await.unwrap();
        let mut from = b.accept(&mut listener).await.unwrap();
        let reading = async { from.read_u8().await.unwrap_err().kind() };
        let breaking = async {
            a.sleep(SOON).await;
            net.reset("A", "B");
        };
        let (kind, ()) = futures::join!(reading, breaking);
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset);
        assert_eq!(out.write_all(b"x").await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_clogged_direction_keeps_its_bytes_until_it_flows_and_the_other_one_goes_on() {
    with_two(|Two { net, a, b }| async move {
        let mut listener = b.listen("B:1").await.unwrap();
        let mut out = a.connect("B:1").await.unwrap();
        let mut from = b.accept(&mut listener).await.unwrap();
        net.clog("A", "B");
        let landed = || a.world().tally().counts().faults.get("clog").copied();
        assert_eq!(landed(), None, "D2: there is nothing to hold back");
        out.write_all(b"x").await.unwrap();
        assert_eq!(landed(), Some(1));
        from.write_all(b"y").await.unwrap();
        assert_eq!(within(&a, SOON, out.read_u8()).await.unwrap().unwrap(), b'y');
        assert!(within(&b, LONG, from.read_u8()).await.is_err());
        net.unclog("A", "B");
        assert_eq!(within(&b, SOON, from.read_u8()).await.unwrap().unwrap(), b'x');
    });
}

#[test]
fn dials_are_refused_hang_and_complete_late() {
    with_two(|Two { net, a, b }| async move {
        let _listener = b.listen("B:1").await.unwrap();
        net.set_next_dial("A", "B", DialRule::Refused);
        assert_eq!(a.connect("B:1").await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(a.connect("B:2").await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        net.set_dials("A", "B", DialRule::Hangs);
        assert!(within(&a, LONG, a.connect("B:1")).await.is_err());
        assert_eq!(net.dials_in_flight("A", "B"), 0, "who gave up leaves nothing behind");
        let dialing = a.connect("B:1");
        let releasing = async {
            a.sleep(SOON).await;
            assert_eq!(net.dials_in_flight("A", "B"), 1);
            net.set_dials("A", "B", DialRule::Through);
        };
        let (dialed, ()) = futures::join!(dialing, releasing);
        let _stream = dialed.unwrap();
        net.set_dials("A", "B", DialRule::Takes(Duration::from_millis(700)));
        let start = a.now();
        let _other = a.connect("B:1").await.unwrap();
        assert!(a.now().since(start) >= Duration::from_millis(700));
        assert_eq!(net.connections("A", "B"), 2);
    });
}

#[test]
fn a_partition_makes_dials_hang_and_its_end_lets_them_through() {
    with_two(|Two { net, a, b }| async move {
        let _listener = b.listen("B:1").await.unwrap();
        net.cut("A", "B");
        let healing = async {
            a.sleep(LONG).await;
            net.join("B", "A");
        };
        let (dialed, ()) = futures::join!(a.connect("B:1"), healing);
        dialed.unwrap();
        assert!(a.now().as_micros() >= 60_000_000);
    });
}

#[test]
fn a_dead_process_resets_and_refuses_while_a_dead_machine_is_silent() {
    for death in [Death::Process, Death::Machine] {
        with_two(|Two { net, a, b }| async move {
            let serving = b.clone();
            b.spawn(async move {
                let mut listener = serving.listen("B:1").await.unwrap();
                let _held = serving.accept(&mut listener).await.unwrap();
                std::future::pending::<()>().await;
            })
            .detach();
            a.sleep(SOON).await;
            let mut out = a.connect("B:1").await.unwrap();
            a.sleep(SOON).await;
            net.take_down("B", death);
            b.kill();
            let read = within(&a, LONG, out.read_u8()).await;
            let dialed = within(&a, LONG, a.connect("B:1")).await;
            match death {
                Death::Process | Death::Exit => {
                    assert_eq!(read.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
                    assert_eq!(dialed.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
                }
                Death::Machine => assert!(read.is_err() && dialed.is_err(), "silence"),
            }
            assert_eq!(b.tasks(), 0);
            drop(out);
            assert_eq!(net.connections("A", "B"), 0);
        });
    }
}

#[test]
fn who_writes_to_a_closed_stream_is_told_by_a_reset() {
    with_two(|Two { a, b, .. }| async move {
        let mut listener = b.listen("B:1").await.unwrap();
        let mut out = a.connect("B:1").await.unwrap();
        drop(b.accept(&mut listener).await.unwrap());
        out.write_all(b"x").await.unwrap();
        a.sleep(SOON).await;
        assert!(out.write_all(b"x").await.is_err());
    });
}

#[test]
fn who_waits_for_room_is_told_that_the_reader_has_gone() {
    for way in ["closes", "crashes", "closes before it arrives"] {
        with_two(|Two { net, a, b }| async move {
            let mut listener = b.listen("B:1").await.unwrap();
            let mut out = a.connect("B:1").await.unwrap();
            let from = b.accept(&mut listener).await.unwrap();
            if way == "closes before it arrives" {
                net.set_latency("A", "B", SOON / 2, Duration::ZERO);
            }
            out.write_all(&vec![1; WINDOW]).await.unwrap();
            let going = async {
                a.sleep(SOON / 10).await;
                match way {
                    "crashes" => net.take_down("B", Death::Process),
                    _ => drop(from),
                }
            };
            let (written, ()) = futures::join!(within(&a, SOON, out.write_all(&[2])), going);
            let kind = written.expect(way).unwrap_err().kind();
            assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "it {way}");
        });
    }
}

#[test]
fn a_half_open_connection_keeps_who_waits_for_room_waiting() {
    with_two(|Two { net, a, b }| async move {
        let mut listener = b.listen("B:1").await.unwrap();
        let mut out = a.connect("B:1").await.unwrap();
        let from = b.accept(&mut listener).await.unwrap();
        net.silence("A", "B");
        out.write_all(&vec![1; WINDOW]).await.unwrap();
        drop(from);
        assert!(within(&a, LONG, out.write_all(&[2])).await.is_err());
    });
}

#[test]
fn an_ended_task_is_not_counted_and_dropping_its_handle_ends_it() {
    with_two(|Two { a, .. }| async move {
        let task = a.spawn(std::future::pending());
        a.sleep(SOON).await;
        assert_eq!(a.tasks(), 1);
        drop(task);
        a.sleep(SOON).await;
        assert_eq!(a.tasks(), 0);
    });
}
