//! What `[live]` configures: listening on interfaces.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DAY, Seconds, Whole};
use crate::clock::SECOND_NS;
use crate::sink::rotate::Rotation;

/// `[live]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LiveSection {
    /// What frames are received through.
    pub source: LiveSource,
    /// Mebibytes of each ring that frames are received in: one an interface and worker.
    pub ring_mib: Whole<1, 4_096>,
    /// Processors that the workers' threads are bound to, in turn, where there are several.
    pub cpus: Vec<u16>,
    /// Whose time frames carry.
    pub timestamps: Timestamps,
    /// Seconds between statistics records.
    pub stats_interval: Seconds,
    /// Seconds after which a flow that goes on is recorded, and again after as many; 0: only when it ends.
    pub flow_interval: Whole<0, { 7 * DAY }>,
    /// Seconds between records of the hosts with evidence; 0: only at the end.
    pub host_interval: Whole<0, { 7 * DAY }>,
    /// Address of this machine at which /metrics and /healthz are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// When the EVE file is finished and another one begun.
    pub rotate: RotateSection,
}

/// `[live.rotate]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotateSection {
    /// Mebibytes; 0: whatever its size.
    pub mib: Whole<0, 1_048_576>,
    /// Seconds, at multiples of them since the epoch; 0: whatever its age.
    pub interval: Whole<0, { 7 * DAY }>,
    /// Finished files that are kept, the oldest go first; 0: all.
    pub keep: Whole<0, 100_000>,
}

/// What frames are received through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LiveSource {
    /// AF_PACKET rings (Linux).
    #[default]
    Ring,
    /// libpcap, which every system has.
    Libpcap,
}

/// Whose time frames carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Timestamps {
    /// The kernel's, when it gets the frame.
    #[default]
    Kernel,
    /// The card's.
    Hardware,
}

impl LiveSection {
    /// After how long flows that go on are recorded, ns.
    #[must_use]
    pub fn flow_interval_ns(&self) -> Option<i64> {
        let seconds = i64::try_from(self.flow_interval.get()).unwrap_or(0);
        (seconds > 0).then(|| seconds.saturating_mul(SECOND_NS))
    }
}

impl RotateSection {
    /// As the file wants it.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        let some = |n: u64| (n > 0).then_some(n);
        Rotation {
            bytes: some(self.mib.get()).map(|mib| mib << 20),
            every: some(self.interval.get()).map(Duration::from_secs),
            keep: some(self.keep.get()).and_then(|n| u32::try_from(n).ok()),
        }
    }
}

impl Default for LiveSection {
    fn default() -> Self {
        Self {
            source: LiveSource::default(),
            ring_mib: const { Whole::new(64) },
            cpus: Vec::new(),
            timestamps: Timestamps::default(),
            stats_interval: const { Whole::new(60) },
            flow_interval: const { Whole::new(3_600) },
            host_interval: const { Whole::new(3_600) },
            metrics: None,
            rotate: RotateSection::default(),
        }
    }
}

impl Default for RotateSection {
    fn default() -> Self {
        Self {
            mib: const { Whole::new(0) },
            interval: const { Whole::new(0) },
            keep: const { Whole::new(0) },
        }
    }
}
