//! Visualizes a run, in a terminal or in a browser, from its trace.

pub mod html;
pub mod timeline;
