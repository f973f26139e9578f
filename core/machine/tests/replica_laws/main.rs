//! The laws of a replica's state machine, claim by claim: which chats it acquires, and whether with a slot; heartbeats,
//! syncs, the bus, draining. On random events it keeps them in the pure world (`world_laws`); here are the moments that
//! those seldom meet, and what a world of few chats has no room for.

mod claims;
mod rounds;
#[path = "../told/replica.rs"]
mod told;
mod world;
