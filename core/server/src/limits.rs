//! The bounds of this crate, all of them (B1). The machines and the runtime have their own.

/// The clients' side: connections, requests, streams.
pub mod edge {
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
    /// How much of that a connection of HTTP/2 has to say goodbye.
    pub const GIVE_WAY_GRACE: Duration = Duration::from_millis(50);
    /// Connections without a place whose request is read, so that it can be answered as it asks, and how long
    /// that may take.
    pub const TURN_AWAY_MAX: usize = 16;
    pub const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
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
    /// Bodies that are held at the same time: read, or being read. One of the largest always fits.
    pub const BODIES_BYTES_MAX: usize = 128 << 20;
    /// Bytes that are read and discarded of a body that is too large, so that its sender gets the answer.
    pub const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
    pub const TITLE_BYTES_MAX: usize = 1024;
    pub const MODEL_BYTES_MAX: usize = 256;
    pub const INSTRUCTIONS_BYTES_MAX: usize = 64 * 1024;
    /// Messages that a chat is created with.
    pub const CREATED_MESSAGES_MAX: usize = 1000;
    /// Tools of one chat.
    pub const TOOLS_MAX: usize = 128;
    pub const TOOL_NAME_BYTES_MAX: usize = 64;
    /// Bytes of all that a chat's tools say.
    pub const TOOLS_BYTES_MAX: usize = 256 * 1024;
    /// Bytes of a name that a client gives to a chat or to a message.
    pub const CLIENT_NAME_BYTES_MAX: usize = 255;
    pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
    /// Items of one page: the default, and the maximum.
    pub const PAGE_DEFAULT: usize = 50;
    pub const PAGE_MAX: usize = 100;

    /// How often a turn is asked to stop that goes on to its next step meanwhile.
    pub const STOP_TRIES: usize = 8;

    /// Interval of keep-alive comments on an event stream, and of pings on a WebSocket.
    pub const PING_INTERVAL: Duration = Duration::from_secs(15);
    /// How long a browser need not ask again whether a page of another origin may make a request.
    pub const PREFLIGHT_KEPT: Duration = Duration::from_secs(600);
    /// When an event stream that ended, or cannot be had now, is asked for again, at the soonest and at the latest: not
    /// by all at once.
    pub const COME_BACK_DELAY_MIN: Duration = Duration::from_millis(500);
    pub const COME_BACK_DELAY_MAX: Duration = Duration::from_secs(2);
    /// Bytes that a WebSocket reads at once, and the largest message that it accepts (and ignores).
    pub const SOCKET_READ_BYTES: usize = 4096;
    pub const SOCKET_MESSAGE_BYTES_MAX: usize = 4096;
    /// Bytes that a WebSocket's client may send between two pings. It has no reason to send anything.
    pub const SOCKET_RECEIVED_BYTES_MAX: usize = 64 * 1024;
    /// The sockets of faces on which requests come, what one message may have there, and what may come between two pings.
    pub const REQUEST_SOCKETS_MAX: usize = 512;
    pub const SOCKET_REQUEST_BYTES_MAX: usize = 1 << 20;
    pub const SOCKET_REQUESTS_BYTES_MAX: usize = 8 << 20;
    /// Requests that one such socket may have open.
    pub const SOCKET_REQUESTS_MAX: usize = 8;
    /// How long a request that resumes may be taken up again before its end stops the turn.
    pub const RESUME_AGAIN_MAX: Duration = Duration::from_millis(500);
    /// How long a closing WebSocket waits for the client to close.
    pub const SOCKET_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long a stalled WebSocket has to accept its close frame.
    pub const SOCKET_STALLED_GRACE: Duration = Duration::from_secs(1);

    /// How long a client may take until TLS stands.
    pub const TLS_TIMEOUT: Duration = Duration::from_secs(10);
    /// Requests that an HTTP/2 connection may have open.
    pub const HTTP2_STREAMS_MAX: u32 = 128;
    /// What waits of one of their answers until the client's window takes it.
    pub const HTTP2_STREAM_BUFFER_BYTES: usize = 64 * 1024;
    /// What is handed on of one of their answers at once: who takes nothing of it is seen by it.
    pub const HTTP2_FRAME_BYTES_MAX: usize = 16 * 1024;
    /// Requests that a client may take back before they are looked at.
    pub const HTTP2_EARLY_RESETS_MAX: usize = 64;

    /// How long a stream whose token was revoked may take to end what it is writing.
    pub const REVOKED_GRACE: Duration = Duration::from_secs(1);

    /// Delay after an `accept` that failed for lack of file descriptors.
    pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
    /// How long connections may take to end after their streams have ended.
    pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
    /// The longest text form of a cursor. A longer text is rejected without decoding it (B1).
    pub const CURSOR_TEXT_BYTES_MAX: usize = 192;
    /// The longest `id:` of an event of a run: a cursor, and ten numbers.
    pub const EVENT_ID_BYTES_MAX: usize = CURSOR_TEXT_BYTES_MAX + 256;
    /// Bytes of a history that a face tells in one event.
    pub const SNAPSHOT_BYTES_MAX: usize = 8 << 20;
    /// Of the contents that a response, or a page of items, is made of. The largest answer is well within it.
    pub const RESPONSE_BYTES_MAX: usize = 32 << 20;
    /// Items of a page, if a client does not say how many.
    pub const ITEMS_DEFAULT: usize = 20;
    /// How long a request waits for the end of an answer whose stream this replica has ended, and how often it looks: it is
    /// answered before its connection is closed ([`CLOSE_TIMEOUT`]).
    pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);
    pub const SETTLE_INTERVAL: Duration = Duration::from_millis(250);
    /// How long a request that stops an answer waits for its end.
    pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
    /// Larger content of a message, or input of a call, is referred to instead of copied.
    pub const COPIED_CONTENT_BYTES_MAX: usize = 16 * 1024;
    /// What of a stream is gathered to one write, and beyond it the rest of what was made at once.
    pub const GATHERED_BYTES_MAX: usize = 16 * 1024;
    /// Slices of one write of a stream.
    pub const WRITTEN_SLICES_MAX: usize = 16;
    /// Databases store 63 bits, so no message has a larger id.
    pub const MESSAGE_ID_MAX: u64 = i64::MAX as u64;
    /// The longest name that DNS has.
    pub const NAME_BYTES_MAX: usize = 253;
    /// hyper keeps the largest numbers for itself.
    pub const LENGTH_MAX: u64 = u64::MAX - 2;
}

/// Who may use the server.
pub mod access {
    use std::time::Duration;

    /// A longer token is refused without a look into it.
    pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
    /// A token that browsers keep as a cookie: with its name and attributes they take 4096.
    pub const COOKIE_BYTES_MAX: usize = 3900;
    /// The name of a user, as a JWT has it.
    pub const USER_BYTES_MAX: usize = 255;
    /// Chats that one JWT may name.
    pub const CHATS_MAX: usize = 64;
    /// How far the clocks of issuers may be off.
    pub const CLOCK_LEEWAY: Duration = Duration::from_secs(10);
    /// How long a stream may outlast its JWT, so that its client need not be quick: unless set otherwise, and at the most.
    pub const TOKEN_GRACE: Duration = Duration::from_secs(25);
    pub const TOKEN_GRACE_MAX: Duration = Duration::from_secs(60 * 60);
    /// What ends later is taken to end then: a hundred years.
    pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    /// Secrets for HS256 (RFC 7518, section 3.2), and the moduli of RSA keys (section 3.3); what the library takes at most.
    pub const HMAC_KEY_BYTES_MIN: usize = 32;
    pub const RSA_BYTES_MIN: usize = 256;
    pub const RSA_BYTES_MAX: usize = 512;
    /// What a key in its binary form has besides its modulus.
    pub const RSA_DER_OVERHEAD_MAX: usize = 32;
    /// How long a ticket may be taken, and how many of them a user may have at once.
    pub const TICKET_LIFETIME: Duration = Duration::from_secs(60);
    pub const TICKETS_MAX: usize = 100;
    pub const TICKET_BYTES: usize = 32;
    /// Of a file of a key, what is read.
    pub const KEY_FILE_BYTES_MAX: usize = 64 * 1024;
    /// Keys of one set, and its bytes.
    pub const KEYS_MAX: usize = 64;
    pub const JWKS_BYTES_MAX: usize = 256 * 1024;
    /// How long a set of keys is good; then it is fetched again.
    pub const JWKS_RETENTION: Duration = Duration::from_secs(60 * 60);
    /// Between two fetches, whatever tokens come: of one that names a key that is not known, or after one that failed.
    pub const JWKS_FETCH_INTERVAL: Duration = Duration::from_secs(5);
    /// Time limit of one try, and tries of one fetch.
    pub const JWKS_TIMEOUT: Duration = Duration::from_secs(1);
    pub const JWKS_TRIES: usize = 2;
    /// How long a request waits for a fetch: for all tries of one.
    pub const JWKS_WAIT: Duration = Duration::from_millis(2500);
}

/// How often, and how many at once.
pub mod rates {
    use std::time::Duration;

    /// Of a rate, and of what may be saved up. A larger number is taken for a typing error.
    pub const RATE_MAX: u32 = 1_000_000;
    /// Users and addresses of each limit whose budgets are known. Further ones share.
    pub const KEYS_MAX: usize = 65_536;
    /// The budgets that they share.
    pub const SHARED_MAX: u64 = 4096;
    /// Between two times that those are forgotten whose budgets are full.
    pub const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
    /// Proxies that a request may come through.
    pub const HOPS_MAX: usize = 16;
    /// Networks of proxies that are believed.
    pub const PROXIES_MAX: usize = 256;
    /// When who has all streams that a user may have is to ask again.
    pub const STREAMS_RETRY_DELAY: Duration = Duration::from_secs(5);
}

/// The databases. Together these make sure that every call is answered before the machines time it out
/// (`OP_TIMEOUT`).
pub mod adapters {
    use std::time::Duration;

    /// Time limit of one call of the store, from waiting for a connection to the answer.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(8);
    /// Time limit of waiting for a connection.
    pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
    /// Time limit of one statement, including waiting for locks, and of an idle transaction.
    pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
    /// How long a statement that writes several chats waits for a lock, before what it was to write is written one by one.
    pub const BATCH_LOCK_TIMEOUT: Duration = Duration::from_millis(100);
    /// Time limit of waiting for rows that a heartbeat found locked.
    pub const RENEW_TIMEOUT: Duration = Duration::from_secs(1);
    /// Time limit of testing a connection that returns to the pool.
    pub const RETURN_TIMEOUT: Duration = Duration::from_secs(3);
    /// A connection that was idle for longer is tested before it is used.
    pub const IDLE_UNTESTED_MAX: Duration = Duration::from_secs(1);
    /// Time limit of opening a database, without migrations.
    pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
    /// Time limit of all migrations, including waiting for another replica that runs them.
    pub const MIGRATE_TIMEOUT: Duration = Duration::from_secs(300);
    /// How long a migration waits for a lock at a time: everybody else who wants the table waits behind it. Then it
    /// tries again after a delay, which doubles each time, from the minimum to the maximum.
    pub const MIGRATE_LOCK_TIMEOUT: Duration = Duration::from_secs(1);
    pub const MIGRATE_RETRY_DELAY_MIN: Duration = Duration::from_millis(500);
    pub const MIGRATE_RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
    /// Tries of one call, after conflicts, deadlocks and dead connections.
    pub const TRIES_MAX: usize = 4;
    /// Connections to PostgreSQL that requests use, unless set otherwise; at the least and at the most.
    pub const DATABASE_CONNECTIONS: u32 = 24;
    pub const DATABASE_CONNECTIONS_MIN: u32 = 4;
    pub const DATABASE_CONNECTIONS_MAX: u32 = 1000;
    /// Beside them: those that renew leases, and the one that listens.
    pub const LEASE_CONNECTIONS: u32 = 2;
    pub const LISTEN_CONNECTIONS: u32 = 1;
    /// Between two times that all connections are made anew because the server is read-only, at the least.
    pub const READ_ONLY_RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
    /// How often it is asked at start whether a connection keeps its session.
    pub const SESSION_CHECKS: usize = 4;
    /// Connections that read a SQLite file.
    pub const SQLITE_READERS_MAX: u32 = 4;

    /// Large messages that were read from a SQLite file a moment ago, and how long a moment is.
    pub const RECENT_MESSAGES_BYTES_MAX: usize = 16 << 20;
    pub const RECENT_MESSAGE_RETENTION: Duration = Duration::from_secs(1);

    /// How long a receipt is kept.
    pub const IDEMPOTENCY_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;
    /// Idempotency records that one heartbeat removes.
    pub const IDEMPOTENCY_RECORDS_PURGED_MAX: i64 = 1000;
    /// Tickets that have run out and go when another one is kept.
    pub const TICKETS_SWEPT_MAX: i64 = 100;
    /// Replicas without a heartbeat for this long are removed.
    pub const REPLICA_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;
    /// Peers are the replicas with a heartbeat within this many `lease_ttl`.
    pub const PEER_LEASES: i64 = 3;

    /// Notices that one subscription holds. When it is full, the subscription ends.
    pub const SUBSCRIPTION_NOTICES_MAX: usize = 1024;
    /// Bytes of what is sent on a bus at a time. PostgreSQL takes less than 8,000.
    pub const NOTICE_BYTES_MAX: usize = 1024;
    /// Notices that wait to be published. Beyond that, publishing fails.
    pub const PUBLISH_WAITING_MAX: usize = 4096;
    /// Notices published in one transaction.
    pub const PUBLISH_BATCH_MAX: usize = 256;
    /// Interval between checks of the listening connection, and the time limit of each.
    pub const LISTEN_CHECK_INTERVAL: Duration = Duration::from_secs(2);
    pub const LISTEN_CHECK_TIMEOUT: Duration = Duration::from_secs(3);
    /// Delay between attempts to listen again. It doubles each time, from the minimum to the maximum.
    pub const LISTEN_RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
    pub const LISTEN_RETRY_DELAY_MAX: Duration = Duration::from_secs(2);

    /// Time limit of connecting to a bus's server.
    pub const BUS_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// How long a start waits for the bus.
    pub const BUS_START_TIMEOUT: Duration = Duration::from_secs(2);
    /// Servers that a bus's URL names.
    pub const BUS_SERVERS_MAX: usize = 16;
    pub const BUS_PREFIX_BYTES_MAX: usize = 64;
    /// Messages that NATS's client holds until they are delivered. Beyond that the connection is made anew.
    pub const NATS_RECEIVED_MAX: usize = 16 * 1024;
    /// Messages that NATS's client holds until they are sent.
    pub const NATS_WAITING_MAX: usize = 1024;
    /// Bytes that NATS's client reads at once: it delivers what it read before it reads much more.
    pub const NATS_READ_BYTES: u16 = 8 * 1024;
}

/// What settings may be.
pub mod settings {
    use std::time::Duration;

    /// Runtime threads. A larger number is taken for a typing error.
    pub const RUNTIME_THREADS_MAX: usize = 256;
    /// Chats generated at once. A larger number is taken for a typing error.
    pub const WORKERS_MAX: usize = 100_000;
    pub const QUEUE_MAX: usize = 10_000;
    pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
    /// Text of one answer, unless set otherwise.
    pub const EPISODE_BYTES_DEFAULT: usize = 8 << 20;
    /// A lease must be long compared with the database's response time.
    pub const LEASE_TTL_MIN: Duration = Duration::from_millis(200);
    /// A shorter secret could be guessed.
    pub const PEER_SECRET_BYTES_MIN: usize = 16;
}

/// Tapes.
pub mod tapes {
    use std::time::Duration;

    /// What a directory has, unless set otherwise, and at the least.
    pub const TAPES_BYTES_DEFAULT: usize = 64 << 20;
    pub const TAPES_BYTES_MIN: usize = 1 << 20;
    /// No tape has more than this share of it: others are to have room beside it.
    pub const TAPE_SHARE: usize = 8;
    /// What waits to be written. One frame that is larger may wait alone.
    pub const WAITING_BYTES_MAX: usize = 4 << 20;
    /// What a frame that waits costs besides its bytes.
    pub const FRAME_OVERHEAD_BYTES: usize = 64;
    /// What the process may take longer to end because tapes are still to be written.
    pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
}

/// The process: start, end, log, files.
pub mod process {
    use std::time::Duration;

    /// How long the hand-over may take in addition to the drain time-out.
    pub const DRAIN_SLACK: Duration = Duration::from_secs(3);
    pub const FRESH_SECRET_BYTES: usize = 32;
    /// Between two looks whether a name is free.
    pub const NAME_POLL_INTERVAL: Duration = Duration::from_millis(250);
    /// After a name has run out by the database's clock, so that it surely has.
    pub const NAME_SLACK: Duration = Duration::from_millis(10);
    /// Between two looks at the file.
    pub const CHECK_INTERVAL: Duration = Duration::from_millis(500);
    /// What the process may take longer to end because its last lines are still to be written.
    pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
    /// What waits to be written, in bytes. A line that does not fit is lost.
    pub const WAITING_BYTES_MAX: usize = 1024 * 1024;
    /// What a line that waits costs besides its text.
    pub const LINE_OVERHEAD_BYTES: usize = 64;
    /// The service manager hears from a process that it watches this many times within its time.
    pub const WATCHDOG_SHARE: u32 = 3;
    /// Between tries to write to what is full and says so instead of blocking.
    pub const FULL_RETRY_DELAY: Duration = Duration::from_millis(10);
}

/// The client of a model's provider.
pub mod model {
    use std::time::Duration;

    /// Until a connection stands.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// From the request until the model begins: long prompts and hidden reasoning take minutes.
    pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
    /// Between two parts.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60);
    /// Of what comes without a word: hidden reasoning, signs of life. A million tokens come to less, each in an event
    /// of its own.
    pub const WORDLESS_BYTES_MAX: usize = 256 << 20;
    /// Of the body of an answer that is an error.
    pub const ERROR_BODY_BYTES_MAX: usize = 16 * 1024;
    /// How long that body is waited for: it only tells more of what is known already.
    pub const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long the end of the body is waited for once the stream has said that nothing follows. Who hangs up
    /// earlier is taken for a client that went away.
    pub const END_TIMEOUT: Duration = Duration::from_millis(100);
    /// Of the reason for a broken connection, in the log.
    pub const CAUSE_BYTES_MAX: usize = 500;
    /// Connections that are kept for the next runs, and for how long.
    pub const IDLE_CONNECTIONS_MAX: usize = 16;
    pub const IDLE_CONNECTION_RETENTION: Duration = Duration::from_secs(30);
    /// Of an error object in the stream, what is longer is not looked into.
    pub const ERROR_BYTES_MAX: usize = 16 * 1024;
    /// What a database can count, and JavaScript.
    pub const TOKENS_MAX: u64 = (1 << 53) - 1;
    /// Attempts that may end in silence: each takes minutes.
    pub const SILENT_ATTEMPTS_MAX: u64 = 2;
    /// Models of which is remembered what they take: a chat may name any.
    pub const HABITS_MAX: usize = 64;
    /// Of the address that a redirect names.
    pub const ORIGIN_BYTES_MAX: usize = 80;
    /// Calls of one answer.
    pub const CALLS_MAX: usize = 256;
    /// Of a call's id, and of a tool's name.
    pub const CALL_NAME_BYTES_MAX: usize = 1024;
    /// Of what a provider tells with a call and wants back. What is longer is not kept.
    pub const CALL_EXTRA_BYTES_MAX: usize = 256 * 1024;
    /// Of one answer, what waits until a call before it is whole, and what a block counts besides its text: all that
    /// wait are looked at with each event.
    pub const HELD_BYTES_MAX: usize = 8 << 20;
    pub const HELD_BLOCK_BYTES: usize = 4 * 1024;
    /// The system prompt of `--instructions-file`.
    pub const INSTRUCTIONS_BYTES_MAX: usize = 256 * 1024;
}

/// An agent's run.
pub mod agent {
    /// Messages and calls that are open at once.
    pub const STREAMS_MAX: usize = 256;
    /// Calls of one run.
    pub const CALLS_MAX: usize = 4096;
    /// Of a result that is too large to be kept, what is kept.
    pub const EXCERPT_BYTES_MAX: usize = 64 * 1024;
}

/// Tools that the server carries out.
pub mod tools {
    use std::time::Duration;

    /// How long a call may take, unless set otherwise.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(2 * 60);
    /// What a result may have, as JSON: unless set otherwise, at the least and at the most.
    pub const RESULT_BYTES_DEFAULT: usize = 256 << 10;
    pub const RESULT_BYTES_MIN: usize = 1 << 10;
    pub const RESULT_BYTES_MAX: usize = 512 << 10;
    /// Steps of one turn, unless set otherwise, and at the most.
    pub const STEPS_DEFAULT: usize = 32;
    pub const STEPS_MAX: usize = 1000;
    /// The file of tools, and each file with a schema that it names.
    pub const FILE_BYTES_MAX: usize = 4 << 20;
    /// What providers of models take as a name.
    pub const NAME_BYTES_MAX: usize = 64;
    /// Until a connection stands.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// Of the body of an answer that is an error, and how long it is waited for.
    pub const EXCERPT_BYTES_MAX: usize = 1 << 10;
    pub const EXCERPT_TIMEOUT: Duration = Duration::from_secs(2);
    /// A shorter word of a secret is not looked for in what a tool says: it may stand there by chance.
    pub const SECRET_BYTES_MIN: usize = 8;
    /// Of the reason for a failure, as it is told to a model and to the log.
    pub const CAUSE_BYTES_MAX: usize = 500;
    /// A longer name of a call is told as its hash.
    pub const CALL_ID_BYTES_MAX: usize = 128;
    /// Connections that are kept for the next calls, and for how long.
    pub const IDLE_CONNECTIONS_MAX: usize = 16;
    pub const IDLE_CONNECTION_RETENTION: Duration = Duration::from_secs(30);
}

/// MCP servers.
pub mod mcp {
    use std::time::Duration;

    /// How long `serve` waits at its start for servers that have neither answered nor failed.
    pub const START_TIMEOUT: Duration = Duration::from_secs(5);
    /// From the start of a server until its tools are known. Those that are installed when they are started take
    /// long.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
    /// How long a server may take to list its tools.
    pub const LIST_TIMEOUT: Duration = Duration::from_secs(10);
    /// Between two times that a server's tools are listed, at the least.
    pub const LIST_INTERVAL: Duration = Duration::from_secs(1);
    /// Pages, tools, and bytes of one server's list.
    pub const PAGES_MAX: usize = 64;
    pub const TOOLS_MAX: usize = 256;
    pub const TOOLS_BYTES_MAX: usize = 2 << 20;
    /// Delay until a server is tried again. It doubles each time, with jitter, from the minimum to the maximum, and
    /// begins anew after a server that lived for a while.
    pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(250);
    pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
    pub const STEADY_TIME: Duration = Duration::from_secs(60);
    /// One message of a server.
    pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
    /// Messages of a server within a window.
    pub const MESSAGES_MAX: u32 = 10_000;
    pub const MESSAGES_WINDOW: Duration = Duration::from_secs(10);
    /// Calls of one server at once over HTTP. What is more waits, within its time.
    pub const CALLS_MAX: usize = 1024;
    /// How long a server may take to read what is written to it.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
    /// How long the output of a server that has ended is waited for.
    pub const OUTPUT_GRACE: Duration = Duration::from_millis(500);
    /// How long a server has to end once it is told to.
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);
    /// Of a line of a server's log, and lines within a second. The others are counted.
    pub const LOG_LINE_BYTES_MAX: usize = 500;
    pub const LOG_LINES_MAX: u32 = 20;
    /// Until an event stream that did not live is opened again. It doubles each time, from the minimum to the maximum.
    pub const RESUME_DELAY_MIN: Duration = Duration::from_secs(1);
    pub const RESUME_DELAY_MAX: Duration = Duration::from_secs(30);
}

/// Deleting chats that nobody has touched for long.
pub mod retention {
    use std::time::Duration;

    /// A shorter retention is a mistake.
    pub const RETENTION_MIN: Duration = Duration::from_secs(1);
    /// Of the retention, between two looks at all chats; bounded both ways.
    pub const ROUNDS_SHARE: u32 = 24;
    pub const ROUNDS_INTERVAL_MIN: Duration = Duration::from_millis(500);
    pub const ROUNDS_INTERVAL_MAX: Duration = Duration::from_secs(6 * 60 * 60);
    /// Chats that one statement looks at, and how long nobody is asked after it.
    pub const LOOKED_AT_MAX: usize = 1000;
    pub const PAUSE: Duration = Duration::from_millis(20);
}

/// TLS.
pub mod tls {
    /// Of a file of certificates or of a key.
    pub const FILE_BYTES_MAX: usize = 1 << 20;
}

/// What operators look at.
pub mod insight {
    use std::time::Duration;

    /// Connections to the internal listener.
    pub const CONNECTIONS_MAX: usize = 64;
    /// Chats that it lists.
    pub const OPEN_CHATS_MAX: usize = 1000;
    /// Turns whose begin is remembered for their span.
    pub const TRACED_TURNS_MAX: usize = 20_000;
    /// What users and models said in one span, each way, if that is told at all.
    pub const TRACED_CONTENT_BYTES_MAX: usize = 256 * 1024;
    /// How long the end waits until the last spans are told.
    pub const TRACES_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
}

/// The command lines that are clients.
pub mod client {
    use std::time::Duration;

    /// Delay between a broken stream and the next try. It doubles each time, with jitter, from the minimum to the
    /// maximum.
    pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
    pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(3);
    /// How often a request with an unknown outcome is retried, under its key.
    pub const TRIES_MAX: usize = 4;
    /// Bytes of one event (B1).
    pub const EVENT_BYTES_MAX: usize = 128 << 20;
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
    /// Longer than the 15 s between keep-alives of a stream.
    pub const SILENCE_MAX: Duration = Duration::from_secs(40);
    /// Bytes of a problem document that are read (B1).
    pub const PROBLEM_BYTES_MAX: usize = 16 * 1024;
}

/// `mainstem load`.
pub mod load {
    use std::time::Duration;

    /// Delay between tries of a request.
    pub const RETRY_DELAY: Duration = Duration::from_millis(200);
    /// The interval of polling a chat that has to come to rest.
    pub const POLL_INTERVAL: Duration = Duration::from_millis(100);
    /// Violations that are told in full; the others are counted (B1).
    pub const TOLD_MAX: u64 = 20;
    /// Viewers that connect at the same time.
    pub const CONNECTING_MAX: usize = 64;
    /// How long all viewers may take to catch up before counting begins.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
    /// How long chats may take to come to rest, and viewers to see it: L1 with the default intervals.
    pub const REST_TIMEOUT: Duration = Duration::from_secs(30);
}

/// `mainstem doctor`.
pub mod doctor {
    use std::time::Duration;

    /// How long one thing that is looked at may take.
    pub const CHECK_TIMEOUT: Duration = Duration::from_secs(8);
    /// Peers that are called, all at once.
    pub const PEERS_MAX: usize = 64;
    /// Round trips to the database that are measured. Odd, for the median.
    pub const ROUND_TRIPS: usize = 9;
    /// A database that is further away makes everything slow.
    pub const ROUND_TRIP_MAX: Duration = Duration::from_millis(50);
    /// What the database's clock may be off this host's, in milliseconds.
    pub const CLOCK_OFF_MS_MAX: i64 = 1000;
    /// With room for fewer clients, a replica is told to have little.
    pub const CONNECTIONS_ROOM_MIN: usize = 1024;
    /// Of a file of settings, tokens or a secret. No real one is as large.
    pub const FILE_BYTES_MAX: u64 = 16 << 20;
}
