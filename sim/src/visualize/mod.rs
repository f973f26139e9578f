//! A run, for people: in a terminal and in a browser. What is here runs nothing and judges nothing: it takes
//! what the trace kept.

pub mod html;
pub mod timeline;
