//! A set of keys behind a URL (RFC 7517), kept up to date by one task: fetched at the start, when it has become old, and when a
//! token names a key that is not known yet, which is how issuers go over to another one.
//!
//! There is never more than one fetch, and none within an interval of another, whatever tokens come. While the URL cannot be
//! reached, the keys that were there stay.

use std::fmt;
use std::sync::Arc;

use reqwest::{Client, Url, redirect};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::Problem;
use super::keys::{Key, Keys};
use crate::config::JwtAlgorithm;
use crate::limits::access::{
    JWKS_BYTES_MAX, JWKS_FETCH_INTERVAL, JWKS_RETENTION, JWKS_TIMEOUT, JWKS_TRIES, JWKS_WAIT,
};
use crate::outbound;

/// Asks for keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jwks {
    standing: watch::Receiver<Standing>,
    keys: watch::Receiver<Keys>,
    wanted: Arc<Notify>,
}

/// What has become of the fetches.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// How many have ended.
    fetches: u64,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Whether it brought keys.
    is_reachable: bool,
}

/// Keeps the keys up to date.
pub struct JwksTask {
    url: Url,
    client: Client,
    algorithms: Vec<JwtAlgorithm>,
    standing: watch::Sender<Standing>,
    keys: watch::Sender<Keys>,
    wanted: Arc<Notify>,
}

impl fmt::Debug for JwksTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksTask").field("host", &self.url.host_str()).finish()
    }
}

/// Keys behind an http or https URL, for tokens that are signed in one of these ways.
pub fn jwks(url: &Url, algorithms: &[JwtAlgorithm]) -> Result<(Jwks, JwksTask), String> {
    let client = outbound::client_to(url)
        .user_agent(concat!("mainstem/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let task = JwksTask {
        url: url.clone(),
        client,
        algorithms: algorithms.to_vec(),
        standing: watch::Sender::default(),
        keys: watch::Sender::default(),
        wanted: Arc::default(),
    };
    let (standing, keys) = (task.standing.subscribe(), task.keys.subscribe());
    Ok((Jwks { standing, keys, wanted: task.wanted.clone() }, task))
}

impl Jwks {
    /// The key of this name and algorithm, or without a name the only one of the algorithm.
    pub(super) async fn key(&self, kid: Option<&str>, algorithm: JwtAlgorithm) -> Result<Key, Problem> {
        self.until(|keys| keys.find(kid, algorithm)).await
    }

    /// What is found among the keys, or among those that are fetched for it.
    pub(super) async fn until<T>(&self, find: impl Fn(&Keys) -> Option<T>) -> Result<T, Problem> {
        let find = || find(&self.keys.borrow());
        if let Some(found) = find() {
            return Ok(found);
        }
        let standing = *self.standing.borrow();
        let is_due = standing.ended.is_none_or(|ended| ended.elapsed() >= JWKS_FETCH_INTERVAL);
        if is_due {
            self.wanted.notify_one();
            let mut standing_now = self.standing.clone();
            let next = standing_now.wait_for(|now| now.fetches > standing.fetches);
            // It is bounded by itself: a task that is gone is nothing to wait for.
            let _ = timeout(JWKS_WAIT, next).await;
        }
        // Who cannot be asked has not said that there is no such key.
        find().ok_or_else(|| match self.standing.borrow().is_reachable {
            true => Problem::invalid_token("the token is not known here"),
            false => Problem::keys_unavailable(),
        })
    }

    /// All that are known, now and later.
    pub(super) fn keys(&self) -> &watch::Receiver<Keys> {
        &self.keys
    }
}

impl JwksTask {
    /// Keeps up, for ever.
    pub(crate) async fn watch(self) {
        loop {
            let fetched = self.fetch_patiently().await;
            let is_reachable = fetched.is_ok();
            match fetched {
                Ok((keys, passed_over)) => {
                    let is_news = !keys.is_same(&self.keys.borrow());
                    if is_news || !self.standing.borrow().is_reachable {
                        tracing::info!(keys = keys.count(), passed_over, "the set of keys was fetched");
                    }
                    // Only then streams look whether theirs is still there.
                    if is_news {
                        self.keys.send_replace(keys);
                    }
                }
                Err(error) => tracing::warn!(
                    error,
                    keys = self.keys.borrow().count(),
                    "the set of keys cannot be fetched: those that were there stay"
                ),
            }
            let ended = Instant::now();
            self.standing.send_modify(|standing| {
                *standing = Standing { fetches: standing.fetches + 1, ended: Some(ended), is_reachable };
            });
            let old = ended + if is_reachable { JWKS_RETENTION } else { JWKS_FETCH_INTERVAL };
            let wanted = async {
                self.wanted.notified().await;
                sleep_until(ended + JWKS_FETCH_INTERVAL).await;
            };
            tokio::select! {
                () = sleep_until(old) => {}
                () = wanted => {}
            }
        }
    }

    async fn fetch_patiently(&self) -> Result<(Keys, usize), String> {
        let mut tries = 1;
        loop {
            let fetched = timeout(JWKS_TIMEOUT, self.fetch()).await;
            match fetched.unwrap_or_else(|_| Err(format!("no answer within {JWKS_TIMEOUT:?}"))) {
                Err(_) if tries < JWKS_TRIES => tries += 1,
                fetched => return fetched,
            }
        }
    }

    async fn fetch(&self) -> Result<(Keys, usize), String> {
        let told = |error: reqwest::Error| error.without_url().to_string();
        let mut response = self.client.get(self.url.clone()).send().await.map_err(told)?;
        if !response.status().is_success() {
            return Err(format!("it answered {}: expected 200", response.status().as_u16()));
        }
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > JWKS_BYTES_MAX {
                return Err(format!("it has more than {JWKS_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Keys::from_jwks(&body, &self.algorithms)
    }
}
