//! Authentication between peers: before anything else, both sides of a connection prove that they know the
//! cluster's secret.
//!
//! ```text
//! client                                        server
//!   ── magic, nonce c ───────────────────────────►       a server is silent until it has read the magic
//!   ◄─────────────────────────── magic, nonce s ──
//!   ── HMAC(secret, "client", c, s) ─────────────►       the client first: the listener proves nothing
//!   ◄── 1, HMAC(secret, "server", c, s)  or  0 ──        to one who does not know the secret
//! ```
//!
//! The secret itself is never sent, and the two nonces make every proof valid for one connection only. (HMAC:
//! RFC 2104, with SHA-256.) What follows on the connection is neither encrypted nor authenticated: on a
//! network where others can read or change traffic, use a tunnel. Callers set the time limits.

use std::io;

use hmac::{Hmac, KeyInit, Mac};
use mainstem_machine::RelayFault;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::ports::Env;

/// Names the protocol and its version.
const MAGIC: [u8; 8] = *b"mainstm\x01";
const NONCE: usize = 32;
const PROOF: usize = 32;
const ACCEPTED: u8 = 1;
const DENIED: u8 = 0;

type Nonce = [u8; NONCE];
type Proof = [u8; PROOF];

/// Why a server rejected a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthError {
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("expected the relay's greeting, got something else")]
    Stranger,
    #[error("the proof is wrong: the peer has another secret")]
    Denied,
}

/// The client's side.
pub(super) async fn present<E: Env>(
    env: &E,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    secret: &[u8],
) -> Result<(), RelayFault> {
    let gone = |_: io::Error| RelayFault::Gone;
    let ours = nonce(env);
    send(stream, &greeting(&ours)).await.map_err(gone)?;
    let theirs = receive_greeting(stream).await.map_err(gone)?.ok_or(RelayFault::Nonsense)?;
    send(stream, &prove(secret, Role::Client, &ours, &theirs)).await.map_err(gone)?;
    match stream.read_u8().await.map_err(gone)? {
        ACCEPTED => {}
        DENIED => return Err(RelayFault::Denied),
        _ => return Err(RelayFault::Nonsense),
    }
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await.map_err(gone)?;
    let good = is_proven(&proof, secret, Role::Server, &ours, &theirs);
    // S10: a server that does not know the secret must not be able to send us parts.
    good.then_some(()).ok_or(RelayFault::Denied)
}

/// The server's side.
pub(super) async fn admit<E: Env>(
    env: &E,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    secret: &[u8],
) -> Result<(), AuthError> {
    let theirs = receive_greeting(stream).await?.ok_or(AuthError::Stranger)?;
    let ours = nonce(env);
    send(stream, &greeting(&ours)).await?;
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await?;
    if !is_proven(&proof, secret, Role::Client, &theirs, &ours) {
        send(stream, &[DENIED]).await?;
        stream.shutdown().await?;
        return Err(AuthError::Denied);
    }
    let mut answer = [ACCEPTED; 1 + PROOF];
    answer[1..].copy_from_slice(&prove(secret, Role::Server, &theirs, &ours));
    send(stream, &answer).await?;
    Ok(())
}

fn greeting(nonce: &Nonce) -> [u8; MAGIC.len() + NONCE] {
    let mut greeting = [0; MAGIC.len() + NONCE];
    greeting[..MAGIC.len()].copy_from_slice(&MAGIC);
    greeting[MAGIC.len()..].copy_from_slice(nonce);
    greeting
}

/// `None` if the first bytes are not the magic; nothing beyond it is read then.
async fn receive_greeting(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Nonce>> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Ok(None);
    }
    let mut nonce = [0; NONCE];
    stream.read_exact(&mut nonce).await?;
    Ok(Some(nonce))
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

fn nonce<E: Env>(env: &E) -> Nonce {
    let mut nonce = [0; NONCE];
    for chunk in nonce.chunks_exact_mut(8) {
        chunk.copy_from_slice(&env.entropy().to_le_bytes());
    }
    nonce
}

/// The side that proves itself, so that a proof cannot be reflected to its sender.
#[derive(Clone, Copy)]
enum Role {
    Client,
    Server,
}

/// What proves that one side knows the secret, on the connection with these nonces.
fn proof(secret: &[u8], role: Role, client: &Nonce, server: &Nonce) -> Hmac<Sha256> {
    let role: &[u8] = match role {
        Role::Client => b"mainstem relay client",
        Role::Server => b"mainstem relay server",
    };
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.chain_update(role).chain_update(client).chain_update(server)
}

fn prove(secret: &[u8], role: Role, client: &Nonce, server: &Nonce) -> Proof {
    proof(secret, role, client, server).finalize().into_bytes().into()
}

/// Whether `given` is the proof, compared in constant time.
fn is_proven(given: &Proof, secret: &[u8], role: Role, client: &Nonce, server: &Nonce) -> bool {
    proof(secret, role, client, server).verify_slice(given).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that replicas of different releases go on knowing each other. Computed elsewhere, by RFC 2104.
    #[test]
    fn a_proof_is_what_it_always_was() {
        let proof = prove(b"secret", Role::Client, &[1; NONCE], &[2; NONCE]);
        let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "cb8f1fc3e8daecbb1440bb44ac7790cd40f639aefb2861ad31bd6318c20d8492");
    }

    #[test]
    fn a_proof_is_good_for_one_role_one_secret_and_one_pair_of_nonces() {
        let proof = prove(b"secret", Role::Client, &[1; NONCE], &[2; NONCE]);
        assert!(is_proven(&proof, b"secret", Role::Client, &[1; NONCE], &[2; NONCE]));
        for (secret, role, client, server) in [
            (&b"secret"[..], Role::Server, 1, 2),
            (b"another", Role::Client, 1, 2),
            (b"secret", Role::Client, 3, 2),
            (b"secret", Role::Client, 1, 3),
        ] {
            assert!(!is_proven(&proof, secret, role, &[client; NONCE], &[server; NONCE]));
        }
    }
}
