//! Where records and counters go: EVE files, the terminal, whoever scrapes metrics.

pub mod eve;
pub mod metrics;
mod records;
pub mod rotate;
pub mod stats;
pub mod terminal;
mod time;

pub use records::Records;
pub use time::{compact, iso8601, stamp};
