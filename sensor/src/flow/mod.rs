//! Flows: who talks to whom, counted and timed.
//!
//! In: decoded packets of the shards that this worker owns, in capture order. Out: for each packet its flow's place in the
//! table, and at every tick the flows that ended. The table is owned by one worker and shared with nobody; capacity, eviction
//! and expiry belong to 256 virtual shards, so results do not depend on the number of workers.

mod arena;
mod entry;
mod index;
mod key;
mod quota;
mod table;

pub use entry::{Birth, End, Hot, OpenerBasis, State, flag, tcp};
pub use key::{Hasher, Key, Key4, Key6, Orientation, SHARDS, shard_of};
pub use quota::{Demand, Quotas};
pub use table::{Entry, Found, Table};
