//! Settings of the replicas of a story.

use std::time::Duration;

use mainstem_machine::limits;

/// After this, a call of a server's tool has failed, in every simulation.
pub const TOOL_TIMEOUT: Duration = Duration::from_secs(8);

/// The settings that all replicas of a run share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub lease_ttl: Duration,
    pub heartbeat: Duration,
    pub poll_interval: Duration,
    pub drain_timeout: Duration,
    pub workers: usize,
    pub tail_messages_max: usize,
    pub episode_bytes_max: usize,
    /// Random extra latency, at most, of links and of the database.
    pub vary: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ttl: Duration::from_secs(15),
            heartbeat: Duration::from_secs(5),
            poll_interval: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            workers: 64,
            tail_messages_max: limits::TAIL_MESSAGES_MAX,
            episode_bytes_max: 8 << 20,
            vary: Duration::ZERO,
        }
    }
}
