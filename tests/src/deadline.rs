//! Waiting for observable conditions. An absence cannot be proved this way.

use std::time::{Duration, Instant};

/// Long enough for anything that happens at all, on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Polls until there is a result. Panics with `what` if there is none within [`WAIT_MAX`].
pub async fn until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {WAIT_MAX:?}: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The same for work that ends by itself.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, work).await {
        Ok(done) => done,
        Err(_) => panic!("not within {WAIT_MAX:?}: {what}"),
    }
}
