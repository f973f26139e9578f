//! The committed past of one chat: what its history was after each change.

use std::sync::Arc;

use mainstem_machine::{ChatState, Message};

use crate::Committed;

/// One committed moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) state: ChatState,
    pub(crate) history: Arc<[Message]>,
}

/// All of them, in order.
pub(crate) fn of(changes: &[&Committed]) -> Vec<Moment> {
    let mut history: Arc<[Message]> = Arc::default();
    let mut moments = vec![];
    for change in changes {
        if change.cut_from.is_some() || !change.inserted.is_empty() {
            let kept = history.iter().filter(|message| change.cut_from.is_none_or(|from| message.id < from));
            history = kept.chain(&change.inserted).cloned().collect();
        }
        moments.push(Moment { state: change.state.clone(), history: history.clone() });
    }
    moments
}
