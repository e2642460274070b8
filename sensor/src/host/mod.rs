//! Hosts: evidence becomes findings.
//!
//! In: sightings of labelled flows and ended flows, in one order. Out: findings, each with every piece of evidence it rests on,
//! and host records at the end. Scores are integer decibans, so the same evidence gives the same digits everywhere.

mod covert;
mod device;
mod egress;
mod finding;
mod inbound;
mod ledger;
mod looked;
mod loss;
mod names;
mod remote;
mod room;
mod service;
mod session;
mod weights;

pub use finding::{Finding, FindingKind, Line, Severity, Tally};
pub use ledger::{Context, HostRecord, Ledger, far_side};
pub use loss::Loss;
pub use names::Names;
pub use service::Service;
pub use session::{is_exchange, may_reach_a_relay};
pub use weights::{Weights, WeightsError};

#[cfg(test)]
mod tests;
