//! What can be done for a packet before its turn: its key, and fetching what its flow will touch.
//!
//! In: a batch of units. Out: calls of [`Worker::packet`] in their order, each with what was found out ahead.

use super::{Unit, Units, Worker};
use crate::decode::{Addrs, Packet};
use crate::flow::{Found, Key4, Key6, Orientation};

/// Packets that are prefetched together.
const STEP: usize = 32;

/// What is known of a packet before its flow is updated.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) hash: u64,
    /// Where its flow most likely is.
    pub(super) likely: Option<Found>,
    /// Of IPv4; a longer key is made when it is needed.
    pub(super) key: Key4,
    pub(super) from: Orientation,
}

impl Default for Ahead {
    fn default() -> Self {
        let (key, from) = Key4::of([0; 4], 0, [0; 4], 0, 0, 0);
        Self { hash: 0, likely: None, key, from }
    }
}

impl Worker {
    /// Takes a batch: while one step of it is updated, the entries of the next and the buckets of the one after are on their way.
    pub fn packets(&mut self, units: &Units) {
        let region = units.region.bytes();
        self.core.counters.received += units.list.len() as u64;
        let mut ahead = units.list.chunks(STEP);
        let mut steps: [(&[Unit], [Ahead; STEP]); 3] =
            std::array::from_fn(|_| (ahead.next().unwrap_or_default(), [Ahead::default(); STEP]));
        let [first, second, _] = &mut steps;
        self.fetch_buckets(first.0, &mut first.1);
        self.fetch_entries(first.0, &mut first.1);
        self.fetch_buckets(second.0, &mut second.1);
        // Each step in turn is updated, has its entries fetched, has its buckets fetched.
        for turn in 0.. {
            let [now, next, after] = [0, 1, 2].map(|n| (turn + n) % 3);
            if steps[now].0.is_empty() {
                break;
            }
            let (units_next, known) = &mut steps[next];
            self.fetch_entries(units_next, known);
            let (units_after, known) = &mut steps[after];
            self.fetch_buckets(units_after, known);
            let (units_now, known) = &steps[now];
            for (unit, ahead) in units_now.iter().zip(known) {
                self.packet(unit, ahead, units.payload(unit, region), region);
            }
            steps[now].0 = ahead.next().unwrap_or_default();
        }
    }

    #[inline]
    fn fetch_buckets(&self, step: &[Unit], known: &mut [Ahead; STEP]) {
        for (unit, ahead) in step.iter().zip(known) {
            match unit.packet.addrs {
                Addrs::V4 { src, dst } => {
                    // Hashed before it is stored: reading back what is just being written would wait for it.
                    let (key, from) = key4(&unit.packet, src, dst);
                    let hash = self.v4.hash(&key);
                    self.v4.prefetch_bucket(hash);
                    (ahead.hash, ahead.key, ahead.from) = (hash, key, from);
                }
                Addrs::V6 { src, dst } => {
                    ahead.hash = self.v6.hash(&key6(&unit.packet, src, dst).0);
                    self.v6.prefetch_bucket(ahead.hash);
                }
            }
        }
    }

    #[inline]
    fn fetch_entries(&self, step: &[Unit], known: &mut [Ahead; STEP]) {
        for (unit, ahead) in step.iter().zip(known) {
            ahead.likely = match unit.packet.addrs {
                Addrs::V4 { .. } => self.v4.prefetch_entry(ahead.hash),
                Addrs::V6 { .. } => self.v6.prefetch_entry(ahead.hash),
            };
        }
    }
}

#[inline]
fn key4(p: &Packet, src: [u8; 4], dst: [u8; 4]) -> (Key4, Orientation) {
    Key4::of(src, p.src_port, dst, p.dst_port, p.proto, p.domain)
}

#[inline]
pub(super) fn key6(p: &Packet, src: [u8; 16], dst: [u8; 16]) -> (Key6, Orientation) {
    Key6::of(src, p.src_port, dst, p.dst_port, p.proto, p.domain)
}
