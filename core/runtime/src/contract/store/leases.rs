//! Leases and membership: who holds a chat, until when, and which other replicas there are.

use std::time::Duration;

use futures::future::join_all;
use mainstem_machine::{Command, Lease, Rejection};

use super::{Subject, acquire, fence, replica};
use crate::ports::{Applied, HeartbeatReport, Held, Peer, ReplicaRow, Request, SyncRequest};

/// Replicas that try to acquire the same chat.
const RIVALS: usize = 6;

pub async fn one_of_two_that_acquire_wins(subject: &Subject) {
    for _ in 0..4 {
        let chat = subject.running_chat().await;
        let requests: Vec<_> = (0..RIVALS)
            .map(|n| acquire(&format!("rival-{n}")))
            .map(|command| Request { chat, command, by: None, idempotency_key: None })
            .collect();
        let applied = join_all(requests.iter().map(|request| subject.apply(request))).await;
        let won = applied.iter().filter(|applied| applied.change().is_some()).count();
        let lost =
            applied.iter().filter(|applied| **applied == Applied::rejected(Rejection::NotFree)).count();
        assert_eq!((won, lost), (1, RIVALS - 1), "S5: one writer: {applied:?}");
    }
}

pub async fn a_lease_runs_out_by_the_stores_clock(subject: &Subject) {
    let chat = subject.running_chat().await;
    let first = subject.change(chat, acquire("first")).await;
    let second = Request { chat, command: acquire("second"), by: None, idempotency_key: None };
    assert_eq!(subject.apply(&second).await, Applied::rejected(Rejection::NotFree), "S5: it is held");
    let expiry = sync(subject).await.1.expect("L5: the lease runs out some time");
    assert!(expiry <= subject.lease_ttl, "L5: within a lease, and not after {expiry:?}");
    assert!(!sync(subject).await.0.contains(&chat), "S5: it is held");

    (subject.sleep)(subject.lease_ttl + Duration::from_millis(50)).await;
    assert!(sync(subject).await.0.contains(&chat), "L3: its lease has run out");
    let acquired = subject.apply(&second).await;
    let change = acquired.change().expect("L3: a chat whose lease has run out can be acquired");
    assert_eq!(change.state.lease, first.lease.next(), "S5: a lease of its own");
    let late = Command::BeginAttempt { fence: fence(&first) };
    let late = subject.apply(&Request { chat, command: late, by: None, idempotency_key: None }).await;
    assert_eq!(late, Applied::rejected(Rejection::Fenced), "S5: the one before changes nothing any more");
}

pub async fn a_heartbeat_renews_what_is_held_and_nothing_else(subject: &Subject) {
    let mine = replica("beating");
    let row = ReplicaRow { replica: mine.clone(), address: "127.0.0.1:1".into(), incarnation: 1 };
    let mut held = Vec::new();
    for _ in 0..3 {
        let chat = subject.running_chat().await;
        let state = subject.change(chat, acquire("beating")).await;
        held.push(Held { chat, lease: state.lease });
    }
    let silent = held.pop().expect("there are three");
    let others = subject.running_chat().await;
    let state = subject.change(others, acquire("other")).await;
    let others = Held { chat: others, lease: state.lease };
    let old = Held { lease: Lease(held[0].lease.0 + 1), ..held[0] };
    let nowhere = Held { chat: subject.fresh_id(), lease: Lease(1) };
    let claimed = [held[0], others, nowhere, held[1]];
    // Renew repeatedly, for longer than a lease lasts.
    let pause = subject.lease_ttl / 3;
    for _ in 0..5 {
        let report = subject.store.heartbeat(&row, &claimed).await.expect("the store answers");
        let mut confirmed = report.confirmed;
        confirmed.sort();
        assert_eq!(confirmed, held, "S5: what this replica holds, and nothing else");
        (subject.sleep)(pause).await;
    }
    let free = sync(subject).await.0;
    assert!(!free.contains(&held[0].chat) && !free.contains(&held[1].chat), "S5: they were renewed");
    assert!(free.contains(&silent.chat), "L3: this one was not: its lease has run out");
    assert!(free.contains(&others.chat), "S5: nobody renews another's lease");
    let report = subject.store.heartbeat(&row, &[old]).await.expect("the store answers");
    assert_eq!(report.confirmed, [], "S5: a lease that nobody has is not confirmed");

    // A lost lease cannot be renewed.
    let chat = held[0].chat;
    subject.change(chat, Command::Release { replica: mine.clone(), lease: held[0].lease }).await;
    subject.change(chat, acquire("other")).await;
    let report = subject.store.heartbeat(&row, &held).await.expect("the store answers");
    assert_eq!(report.confirmed, [held[1]], "S5: what was handed over is lost");
    let none = subject.store.heartbeat(&row, &[]).await.expect("the store answers");
    assert_eq!(none.confirmed, []);
}

pub async fn replicas_are_peers_while_they_are_heard_of(subject: &Subject) {
    let row = |name: &str, port: u16| ReplicaRow {
        replica: replica(name),
        address: format!("127.0.0.1:{port}"),
        incarnation: 1,
    };
    let names = ["peer-a", "peer-b", "peer-c"];
    let peers = async |row: &ReplicaRow| -> Vec<Peer> {
        let report = subject.store.heartbeat(row, &[]).await.expect("the store answers");
        let mut peers = report.peers;
        peers.retain(|peer| names.contains(&peer.replica.as_str()));
        peers.sort_by(|a, b| a.replica.cmp(&b.replica));
        peers
    };
    let peer = |name: &str, port: u16| Peer { replica: replica(name), address: format!("127.0.0.1:{port}") };
    assert_eq!(peers(&row("peer-a", 1)).await, [], "nobody is a peer of itself");
    assert_eq!(peers(&row("peer-b", 2)).await, [peer("peer-a", 1)]);
    assert_eq!(peers(&row("peer-a", 9)).await, [peer("peer-b", 2)]);
    assert_eq!(peers(&row("peer-c", 3)).await, [peer("peer-a", 9), peer("peer-b", 2)], "where it is by now");
    subject.store.deregister(&row("peer-b", 2)).await.expect("the store answers");
    subject.store.deregister(&row("peer-never", 7)).await.expect("the store answers");
    assert_eq!(peers(&row("peer-c", 3)).await, [peer("peer-a", 9)], "who said farewell is gone");
    (subject.sleep)(subject.lease_ttl * 2).await;
    assert_eq!(
        peers(&row("peer-b", 2)).await,
        [peer("peer-a", 9), peer("peer-c", 3)],
        "silent, but not for long"
    );
    (subject.sleep)(subject.lease_ttl * 3 / 2).await;
    assert_eq!(peers(&row("peer-c", 3)).await, [peer("peer-b", 2)], "who is silent for three leases is gone");
}

pub async fn a_name_belongs_to_one_process_at_a_time(subject: &Subject) {
    let row = |incarnation: u64| ReplicaRow {
        replica: replica("named"),
        address: format!("127.0.0.1:{incarnation}"),
        incarnation,
    };
    let beat = async |row: &ReplicaRow, held: &[Held]| {
        subject.store.heartbeat(row, held).await.expect("the store answers")
    };
    let rival = |report: &HeartbeatReport| report.rival.clone().map(|rival| rival.address);
    // Of two that begin at once, one has it.
    let (one, other) = (row(1), row(u64::MAX));
    let at_once = join_all([beat(&one, &[]), beat(&other, &[])]).await;
    assert_eq!(at_once.iter().filter(|report| report.rival.is_none()).count(), 1, "S5: {at_once:?}");
    let (first, second) = if at_once[0].rival.is_none() { (one, other) } else { (other, one) };

    let chat = subject.running_chat().await;
    let lease = subject.change(chat, acquire("named")).await.lease;
    let held = [Held { chat, lease }];
    assert_eq!(beat(&first, &held).await.confirmed, held);
    let refused = beat(&second, &held).await;
    assert_eq!(
        (rival(&refused), refused.confirmed),
        (Some(first.address.clone()), vec![]),
        "S5: not its lease"
    );
    let silent_for = refused.rival.expect("it was just there").silent_for;
    assert!(silent_for < subject.lease_ttl, "S5: it was heard of {silent_for:?} ago");
    // Who has not got the name cannot give it away.
    subject.store.deregister(&second).await.expect("the store answers");
    assert_eq!(rival(&beat(&second, &[]).await), Some(first.address.clone()), "S5");
    // It is free at once after an orderly end,
    subject.store.deregister(&first).await.expect("the store answers");
    assert_eq!(rival(&beat(&second, &[]).await), None, "L3");
    assert_eq!(rival(&beat(&first, &held).await), Some(second.address.clone()), "S5: it is another's by now");
    // and a lease after the last that was heard of it.
    (subject.sleep)(subject.lease_ttl + Duration::from_millis(100)).await;
    assert_eq!(rival(&beat(&first, &[]).await), None, "L3");
    let paused = beat(&second, &held).await;
    assert_eq!(
        (rival(&paused), paused.confirmed),
        (Some(first.address.clone()), vec![]),
        "S5: it was paused"
    );
    assert_eq!(rival(&beat(&first, &[]).await), None, "S5");
}

pub async fn a_secret_is_kept_once(subject: &Subject) {
    let proposals: Vec<_> = (0..RIVALS).map(|n| vec![u8::try_from(n).expect("few"); 32]).collect();
    let kept = join_all(proposals.iter().map(|fresh| subject.store.secret(fresh))).await;
    let first = kept[0].clone().expect("the store answers");
    assert!(proposals.contains(&first), "S10: the secret is one that was proposed");
    for secret in kept {
        assert_eq!(secret, Ok(first.clone()), "S10: every replica has the same");
    }
    assert_eq!(subject.store.secret(b"too late").await, Ok(first), "S10: from now on");
}

/// The chats that are free, and the time until the next lease expires.
async fn sync(subject: &Subject) -> (Vec<mainstem_machine::ChatId>, Option<Duration>) {
    let report = subject.store.sync(&SyncRequest { chats: vec![], runnable_max: 10_000 }).await;
    let report = report.expect("the store answers");
    (report.runnable.into_iter().map(|(chat, _)| chat).collect(), report.soonest_expiry)
}
