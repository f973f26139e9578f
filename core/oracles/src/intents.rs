//! S6: each acknowledged send is in the history or the queue exactly once, until the user deletes it or an
//! edit cuts it off, also if its answer was lost and it was sent again under its key. Queued messages get
//! their turns in order, except for promoted ones and interrupting sends.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_machine::{ChatId, Command, MessageId, Role, SendMode, Status};

use crate::evidence::taken_as;
use crate::shared::Shared;
use crate::{Answer, Committed, Evidence, Moment, Name, Oracle, Ruling, Seen};

type Key = (Name, Name);

#[derive(Clone, Debug, Default)]
pub(crate) struct Intents {
    asked: Shared<BTreeMap<Key, Asked>>,
    /// How often a text was sent, counting each key once, and how often it was committed.
    texts: Shared<BTreeMap<(ChatId, String), (usize, usize)>>,
    /// What was committed under a key, and the id that the message got.
    committed: Shared<BTreeMap<Key, Option<MessageId>>>,
    /// The text that was committed under an id.
    taken: Shared<BTreeMap<(ChatId, MessageId), String>>,
}

#[derive(Clone, Debug)]
struct Asked {
    chat: ChatId,
    text: Option<String>,
    /// The key was used for another request too.
    reused: bool,
}

impl Oracle for Intents {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        match seen.evidence {
            Evidence::Asked { caller, key, chat, text, .. } => {
                let before = self.asked.get_mut(&(caller.clone(), key.clone()));
                if let Some(before) = before {
                    before.reused |= (before.chat, &before.text) != (*chat, text);
                    return Ok(());
                }
                if let Some(text) = text {
                    self.texts.entry((*chat, text.clone())).or_default().0 += 1;
                }
                let asked = Asked { chat: *chat, text: text.clone(), reused: false };
                self.asked.insert((caller.clone(), key.clone()), asked);
                Ok(())
            }
            Evidence::Answered { caller, key, chat, answer } => {
                seen.ask();
                self.judge_answer(caller, key, *chat, answer)
            }
            Evidence::Committed(change) => {
                seen.ask();
                self.judge_change(seen, change)
            }
            _ => Ok(()),
        }
    }
}

impl Intents {
    fn judge_answer(&self, caller: &Name, key: &Name, chat: ChatId, answer: &Answer) -> Ruling {
        let key = (caller.clone(), key.clone());
        let Some(asked) = self.asked.get(&key).filter(|asked| !asked.reused) else { return Ok(()) };
        let committed = self.committed.get(&key);
        let Answer::Accepted(accepted) = answer else {
            // Under the same key, something else may have been taken.
            let said = |id: &Option<MessageId>| id.and_then(|id| self.taken.get(&(chat, id)));
            return match committed {
                Some(id) if asked.text.as_ref().is_none_or(|text| said(id) == Some(text)) => {
                    Err(format!("{} is refused, and was taken", key.1))
                }
                _ => Ok(()),
            };
        };
        let Some(text) = &asked.text else { return Ok(()) };
        let id = taken_as(accepted);
        if id.and_then(|id| self.taken.get(&(chat, id))) != Some(text) {
            return Err(format!("{} is acknowledged as {id:?}, and that was never taken", key.1));
        }
        match committed.filter(|given| **given != id) {
            Some(given) => Err(format!("{} is acknowledged as {id:?}, and was taken as {given:?}", key.1)),
            None => Ok(()),
        }
    }

    fn judge_change(&mut self, seen: &Seen<'_>, change: &Committed) -> Ruling {
        let Some(past) = seen.index.past(change.chat) else { return Ok(()) };
        let (before, after) = past.step();
        let name = change.command.name();
        if let (Some(caller), Some(key)) = (&change.caller, &change.key) {
            let key = (caller.clone(), key.clone());
            if self.committed.insert(key.clone(), taken_as(&change.accepted)).is_some() {
                return Err(format!("{name}: what {} asks for is done twice", key.1));
            }
        }
        self.judge_texts(change)?;
        self.judge_turns(change)?;
        judge_presence(before, after, change).map_err(|why| format!("{name} {why}"))
    }

    /// What had to wait says what it said.
    fn judge_turns(&self, change: &Committed) -> Ruling {
        for message in &change.inserted {
            let waited = message.queued_as.and_then(|id| self.taken.get(&(change.chat, id)));
            if waited.is_some_and(|text| *text != message.content.to_text()) {
                return Err(format!("message {} says something else than when it was queued", message.id));
            }
        }
        Ok(())
    }

    /// No text is committed more often than it was sent.
    fn judge_texts(&mut self, change: &Committed) -> Ruling {
        let chat = change.chat;
        if let Command::Create { messages, .. } = &change.command {
            let said = change.inserted.iter().map(|message| (message.role, &message.content));
            if !said.eq(messages.iter().map(|new| (new.role, &new.content))) {
                return Err("the chat begins with other messages than it was created with".to_owned());
            }
        }
        let inserted = change.inserted.iter().filter(|m| m.role == Role::User && m.queued_as.is_none());
        let inserted = inserted.map(|message| (message.id, &message.content));
        let queued = change.state.queue.iter().map(|queued| (queued.id, &queued.content));
        for (id, content) in inserted.chain(queued) {
            if self.taken.contains_key(&(chat, id)) {
                continue;
            }
            let text = content.to_text();
            self.taken.insert((chat, id), text.clone());
            // What was told elsewhere was sent there.
            if matches!(change.command, Command::Create { .. }) && id != change.state.last_message {
                continue;
            }
            let (asked, taken) = self.texts.entry((chat, text)).or_default();
            *taken += 1;
            if *taken > *asked && !self.asked.is_empty() {
                return Err(format!("the text of {id} was sent {asked} times and committed {taken} times"));
            }
        }
        Ok(())
    }
}

/// The ids of users' messages that are in the history, each by the id it first got, or in the queue.
fn present(moment: &Moment) -> impl Iterator<Item = MessageId> {
    let history = moment.history.iter().filter(|message| message.role == Role::User);
    let history = history.map(|message| message.queued_as.unwrap_or(message.id));
    history.chain(queue(moment))
}

fn queue(moment: &Moment) -> impl Iterator<Item = MessageId> {
    moment.state.queue.iter().map(|queued| queued.id)
}

fn judge_presence(before: Option<&Moment>, after: &Moment, change: &Committed) -> Ruling {
    let mut there = BTreeSet::new();
    if let Some(twice) = present(after).find(|id| !there.insert(*id)) {
        return Err(format!("leaves message {twice} in the chat twice"));
    }
    let Some(before) = before else { return Ok(()) };
    let mut lost = present(before).filter(|id| !there.contains(id));
    let may_go = |id: MessageId| match change.command {
        Command::Edit { message, .. } => id >= message || queue(before).any(|queued| queued == id),
        Command::Regenerate { .. } => change.cut_from.is_some_and(|from| id >= from),
        Command::DeleteQueued { queued } => id == queued,
        Command::Delete | Command::Expire { .. } => true,
        // It was promoted and then cut off: it has another id than the one it first got.
        _ => false,
    };
    let cut = |id: MessageId| {
        change
            .cut_from
            .is_some_and(|from| before.history.iter().any(|m| m.queued_as == Some(id) && m.id >= from))
    };
    if let Some(lost) = lost.find(|id| !may_go(*id) && !cut(*id)) {
        return Err(format!("loses message {lost}"));
    }
    let (now, due) = (queue(after).collect::<Vec<_>>(), due_queue(before, change));
    if let Some(due) = due.filter(|due| *due != now) {
        return Err(format!("leaves the queue {now:?}, expected {due:?}"));
    }
    let promoted = change.inserted.iter().find_map(|message| message.queued_as);
    let turn = match change.command {
        Command::Promote { queued } => Some(queued),
        _ => queue(before).next(),
    };
    match promoted.filter(|promoted| turn != Some(*promoted)) {
        Some(promoted) => Err(format!("takes {promoted} out of its turn, which is that of {turn:?}")),
        None => Ok(()),
    }
}

/// The queue after a change; `None` for a deleted chat.
fn due_queue(before: &Moment, change: &Committed) -> Option<Vec<MessageId>> {
    let mut due: Vec<_> = queue(before).collect();
    let busy = before.state.status.is_busy();
    // Nobody works on it, so nothing waits for whoever stops it.
    let asking = before.state.status == Status::RequiresAction;
    let (owned, interrupting) = (before.state.worker.is_some(), before.state.status == Status::Interrupting);
    let take_head = |due: &mut Vec<MessageId>| {
        if !due.is_empty() {
            due.remove(0);
        }
    };
    match &change.command {
        Command::Send { mode, .. } => {
            let new = taken_as(&change.accepted)?;
            match (busy, mode) {
                (true, SendMode::Interrupt) if asking => {}
                (true, SendMode::Interrupt) => due.insert(0, new),
                (true, _) => due.push(new),
                (false, SendMode::Interrupt) => {}
                (false, _) if due.is_empty() => {}
                (false, _) => {
                    due.push(new);
                    take_head(&mut due);
                }
            }
        }
        Command::DeleteQueued { queued } => due.retain(|id| id != queued),
        Command::Promote { queued } => {
            due.retain(|id| id != queued);
            if busy && !asking {
                due.insert(0, *queued);
            }
        }
        Command::Edit { .. } => due.clear(),
        Command::Interrupt { .. } if !owned && !interrupting => take_head(&mut due),
        Command::FinishTurn { .. } | Command::FinishInterruption { .. } => take_head(&mut due),
        Command::Delete | Command::Expire { .. } => return None,
        _ => {}
    }
    Some(due)
}
