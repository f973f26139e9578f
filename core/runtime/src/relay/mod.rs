//! The relay: it carries parts of live answers from the replica that generates them to replicas with viewers.
//!
//! It is gRPC over HTTP/2, on [`Env`](crate::ports::Env)'s byte streams, so that the simulator runs the real
//! protocol. There is one connection for each peer, opened when first needed and shared by all follows, and
//! one stream for all of them (`many`); at a peer of an earlier release, one for each chat. Before anything else, peers
//! prove to each other that they know the cluster's secret. Both sides notice within about two seconds if the other stops
//! responding.
//!
//! Nothing is decided here: when to dial, whom to dial and what a fault means is up to the machine.

mod auth;
mod client;
mod connection;
mod counts;
mod frames;
mod io;
mod many;
mod pending;
mod server;
mod wire;

pub use client::{Peers, RelayStream};
pub use counts::RelayCounts;
pub use server::{RelayServer, RelaySource};
pub use wire::Follow;

/// The messages and the gRPC code, as generated from `proto/relay.proto`.
mod proto {
    #![allow(clippy::all, missing_debug_implementations, unreachable_pub)]
    tonic::include_proto!("mainstem.relay.v1");
}
