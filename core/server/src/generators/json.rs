//! Members of JSON objects, read one by one: what cannot be read voids no more than itself.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::Fault;

/// Whether a member says anything.
pub(super) fn is_there(member: Option<&RawValue>) -> bool {
    member.is_some_and(|member| !matches!(member.get(), "null" | "false" | "\"\"" | "[]"))
}

pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    // Derived code would take an array for a struct, too.
    json.get().starts_with('{').then(|| serde_json::from_str(json.get()).ok()).flatten()
}

/// The members of an object that may be there. What is no object has none, and one that has a member twice says two
/// things, of which nobody knows which is meant.
pub(super) fn members<'a, T: Deserialize<'a>>(json: Option<&'a RawValue>) -> Result<Option<T>, Fault> {
    match json.filter(|json| json.get().starts_with('{')) {
        Some(object) => serde_json::from_str(object.get()).map(Some).map_err(|_| Fault::Garbage),
        None => Ok(None),
    }
}

/// A string, though half a surrogate pair stand in it.
pub(super) fn string(member: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Lossy>(member?.get()).ok().map(|Lossy(text)| Cow::Owned(text))
}

struct Lossy(String);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Lossy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Lossy, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Does something with each item of an array that may be there, until it fails.
pub(super) fn try_each<'a>(
    array: Option<&'a RawValue>,
    mut act: impl FnMut(&'a RawValue) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut done = Ok(());
    if let Some(array) = array {
        each(array, |item| {
            if done.is_ok() {
                done = act(item);
            }
        });
    }
    done
}

/// Does something with each item of an array; with none of what is no array.
pub(super) fn each<'a>(array: &'a RawValue, act: impl FnMut(&'a RawValue)) {
    struct Items<F>(F);
    impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Items<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
            while let Some(item) = items.next_element::<&'de RawValue>()? {
                (self.0)(item);
            }
            Ok(())
        }
    }
    let _ = serde_json::Deserializer::from_str(array.get()).deserialize_seq(Items(act));
}
