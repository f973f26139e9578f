//! Groups of settings. Each is a struct of options that clap reads from flags and the environment, and serde from the
//! file, in which all groups' keys stand side by side.

use clap::{Args, Command};
use serde::de::DeserializeOwned;

/// Settings of one room.
pub(super) trait Group: Args + DeserializeOwned {
    /// Takes each setting from `self`, or else from `other`.
    #[must_use]
    fn or(self, other: Self) -> Self;
}

impl<T> Or for Option<T> {
    fn or(self, other: Self) -> Self {
        Self::or(self, other)
    }
}

impl<G: Group> Or for G {
    fn or(self, other: Self) -> Self {
        Group::or(self, other)
    }
}

/// What counts more, and what counts if that says nothing: a setting, or a group of them.
pub(super) trait Or {
    #[must_use]
    fn or(self, other: Self) -> Self;
}

/// Combines two structs of options, field by field.
macro_rules! or {
    ($first:ident, $second:ident: $($name:ident),* $(,)?) => {
        Self { $($name: $crate::config::group::Or::or($first.$name, $second.$name)),* }
    };
}
pub(super) use or;

/// Reads a group's own keys, and passes over the others'.
pub(super) fn from_toml<G: Group>(text: &str) -> Result<G, String> {
    toml::from_str(text).map_err(|error| told(text, &error))
}

/// Where it is wrong, and how. The line itself is not told: it may have a password.
fn told(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message().trim())
}

/// Refuses a key that is none of these options'.
pub(super) fn known_keys<All: Args>(text: &str) -> Result<(), String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| told(text, &error))?;
    let command = All::augment_args(Command::new("serve"));
    let flags = || command.get_arguments().filter_map(|arg| arg.get_long()).filter(|flag| *flag != "config");
    match table.keys().find(|key| !flags().any(|flag| flag == *key)) {
        None => Ok(()),
        Some(key) => {
            Err(format!("unknown field `{key}`, expected a flag of `serve` without its hyphens before it"))
        }
    }
}
