//! What a request asks for, as commands.

use std::sync::Arc;

use mainstem_machine::{
    Accepted, CallResult, ChatId, ChatState, Command, Content, MessageId, NewMessage, Rejection, Role,
    SendMode, Settings, Version,
};
use mainstem_runtime::EdgeError;
use mainstem_runtime::ports::{Env, IdempotencyKey};
use uuid::Uuid;

use super::super::super::{App, Problem, Requester};
use super::super::names;
use super::super::settings::SaidSettings;
use super::super::turn::From;
use super::ids::{ResponseId, parse_call};
use super::input::Given;
use super::item::ClientTools;
use super::part::{calls_of, outcomes_of};
use super::request::{Behind, ResponseRequest, no_such};
use super::response::is_last;
use crate::limits::edge::PAGE_MAX;

/// Who asks, with the key under which it is asked once.
pub(super) struct Asker<'a, E: Env> {
    pub(super) app: &'a Arc<App<E>>,
    pub(super) by: &'a Requester,
    pub(super) key: Option<IdempotencyKey>,
    /// Whether the client sends it again, because it was not answered.
    pub(super) is_again: bool,
}

/// What answers, and where it is told from.
pub(super) type Answers = (ResponseId, From);

impl<E: Env> Asker<'_, E> {
    pub(super) async fn carry_out(self, request: &ResponseRequest) -> Result<Answers, Problem> {
        let results = request.input.results();
        let (chat, previous) = match request.behind {
            Behind::Conversation(conversation) => (Some(conversation.0), None),
            Behind::Response(response) => (Some(response.chat), Some(response)),
            // Who brings the whole history names the chat by its calls.
            Behind::Nothing => {
                (results.first().and_then(|(call, _)| parse_call(call)).map(|(chat, _)| chat), None)
            }
        };
        let Some(chat) = chat else {
            if !results.is_empty() {
                return Err(unknown_call(results[0].0));
            }
            let messages = request.input.history(self.app.message_bytes_max)?;
            return self.create(messages, request.settings.of_new(None)?).await;
        };
        let state = match self.app.node.chat(self.by, chat).await {
            Err(EdgeError::Rejected(Rejection::NoSuchChat)) => return Err(self.unknown(request, &results)),
            state => state?,
        };
        if !results.is_empty() {
            let is_all = results.len() == request.input.0.len() || request.behind == Behind::Nothing;
            if !is_all {
                return Err(Problem::malformed(
                    "what came of calls, and what is said next, are two requests",
                ));
            }
            if previous.is_some_and(|previous| Some(previous.turn) != state.turn_id()) {
                return Err(Rejection::NotPending.into());
            }
            return self.answer_calls(&state, &request.settings, &results).await;
        }
        let content = match &request.input.0[..] {
            [Given::Message(Role::User, content)] => content,
            _ => {
                return Err(Problem::malformed(
                    "`input` brings one message of a user, or what came of calls, to a chat that is there",
                ));
            }
        };
        if let Some(from) = self.sent_before(&state, previous, content).await? {
            return Ok(from);
        }
        self.check_last(&state, previous).await?;
        self.send(&state, &request.settings, content).await
    }

    fn unknown(&self, request: &ResponseRequest, results: &[(&str, &CallResult)]) -> Problem {
        match request.behind {
            Behind::Conversation(id) => no_such("conversation", &id.to_string()),
            Behind::Response(id) => no_such("response", &id.to_string()),
            Behind::Nothing => unknown_call(results.first().map_or("", |(call, _)| call)),
        }
    }

    /// A chat's history has no branches.
    async fn check_last(&self, state: &ChatState, previous: Option<ResponseId>) -> Result<(), Problem> {
        let Some(previous) = previous else { return Ok(()) };
        let last = state.queue.last().map(|queued| queued.id).or(state.turn_id());
        let has_steps = state.present_turn().is_some_and(|turn| turn.steps > 0);
        let is_last = match last == Some(previous.turn) {
            // Only a turn with calls is more than one response.
            true if has_steps || !previous.is_first() => is_last(self.app, self.by, previous).await?,
            is_it => is_it,
        };
        if is_last {
            return Ok(());
        }
        Err(Problem::malformed(format!(
            "`previous_response_id` is not the last response of its chat, and a history has no branches: go on behind \
             the last one, or begin a new chat with all items (not behind {previous})"
        )))
    }

    pub(super) async fn create(
        self,
        messages: Vec<NewMessage>,
        settings: Settings,
    ) -> Result<Answers, Problem> {
        if messages.last().is_none_or(|last| last.role != Role::User) {
            return Err(Problem::malformed("the last of what is said is not a user's"));
        }
        let chat = ChatId(Uuid::now_v7());
        let command = Command::Create { chat, owner: Arc::clone(self.by.user()), settings, messages };
        match self.app.execute(self.by, chat, command, self.key).await? {
            Accepted::Chat(state) | Accepted::Found(state) => {
                let from = From::present(&state).ok_or(Problem::from(Rejection::NoSuchTurn))?;
                Ok((response(&from), from))
            }
            Accepted::Sent { .. } | Accepted::Gone => Err(Problem::internal()),
        }
    }

    async fn configure(&self, state: &ChatState, said: &SaidSettings) -> Result<(), Problem> {
        if let Some(settings) = said.changes_of(state)? {
            self.app.execute(self.by, state.id, Command::Configure(settings), None).await?;
        }
        Ok(())
    }

    async fn send(
        self,
        state: &ChatState,
        said: &SaidSettings,
        content: &Content,
    ) -> Result<Answers, Problem> {
        if let Some(call) = state.calls.iter().find(|call| call.waits_for_client()) {
            let call = super::ids::call(state.id, &call.id);
            return Err(Problem::malformed(format!(
                "the call {call:.120?} waits for its `function_call_output`"
            )));
        }
        self.configure(state, said).await?;
        let (mode, queue_max) = (SendMode::Queue, self.app.queue_max);
        let command = Command::Send { content: content.clone(), mode, queue_max, client_id: None };
        let chat = state.id;
        match self.app.execute(self.by, chat, command, self.key).await? {
            Accepted::Sent { message: Some(message), snapshot_version, .. } => {
                let turn = message.turn.unwrap_or(message.id);
                let (after, since, stale) = (message.id, snapshot_version, Version(0));
                let from = From { chat, turn, after, behind_results: false, begun: true, since, stale };
                Ok((response(&from), from))
            }
            Accepted::Sent { queued: Some(queued), .. } => {
                let from = From::locate(self.app, self.by, chat, queued.id).await?;
                Ok((response(&from), from))
            }
            _ => Err(Problem::internal()),
        }
    }

    /// The turn that the same request began when it was not answered: the only one behind the response that it names.
    async fn sent_before(
        &self,
        state: &ChatState,
        previous: Option<ResponseId>,
        content: &Content,
    ) -> Result<Option<Answers>, Problem> {
        let (Some(previous), Some(turn), true) = (previous, state.present_turn(), self.is_again) else {
            return Ok(None);
        };
        let next = |message: &mainstem_machine::Message| {
            message.role == Role::User
                && message.turn != Some(previous.turn)
                && message.id.0 > previous.turn.0
        };
        let after = previous.behind.unwrap_or(previous.turn);
        let found = names::find(self.app, self.by, state.id, MessageId(after.0), next).await?;
        let is_it = found.is_some_and(|next| next.id == turn.message && next.content == *content);
        Ok(From::present(state).filter(|_| is_it).map(|from| (response(&from), from)))
    }

    /// Brings what came of all calls that wait.
    pub(super) async fn answer_calls(
        self,
        state: &ChatState,
        said: &SaidSettings,
        brought: &[(&str, &CallResult)],
    ) -> Result<Answers, Problem> {
        let chat = state.id;
        let own = |call: &str| match parse_call(call) {
            Some((of, id)) if of == chat => id.to_owned(),
            _ => call.to_owned(),
        };
        let brought: Vec<(String, CallResult)> =
            brought.iter().map(|(call, result)| (own(call), CallResult::clone(result))).collect();
        let waits: Vec<_> = state.calls.iter().filter(|call| call.waits_for_client()).collect();
        let Some(turn) = state.turn_id().filter(|_| !waits.is_empty()) else {
            return self.answered(state, &brought).await;
        };
        let (mut results, mut left) = (vec![], vec![]);
        for call in waits {
            match brought.iter().find(|(id, _)| **id == *call.id) {
                Some((_, result)) => results.push((call.id.clone(), result.clone())),
                None => left.push(super::ids::call(chat, &call.id)),
            }
        }
        if results.is_empty() {
            return self.answered(state, &brought).await;
        }
        if !left.is_empty() {
            return Err(Problem::malformed(format!(
                "these calls wait for their output, too: {:.400}",
                left.join(", ")
            )));
        }
        self.configure(state, said).await?;
        let behind = state.last_message;
        match self.app.execute(self.by, chat, Command::ToolResults { results }, self.key).await {
            Ok(Accepted::Chat(now)) => {
                let (since, stale) = (now.snapshot_version, now.reset_version);
                let id = ResponseId { chat, turn, behind: Some(behind) };
                Ok((id, From { chat, turn, after: behind, behind_results: true, begun: true, since, stale }))
            }
            Ok(_) => Err(Problem::internal()),
            Err(problem) => Err(problem),
        }
    }

    /// What came of them is known here: the response that went on with it, if it is what is brought.
    async fn answered(
        &self,
        state: &ChatState,
        brought: &[(String, CallResult)],
    ) -> Result<Answers, Problem> {
        let (app, by, chat) = (self.app, self.by, state.id);
        let tools = ClientTools::of(state);
        let unknown = || Problem::from(Rejection::NotPending);
        let turn = state.present_turn().ok_or_else(unknown)?;
        let text = |result: &CallResult| serde_json::from_str::<String>(&result.content).unwrap_or_default();
        // It may wait for what the server's own tools return.
        let is_held = |(id, result): &(String, CallResult)| {
            state.calls.iter().any(|call| *call.id == **id && call.result.as_ref() == Some(result))
        };
        let mut found = brought.iter().all(is_held).then_some(state.last_message);
        let (mut after, mut asked) = (turn.message, None);
        while found.is_none() && after < turn.last {
            let page = app.node.messages(by, chat, after, PAGE_MAX).await?;
            for message in page.messages.iter().take_while(|message| message.id <= turn.last) {
                after = message.id;
                let is_brought = |id: &String| brought.iter().any(|(brought, _)| brought == id);
                if calls_of(message).iter().any(|(id, name)| tools.has(name) && is_brought(id)) {
                    asked = Some(message.id);
                }
                let outcomes = outcomes_of(message);
                let is_known = |(id, result): &(String, CallResult)| {
                    outcomes.iter().any(|outcome| outcome.call == *id && outcome.text == text(result))
                };
                if message.role == Role::Tool && brought.iter().all(is_known) {
                    found = asked;
                }
            }
            if !page.more {
                break;
            }
        }
        let behind = found.ok_or_else(unknown)?;
        let id = ResponseId { chat, turn: turn.id, behind: Some(behind) };
        let from = From::locate(app, by, chat, turn.id).await?;
        Ok((id, From { after: behind, behind_results: true, ..from }))
    }
}

/// The response that a turn is from its begin.
pub(super) fn response(from: &From) -> ResponseId {
    ResponseId { chat: from.chat, turn: from.turn, behind: None }
}

fn unknown_call(call: &str) -> Problem {
    Problem::malformed(format!(
        "the call {call:.120?} is of no chat here: bring what came of it with `previous_response_id`, or `call_id` as it was told"
    ))
}

/// Where a response is told from.
pub(super) async fn located<E: Env>(app: &App<E>, by: &Requester, id: ResponseId) -> Result<From, Problem> {
    let from = From::locate(app, by, id.chat, id.turn).await?;
    Ok(match id.behind {
        Some(after) => From { after, behind_results: true, ..from },
        None => from,
    })
}
