//! S6: each acknowledged send is in the history or the queue exactly once, until the user deletes it or an
//! edit cuts it off. What waits has its turn in order, but for promotion and interrupting sends.

use std::collections::BTreeMap;

use mainstem_machine::{ChatId, MessageId};

use crate::past::{self, Moment};
use crate::{Committed, Record, Violation};

pub(crate) fn check(record: &Record, found: &mut Vec<Violation>) {
    let chats = record.by_chat();
    for (chat, changes) in &chats {
        let past = past::of(changes);
        for (at, change) in changes.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| &past[at]);
            if let Some(why) = lost_or_doubled(before, &past[at], change) {
                let why = format!("chat {chat}: {} {why}", change.command);
                found.push(Violation { guarantee: "S6", at: change.at, why });
            }
        }
        check_sends(record, *chat, changes, found);
    }
}

/// The ids under which users' messages are there: those in the queue, and those in the history by the id they
/// had when they were taken.
fn present(moment: &Moment) -> Vec<MessageId> {
    let history = moment.history.iter().filter(|message| message.episode.is_none());
    let history = history.map(|message| message.queued_as.unwrap_or(message.id));
    history.chain(moment.state.queue.iter().map(|queued| queued.id)).collect()
}

fn lost_or_doubled(before: Option<&Moment>, after: &Moment, change: &Committed) -> Option<String> {
    let there = present(after);
    if let Some(twice) = there.iter().find(|id| there.iter().filter(|other| other == id).count() > 1) {
        return Some(format!("leaves message {twice} there twice"));
    }
    let before = before?;
    let may_remove = matches!(change.command, "edit" | "delete_queued" | "delete");
    if let Some(lost) = present(before).into_iter().find(|id| !may_remove && !there.contains(id)) {
        return Some(format!("loses message {lost}"));
    }
    let promoted = change.inserted.iter().find_map(|message| message.queued_as)?;
    let head = before.state.queue.first().map(|queued| queued.id);
    (change.command != "promote" && head.is_some_and(|head| head != promoted))
        .then(|| format!("takes {promoted} out of its turn, which is that of {head:?}"))
}

fn check_sends(record: &Record, chat: ChatId, changes: &[&Committed], found: &mut Vec<Violation>) {
    // By the id under which it was first taken.
    let mut taken: BTreeMap<MessageId, String> = BTreeMap::new();
    for change in changes {
        for message in change.inserted.iter().filter(|m| m.episode.is_none() && m.queued_as.is_none()) {
            taken.insert(message.id, message.content.to_text());
        }
        for queued in &change.state.queue {
            taken.entry(queued.id).or_insert_with(|| queued.content.to_text());
        }
    }
    let mine = || record.sends.iter().filter(|send| send.chat == chat);
    for send in mine() {
        let Some((at, id)) = send.acknowledged else { continue };
        if taken.get(&id) != Some(&send.text) {
            let why = format!("chat {chat}: a send was acknowledged as {id}, and that was never taken");
            found.push(Violation { guarantee: "S6", at, why });
        }
    }
    for (id, text) in &taken {
        let same = |other: &&String| *other == text;
        let (times, sent) = (taken.values().filter(same).count(), mine().filter(|s| s.text == *text).count());
        if sent > 0 && times > sent {
            let at = changes.last().map(|change| change.at).unwrap_or_default();
            let why = format!("chat {chat}: what is {id} was sent {sent} times and taken {times} times");
            found.push(Violation { guarantee: "S6", at, why });
            return;
        }
    }
}
