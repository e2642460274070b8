//! Where records go: EVE files, the terminal.

pub mod eve;
pub mod stats;
pub mod terminal;
mod time;

pub use time::{iso8601, stamp};
