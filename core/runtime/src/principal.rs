//! Whoever asks: a user, what that user's credentials give leave to, and in which chats. Whether a caller may see a chat, and
//! whether the caller may change it, is decided here and, under the chat's lock, by the chat itself (S10).

use std::collections::BTreeSet;
use std::sync::Arc;

use mainstem_machine::{ChatId, ChatState, Command, Standing};

/// What credentials give leave to. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Nothing,
    /// To see chats.
    Read,
    /// To create and change chats.
    Write,
    /// To see the chats of every user.
    Admin,
}

/// A caller that was authenticated. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    user: Arc<str>,
    right: Right,
    /// `None`: all chats, and new ones.
    chats: Option<Arc<BTreeSet<ChatId>>>,
}

impl Principal {
    /// A user with this right in these chats; `None` means in all of them.
    pub fn new(user: Arc<str>, right: Right, chats: Option<BTreeSet<ChatId>>) -> Self {
        Self { user, right, chats: chats.map(Arc::new) }
    }

    pub fn user(&self) -> &Arc<str> {
        &self.user
    }

    pub fn right(&self) -> Right {
        self.right
    }

    /// The only chats that there are for this caller, if there are not all.
    pub fn chats(&self) -> Option<&BTreeSet<ChatId>> {
        self.chats.as_deref()
    }

    /// The same caller, in this chat alone. `None` if the caller has nothing to do with it.
    pub fn in_chat(&self, chat: ChatId) -> Option<Self> {
        let one = BTreeSet::from([chat]);
        self.reaches(chat).then(|| Self { chats: Some(Arc::new(one)), ..self.clone() })
    }

    fn reaches(&self, chat: ChatId) -> bool {
        self.chats.as_ref().is_none_or(|chats| chats.contains(&chat))
    }

    /// To whom the caller may not see it, a chat does not exist.
    pub fn may_see(&self, chat: &ChatState) -> bool {
        let is_theirs = self.right == Right::Admin || chat.is_there_for(&self.user);
        is_theirs && self.reaches(chat.id)
    }

    /// As whom the caller sees a chat from then on; `None`: as somebody who sees them all.
    pub(crate) fn sees_as(&self) -> Option<Arc<str>> {
        (self.right < Right::Admin).then(|| self.user.clone())
    }

    /// As whom the caller asks for a change: the chat says whether that user may. `None`: as nobody in particular, since
    /// who may see every chat may also say who else sees it.
    pub(crate) fn asks_as(&self, command: &Command) -> Option<Arc<str>> {
        let shares = matches!(command, Command::Share { .. } | Command::Unshare { .. });
        (!shares || self.right < Right::Admin).then(|| self.user.clone())
    }

    /// Whether the caller may see with whom this chat is shared.
    pub(crate) fn may_see_shares(&self, chat: &ChatState) -> bool {
        self.right == Right::Admin || chat.standing(&self.user) == Standing::Owner
    }

    /// Whether the caller may ask for a change of this chat, as far as it is not for the chat itself to say.
    pub(crate) fn may_change(&self, chat: ChatId, command: &Command) -> Result<(), Unable> {
        let creates = matches!(command, Command::Create { .. });
        match () {
            () if self.right < Right::Write => Err(Unable::OnlyRead),
            () if creates && self.chats.is_some() => Err(Unable::OnlyGivenChats),
            () if !self.reaches(chat) => Err(Unable::NoSuchChat),
            () => Ok(()),
        }
    }
}

/// A user who may do everything to chats of the user's own.
impl From<Arc<str>> for Principal {
    fn from(user: Arc<str>) -> Self {
        Self::new(user, Right::Write, None)
    }
}

impl From<&str> for Principal {
    fn from(user: &str) -> Self {
        Arc::<str>::from(user).into()
    }
}

/// Why a caller may not change a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    #[error("the credentials give leave to read only")]
    OnlyRead,
    #[error("the credentials are for given chats, and not for new ones")]
    OnlyGivenChats,
    #[error("there is no such chat for this caller")]
    NoSuchChat,
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_machine::Access;
    use uuid::Uuid;

    const ONE: ChatId = ChatId(Uuid::from_u128(1));
    const TWO: ChatId = ChatId(Uuid::from_u128(2));

    fn ann(right: Right, chats: Option<&[ChatId]>) -> Principal {
        Principal::new("ann".into(), right, chats.map(|chats| chats.iter().copied().collect()))
    }

    fn create() -> Command {
        let (chat, owner) = (ONE, "ann".into());
        Command::Create { chat, owner, settings: Default::default(), messages: vec![] }
    }

    #[test]
    fn an_admin_says_who_sees_a_chat_and_changes_nothing_else_of_it() {
        let shares = [
            Command::Share { user: "bob".into(), may: Access::Read },
            Command::Unshare { user: "bob".into() },
        ];
        for share in &shares {
            assert_eq!(ann(Right::Admin, None).asks_as(share), None);
            assert_eq!(ann(Right::Write, None).asks_as(share).as_deref(), Some("ann"));
        }
        for right in [Right::Admin, Right::Write] {
            assert_eq!(ann(right, None).asks_as(&Command::Delete).as_deref(), Some("ann"));
        }
        assert_eq!(
            (ann(Right::Admin, None).sees_as(), ann(Right::Read, None).sees_as().is_some()),
            (None, true)
        );
    }

    #[test]
    fn who_may_only_read_or_only_in_given_chats_changes_nothing_else() {
        let (change, create) = (Command::Delete, create());
        let anywhere = |right| ann(right, None).may_change(ONE, &change);
        assert_eq!(anywhere(Right::Nothing), Err(Unable::OnlyRead));
        assert_eq!(anywhere(Right::Read), Err(Unable::OnlyRead));
        assert_eq!((anywhere(Right::Write), anywhere(Right::Admin)), (Ok(()), Ok(())));
        let only = ann(Right::Write, Some(&[ONE]));
        assert_eq!(only.may_change(ONE, &change), Ok(()));
        assert_eq!(only.may_change(TWO, &change), Err(Unable::NoSuchChat));
        assert_eq!(only.may_change(ONE, &create), Err(Unable::OnlyGivenChats));
        assert_eq!(ann(Right::Write, None).may_change(TWO, &create), Ok(()));
    }

    #[test]
    fn one_chat_of_a_callers_is_never_more_than_the_caller_had() {
        let only = ann(Right::Read, Some(&[ONE]));
        assert_eq!(only.in_chat(ONE), Some(only.clone()));
        assert_eq!(only.in_chat(TWO), None);
        let narrowed = ann(Right::Write, None).in_chat(TWO).expect("all chats are there");
        assert_eq!(narrowed.may_change(ONE, &Command::Delete), Err(Unable::NoSuchChat));
    }
}
