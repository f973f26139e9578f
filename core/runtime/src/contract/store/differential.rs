//! Applies random commands to the store and to a reference in memory. Both must agree on everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mainstem_machine::{
    Access, CallResult, Carrier, Change, ChatId, ChatState, Command, Completion, Content, Episode, Fence,
    FinishReason, Lease, MessageId, NewMessage, OpenCall, Rejection, Role, RunError, SendMode, Settings,
    Usage, Version, limits,
};

use super::reference::Reference;
use super::{Subject, fence, idempotency_key, replica};
use crate::ports::{Applied, CachedVersions, Effect, Listed, Listing, Page, Request, SyncRequest, Tail};

/// Commands in one run.
const COMMANDS: usize = 150;
/// Chats in one run.
const CHATS: usize = 3;

/// Rows of a chat that may be known.
const KNOWN_MAX: usize = 6;

/// So many runs meet everything. Fewer may not, where a lease runs out by a real clock.
const RUNS_ENOUGH: u64 = 20;
/// What random commands have to meet: otherwise the agreement says little.
const MET: [&str; 34] = [
    // Commands that changed a chat.
    "acquire",
    "begin_attempt",
    "commit_results",
    "commit_step",
    "create",
    "delete",
    "delete_queued",
    "edit",
    "expire",
    "fail",
    "finish_interruption",
    "finish_turn",
    "interrupt",
    "promote",
    "record_retry",
    "regenerate",
    "release",
    "send",
    "share",
    "tool_results",
    "unshare",
    // Other answers.
    "which did not match",
    "which was rejected",
    "which was replayed",
    "which was unchanged",
    // What somebody got who had read before.
    "who had all",
    "who had another history",
    "who had part of it",
    "who had too little",
    // What somebody knew who changed a chat.
    "who knew a row of the past",
    "who knew no row",
    "who knew the row",
    // What else somebody got who had read before.
    "whose chat was gone",
    "whose page was cut",
];

/// Runs of several seeds. Enough of them meet everything that is to be compared.
pub async fn random_commands_agree_with_the_machine(subject: &Subject, seeds: u64) {
    let mut met = BTreeSet::new();
    for seed in 0..seeds {
        run(subject, seed, &mut met).await;
    }
    assert!(seeds < RUNS_ENOUGH || met.iter().eq(&MET), "of {MET:?} random commands met only {met:?}");
}

async fn run(subject: &Subject, seed: u64, met: &mut BTreeSet<&'static str>) {
    let (mut dice, mut known) = (Dice(seed), Known::new(seed));
    let mut reference = Reference::new(subject);
    let chats: Vec<_> = (0..CHATS).map(|_| subject.fresh_id()).collect();
    let mut requests = Vec::new();
    let mut cached: Option<(ChatId, CachedVersions)> = None;
    for step in 0..COMMANDS {
        let chat = chats[dice.below(CHATS)];
        let mut request = match dice.below(12) {
            0 if !requests.is_empty() => {
                let again: &Request = &requests[dice.below(requests.len())];
                again.clone()
            }
            _ => {
                Request { chat, command: draw(&mut dice, &reference, chat), by: None, idempotency_key: None }
            }
        };
        if request.idempotency_key.is_some() {
            let body = u8::from(dice.below(4) == 0);
            request.idempotency_key =
                request.idempotency_key.map(|kept| idempotency_key(&kept.caller, &kept.key, body));
        } else {
            request.by =
                [None, Some("ada".into()), Some("grace".into())][dice.below(3).min(dice.below(3))].clone();
            if dice.below(4) == 0 {
                request.idempotency_key = Some(idempotency_key("ada", &format!("{seed}.{step}"), 0));
                requests.push(request.clone());
            }
        }
        let row = known.row(request.chat);
        let of = row.as_ref().map(|row| row.snapshot_version);
        let is_present = of == reference.state(request.chat).map(|state| state.snapshot_version);
        let Applied { answer, effect } = reference.apply_knowing(subject, &request, row).await;
        if let Effect::Changed(change) = &effect {
            known.note(change);
            met.insert(match of {
                None => "who knew no row",
                Some(_) if is_present => "who knew the row",
                Some(_) => "who knew a row of the past",
            });
        }
        met.insert(match (effect, answer) {
            (Effect::Changed(_), _) => request.command.name(),
            (Effect::Replayed, _) => "which was replayed",
            (Effect::Unchanged, Ok(_)) => "which was unchanged",
            (Effect::Unchanged, Err(Rejection::KeyReused)) => "which did not match",
            (Effect::Unchanged, Err(_)) => "which was rejected",
        });

        if let Some((chat, cached)) = cached {
            let tail =
                reference.check_snapshot(subject, chat, Some(cached)).await.map(|snapshot| snapshot.tail);
            met.insert(match &tail {
                None => "whose chat was gone",
                Some(Tail::After(messages)) if messages.is_empty() => "who had all",
                Some(Tail::After(_)) => "who had part of it",
                Some(Tail::Newest { from_start: false, .. }) => "who had too little",
                Some(Tail::Newest { .. }) => "who had another history",
            });
        }
        if dice.below(5) == 0 {
            cached = reference.cached(chat).map(|cached| (chat, cached));
        }
        if check_page(subject, &mut dice, &reference, chat).await.is_some_and(|page| page.more) {
            met.insert("whose page was cut");
        }
    }
    check_everything(subject, &reference, &chats).await;
}

/// The rows of chats, as somebody may know them.
struct Known {
    dice: Dice,
    rows: BTreeMap<ChatId, VecDeque<Arc<ChatState>>>,
}

impl Known {
    fn new(seed: u64) -> Self {
        Self { dice: Dice(!seed), rows: BTreeMap::new() }
    }

    /// The present one, one of the past, or none.
    fn row(&mut self, chat: ChatId) -> Option<Arc<ChatState>> {
        let rows = self.rows.get(&chat).filter(|rows| !rows.is_empty())?;
        match self.dice.below(3) {
            0 => None,
            1 => rows.back().cloned(),
            _ => rows.get(self.dice.below(rows.len())).cloned(),
        }
    }

    /// No id is given to a second chat outside of tests, so of one that is gone nothing is known.
    fn note(&mut self, change: &Change) {
        let rows = self.rows.entry(change.state.id).or_default();
        rows.push_back(change.state.clone());
        if rows.len() > KNOWN_MAX {
            rows.pop_front();
        }
        if change.deleted {
            rows.clear();
        }
    }
}

async fn check_page(subject: &Subject, dice: &mut Dice, reference: &Reference, chat: ChatId) -> Option<Page> {
    let state = reference.state(chat)?;
    let id = |dice: &mut Dice| MessageId(dice.below(state.last_id.0 as usize + 2) as u64);
    let (after, until) = (id(dice), (dice.below(2) == 0).then(|| id(dice)));
    let limit = 1 + dice.below(limits::PAGE_MESSAGES_MAX + 5);
    reference.check_page(subject, chat, after, until, limit).await
}

async fn check_everything(subject: &Subject, reference: &Reference, chats: &[ChatId]) {
    let asked = SyncRequest { chats: chats.to_vec(), runnable_max: 10_000 };
    let report = subject.store.sync(&asked).await.expect("the store answers");
    let mut versions = report.versions;
    versions.sort();
    let expected = reference.rows.rows().map(|(chat, here)| (chat, here.state.snapshot_version));
    assert_eq!(versions, expected.collect::<Vec<_>>(), "L1: what exists, and its versions");
    for (user, listing) in ["ada", "grace", "hopper"]
        .into_iter()
        .flat_map(|user| [(user, Listing::Own), (user, Listing::Shared)])
    {
        let mine = |listed: Listed| -> Vec<_> {
            listed.chats.into_iter().filter(|listed| chats.contains(&listed.id)).collect()
        };
        let listed = subject.store.list(user, listing, None, limits::PAGE_MESSAGES_MAX).await;
        let expected = reference.rows.list(user, listing, None, limits::PAGE_MESSAGES_MAX);
        assert_eq!(mine(listed.expect("the store answers")), mine(expected), "S10: {listing:?} of {user}");
    }
    for (chat, here) in reference.rows.rows() {
        let runnable = here.state.status.is_runnable();
        let free = runnable && here.state.worker.is_none();
        let reported = report.runnable.contains(&(chat, here.state.status));
        assert!(!free || reported, "L3: {:?} is free and not reported", here.state);
        assert!(!reported || runnable, "L3: {:?} is not runnable", here.state);
    }
}

/// Draws a command, mostly one that is accepted in the current state.
fn draw(dice: &mut Dice, reference: &Reference, chat: ChatId) -> Command {
    let Some(state) = reference.state(chat) else {
        let content = (dice.below(3) > 0).then(|| content(dice));
        let model = (dice.below(2) == 0).then(|| "model".into());
        // One name for all chats that are there, of which the first has it.
        let first = reference.rows.rows().next().map_or(chat, |(chat, _)| chat);
        let external_id = (dice.below(2) == 0).then(|| first.to_string().into());
        let title = Some("title".into());
        let settings = Settings { external_id, title, model, ..Settings::default() };
        let messages = match dice.below(3) {
            0 => said_elsewhere(dice),
            _ => NewMessage::opening(content),
        };
        return Command::Create { chat, owner: "ada".into(), settings, messages };
    };
    let fence = draw_fence(dice, fence(state));
    let error = RunError { code: "overloaded".into(), message: format!("{} in front", dice.below(9)).into() };
    let queued = match state.queue.len() {
        0 => MessageId(dice.below(9) as u64),
        length => state.queue[dice.below(length)].id,
    };
    let user: Arc<str> = ["ada", "grace", "hopper"][dice.below(3)].into();
    match dice.below(41) {
        33..37 => {
            let may = [Access::Read, Access::Write][dice.below(2)];
            Command::Share { user, may }
        }
        37..39 => Command::Unshare { user },
        26..28 => {
            let message = match dice.below(3) {
                0 => None,
                _ => Some(MessageId(1 + dice.below(state.last_id.0 as usize + 1) as u64)),
            };
            let mode = [SendMode::Queue, SendMode::Interrupt, SendMode::Reject][dice.below(3)];
            Command::Regenerate { message, mode }
        }
        0..4 => {
            let mode = [SendMode::Queue, SendMode::Interrupt, SendMode::Reject][dice.below(3)];
            let client_id = (dice.below(2) == 0).then(|| format!("m{}", dice.below(6)).into());
            Command::Send { content: content(dice), mode, queue_max: 4, client_id }
        }
        4 => {
            let message = MessageId(1 + dice.below(state.last_id.0 as usize + 1) as u64);
            Command::Edit { message, content: content(dice) }
        }
        20..23 => Command::ToolResults { results: results(dice, state, OpenCall::waits_for_client) },
        23..26 => Command::CommitResults { fence, results: results(dice, state, OpenCall::waits_for_server) },
        5 => Command::Interrupt { episode: (dice.below(2) == 0).then_some(fence.episode) },
        6 => Command::DeleteQueued { queued },
        7 => Command::Promote { queued },
        8 if state.snapshot_version.0.is_multiple_of(2) => Command::Delete,
        8 => Command::Expire { idle_ms: 0 },
        9..12 => Command::Acquire {
            replica: replica(["a", "b"][dice.below(2)]),
            interrupting_only: dice.below(4) == 0,
        },
        12 => Command::Release { replica: fence.replica, lease: fence.lease },
        13..15 => Command::BeginAttempt { fence },
        15 => Command::RecordRetry { fence, delay_ms: dice.below(5000) as u64, error },
        16 | 28..33 => {
            let result = |dice: &mut Dice| (dice.below(2) == 0).then(|| CallResult::error("none"));
            let call = |at: usize, carrier, result| OpenCall {
                id: format!("c{at}").into(),
                name: "find".into(),
                input: "{}".into(),
                carrier,
                result,
            };
            let carriers = [Carrier::Client, Carrier::Server, Carrier::ServerAgain];
            let calls =
                (0..dice.below(4)).map(|at| call(at, carriers[dice.below(3)], result(dice))).collect();
            // It fills a tail alone, and its results come with it.
            let answer = match dice.below(4) {
                0 => Content::text(&"x".repeat(limits::TAIL_BYTES_MAX)),
                _ => content(dice),
            };
            Command::CommitStep { fence, answer, completion: completion(dice), calls }
        }
        17 => {
            let answer = (dice.below(4) > 0).then(|| content(dice));
            Command::FinishTurn { fence, answer, completion: completion(dice) }
        }
        18..20 => Command::FinishInterruption { fence, partial: (dice.below(3) > 0).then(|| content(dice)) },
        _ => Command::Fail { fence, partial: (dice.below(2) == 0).then(|| content(dice)), error },
    }
}

/// Results of the open calls that wait for one of these, mostly.
fn results(
    dice: &mut Dice,
    state: &ChatState,
    waits: impl Fn(&OpenCall) -> bool,
) -> Vec<(Arc<str>, CallResult)> {
    let open: Vec<_> = state.calls.iter().filter(|call| waits(call)).collect();
    let id = |at: usize| open.get(at).map_or("none".into(), |call| call.id.clone());
    let result = CallResult { content: "\"done\"".into(), is_error: false };
    (0..=dice.below(2)).map(|at| (id(at), result.clone())).collect()
}

/// What a chat is created with: each name once.
fn said_elsewhere(dice: &mut Dice) -> Vec<NewMessage> {
    let roles = [Role::User, Role::Assistant, Role::System];
    let message = |at: usize| NewMessage {
        role: roles[dice.below(3)],
        content: content(dice),
        client_id: (dice.below(2) == 0).then(|| format!("m{at}").into()),
    };
    (0..5).map(message).collect()
}

fn draw_fence(dice: &mut Dice, fence: Fence) -> Fence {
    match dice.below(16) {
        0 => Fence { lease: Lease(fence.lease.0 + 1), ..fence },
        1 => Fence { replica: replica("b"), ..fence },
        2 => {
            let history_version = Version(fence.episode.history_version.0.saturating_sub(1));
            Fence { episode: Episode { history_version, ..fence.episode }, ..fence }
        }
        3 => Fence { episode: Episode { attempt: fence.episode.attempt + 1, ..fence.episode }, ..fence },
        _ => fence,
    }
}

fn completion(dice: &mut Dice) -> Completion {
    let usage = Usage { input_tokens: dice.below(1 << 20) as u64, output_tokens: dice.below(3) as u64 };
    Completion {
        finish_reason: FinishReason::ALL.get(dice.below(5)).copied(),
        usage: (dice.below(2) == 0).then_some(usage),
    }
}

fn content(dice: &mut Dice) -> Content {
    let length = match dice.below(24) {
        0 => limits::TAIL_BYTES_MAX / 3,
        1 => limits::PAGE_BYTES_MAX / 2,
        _ => dice.below(40),
    };
    Content::text(&["x", "☃", "\"", "\n"][dice.below(4)].repeat(1 + length / 3))
}

/// Numbers from a seed: Sebastiano Vigna's splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
