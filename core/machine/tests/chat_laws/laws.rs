//! The laws that every single change has to obey: versions, ids, leases, attempts, fences.

use std::collections::BTreeSet;

use mainstem_machine::{
    Accepted, Applied, Carrier, Change, ChatState, Command, Completion, Effect, LeaseTerm, Message,
    MessageId, NextRow, OpenCall, Rejection, Role, SendMode, Share, Status, StoreFacts,
};

use super::model::{Ask, Text};
use super::world::{World, says};

/// One request and its outcome.
pub(crate) struct Step<'a> {
    pub(crate) before: Option<&'a ChatState>,
    pub(crate) command: &'a Command,
    pub(crate) facts: &'a StoreFacts,
    pub(crate) applied: &'a Applied,
}

pub(crate) fn every_step(step: &Step<'_>) {
    match (step.before, &step.applied.answer, &step.applied.effect) {
        (_, Err(rejection), Effect::Unchanged) => rejections_are_of_the_right_kind(step, *rejection),
        (Some(before), Ok(accepted), Effect::Unchanged) => {
            let is_so_already = match step.command {
                Command::Interrupt { .. } => before.status == Status::Interrupting,
                Command::Share { user, may } => {
                    before.shares.contains(&Share { user: user.clone(), may: *may })
                }
                Command::Unshare { user } => before.shares.iter().all(|share| share.user != *user),
                _ => false,
            };
            assert!(is_so_already, "{} changes nothing", step.command.name());
            let chat = Accepted::Chat(before.clone().into());
            assert!(
                *accepted == chat
                    || matches!((step.command, accepted), (Command::Unshare { .. }, Accepted::Gone))
            );
        }
        (None, Ok(accepted), Effect::Changed(change)) => {
            assert!(matches!(step.command, Command::Create { .. }));
            assert_eq!(change.state.snapshot_version.0, 1, "a chat begins with its first change");
            who_asked_is_answered(step.command, accepted, change);
            state_is_sound(&change.state);
        }
        (Some(before), Ok(accepted), Effect::Changed(change)) => {
            versions_count_changes(step.facts, before, change);
            what_was_queued_says_what_it_said(before, change);
            what_leaves_the_queue_is_known_by_its_id(step, accepted, before, change);
            leases_count_acquisitions(step.command, before, change);
            attempts_belong_to_a_history(step.command, before, change);
            writes_are_fenced(step, before);
            interrupts_hit_what_they_name(step, before, change);
            a_partial_stands_before_what_interrupted_it(step.command, change);
            shares_change_one_by_one(step.command, before, change);
            what_is_told_of_a_row_is_all_of_it(before, change);
            who_asked_is_answered(step.command, accepted, change);
            state_is_sound(&change.state);
        }
        (_, answer, effect) => panic!("{effect:?} is not an effect of what is answered by {answer:?}"),
    }
}

fn rejections_are_of_the_right_kind(step: &Step<'_>, rejection: Rejection) {
    let is_user = step.command.fence().is_none()
        && !matches!(step.command, Command::Acquire { .. } | Command::Release { .. });
    assert_ne!(rejection, Rejection::KeyReused, "S6: that is for the store to say");
    if is_user {
        assert!(!matches!(rejection, Rejection::Fenced | Rejection::NotFree), "{rejection:?}");
    } else if step.before.is_some() {
        let is_of_results = matches!(step.command, Command::CommitResults { .. });
        let is_right = match rejection {
            Rejection::NotPending => is_of_results,
            rejection => matches!(rejection, Rejection::Fenced | Rejection::NotFree),
        };
        assert!(is_right, "{rejection:?}");
    }
}

fn versions_count_changes(facts: &StoreFacts, before: &ChatState, change: &Change) {
    let after = &change.state;
    assert_eq!(after.snapshot_version, before.snapshot_version.next(), "each change is one version");
    let now = after.snapshot_version;
    let expected = |moved: bool, before| if moved { now } else { before };
    let history_moved = change.cut_from.is_some() || !change.inserted.is_empty();
    assert_eq!(after.history_version, expected(history_moved, before.history_version), "history_version");
    assert_eq!(after.queue_version, expected(change.queue_changed, before.queue_version), "queue_version");
    assert_eq!(
        after.reset_version,
        expected(change.cut_from.is_some(), before.reset_version),
        "reset_version"
    );
    assert!(change.queue_changed || after.queue == before.queue, "a queue that changes says so");
    assert_eq!(after.updated_at, facts.now, "a change is dated by the database");
    for message in &change.inserted {
        assert_eq!(message.revision, now, "a message tells the change that committed it");
    }
    assert_eq!((after.id, &after.owner, after.created_at), (before.id, &before.owner, before.created_at));
}

/// Whoever has the row before has the row after with it, also when it was written and read on the way. It is told wherever
/// nothing else changed.
fn what_is_told_of_a_row_is_all_of_it(before: &ChatState, change: &Change) {
    let after = &*change.state;
    if let Some(next) = &change.next_row {
        let json = serde_json::to_string(next).expect("it is written");
        let read: NextRow = serde_json::from_str(&json).expect("it is read");
        assert_eq!(read.after(before), *after, "S1, S3: {json}");
        let others =
            [change.deleted, change.queue_changed, change.shares_changed, !change.inserted.is_empty()];
        assert!(!others.contains(&true) && change.cut_from.is_none(), "S1, S10: {json}");
    }
    let as_before = ChatState {
        snapshot_version: before.snapshot_version,
        status: before.status,
        worker: before.worker.clone(),
        lease: before.lease,
        attempt_lease: before.attempt_lease,
        attempt: before.attempt,
        retry: before.retry.clone(),
        updated_at: before.updated_at,
        ..after.clone()
    };
    let is_of_row = as_before == *before && !change.deleted;
    if is_of_row && (after.retry.is_none() || after.retry == before.retry) {
        assert!(change.next_row.is_some(), "L4: nobody need read what became of {before:?}");
    }
}

/// Nothing else changes with whom a chat is shared, and the lists of what is shared change with it.
fn shares_change_one_by_one(command: &Command, before: &ChatState, change: &Change) {
    let (old, new) = (&before.shares, &change.state.shares);
    assert_eq!(change.shares_changed, old != new, "S10: what is written is what has changed");
    let users = |shares: &[Share]| -> BTreeSet<_> { shares.iter().map(|share| share.user.clone()).collect() };
    let (had, have) = (users(old), users(new));
    assert_eq!(change.listed.iter().cloned().collect::<BTreeSet<_>>(), &have - &had, "S10");
    assert_eq!(change.unlisted.iter().cloned().collect::<BTreeSet<_>>(), &had - &have, "S10");
    let asked = match command {
        Command::Share { user, .. } | Command::Unshare { user } => Some(user),
        _ => None,
    };
    let others = |shares: &[Share]| -> Vec<_> {
        shares.iter().filter(|share| Some(&share.user) != asked).cloned().collect()
    };
    assert_eq!(others(old), others(new), "S10: nobody else gains or loses anything");
    assert!(asked.is_some() != (old == new), "S10: {} and shares", command.name());
    assert!(new.is_sorted_by(|a, b| a.user < b.user), "S10: each user once, in order");
}

fn what_was_queued_says_what_it_said(before: &ChatState, change: &Change) {
    for message in &change.inserted {
        let was = before.queue.iter().find(|queued| Some(queued.id) == message.queued_as);
        // A message may pass through the queue within one change: then its id in the queue is new as well.
        let is_new = message.queued_as.is_none_or(|id| id > before.last_id);
        assert!(was.map_or(is_new, |was| was.content == message.content), "S6: promoted as it was queued");
        assert!(message.queued_as.is_none() || message.role == Role::User);
    }
}

fn what_leaves_the_queue_is_known_by_its_id(
    step: &Step<'_>,
    accepted: &Accepted,
    before: &ChatState,
    change: &Change,
) {
    let mut left: BTreeSet<MessageId> = before.queue.iter().map(|queued| queued.id).collect();
    if let Accepted::Sent { queued: Some(queued), .. } = accepted {
        left.insert(queued.id);
    }
    for queued in &change.state.queue {
        left.remove(&queued.id);
    }
    let came: BTreeSet<MessageId> = change.inserted.iter().filter_map(|message| message.queued_as).collect();
    match step.command {
        Command::Edit { .. } | Command::Delete | Command::Expire { .. } => {
            assert!(came.is_empty(), "S6: what is cut off is gone")
        }
        Command::Regenerate { .. } => {
            assert_eq!((came.len(), left.len()), (0, 0), "S6: what waits goes on waiting");
        }
        Command::DeleteQueued { queued } => assert_eq!((came.len(), left), (0, [*queued].into()), "S6"),
        _ => assert_eq!(came, left, "S6: what leaves the queue is in the history, under the id it had"),
    }
}

fn leases_count_acquisitions(command: &Command, before: &ChatState, change: &Change) {
    let after = &change.state;
    if let Command::Acquire { replica, .. } = command {
        assert_eq!(after.lease, before.lease.next(), "S5: an acquisition is a lease of its own");
        assert_eq!(after.worker.as_ref(), Some(replica));
        assert_eq!(change.lease, LeaseTerm::Start);
        let live = after.live_episode();
        let goes_on = before.live_episode().is_some_and(|(old, _)| live.is_some_and(|(new, _)| old == new));
        assert!(!goes_on, "S3: an acquisition ends the old worker's episode");
        return;
    }
    assert_eq!(after.lease, before.lease, "S5: only an acquisition makes a lease");
    assert_ne!(change.lease, LeaseTerm::Start);
    match (&before.worker, &after.worker) {
        (Some(_), None) => assert_eq!(change.lease, LeaseTerm::End, "what is released has no term"),
        (before, after) => assert_eq!(before, after, "S5: nobody holds a chat that did not acquire it"),
    }
    assert!(change.lease == LeaseTerm::Keep || after.worker.is_none());
}

fn attempts_belong_to_a_history(command: &Command, before: &ChatState, change: &Change) {
    let after = &change.state;
    let brings_last = matches!(command, Command::CommitResults { .. }) && after.calls.is_empty();
    let takes_up = matches!(command, Command::Acquire { .. })
        && before.status == Status::Running
        && before.calls.is_empty()
        && before.retry.is_none();
    if brings_last || takes_up || matches!(command, Command::BeginAttempt { .. }) {
        let attempts = if brings_last { 0 } else { before.attempt };
        assert_eq!(after.attempt, attempts + 1, "S3: each start is an episode of its own");
        assert_eq!((after.attempt_lease, &after.retry), (Some(after.lease), &None));
        assert_eq!(after.live_episode(), Some((after.present_episode(), after.lease)), "what began is live");
        return;
    }
    let moved = after.history_version != before.history_version;
    assert_eq!(after.attempt, if moved { 0 } else { before.attempt }, "attempts count under one history");
    assert!(
        after.attempt_lease.is_none() || after.attempt_lease == before.attempt_lease,
        "only a beginning begins"
    );
    let ends = match command {
        Command::Release { .. }
        | Command::Edit { .. }
        | Command::Regenerate { .. }
        | Command::Fail { .. }
        | Command::RecordRetry { .. }
        | Command::CommitStep { .. }
        | Command::CommitResults { .. }
        | Command::FinishTurn { .. }
        | Command::FinishInterruption { .. } => true,
        // There is no worker that could finish it.
        Command::Interrupt { .. } => before.worker.is_none(),
        _ => moved,
    };
    if ends {
        assert_eq!(after.attempt_lease, None, "S3: {} ends the episode", command.name());
        assert_eq!(after.live_episode(), None);
    }
    if moved {
        let kept = (&after.retry, &after.error, after.status);
        assert!(
            matches!(kept, (None, None, _) | (None, Some(_), Status::Error)),
            "S9: nothing of a run is left behind it: {kept:?}"
        );
    }
    if let (false, Some((episode, lease))) = (before.live_episode().is_none(), after.live_episode()) {
        assert_eq!(before.live_episode(), Some((episode, lease)), "S3: an episode is named by its beginning");
    }
}

fn writes_are_fenced(step: &Step<'_>, before: &ChatState) {
    if let Command::Release { replica, lease } = step.command {
        assert!(before.is_held_by(replica, *lease), "S5: only the owner releases");
    }
    let Some(fence) = step.command.fence() else { return };
    assert!(before.is_held_by(&fence.replica, fence.lease), "S5: only the owner writes");
    assert_eq!(before.present_episode(), fence.episode, "S5: a write is about the present");
    let wanted = match step.command {
        Command::FinishInterruption { .. } => Status::Interrupting,
        _ => Status::Running,
    };
    assert_eq!(before.status, wanted, "S5: {} comes in its place", step.command.name());
}

fn interrupts_hit_what_they_name(step: &Step<'_>, before: &ChatState, change: &Change) {
    let after = &change.state;
    if let Command::Interrupt { episode } = step.command {
        assert!(episode.is_none_or(|named| named == before.present_episode()), "S7: never another's");
        assert!(matches!(before.status, Status::Running | Status::RequiresAction));
        let waits = after.status == Status::Interrupting;
        assert_eq!(waits, before.worker.is_some(), "L2: what nobody owns does not wait for an owner");
    }
    if after.status == Status::Interrupting && before.status != Status::Interrupting {
        assert_eq!(before.status, Status::Running, "S7: only what runs is interrupted");
        let asked = matches!(
            step.command,
            Command::Interrupt { .. }
                | Command::Promote { .. }
                | Command::Send { mode: SendMode::Interrupt, .. }
        );
        assert!(asked, "S7: {} interrupts nothing", step.command.name());
        assert_eq!(
            after.live_episode(),
            before.live_episode(),
            "S4: what is interrupted is still to be saved"
        );
        let results = change.inserted.iter().filter(|message| message.role == Role::Tool).count();
        assert_eq!(change.inserted.len(), results, "S8: nothing comes before the partial");
        assert_eq!(
            results == 1,
            !before.calls.is_empty(),
            "S11: an interrupt answers the calls that are open"
        );
    }
    if before.status == Status::Interrupting && after.status != Status::Interrupting {
        let ends = matches!(
            step.command,
            Command::FinishInterruption { .. } | Command::Edit { .. } | Command::Regenerate { .. }
        );
        assert!(ends, "S7: an interruption is finished, {} does not do it", step.command.name());
    }
}

fn a_partial_stands_before_what_interrupted_it(command: &Command, change: &Change) {
    let generated: Vec<&Message> =
        change.inserted.iter().filter(|message| message.episode.is_some()).collect();
    for message in &generated {
        let fence = command.fence().expect("S5: only a worker commits an answer");
        assert_eq!(message.episode, Some(fence.episode), "S4: an answer names the run it came of");
        let cut = matches!(command, Command::FinishInterruption { .. } | Command::Fail { .. });
        assert_eq!(message.interrupted, cut, "S4: what was cut short is marked, and nothing else");
        let told = Completion { finish_reason: message.finish_reason, usage: message.usage };
        let said = match command {
            Command::FinishTurn { completion, .. } | Command::CommitStep { completion, .. } => *completion,
            _ => Completion::default(),
        };
        assert_eq!(told, said, "S1: a complete answer tells how it ended, and as its model said");
    }
    assert!(
        change.inserted.iter().skip(generated.len()).all(|message| message.episode.is_none()),
        "S8: an answer stands before the message that comes next"
    );
    for role in [Role::User, Role::Tool] {
        assert!(change.inserted.iter().filter(|message| message.role == role).count() <= 1);
    }
}

fn who_asked_is_answered(command: &Command, accepted: &Accepted, change: &Change) {
    match (accepted, command) {
        (
            Accepted::Sent { message, queued, snapshot_version },
            Command::Send { content, .. } | Command::Edit { content, .. },
        ) => {
            assert_eq!(*snapshot_version, change.state.snapshot_version);
            assert!(message.is_some() != queued.is_some(), "one of the two");
            if let Some(message) = message {
                assert!(change.inserted.contains(message), "S6: what is answered is kept");
                assert_eq!(&message.content, content);
            }
            if let Some(queued) = queued {
                let kept = change.state.queue.contains(queued)
                    || change.inserted.iter().any(|message| message.queued_as == Some(queued.id));
                assert!(kept, "S6: what is answered is kept");
                assert_eq!(&queued.content, content);
            }
        }
        (Accepted::Gone, Command::Delete | Command::Expire { .. }) => assert!(change.deleted),
        (Accepted::Gone, Command::DeleteQueued { .. } | Command::Unshare { .. }) => {}
        (Accepted::Chat(chat), _) => assert_eq!(chat, &change.state, "the chat as it is now"),
        (accepted, command) => panic!("{} is answered by {accepted:?}", command.name()),
    }
    assert_eq!(change.deleted, matches!(command, Command::Delete | Command::Expire { .. }));
}

fn state_is_sound(state: &ChatState) {
    if !state.status.is_runnable() {
        assert_eq!((&state.worker, state.attempt_lease), (&None, None), "what does not run is nobody's");
        assert_eq!(state.retry, None, "S9: nothing is tried again that does not run");
        assert_eq!(state.live_episode(), None);
    }
    let [for_client, for_server] = [OpenCall::waits_for_client, OpenCall::waits_for_server];
    let [for_client, for_server] = [for_client, for_server].map(|waits| state.calls.iter().any(waits));
    match state.status {
        Status::RequiresAction => assert!(for_client && !for_server, "S11: it waits for the client alone"),
        Status::Running => {
            // An acquisition leaves it to the worker to go on from what is lost.
            let is_lost = |call: &OpenCall| call.carrier == Carrier::Server;
            let goes_on = for_server || state.calls.iter().any(is_lost);
            assert!(state.calls.is_empty() || goes_on, "S11: with the last result all are in the history");
        }
        _ => assert_eq!(state.calls[..], [], "S11: nobody waits for calls of what does not run"),
    }
    if state.status == Status::Waiting {
        assert!(state.queue.is_empty(), "S6: nothing waits behind nothing");
    }
    assert_eq!(state.error.is_some(), state.status == Status::Error, "S9: an error is told while it lasts");
    let versions = [state.history_version, state.queue_version, state.reset_version];
    assert!(versions.iter().all(|version| *version <= state.snapshot_version));
    assert!(state.reset_version <= state.history_version, "a cut is a change of history");
    assert!(state.last_message <= state.last_id);
    assert!(state.attempt_lease.is_none_or(|attempt_lease| attempt_lease <= state.lease));
}

/// The accepted sends that have to be in the chat, until a user deletes them or cuts them off (S6).
#[derive(Debug, Default)]
pub(crate) struct Intents(BTreeSet<Text>);

impl Intents {
    /// Updates them after an accepted request. `before` is the world before it.
    pub(crate) fn note(&mut self, ask: &Ask, before: &World) {
        match ask {
            Ask::Create(lines) => {
                self.0 = lines.iter().filter(|(is_user, _)| *is_user).map(|(_, text)| *text).collect();
            }
            Ask::Send { text, .. } => {
                self.0.insert(*text);
            }
            Ask::Edit { old, text } => {
                let cut = before.messages.iter().map(|message| says(&message.content));
                let cut = cut.skip_while(|text| Some(*text) != *old);
                let queued = before.state.iter().flat_map(|state| &state.queue);
                for gone in cut.chain(queued.map(|queued| says(&queued.content))) {
                    self.0.remove(&gone);
                }
                self.0.insert(*text);
            }
            Ask::Regenerate { old, .. } => {
                let history = before.messages.iter().map(|message| says(&message.content));
                for gone in history.skip_while(|text| Some(*text) != *old).skip(1) {
                    self.0.remove(&gone);
                }
            }
            Ask::DeleteQueued(Some(text)) => {
                self.0.remove(text);
            }
            Ask::Delete | Ask::Expire { .. } => self.0.clear(),
            _ => {}
        }
    }

    pub(crate) fn assert_kept(&self, world: &World) {
        let said = world.messages.iter().filter(|message| message.role == Role::User);
        let said = said.map(|message| says(&message.content));
        let queued = world.state.iter().flat_map(|state| &state.queue).map(|queued| says(&queued.content));
        let mut kept: Vec<Text> = said.chain(queued).collect();
        kept.sort_unstable();
        assert_eq!(kept, self.0.iter().copied().collect::<Vec<_>>(), "S6: each send is kept exactly once");
    }
}
