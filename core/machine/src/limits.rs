//! The bounds that the machines keep to (B1).

use core::time::Duration;

/// Bytes of text in one `message_part` event.
pub const JOINED_PART_BYTES_MAX: usize = 64 * 1024;
/// Bytes of what is told as a whole: a result, a file, a source, data.
pub const WHOLE_PART_BYTES_MAX: usize = 1024 * 1024;
/// What a block counts beside its text, so that an answer of empty ones is bounded too.
pub const BLOCK_BYTES_MIN: usize = 64;
/// Newest messages of the history that a hub caches.
pub const TAIL_MESSAGES_MAX: usize = 64;
/// Bytes of their content. The newest message is cached whatever its size.
pub const TAIL_BYTES_MAX: usize = 256 * 1024;
/// Messages in one page read for a subscription.
pub const PAGE_MESSAGES_MAX: usize = 100;
/// Bytes of their content. The first message is read whatever its size.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Pages that one hub reads at the same time.
pub const PAGE_READS_MAX: usize = 8;
/// Content of all messages that wait in one chat; one alone may have more.
pub const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many ids are left free before a queued message's, for what comes before its turn.
pub const IDS_AHEAD: u64 = 1_000;
/// Texts of the chats in one page of a list, beyond the first one's.
pub const LIST_BYTES_MAX: usize = 1024 * 1024;
/// Calls of one answer that a worker carries out, all at the same time.
pub const CALLS_MAX: usize = 32;
/// Inputs of the calls of one answer that are carried out: they wait in the row, and are told as a whole.
pub const CALL_INPUTS_BYTES_MAX: usize = 1024 * 1024;
/// Results of the calls of one answer: they wait in the row for one another, and are one message then.
pub const RESULTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Users that one chat is shared with.
pub const SHARES_MAX: usize = 100;
/// Rows that notices brought while the one before was being read.
pub const NOTICED_ROWS_MAX: usize = 4;
/// Actions that one event asks a hub for.
pub const ACTIONS_MAX: usize = 64;
/// Episodes that a hub keeps: the live one, and those that ended recently.
pub const EPISODES_MAX: usize = 4;
/// Bytes of text of all of them.
pub const EPISODES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long an episode is kept after the outcome of its commit is known.
pub const EPISODE_RETENTION: Duration = Duration::from_secs(15);
/// How long a hub stays after its last viewer, follower and run have gone.
pub const HUB_RETENTION: Duration = Duration::from_secs(15);
/// How deeply the value of a part's member may be nested. Readers stop at 128, and events are around it.
pub const MEMBER_DEPTH_MAX: usize = 100;
/// What a message may have besides its text, if its text may have less.
pub const CONTENT_REST_BYTES_MIN: usize = 64 * 1024;
/// Parts of one content that a user sends.
pub const CONTENT_PARTS_MAX: usize = 256;
/// Of a file's media type.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Of an unknown name, what an error repeats.
pub const NAME_TOLD_CHARS_MAX: usize = 32;
/// Viewers of one chat at one replica.
pub const SUBSCRIPTIONS_MAX: usize = 100_000;
/// Replicas that follow one chat here.
pub const FOLLOWERS_MAX: usize = 256;

/// A dial that is not answered within this time has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Delay between a failed or broken relay and the next dial. Together with `DIAL_TIMEOUT` below 3 s.
pub const DIAL_RETRY_DELAY: Duration = Duration::from_millis(500);
/// A subscription to the bus that is not answered within this time has failed.
pub const BUS_SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);
/// A database operation that is not answered within this time has an unknown outcome.
pub const OP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the history for a model may wait for a first read that waits for the bus.
pub const HISTORY_PATIENCE: Duration = Duration::from_millis(50);
/// Delay between a failed database operation and the next try. It doubles each time, from the minimum to the
/// maximum.
pub const OP_RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// The longest of them.
pub const OP_RETRY_DELAY_MAX: Duration = Duration::from_secs(2);
/// How long a drain waits for what it hands over, and then for others to be told.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request keeps retrying while the database does not answer.
pub const REQUEST_RETRIES_MAX: Duration = Duration::from_secs(8);
/// Between failed attempts of the model: doubled each time, from the first to the second, less a jitter of up
/// to half of it.
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(500);
/// The longest of them.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// The longest that a provider may ask to be left alone before the next attempt. To it comes a jitter of up to
/// half the delay that the attempt would have had.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);
/// Attempts of the model over one history, before the run fails for good.
pub const ATTEMPTS_MAX: u64 = 5;
/// How much earlier than the database's expiry a holder treats its lease as expired, in thousandths of the
/// `lease-ttl`: clocks run at slightly different speeds.
pub const LEASE_MARGIN_PER_MILLE: u32 = 20;
/// Chats that one replica tries to acquire at the same time.
pub const ACQUISITIONS_MAX: usize = 32;
/// Heartbeats and syncs whose answers are overdue and still accepted.
pub const OVERDUE_MAX: usize = 16;
/// The shortest time between two syncs.
pub const SYNC_SPACING_MIN: Duration = Duration::from_millis(50);
/// How long after the soonest expiry of a lease the next sync is sent, so that the lease has expired by then.
pub const EXPIRY_SLACK: Duration = Duration::from_millis(20);
/// Runnable chats that one sync reports.
pub const SYNC_RUNNABLE_MAX: usize = 1024;
/// Chats waiting for a worker that one replica remembers.
pub const WANTED_MAX: usize = 4096;
/// Fewer are known to wait, and a replica that was full looks for more when a slot becomes free.
pub const WANTED_FEW: usize = 128;
/// Notices that one replica publishes at the same time, and rows that it reads to announce them.
pub const ANNOUNCEMENTS_MAX: usize = 8;
/// Chats that wait for either. Further ones are dropped.
pub const ANNOUNCEMENTS_WAITING_MAX: usize = 65_536;
/// Parts in one frame to a follower.
pub const FRAME_PARTS_MAX: usize = 4096;
/// Bytes of text in one such frame.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
