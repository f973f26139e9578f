//! A run, for people. What is here runs nothing
//! and judges nothing: it takes what the trace kept.

pub mod timeline;
