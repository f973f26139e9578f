//! One chat's rows, stored as a store does, and random requests. A request is drawn as an [`Op`], which is
//! made concrete only when it is applied, so that most requests could be accepted. No store and no world stands behind
//! it: facts are drawn that none of them would hand in then, such as a lease that has run out as soon as it began.

use std::sync::Arc;

use mainstem_machine::{
    Access, CallResult, Carrier, Change, ChatId, ChatState, Command, Completion, Content, Episode, Fence,
    FinishReason, Found, Lease, Message, MessageId, NewMessage, OpenCall, ReplicaId, Role, RunError,
    SendMode, Sought, StoreFacts, Usage, Version, WallTime,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::model::{Ask, By, Call, Claim, Person, Text, Who, Write};

/// Users, with the owner. Their names are not in the order of their numbers.
pub(crate) const PEOPLE: Person = 4;
const NAMES: [&str; PEOPLE as usize] = ["someone", "zoe", "bob", "bo"];
/// Replicas that work on the chat.
const REPLICAS: Who = 3;
/// Messages that a queue takes, at the most.
const QUEUE_LEN_MAX: usize = 4;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Who speaks of those whose messages it is created with: the user, or the model.
    Create {
        users: Vec<bool>,
    },
    Send {
        mode: SendMode,
        queue_max: usize,
    },
    Edit {
        which: usize,
    },
    EditMissing,
    Regenerate {
        which: Option<usize>,
        mode: SendMode,
    },
    Interrupt {
        named: Named,
    },
    DeleteQueued {
        which: usize,
    },
    Promote {
        which: usize,
    },
    Results {
        which: Vec<usize>,
    },
    Delete,
    Expire {
        /// It is asked for the time that has passed, and not for a moment more.
        just: bool,
    },
    Share {
        user: Person,
        writes: bool,
    },
    Unshare {
        user: Person,
    },
    Acquire {
        who: Who,
        expired: bool,
        stopping_only: bool,
    },
    Release {
        claim: Claimed,
    },
    Write {
        claim: Claimed,
        write: Wanted,
    },
}

/// Which episode an interrupt names.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    None,
    Present,
    Remembered(usize),
}

/// What a worker believes about its lease.
#[derive(Clone, Debug)]
pub(crate) enum Claimed {
    Right,
    OtherReplica,
    OtherLease(bool),
    OtherHistory(bool),
    OtherAttempt(bool),
    /// A claim that was correct earlier.
    Remembered(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Begin,
    Retry,
    Step(Vec<Call>),
    Results(Vec<usize>),
    Finish(bool),
    FinishInterruption(bool),
    Fail(bool),
}

/// Requests in the order in which they come.
pub(crate) fn ops(max: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), max / 2..max).prop_map(|mut ops| {
        if !matches!(ops[0], Op::Create { .. }) {
            ops.insert(0, Op::Create { users: vec![true; ops.len() % 3] });
        }
        ops
    })
}

fn op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![Just(SendMode::Queue), Just(SendMode::Interrupt), Just(SendMode::Reject)];
    let again = mode.clone();
    let named =
        prop_oneof![Just(Named::None), Just(Named::Present), any::<usize>().prop_map(Named::Remembered)];
    prop_oneof![
        5 => prop::collection::vec(any::<bool>(), 0..4).prop_map(|users| Op::Create { users }),
        14 => (mode, 0..=QUEUE_LEN_MAX).prop_map(|(mode, queue_max)| Op::Send { mode, queue_max }),
        5 => any::<usize>().prop_map(|which| Op::Edit { which }),
        1 => Just(Op::EditMissing),
        4 => (prop::option::of(any::<usize>()), again).prop_map(|(which, mode)| Op::Regenerate { which, mode }),
        4 => named.prop_map(|named| Op::Interrupt { named }),
        4 => any::<usize>().prop_map(|which| Op::DeleteQueued { which }),
        4 => any::<usize>().prop_map(|which| Op::Promote { which }),
        12 => prop::collection::vec(0..3_usize, 0..3).prop_map(|which| Op::Results { which }),
        1 => any::<Option<bool>>().prop_map(|just| just.map_or(Op::Delete, |just| Op::Expire { just })),
        4 => (0..PEOPLE, any::<bool>()).prop_map(|(user, writes)| Op::Share { user, writes }),
        3 => (0..PEOPLE).prop_map(|user| Op::Unshare { user }),
        8 => (0..REPLICAS, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(who, expired, stopping_only)| Op::Acquire { who, expired, stopping_only }),
        3 => claimed().prop_map(|claim| Op::Release { claim }),
        24 => (claimed(), wanted()).prop_map(|(claim, write)| Op::Write { claim, write }),
    ]
}

fn claimed() -> impl Strategy<Value = Claimed> {
    prop_oneof![
        12 => Just(Claimed::Right),
        1 => Just(Claimed::OtherReplica),
        1 => any::<bool>().prop_map(Claimed::OtherLease),
        1 => any::<bool>().prop_map(Claimed::OtherHistory),
        1 => any::<bool>().prop_map(Claimed::OtherAttempt),
        3 => any::<usize>().prop_map(Claimed::Remembered),
    ]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        8 => Just(Wanted::Begin),
        3 => Just(Wanted::Retry),
        8 => prop::collection::vec(call(), 0..4).prop_map(Wanted::Step),
        6 => prop::collection::vec(0..3_usize, 0..3).prop_map(Wanted::Results),
        4 => any::<bool>().prop_map(Wanted::Finish),
        6 => any::<bool>().prop_map(Wanted::FinishInterruption),
        6 => any::<bool>().prop_map(Wanted::Fail),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let by = prop_oneof![2 => Just(By::Client), 1 => Just(By::Once), 1 => Just(By::Again)];
    (by, prop::bool::weighted(0.3)).prop_map(|(by, answered)| Call { by, answered })
}

/// The rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) state: Option<ChatState>,
    pub(crate) messages: Vec<Message>,
    now: i64,
    texts: Text,
    /// Every claim that was correct at some time, newest last.
    remembered: Vec<Claim>,
}

impl World {
    /// Makes an op concrete, for the machine and for the model.
    pub(crate) fn resolve(&mut self, op: &Op) -> (Command, StoreFacts, Ask) {
        self.now += 1;
        let mut lease_expired = false;
        let (command, ask) = match op {
            Op::Create { users } => self.create(users),
            Op::Send { mode, queue_max } => {
                let text = self.new_text();
                let command = Command::Send {
                    content: content(text),
                    mode: *mode,
                    queue_max: *queue_max,
                    client_id: None,
                };
                (command, Ask::Send { text, mode: *mode, queue_max: *queue_max })
            }
            Op::Edit { which } => self.edit(pick(&self.messages, *which).map(|message| message.id)),
            // The id of a queued message is not one of the history.
            Op::EditMissing => self.edit(self.state.as_ref().and_then(|s| s.queue.first()).map(|q| q.id)),
            Op::Regenerate { which, mode } => {
                let mut users = self.messages.iter().filter(|message| message.role == Role::User);
                let (message, old) = match which {
                    None => (None, users.next_back()),
                    Some(which) => {
                        let named = pick(&self.messages, *which);
                        (Some(named.map_or(MessageId(u64::MAX - 1), |message| message.id)), named)
                    }
                };
                let old = old.map(|message| says(&message.content));
                (Command::Regenerate { message, mode: *mode }, Ask::Regenerate { old, mode: *mode })
            }
            Op::Interrupt { named } => {
                let claim = match named {
                    Named::None => None,
                    Named::Present => Some(self.right()),
                    Named::Remembered(which) => {
                        Some(pick(&self.remembered, *which).copied().unwrap_or(self.right()))
                    }
                };
                let command = Command::Interrupt { episode: claim.map(|claim| fence(&claim).episode) };
                (command, Ask::Interrupt { named: claim.map(|claim| (claim.history, claim.attempt)) })
            }
            Op::DeleteQueued { which } => {
                let (queued, text) = self.queued(*which);
                (Command::DeleteQueued { queued }, Ask::DeleteQueued(text))
            }
            Op::Promote { which } => {
                let (queued, text) = self.queued(*which);
                (Command::Promote { queued }, Ask::Promote(text))
            }
            Op::Results { which } => {
                (Command::ToolResults { results: self.results(which) }, Ask::Results(which.clone()))
            }
            Op::Delete => (Command::Delete, Ask::Delete),
            Op::Expire { just } => {
                let since = self.state.as_ref().map_or(WallTime(0), |state| state.updated_at);
                let passed = WallTime(self.now).ms_since(since);
                let idle_ms = if *just { passed } else { passed + 1 };
                (Command::Expire { idle_ms }, Ask::Expire { is_old: *just })
            }
            Op::Share { user, writes } => {
                let may = if *writes { Access::Write } else { Access::Read };
                (Command::Share { user: person(*user), may }, Ask::Share { user: *user, writes: *writes })
            }
            Op::Unshare { user } => (Command::Unshare { user: person(*user) }, Ask::Unshare(*user)),
            Op::Acquire { who, expired, stopping_only } => {
                lease_expired = *expired;
                let command = Command::Acquire { replica: replica(*who), interrupting_only: *stopping_only };
                (command, Ask::Acquire { who: *who, expired: *expired, stopping_only: *stopping_only })
            }
            Op::Release { claim } => {
                let claim = self.claim(claim);
                let command = Command::Release { replica: replica(claim.who), lease: Lease(claim.term) };
                (command, Ask::Release { who: claim.who, term: claim.term })
            }
            Op::Write { claim, write } => self.write(claim, write),
        };
        let found = command.sought().and_then(|sought| {
            let is_it = |message: &&Message| match sought {
                Sought::Message(id) => message.id == id,
                Sought::LastOfUser => message.role == Role::User,
            };
            self.messages.iter().rfind(is_it).map(Found::from)
        });
        (command, StoreFacts { now: WallTime(self.now), lease_expired, found, known: None }, ask)
    }

    /// Writes a change as a store does.
    pub(crate) fn write_down(&mut self, change: &Change) {
        if change.deleted {
            (self.state, self.messages) = (None, vec![]);
            return;
        }
        if let Some(from) = change.cut_from {
            self.messages.retain(|message| message.id < from);
        }
        self.messages.extend(change.inserted.iter().cloned());
        self.state = Some(ChatState::clone(&change.state));
        let right = self.right();
        if self.remembered.last() != Some(&right) {
            self.remembered.push(right);
        }
    }

    fn create(&mut self, users: &[bool]) -> (Command, Ask) {
        let lines: Vec<_> = users.iter().map(|is_user| (*is_user, self.new_text())).collect();
        let message = |(is_user, text): &(bool, Text)| NewMessage {
            role: if *is_user { Role::User } else { Role::Assistant },
            content: content(*text),
            client_id: None,
        };
        let command = Command::Create {
            chat: ChatId(Uuid::nil()),
            owner: person(0),
            settings: Default::default(),
            messages: lines.iter().map(message).collect(),
        };
        (command, Ask::Create(lines))
    }

    fn edit(&mut self, id: Option<MessageId>) -> (Command, Ask) {
        let text = self.new_text();
        let old =
            self.messages.iter().find(|message| Some(message.id) == id).map(|message| says(&message.content));
        let message = id.unwrap_or(MessageId(u64::MAX));
        (Command::Edit { message, content: content(text) }, Ask::Edit { old, text })
    }

    fn results(&self, which: &[usize]) -> Vec<(Arc<str>, CallResult)> {
        let calls = self.state.as_ref().map(|state| state.calls.clone()).unwrap_or_default();
        let result = CallResult { content: "\"done\"".into(), is_error: false };
        let id = |at: &usize| calls.get(*at).map_or("none".into(), |call| call.id.clone());
        which.iter().map(|at| (id(at), result.clone())).collect()
    }

    fn write(&mut self, claim: &Claimed, wanted: &Wanted) -> (Command, Ask) {
        let claim = self.claim(claim);
        let fence = fence(&claim);
        let mut perhaps = |given: &bool| given.then(|| self.new_text());
        let error = || RunError { code: "broken".into(), message: "it broke".into() };
        let (command, write) = match wanted {
            Wanted::Begin => (Command::BeginAttempt { fence }, Write::Begin),
            Wanted::Retry => (Command::RecordRetry { fence, delay_ms: 500, error: error() }, Write::Retry),
            Wanted::Step(asked) => {
                let text = self.new_text();
                let call = |(at, call): (usize, &Call)| OpenCall {
                    id: format!("c{at}").into(),
                    name: "find".into(),
                    input: "{}".into(),
                    carrier: match call.by {
                        By::Client => Carrier::Client,
                        By::Once => Carrier::Server,
                        By::Again => Carrier::ServerAgain,
                    },
                    result: call.answered.then(|| CallResult::error("there is none")),
                };
                let calls = asked.iter().enumerate().map(call).collect();
                let (answer, completion) = (content(text), completion(text));
                (Command::CommitStep { fence, answer, completion, calls }, Write::Step(text, asked.clone()))
            }
            Wanted::Results(which) => (
                Command::CommitResults { fence, results: self.results(which) },
                Write::Results(which.clone()),
            ),
            Wanted::Finish(given) => {
                let text = perhaps(given);
                let command = Command::FinishTurn {
                    fence,
                    answer: text.map(content),
                    completion: text.map(completion).unwrap_or_default(),
                };
                (command, Write::Finish(text))
            }
            Wanted::FinishInterruption(given) => {
                let text = perhaps(given);
                let command = Command::FinishInterruption { fence, partial: text.map(content) };
                (command, Write::FinishInterruption(text))
            }
            Wanted::Fail(given) => {
                let text = perhaps(given);
                let command = Command::Fail { fence, partial: text.map(content), error: error() };
                (command, Write::Fail(text))
            }
        };
        (command, Ask::Write { claim, write })
    }

    fn claim(&self, claimed: &Claimed) -> Claim {
        let right = self.right();
        let other = |number: u64, more: bool| if more { number + 1 } else { number.saturating_sub(1) };
        match claimed {
            Claimed::Right => right,
            Claimed::OtherReplica => Claim { who: (right.who + 1) % REPLICAS, ..right },
            Claimed::OtherLease(more) => Claim { term: other(right.term, *more), ..right },
            Claimed::OtherHistory(more) => Claim { history: other(right.history, *more), ..right },
            Claimed::OtherAttempt(more) => Claim { attempt: other(right.attempt, *more), ..right },
            Claimed::Remembered(which) => pick(&self.remembered, *which).copied().unwrap_or(right),
        }
    }

    /// The claim that is correct now; for a chat that nobody holds, the closest one.
    fn right(&self) -> Claim {
        let Some(state) = &self.state else { return Claim { who: 0, term: 0, history: 0, attempt: 0 } };
        let who = state.worker.as_ref().map(who).unwrap_or_default();
        let (history, attempt) = (state.history_version.0, state.attempt);
        Claim { who, term: state.lease.0, history, attempt }
    }

    fn queued(&self, which: usize) -> (MessageId, Option<Text>) {
        let queue = self.state.as_ref().map(|state| state.queue.as_slice()).unwrap_or_default();
        match pick(queue, which) {
            Some(queued) => (queued.id, Some(says(&queued.content))),
            // The id of a committed message is not one of the queue.
            None => (self.messages.last().map(|message| message.id).unwrap_or_default(), None),
        }
    }

    fn new_text(&mut self) -> Text {
        self.texts += 1;
        self.texts
    }
}

pub(crate) fn person(number: Person) -> Arc<str> {
    NAMES[usize::from(number)].into()
}

pub(crate) fn number(name: &str) -> Person {
    NAMES.iter().position(|known| *known == name).expect("a user of this world") as Person
}

fn replica(who: Who) -> ReplicaId {
    ReplicaId::new(format!("replica-{who}")).unwrap()
}

pub(crate) fn who(replica: &ReplicaId) -> Who {
    replica.as_str().trim_start_matches("replica-").parse().unwrap()
}

/// Results say nothing.
pub(crate) fn says(content: &Content) -> Text {
    let text = content.to_text();
    if text.is_empty() { 0 } else { text.parse().unwrap() }
}

fn content(text: Text) -> Content {
    Content::text(&text.to_string())
}

/// One for each text, with and without what it may lack.
pub(crate) fn completion(text: Text) -> Completion {
    let usage = Usage { input_tokens: text.into(), output_tokens: 7 };
    Completion {
        finish_reason: FinishReason::ALL.get(text as usize % 5).copied(),
        usage: (!text.is_multiple_of(3)).then_some(usage),
    }
}

fn fence(claim: &Claim) -> Fence {
    let episode = Episode { history_version: Version(claim.history), attempt: claim.attempt };
    Fence { replica: replica(claim.who), lease: Lease(claim.term), episode }
}

fn pick<T>(from: &[T], which: usize) -> Option<&T> {
    from.get(which.checked_rem(from.len())?)
}
