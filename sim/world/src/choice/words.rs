//! The words of choices, both ways.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mainstem_machine::{Access, MessageId, SendMode};

use super::{ChatAt, Choice, From, How, Kind, NodeAt, Order, ViewerAt};

/// A name is `a` for the first replica.
impl fmt::Display for NodeAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", char::from(b'a' + self.0))
    }
}

impl fmt::Display for ChatAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chat{}", self.0 + 1)
    }
}

impl fmt::Display for ViewerAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0 + 1)
    }
}

/// A line that is not a choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a choice: expected a line such as `carry a chat1 snapshot`, `crash a` or `pass`")]
pub struct NotAChoice(String);

impl FromStr for NodeAt {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.as_bytes() {
            [letter @ b'a'..=b'z'] => Ok(Self(letter - b'a')),
            _ => Err(()),
        }
    }
}

impl FromStr for ChatAt {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        numbered(text, "chat").map(Self).ok_or(())
    }
}

impl FromStr for ViewerAt {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        numbered(text, "v").map(Self).ok_or(())
    }
}

fn numbered(text: &str, prefix: &str) -> Option<u8> {
    text.strip_prefix(prefix)?.parse::<u8>().ok()?.checked_sub(1)
}

/// Words for the values of an enum, both ways.
macro_rules! words {
    ($type:ty { $($value:path => $word:literal),+ $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($value => $word),+ })
            }
        }

        impl FromStr for $type {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($word => Ok($value),)+ _ => Err(()) }
            }
        }
    };
}

words! { Kind {
    Kind::Bus => "bus", Kind::Snapshot => "snapshot", Kind::Page => "page", Kind::History => "history",
    Kind::Apply => "apply", Kind::Sync => "sync", Kind::Acquire => "acquire", Kind::Heartbeat => "heartbeat",
    Kind::Publish => "publish", Kind::Request => "request",
} }

words! { How {
    How::Carry => "carry", How::Happen => "happen", How::Hold => "hold", How::Late => "late",
    How::Refuse => "refuse", How::LoseRequest => "lose-request", How::LoseAnswer => "lose-answer",
} }

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before(but) => return write!(f, "before-{but}"),
            Self::After(MessageId(id)) => return write!(f, "after-{id}"),
            Self::Back(back) => return write!(f, "back-{back}"),
            Self::Fresh => "fresh",
            Self::Newest => "newest",
            Self::Message => "message",
            Self::Gone => "gone",
            Self::Never => "never",
            Self::Future => "future",
            Self::FutureMessages => "future-messages",
        })
    }
}

impl FromStr for From {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "fresh" => Self::Fresh,
            "newest" => Self::Newest,
            "message" => Self::Message,
            "gone" => Self::Gone,
            "never" => Self::Never,
            "future" => Self::Future,
            "future-messages" => Self::FutureMessages,
            _ => match text.split_once('-').ok_or(())? {
                ("before", but) => Self::Before(but.parse().map_err(|_| ())?),
                ("after", id) => Self::After(MessageId(id.parse().map_err(|_| ())?)),
                ("back", back) => Self::Back(back.parse().map_err(|_| ())?),
                _ => return Err(()),
            },
        })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EditThis(MessageId(id)) => return write!(f, "edit-{id}"),
            Self::RegenerateThis(id, mode) => return write!(f, "{}-{id}", Self::Regenerate(*mode)),
            Self::PromoteThis(MessageId(id)) => return write!(f, "promote-{id}"),
            Self::DeleteThisQueued(MessageId(id)) => return write!(f, "delete-queued-{id}"),
            Self::Send(SendMode::Queue) => "send",
            Self::Send(SendMode::Interrupt) => "send-interrupt",
            Self::Send(SendMode::Reject) => "send-reject",
            Self::Edit => "edit",
            Self::Regenerate(SendMode::Queue) => "regenerate",
            Self::Regenerate(SendMode::Interrupt) => "regenerate-interrupt",
            Self::Regenerate(SendMode::Reject) => "regenerate-reject",
            Self::RegenerateEarlier => "regenerate-earlier",
            Self::Interrupt => "interrupt",
            Self::Promote => "promote",
            Self::DeleteQueued => "delete-queued",
            Self::Answer => "answer",
            Self::Delete => "delete",
            Self::Share(Access::Read) => "share-read",
            Self::Share(Access::Write) => "share-write",
            Self::Unshare => "unshare",
        })
    }
}

impl Order {
    /// Everything that a user may want, but for what names a message.
    pub const ALL: [Self; 16] = [
        Self::Send(SendMode::Queue),
        Self::Send(SendMode::Interrupt),
        Self::Send(SendMode::Reject),
        Self::Edit,
        Self::Regenerate(SendMode::Queue),
        Self::Regenerate(SendMode::Interrupt),
        Self::Regenerate(SendMode::Reject),
        Self::RegenerateEarlier,
        Self::Interrupt,
        Self::Promote,
        Self::DeleteQueued,
        Self::Answer,
        Self::Delete,
        Self::Share(Access::Read),
        Self::Share(Access::Write),
        Self::Unshare,
    ];
}

impl FromStr for Order {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(order) = Self::ALL.into_iter().find(|order| order.to_string() == text) {
            return Ok(order);
        }
        let (order, id) = text.rsplit_once('-').ok_or(())?;
        let id = MessageId(id.parse().map_err(|_| ())?);
        match order {
            "edit" => Ok(Self::EditThis(id)),
            "regenerate" => Ok(Self::RegenerateThis(id, SendMode::Queue)),
            "regenerate-interrupt" => Ok(Self::RegenerateThis(id, SendMode::Interrupt)),
            "regenerate-reject" => Ok(Self::RegenerateThis(id, SendMode::Reject)),
            "promote" => Ok(Self::PromoteThis(id)),
            "delete-queued" => Ok(Self::DeleteThisQueued(id)),
            _ => Err(()),
        }
    }
}

/// Choices with their names, by what they are about: for each name one choice, both ways.
macro_rules! choices {
    (
        node { $($node:ident $node_word:literal),+ $(,)? }
        chat { $($chat:ident $chat_word:literal),+ $(,)? }
        viewer { $($viewer:ident $viewer_word:literal),+ $(,)? }
        order { $($order:ident $order_word:literal),+ $(,)? }
        other { $($other_word:literal),+ $(,)? }
    ) => {
        /// The names of all choices.
        const NAMES: &[&str] =
            &[$($node_word,)+ $($chat_word,)+ $($viewer_word,)+ $($order_word,)+ $($other_word),+];

        impl Choice {
            /// The words of a choice that is told by a name and where it happens.
            fn write(&self, f: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
                Some(match self {
                    $(Self::$node(node) => write!(f, "{} {node}", $node_word),)+
                    $(Self::$chat(node, chat) => write!(f, "{} {node} {chat}", $chat_word),)+
                    $(Self::$viewer(viewer) => write!(f, "{} {viewer}", $viewer_word),)+
                    $(Self::$order(node, chat, order) => write!(f, "{} {node} {chat} {order}", $order_word),)+
                    _ => return None,
                })
            }

            fn read(words: &[&str]) -> Option<Self> {
                Some(match *words {
                    $([$node_word, node] => Self::$node(to(node)?),)+
                    $([$chat_word, node, chat] => Self::$chat(to(node)?, to(chat)?),)+
                    $([$viewer_word, viewer] => Self::$viewer(to(viewer)?),)+
                    $([$order_word, node, chat, order] => Self::$order(to(node)?, to(chat)?, to(order)?),)+
                    _ => return None,
                })
            }
        }
    };
}

choices! {
    node {
        Notice "notice", LoseNotice "lose-notice", RepeatNotice "repeat-notice", HoldNotices "hold-notices",
        BreakBus "break-bus", AskAgain "ask-again", MayWork "may-work", MayNotWork "may-not-work", Crash "crash",
        Lost "lost", Start "start", StartAmiss "start-amiss", Repeat "repeat", Steal "steal", Pause "pause", Resume "resume", Drain "drain", HandOver "hand-over", Exit "exit",
    }
    chat {
        Create "create", AnswerDial "answer-dial", Relay "relay", HoldLink "hold-link", BreakLink "break-link",
        Say "say", SayMuch "say-much", SayMany "say-many", Finish "finish", Fail "fail", FailForGood "fail-for-good", Peep "peep",
        Return "return", ReturnLast "return-last", FailCall "fail-call",
    }
    viewer { Read "read", Lose "lose", Leave "leave", Stall "stall" }
    order { Ask "ask", AskOnce "ask-once", Try "try" }
    other {
        "carry", "happen", "hold", "late", "refuse", "lose-request", "lose-answer", "stray", "pass", "watch", "drift", "ask-each", "share",
    }
}

/// What only stories choose.
const OF_STORIES: &[&str] = &["create", "share", "may-work", "may-not-work"];

impl Choice {
    /// The names of the choices that a walk may come by.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().copied().filter(|name| !OF_STORIES.contains(name))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { node, chat: Some(chat), kind, how } => write!(f, "{how} {node} {chat} {kind}"),
            Self::Operation { node, chat: None, kind, how } => write!(f, "{how} {node} {kind}"),
            Self::Stray => f.write_str("stray"),
            Self::Watch(viewer, node, from) => write!(f, "watch {viewer} {node} {from}"),
            Self::AskEach(node, order) => write!(f, "ask-each {node} {order}"),
            Self::Share(of, to) => write!(f, "share {of} {to}"),
            Self::FailFor(node, chat, span) => write!(f, "fail {node} {chat} {}", Micros(*span)),
            Self::Drift(node, per_mille) => write!(f, "drift {node} {per_mille}"),
            Self::Pass => f.write_str("pass"),
            Self::PassAtMost(span) => write!(f, "pass {}", Micros(*span)),
            choice => choice.write(f).expect("every other choice has a name and a place"),
        }
    }
}

/// A span as it is written.
struct Micros(Duration);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0.as_micros())
    }
}

impl FromStr for Micros {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let micros = text.strip_suffix("us").and_then(|micros| micros.parse().ok());
        micros.map(|micros| Self(Duration::from_micros(micros))).ok_or(())
    }
}

impl FromStr for Choice {
    type Err = NotAChoice;

    fn from_str(line: &str) -> Result<Self, NotAChoice> {
        let words: Vec<_> = line.split_whitespace().collect();
        parse(&words).ok_or_else(|| NotAChoice(line.to_owned()))
    }
}

fn to<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

fn parse(words: &[&str]) -> Option<Choice> {
    if let Some(choice) = Choice::read(words) {
        return Some(choice);
    }
    Some(match *words {
        ["stray"] => Choice::Stray,
        ["pass"] => Choice::Pass,
        ["pass", span] => Choice::PassAtMost(to::<Micros>(span)?.0),
        ["fail", node, chat, span] => Choice::FailFor(to(node)?, to(chat)?, to::<Micros>(span)?.0),
        ["share", of, other] => Choice::Share(to(of)?, to(other)?),
        ["ask-each", node, order] => Choice::AskEach(to(node)?, to(order)?),
        ["drift", node, per_mille] => Choice::Drift(to(node)?, to(per_mille)?),
        ["watch", viewer, node, from] => Choice::Watch(to(viewer)?, to(node)?, to(from)?),
        [how, node, chat, kind] => {
            Choice::Operation { node: to(node)?, chat: Some(to(chat)?), kind: to(kind)?, how: to(how)? }
        }
        [how, node, kind] => {
            Choice::Operation { node: to(node)?, chat: None, kind: to(kind)?, how: to(how)? }
        }
        _ => return None,
    })
}
