//! L6: no chat waits for a server's tool longer than a tool may take, and a lease; none waits for a client's once it was
//! interrupted.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{ChatId, ChatState, Command, SendMode, Status, Time};

use crate::{Evidence, EvidenceIndex, Life, Name, Oracle, Past, Ruling, Seen, WorldFacts};

/// How long it may take until a call is begun, and until its result is written.
const SLACK: Duration = Duration::from_secs(2);

/// The chats whose worker has calls to carry out, with the worker and the time since when it has them all.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolsEnd {
    waiting: BTreeMap<ChatId, (Name, Time)>,
}

impl Oracle for ToolsEnd {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        if let Some((chat, since)) = self.overdue(seen) {
            self.waiting.remove(&chat);
            return Err(format!("chat {chat} waits for its tools since {since:?}"));
        }
        let change = match seen.evidence {
            Evidence::Committed(change) => change,
            // Before, the worker may not know that the chat is its own, or what it has written.
            Evidence::CallBegun { replica, chat, .. } => {
                seen.ask();
                // Whoever begins what is not waited for any more has yet to hear it.
                let present = seen.index.past(*chat).and_then(Past::present);
                if present.is_some_and(|moment| is_owed(&moment.state)) {
                    self.waiting.entry(*chat).or_insert_with(|| (replica.clone(), seen.at));
                }
                return Ok(());
            }
            // Whoever comes after it takes the chat up, which L3 demands.
            Evidence::Lived { replica, life: Life::Crashed | Life::Vanished } => {
                self.waiting.retain(|_, (worker, _)| worker != replica);
                return Ok(());
            }
            _ => return Ok(()),
        };
        if !is_owed(&change.state) || change.deleted || matches!(change.command, Command::Acquire { .. }) {
            self.waiting.remove(&change.chat);
        }
        if interrupts(&change.command) && !change.state.calls.is_empty() {
            return Err(format!("{} leaves the chat waiting for its tools", change.command.name()));
        }
        Ok(())
    }

    fn missing(&self, index: &EvidenceIndex, _facts: &WorldFacts) -> Option<String> {
        index.chats().find_map(|(chat, past)| {
            let moment = past.present().filter(|moment| !moment.deleted)?;
            is_owed(&moment.state)
                .then(|| format!("chat {chat} still waits for its tools, since {:?}", moment.at))
        })
    }
}

impl ToolsEnd {
    /// A chat whose worker had the time to bring its calls to an end, and did not.
    fn overdue(&mut self, seen: &Seen<'_>) -> Option<(ChatId, Time)> {
        let settings = &seen.index.settings;
        let limit = settings.tool_timeout + settings.lease_ttl + SLACK;
        let late: Vec<_> = self.waiting.iter().filter(|(_, (_, since))| *since + limit < seen.at).collect();
        let lives = &seen.index.lives;
        let (late, excused): (Vec<_>, Vec<_>) = late
            .into_iter()
            .map(|(chat, (worker, since))| (*chat, worker.clone(), *since))
            .partition(|(chat, worker, since)| {
                let is_there = lives.replica(worker).is_some_and(|replica| replica.up && !replica.paused);
                // Whoever does not know that it holds the chat carries nothing out until its lease has run out.
                let unaware = || seen.index.past(*chat).and_then(Past::unaware);
                is_there && !seen.is_excused(lives.hampered(worker, *chat, *since).or_else(unaware))
            });
        // Whoever is gone is replaced, which L3 demands; whoever was hampered has its time anew.
        for (chat, ..) in excused {
            if let Some((_, since)) = self.waiting.get_mut(&chat) {
                *since = seen.at;
            }
        }
        late.first().map(|(chat, _, since)| (*chat, *since))
    }
}

/// Whether it is for the worker to go on: it carries calls out, or is to commit what came of them.
fn is_owed(state: &ChatState) -> bool {
    state.status == Status::Running && !state.calls.is_empty()
}

/// Whether nobody waits for calls any more after this.
fn interrupts(command: &Command) -> bool {
    matches!(
        command,
        Command::Interrupt { .. }
            | Command::Edit { .. }
            | Command::Promote { .. }
            | Command::Send { mode: SendMode::Interrupt, .. }
    )
}
