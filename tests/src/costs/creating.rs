//! What a chat costs from its creation to its answer, while many are created at both of two replicas, one of which works. Judged is that all
//! creations are answered, and that afterwards each chat has its answer.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use super::database::Database;
use super::figures::{Measured, figures};
use super::requests::{Connection, says};
use super::turns::{ANSWER, CONTENT};
use super::{Program, Stage};
use crate::measure::{quantile, time_of, time_of_process, time_of_tree};

const IN_FLIGHT: usize = 32;
/// Before the window: the servers' connections to the database are being opened.
const WARM_UP: Duration = Duration::from_secs(1);

figures! {
    /// Within the window. Requests are those that were answered in it.
    Figures {
        chats_per_second,
        request_p50_ms,
        request_p99_ms,
        turns_ended_per_second,
        /// Whose turns had not ended when the window had.
        chats_left,
        postgres_cpu_us_per_chat,
        servers_cpu_us_per_chat,
        asking_cpu_us_per_chat,
    }
}

fn window(is_quick: bool) -> Duration {
    Duration::from_secs(if is_quick { 1 } else { 10 })
}

pub(super) fn extent(is_quick: bool) -> Measured {
    vec![("requests_in_flight", IN_FLIGHT as f64), ("window_seconds", window(is_quick).as_secs_f64())]
}

/// What those who ask have in common.
#[derive(Default)]
struct Asking {
    is_over: Cell<bool>,
    /// Chats, in the window and around it.
    created: Cell<usize>,
    /// How long each request took, in milliseconds. Forgotten when the window begins.
    took: RefCell<Vec<f64>>,
}

impl Asking {
    /// Asks at one replica and the other in turns.
    async fn ask(&self, addresses: [&str; 2], first: usize) -> anyhow::Result<()> {
        let mut connections = [Connection::open(addresses[0]).await?, Connection::open(addresses[1]).await?];
        let body = says(CONTENT);
        for at in first.. {
            let began = Instant::now();
            connections[at % 2].post("/v1/chats", &body, 201).await?;
            self.created.update(|created| created + 1);
            if self.is_over.get() {
                break;
            }
            self.took.borrow_mut().push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

pub(super) async fn measure(stage: &Stage, program: &Program) -> anyhow::Result<Measured> {
    let mut database = Database::fresh(&stage.postgres).await?;
    let replicas = [
        program.serve("works", &database.url, &["--workers", "64"]).await,
        program.serve("serves", &database.url, &["--workers", "0"]).await,
    ];
    let asking = Asking::default();
    let addresses = [replicas[0].address(), replicas[1].address()];
    let asked = try_join_all((0..IN_FLIGHT).map(|first| asking.ask(addresses, first)));
    let measured = async {
        tokio::time::sleep(WARM_UP).await;
        let cpu = || {
            let ours = time_of_process(std::process::id());
            (time_of_tree(stage.postgres.process_id()), time_of(&replicas), ours)
        };
        let begun = database.now().await?;
        asking.took.borrow_mut().clear();
        let (before, began) = (cpu(), Instant::now());
        tokio::time::sleep(window(stage.is_quick)).await;
        let (after, seconds) = (cpu(), began.elapsed().as_secs_f64());
        let mut took = asking.took.take();
        let ended = database.now().await?;
        asking.is_over.set(true);
        let chats = took.len() as f64;
        let each = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / chats;
        anyhow::Ok(Figures {
            chats_per_second: chats / seconds,
            request_p50_ms: quantile(&mut took, 0.5),
            request_p99_ms: quantile(&mut took, 0.99),
            turns_ended_per_second: (ended.waiting - begun.waiting)
                / (ended.unix_seconds - begun.unix_seconds),
            chats_left: ended.runnable,
            postgres_cpu_us_per_chat: each(before.0, after.0),
            servers_cpu_us_per_chat: each(before.1, after.1),
            asking_cpu_us_per_chat: each(before.2, after.2),
        })
    };
    let (_, figures) = tokio::try_join!(asked, measured)?;
    database.until_all_ended().await?;
    database.answered(asking.created.get(), ANSWER).await?;
    drop(replicas);
    database.remove(&stage.postgres).await?;
    Ok(figures.named())
}
