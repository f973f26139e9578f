//! Notices as they are written on a bus: JSON, one notice to a message. What is malformed comes from strangers, and is
//! ignored.

use std::time::Instant;

use mainstem_machine::Time;
use mainstem_runtime::LogRate;
use mainstem_runtime::ports::Notice;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::topics::Topics;
use crate::limits::adapters::NOTICE_BYTES_MAX;

/// What a process publishes to hear it itself: then the bus takes what it sends, and it is sent what the bus takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) probe: Uuid,
}

pub(super) fn encode(message: &impl Serialize) -> String {
    let json = serde_json::to_string(message).expect("what is sent on a bus is written as JSON");
    assert!(json.len() <= NOTICE_BYTES_MAX, "B1: what is sent on a bus is short");
    json
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
    use mainstem_machine::{ChatId, Lease, NextRow, ReplicaId, Status, Version, WallTime};
    use mainstem_runtime::ports::Topic;

    use super::*;

    /// As long as it gets.
    fn longest() -> Notice {
        let row = NextRow {
            status: Status::Interrupting,
            worker: Some(ReplicaId::new("w".repeat(64)).expect("an id")),
            lease: Lease(u64::MAX),
            attempt_lease: Some(Lease(u64::MAX)),
            attempt: u64::MAX,
            retries: false,
            updated_at: WallTime(i64::MIN),
        };
        Notice {
            chat: ChatId(Uuid::from_u128(u128::MAX)),
            snapshot_version: Version(u64::MAX),
            history_version: Version(u64::MAX),
            queue_version: Version(u64::MAX),
            status: Status::RequiresAction,
            free: false,
            deleted: false,
            row: Some(row.into()),
        }
    }

    fn notice() -> Notice {
        Notice {
            chat: ChatId(Uuid::from_u128(1)),
            snapshot_version: Version(3),
            history_version: Version(2),
            queue_version: Version(1),
            status: Status::Running,
            free: true,
            deleted: false,
            row: None,
        }
    }

    /// What is delivered of this.
    fn taken(message: &str) -> Option<Notice> {
        let topics = Topics::default();
        let inbox = Inbox::new(topics.clone());
        let mut subscriptions =
            [longest(), notice()].map(|notice| topics.subscribe(Topic::Chat(notice.chat)));
        assert_eq!(inbox.take(message.as_bytes()), None);
        subscriptions.iter_mut().find_map(|subscription| subscription.next().now_or_never().flatten())
    }

    /// What is written here and read by the release before, and the other way round.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Earlier {
        chat: ChatId,
        snapshot_version: Version,
        history_version: Version,
        queue_version: Version,
        status: Status,
        free: bool,
        deleted: bool,
    }

    #[test]
    fn a_notice_is_read_by_the_release_before_and_read_of_it() {
        let earlier = |notice: &Notice| Earlier {
            chat: notice.chat,
            snapshot_version: notice.snapshot_version,
            history_version: notice.history_version,
            queue_version: notice.queue_version,
            status: notice.status,
            free: notice.free,
            deleted: notice.deleted,
        };
        for notice in [notice(), longest()] {
            let read: Earlier =
                serde_json::from_str(&encode(&notice)).expect("what it does not know it ignores");
            assert_eq!(read, earlier(&notice));
            let without = Notice { row: None, ..notice.clone() };
            assert_eq!(taken(&encode(&read)), Some(without.clone()), "it has no row, and is read for");
            assert_eq!(encode(&without), encode(&read), "nor is anything sent for none");
        }
    }

    #[test]
    fn a_notice_comes_with_its_row_and_takes_a_fraction_of_what_a_bus_carries() {
        let json = encode(&longest());
        assert_eq!(taken(&json), Some(longest()));
        assert!(json.len() < 500, "B1: {}: {json}", json.len());
    }

    #[test]
    fn a_row_of_an_unknown_form_is_none() {
        let json = encode(&longest());
        let form = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
            let mut value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
            change(value.as_object_mut().expect("an object")["row"].as_object_mut().expect("an object"));
            value.to_string()
        };
        let whole = |row: serde_json::Value| {
            let mut value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
            value["row"] = row;
            value.to_string()
        };
        let without = Notice { row: None, ..longest() };
        for unknown in [
            form(&|row| drop(row.insert("error".into(), serde_json::json!({"code": "c", "message": "m"})))),
            form(&|row| drop(row.insert("status".into(), "sleeping".into()))),
            form(&|row| drop(row.insert("worker".into(), "not an id".into()))),
            form(&|row| drop(row.remove("lease"))),
            form(&|row| drop(row.insert("lease".into(), (-1).into()))),
            whole(serde_json::Value::Null),
            whole(7.into()),
            whole("a row".into()),
            whole(serde_json::json!([[{"deep": []}]])),
        ] {
            assert_eq!(taken(&unknown), Some(without.clone()), "L1: the chat is read: {unknown}");
        }
    }

    #[test]
    fn notices_are_delivered_probes_are_answered_and_all_else_is_ignored() {
        let topics = Topics::default();
        let inbox = Inbox::new(topics.clone());
        let notice = notice();
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
