//! Coverage marks on rare paths. The simulator counts them: a batch of a thousand runs in which a mark is
//! never reached proves nothing about that path, so it fails and names the mark.
//!
//! `sometimes!("…")` emits a tracing event at TRACE with a target of its own. Without a subscriber it costs
//! one load.

/// The target of every mark's event.
pub const TARGET: &str = "sometimes";

/// All marks. One that is not listed here does not compile.
pub const MARKS: [&str; 29] = [
    "a bus subscription times out",
    "a commit is refused by its fence",
    "a commit's messages are told without a read",
    "a commit's outcome is unknown",
    "a dial times out",
    "a follower is ahead of the snapshot",
    "a hub ends with its chat",
    "a lease is confirmed again after local expiry",
    "a lease expires locally",
    "a notice is taken without a read",
    "a notice waits for a read",
    "a page is of another history",
    "a page is read",
    "a read has messages that were told meanwhile",
    "a relay repeats parts",
    "a retry is recorded",
    "a run is cancelled by its row",
    "a run is handed over",
    "a viewer is ahead of the snapshot",
    "a viewer is shut out",
    "a version is missing before a commit's messages",
    "a viewer was let in by a newer row",
    "an acquisition's outcome is unknown",
    "an answer outgrows its bound",
    "an interruption is finished without a slot",
    "history is sent anew",
    "parts come before the message that ends them",
    "a held chat is acquired again",
    "a preview becomes void",
];

/// Whether the mark is in the list. Used by the macro.
pub const fn is_listed(mark: &str) -> bool {
    let mut at = 0;
    while at < MARKS.len() {
        if same(MARKS[at].as_bytes(), mark.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Records that this path was taken.
macro_rules! sometimes {
    ($mark:literal) => {{
        const { assert!($crate::marks::is_listed($mark), "the mark is not in the list of marks") };
        tracing::trace!(target: $crate::marks::TARGET, mark = $mark);
    }};
}
pub(crate) use sometimes;

#[cfg(test)]
mod tests {
    use super::*;

    /// It is what keeps a mark that nobody counts from compiling.
    #[test]
    fn a_mark_is_listed_by_its_whole_name_and_only_once() {
        for (at, mark) in MARKS.iter().enumerate() {
            assert!(is_listed(mark) && !MARKS[..at].contains(mark), "{mark}");
            let last = mark.len() - 1;
            assert!(!is_listed(&mark[..last]) && !is_listed(&mark[1..]), "{mark}");
            assert!(!is_listed(&alloc::format!("{mark}s")), "{mark}");
            assert!(!is_listed(&alloc::format!("{}!", &mark[..last])), "{mark}");
        }
        assert!(!is_listed(""));
    }
}
