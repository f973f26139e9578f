//! The calls of a history, as those have to know them who send it on.

use std::collections::HashSet;

use mainstem_machine::Role;
use mainstem_runtime::ports::Conversation;

use crate::content::{Part, parts};

/// The result of a call of which none is known. The call is sent all the same: who made it is to know that it did, and
/// that it may have been carried out.
pub(super) const UNKNOWN_RESULT: &str = "error: nobody knows what became of this call";

/// The names of all calls of the history.
pub(super) fn call_ids(conversation: &Conversation) -> HashSet<String> {
    let answers = conversation.messages.iter().filter(|message| message.role == Role::Assistant);
    let parts = answers.flat_map(|message| parts(&message.content));
    parts.filter_map(|part| if let Part::Call { id, .. } = part { Some(id) } else { None }).collect()
}
