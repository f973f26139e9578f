//! L2: no chat stays `interrupting`, whoever died.

use mainstem_machine::Status;

use crate::{Facts, Known, Oracle};

#[derive(Debug, Default)]
pub(crate) struct InterruptEnds;

impl Oracle for InterruptEnds {
    fn missing(&self, known: &Known, _facts: &Facts) -> Option<String> {
        known.chats().find_map(|(chat, past)| {
            let moment = past.present().filter(|moment| moment.state.status == Status::Interrupting)?;
            Some(format!("chat {chat} is still interrupting, since {:?}", moment.at))
        })
    }
}
