//! The cells of the driver under many schedules of their tasks: every lock, flag and wake-up is a point at which
//! another task may go on, also between looking for news and waiting for it, where one thread never stops. A task that
//! sleeps over what it waits for is a deadlock, because nobody else wakes it here: no time passes by itself.

mod cells;
pub(crate) mod env;
mod hubs;
mod nodes;
mod store;
mod world;
