//! Who besides its owner may see a chat, and who may change it. The row itself says so, under its lock (S10).

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ChatState, Command, Rejection};

/// What a share gives leave to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// To see the chat.
    Read,
    /// To see it, and to change all but who may see it and whether it is there.
    Write,
}

impl Access {
    /// The name, as clients and databases have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A chat is given to a user who does not own it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Share {
    /// To whom.
    pub user: Arc<str>,
    /// To do what.
    pub may: Access,
}

/// What a user is to a chat. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// The chat does not exist for this user.
    Stranger,
    /// The chat is shared with the user, to read.
    Reader,
    /// The chat is shared with the user, to write.
    Writer,
    /// The chat is the user's.
    Owner,
}

impl ChatState {
    /// What the user is to this chat.
    pub fn standing(&self, user: &str) -> Standing {
        if *self.owner == *user {
            return Standing::Owner;
        }
        match self.shares.binary_search_by(|share| (*share.user).cmp(user)) {
            Ok(at) if self.shares[at].may == Access::Write => Standing::Writer,
            Ok(_) => Standing::Reader,
            Err(_) => Standing::Stranger,
        }
    }

    /// Whether the chat is there for this user: for anybody but its owner and those it is shared with, it does not
    /// exist (S10).
    pub fn is_there_for(&self, user: &str) -> bool {
        self.standing(user) > Standing::Stranger
    }

    /// Whether the user may ask for this (S10).
    pub fn check_leave(&self, user: &str, command: &Command) -> Result<(), Rejection> {
        let standing = self.standing(user);
        match command {
            _ if standing == Standing::Stranger => Err(Rejection::NoSuchChat),
            // What was given to somebody, they may give back.
            Command::Unshare { user: whose } if **whose == *user => Ok(()),
            _ if standing >= command.asks_for() => Ok(()),
            _ if command.asks_for() == Standing::Owner => Err(Rejection::NotOwner),
            _ => Err(Rejection::ReadOnly),
        }
    }
}

impl Command {
    /// The least that a user is to a chat who may ask for this.
    pub const fn asks_for(&self) -> Standing {
        match self {
            // Whoever sees the chat is told that it is there.
            Self::Create { .. } => Standing::Reader,
            Self::Delete | Self::Share { .. } | Self::Unshare { .. } => Standing::Owner,
            _ => Standing::Writer,
        }
    }
}
