//! The order in which the inspections of each shard were fed last.
//!
//! In: which slot was fed, which ended. Out: the one that has waited longest. Links between slots, so that every step is a few
//! writes whatever the number of flows.

use super::Slot;
use crate::flow::SHARDS;

const NONE: Slot = Slot::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    older: Slot,
    newer: Slot,
}

/// One line a shard.
#[derive(Debug)]
pub(super) struct Order {
    links: Vec<Link>,
    oldest: [Slot; SHARDS],
    newest: [Slot; SHARDS],
}

impl Default for Order {
    fn default() -> Self {
        Self { links: Vec::new(), oldest: [NONE; SHARDS], newest: [NONE; SHARDS] }
    }
}

impl Order {
    /// The slot of `shard` that has waited longest.
    pub(super) fn oldest(&self, shard: u8) -> Option<Slot> {
        Some(self.oldest[usize::from(shard)]).filter(|slot| *slot != NONE)
    }

    /// Puts a slot that is in no line at the end of one.
    pub(super) fn add(&mut self, shard: u8, slot: Slot) {
        if slot as usize >= self.links.len() {
            self.links.resize(slot as usize + 1, Link { older: NONE, newer: NONE });
        }
        let last = std::mem::replace(&mut self.newest[usize::from(shard)], slot);
        self.links[slot as usize] = Link { older: last, newer: NONE };
        match last {
            NONE => self.oldest[usize::from(shard)] = slot,
            last => self.links[last as usize].newer = slot,
        }
    }

    /// Takes a slot out of its line.
    pub(super) fn remove(&mut self, shard: u8, slot: Slot) {
        let Link { older, newer } = self.links[slot as usize];
        match older {
            NONE => self.oldest[usize::from(shard)] = newer,
            older => self.links[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest[usize::from(shard)] = older,
            newer => self.links[newer as usize].older = older,
        }
    }

    /// Sends a slot to the end of its line.
    pub(super) fn fed(&mut self, shard: u8, slot: Slot) {
        if self.newest[usize::from(shard)] != slot {
            self.remove(shard, slot);
            self.add(shard, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn it_agrees_with_a_queue_over_many_steps() {
        let mut order = Order::default();
        let mut truth: [VecDeque<Slot>; 2] = Default::default();
        let mut x = 1u64;
        for _ in 0..20_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (shard, slot) = ((x >> 33) as usize % 2, (x >> 40) as Slot % 20);
            let line = &mut truth[shard];
            let slot = slot * 2 + shard as Slot;
            let at = line.iter().position(|s| *s == slot);
            match at {
                None => {
                    line.push_back(slot);
                    order.add(shard as u8, slot);
                }
                Some(at) if x >> 50 & 1 == 0 => {
                    line.remove(at);
                    order.remove(shard as u8, slot);
                }
                Some(at) => {
                    line.remove(at);
                    line.push_back(slot);
                    order.fed(shard as u8, slot);
                }
            }
            assert_eq!(order.oldest(0), truth[0].front().copied());
            assert_eq!(order.oldest(1), truth[1].front().copied());
        }
        assert_eq!(order.oldest(7), None);
    }
}
