//! Waiting for what can be observed. Nothing here proves an absence.

use std::time::{Duration, Instant};

/// Long enough for whatever comes at all, on a machine that has other things to do as well.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer; `what` is said if there is none within [`WAIT_MAX`].
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
