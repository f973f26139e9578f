//! How a world is set up, and how much may happen in it that need not.

use std::time::Duration;

/// What models call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tools {
    /// Nothing.
    #[default]
    None,
    /// Tools of the server, and one that every other chat has of its own.
    Client,
    /// Tools of the server.
    Server,
}

/// How large a world is, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    /// Replicas, all of them up.
    pub replicas: u8,
    /// Chats, each created with a message.
    pub chats: u8,
    /// Users. The first has the first chat, and so on.
    pub users: u8,
    /// Viewers; the first watches the first chat, and so on.
    pub viewers: u8,
    /// How many of the viewers, the last ones, are users whom the chats do not belong to, and may be shared with.
    pub friends: u8,
    /// Runs at once, at each replica.
    pub workers: usize,
    /// How long a lease lasts.
    pub lease_ttl: Duration,
    /// How often a replica looks for news.
    pub poll_interval: Duration,
    /// Bytes of an answer.
    pub episode_bytes_max: usize,
    /// Messages that a snapshot carries.
    pub tail_messages_max: usize,
    /// How often leases are renewed; `None` for three times before they expire.
    pub heartbeat: Option<Duration>,
    /// What models call, and whose it is.
    pub tools: Tools,
    /// There is no chat until somebody creates it.
    pub empty: bool,
    /// What may happen that need not.
    pub budget: Budget,
}

impl Setup {
    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat.unwrap_or(self.lease_ttl / 3)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            replicas: 2,
            chats: 1,
            users: 1,
            viewers: 1,
            friends: 0,
            workers: 4,
            lease_ttl: Duration::from_secs(15),
            poll_interval: Duration::from_secs(5),
            episode_bytes_max: 160,
            tail_messages_max: 3,
            heartbeat: None,
            tools: Tools::None,
            empty: false,
            budget: Budget::default(),
        }
    }
}

/// How much may still happen that need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Things that go wrong.
    pub faults: u16,
    /// Things that take their time.
    pub delays: u16,
    /// Requests of users.
    pub requests: u16,
    /// Times that a viewer comes or goes.
    pub moves: u16,
    /// Parts that models say.
    pub parts: u16,
    /// Times that nothing happens until something is due.
    pub passes: u16,
    /// Times that viewers come with something else than what they have, or nothing.
    pub claims: u16,
    /// What strangers try, users ask for twice, and replicas with another secret.
    pub strangers: u16,
    /// Times that a clock changes its rate.
    pub drifts: u16,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            faults: 20,
            delays: 20,
            requests: 20,
            moves: 20,
            parts: 60,
            passes: u16::MAX,
            claims: 4,
            strangers: 4,
            drifts: 2,
        }
    }
}
