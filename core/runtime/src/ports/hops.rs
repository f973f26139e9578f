//! Follows of chats between replicas, for those who trace them. Nothing is decided by what they say.

use std::fmt;
use std::sync::Arc;

use mainstem_machine::{ChatId, ReplicaId};

/// Is told of each follow when it begins.
pub trait Hops: fmt::Debug + Send + Sync {
    /// This replica follows a chat at a peer.
    fn follows(&self, chat: ChatId, peer: &ReplicaId) -> Box<dyn Hop>;

    /// A peer follows a chat here. `traceparent` is what the peer says of its end of it, in W3C's words; it may be nonsense.
    fn serves(&self, chat: ChatId, peer: &ReplicaId, traceparent: Option<&str>) -> Box<dyn Hop>;
}

/// One end of a follow. Dropped when it is over.
pub trait Hop: fmt::Debug + Send + Sync {
    /// What the other end is told of this one.
    fn traceparent(&self) -> Option<Arc<str>>;
}

/// Nobody traces.
#[derive(Debug)]
pub struct Untraced;

impl Hops for Untraced {
    fn follows(&self, _chat: ChatId, _peer: &ReplicaId) -> Box<dyn Hop> {
        Box::new(Self)
    }

    fn serves(&self, _chat: ChatId, _peer: &ReplicaId, _traceparent: Option<&str>) -> Box<dyn Hop> {
        Box::new(Self)
    }
}

impl Hop for Untraced {
    fn traceparent(&self) -> Option<Arc<str>> {
        None
    }
}
