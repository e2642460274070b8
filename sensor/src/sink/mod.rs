//! Where records go: EVE files, the terminal.

pub mod eve;
mod records;
pub mod rotate;
pub mod stats;
pub mod terminal;
mod time;

pub use records::Records;
pub use time::{compact, iso8601, stamp};
