//! S11: each call has exactly one result in the history, before anything of another turn, and it is the one that was given.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_machine::{
    CallResult, ChatId, Command, FinishReason, Message, MessageId, OpenCall, Role, Status,
};

use crate::shared::Shared;
use crate::{Committed, Evidence, Oracle, Ruling, Seen};

/// The calls of a turn that have no result in the history.
#[derive(Clone, Debug, Default)]
struct Open {
    turn: Option<MessageId>,
    calls: Vec<OpenCall>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tools {
    open: Shared<BTreeMap<ChatId, Open>>,
}

impl Oracle for Tools {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let Evidence::Committed(change) = seen.evidence else { return Ok(()) };
        seen.ask();
        self.judge(change).map_err(|why| format!("{}: {why}", change.command.name()))
    }
}

impl Tools {
    fn judge(&mut self, change: &Committed) -> Ruling {
        let is_concerned = self.open.contains_key(&change.chat) || !change.state.calls.is_empty();
        let speaks_of_calls = |message: &Message| message.role == Role::Tool || !calls_of(message).is_empty();
        if !is_concerned && !change.inserted.iter().any(speaks_of_calls) {
            return Ok(());
        }
        let mut open = self.open.remove(&change.chat).unwrap_or_default();
        if change.deleted {
            return Ok(());
        }
        if change.cut_from.is_some() {
            open = Open::default();
        }
        for (id, result) in given(&change.command) {
            let call = open.calls.iter_mut().find(|call| call.id == id && call.result.is_none());
            call.ok_or_else(|| format!("a result of {id}, which waits for none"))?.result = Some(result);
        }
        for message in &change.inserted {
            open.take(message, &change.command)?;
        }
        if change.state.calls[..] != open.calls[..] {
            return Err(format!("the calls {:?} are open, and not {:?}", open.calls, change.state.calls));
        }
        if open.calls.is_empty() == (change.state.status == Status::RequiresAction) {
            let status = change.state.status.as_str();
            return Err(format!("the chat is {status}, and {} calls are open", open.calls.len()));
        }
        if !open.calls.is_empty() {
            self.open.insert(change.chat, open);
        }
        Ok(())
    }
}

impl Open {
    fn take(&mut self, message: &Message, command: &Command) -> Ruling {
        if message.role != Role::Tool {
            if !self.calls.is_empty() {
                return Err(format!("message {} overtakes {} open calls", message.id, self.calls.len()));
            }
            self.turn = message.turn;
            self.calls = match command {
                // Some have their result from the beginning.
                Command::CommitStep { calls, .. } if message.role == Role::Assistant => {
                    with_results(calls_of(message), calls)
                }
                _ => calls_of(message),
            };
            return Ok(());
        }
        let due: Vec<_> = self.calls.drain(..).map(|call| (call.id, call.result)).collect();
        let told = message.content.results();
        let ids = |told: &[(Arc<str>, CallResult)]| told.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        if self.turn != message.turn || ids(&told) != due.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
        {
            return Err(format!(
                "message {} has results of {:?}, and {due:?} were called",
                message.id,
                ids(&told)
            ));
        }
        for ((id, told), (_, due)) in told.iter().zip(&due) {
            let is_right = match due {
                Some(due) => told == due,
                None => told.is_error && !matches!(command, Command::ToolResults { .. }),
            };
            if !is_right {
                return Err(format!("{id} has the result {told:?}, and {due:?} was given"));
            }
        }
        Ok(())
    }
}

/// The calls that this message asks for.
fn calls_of(message: &Message) -> Vec<OpenCall> {
    let asks = message.finish_reason == Some(FinishReason::ToolCalls) && !message.interrupted;
    if asks { message.content.open_calls() } else { vec![] }
}

fn with_results(mut calls: Vec<OpenCall>, given: &[OpenCall]) -> Vec<OpenCall> {
    for call in &mut calls {
        call.result = given.iter().find(|given| given.id == call.id).and_then(|given| given.result.clone());
    }
    calls
}

fn given(command: &Command) -> Vec<(Arc<str>, CallResult)> {
    match command {
        Command::ToolResults { results } => results.clone(),
        _ => vec![],
    }
}
