//! Where texts of users and models are in what machines hear and say. Each variant is named here, so that a new
//! one does not slip through.
//!
//! What is said of errors stays: nothing that a provider wrote goes into it.

use std::sync::Arc;

use mainstem_machine::hub::{
    self, AudienceEvent, ChatEvent, DatabaseEvent, HubAction, HubEvent, LeaseEvent, ModelEvent, OpOutcome,
    RelayEvent, Told, ToolEvent,
};
use mainstem_machine::replica::{self, ReplicaAction, ReplicaEvent};
use mainstem_machine::{
    Block, Body, CallResult, ChatState, Command, Content, Message, NewMessage, NewSettings, Offered,
    OpenCall, Page, Part, QueuedMessage, RelayFrame, Settings, Snapshot, StreamEvent, Tail, Tool,
};

use super::text::Replacement;

/// Replaces all texts of users and models.
pub(crate) trait Redact {
    fn redact(&mut self, by: Replacement<'_>);
}

impl Redact for String {
    fn redact(&mut self, by: Replacement<'_>) {
        *self = by.of(self);
    }
}

impl Redact for Arc<str> {
    fn redact(&mut self, by: Replacement<'_>) {
        *self = by.of(self).into();
    }
}

/// Ids of calls, and names of tools.
fn rename<'a>(names: impl IntoIterator<Item = &'a mut Arc<str>>, by: Replacement<'_>) {
    for name in names {
        *name = by.of_name(name).into();
    }
}

impl Redact for Content {
    fn redact(&mut self, by: Replacement<'_>) {
        *self = by.of_content(self);
    }
}

impl<T: Redact> Redact for Option<T> {
    fn redact(&mut self, by: Replacement<'_>) {
        self.iter_mut().for_each(|inner| inner.redact(by));
    }
}

impl<T: Redact> Redact for Vec<T> {
    fn redact(&mut self, by: Replacement<'_>) {
        self.iter_mut().for_each(|inner| inner.redact(by));
    }
}

impl<T: Redact> Redact for OpOutcome<T> {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Done(done) => done.redact(by),
            Self::Refused | Self::Unknown => {}
        }
    }
}

impl<T: Redact, E> Redact for Result<T, E> {
    fn redact(&mut self, by: Replacement<'_>) {
        self.iter_mut().for_each(|inner| inner.redact(by));
    }
}

impl Redact for Arc<ChatState> {
    fn redact(&mut self, by: Replacement<'_>) {
        let state = Arc::make_mut(self);
        // Compared with whoever watches; what takes the place of names has an order of its own.
        let mut shares = state.shares.to_vec();
        rename(std::iter::once(&mut state.owner).chain(shares.iter_mut().map(|share| &mut share.user)), by);
        shares.sort();
        state.shares = shares.into();
        state.title.redact(by);
        state.model.redact(by);
        state.external_id.redact(by);
        state.instructions.redact(by);
        state.tools.redact(by);
        state.calls.redact(by);
        state.queue.redact(by);
    }
}

impl<T: Redact + Clone> Redact for Arc<[T]> {
    fn redact(&mut self, by: Replacement<'_>) {
        let mut redacted = self.to_vec();
        redacted.redact(by);
        *self = redacted.into();
    }
}

impl Redact for OpenCall {
    fn redact(&mut self, by: Replacement<'_>) {
        rename([&mut self.id, &mut self.name], by);
        self.input = by.of_input(&self.input).into();
        self.result.redact(by);
    }
}

impl Redact for CallResult {
    fn redact(&mut self, by: Replacement<'_>) {
        self.content.redact(by);
    }
}

impl Redact for Tool {
    fn redact(&mut self, by: Replacement<'_>) {
        rename([&mut self.name], by);
        [&mut self.description, &mut self.input_schema].into_iter().for_each(|text| text.redact(by));
    }
}

impl Redact for QueuedMessage {
    fn redact(&mut self, by: Replacement<'_>) {
        self.content.redact(by);
        self.client_id.redact(by);
    }
}

impl Redact for Arc<Message> {
    fn redact(&mut self, by: Replacement<'_>) {
        let message = Arc::make_mut(self);
        message.content.redact(by);
        message.client_id.redact(by);
    }
}

impl Redact for Snapshot {
    fn redact(&mut self, by: Replacement<'_>) {
        self.state.redact(by);
        match &mut self.tail {
            Tail::After(messages) | Tail::Newest { messages, .. } => messages.redact(by),
        }
    }
}

impl Redact for Page {
    fn redact(&mut self, by: Replacement<'_>) {
        self.messages.redact(by);
    }
}

impl Redact for Block {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::ToolCall(call) => *self = Self::tool_call(&by.of_name(&call.id), &by.of_name(&call.name)),
            Self::Text | Self::Reasoning | Self::Whole | Self::Unknown => {}
        }
    }
}

impl Redact for Part {
    fn redact(&mut self, by: Replacement<'_>) {
        self.text = by.of_piece_bytes(self.begins.as_ref(), &self.text);
        self.begins.redact(by);
    }
}

impl Redact for RelayFrame {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Parts { parts, .. } => parts.redact(by),
            Self::Opened { .. } | Self::Closed { .. } => {}
        }
    }
}

impl Redact for Command {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Create { owner, settings, messages, .. } => {
                let Settings { external_id, title, model, instructions, tools } = settings;
                rename([owner], by);
                [external_id, title, model, instructions].into_iter().for_each(|text| text.redact(by));
                tools.redact(by);
                for NewMessage { content, client_id, .. } in messages {
                    content.redact(by);
                    client_id.redact(by);
                }
            }
            Self::Send { content, client_id, .. } => {
                content.redact(by);
                client_id.redact(by);
            }
            Self::Edit { content, .. } => content.redact(by),
            Self::Share { user, .. } | Self::Unshare { user } => rename([user], by),
            Self::CommitStep { answer, calls, .. } => {
                answer.redact(by);
                calls.redact(by);
            }
            Self::ToolResults { results } | Self::CommitResults { results, .. } => {
                results.iter_mut().for_each(|(id, result)| {
                    rename([id], by);
                    result.redact(by);
                });
            }
            Self::FinishTurn { answer, .. } => answer.redact(by),
            Self::FinishInterruption { partial, .. } | Self::Fail { partial, .. } => partial.redact(by),
            Self::Configure(NewSettings { title, model, instructions, tools }) => {
                [title, model, instructions].into_iter().for_each(|text| text.redact(by));
                tools.redact(by);
            }
            Self::Regenerate { .. }
            | Self::Interrupt { .. }
            | Self::DeleteQueued { .. }
            | Self::Promote { .. }
            | Self::Delete
            | Self::Expire { .. }
            | Self::Acquire { .. }
            | Self::Release { .. }
            | Self::BeginAttempt { .. }
            | Self::RecordRetry { .. } => {}
        }
    }
}

impl Redact for hub::Input {
    fn redact(&mut self, by: Replacement<'_>) {
        match &mut self.what {
            Told::Event(event) => event.redact(by),
            Told::NextEvent(_) | Told::NextFrame(_) => {}
        }
    }
}

impl Redact for HubEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Chat(event) => event.redact(by),
            Self::Database(event) => event.redact(by),
            Self::Lease(event) => event.redact(by),
            Self::Relay(event) => event.redact(by),
            Self::Model(event) => event.redact(by),
            Self::Tool(ToolEvent::Returned { result, .. }) => result.redact(by),
            Self::Audience(AudienceEvent::Subscribe { user, .. }) => rename(user, by),
            Self::Audience(_) | Self::Bus(_) | Self::Leaving(_) | Self::Wake => {}
        }
    }
}

impl Redact for ChatEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Committed { state, appended } => {
                state.redact(by);
                appended.redact(by);
            }
            Self::Hint { .. } | Self::NotFound | Self::Noticed(_) => {}
        }
    }
}

impl Redact for DatabaseEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::SnapshotRead { outcome, .. } => outcome.redact(by),
            Self::PageRead { outcome, .. } => outcome.redact(by),
            Self::Applied { outcome, .. } => outcome.redact(by),
            Self::HistoryLoaded { .. } => {}
        }
    }
}

impl Redact for LeaseEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Acquired { state, .. } => state.redact(by),
            Self::Confirmed { .. } | Self::Lost { .. } => {}
        }
    }
}

impl Redact for RelayEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Relayed { frame, .. } => frame.redact(by),
            Self::Located { .. } | Self::Dialed { .. } | Self::Gone { .. } => {}
        }
    }
}

impl Redact for ModelEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Generated { begins, text, .. } => {
                *text = by.of_piece(begins.as_ref(), text);
                begins.redact(by);
            }
            Self::Done { offered, .. } => {
                *offered = offered
                    .iter()
                    .map(|tool| Offered { name: by.of_name(&tool.name).into(), ..tool.clone() })
                    .collect();
            }
            Self::Failed { .. } | Self::BrokeOff { .. } => {}
        }
    }
}

impl Redact for hub::Output {
    fn redact(&mut self, by: Replacement<'_>) {
        self.actions.redact(by);
        self.event.redact(by);
        self.frame.redact(by);
    }
}

impl Redact for HubAction {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Apply { command, .. } => command.redact(by),
            Self::Start { prompt, .. } => {
                prompt.model.redact(by);
                prompt.instructions.redact(by);
                prompt.tools.redact(by);
            }
            Self::Call { id, name, input, .. } => {
                rename([id, name], by);
                *input = by.of_input(input).into();
            }
            Self::ToReplica(event) => event.redact(by),
            Self::KeepHistory { messages, .. } => messages.redact(by),
            Self::BusSubscribe { .. }
            | Self::BusUnsubscribe
            | Self::ReadSnapshot { .. }
            | Self::ReadPage { .. }
            | Self::LoadHistory { .. }
            | Self::DropHistory { .. }
            | Self::Dial { .. }
            | Self::CloseDial { .. }
            | Self::Cancel { .. }
            | Self::GiveUpCall { .. } => {}
        }
    }
}

impl Redact for StreamEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match &mut self.body {
            Body::Message(message) => message.redact(by),
            Body::QueueUpdate(queue) => queue.redact(by),
            Body::Status { calls, .. } => calls.redact(by),
            Body::Parts { block, text, .. } => {
                *text = by.of_piece_bytes(Some(block), text);
                block.redact(by);
            }
            Body::Error(_)
            | Body::Retry(_)
            | Body::PreviewReset { .. }
            | Body::HistoryReset
            | Body::Synced => {}
        }
    }
}

impl Redact for replica::Input {
    fn redact(&mut self, by: Replacement<'_>) {
        self.event.redact(by);
    }
}

impl Redact for ReplicaEvent {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Acquired { outcome, .. } => outcome.redact(by),
            Self::Free { .. }
            | Self::BusSubscribed { .. }
            | Self::BusLost
            | Self::Synced { .. }
            | Self::HeartbeatResult { .. }
            | Self::RunnerGone { .. }
            | Self::Locate { .. }
            | Self::Drain
            | Self::Wake => {}
        }
    }
}

impl Redact for replica::Output {
    fn redact(&mut self, by: Replacement<'_>) {
        self.actions.redact(by);
    }
}

impl Redact for ReplicaAction {
    fn redact(&mut self, by: Replacement<'_>) {
        match self {
            Self::Acquire { command, .. } => command.redact(by),
            Self::To { event, .. } => event.redact(by),
            Self::BusSubscribe { .. } | Self::Sync { .. } | Self::Heartbeat { .. } | Self::LookUp { .. } => {}
        }
    }
}
