//! Replicas with two threads each. A chat's hub, its viewers and the relay to the other replicas are on either thread, and move between them.

use futures::future::join_all;
use mainstem_tests::client::{counted, is_counted};
use mainstem_tests::cluster::Cluster;
use mainstem_tests::viewer::{Kind, Viewer};

const TWO_THREADS: [&str; 2] = ["--runtime-threads", "2"];
const CHATS: usize = 24;
/// Of each answer: long enough for what happens to happen within it.
const PARTS: u64 = 500;

/// A chat, and who watches it at two replicas.
struct Watched {
    chat: String,
    viewers: [Viewer; 2],
    at: [usize; 2],
}

impl Watched {
    async fn open(cluster: &Cluster, index: usize) -> Self {
        let at = [index % 3, (index + 1) % 3];
        let [one, other] = at.map(|at| cluster.replicas[at].client());
        let chat = one.create(&format!("/demo parts={PARTS} interval=10ms")).await;
        let viewers = [
            Viewer::open(&one, &chat, Kind::EventStream).await,
            Viewer::open(&other, &chat, Kind::WebSocket).await,
        ];
        Self { chat, viewers, at }
    }

    async fn all(&mut self, mut each: impl AsyncFnMut(&mut Viewer)) {
        for viewer in &mut self.viewers {
            each(viewer).await;
        }
    }

    async fn begin(&mut self) {
        self.all(async |viewer| {
            viewer.until("parts are told", |screen| screen.seq > 10).await;
        })
        .await;
    }

    /// Who watched at a replica that is dead goes on at the other one.
    async fn leave(&mut self, cluster: &Cluster, dead: usize) {
        for (viewer, at) in self.viewers.iter_mut().zip(self.at) {
            if at == dead {
                viewer.ended().await;
                viewer.resume_on(&cluster.replicas[2].client()).await;
            }
        }
    }

    async fn finish(&mut self, cluster: &Cluster) {
        let client = cluster.replicas[2].client();
        self.all(async |viewer| {
            viewer.until_idle().await;
            viewer.finish(&client).await;
        })
        .await;
    }
}

#[tokio::test]
async fn two_threads_lose_and_double_nothing() {
    let only_tells = [&TWO_THREADS[..], &["--workers", "0"]].concat();
    let mut cluster = Cluster::start(&[&TWO_THREADS, &TWO_THREADS, &only_tells]).await;
    let mut chats = join_all((0..CHATS).map(|index| Watched::open(&cluster, index))).await;
    join_all(chats.iter_mut().map(Watched::begin)).await;

    // A third of them is interrupted, all in one moment.
    let mut interrupted = chats.split_off(2 * CHATS / 3);
    let client = cluster.replicas[2].client();
    join_all(interrupted.iter().map(async |chat| drop(client.interrupt(&chat.chat).await.expect(202)))).await;
    join_all(interrupted.iter_mut().map(|chat| chat.finish(&cluster))).await;
    for chat in &interrupted {
        let texts = chat.viewers.each_ref().map(|viewer| viewer.screen.last_text());
        assert!(texts[0] == texts[1] && is_counted(&texts[0]), "S4, S7: {texts:?}");
        assert_ne!(texts[0], counted(PARTS), "S7: it was interrupted in the midst");
    }

    // One of two workers dies, and who watched there goes to where nobody works.
    let dead = cluster.index_of(chats[0].viewers[0].screen.worker.as_deref().expect("it has a worker"));
    cluster.replicas[dead].kill();
    join_all(chats.iter_mut().map(|chat| chat.leave(&cluster, dead))).await;
    join_all(chats.iter_mut().map(|chat| chat.finish(&cluster))).await;
    for chat in &chats {
        for viewer in &chat.viewers {
            assert_eq!(
                viewer.screen.last_text(),
                counted(PARTS),
                "S2, S4: nothing is missing, nothing twice"
            );
        }
    }
    let was_told = |chat: &Watched| chat.viewers.iter().any(|viewer| viewer.screen.resets == ["takeover"]);
    assert!(chats.iter().any(was_told), "L5: the worker died in the midst of answers");
}
