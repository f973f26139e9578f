//! Notices as they are written on a bus: JSON, one notice to a message. What is malformed comes from strangers, and is
//! ignored.

use std::time::Instant;

use mainstem_machine::Time;
use mainstem_runtime::LogRate;
use mainstem_runtime::ports::Notice;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::topics::Topics;

/// What a process publishes to hear it itself: then the bus takes what it sends, and it is sent what the bus takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) probe: Uuid,
}

pub(super) fn encode(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("what is sent on a bus is written as JSON")
}

/// Where what the bus brings goes.
#[derive(Debug)]
pub(super) struct Inbox {
    topics: Topics,
    malformed: LogRate,
    since: Instant,
}

impl Inbox {
    pub(super) fn new(topics: Topics) -> Self {
        Self { topics, malformed: LogRate::new(), since: Instant::now() }
    }

    /// Delivers a notice. Answers which probe it was, if it was one.
    pub(super) fn take(&self, message: &[u8]) -> Option<Probe> {
        match serde_json::from_slice::<Notice>(message) {
            Ok(notice) => self.topics.deliver(&notice),
            Err(error) => match serde_json::from_slice(message) {
                Ok(probe) => return Some(probe),
                Err(_) => self.tell_malformed(&error, message.len()),
            },
        }
        None
    }

    fn tell_malformed(&self, error: &serde_json::Error, bytes: usize) {
        let now = Time::START + self.since.elapsed();
        if let Some(untold) = self.malformed.admit(now) {
            tracing::warn!(%error, bytes, untold, "ignored a malformed notice");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use mainstem_machine::{ChatId, Status, Version};
    use mainstem_runtime::ports::Topic;

    use super::*;

    #[test]
    fn notices_are_delivered_probes_are_answered_and_all_else_is_ignored() {
        let topics = Topics::default();
        let inbox = Inbox::new(topics.clone());
        let notice = Notice {
            chat: ChatId(Uuid::from_u128(1)),
            snapshot_version: Version(3),
            history_version: Version(2),
            queue_version: Version(1),
            status: Status::Running,
            free: true,
            deleted: false,
        };
        let mut subscription = topics.subscribe(Topic::Work);
        let probe = Probe { probe: Uuid::from_u128(7) };
        for nonsense in ["", "{}", "[]", "null", "\u{0}", "{\"chat\":1}", "{\"probe\":1}"] {
            assert_eq!(inbox.take(nonsense.as_bytes()), None, "{nonsense:?}");
        }
        assert_eq!(inbox.take(&[0xff; 4096]), None);
        assert_eq!(inbox.take(encode(&probe).as_bytes()), Some(probe));
        assert_eq!(inbox.take(encode(&notice).as_bytes()), None);
        assert_eq!(subscription.next().now_or_never(), Some(Some(notice)), "only the notice was delivered");
        assert_eq!(subscription.next().now_or_never(), None);
    }
}
