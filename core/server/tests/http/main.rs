//! Requests and streams, as docs/protocol.md has them, against a running server, from outside.

mod clients;
mod heads;
mod requests;
mod server;
mod streams;
