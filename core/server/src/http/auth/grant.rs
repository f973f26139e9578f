//! By what a stream's caller was let in. It lasts for as long as that is good (S10): a token of the file while it is that
//! user's, a JWT while its key is trusted, until it has expired.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::keys::Keys;
use super::tokens::Tokens;
use crate::limits::access::TOKEN_LIFE_MAX;

#[derive(Clone, Debug)]
pub(in super::super) struct Grant {
    pub(super) basis: Basis,
    /// When the token ends.
    pub(super) ends: Option<Instant>,
    /// When streams do.
    until: Option<Instant>,
}

/// What is looked at again whenever it may have changed.
#[derive(Clone, Debug)]
pub(super) enum Basis {
    /// Nobody is asked for a token.
    Anybody,
    Token {
        digest: [u8; 32],
        user: Arc<str>,
        tokens: watch::Receiver<Tokens>,
    },
    Key {
        id: [u8; 32],
        keys: watch::Receiver<Keys>,
    },
}

impl Grant {
    /// Where nobody is asked for a token.
    pub(in super::super) fn of_anybody() -> Self {
        Self::new(Basis::Anybody, None, Duration::ZERO)
    }

    /// Streams outlast the token by `grace`.
    pub(super) fn new(basis: Basis, ends: Option<Instant>, grace: Duration) -> Self {
        Self { basis, ends, until: ends.map(|ends| ends + grace) }
    }

    pub(in super::super) fn is_revoked(&self) -> bool {
        let is_gone = match &self.basis {
            Basis::Anybody => false,
            Basis::Token { digest, user, tokens } => tokens.borrow().user(digest) != Some(user),
            Basis::Key { id, keys } => !keys.borrow().has(id),
        };
        is_gone || self.until.is_some_and(|until| until <= Instant::now())
    }

    /// Waits until it is revoked, or over. Cancel-safe.
    pub(in super::super) async fn revoked(&self) {
        if let (Basis::Anybody, None) = (&self.basis, self.until) {
            return std::future::pending().await;
        }
        // What waits is large, and most of each stream's memory where nobody waits.
        Box::pin(async {
            let over = async {
                match self.until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.basis.gone() => {}
                () = over => {}
            }
        })
        .await;
    }
}

/// The moment of a time since 1970: the present one, if it is over.
pub(super) fn instant(at: Duration) -> Instant {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::now() + at.saturating_sub(now).min(TOKEN_LIFE_MAX)
}

pub(super) fn since_epoch(at: Instant) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now + at.saturating_duration_since(Instant::now())
}

impl Basis {
    async fn gone(&self) {
        let gone = match self {
            Self::Anybody => std::future::pending().await,
            Self::Token { digest, user, tokens } => {
                let mut tokens = tokens.clone();
                tokens.wait_for(|tokens| tokens.user(digest) != Some(user)).await.map(drop)
            }
            Self::Key { id, keys } => {
                let mut keys = keys.clone();
                keys.wait_for(|keys| !keys.has(id)).await.map(drop)
            }
        };
        if gone.is_err() {
            // Nobody is left who could revoke it.
            std::future::pending::<()>().await;
        }
    }
}
