//! The bus inside the process: for a replica that runs alone on a SQLite file, and for replicas that only poll.
//! The latter subscribe here as well: a subscription that were refused would be asked for again by every open chat,
//! for ever (L4).

use async_trait::async_trait;
use mainstem_runtime::ports::{Bus, BusError, BusSubscription, Notice, Topic};

use super::topics::Topics;

#[derive(Debug, Default)]
pub struct LocalBus {
    topics: Topics,
}

#[async_trait]
impl Bus for LocalBus {
    async fn subscribe(&self, topic: Topic) -> Result<BusSubscription, BusError> {
        Ok(self.topics.subscribe(topic))
    }

    async fn publish(&self, notice: Notice) -> Result<(), BusError> {
        self.topics.deliver(&notice);
        Ok(())
    }
}
