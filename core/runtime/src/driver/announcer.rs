//! Announces changes: carries out what the announcer's machine asks for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use mainstem_machine::ChatId;
use mainstem_machine::announce::{Announcer, AnnouncerAction, AnnouncerEvent, Notice};
use mainstem_machine::limits::OP_TIMEOUT;

use super::{Shared, bounded, lock};
use crate::LogRate;
use crate::ports::{Env, within};
use crate::sync::{Mutex, Notified, Notify};

#[derive(Debug, Default)]
pub(crate) struct AnnouncerCell {
    machine: Mutex<Announcer>,
    idle: Notify,
    /// Of lines about notices that were not published: while a bus is away, there is one to each commit.
    unpublished: LogRate,
}

impl AnnouncerCell {
    fn handle(&self, event: AnnouncerEvent) -> Vec<AnnouncerAction> {
        let mut announcer = lock(&self.machine);
        announcer.handle(event);
        let actions = std::iter::from_fn(|| announcer.poll_action()).collect();
        if announcer.is_idle() {
            self.idle.notify_waiters();
        }
        actions
    }

    /// Whether all that was committed here is announced.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.machine).is_idle()
    }

    /// Completes when it has become idle. Enable it before asking whether it is.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.idle.notified()
    }
}

impl<E: Env> Shared<E> {
    pub(super) fn announce(self: &Arc<Self>, event: AnnouncerEvent) {
        for action in self.announcer.handle(event) {
            match action {
                AnnouncerAction::To { chat, event } => self.tell_hub(chat, event),
                AnnouncerAction::ToReplica(event) => self.replica.handle(&self.env, event),
                AnnouncerAction::Publish(notice) => {
                    self.env.spawn(self.clone().publish(notice)).detach();
                }
                AnnouncerAction::Read { chat } => self.env.spawn(self.clone().read_again(chat)).detach(),
                AnnouncerAction::Dropped { chat } => {
                    tracing::warn!(%chat, "the bus is too slow: others see this change by polling");
                }
            }
        }
    }

    async fn publish(self: Arc<Self>, notice: Notice) {
        let publishing = within(&self.env, OP_TIMEOUT, self.bus.publish(notice));
        // Whatever a bus does, the place is for the next one (B2).
        match AssertUnwindSafe(publishing).catch_unwind().await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => self.tell_unpublished(&error.to_string()),
            Ok(Err(_)) => self.tell_unpublished("it timed out"),
            Err(_) => tracing::error!("publishing a notice panicked: others see the change by polling"),
        }
        self.announce(AnnouncerEvent::Published);
    }

    fn tell_unpublished(&self, error: &str) {
        if let Some(untold) = self.announcer.unpublished.admit(self.env.now()) {
            tracing::warn!(error, untold, "could not publish a notice: others see the change by polling");
        }
    }

    async fn read_again(self: Arc<Self>, chat: ChatId) {
        let reading = bounded(&self.env, self.store.state(chat));
        let read = AssertUnwindSafe(reading).catch_unwind().await;
        if read.is_err() {
            tracing::error!(%chat, "reading a chat panicked: others see its change by polling");
        }
        let state = read.ok().and_then(Result::ok).flatten();
        self.announce(AnnouncerEvent::Read { state });
    }
}
