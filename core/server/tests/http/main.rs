//! The interface's sections 2 and 3 against a running server, from outside.

mod clients;
mod ends;
mod heads;
mod requests;
mod server;
mod streams;
