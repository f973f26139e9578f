//! What a peer may cost that asks to follow chats which are not there.

use futures::StreamExt;
use futures::stream;
use mainstem::TokioEnv;
use mainstem_machine::{ChatId, RelayFault, ReplicaId};
use mainstem_runtime::relay::{Follow, Peers};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::process::free_port;
use mainstem_tests::scratch::Scratch;
use uuid::Uuid;

const SECRET: &str = "the secret of this cluster";
const FOLLOWS: u64 = 30_000;
/// Asked for at the same time.
const AT_ONCE: usize = 256;
/// What is left of all of them: buffers that grew, and no more. A hub each would be twenty times as much.
const LEFT_BYTES_MAX: u64 = 32 * 1024 * 1024;

#[tokio::test]
async fn follows_of_unknown_chats_open_no_hub() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", SECRET);
    let relay = format!("127.0.0.1:{}", free_port());
    let cluster = Cluster::start(&[&["--peer-secret-file", &secret, "--relay-listen", &relay]]).await;
    let replica = &cluster.replicas[0];
    let worker = ReplicaId::new(replica.id.as_str()).expect("a replica's id");
    let peers = Peers::new(TokioEnv::new(), SECRET.as_bytes().into());
    let follow = |n: u64| {
        let request = Follow {
            chat: ChatId(Uuid::from_u128(n.into())),
            follower: ReplicaId::new("peer").expect("an id"),
            worker: worker.clone(),
            position: None,
        };
        async { peers.follow(&relay, request).await.map(drop) }
    };

    // One that is worked on is followed, so that what is refused below is not refused for another reason.
    let client = replica.client();
    let chat = client.create("/demo parts=3000 interval=10ms").await;
    client.until_running(&chat).await;
    let known: Uuid = chat.parse().expect("a chat's id");
    let request = Follow {
        chat: ChatId(known),
        follower: ReplicaId::new("peer").expect("an id"),
        worker: worker.clone(),
        position: None,
    };
    let mut followed = peers.follow(&relay, request).await.expect("a chat that is worked on");
    assert!(followed.next().await.is_some_and(|frame| frame.is_ok()));

    let before = replica.resident_bytes();
    let answers = stream::iter(1..=FOLLOWS).map(follow).buffer_unordered(AT_ONCE);
    let others = answers.filter(|answer| {
        let expected = *answer == Err(RelayFault::NotWorker);
        async move { !expected }
    });
    assert_eq!(others.count().await, 0, "each is told that this replica does not work on the chat");
    let left = replica.resident_bytes().saturating_sub(before);
    assert!(left < LEFT_BYTES_MAX, "B1: {left} bytes are left");
    assert!(followed.next().await.is_some_and(|frame| frame.is_ok()), "B3: who follows goes on");
}
