//! The steps that may happen, in any order. Numbers choose among what exists when the step is performed, so
//! that every list of steps is valid, and every shorter one too.

#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Fresh,
    /// A message of some version.
    After(u8),
    /// An id that no message ever had.
    AfterNothing,
    /// A cursor ahead of the database.
    Future,
    /// The last cursor that was sent.
    Newest,
    /// Any cursor that was ever sent.
    At(u16),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// The database executes it now and answers later.
    Happens,
    Done,
    Refused,
    /// The operation has not happened yet, and the answer is lost.
    Unknown,
    /// The operation happened, and the answer is lost.
    DoneUnknown,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Rival {
    Acquire,
    Begin,
    Part,
    Finish,
    Retry,
    Fail,
    Interruption,
    Release,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Garbage {
    Gap,
    SeqZero,
    NoText,
    EmptyPart,
    NeverOpened,
    /// Opens an episode that has ended, and sends all of it.
    Stale(u8),
    ClosesAnything(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Subscribe {
        node: usize,
        from: From,
    },
    Leave(u8),
    View {
        viewer: u8,
        events: u8,
    },
    Send {
        interrupt: bool,
    },
    Edit(u8),
    Interrupt {
        named: bool,
    },
    /// This many turns happen elsewhere, so that the history becomes longer than the cached tail.
    Talk {
        turns: u8,
    },
    Delete,
    Acquire {
        node: usize,
        has_slot: bool,
        late: bool,
    },
    Acquired {
        node: usize,
    },
    Rival(Rival),
    Answer {
        node: usize,
        which: u8,
        how: How,
    },
    Hint {
        node: usize,
        which: u8,
        twice: bool,
        /// The hub gets the row itself, with what its change appended, and not what a notice says of it.
        whole: bool,
    },
    DropHints {
        node: usize,
    },
    BusLost {
        node: usize,
    },
    Sync {
        node: usize,
    },
    Part {
        node: usize,
        size: u16,
    },
    Finish {
        node: usize,
    },
    Fail {
        node: usize,
        retryable: bool,
        after_ms: Option<u64>,
        entropy: u64,
    },
    Ghost {
        node: usize,
        which: u8,
    },
    Heartbeat {
        node: usize,
        late: bool,
    },
    HeartbeatResult {
        node: usize,
        which: u8,
    },
    DialAnswer {
        node: usize,
        which: u8,
        ok: bool,
    },
    Carry {
        node: usize,
        which: u8,
        frames: u8,
    },
    Deliver {
        node: usize,
        which: u8,
        frames: u8,
    },
    Break {
        node: usize,
        which: u8,
    },
    Garbage {
        node: usize,
        which: u8,
        garbage: Garbage,
    },
    Deadline {
        node: usize,
    },
    Wake {
        node: usize,
    },
    /// Beyond any lease.
    Jump,
    Drain {
        node: usize,
    },
    HandOver {
        node: usize,
    },
    /// Everything in flight arrives, without time passing.
    Flow,
    /// All answers and hints of the database arrive at one node.
    Settle {
        node: usize,
    },
    /// A node acquires the chat, and the database answers until its model runs.
    Work {
        node: usize,
    },
}
