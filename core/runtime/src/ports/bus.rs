//! Notifications: hints that something changed. They may be lost, late, doubled or out of order.

use async_trait::async_trait;
use futures::stream::BoxStream;
use mainstem_machine::{ChatId, Status, Version};
use serde::{Deserialize, Serialize};

/// A chat changed, up to these versions. Told after the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub chat: ChatId,
    pub snapshot_version: Version,
    pub history_version: Version,
    pub queue_version: Version,
    pub status: Status,
    /// The chat is runnable and nobody's.
    pub free: bool,
    pub deleted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// All notices of one chat.
    Chat(ChatId),
    /// The notices with `free`.
    Work,
}

/// The bus cannot be reached. Whoever gets it polls, and tries again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus cannot be reached: {0}")]
pub struct BusError(pub String);

/// Notices, until the subscription is lost: its end means that notices may have been missed. Dropping it
/// unsubscribes. It may drop notices that nobody takes in time, but then it ends.
pub type BusSubscription = BoxStream<'static, Notice>;

#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Returns once notices published from now on are delivered.
    async fn subscribe(&self, topic: Topic) -> Result<BusSubscription, BusError>;

    async fn publish(&self, notice: Notice) -> Result<(), BusError>;
}
