//! S11: each call has exactly one result in the history, before anything of another turn, and it is the one that was given.
//! A call that the server carries out is begun once it is committed, and no second time unless it may be. What came back
//! is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstem_machine::{
    CallResult, Carrier, ChatId, Command, FinishReason, Message, MessageId, OpenCall, Role, Status, Version,
};

use crate::returned::Returned;
use crate::shared::Shared;
use crate::{Committed, Evidence, Life, Oracle, Ruling, Seen, prompted};

/// The calls of a turn that have no result in the history.
#[derive(Clone, Debug, Default)]
struct Open {
    turn: Option<MessageId>,
    calls: Vec<OpenCall>,
    /// An acquisition may have ended the last that a worker waited for: it is for the worker to go on.
    is_taken_over: bool,
}

/// A call, by its chat, the history that ends with it, and its name.
pub(crate) type Called = (ChatId, Version, Arc<str>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Tools {
    open: Shared<BTreeMap<ChatId, Open>>,
    /// The calls of servers that were committed.
    committed: Shared<BTreeSet<Called>>,
    begun: Shared<BTreeSet<Called>>,
    returned: Shared<BTreeMap<Called, Vec<CallResult>>>,
    unwritten: Returned,
}

impl Oracle for Tools {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let overdue = self.unwritten.overdue(seen);
        let ruling = match seen.evidence {
            Evidence::Committed(change) => {
                seen.ask();
                let written = self.unwritten.judge(change);
                self.judge(change).and(written).map_err(|why| format!("{}: {why}", change.command.name()))
            }
            Evidence::CallBegun { replica, chat, of, call, is_repeatable } => {
                seen.ask();
                let called = (*chat, *of, call.clone());
                self.begin(called, *is_repeatable)
                    .map_err(|why| format!("{replica} begins {call} of {chat}, {why}"))
            }
            Evidence::CallReturned { replica, chat, of, call, result } => {
                let called = (*chat, *of, call.clone());
                if !self.begun.contains(&called) {
                    return Err(format!("{replica} hears of {call} of {chat}, which nobody began"));
                }
                self.unwritten.come(seen, replica, &called);
                self.returned.entry(called).or_default().push(result.clone());
                Ok(())
            }
            Evidence::Prompted { run, history } => {
                seen.ask();
                prompted::judge(seen.index, *run, history)
            }
            Evidence::Lived { replica, life: Life::Crashed | Life::Vanished | Life::Up } => {
                self.unwritten.forget(replica);
                Ok(())
            }
            _ => Ok(()),
        };
        ruling.and(overdue)
    }
}

impl Tools {
    fn begin(&mut self, called: Called, is_repeatable: bool) -> Ruling {
        if !self.committed.contains(&called) {
            return Err("which no worker is to carry out".into());
        }
        match self.begun.insert(called) || is_repeatable {
            true => Ok(()),
            false => Err("which was begun before".into()),
        }
    }

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
        self.give(&mut open, change)?;
        for message in &change.inserted {
            open.take(message, &change.command)?;
        }
        if change.state.calls[..] != open.calls[..] {
            return Err(format!("the calls {:?} are open, and not {:?}", open.calls, change.state.calls));
        }
        open.judge_status(change.state.status)?;
        let of_server = open.calls.iter().filter(|call| call.waits_for_server());
        for call in of_server.filter(|_| matches!(change.command, Command::CommitStep { .. })) {
            let called = (change.chat, change.state.history_version, call.id.clone());
            self.committed.insert(called);
        }
        if !open.calls.is_empty() {
            self.open.insert(change.chat, open);
        }
        Ok(())
    }

    /// What the command gives as results of open calls.
    fn give(&self, open: &mut Open, change: &Committed) -> Ruling {
        let (results, is_client) = match &change.command {
            Command::ToolResults { results } => (&results[..], true),
            Command::CommitResults { results, .. } => {
                open.is_taken_over = false;
                (&results[..], false)
            }
            Command::Acquire { .. } => {
                open.is_taken_over = true;
                open.lose(&change.state.calls);
                return Ok(());
            }
            _ => return Ok(()),
        };
        for (id, result) in results {
            let waits = |call: &&mut OpenCall| {
                call.id == *id && if is_client { call.waits_for_client() } else { call.waits_for_server() }
            };
            let call = open.calls.iter_mut().find(waits);
            call.ok_or_else(|| format!("a result of {id}, which waits for none"))?.result =
                Some(result.clone());
            if let Command::CommitResults { fence, .. } = &change.command {
                let called = (change.chat, fence.episode.history_version, id.clone());
                let came = self.returned.get(&called).is_some_and(|results| results.contains(result));
                if !came {
                    return Err(format!("{id} has the result {result:?}, which nobody gave"));
                }
            }
        }
        Ok(())
    }
}

impl Open {
    /// Nobody knows what became of the calls that the worker before may have begun: that is their result.
    fn lose(&mut self, kept: &[OpenCall]) {
        for call in self.calls.iter_mut().filter(|call| call.result.is_none()) {
            if call.carrier == Carrier::Server {
                let told = kept.iter().find(|kept| kept.id == call.id).and_then(|kept| kept.result.clone());
                // Without one it stays open, and is not what is kept.
                call.result = told.filter(|told| told.is_error).or(Some(CallResult::error("nobody knows")));
            }
        }
    }

    fn judge_status(&self, status: Status) -> Ruling {
        let waits = |who: fn(&OpenCall) -> bool| self.calls.iter().any(who);
        let (client, server) = (waits(OpenCall::waits_for_client), waits(OpenCall::waits_for_server));
        let is_right = match status {
            Status::RequiresAction => client && !server,
            Status::Running => self.calls.is_empty() || server || self.is_taken_over,
            _ => self.calls.is_empty(),
        };
        match is_right {
            true => Ok(()),
            false => Err(format!("the chat is {}, and {} calls are open", status.as_str(), self.calls.len())),
        }
    }

    fn take(&mut self, message: &Message, command: &Command) -> Ruling {
        if message.role != Role::Tool {
            if !self.calls.is_empty() {
                return Err(format!("message {} overtakes {} open calls", message.id, self.calls.len()));
            }
            self.turn = message.turn;
            self.calls = match command {
                // Some have their result from the beginning.
                Command::CommitStep { calls, .. } if message.role == Role::Assistant => {
                    shared_out(calls_of(message), calls)
                }
                _ => calls_of(message),
            };
            return Ok(());
        }
        let due: Vec<_> = self.calls.drain(..).map(|call| (call.id, call.result)).collect();
        let told = message.content.results();
        let told_elsewhere = matches!(command, Command::Create { .. });
        let [mut answered, mut called]: [Vec<_>; 2] =
            [told.iter().map(|(id, _)| id.clone()).collect(), due.iter().map(|(id, _)| id.clone()).collect()];
        if told_elsewhere {
            // In whatever order.
            answered.sort_unstable();
            called.sort_unstable();
        }
        if self.turn != message.turn || answered != called {
            return Err(format!(
                "message {} has results of {answered:?}, and {due:?} were called",
                message.id
            ));
        }
        let gives = matches!(command, Command::ToolResults { .. } | Command::CommitResults { .. });
        for ((id, told), (_, due)) in told.iter().zip(&due) {
            let is_right = match due {
                Some(due) => told == due,
                // What was told elsewhere is taken as it was.
                None if told_elsewhere => true,
                None => told.is_error && !gives,
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

/// Who carries them out, and what has its result from the beginning, is said by the step. Nobody needs the inputs of these.
fn shared_out(mut calls: Vec<OpenCall>, said: &[OpenCall]) -> Vec<OpenCall> {
    for call in &mut calls {
        if let Some(said) = said.iter().find(|said| said.id == call.id) {
            (call.carrier, call.result) = (said.carrier, said.result.clone());
        }
        if call.result.is_some() {
            call.input = "null".into();
        }
    }
    calls
}
