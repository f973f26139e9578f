//! What a run asks for, as commands: our history is trusted, and the client's array only says what is new. The name of the run
//! is the key of its last command, so the same run asked for again, at any replica, is the same turn.

use std::sync::Arc;

use mainstem_machine::{
    Accepted, ChatId, ChatState, Command, Content, Message, MessageId, NewMessage, Rejection, Role, SendMode,
    Status, Version,
};
use mainstem_runtime::ports::{Env, IdempotencyKey, Keep};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::super::request::parse_name;
use super::super::super::{App, Problem, Requester};
use super::super::names;
use super::super::turn::From;
use super::message::AgentMessage;
use super::request::RunRequest;
use crate::limits::edge::CREATED_MESSAGES_MAX;

pub(super) struct Asker<'a, E: Env> {
    pub(super) app: &'a Arc<App<E>>,
    pub(super) by: &'a Requester,
    pub(super) request: &'a RunRequest,
}

impl<E: Env> Asker<'_, E> {
    /// Carries out what is asked for, and says which turn answers.
    pub(super) async fn carry_out(&self) -> Result<From, Problem> {
        let (app, by, request) = (self.app, self.by, self.request);
        let state = match names::chat(app, by, &request.run.thread).await? {
            Some(state) => state,
            None => match self.create().await? {
                Created::New(from) => return Ok(from),
                // Somebody was quicker.
                Created::Found(state) => state,
            },
        };
        if let Some(settings) = request.settings.changes_of(&state)? {
            app.execute(by, state.id, Command::Configure(settings), None).await?;
        }
        let asked = request.asked();
        let (answered, state) = self.answer_calls(state, asked.is_empty()).await?;
        match (asked, answered) {
            ([], Some(from)) => Ok(from),
            ([], None) => self.attach(&state).await,
            ([before @ .., last], _) => {
                let mut mode = mode_at(&state);
                for message in before {
                    // It may have been refused when it was the last one. What is known stays as it is.
                    if names::message(app, by, state.id, &message.id).await?.is_none() {
                        self.send(&state, message, mode, None).await?;
                        mode = SendMode::Queue;
                    }
                }
                self.ask(&state, last, mode).await
            }
        }
    }

    /// The run's key: for this message, with what it says.
    fn key(&self, says: &[&str]) -> IdempotencyKey {
        let run = &self.request.run;
        let mut digest = Sha256::new();
        for text in says {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
        let key = format!("POST /ag-ui {:?} {:?}", run.thread, run.id);
        let body = digest.finalize().into();
        IdempotencyKey { caller: Arc::clone(self.by.user()), key: key.into(), body, keep: Keep::Answer }
    }

    async fn create(&self) -> Result<Created, Problem> {
        let (app, request) = (self.app, self.request);
        let [.., last] = request.asked() else { return Err(Problem::no_such_chat()) };
        let messages = AgentMessage::history(&request.messages, app.message_bytes_max)?;
        if messages.len() > CREATED_MESSAGES_MAX {
            let told = format!("a chat is created with up to {CREATED_MESSAGES_MAX} messages");
            return Err(Problem::not_a_history(told));
        }
        NewMessage::check(&messages).map_err(|error| Problem::not_a_history(error.to_string()))?;
        let settings = request.settings.of_new(Some(&request.run.thread))?;
        let chat = ChatId(Uuid::now_v7());
        let content = last.content(false, app.message_bytes_max)?;
        let key = self.key(&[&last.id, content.as_json()]);
        let command = Command::Create { chat, owner: Arc::clone(self.by.user()), settings, messages };
        match app.execute(self.by, chat, command, Some(key)).await? {
            Accepted::Chat(state) => Ok(Created::New(present(&state)?)),
            Accepted::Found(state) => Ok(Created::Found(state)),
            Accepted::Sent { .. } | Accepted::Gone => Err(Problem::internal()),
        }
    }

    async fn execute(
        &self,
        chat: ChatId,
        command: Command,
        key: Option<IdempotencyKey>,
    ) -> Result<From, Problem> {
        match self.app.execute(self.by, chat, command, key).await? {
            Accepted::Sent { message: Some(message), snapshot_version, .. } => {
                let turn = message.turn.unwrap_or(message.id);
                let (after, since, stale) = (message.id, snapshot_version, Version(0));
                Ok(From { chat, turn, after, behind_results: false, begun: true, since, stale })
            }
            Accepted::Sent { queued: Some(queued), .. } => {
                From::locate(self.app, self.by, chat, queued.id).await
            }
            Accepted::Chat(state) | Accepted::Found(state) => present(&state),
            Accepted::Sent { .. } | Accepted::Gone => Err(Problem::internal()),
        }
    }

    async fn send(
        &self,
        state: &ChatState,
        message: &AgentMessage,
        mode: SendMode,
        key: Option<IdempotencyKey>,
    ) -> Result<From, Problem> {
        let command = Command::Send {
            content: message.content(false, self.app.message_bytes_max)?,
            mode,
            queue_max: self.app.queue_max,
            client_id: parse_name(Some(message.id.clone()), "id")?,
        };
        self.execute(state.id, command, key).await
    }

    /// The array ends with this message. If it is new it is sent; if it says something else than it did, it is edited; and if
    /// it was answered, it is to be answered again.
    async fn ask(&self, state: &ChatState, last: &AgentMessage, mode: SendMode) -> Result<From, Problem> {
        let (app, by, chat) = (self.app, self.by, state.id);
        let content = last.content(false, app.message_bytes_max)?;
        let key = Some(self.key(&[&last.id, content.as_json()]));
        let waits = state.queue.iter().any(|queued| queued.client_id.as_deref() == Some(&last.id));
        let found = if waits { None } else { names::message(app, by, chat, &last.id).await? };
        let Some(found) = found.filter(|found| found.role == Role::User) else {
            return self.send(state, last, mode, key).await;
        };
        let edited = last.content(true, app.message_bytes_max)?;
        if !says(&found, &content) && !says(&found, &edited) {
            let command = Command::Edit { message: found.id, content: edited };
            return self.execute(chat, command, key).await;
        }
        let turn = found.turn.unwrap_or(found.id);
        if state.turn_id() != Some(turn) {
            // The page does not know what it would drop.
            return Err(Problem::gone_on());
        }
        // The run that asked first is told of its turn again.
        let command = Command::Regenerate { message: Some(found.id), mode: SendMode::Interrupt };
        self.execute(chat, command, key).await
    }

    /// Brings results of the calls that wait; without a turn if none of them is brought. The chat is as it is by then.
    async fn answer_calls(
        &self,
        state: Arc<ChatState>,
        is_all: bool,
    ) -> Result<(Option<From>, Arc<ChatState>), Problem> {
        let (app, by, chat) = (self.app, self.by, state.id);
        let mut results = vec![];
        for call in state.calls.iter().filter(|call| call.waits_for_client()) {
            if let Some(result) = self.request.result_of(&call.id, app.message_bytes_max)? {
                results.push((call.id.clone(), result));
            }
        }
        let Some(turn) = state.turn_id().filter(|_| !results.is_empty()) else { return Ok((None, state)) };
        let says: Vec<&str> = results.iter().flat_map(|(id, result)| [&**id, &*result.content]).collect();
        let key = is_all.then(|| self.key(&says));
        let answered = app.execute(by, chat, Command::ToolResults { results }, key).await;
        let now = match answered {
            Ok(Accepted::Chat(now)) => now,
            Ok(_) => return Err(Problem::internal()),
            // Another page of the same user was quicker.
            Err(problem) if problem.code == "not_pending" => {
                return Ok((None, app.node.chat(by, chat).await?));
            }
            Err(problem) => return Err(problem),
        };
        let (since, stale) = (now.snapshot_version, now.reset_version);
        let after = state.last_message;
        Ok((Some(From { chat, turn, after, behind_results: true, begun: true, since, stale }), now))
    }

    /// Nothing is new: the turn of the last question is told, behind the results that the client brings again.
    async fn attach(&self, state: &ChatState) -> Result<From, Problem> {
        let (app, by, chat) = (self.app, self.by, state.id);
        let question = self.request.messages.iter().rfind(|message| message.is_user());
        let question =
            question.ok_or_else(|| Problem::malformed("`messages` has none of a user to be answered"))?;
        if let Some(queued) =
            state.queue.iter().find(|queued| queued.client_id.as_deref() == Some(&question.id))
        {
            return From::locate(app, by, chat, queued.id).await;
        }
        let found = names::message(app, by, chat, &question.id).await?;
        let found = found.ok_or(Problem::from(Rejection::NoSuchMessage))?;
        let turn = found.turn.unwrap_or(found.id);
        let mut from = From::locate(app, by, chat, turn).await?;
        if self.request.messages.last().is_some_and(|last| last.answers().is_some()) {
            let brought = &self.request.run.brought;
            let is_it = |message: &Message| {
                message.role == Role::Tool
                    && message.turn == Some(turn)
                    && message.content.results().iter().any(|(id, _)| brought.contains(&**id))
            };
            while let Some(results) = names::find(app, by, chat, from.after, is_it).await? {
                (from.after, from.behind_results) = (results.id, true);
            }
        }
        Ok(from)
    }
}

/// A client that goes on to its next question carries out no call of the one before: what it does not bring is cancelled. Else
/// the question would wait for what nobody brings any more.
fn mode_at(state: &ChatState) -> SendMode {
    if state.status == Status::RequiresAction { SendMode::Interrupt } else { SendMode::Queue }
}

fn says(message: &Message, content: &Content) -> bool {
    message.content == *content
}

fn present(state: &ChatState) -> Result<From, Problem> {
    From::present(state).ok_or(Problem::from(Rejection::NoSuchTurn))
}

enum Created {
    New(From),
    Found(Arc<ChatState>),
}

/// The position's turn, as it is to be told on.
pub(super) async fn located<E: Env>(
    app: &App<E>,
    by: &Requester,
    chat: ChatId,
    turn: MessageId,
) -> Result<Option<From>, Problem> {
    match From::locate(app, by, chat, turn).await {
        Ok(from) => Ok(Some(from)),
        Err(problem) if problem.code == "no_such_turn" => Ok(None),
        Err(problem) => Err(problem),
    }
}
