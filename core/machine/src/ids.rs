//! Identifiers. Each kind is a type of its own, so that one cannot be used in place of another.

use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A chat: a UUIDv7, made by whoever creates the chat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChatId(pub Uuid);

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A replica, as `Chat.worker` names it: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Arc<str>", into = "Arc<str>")]
pub struct ReplicaId(Arc<str>);

/// Not a valid id of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a replica id is 1 to 64 letters, digits, dots, underscores or hyphens")]
pub struct ReplicaIdError;

impl ReplicaId {
    /// An id, if the text is one.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, ReplicaIdError> {
        let id = id.into();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if id.is_empty() || id.len() > 64 || !id.chars().all(fits) {
            return Err(ReplicaIdError);
        }
        Ok(Self(id))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Arc<str>> for ReplicaId {
    type Error = ReplicaIdError;

    fn try_from(id: Arc<str>) -> Result<Self, ReplicaIdError> {
        Self::new(id)
    }
}

impl From<ReplicaId> for Arc<str> {
    fn from(id: ReplicaId) -> Self {
        id.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after it.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// A message or a queued message of a chat. Both come from one counter and are never reused; 0 stands for
    /// the position before the first message.
    MessageId
}
number! {
    /// A value of a chat's `snapshot_version`; 0 is before the first change.
    Version
}
number! {
    /// How often the chat was acquired. A worker's writes are fenced by it.
    Lease
}
number! {
    /// The position of a part in its episode. The first is 1; 0 stands for the position before it.
    Seq
}
number! {
    /// An operation that a machine asked its driver for. Unique within the machine.
    OpId
}
number! {
    /// One dial to a peer. Everything that arrives from the peer carries the id of the dial it belongs to.
    DialId
}
number! {
    /// One run of the model that a machine asked its driver for.
    GenerationId
}
number! {
    /// A viewer's subscription to a hub. Chosen by the driver, unique within a hub.
    SubscriptionId
}
number! {
    /// A peer's subscription to the parts a hub generates. Chosen by the driver, unique within a hub.
    FollowerId
}

/// One run of the model over one history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Episode {
    /// The history that the model was given.
    pub history_version: Version,
    /// The attempt over it, from 1.
    pub attempt: u64,
}

impl fmt::Debug for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.history_version, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// Databases, peers and logs have them as they are written here.
    #[test]
    fn ids_are_written_as_what_they_are() {
        let replica = ReplicaId::new("node-1.a_B").expect("a replica's id");
        assert_eq!(replica.to_string(), "node-1.a_B");
        assert_eq!(&*Arc::<str>::from(replica), "node-1.a_B");
        assert_eq!(ChatId(Uuid::from_u128(7)).to_string(), "00000000-0000-0000-0000-000000000007");
    }

    #[test]
    fn a_replicas_id_is_short_and_of_plain_characters() {
        for id in ["a", "A-Z.a_z-09", &"a".repeat(64)] {
            assert_eq!(ReplicaId::new(id).map(|replica| replica.to_string()).as_deref(), Ok(id));
        }
        for id in ["", "a b", "é", "a/b", &"a".repeat(65)] {
            assert_eq!(ReplicaId::new(id), Err(ReplicaIdError), "{id:?}");
        }
    }
}
