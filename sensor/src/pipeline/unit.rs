//! What travels from the splitter to the workers.

use std::sync::Arc;

use super::counters::Front;
use super::neighbour::Neighbour;
use crate::decode::Packet;
use crate::source::Region;

/// One packet of one flow, ready for a worker.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// The decoded headers.
    pub packet: Packet,
    /// Where the payload begins in the region of the batch, or in its extra bytes.
    pub at: usize,
    /// The payload lies in [`Units::extra`]: it comes from a reassembled datagram.
    pub in_extra: bool,
    /// Shard of the address pair.
    pub shard: u8,
    /// Position among the packets of its frame, 0 = outermost.
    pub layer: u8,
    /// Index of the input.
    pub input: u16,
    /// The frame was joined from several: its size is nobody's.
    pub joined: bool,
    /// Position in the order of all units.
    pub seq: u64,
    /// Frame number in its input, 1-based.
    pub number: u64,
    /// Time of the frame, ns since the epoch.
    pub ts_ns: i64,
}

/// Units that share the memory their payloads lie in.
#[derive(Default)]
pub struct Units {
    /// The units, in order.
    pub list: Vec<Unit>,
    /// Memory of the frames.
    pub region: Region,
    /// Payloads of reassembled datagrams.
    pub extra: Vec<u8>,
}

impl Units {
    /// The captured payload of a unit.
    #[inline]
    #[must_use]
    pub fn payload<'a>(&'a self, unit: &Unit, region: &'a [u8]) -> &'a [u8] {
        let bytes = if unit.in_extra { &self.extra } else { region };
        bytes.get(unit.at..unit.at + unit.packet.payload_len as usize).unwrap_or_default()
    }

    /// Adds a unit. It is made where it stays: to copy it at once would wait for its many small fields to be written.
    #[inline(always)]
    pub(super) fn add(&mut self, unit: Unit) {
        let len = self.list.len();
        if len == self.list.capacity() {
            self.grow();
        }
        if let Some(place) = self.list.spare_capacity_mut().first_mut() {
            place.write(unit);
            // SAFETY: the place behind the last one has just been written.
            unsafe { self.list.set_len(len + 1) };
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.list.reserve(1_024);
    }

    /// Empties it for the next batch.
    pub fn clear(&mut self) {
        self.list.clear();
        self.extra.clear();
        self.region = Region::default();
    }
}

/// A point in packet time at which flows expire, quotas change and results are handed on.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Number of the tick.
    pub number: u64,
    /// Believed time, ns since the epoch.
    pub now_ns: i64,
    /// A private address has been seen in some packet so far.
    pub private_seen: bool,
    /// The input has ended: every flow ends.
    pub last: bool,
    /// What source and splitter have counted: exactly what workers have been dealt by now. Only where somebody tells it while the
    /// run goes on.
    pub front: Option<Arc<Front>>,
    /// Who has which MAC address by ARP, since the tick before; nothing where nobody said so.
    pub neighbours: Option<Arc<Vec<Neighbour>>>,
}
