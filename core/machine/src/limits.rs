//! Every bound that a machine keeps to, in one place (B1).

use core::time::Duration;

/// Text of one `message_part` event.
pub const JOINED_PART_BYTES_MAX: usize = 64 * 1024;
/// Messages of the newest history that a hub keeps at hand.
pub const TAIL_MESSAGES_MAX: usize = 64;
/// Their content, beyond the newest one.
pub const TAIL_BYTES_MAX: usize = 256 * 1024;
/// Messages in one page read for a subscription.
pub const PAGE_MESSAGES_MAX: usize = 100;
/// Their content, beyond the first one.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Pages that one hub reads at the same time.
pub const PAGE_READS_MAX: usize = 8;
/// Content of all messages that wait in one chat; one alone may have more.
pub const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Texts of the chats in one page of a list, beyond the first one's.
pub const LIST_BYTES_MAX: usize = 1024 * 1024;
/// Actions that one event asks a hub for.
pub const ACTIONS_MAX: usize = 64;
/// Episodes that a hub keeps: the live one, and such as ended a short while ago.
pub const EPISODES_MAX: usize = 4;
/// Text of all of them.
pub const EPISODES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long an episode is kept after the outcome of its commit is known.
pub const EPISODE_RETENTION: Duration = Duration::from_secs(15);
/// How long a hub stays after its last viewer, follower and run have gone.
pub const HUB_RETENTION: Duration = Duration::from_secs(15);
/// How deeply the value of a part's member may be nested. Readers stop at 128, and events are around it.
pub const MEMBER_DEPTH_MAX: usize = 100;
/// What a message may have besides its text, if its text may have less.
pub const CONTENT_REST_BYTES_MIN: usize = 64 * 1024;
/// Of an unknown name, what an error repeats.
pub const NAME_TOLD_CHARS_MAX: usize = 32;
/// Viewers of one chat at one replica.
pub const SUBSCRIPTIONS_MAX: usize = 100_000;
/// Replicas that follow one chat here.
pub const FOLLOWERS_MAX: usize = 256;

/// A dial that has not been answered by then has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Between a failed or broken relay and the next dial. With the dial's time-out below 3 s.
pub const DIAL_RETRY_DELAY: Duration = Duration::from_millis(500);
/// A subscription to the bus that was not answered by then has failed.
pub const BUS_SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);
/// A database operation whose answer has not come by then is of unknown outcome.
pub const OP_TIMEOUT: Duration = Duration::from_secs(10);
/// Between a failed database operation and the next try: doubled each time, from the first to the second.
pub const OP_RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// The longest of them.
pub const OP_RETRY_DELAY_MAX: Duration = Duration::from_secs(2);
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
/// How long before a lease runs out its holder falls silent: clocks that count seconds differ a little.
pub const LEASE_MARGIN_PER_MILLE: u32 = 20;
/// Chats that one replica tries to acquire at the same time.
pub const ACQUISITIONS_MAX: usize = 32;
/// Heartbeats and looks whose answers are overdue and still taken.
pub const OVERDUE_MAX: usize = 16;
/// Between two looks at everything, at the least.
pub const SYNC_SPACING_MIN: Duration = Duration::from_millis(50);
/// After the soonest lease has run out by the database's clock, so that it surely has.
pub const EXPIRY_SLACK: Duration = Duration::from_millis(20);
/// Runnable chats that one sync reports.
pub const SYNC_RUNNABLE_MAX: usize = 256;
/// Chats that one replica knows to be waiting for a worker.
pub const WANTED_MAX: usize = 4096;
