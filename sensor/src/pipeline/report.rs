//! What workers tell the reducer at a tick.

use super::counters::Counters;
use super::neighbour::Neighbour;
use super::shed::Level;
use crate::flow::{Birth, End, Hot, OpenerBasis};
use crate::inspect::Verdict;
use farend_analyzers::Name;
use std::net::IpAddr;

/// Who talks to whom, and where it began. Index 0 of pairs is the side that opened the flow.
#[derive(Clone, Debug)]
pub struct FlowId {
    /// Number that records carry: < 2^53, from the first packet alone.
    pub id: u64,
    /// Addresses of opener and other side.
    pub ip: [IpAddr; 2],
    /// Ports of opener and other side.
    pub port: [u16; 2],
    /// IP protocol number.
    pub proto: u8,
    /// The first packet.
    pub birth: Birth,
    /// How the opener was chosen.
    pub basis: OpenerBasis,
}

/// Packets and bytes of the two sides, the opener first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Volume {
    /// Packets.
    pub packets: [u64; 2],
    /// Bytes.
    pub bytes: [u64; 2],
}

/// A flow at a moment: when its label changes, when it has grown, and when it ends.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Order among all sightings of a tick: the unit that caused it.
    pub seq: u64,
    /// Time of that unit, ns since the epoch.
    pub ts_ns: i64,
    /// Frame number of that unit.
    pub packet: u64,
    /// Which flow.
    pub flow: FlowId,
    /// How much so far.
    pub volume: Volume,
    /// What is known of it.
    pub verdict: Verdict,
}

/// A flow that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which flow.
    pub flow: FlowId,
    /// Its counters and state, still by key order.
    pub hot: Hot,
    /// 1 if the key's second end opened it.
    pub opener: usize,
    /// Why it ended.
    pub end: End,
    /// What is known of it.
    pub verdict: Option<Box<Verdict>>,
}

impl Ended {
    /// Packets and bytes, the opener first.
    #[must_use]
    pub fn volume(&self) -> Volume {
        volume(&self.hot, self.opener)
    }

    /// TCP flags sent by opener and other side.
    #[must_use]
    pub const fn tcp_flags(&self) -> [u8; 2] {
        [self.hot.tcp_flags[self.opener], self.hot.tcp_flags[1 - self.opener]]
    }
}

/// Packets and bytes of an entry, the opener first.
#[must_use]
pub(super) fn volume(hot: &Hot, opener: usize) -> Volume {
    Volume {
        packets: [hot.packets(opener), hot.packets(1 - opener)],
        bytes: [hot.bytes[opener], hot.bytes[1 - opener]],
    }
}

/// A name learned from an answer.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Order.
    pub seq: u64,
    /// Time of the answer, ns since the epoch.
    pub ts_ns: i64,
    /// Address, name, time to live.
    pub name: Name,
}

/// Everything of one worker and one tick.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of the tick.
    pub tick: u64,
    /// Flows whose label changed or which grew.
    pub sightings: Vec<Sighting>,
    /// Names.
    pub names: Vec<Learned>,
    /// Who has which MAC address, by the frames that opened flows.
    pub neighbours: Vec<Neighbour>,
    /// Flows that go on, at their interval: what they came to so far. [`Ended::end`] means nothing in them.
    pub lasting: Vec<Ended>,
    /// What the worker leaves out at that moment.
    pub shed: Level,
    /// The worker's counters at that moment.
    pub counters: Counters,
    /// Host inside and bytes over the border of flows that ended and matter no further, in no order.
    pub exchanged: Vec<(IpAddr, u64)>,
    /// Flows that ended; without flow records only those that matter to findings.
    pub ended: Vec<Ended>,
}
