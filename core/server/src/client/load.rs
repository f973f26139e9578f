//! `mainstem load`: generates real traffic, and judges every stream as it goes.
//!
//! Each chat has a driver, which keeps one message running and one queued, and viewers, which judge their
//! streams. Counting begins when all viewers are connected and synced. At the end, all chats are brought to
//! rest, and the screen of every viewer is compared with the history.

mod driver;
mod report;
mod shared;
mod viewer;

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use reqwest::Method;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::{Api, TokenOptions};
use crate::failure::Failure;
use crate::limits::load::{CONNECT_TIMEOUT, CONNECTING_MAX, REST_TIMEOUT};
use crate::units::Span;

use driver::Driver;
use report::Report;
use shared::Shared;
use viewer::Finale;

#[derive(Clone, Debug, Args)]
pub struct LoadOptions {
    /// A server; the first creates, viewers go round the others
    #[arg(long = "server", value_name = "URL", required = true)]
    servers: Vec<String>,
    /// Chats at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    chats: u32,
    /// Viewers of each chat
    #[arg(long, value_name = "M", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    viewers: u32,
    /// Parts per second of each chat; 0: as many as there can be
    #[arg(long, value_name = "R", default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=1000))]
    rate: u64,
    /// How long
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    duration: Span,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    token: TokenOptions,
}

struct Chat {
    driver: Driver,
    finale: watch::Sender<Finale>,
}

/// Runs the load and prints the report. Returns whether no guarantee was broken.
pub async fn load(options: LoadOptions) -> Result<bool, Failure> {
    let token = options.token.token()?;
    let apis: Result<Vec<Api>, Failure> =
        options.servers.iter().map(|url| Api::new(url, token.clone())).collect();
    let apis = apis?;
    let viewer_apis = if apis.len() > 1 { &apis[1..] } else { &apis[..] };
    let shared = Arc::new(Shared::default());
    let mut viewers = JoinSet::new();
    let mut chats = Vec::new();
    let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
    let caught_up = Arc::new(Semaphore::new(0));
    for number in 0..options.chats {
        let title = json!({"title": format!("load {number}")});
        let created = apis[0].call(Method::POST, "/v1/chats", Some(&title), None).await;
        let created =
            created.map_err(|error| Failure::environment(format!("{}: {error}", apis[0].base())))?;
        let id: Arc<str> = created["id"].as_str().unwrap_or_default().into();
        let (finale, finale_seen) = watch::channel(Finale::default());
        let hungry = Arc::new(Notify::new());
        for viewer in 0..options.viewers {
            let at = (number as usize * options.viewers as usize + viewer as usize) % viewer_apis.len();
            viewers.spawn(viewer::watch(viewer::Assignment {
                servers: viewer_apis.to_vec(),
                at,
                chat: Arc::clone(&id),
                hungry: (viewer == 0).then(|| Arc::clone(&hungry)),
                connecting: Arc::clone(&connecting),
                caught_up: Arc::clone(&caught_up),
                finale: finale_seen.clone(),
                shared: Arc::clone(&shared),
            }));
        }
        let share = f64::from(number + 1) / f64::from(options.chats);
        chats.push(Chat { driver: Driver::new(apis.clone(), id, hungry, options.rate, share), finale });
    }
    let all = options.chats * options.viewers;
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, caught_up.acquire_many(all)).await;
    if connected.is_err() {
        return Err(Failure::environment(format!(
            "not all of {all} viewers were connected in {CONNECT_TIMEOUT:?}"
        )));
    }

    shared.count(true);
    let began = Instant::now();
    let (stop, stopped) = watch::channel(false);
    let mut drivers = JoinSet::new();
    for chat in chats {
        let stopped = stopped.clone();
        let shared = Arc::clone(&shared);
        drivers.spawn(async move {
            let Chat { mut driver, finale } = chat;
            driver.drive(stopped, &shared).await;
            // Keep the sender of the finale: viewers react to its end.
            (driver, finale)
        });
    }
    tokio::select! {
        () = tokio::time::sleep(options.duration.0) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    shared.count(false);
    let seconds = began.elapsed().as_secs_f64();
    let _ = stop.send(true);
    let mut resting = JoinSet::new();
    while let Some(ended) = drivers.join_next().await {
        let (driver, finale) = ended.map_err(Failure::environment)?;
        let shared = Arc::clone(&shared);
        resting.spawn(rest(driver, finale, shared));
    }
    let mut driven = Vec::new();
    while let Some(rested) = resting.join_next().await {
        driven.push(rested.map_err(Failure::environment)?);
    }
    let mut report = Report::new(&options.servers, options.chats, options.viewers, seconds);
    while let Some(viewer) = viewers.join_next().await {
        report.add(&viewer.map_err(Failure::environment)?);
    }
    report.finish(&shared);
    if report.is_clean() {
        for (driver, _) in &driven {
            driver.delete().await;
        }
    }
    report.print(options.json);
    Ok(report.is_clean())
}

/// Brings a chat to rest, judges its history, and lets its viewers do so.
async fn rest(
    driver: Driver,
    finale: watch::Sender<Finale>,
    shared: Arc<Shared>,
) -> (Driver, watch::Sender<Finale>) {
    let deadline = Instant::now() + REST_TIMEOUT;
    let history = match tokio::time::timeout(REST_TIMEOUT, driver.rest()).await {
        Ok(Ok(history)) => {
            driver.judge(&history, &shared);
            Some(Arc::new(history))
        }
        Ok(Err(error)) => {
            shared.found(driver.chat(), "L1", format!("the chat could not be brought to rest: {error}"));
            None
        }
        Err(_) => {
            shared.found(driver.chat(), "L1", format!("the chat did not come to rest in {REST_TIMEOUT:?}"));
            None
        }
    };
    let deadline = deadline.max(Instant::now() + REST_TIMEOUT);
    finale.send_replace(Finale::Now { history, deadline });
    (driver, finale)
}
