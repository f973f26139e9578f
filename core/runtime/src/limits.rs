//! The bounds of this crate, all of them (B1). The machines have their own.

/// The driver.
pub mod driver {
    use std::time::Duration;

    use mainstem_machine::limits::{ACQUISITIONS_MAX, CALLS_MAX, OVERDUE_MAX, PAGE_READS_MAX};

    use super::relay::FOLLOWS_PER_PEER_MAX;

    /// Hubs open at the same time (B1).
    pub const HUBS_MAX: usize = 200_000;
    /// Events that one wake-up takes from one source before the other sources get their turn (B3).
    pub const EVENTS_MAX: usize = 64;
    /// Operations of one hub that can end at the same time, page reads and calls included.
    pub const HUB_OPERATIONS_MAX: usize = PAGE_READS_MAX + CALLS_MAX + 8;
    /// How much longer than its time a call is waited for, if a tool does not end it by itself.
    pub const CALL_SLACK: Duration = Duration::from_secs(1);
    /// Operations of one replica that can end at the same time: acquisitions, overdue heartbeats and syncs, and the rest.
    pub const REPLICA_OPERATIONS_MAX: usize = ACQUISITIONS_MAX + OVERDUE_MAX + 8;
    /// Follows of all peers together.
    pub const FOLLOWS_MAX: usize = 100_000;
    /// Follows of one peer: twice what it asks for, for an end may be heard of later than what replaces it.
    pub const FOLLOWS_OF_PEER_MAX: usize = 2 * FOLLOWS_PER_PEER_MAX;
    /// Between two lines of one kind, at the least.
    pub const LOG_INTERVAL: Duration = Duration::from_secs(1);
}

/// Operations on the database that go together.
pub mod batching {
    use std::time::Duration;

    /// Operations of one kind that go together.
    pub const ITEMS_MAX: usize = 64;
    /// Bytes of what they write. One alone may have more.
    pub const BYTES_MAX: usize = 1024 * 1024;
    /// Chats that are read together with their messages.
    pub const SNAPSHOTS_MAX: usize = 16;
    /// Batches of one kind under way. What is asked for waits while there is one, and no longer than [`PATIENCE`].
    pub const UNDER_WAY_MAX: usize = 24;
    /// How long what is asked for waits for the batch before it, if there may be another one beside that.
    pub const PATIENCE: Duration = Duration::from_millis(5);
    /// Operations of one kind that wait.
    pub const WAITING_MAX: usize = 4096;
    /// How long a reading of the database's clock is good for.
    pub const CLOCK_AGE_MAX: Duration = Duration::from_secs(10);
    /// What fails within this time is tried alone.
    pub const ALONE_WITHIN: Duration = Duration::from_secs(1);
    /// How often a command is tried without a lock.
    pub const TRIES_MAX: usize = 2;
}

/// Tapes.
pub mod tape {
    /// An input: a page of messages, of which one alone may have more than a page otherwise has.
    pub const FRAME_BYTES_MAX: usize = 256 << 20;
    /// The frame that says why a tape ends.
    pub const LAST_FRAME_BYTES_MAX: usize = 16;
    /// Characters of an id or a name that are exchanged for others; what is behind them is filled. The hash that says how
    /// has two bytes for each of one half.
    pub const NAME_CHARS_MAX: usize = 32;
}

/// What one viewer is told at once.
pub mod viewer {
    /// Events, and bytes of text, that are computed in one batch.
    pub const EVENTS_MAX: usize = 128;
    pub const EVENTS_BYTES_MAX: usize = 64 * 1024;
    /// Text of parts that are written once for all viewers of a chat who are at the same place.
    pub const SHARED_BYTES_MAX: usize = 4 * 1024;
}

/// The demo generator.
pub mod demo {
    use std::time::Duration;

    /// Parts of one answer.
    pub const PARTS_MAX: u64 = 10_000_000;
    /// Between two parts.
    pub const INTERVAL_MAX: Duration = Duration::from_secs(3600);
    /// Bytes of one part that `size` can ask for.
    pub const SIZE_MAX: usize = 1024 * 1024;
    pub const PARTS_DEFAULT: u64 = 60;
    pub const INTERVAL_DEFAULT: Duration = Duration::from_millis(20);
    /// Calls at the end of one answer.
    pub const CALLS_MAX: u64 = 16;
    /// Of the name of the tool that they call.
    pub const TOOL_NAME_CHARS_MAX: usize = 64;
}

/// The wire of the relay.
pub mod relay {
    use std::time::Duration;

    use mainstem_machine::limits::{DIAL_TIMEOUT, WHOLE_PART_BYTES_MAX};

    /// Of what a peer says for those who trace. Today's version has 55.
    pub const TRACEPARENT_BYTES_MAX: usize = 128;
    /// Time to establish a connection, authentication included.
    pub const CONNECT_TIMEOUT: Duration = DIAL_TIMEOUT;
    /// Time until a follow is accepted, establishing the connection included.
    pub const FOLLOW_TIMEOUT: Duration = DIAL_TIMEOUT;
    /// Time for a connecting peer to authenticate.
    pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(2);
    /// A side that receives nothing for this long sends a ping ...
    pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
    /// ... and treats the peer as gone if it is not answered within this time.
    pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
    /// A connection on which nothing was received for one whole period of this length is closed, even if a write
    /// is pending.
    pub const SILENCE_MAX: Duration = Duration::from_secs(3);
    /// How long an idle connection is kept.
    pub const IDLE_MAX: Duration = Duration::from_secs(5);
    /// Delay between a failed `accept` and the next try.
    pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

    /// Peers that this replica is connected to as a follower.
    pub const PEERS_MAX: usize = 1024;
    /// Chats that this replica follows at one peer.
    pub const FOLLOWS_PER_PEER_MAX: usize = 8192;
    /// The same at a server: more than a client asks for, since one that it has left may not have been let go.
    pub const FOLLOWS_ON_STREAM_MAX: usize = 2 * FOLLOWS_PER_PEER_MAX;
    /// Streams per connection at a server: more than a client uses, so that none has to wait without an answer.
    pub const STREAMS_MAX: u32 = 100_000;
    /// Streams that a client may reset before the server has accepted them. Large enough for any legitimate
    /// burst.
    pub const EARLY_RESETS_MAX: usize = 100_000;
    /// Connections from authenticated peers.
    pub const CONNECTIONS_MAX: usize = 1024;
    /// Connections that have yet to. Another one takes the place of the oldest of those whose address has most.
    pub const HANDSHAKES_MAX: usize = 128;

    /// Flow control: bytes that a worker sends of one follow ahead of whoever reads it, besides one frame.
    pub const FOLLOW_WINDOW: usize = 64 * 1024;
    /// The same for a stream of HTTP/2: what is on its way of all follows at a peer. They are read whoever reads them.
    pub const STREAM_WINDOW: u32 = 1024 * 1024;
    /// The same for a whole connection: all that HTTP/2 allows. At a peer where each follow has a stream of its own, so many
    /// windows fit it that 2,047 follows that are not read block no other (B3).
    pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
    /// The windows of a server, to which only small requests are sent.
    pub const REQUESTS_WINDOW: u32 = 1024 * 1024;
    /// Bytes that a stream buffers before they are written, in addition to one frame.
    pub const SEND_BUFFER_MAX: usize = 64 * 1024;
    /// Headers of a request or a response.
    pub const HEADERS_BYTES_MAX: u32 = 8 * 1024;

    /// Text of one frame, with the heads of its blocks. A single part is never larger.
    pub const FRAME_TEXT_BYTES_MAX: usize = WHOLE_PART_BYTES_MAX + 64 * 1024;
    /// Parts that are ready at the same time are joined into one frame, up to this much text ...
    pub const JOINED_TEXT_BYTES_MAX: usize = 32 * 1024;
    /// ... and this many parts.
    pub const FRAME_PARTS_MAX: usize = 4096;
    /// An encoded frame: its text, up to 4 bytes for each part, and the rest.
    pub const FRAME_BYTES_MAX: usize = FRAME_TEXT_BYTES_MAX + 4 * FRAME_PARTS_MAX + 128;
    /// An encoded request to follow.
    pub const REQUEST_BYTES_MAX: usize = 512;
    /// What is asked at once ...
    pub const ASKS_MAX: usize = 64;
    /// ... and that encoded.
    pub const ASKS_BYTES_MAX: usize = ASKS_MAX * (REQUEST_BYTES_MAX + TRACEPARENT_BYTES_MAX + 32);
    /// What is told at once ...
    pub const TELLS_MAX: usize = 1024;
    /// ... and that encoded: the last frame may be of any size.
    pub const TELLS_BYTES_MAX: usize = JOINED_TEXT_BYTES_MAX + FRAME_BYTES_MAX + 32 * TELLS_MAX;

    const _: () = assert!(FRAME_BYTES_MAX <= 2 * 1024 * 1024);
    /// Tasks polled in a row before the connection gets its turn.
    pub const ROUNDS_MAX: usize = 64;
    /// How often a connection writes in a row before others get their turn.
    pub const WRITES_MAX: usize = 64;
}
