//! The words of choices, both ways.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mainstem_machine::{MessageId, SendMode};

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

words! { From { From::Fresh => "fresh", From::Newest => "newest", From::Message => "message" } }

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EditThis(MessageId(id)) => return write!(f, "edit-{id}"),
            Self::PromoteThis(MessageId(id)) => return write!(f, "promote-{id}"),
            Self::DeleteThisQueued(MessageId(id)) => return write!(f, "delete-queued-{id}"),
            Self::Send(SendMode::Queue) => "send",
            Self::Send(SendMode::Interrupt) => "send-interrupt",
            Self::Send(SendMode::Reject) => "send-reject",
            Self::Edit => "edit",
            Self::Interrupt => "interrupt",
            Self::Promote => "promote",
            Self::DeleteQueued => "delete-queued",
            Self::Delete => "delete",
        })
    }
}

impl Order {
    /// Everything that a user may want, but for what names a message.
    pub const ALL: [Self; 8] = [
        Self::Send(SendMode::Queue),
        Self::Send(SendMode::Interrupt),
        Self::Send(SendMode::Reject),
        Self::Edit,
        Self::Interrupt,
        Self::Promote,
        Self::DeleteQueued,
        Self::Delete,
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
            "promote" => Ok(Self::PromoteThis(id)),
            "delete-queued" => Ok(Self::DeleteThisQueued(id)),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { node, chat: Some(chat), kind, how } => write!(f, "{how} {node} {chat} {kind}"),
            Self::Operation { node, chat: None, kind, how } => write!(f, "{how} {node} {kind}"),
            Self::Stray => f.write_str("stray"),
            Self::Notice(node) => write!(f, "notice {node}"),
            Self::LoseNotice(node) => write!(f, "lose-notice {node}"),
            Self::RepeatNotice(node) => write!(f, "repeat-notice {node}"),
            Self::HoldNotices(node) => write!(f, "hold-notices {node}"),
            Self::BreakBus(node) => write!(f, "break-bus {node}"),
            Self::AnswerDial(node, chat) => write!(f, "answer-dial {node} {chat}"),
            Self::Relay(node, chat) => write!(f, "relay {node} {chat}"),
            Self::HoldLink(node, chat) => write!(f, "hold-link {node} {chat}"),
            Self::BreakLink(node, chat) => write!(f, "break-link {node} {chat}"),
            Self::Say(node, chat) => write!(f, "say {node} {chat}"),
            Self::SayMuch(node, chat) => write!(f, "say-much {node} {chat}"),
            Self::SayMany(node, chat) => write!(f, "say-many {node} {chat}"),
            Self::Finish(node, chat) => write!(f, "finish {node} {chat}"),
            Self::Fail(node, chat) => write!(f, "fail {node} {chat}"),
            Self::FailForGood(node, chat) => write!(f, "fail-for-good {node} {chat}"),
            Self::Watch(viewer, node, from) => write!(f, "watch {viewer} {node} {from}"),
            Self::Read(viewer) => write!(f, "read {viewer}"),
            Self::Lose(viewer) => write!(f, "lose {viewer}"),
            Self::Leave(viewer) => write!(f, "leave {viewer}"),
            Self::Stall(viewer) => write!(f, "stall {viewer}"),
            Self::Ask(node, chat, order) => write!(f, "ask {node} {chat} {order}"),
            Self::Create(node, chat) => write!(f, "create {node} {chat}"),
            Self::AskAgain(node) => write!(f, "ask-again {node}"),
            Self::Pass => f.write_str("pass"),
            Self::PassAtMost(span) => write!(f, "pass {}us", span.as_micros()),
            Self::MayWork(node) => write!(f, "may-work {node}"),
            Self::MayNotWork(node) => write!(f, "may-not-work {node}"),
            Self::Crash(node) => write!(f, "crash {node}"),
            Self::Lost(node) => write!(f, "lost {node}"),
            Self::Start(node) => write!(f, "start {node}"),
            Self::Pause(node) => write!(f, "pause {node}"),
            Self::Resume(node) => write!(f, "resume {node}"),
            Self::Drain(node) => write!(f, "drain {node}"),
            Self::HandOver(node) => write!(f, "hand-over {node}"),
            Self::Exit(node) => write!(f, "exit {node}"),
        }
    }
}

impl FromStr for Choice {
    type Err = NotAChoice;

    fn from_str(line: &str) -> Result<Self, NotAChoice> {
        let words: Vec<_> = line.split_whitespace().collect();
        parse(&words).ok_or_else(|| NotAChoice(line.to_owned()))
    }
}

fn parse(words: &[&str]) -> Option<Choice> {
    fn to<T: FromStr>(word: &str) -> Option<T> {
        word.parse().ok()
    }
    let of_node: Option<fn(NodeAt) -> Choice> = match words[..] {
        ["notice", _] => Some(Choice::Notice),
        ["lose-notice", _] => Some(Choice::LoseNotice),
        ["repeat-notice", _] => Some(Choice::RepeatNotice),
        ["hold-notices", _] => Some(Choice::HoldNotices),
        ["break-bus", _] => Some(Choice::BreakBus),
        ["ask-again", _] => Some(Choice::AskAgain),
        ["may-work", _] => Some(Choice::MayWork),
        ["may-not-work", _] => Some(Choice::MayNotWork),
        ["crash", _] => Some(Choice::Crash),
        ["lost", _] => Some(Choice::Lost),
        ["start", _] => Some(Choice::Start),
        ["pause", _] => Some(Choice::Pause),
        ["resume", _] => Some(Choice::Resume),
        ["drain", _] => Some(Choice::Drain),
        ["hand-over", _] => Some(Choice::HandOver),
        ["exit", _] => Some(Choice::Exit),
        _ => None,
    };
    if let Some(of_node) = of_node {
        return Some(of_node(to(words[1])?));
    }
    let of_chat: Option<fn(NodeAt, ChatAt) -> Choice> = match words[..] {
        ["create", _, _] => Some(Choice::Create),
        ["answer-dial", _, _] => Some(Choice::AnswerDial),
        ["relay", _, _] => Some(Choice::Relay),
        ["hold-link", _, _] => Some(Choice::HoldLink),
        ["break-link", _, _] => Some(Choice::BreakLink),
        ["say", _, _] => Some(Choice::Say),
        ["say-much", _, _] => Some(Choice::SayMuch),
        ["say-many", _, _] => Some(Choice::SayMany),
        ["finish", _, _] => Some(Choice::Finish),
        ["fail", _, _] => Some(Choice::Fail),
        ["fail-for-good", _, _] => Some(Choice::FailForGood),
        _ => None,
    };
    if let Some(of_chat) = of_chat {
        return Some(of_chat(to(words[1])?, to(words[2])?));
    }
    Some(match words[..] {
        ["stray"] => Choice::Stray,
        ["pass"] => Choice::Pass,
        ["pass", span] => Choice::PassAtMost(Duration::from_micros(to(span.strip_suffix("us")?)?)),
        ["watch", viewer, node, from] => Choice::Watch(to(viewer)?, to(node)?, to(from)?),
        ["read", viewer] => Choice::Read(to(viewer)?),
        ["lose", viewer] => Choice::Lose(to(viewer)?),
        ["leave", viewer] => Choice::Leave(to(viewer)?),
        ["stall", viewer] => Choice::Stall(to(viewer)?),
        ["ask", node, chat, order] => Choice::Ask(to(node)?, to(chat)?, to(order)?),
        [how, node, chat, kind] => {
            Choice::Operation { node: to(node)?, chat: Some(to(chat)?), kind: to(kind)?, how: to(how)? }
        }
        [how, node, kind] => {
            Choice::Operation { node: to(node)?, chat: None, kind: to(kind)?, how: to(how)? }
        }
        _ => return None,
    })
}
