//! The tasks that a replica cannot live without: when one of them ends and was not to, somebody is told.

use std::sync::Arc;

use tokio::sync::watch;

use crate::sync::{AtomicBool, Ordering};

#[derive(Debug)]
pub(crate) struct Vitals {
    failed: watch::Sender<Option<&'static str>>,
    ending: AtomicBool,
}

impl Default for Vitals {
    fn default() -> Self {
        Self { failed: watch::Sender::new(None), ending: AtomicBool::new(false) }
    }
}

impl Vitals {
    /// Goes into the task: dropping it says that the task has ended, by a panic or not.
    pub(crate) fn guard(self: &Arc<Self>, task: &'static str) -> VitalGuard {
        VitalGuard { vitals: self.clone(), task }
    }

    /// From now on tasks may end.
    pub(crate) fn release(&self) {
        self.ending.store(true, Ordering::Release);
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Waits until a task has ended that was not to, and names it.
    pub(crate) async fn failure(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|task| *task) {
            Ok(Some(task)) => task,
            _ => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
pub(crate) struct VitalGuard {
    vitals: Arc<Vitals>,
    task: &'static str,
}

impl Drop for VitalGuard {
    fn drop(&mut self) {
        if !self.vitals.ending.load(Ordering::Acquire) {
            self.vitals.failed.send_replace(Some(self.task));
        }
    }
}
