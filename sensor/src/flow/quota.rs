//! How many flows each shard may hold: half the capacity is every shard's by right, the other half goes where it is used.
//!
//! Quotas change only at ticks, from what the shards held at that tick, so they are the same for any number of workers. Their
//! sum never exceeds the capacity.

use super::SHARDS;

/// What a shard holds and how much it wanted since the last tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    /// Flows it holds now.
    pub live: u32,
    /// Flows it opened since the last tick.
    pub opened: u32,
}

/// Flows that each shard may hold until the next tick.
#[derive(Clone, Debug)]
pub struct Quotas {
    capacity: u32,
    quota: [u32; SHARDS],
}

impl Quotas {
    /// Equal shares of `capacity` flows, which is at least one flow a shard.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        let capacity = capacity.max(SHARDS as u32);
        Self { capacity, quota: [capacity / SHARDS as u32; SHARDS] }
    }

    /// All flows together.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Flows that `shard` may hold.
    #[inline]
    #[must_use]
    pub fn of(&self, shard: u8) -> u32 {
        self.quota[usize::from(shard)]
    }

    /// Shares anew: a floor for everybody, what is held, and of what remains half evenly and half by how many flows were opened.
    pub fn share(&mut self, demand: &[Demand; SHARDS]) {
        let shards = SHARDS as u64;
        let floor = u64::from(self.capacity) / (2 * shards);
        let held = |d: &Demand| u64::from(d.live).max(floor);
        let total: u64 = demand.iter().map(held).sum();
        let free = u64::from(self.capacity).saturating_sub(total);
        let opened: u64 = demand.iter().map(|d| u64::from(d.opened)).sum();
        let even = if opened == 0 { free } else { free / 2 } / shards;
        for (quota, d) in self.quota.iter_mut().zip(demand) {
            let by_use = (free / 2 * u64::from(d.opened)).checked_div(opened).unwrap_or(0);
            let share = if total > u64::from(self.capacity) {
                // Over-full after a skewed tick: everybody shrinks in proportion.
                held(d) * u64::from(self.capacity) / total
            } else {
                held(d) + even + by_use
            };
            *quota = u32::try_from(share.max(1)).unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(q: &Quotas) -> u64 {
        (0..SHARDS).map(|s| u64::from(q.of(s as u8))).sum()
    }

    #[test]
    fn a_busy_shard_borrows_what_idle_ones_do_not_use_and_the_sum_stays_within_the_capacity() {
        let mut q = Quotas::new(256_000);
        let mut demand = [Demand::default(); SHARDS];
        demand[7] = Demand { live: 1_000, opened: 90_000 };
        for _ in 0..6 {
            q.share(&demand);
            assert!(sum(&q) <= 256_000, "sum {}", sum(&q));
            demand[7].live = q.of(7);
        }
        assert!(q.of(7) > 100_000, "got {}", q.of(7));
        assert!(q.of(8) >= 500, "the floor of every shard stays: {}", q.of(8));
    }

    #[test]
    fn when_others_wake_up_the_share_shrinks_again() {
        let mut q = Quotas::new(25_600);
        let mut demand = [Demand { live: 50, opened: 10 }; SHARDS];
        demand[0] = Demand { live: 20_000, opened: 10 };
        q.share(&demand);
        assert!(sum(&q) <= 25_600);
        assert!(q.of(0) < 20_000);
    }

    #[test]
    fn a_capacity_below_one_flow_a_shard_is_raised_to_it() {
        assert_eq!(Quotas::new(3).capacity(), 256);
        assert_eq!(Quotas::new(3).of(255), 1);
    }
}
