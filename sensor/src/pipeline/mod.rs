//! From frames to findings: splitter, workers, reducer.
//!
//! The splitter decodes frames in capture order (so fragments, time and frame numbers have one order), workers own the flows of
//! their shards, the reducer puts what they report into one order and feeds hosts and sinks. With one worker all three run in
//! one thread; with more, bounded channels join them. Results do not depend on how many there are.

mod apart;
mod brand;
mod counters;
mod neighbour;
mod reduce;
mod report;
mod run;
mod shed;
mod solo;
mod split;
mod switch;
mod together;
mod unit;
mod worker;

pub use counters::{Counters, DecodeCounters, Front, Untracked};
pub use neighbour::Neighbour;
pub use reduce::{Far, Reducer, Sink};
pub use report::{Ended, FlowId, Learned, Report, Sighting, Volume};
pub(crate) use run::latency;
pub use run::{Settings, Summary, own_batch, run, run_each};
pub use shed::Level;
pub use split::Splitter;
pub use switch::{InForce, Switch};
pub use unit::{Tick, Unit, Units};
pub use worker::{Config as WorkerConfig, Timeouts, Worker};
