//! The one place where what requests ask for becomes commands of a node: what has a model begin work has a limit of its own there,
//! whatever protocol it came by.

use mainstem_machine::{Accepted, ChatId, Command, Role};
use mainstem_runtime::ports::{Env, IdempotencyKey};

use super::auth::Requester;
use super::{App, Problem};

impl<E: Env> App<E> {
    /// Carries out the command, or tells again what came of it under this key.
    pub(super) async fn execute(
        &self,
        by: &Requester,
        chat: ChatId,
        command: Command,
        key: Option<IdempotencyKey>,
    ) -> Result<Accepted, Problem> {
        if begins_work(&command) {
            self.rates.send(&by.payer)?;
        }
        Ok(self.node.execute(by, chat, command, key).await?)
    }
}

/// Whether a model has to do something that it had not before.
fn begins_work(command: &Command) -> bool {
    match command {
        Command::Create { messages, .. } => messages.last().is_some_and(|last| last.role == Role::User),
        Command::Send { .. }
        | Command::ToolResults { .. }
        | Command::Edit { .. }
        | Command::Regenerate { .. } => true,
        // The last ones are workers', and come by no request.
        _ => false,
    }
}
