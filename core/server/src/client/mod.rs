//! Clients of a server: what `chat`, `tail` and `load` have in common. They know docs/protocol.md and nothing
//! of the server's insides.

mod api;
mod blocks;
mod chat;
mod event_stream;
mod follow;
mod latencies;
mod load;
mod tail;
mod terminal;

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

pub use api::{Api, CallError};
pub use chat::{ChatOptions, chat};
pub use event_stream::{EventStream, ServerSent};
pub use follow::Follow;
pub use load::{LoadOptions, load};
pub use tail::{TailOptions, tail};
pub use terminal::printable;

/// The token of a client.
#[derive(Clone, Debug, Args)]
pub struct TokenOptions {
    /// A file with the token to send
    #[arg(long, env = "MAINSTEM_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl TokenOptions {
    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let describe = |error: String| format!("--token-file {}: {error}", path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::environment(describe(error.to_string())))?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::usage(describe("expected one token of visible ASCII characters".into())));
        }
        Ok(Some(token.to_owned()))
    }
}
