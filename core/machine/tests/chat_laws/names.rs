//! The laws of names: ids of messages, which are given once and grow along the history, and turns, which begin under the id
//! of their message and end once.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_machine::limits::IDS_AHEAD;
use mainstem_machine::{Change, ChatState, Command, MessageId, Role, Turn, TurnStatus, Usage};

/// All names that were given in one chat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    given: BTreeSet<MessageId>,
    /// The highest id that the history ever had.
    highest: MessageId,
    /// The turns that ended. An edit takes those that it cuts off.
    ended: BTreeMap<MessageId, Turn>,
    begun: BTreeSet<MessageId>,
}

impl Names {
    pub(crate) fn note(&mut self, command: &Command, before: Option<&ChatState>, change: &Change) {
        if change.deleted {
            *self = Self::default();
            return;
        }
        self.ids_are_given_once(before, change);
        self.what_was_queued_keeps_its_id_unless_overtaken(before, change);
        match command {
            Command::Create { .. } => self.all_turns_but_the_last_are_over(change),
            _ => self.turns_begin_and_end_once(command, before, change),
        }
        turns_tell_how_their_answers_ended(command, before, change);
        let inserted = change.inserted.iter().map(|message| message.id);
        self.highest = inserted.chain([self.highest]).max().unwrap_or_default();
    }

    fn ids_are_given_once(&mut self, before: Option<&ChatState>, change: &Change) {
        let known: BTreeSet<_> = before.iter().flat_map(|chat| &chat.queue).map(|queued| queued.id).collect();
        let queued: Vec<_> = change.state.queue.iter().map(|queued| queued.id).collect();
        assert_eq!(
            queued.iter().collect::<BTreeSet<_>>().len(),
            queued.len(),
            "S6: ids in a queue are unique"
        );
        let mut given: BTreeSet<_> = queued.into_iter().filter(|id| !known.contains(id)).collect();
        for message in &change.inserted {
            let is_kept = message.queued_as == Some(message.id) && known.contains(&message.id);
            assert!(is_kept || given.insert(message.id), "S1: {} is given twice at once", message.id);
            // It may have passed through the queue within one change.
            given.extend(message.queued_as.filter(|id| !known.contains(id)));
        }
        for id in given {
            assert!(self.given.insert(id), "S1: {id} was given before");
        }
        assert_eq!(
            self.given.last(),
            Some(&change.state.last_id).filter(|id| id.0 > 0),
            "S1: the highest id is known"
        );
        let kept = change.cut_from.map_or(MessageId(u64::MAX), |from| MessageId(from.0 - 1));
        let last = before.map_or(MessageId(0), |chat| chat.last_message.min(kept));
        let first = change.inserted.first().map(|message| message.id);
        assert!(first.is_none_or(|first| first > last), "S1: ids grow along the history");
        assert!(change.inserted.is_sorted_by(|a, b| a.id < b.id), "S1: history is in the order of its ids");
        let newest = change.inserted.last().map_or(last, |message| message.id);
        assert_eq!(change.state.last_message, newest, "S1: the newest message is named");
    }

    fn what_was_queued_keeps_its_id_unless_overtaken(&self, before: Option<&ChatState>, change: &Change) {
        let mut highest = self.highest;
        // What a turn says has room before what waits, as long as it stays within the gap behind its message.
        let turn = before.and_then(|chat| chat.turn.as_ref()).map(|turn| turn.message);
        let known = before.iter().flat_map(|chat| &chat.queue).chain(&change.state.queue);
        let waits = known.map(|queued| queued.id).min();
        for message in &change.inserted {
            let next = highest.next();
            let is_close = turn.is_none_or(|turn| next.0 - turn.0.min(next.0) < IDS_AHEAD);
            let has_room = waits.is_some_and(|waits| next < waits) && is_close;
            let overtakes = has_room && message.role != Role::User && waits < Some(message.id);
            assert!(!overtakes, "S12: {} of a turn is given beyond what waits", message.id);
            if let Some(queued_as) = message.queued_as {
                assert_eq!(
                    message.id == queued_as,
                    queued_as > highest,
                    "S12: {queued_as} came as {}",
                    message.id
                );
            }
            highest = highest.max(message.id);
        }
    }

    fn all_turns_but_the_last_are_over(&mut self, change: &Change) {
        let mut turns: Vec<Turn> = vec![];
        for message in &change.inserted {
            match turns.last_mut() {
                _ if message.role == Role::User => turns.push(Turn::queued(message.id)),
                Some(turn) => turn.last = message.id,
                None => {}
            }
            assert_eq!(
                message.turn,
                turns.last().map(|turn| turn.id),
                "S12: of the turn that it begins, or is in"
            );
        }
        let runs = change.inserted.last().is_some_and(|last| last.role == Role::User);
        let over = turns.len() - usize::from(runs);
        for (at, turn) in turns.iter_mut().enumerate() {
            turn.status = if at < over { TurnStatus::Completed } else { TurnStatus::Running };
        }
        assert_eq!((&change.ended[..], change.state.turn.as_ref()), (&turns[..over], turns.last()), "S12");
        assert_eq!(change.state.status.is_busy(), runs, "S12: what runs is a turn");
        self.begun.extend(turns.iter().map(|turn| turn.id));
        self.ended.extend(turns.drain(..over).map(|turn| (turn.id, turn)));
    }

    fn turns_begin_and_end_once(&mut self, command: &Command, before: Option<&ChatState>, change: &Change) {
        let open = |turn: &&Turn| !turn.status.is_over();
        let ran = before.and_then(|chat| chat.turn.as_ref()).filter(open);
        let is = change.state.turn.as_ref();
        for message in &change.inserted {
            let of = if message.role != Role::User {
                ran.map(|turn| turn.id)
            } else {
                message.queued_as.or(Some(message.id))
            };
            assert_eq!(message.turn, of, "S12: a message is of the turn that it begins, or that said it");
        }
        if let Some(from) = change.cut_from {
            self.ended.retain(|_, turn| turn.message < from);
        }
        self.a_turn_begins_again_from_nothing(command, change);
        assert!(change.ended.len() <= 1, "S12: one turn ends at a time");
        if let Some(turn) = change.ended.first() {
            assert_eq!(
                ran.map(|ran| (ran.id, ran.message)),
                Some((turn.id, turn.message)),
                "S12: what ran ends"
            );
            assert_eq!(self.ended.insert(turn.id, turn.clone()), None, "S12: a turn ends once");
            let (status, error) = match command {
                Command::FinishTurn { .. } => (TurnStatus::Completed, None),
                Command::Fail { error, .. } => (TurnStatus::Failed, Some(error.clone())),
                _ => (TurnStatus::Interrupted, None),
            };
            assert_eq!((turn.status, &turn.error), (status, &error), "S12: with its reason");
        }
        let goes_on = is.filter(open).map(|turn| turn.id);
        let is_cut = ran.is_some_and(|ran| change.cut_from.is_some_and(|from| from <= ran.message));
        let ends = ran.is_some_and(|ran| goes_on != Some(ran.id)) && !is_cut;
        assert_eq!(!change.ended.is_empty(), ends, "S12: what runs no more has ended, unless it is cut off");
        if let Some(turn) = is {
            assert_eq!(turn.last, change.state.last_message, "S12: it says what is said");
            let is_new = before.and_then(|chat| chat.turn.as_ref()).is_none_or(|was| was.id != turn.id);
            let again = change.reopened == Some(turn.id);
            assert!(again || !is_new || self.begun.insert(turn.id), "S12: a turn begins once");
        }
        assert_eq!(change.state.status.is_busy(), goes_on.is_some(), "S12: what runs is a turn");
    }

    fn a_turn_begins_again_from_nothing(&mut self, command: &Command, change: &Change) {
        let Some(turn) = change.reopened else {
            return assert!(!matches!(command, Command::Regenerate { .. }), "S12: its turn begins again");
        };
        self.ended.remove(&turn);
        assert!(self.begun.contains(&turn), "S12: a turn begins again that began before");
        let message = MessageId(change.cut_from.expect("S12: its answers go").0 - 1);
        let fresh = Turn { status: TurnStatus::Running, message, last: message, ..Turn::queued(turn) };
        assert_eq!(change.state.turn, Some(fresh), "S12: from nothing");
    }
}

/// As its last answer did, with what all of them cost.
fn turns_tell_how_their_answers_ended(command: &Command, before: Option<&ChatState>, change: &Change) {
    let ran = before.and_then(|chat| chat.turn.as_ref()).filter(|turn| !turn.status.is_over());
    let is_it = |turn: &&Turn| ran.is_some_and(|ran| ran.id == turn.id);
    let Some((ran, is)) = ran.zip(change.ended.iter().chain(&change.state.turn).find(is_it)) else { return };
    let tokens = |usage: Option<Usage>| usage.map(|usage| (usage.input_tokens, usage.output_tokens));
    let sum = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let (reason, cost) = match command {
        Command::FinishTurn { completion, .. } | Command::CommitStep { completion, .. } => {
            let costs = [tokens(ran.usage), tokens(completion.usage)];
            (completion.finish_reason, costs.into_iter().flatten().reduce(sum))
        }
        Command::Regenerate { .. } => (None, None),
        _ => (ran.finish_reason, tokens(ran.usage)),
    };
    assert_eq!((is.finish_reason, tokens(is.usage)), (reason, cost), "S12: {}", command.name());
}
