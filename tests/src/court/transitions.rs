//! The command behind a commit. A database keeps what a command did and not the command: it is the one that leads from
//! the row before to the row after, by the transitions of a chat. A commit that none leads to is no commit of Mainstem.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::{
    Accepted, ChatState, Command, Completion, Content, Fence, Found, Message, MessageId, NewMessage,
    NewSettings, OpenCall, ReplicaId, Role, SendMode, Settings, Sought, StoreFacts, Turn,
};

/// Messages that may wait: more than any test lets wait.
const QUEUE_MAX: usize = usize::MAX;

/// What one transaction did to a chat.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) before: Option<&'a ChatState>,
    /// `None`: the chat was deleted.
    pub(super) after: Option<&'a ChatState>,
    /// The first message that went.
    pub(super) cut_from: Option<MessageId>,
    pub(super) inserted: &'a [Message],
    pub(super) ended: &'a [Turn],
    /// The replica whose connection it was.
    pub(super) by: &'a ReplicaId,
}

/// What a command leads to.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) accepted: Accepted,
    /// The state after it: of a chat that is deleted, its last one.
    pub(super) state: Arc<ChatState>,
    /// Where it cut the history, whether there was anything behind or not.
    pub(super) cut_from: Option<MessageId>,
}

impl Step<'_> {
    /// The command that did this, and what it leads to.
    pub(super) fn explain(&self) -> Option<(Command, Explained)> {
        self.candidates().into_iter().find_map(|command| {
            let explained = self.leads_here(&command)?;
            Some((self.as_sent(command), explained))
        })
    }

    fn leads_here(&self, command: &Command) -> Option<Explained> {
        let at = self.after.or(self.before)?.updated_at;
        let turn = self.after.and_then(|after| after.turn.as_ref());
        let found = match command.sought() {
            Some(Sought::Message(id)) => {
                let queued_as = turn.filter(|turn| turn.message == id).map(|turn| turn.id);
                Some(Found { id, role: Role::User, queued_as })
            }
            _ => None,
        };
        let facts = StoreFacts { now: at, lease_expired: true, found, known: None };
        let applied = command.apply_to(self.before, None, &facts);
        let change = applied.change()?;
        let same_cut = match command {
            // There need not be anything behind it.
            Command::Regenerate { .. } => {
                self.cut_from.is_none_or(|gone| change.cut_from.is_some_and(|from| from <= gone))
            }
            _ => change.cut_from == self.cut_from,
        };
        let same_rows = same_cut && change.inserted == self.inserted && change.ended == self.ended;
        let here = match self.after {
            Some(after) => same_rows && !change.deleted && *change.state == *after,
            None => change.deleted,
        };
        let (state, cut_from) = (change.state.clone(), change.cut_from);
        here.then(|| Some(Explained { accepted: applied.answer.clone().ok()?, state, cut_from }))?
    }

    /// Whoever holds the chat, it was sent in the name of the replica whose connection it was.
    fn as_sent(&self, mut command: Command) -> Command {
        match &mut command {
            Command::Release { replica, .. } => replica.clone_from(self.by),
            Command::BeginAttempt { fence }
            | Command::RecordRetry { fence, .. }
            | Command::CommitStep { fence, .. }
            | Command::CommitResults { fence, .. }
            | Command::FinishTurn { fence, .. }
            | Command::FinishInterruption { fence, .. }
            | Command::Fail { fence, .. } => fence.replica.clone_from(self.by),
            _ => {}
        }
        command
    }

    fn candidates(&self) -> Vec<Command> {
        let new = self.inserted.last();
        let Some(before) = self.before else {
            let Some(state) = self.after else { return vec![] };
            let owner = state.owner.clone();
            let settings = Settings {
                external_id: state.external_id.clone(),
                title: state.title.clone(),
                model: state.model.clone(),
                instructions: state.instructions.clone(),
                tools: state.tools.clone(),
            };
            let message = |message: &Message| NewMessage {
                role: message.role,
                content: message.content.clone(),
                client_id: message.client_id.clone(),
            };
            let messages = self.inserted.iter().map(message).collect();
            return vec![Command::Create { chat: state.id, owner, settings, messages }];
        };
        let Some(after) = self.after else { return vec![Command::Delete] };
        if let (Some(message), Some(new)) = (self.cut_from, new) {
            return vec![Command::Edit { message, content: new.content.clone() }];
        }
        if after.reset_version != before.reset_version {
            let message = after.turn.as_ref().map(|turn| turn.message);
            // Whoever asked for it had to, where the chat was busy.
            let mode = if before.status.is_busy() { SendMode::Interrupt } else { SendMode::Queue };
            return vec![Command::Regenerate { message, mode }];
        }
        let replica = after.worker.clone().unwrap_or_else(|| self.by.clone());
        let mut candidates = vec![Command::Acquire { replica, interrupting_only: false }];
        candidates.extend(self.of_the_worker(before, after));
        candidates.extend(self.of_users(before, after));
        candidates
    }

    fn of_the_worker(&self, before: &ChatState, after: &ChatState) -> Vec<Command> {
        let Some(replica) = before.worker.clone() else { return vec![] };
        let (lease, episode) = (before.lease, before.present_episode());
        let fence = Fence { replica: replica.clone(), lease, episode };
        let fence = || fence.clone();
        let generated: Vec<_> = self.inserted.iter().filter(|message| message.episode.is_some()).collect();
        let answer = generated.first().map(|message| message.content.clone());
        // What a model said of an answer that has nothing is with the turn.
        let ended = self.ended.first().map(|turn| (turn.finish_reason, turn.usage));
        let told = generated.first().map(|message| (message.finish_reason, message.usage)).or(ended);
        let (finish_reason, usage) = told.unwrap_or_default();
        let completion = Completion { finish_reason, usage };
        let mut candidates = vec![
            Command::Release { replica, lease },
            Command::BeginAttempt { fence: fence() },
            Command::FinishTurn { fence: fence(), answer: answer.clone(), completion },
            Command::FinishInterruption { fence: fence(), partial: answer.clone() },
        ];
        if let Some(answer) = answer.clone() {
            let calls = self.calls(answer.open_calls(), after);
            candidates.push(Command::CommitStep { fence: fence(), answer, completion, calls });
        }
        let carried = before.calls.iter().filter(|call| call.waits_for_server()).cloned().collect();
        let carried = self.calls(carried, after).into_iter();
        let results = carried.filter_map(|call| Some((call.id, call.result?))).collect();
        candidates.push(Command::CommitResults { fence: fence(), results });
        if let Some(error) = after.error.clone() {
            candidates.push(Command::Fail { fence: fence(), partial: answer, error });
        }
        if let Some(retry) = &after.retry {
            let (delay_ms, error) = (retry.delay_ms, retry.error.clone());
            candidates.push(Command::RecordRetry { fence: fence(), delay_ms, error });
        }
        candidates
    }

    /// These calls with the results that they got by this step.
    fn calls(&self, mut calls: Vec<OpenCall>, after: &ChatState) -> Vec<OpenCall> {
        let told = self.inserted.iter().find(|message| message.role == Role::Tool);
        let results: BTreeMap<_, _> =
            told.map(|message| message.content.results()).into_iter().flatten().collect();
        for call in &mut calls {
            let kept = after.calls.iter().find(|kept| kept.id == call.id);
            call.carrier = kept.map_or(call.carrier, |kept| kept.carrier);
            let kept = kept.and_then(|kept| kept.result.clone());
            call.result = kept.or_else(|| results.get(&call.id).cloned());
        }
        calls
    }

    fn of_users(&self, before: &ChatState, after: &ChatState) -> Vec<Command> {
        let queued = after.queue.iter().filter(|queued| queued.id > before.last_id);
        let said = self.inserted.iter().filter(|said| said.episode.is_none() && said.queued_as.is_none());
        let waits = queued.map(|queued| (&queued.content, &queued.client_id));
        let contents = waits.chain(said.map(|message| (&message.content, &message.client_id)));
        let send = |(content, client_id): (&Content, &Option<Arc<str>>), mode| {
            let (content, client_id) = (content.clone(), client_id.clone());
            Command::Send { content, mode, queue_max: QUEUE_MAX, client_id }
        };
        let sent =
            contents.flat_map(|what| [SendMode::Queue, SendMode::Interrupt].map(|mode| send(what, mode)));
        let waiting = before.queue.iter().flat_map(|queued| {
            [Command::DeleteQueued { queued: queued.id }, Command::Promote { queued: queued.id }]
        });
        let settings = NewSettings {
            title: Some(after.title.clone()),
            model: Some(after.model.clone()),
            instructions: Some(after.instructions.clone()),
            tools: Some(after.tools.to_vec()),
        };
        let open = before.calls.iter().filter(|call| call.waits_for_client()).cloned().collect();
        let answered = self.calls(open, after).into_iter().filter_map(|call| Some((call.id, call.result?)));
        let others = [
            Command::Interrupt { episode: None },
            Command::Configure(settings),
            Command::ToolResults { results: answered.collect() },
        ];
        let shared = after.shares.iter().filter(|share| !before.shares.contains(share));
        let shared = shared.map(|share| Command::Share { user: share.user.clone(), may: share.may });
        let stays = |user| after.shares.iter().any(|share| share.user == user);
        let left = before.shares.iter().map(|share| share.user.clone()).filter(|user| !stays(user.clone()));
        let left = left.map(|user| Command::Unshare { user });
        sent.chain(waiting).chain(others).chain(shared).chain(left).collect()
    }
}
