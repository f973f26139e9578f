//! Who may: before anything else on a connection, both sides prove that they know the cluster's secret.
//!
//! ```text
//! client                                        server
//!   ── magic, nonce c ───────────────────────────►       a server is silent until it has read the magic
//!   ◄─────────────────────────── magic, nonce s ──
//!   ── HMAC(secret, "client", c, s) ─────────────►       the client first: the listener proves nothing
//!   ◄── 1, HMAC(secret, "server", c, s)  or  0 ──        to one who does not know the secret
//! ```
//!
//! The secret itself is never sent, and both nonces make every proof good for one connection only. (HMAC:
//! RFC 2104, with SHA-256.) What follows on the connection is neither hidden nor sealed: a network whose
//! bytes others can read or alter needs a tunnel around it. Time limits are the callers'.

use std::io;

use mainstem_machine::RelayFault;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
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

/// Why a server turned a connection away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
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
    let good = is_same(&proof, &prove(secret, Role::Server, &ours, &theirs));
    // S10: parts are taken from nobody who does not know the secret.
    good.then_some(()).ok_or(RelayFault::Denied)
}

/// The server's side.
pub(super) async fn admit<E: Env>(
    env: &E,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    secret: &[u8],
) -> Result<(), Refusal> {
    let theirs = receive_greeting(stream).await?.ok_or(Refusal::Stranger)?;
    let ours = nonce(env);
    send(stream, &greeting(&ours)).await?;
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await?;
    if !is_same(&proof, &prove(secret, Role::Client, &theirs, &ours)) {
        send(stream, &[DENIED]).await?;
        stream.shutdown().await?;
        return Err(Refusal::Denied);
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

/// `None` if what came is no greeting; nothing is read beyond the magic then.
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

/// Whose proof it is: one side's cannot be sent back to it as the other's.
#[derive(Clone, Copy)]
enum Role {
    Client,
    Server,
}

fn prove(secret: &[u8], role: Role, client: &Nonce, server: &Nonce) -> Proof {
    let role: &[u8] = match role {
        Role::Client => b"mainstem relay client",
        Role::Server => b"mainstem relay server",
    };
    hmac(secret, &[role, client, server])
}

fn is_same(a: &Proof, b: &Proof) -> bool {
    a.ct_eq(b).into()
}

fn hmac(key: &[u8], message: &[&[u8]]) -> Proof {
    const BLOCK: usize = 64;
    let mut padded = [0; BLOCK];
    if key.len() > BLOCK {
        padded[..PROOF].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new_with_prefix(padded.map(|byte| byte ^ 0x36));
    for piece in message {
        inner.update(piece);
    }
    let outer = Sha256::new_with_prefix(padded.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn hmac_gives_what_rfc_4231_says() {
        assert_eq!(
            hex(&hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"])),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_proof_is_good_for_one_role_one_secret_and_one_pair_of_nonces() {
        let proof = prove(b"secret", Role::Client, &[1; NONCE], &[2; NONCE]);
        assert!(is_same(&proof, &prove(b"secret", Role::Client, &[1; NONCE], &[2; NONCE])));
        for other in [
            prove(b"secret", Role::Server, &[1; NONCE], &[2; NONCE]),
            prove(b"another", Role::Client, &[1; NONCE], &[2; NONCE]),
            prove(b"secret", Role::Client, &[3; NONCE], &[2; NONCE]),
            prove(b"secret", Role::Client, &[1; NONCE], &[3; NONCE]),
        ] {
            assert!(!is_same(&proof, &other));
        }
    }
}
