//! The judges: what each client was owed, independent of the code under test.

pub mod viewer;
