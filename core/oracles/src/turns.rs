//! S12: a turn begins with its message, under the name of that, and ends exactly once, with its reason; when its message is
//! answered again, it begins and ends once more. A client's own name is one message's, however often it is sent.

use std::collections::BTreeSet;

use mainstem_machine::{ChatId, ChatState, Command, MessageId, Role, RunError, Turn, TurnStatus};

use crate::shared::Shared;
use crate::{Committed, Evidence, Moment, Name, Oracle, Ruling, Seen};

#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    begun: Shared<BTreeSet<(ChatId, MessageId)>>,
    ended: Shared<BTreeSet<(ChatId, MessageId)>>,
    /// What clients call their messages.
    named: Shared<BTreeSet<(ChatId, Name)>>,
}

impl Oracle for Turns {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let Evidence::Committed(change) = seen.evidence else { return Ok(()) };
        seen.ask();
        let Some(past) = seen.index.past(change.chat) else { return Ok(()) };
        let (before, after) = past.step();
        let before = before.map(|moment| &*moment.state);
        let begins_again = before.is_some() && matches!(change.command, Command::Regenerate { .. });
        if let Command::Create { .. } = change.command {
            return self.judge_opening(change).map_err(|why| format!("create: {why}"));
        }
        let again = if begins_again { self.judge_again(after, change) } else { Ok(()) };
        again
            .and_then(|()| self.judge(before, change))
            .map_err(|why| format!("{}: {why}", change.command.name()))
    }
}

impl Turns {
    fn judge(&mut self, before: Option<&ChatState>, change: &Committed) -> Ruling {
        if change.deleted {
            self.begun.retain(|(chat, _)| *chat != change.chat);
            self.ended.retain(|(chat, _)| *chat != change.chat);
            self.named.retain(|(chat, _)| *chat != change.chat);
            return Ok(());
        }
        if let Some(name) = change.command.client_id()
            && !self.named.insert((change.chat, name.clone()))
        {
            return Err(format!("{name} was sent before"));
        }
        let (was, is) = (before.and_then(|before| before.turn.as_ref()), change.state.turn.as_ref());
        let ran = was.filter(|turn| !turn.status.is_over());
        let runs = is.filter(|turn| !turn.status.is_over());
        if change.ended.len() > 1 {
            return Err(format!("{} turns end", change.ended.len()));
        }
        if let Some(turn) = change.ended.first() {
            if ran.is_none_or(|ran| (ran.id, ran.message) != (turn.id, turn.message)) {
                return Err(format!("turn {} ends, and {ran:?} ran", turn.id));
            }
            if !self.ended.insert((change.chat, turn.id)) {
                return Err(format!("turn {} ends twice", turn.id));
            }
            judge_end(&change.command, ran, turn)?;
        } else if let Some(ran) = ran {
            let is_cut = change.cut_from.is_some_and(|from| from <= ran.message);
            if !is_cut && runs.is_none_or(|runs| runs.id != ran.id) {
                return Err(format!("turn {} is over, and never ended", ran.id));
            }
        }
        let again = matches!(change.command, Command::Regenerate { .. });
        if let Some(turn) = is.filter(|turn| !again && was.is_none_or(|was| was.id != turn.id)) {
            self.judge_begin(change, turn)?;
        }
        // A chat that had none goes on without: its turn began with a release that knew no turns.
        let has_any = was.is_some() || is.is_some();
        if has_any && change.state.status.is_busy() != runs.is_some() {
            return Err(format!("the chat is {}, and its turn is {is:?}", change.state.status.as_str()));
        }
        if let Some(turn) = is.filter(|turn| turn.last != change.state.last_message) {
            return Err(format!(
                "turn {} has said {} last, and the chat {}",
                turn.id, turn.last, change.state.last_message
            ));
        }
        for message in &change.inserted {
            let of = match message.role {
                Role::User => Some(message.queued_as.unwrap_or(message.id)),
                _ => ran.map(|turn| turn.id),
            };
            if message.turn != of {
                return Err(format!(
                    "message {} is said to be of turn {:?}, and is of {of:?}",
                    message.id, message.turn
                ));
            }
        }
        Ok(())
    }

    /// A chat begins with the turns of its messages. All are over but the one whose message is the last.
    fn judge_opening(&mut self, change: &Committed) -> Ruling {
        let mut turns: Vec<Turn> = vec![];
        for message in &change.inserted {
            match (message.role, turns.last_mut()) {
                (Role::User, _) => turns.push(Turn::queued(message.id)),
                (_, Some(turn)) => turn.last = message.id,
                (_, None) => {}
            }
            let of = turns.last().map(|turn| turn.id);
            if message.turn != of {
                return Err(format!(
                    "message {} is said to be of turn {:?}, and is of {of:?}",
                    message.id, message.turn
                ));
            }
            if message.client_id.clone().is_some_and(|name| !self.named.insert((change.chat, name))) {
                return Err(format!("the name of message {} is another's", message.id));
            }
        }
        let runs = change.inserted.last().is_some_and(|last| last.role == Role::User);
        let over = turns.len() - usize::from(runs);
        for (at, turn) in turns.iter_mut().enumerate() {
            turn.status = if at < over { TurnStatus::Completed } else { TurnStatus::Running };
        }
        if change.ended != turns[..over] || change.state.turn.as_ref() != turns.last() {
            let (is, ended) = (&change.state.turn, &change.ended);
            return Err(format!("{ended:?} are over and {is:?} is not, expected {turns:?}"));
        }
        if change.state.status.is_busy() != runs {
            return Err(format!("the chat is {}", change.state.status.as_str()));
        }
        let named = |turn: &Turn| (change.chat, turn.id);
        self.ended.extend(turns[..over].iter().map(named));
        self.begun.extend(turns.iter().map(named));
        Ok(())
    }

    /// The turn of the message that is the last one now runs again from nothing, and is to end once more.
    fn judge_again(&mut self, after: &Moment, change: &Committed) -> Ruling {
        let last = after.history.last().filter(|last| last.role == Role::User);
        let fresh = last.map(|last| Turn {
            message: last.id,
            last: last.id,
            ..Turn::queued(last.queued_as.unwrap_or(last.id))
        });
        let fresh = fresh.map(|fresh| Turn { status: TurnStatus::Running, ..fresh });
        if fresh.is_none() || fresh != change.state.turn {
            return Err(format!("{:?} begins again, expected {fresh:?}", change.state.turn));
        }
        if let Some(turn) = &change.state.turn {
            self.ended.remove(&(change.chat, turn.id));
            self.begun.insert((change.chat, turn.id));
        }
        Ok(())
    }

    fn judge_begin(&mut self, change: &Committed, turn: &Turn) -> Ruling {
        if !self.begun.insert((change.chat, turn.id)) {
            return Err(format!("turn {} begins twice", turn.id));
        }
        let sent = change.inserted.iter().find(|message| message.id == turn.message);
        let name = sent.filter(|sent| sent.role == Role::User).map(|sent| sent.queued_as.unwrap_or(sent.id));
        if name != Some(turn.id) || turn.status != TurnStatus::Running {
            return Err(format!("{turn:?} begins with {name:?}"));
        }
        Ok(())
    }
}

/// A turn ends as its last command says, and with what the model said of its answers.
fn judge_end(command: &Command, ran: Option<&Turn>, turn: &Turn) -> Ruling {
    let fits = |status, error: Option<&RunError>| turn.status == status && turn.error.as_ref() == error;
    let mut told = ran.map(|ran| (ran.finish_reason, ran.usage)).unwrap_or_default();
    let is_right = match command {
        Command::FinishTurn { completion, .. } => {
            told.0 = completion.finish_reason;
            if let Some(usage) = completion.usage {
                let sum = told.1.get_or_insert_default();
                sum.input_tokens += usage.input_tokens;
                sum.output_tokens += usage.output_tokens;
            }
            fits(TurnStatus::Completed, None)
        }
        Command::FinishInterruption { .. }
        | Command::Interrupt { .. }
        | Command::Promote { .. }
        | Command::Send { .. } => fits(TurnStatus::Interrupted, None),
        Command::Fail { error, .. } => fits(TurnStatus::Failed, Some(error)),
        _ => false,
    };
    match is_right && told == (turn.finish_reason, turn.usage) {
        true => Ok(()),
        false => Err(format!("{turn:?} ends with it")),
    }
}
