//! JWTs: whose are taken, what they give leave to, and for how long.

mod attacks;
mod key_sets;
mod rights;
mod sessions;
mod streams;
mod tickets;

use mainstem_tests::client::{Answer, Client};
use mainstem_tests::cluster::alone;
use mainstem_tests::jwt::Issuer;
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use serde_json::json;

const SECRET: &[u8] = b"a secret that is shared and 32 bytes or more long";

fn issuer() -> Issuer {
    Issuer::secret(SECRET)
}

/// A replica that takes what [`issuer`] signs, with more flags.
async fn replica(scratch: &Scratch, flags: &[&str]) -> Replica {
    let file = scratch.file("key", std::str::from_utf8(SECRET).expect("text"));
    let ours = ["--jwt-key-file", &*file, "--jwt-algorithm", "HS256"];
    alone(scratch, &[&ours[..], flags].concat()).await
}

/// A client with a token of this user and scope.
fn client(replica: &Replica, user: &str, scope: &str) -> Client {
    replica.client().with_token(&issuer().token(user, scope, json!({})))
}

fn challenge(answer: &Answer) -> &str {
    answer.headers.get("www-authenticate").and_then(|value| value.to_str().ok()).unwrap_or_default()
}
