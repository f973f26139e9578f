//! Classification of database errors: whether an operation may have happened, and whether to retry it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstem_runtime::ports::Fault;

use crate::limits::adapters::{CALL_TIMEOUT, TRIES_MAX};

/// Whether a call has sent the statement that takes effect. Until then it certainly did not happen.
#[derive(Debug, Default)]
pub(super) struct Sent(AtomicBool);

impl Sent {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn fault(&self, why: String) -> Fault {
        if self.is_set() { Fault::Unknown(why) } else { Fault::Refused(why) }
    }
}

/// Bounds the time of a call.
pub(super) async fn bounded<T>(sent: &Sent, call: impl Future<Output = sqlx::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(sent.fault(error.to_string())),
        Err(_) => Err(sent.fault(format!("no answer within {CALL_TIMEOUT:?}"))),
    }
}

/// Whether a transaction that did not happen may succeed if it is retried: it lost against another one, or
/// its connection was dead already.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // PostgreSQL: serialization failure, deadlock, a row that was inserted meanwhile, shut down by an
            // administrator or a crash, a statement that was prepared in another session.
            Some("40001" | "40P01" | "23505" | "57P01" | "57P02" | "25P03" | "26000") => true,
            // SQLite: a unique key that was inserted meanwhile.
            Some("1555" | "2067") => true,
            _ => false,
        },
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether the server said that a statement failed, and so did nothing. One that goes away in its midst does not say so, unless it was
/// shut down in order before it had told anything: it tells what it wrote before it commits that.
pub(super) fn is_undone(error: &sqlx::Error, told_nothing: bool) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    match error.code().as_deref() {
        Some("57P01") => told_nothing,
        // It cannot say, or it crashed.
        Some(code) => code != "40003" && !code.starts_with("57P") && !code.starts_with("08"),
        None => false,
    }
}

/// Whether the server refused to write because it is a standby, or was told to be read-only.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("25006"))
}

/// How often one call was tried.
#[derive(Debug, Default)]
pub(super) struct Tries {
    made: usize,
    read_only: bool,
}

impl Tries {
    /// Whether there is another try.
    pub(super) fn again(&mut self) -> bool {
        self.made += 1;
        self.made < TRIES_MAX
    }

    /// The same after an error. A server that is read-only is asked once more, on a new connection.
    pub(super) fn again_after(&mut self, error: &sqlx::Error) -> bool {
        let was_read_only = std::mem::replace(&mut self.read_only, is_read_only(error));
        let passing = is_passing(error) || (is_read_only(error) && !was_read_only);
        passing && self.again()
    }
}

/// What is said when no connection was had in time.
pub(super) fn pool_timed_out() -> String {
    sqlx::Error::PoolTimedOut.to_string()
}

/// Whether the connection is as it was, so that it may be used again.
pub(super) fn leaves_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            // Shut down, gone, read-only, or out of step with what the connection has prepared.
            !matches!(error.code().as_deref(), Some(code)
                if code.starts_with("57P") || code.starts_with("08") || code == "25006" || code == "26000")
        }
        sqlx::Error::RowNotFound
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_) => true,
        _ => false,
    }
}

/// The decoded rows, or why they cannot be decoded.
pub(super) fn readable<T>(read: sqlx::Result<T>) -> Result<T, Fault> {
    read.map_err(|error| Fault::Refused(error.to_string()))
}

pub(super) fn no_way_through() -> sqlx::Error {
    sqlx::Error::Protocol(format!("{TRIES_MAX} tries met with conflicts"))
}
