//! The relay's wire: parts of live answers, from the replica that generates them to those that show them.
//!
//! It is gRPC over HTTP/2 on [`Env`](crate::ports::Env)'s byte streams, so that what is simulated is what is
//! sent. There is one connection for each peer, opened when first needed and shared by all follows, and one
//! stream for each chat that is followed. Peers prove to each other that they know the cluster's secret
//! before anything else is said. A peer that falls silent is noticed after about two seconds, by both sides.
//!
//! Nothing is decided here: when to dial, whom, and what a fault means is for the machine to say.

mod auth;
mod client;
mod connection;
mod frames;
mod io;
pub mod limits;
mod pending;
mod server;
mod wire;

pub use client::{Peers, RelayStream};
pub use server::{RelayServer, RelaySource};
pub use wire::Follow;

/// The messages and the gRPC code, as generated from `proto/relay.proto`.
mod proto {
    #![allow(clippy::all, missing_debug_implementations, unreachable_pub)]
    tonic::include_proto!("mainstem.relay.v1");
}
