//! What the tests of the whole need: a PostgreSQL of their own.

pub mod postgres;
