//! Visualizes a run, in a terminal or in a browser, from its trace.

pub mod beside;
pub mod html;
pub mod timeline;
