//! What can be exchanged while a run goes on.
//!
//! In: new settings from whoever reads them, at any time. Out: the same for every worker and the reducer at their next tick; no packet
//! waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::worker::Timeouts;
use crate::catalog::Catalogue;
use crate::home::Home;
use crate::host::Weights;
use crate::intel::Intel;

/// Settings that a run can take over.
#[derive(Clone)]
pub struct InForce {
    /// What is known of addresses.
    pub intel: Arc<Intel>,
    /// Whose names are whose.
    pub catalogue: &'static Catalogue,
    /// What evidence weighs.
    pub weights: Weights,
    /// Which addresses are inside.
    pub home: Home,
    /// When flows end.
    pub timeouts: Timeouts,
    /// A flow that goes on is reported whenever it is older by this, ns.
    pub flow_interval_ns: Option<i64>,
}

/// Where new settings are put.
#[derive(Default)]
pub struct Switch {
    generation: AtomicU64,
    latest: Mutex<Option<Arc<InForce>>>,
}

impl Switch {
    /// From the next tick on these count.
    pub fn put(&self, settings: InForce) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(settings));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Settings that came after the generation `seen`, which becomes theirs. Costs one read where there are none.
    #[must_use]
    pub fn newer(&self, seen: &mut u64) -> Option<Arc<InForce>> {
        let generation = self.generation.load(Ordering::Acquire);
        if generation == *seen {
            return None;
        }
        *seen = generation;
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("generation", &self.generation).finish_non_exhaustive()
    }
}
