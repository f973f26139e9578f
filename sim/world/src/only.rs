//! What a search is held to, of all that may go wrong and all that users may do.

use std::fmt;
use std::str::FromStr;

use crate::choice::{Choice, Class, Order};

/// One thing that may go wrong, or that a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Choices of this name, such as `crash`.
    Name(&'static str),
    /// What a user asks for, such as `interrupt`.
    Order(Order),
}

/// A word for nothing that may go wrong, or that a user may do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no choice's name, such as `crash`, and nothing that a user may ask for, such as `interrupt`"
)]
pub struct NotOne(String);

impl Only {
    fn is(self, choice: &Choice) -> bool {
        match (self, choice) {
            (Self::Order(order), Choice::Ask(_, _, of)) => order == *of,
            (Self::Order(_), _) => false,
            (Self::Name(name), choice) => choice.to_string().split(' ').next() == Some(name),
        }
    }

    /// Whether a search that is held to these, if to any, has this choice.
    pub(crate) fn have(these: &[Self], choice: &Choice) -> bool {
        let is_free = !matches!(choice.class(), Class::Fault | Class::User);
        these.is_empty() || is_free || these.iter().any(|one| one.is(choice))
    }
}

impl FromStr for Only {
    type Err = NotOne;

    fn from_str(word: &str) -> Result<Self, NotOne> {
        if let Some(order) = Order::ALL.into_iter().find(|order| order.to_string() == word) {
            return Ok(Self::Order(order));
        }
        let name = Choice::names().find(|name| *name == word);
        name.map(Self::Name).ok_or_else(|| NotOne(word.to_owned()))
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Order(order) => order.fmt(f),
        }
    }
}
