//! What a JWT says of its bearer: who it is (`sub`), until when (`exp`), what it gives leave to (`scope`, RFC 8693, section 4.2,
//! or `scp`), and in which chats (`chats`, our own).

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_machine::ChatId;
use mainstem_runtime::{Principal, Right};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::limits::access::{CHATS_MAX, USER_BYTES_MAX};

/// Those that mean something here. Who signs and for whom was checked before.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: String,
    exp: serde_json::Number,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    scp: Option<Scopes>,
    /// Absent it means all chats, so nothing else may be taken for absent.
    #[serde(default, deserialize_with = "present")]
    chats: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scopes {
    List(Vec<String>),
    Words(String),
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(value).map(Some)
}

impl Claims {
    /// The end, as the time since 1970.
    pub(super) fn end(&self) -> Option<Duration> {
        let seconds = self.exp.as_f64()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    pub(super) fn into_principal(self) -> Result<Principal, &'static str> {
        let right = self.right();
        if self.sub.is_empty() || self.sub.contains('\0') || self.sub.len() > USER_BYTES_MAX {
            return Err("the token's `sub` was expected to have 1 to 255 bytes and no NUL character");
        }
        let chats = self.chats.map(parse_chats).transpose()?.flatten();
        Ok(Principal::new(self.sub.into(), right, chats))
    }

    fn right(&self) -> Right {
        let words = self.scope.iter().flat_map(|scope| scope.split(' '));
        let more: Vec<&str> = match &self.scp {
            Some(Scopes::List(list)) => list.iter().map(String::as_str).collect(),
            Some(Scopes::Words(words)) => words.split(' ').collect(),
            None => vec![],
        };
        let rights = words.chain(more).map(|word| match word {
            "mainstem:read" => Right::Read,
            "mainstem:write" => Right::Write,
            "mainstem:admin" => Right::Admin,
            _ => Right::Nothing,
        });
        rights.max().unwrap_or(Right::Nothing)
    }
}

/// `None` if all are meant.
fn parse_chats(named: Vec<String>) -> Result<Option<BTreeSet<ChatId>>, &'static str> {
    if named.len() > CHATS_MAX {
        return Err("the token's `chats` names more than 64");
    }
    if named.iter().any(|name| name == "*") {
        return Ok(None);
    }
    let id = |name: &String| Uuid::try_parse(name).ok().filter(|_| name.len() == 36).map(ChatId);
    let ids: Option<BTreeSet<_>> = named.iter().map(id).collect();
    ids.map(Some).ok_or("the token's `chats` was expected to have ids of chats, or \"*\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn principal(more: Value) -> Result<Principal, String> {
        let mut claims = json!({"sub": "ann", "exp": 1});
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let claims: Claims = serde_json::from_value(claims).map_err(|error| error.to_string())?;
        claims.into_principal().map_err(str::to_owned)
    }

    #[test]
    fn a_scope_is_the_most_that_it_names_and_nothing_if_it_names_none_of_ours() {
        for (claims, right) in [
            (json!({}), Right::Nothing),
            (json!({"scope": null}), Right::Nothing),
            (json!({"scope": "openid mainstem:reader xmainstem:write"}), Right::Nothing),
            (json!({"scope": "openid mainstem:read"}), Right::Read),
            (json!({"scope": "mainstem:write mainstem:read"}), Right::Write),
            (json!({"scp": ["mainstem:admin"]}), Right::Admin),
            (json!({"scp": "profile mainstem:read"}), Right::Read),
            (json!({"scope": "mainstem:read", "scp": ["mainstem:write"]}), Right::Write),
        ] {
            assert_eq!(principal(claims.clone()).map(|principal| principal.right()), Ok(right), "{claims}");
        }
        assert!(principal(json!({"scope": 3})).is_err());
    }

    #[test]
    fn the_chats_of_a_token_are_ids_or_all_and_nothing_is_taken_for_all() {
        let one = "0190d6f1-0000-7000-8000-000000000001";
        let count = |chats: Value| {
            let principal = principal(json!({"chats": chats}));
            principal.map(|principal| principal.chats().map(BTreeSet::len))
        };
        assert_eq!(principal(json!({})).map(|principal| principal.chats().cloned()), Ok(None));
        assert_eq!(count(json!([])), Ok(Some(0)));
        assert_eq!(count(json!([one, one])), Ok(Some(1)));
        assert_eq!(count(json!([one, "*"])), Ok(None));
        for bad in [json!(null), json!("*"), json!([3]), json!(["x"]), json!([one.replace('-', "")])] {
            assert!(count(bad.clone()).is_err(), "{bad}");
        }
        assert!(count(json!(vec![one; CHATS_MAX + 1])).is_err(), "B1");
    }

    #[test]
    fn a_user_has_a_name_that_can_be_kept() {
        for bad in [json!(""), json!("a\u{0}"), json!("x".repeat(256)), json!(3), json!(null)] {
            assert!(principal(json!({"sub": bad})).is_err(), "{bad}");
        }
        assert!(principal(json!({"sub": "x".repeat(255)})).is_ok());
    }
}
