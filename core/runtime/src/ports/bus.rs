//! The bus: notices that a chat has changed. They may be lost, delayed, duplicated or out of order.

use async_trait::async_trait;
use futures::stream::BoxStream;
use mainstem_machine::ChatId;
pub use mainstem_machine::announce::Notice;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// All notices of one chat.
    Chat(ChatId),
    /// The notices with `free`.
    Work,
}

/// The bus cannot be reached. The caller polls instead, and tries again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus cannot be reached: {0}")]
pub struct BusError(pub String);

/// A stream of notices. Its end means that the subscription was lost and that notices may have been missed;
/// this is also how it reacts if notices are not taken in time. Dropping it unsubscribes.
pub type BusSubscription = BoxStream<'static, Notice>;

#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Subscribes. All notices published after it returns are delivered.
    async fn subscribe(&self, topic: Topic) -> Result<BusSubscription, BusError>;

    async fn publish(&self, notice: Notice) -> Result<(), BusError>;
}
