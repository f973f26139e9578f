//! The bounds of the edge (B1). The machines have their own.

use std::time::Duration;

/// Bytes that the kernel may buffer for a client that does not read.
pub const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Clients at once, whatever the limit of open files. Further ones take the place of idle ones.
pub const CONNECTIONS_MAX: usize = 65_536;
/// A server that could have fewer does not start.
pub const CONNECTIONS_MIN: usize = 16;
/// This share of the connections is kept from streams, for everything else.
pub const UNSTREAMED_SHARE: usize = 8;
/// How long an idle connection may take to give up its place.
pub const EVICTION_TIMEOUT: Duration = Duration::from_millis(100);
/// Connections that the kernel keeps until they are accepted.
pub const BACKLOG: i32 = 1024;
/// hyper's buffers for one connection. The head of a request has to fit.
pub const CONNECTION_BUFFER_BYTES: usize = 16 * 1024;
/// Header fields of one request.
pub const HEADERS_MAX: usize = 64;
/// Time limit of receiving a request's head, and of an idle keep-alive connection.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit of receiving a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What a byte of text may take in JSON, as in `\u0041`.
pub const ESCAPED_BYTES_MAX: usize = 6;
/// What a JSON body may have besides its message.
pub const BODY_SLACK_BYTES: usize = 128 * 1024;
/// Bytes that are read and discarded of a body that is too large, so that its sender gets the answer.
pub const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
pub const TITLE_BYTES_MAX: usize = 1024;
pub const MODEL_BYTES_MAX: usize = 256;
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Items of one page: the default, and the maximum.
pub const PAGE_DEFAULT: usize = 50;
pub const PAGE_MAX: usize = 100;

/// Interval of keep-alive comments on an event stream, and of pings on a WebSocket.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// When an event stream that cannot be had now is asked for again, at the soonest and at the latest: not by
/// all at once.
pub const COME_BACK_DELAY_MIN: Duration = Duration::from_millis(500);
pub const COME_BACK_DELAY_MAX: Duration = Duration::from_secs(2);
/// Bytes that a WebSocket reads at once, and the largest message that it accepts (and ignores).
pub const SOCKET_READ_BYTES: usize = 4096;
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 4096;
/// Bytes that a WebSocket's client may send between two pings. It has no reason to send anything.
pub const SOCKET_RECEIVED_BYTES_MAX: usize = 64 * 1024;
/// How long a closing WebSocket waits for the client to close.
pub const SOCKET_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a stalled WebSocket has to accept its close frame.
pub const SOCKET_STALLED_GRACE: Duration = Duration::from_secs(1);

/// Delay after an `accept` that failed for lack of file descriptors.
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// How long connections may take to end after their streams have ended.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
