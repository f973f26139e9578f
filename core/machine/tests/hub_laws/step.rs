//! The steps that may happen, in any order. Numbers choose among what exists when the step is performed, so
//! that every list of steps is valid, and every shorter one too.

use proptest::prelude::*;

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
    Promote(u8),
    DeleteQueued(u8),
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
    /// A write whose answer was lost happens late.
    Zombie {
        node: usize,
        which: u8,
    },
    Hint {
        node: usize,
        which: u8,
        twice: bool,
        /// The hub gets the row itself.
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
    Tick {
        ms: u16,
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

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        2 => Just(How::Happens),
        8 => Just(How::Done),
        1 => Just(How::Refused),
        1 => Just(How::Unknown),
        1 => Just(How::DoneUnknown),
    ]
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        3 => Just(From::Fresh),
        2 => any::<u8>().prop_map(From::After),
        1 => Just(From::AfterNothing),
        1 => Just(From::Future),
        2 => Just(From::Newest),
        5 => any::<u16>().prop_map(From::At),
    ]
}

fn rival() -> impl Strategy<Value = Rival> {
    prop_oneof![
        4 => Just(Rival::Acquire),
        4 => Just(Rival::Begin),
        5 => Just(Rival::Part),
        3 => Just(Rival::Finish),
        1 => Just(Rival::Retry),
        1 => Just(Rival::Fail),
        2 => Just(Rival::Interruption),
        1 => Just(Rival::Release),
    ]
}

fn garbage() -> impl Strategy<Value = Garbage> {
    prop_oneof![
        Just(Garbage::Gap),
        Just(Garbage::SeqZero),
        Just(Garbage::NoText),
        Just(Garbage::EmptyPart),
        Just(Garbage::NeverOpened),
        any::<u8>().prop_map(Garbage::Stale),
        any::<u8>().prop_map(Garbage::ClosesAnything),
    ]
}

/// The first node is drawn twice as often: it mostly works, and the other one mostly follows.
fn node() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0usize), 1 => Just(1usize)]
}

fn viewing() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => ((0usize..2), from()).prop_map(|(node, from)| Step::Subscribe { node, from }),
        1 => any::<u8>().prop_map(Step::Leave),
        14 => (any::<u8>(), 1u8..12).prop_map(|(viewer, events)| Step::View { viewer, events }),
    ]
}

fn asking() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => proptest::bool::weighted(0.3).prop_map(|interrupt| Step::Send { interrupt }),
        2 => any::<u8>().prop_map(Step::Edit),
        3 => any::<bool>().prop_map(|named| Step::Interrupt { named }),
        3 => (1u8..5).prop_map(|turns| Step::Talk { turns }),
        1 => any::<u8>().prop_map(Step::Promote),
        1 => any::<u8>().prop_map(Step::DeleteQueued),
        2 => Just(Step::Delete),
    ]
}

fn working() -> impl Strategy<Value = Step> {
    let part_size = prop_oneof![30 => 1u16..8, 1 => 300u16..400];
    prop_oneof![
        4 => (node(), proptest::bool::weighted(0.9), proptest::bool::weighted(0.2))
            .prop_map(|(node, has_slot, late)| Step::Acquire { node, has_slot, late }),
        5 => node().prop_map(|node| Step::Work { node }),
        2 => node().prop_map(|node| Step::Acquired { node }),
        5 => rival().prop_map(Step::Rival),
        24 => (node(), part_size).prop_map(|(node, size)| Step::Part { node, size }),
        4 => node().prop_map(|node| Step::Finish { node }),
        2 => (node(), proptest::bool::weighted(0.7), proptest::option::of(0..3_000_u64), any::<u64>()).prop_map(
            |(node, retryable, after_ms, entropy)| Step::Fail { node, retryable, after_ms, entropy }),
        1 => (node(), any::<u8>()).prop_map(|(node, which)| Step::Ghost { node, which }),
        6 => (node(), any::<bool>()).prop_map(|(node, late)| Step::Heartbeat { node, late }),
        2 => (node(), any::<u8>()).prop_map(|(node, which)| Step::HeartbeatResult { node, which }),
    ]
}

fn arriving() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => ((0usize..2), any::<u8>(), how()).prop_map(|(node, which, how)| Step::Answer { node, which, how }),
        1 => ((0usize..2), any::<u8>()).prop_map(|(node, which)| Step::Zombie { node, which }),
        6 => ((0usize..2), any::<u8>(), any::<bool>(), any::<bool>())
            .prop_map(|(node, which, twice, whole)| Step::Hint { node, which, twice, whole }),
        1 => (0usize..2).prop_map(|node| Step::DropHints { node }),
        1 => (0usize..2).prop_map(|node| Step::BusLost { node }),
        2 => (0usize..2).prop_map(|node| Step::Sync { node }),
        6 => Just(Step::Flow),
        12 => (0usize..2).prop_map(|node| Step::Settle { node }),
    ]
}

fn relaying() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => ((0usize..2), any::<u8>(), proptest::bool::weighted(0.8))
            .prop_map(|(node, which, ok)| Step::DialAnswer { node, which, ok }),
        8 => ((0usize..2), any::<u8>(), 1u8..6)
            .prop_map(|(node, which, frames)| Step::Carry { node, which, frames }),
        8 => ((0usize..2), any::<u8>(), 1u8..6)
            .prop_map(|(node, which, frames)| Step::Deliver { node, which, frames }),
        1 => ((0usize..2), any::<u8>()).prop_map(|(node, which)| Step::Break { node, which }),
        2 => ((0usize..2), any::<u8>(), garbage())
            .prop_map(|(node, which, garbage)| Step::Garbage { node, which, garbage }),
    ]
}

fn passing() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u16..800).prop_map(|ms| Step::Tick { ms }),
        4 => (0usize..2).prop_map(|node| Step::Deadline { node }),
        3 => (0usize..2).prop_map(|node| Step::Wake { node }),
        1 => Just(Step::Jump),
        1 => node().prop_map(|node| Step::Drain { node }),
        1 => node().prop_map(|node| Step::HandOver { node }),
    ]
}

pub(crate) fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => viewing(),
        3 => asking(),
        16 => working(),
        14 => arriving(),
        12 => relaying(),
        4 => passing(),
    ];
    proptest::collection::vec(step, 0..=max)
}
