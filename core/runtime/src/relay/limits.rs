//! Every bound that the relay's wire keeps to, in one place (B1).

use std::time::Duration;

use mainstem_machine::limits::DIAL_TIMEOUT;

/// A connection that is not there by then, authenticated and ready for calls, is given up.
pub const CONNECT_TIMEOUT: Duration = DIAL_TIMEOUT;
/// A call that has not been agreed to by then, the connection included, is given up.
pub const FOLLOW_TIMEOUT: Duration = DIAL_TIMEOUT;
/// A peer that has not proved itself by then is cut off.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(2);
/// A side that hears nothing for so long asks whether the other is there ...
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// ... and takes it for gone if it does not say so within this.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// A link on which nothing at all came for one whole such period is cut, also when what was to be written
/// last is stuck.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long a connection stays that nobody follows over.
pub const IDLE_MAX: Duration = Duration::from_secs(5);
/// Between a failed `accept` and the next.
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Peers that this replica is connected to as a follower.
pub const PEERS_MAX: usize = 1024;
/// Chats that this replica follows at one peer.
pub const FOLLOWS_PER_PEER_MAX: usize = 8192;
/// Streams that a server lets one connection have: more than any client asks for, so that none is held back
/// without an answer.
pub const STREAMS_MAX: u32 = 100_000;
/// Streams that may be given up before they were looked at: no honest burst of that size kills a connection.
pub const EARLY_RESETS_MAX: usize = 100_000;
/// Connections from peers that have proved themselves.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections that have yet to. Another one takes the place of the oldest of those whose address has most.
pub const HANDSHAKES_MAX: usize = 128;

/// What a stream may send ahead of its reader.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for a connection: so much that followers who do not read cannot stop others (B3).
pub const CONNECTION_WINDOW: u32 = STREAM_WINDOW * FOLLOWS_PER_PEER_MAX as u32;
/// The windows of a server, to which only small requests are sent.
pub const REQUESTS_WINDOW: u32 = 1024 * 1024;
/// What a stream keeps that was not written yet, beyond one frame.
pub const SEND_BUFFER_MAX: usize = 64 * 1024;
/// Headers of a request or a response.
pub const HEADERS_BYTES_MAX: u32 = 8 * 1024;

/// Text of one frame. A single part is never larger.
pub const FRAME_TEXT_BYTES_MAX: usize = 256 * 1024;
/// Parts that are ready together travel together, up to so much text ...
pub const JOINED_TEXT_BYTES_MAX: usize = 32 * 1024;
/// ... and so many.
pub const FRAME_PARTS_MAX: usize = 4096;
/// A frame as it is encoded: its text, up to 4 bytes with each part, and the rest.
pub const FRAME_BYTES_MAX: usize = FRAME_TEXT_BYTES_MAX + 4 * FRAME_PARTS_MAX + 128;
/// A request as it is encoded.
pub const REQUEST_BYTES_MAX: usize = 512;

const _: () = assert!(CONNECTION_WINDOW < 1 << 31, "HTTP/2 allows no larger window");
const _: () = assert!(FRAME_BYTES_MAX <= 1024 * 1024);
