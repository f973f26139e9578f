//! What a request asks for, as commands: our history is trusted, and the client's array only says what is new.

use std::sync::Arc;

use mainstem_machine::{
    Accepted, CallResult, ChatId, ChatState, Command, MessageId, NewMessage, OpenCall, Rejection, Role,
    SendMode, Version,
};
use mainstem_runtime::ports::{Env, IdempotencyKey};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::super::request::parse_name;
use super::super::super::results::parse_result;
use super::super::super::{App, Problem, Requester};
use super::super::names;
use super::super::turn::From;
use super::message::UiMessage;
use super::request::{ChatRequest, Trigger};
use crate::limits::edge::CREATED_MESSAGES_MAX;

/// Who asks, with the key under which it is asked once.
pub(super) struct Asker<'a, E: Env> {
    pub(super) app: &'a Arc<App<E>>,
    pub(super) by: &'a Requester,
    pub(super) key: Option<IdempotencyKey>,
}

impl<E: Env> Asker<'_, E> {
    /// Carries out what is asked for, and says which turn answers.
    pub(super) async fn carry_out(self, request: &ChatRequest) -> Result<From, Problem> {
        let state = match names::chat(self.app, self.by, &request.chat).await? {
            Some(state) => state,
            None => match self.create(request).await? {
                Created::New(from) => return Ok(from),
                // Somebody was quicker.
                Created::Found(state) => state,
            },
        };
        if let Some(settings) = request.settings.changes_of(&state)? {
            self.app.execute(self.by, state.id, Command::Configure(settings), None).await?;
        }
        let last = request.last();
        match request.trigger {
            Trigger::Regenerate => self.regenerate(&state, request).await,
            Trigger::Submit if !last.is_user() => self.answer_calls(&state, last).await,
            Trigger::Submit => match request.message_id.as_deref() {
                Some(name) => self.edit(&state, name, last).await,
                None => {
                    let mode = self.leave_calls(&state, request).await?;
                    self.send_as(&state, last, mode).await
                }
            },
        }
    }

    async fn create(&self, request: &ChatRequest) -> Result<Created, Problem> {
        let bytes_max = self.app.message_bytes_max;
        if !request.last().is_user() {
            return Err(Problem::no_such_chat());
        }
        let mut messages: Vec<NewMessage> = vec![];
        for message in request.begin() {
            messages.extend(message.history(bytes_max)?);
            if messages.len() > CREATED_MESSAGES_MAX {
                let told = format!("a chat is created with up to {CREATED_MESSAGES_MAX} messages");
                return Err(Problem::not_a_history(told));
            }
        }
        NewMessage::check(&messages).map_err(|error| Problem::not_a_history(error.to_string()))?;
        let settings = request.settings.of_new(Some(&request.chat))?;
        let chat = ChatId(Uuid::now_v7());
        let command = Command::Create { chat, owner: Arc::clone(self.by.user()), settings, messages };
        match self.app.execute(self.by, chat, command, self.key.clone()).await? {
            Accepted::Chat(state) => {
                Ok(Created::New(From::present(&state).ok_or(Problem::from(Rejection::NoSuchTurn))?))
            }
            Accepted::Found(state) => Ok(Created::Found(state)),
            Accepted::Sent { .. } | Accepted::Gone => Err(Problem::internal()),
        }
    }

    /// A page that goes on to its next question waits for no call of its own: what it has of results is kept first, and the
    /// rest is cancelled. Else the question would wait for what nobody brings any more.
    async fn leave_calls(&self, state: &ChatState, request: &ChatRequest) -> Result<SendMode, Problem> {
        if !state.calls.iter().any(|call| call.waits_for_client()) {
            return Ok(SendMode::Queue);
        }
        let answer = request.messages.iter().rev().find(|message| message.role == "assistant");
        let brought = answer.map(UiMessage::results).transpose()?.unwrap_or_default();
        let results = self.awaited(state, &brought)?;
        if results.is_empty() {
            return Ok(SendMode::Interrupt);
        }
        match self.app.execute(self.by, state.id, Command::ToolResults { results }, None).await? {
            Accepted::Chat(now) if now.calls.iter().any(OpenCall::waits_for_client) => {
                Ok(SendMode::Interrupt)
            }
            // The answer to them comes first.
            _ => Ok(SendMode::Queue),
        }
    }

    async fn send(self, state: &ChatState, message: &UiMessage) -> Result<From, Problem> {
        self.send_as(state, message, SendMode::Queue).await
    }

    async fn send_as(self, state: &ChatState, message: &UiMessage, mode: SendMode) -> Result<From, Problem> {
        let command = Command::Send {
            content: message.content(false, self.app.message_bytes_max)?,
            mode,
            queue_max: self.app.queue_max,
            client_id: parse_name(Some(message.id.clone()), "id")?,
        };
        let accepted = self.app.execute(self.by, state.id, command, self.key).await?;
        sent(self.app, self.by, state.id, &message.id, accepted).await
    }

    /// Of a message that never came here, it is the first that is heard.
    async fn edit(self, state: &ChatState, name: &str, message: &UiMessage) -> Result<From, Problem> {
        let (app, by, chat) = (self.app, self.by, state.id);
        if state.queue.iter().any(|queued| queued.client_id.as_deref() == Some(name)) {
            return Err(Rejection::NotEditable.into());
        }
        let Some(found) = names::message(app, by, chat, name).await? else {
            return self.send(state, message).await;
        };
        let content = message.content(true, app.message_bytes_max)?;
        let is_last = state.present_turn().is_some_and(|turn| turn.message == found.id);
        if is_last && found.content == content {
            // It was sent again.
            return From::locate(app, by, chat, found.turn.unwrap_or(found.id)).await;
        }
        let command = Command::Edit { message: found.id, content };
        let accepted = app.execute(by, chat, command, self.key).await?;
        sent(app, by, chat, name, accepted).await
    }

    /// The last of the array's messages of users is to be answered again. If it never came here, it is sent. Who names the
    /// answer means it and what follows it; who names none means the last one that there is.
    async fn regenerate(self, state: &ChatState, request: &ChatRequest) -> Result<From, Problem> {
        let last = request.messages.iter().rev().find(|message| message.is_user());
        let last =
            last.ok_or_else(|| Problem::malformed("`messages` has none of a user to be answered again"))?;
        if state.queue.iter().any(|queued| queued.client_id.as_deref() == Some(&*last.id)) {
            return self.send(state, last).await;
        }
        let found = names::message(self.app, self.by, state.id, &last.id).await?;
        let Some(found) = found else { return self.send(state, last).await };
        let is_last = state.present_turn().is_none_or(|turn| turn.message == found.id);
        if request.message_id.is_none() && !is_last {
            // The page does not know what it would drop.
            return Err(Problem::gone_on());
        }
        let command = Command::Regenerate { message: Some(found.id), mode: SendMode::Interrupt };
        match self.app.execute(self.by, state.id, command, self.key).await? {
            Accepted::Chat(state) => From::present(&state).ok_or(Problem::from(Rejection::NoSuchTurn)),
            accepted => sent(self.app, self.by, state.id, &last.id, accepted).await,
        }
    }

    /// Those results that calls wait for, as they are kept.
    fn awaited(
        &self,
        state: &ChatState,
        brought: &[(Arc<str>, CallResult)],
    ) -> Result<Vec<(Arc<str>, CallResult)>, Problem> {
        let waits = |id: &str| state.calls.iter().any(|call| call.waits_for_client() && *call.id == *id);
        let awaited = brought.iter().filter(|(id, _)| waits(id));
        awaited.map(|(id, result)| Ok((id.clone(), kept(result, self.app.message_bytes_max)?))).collect()
    }

    /// Results of calls. Those that are known here are not told again.
    async fn answer_calls(self, state: &ChatState, message: &UiMessage) -> Result<From, Problem> {
        let (app, by, chat) = (self.app, self.by, state.id);
        let brought = message.results()?;
        let results = self.awaited(state, &brought)?;
        let turn = state.turn_id();
        if let (false, Some(turn)) = (results.is_empty(), turn) {
            let command = Command::ToolResults { results };
            return match app.execute(by, chat, command, self.key).await? {
                Accepted::Chat(now) => Ok(From {
                    chat,
                    turn,
                    after: state.last_message,
                    behind_results: true,
                    begun: true,
                    since: now.snapshot_version,
                    stale: now.reset_version,
                }),
                _ => Err(Problem::internal()),
            };
        }
        // They came before: the answer goes on behind them.
        let came = |id: &str| brought.iter().any(|(brought, _)| **brought == *id);
        let is_it = |message: &mainstem_machine::Message| {
            message.role == Role::Tool && message.content.results().iter().any(|(id, _)| came(id))
        };
        let mut after = MessageId(0);
        let mut last = None;
        while let Some(found) = names::find(app, by, chat, after, is_it).await? {
            after = found.id;
            last = Some(found);
        }
        let last = last.ok_or(Problem::from(Rejection::NotPending))?;
        let turn = last.turn.ok_or(Problem::from(Rejection::NoSuchTurn))?;
        let from = From::locate(app, by, chat, turn).await?;
        Ok(From { after: last.id, behind_results: true, ..from })
    }
}

/// A result within the bounds of those that come by our own routes, and as all readers take it.
fn kept(result: &CallResult, bytes_max: usize) -> Result<CallResult, Problem> {
    let json: Box<RawValue> = serde_json::from_str(&result.content)
        .map_err(|error| Problem::malformed(format!("the output of a tool: {error}")))?;
    let content = parse_result(&json, bytes_max)?;
    Ok(CallResult { content, is_error: result.is_error })
}

enum Created {
    New(From),
    Found(Arc<ChatState>),
}

/// The turn of the message of this name, which was sent, or was sent before.
async fn sent<E: Env>(
    app: &App<E>,
    by: &Requester,
    chat: ChatId,
    name: &str,
    accepted: Accepted,
) -> Result<From, Problem> {
    match accepted {
        Accepted::Sent { message: Some(message), snapshot_version, .. } => {
            let turn = message.turn.unwrap_or(message.id);
            let (after, since, stale) = (message.id, snapshot_version, Version(0));
            Ok(From { chat, turn, after, behind_results: false, begun: true, since, stale })
        }
        Accepted::Sent { queued: Some(queued), .. } => From::locate(app, by, chat, queued.id).await,
        // Under this key the chat was created with it.
        _ => {
            let message = names::message(app, by, chat, name).await?;
            let message = message.ok_or(Problem::from(Rejection::NoSuchMessage))?;
            From::locate(app, by, chat, message.turn.unwrap_or(message.id)).await
        }
    }
}
