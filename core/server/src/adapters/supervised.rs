//! Tasks that nobody waits for: one that panics is begun again, and the log says so.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::sleep;

/// Runs a task until it ends by itself. After each panic `on_panic` says what that means for others, and the task is
/// begun again after a `delay`.
pub(super) async fn supervised<F: Future<Output = ()>>(
    task: &'static str,
    delay: Duration,
    mut begin: impl FnMut() -> F,
    on_panic: impl Fn(),
) {
    while AssertUnwindSafe(async { begin().await }).catch_unwind().await.is_err() {
        tracing::error!(task, "a task panicked and is begun again: this is a defect of the server");
        on_panic();
        sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_begun_again_and_others_are_told() {
        let (begun, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let begin = || {
            let nth = begun.fetch_add(1, SeqCst);
            assert!(nth != 1, "before its first step");
            async move {
                tokio::task::yield_now().await;
                assert!(nth > 1, "later");
            }
        };
        let told_of = || {
            told.fetch_add(1, SeqCst);
        };
        supervised("test", Duration::from_millis(1), begin, told_of).await;
        assert_eq!((begun.into_inner(), told.into_inner()), (3, 2));
    }
}
