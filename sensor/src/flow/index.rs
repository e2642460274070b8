//! From a key's hash to the entries that may hold it: cache-line buckets of eight tags and eight entry numbers.
//!
//! One look-up touches one 64-byte line in the common case, and the eight tags are compared at once. A full bucket passes
//! keys on to the next one and counts how many it passed, so that a miss knows when to stop and removal leaves no tombstones.

use std::io;

use super::arena::{Arena, Zeroed};

/// Slots in a bucket.
const SLOTS: usize = 8;
/// An insertion that has probed this many buckets makes the index grow.
const MAX_PROBES: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// 0 = empty; else 16 bits of the hash, never 0.
    tags: [u16; SLOTS],
    entries: [u32; SLOTS],
    /// Keys that belong here or passed by and lie in a later bucket; sticks at its maximum.
    passed: u16,
    pad: [u16; 7],
}

// SAFETY: integers only.
unsafe impl Zeroed for Bucket {}

impl Bucket {
    /// Bit i is set where tag i equals `tag`.
    #[inline]
    fn matches(&self, tag: u16) -> u32 {
        #[cfg(target_arch = "x86_64")]
        return self.matches_at_once(tag);
        #[cfg(not(target_arch = "x86_64"))]
        return self.matches_in_turn(tag);
    }

    /// With SSE2, which every processor of this kind has.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn matches_at_once(&self, tag: u16) -> u32 {
        use std::arch::x86_64::{
            _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
            _mm_setzero_si128,
        };
        // SAFETY: SSE2 is part of the architecture; the eight tags are sixteen bytes at the beginning of a structure that is
        // aligned to 64.
        unsafe {
            let tags = _mm_load_si128(self.tags.as_ptr().cast());
            let equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16(tag.cast_signed()));
            _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())).cast_unsigned()
        }
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    #[inline]
    fn matches_in_turn(&self, tag: u16) -> u32 {
        self.tags.iter().enumerate().fold(0, |bits, (i, t)| bits | u32::from(*t == tag) << i)
    }
}

/// The index of one table.
pub(super) struct Index {
    buckets: Arena<Bucket>,
    mask: usize,
    len: usize,
    limit: usize,
}

#[inline]
const fn tag_of(hash: u64) -> u16 {
    let tag = (hash >> 48) as u16;
    if tag == 0 { 1 } else { tag }
}

impl Index {
    /// An empty index that holds `capacity` entries before it grows.
    pub(super) fn with_capacity(capacity: usize) -> io::Result<Self> {
        // 5 of 8 slots used at most: probes beyond the first bucket stay rare.
        let buckets = (capacity.max(64) / 5 + 1).next_power_of_two();
        Ok(Self { buckets: Arena::new(buckets)?, mask: buckets - 1, len: 0, limit: buckets * 5 })
    }

    /// Asks the processor for the first bucket of `hash`.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.buckets.prefetch(hash as usize & self.mask);
    }

    /// The first entry that may belong to `hash`, for prefetching it: no key is compared.
    #[inline]
    pub(super) fn candidate(&self, hash: u64) -> Option<u32> {
        let bucket = self.buckets.at(hash as usize & self.mask);
        let hits = bucket.matches(tag_of(hash));
        (hits != 0).then(|| bucket.entries[hits.trailing_zeros() as usize & (SLOTS - 1)])
    }

    /// The entry for which `same` holds among those that `hash` leads to.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        let mut at = hash as usize & self.mask;
        for _ in 0..=self.mask {
            let bucket = self.buckets.at(at);
            let mut hits = bucket.matches(tag);
            while hits != 0 {
                let entry = bucket.entries[hits.trailing_zeros() as usize & (SLOTS - 1)];
                if same(entry) {
                    return Some(entry);
                }
                hits &= hits - 1;
            }
            if bucket.passed == 0 {
                return None;
            }
            at = (at + 1) & self.mask;
        }
        None
    }

    /// Adds `entry`, which must not be in the index. `rehash` gives the hash of an entry, for growing.
    pub(super) fn insert(&mut self, hash: u64, entry: u32, rehash: impl Fn(u32) -> u64) -> io::Result<()> {
        if self.len >= self.limit {
            self.grow(&rehash)?;
        }
        while !self.place(hash, entry) {
            self.grow(&rehash)?;
        }
        self.len += 1;
        Ok(())
    }

    fn place(&mut self, hash: u64, entry: u32) -> bool {
        let home = hash as usize & self.mask;
        let mut at = home;
        for probe in 0..MAX_PROBES.min(self.mask + 1) {
            let bucket = self.buckets.at_mut(at);
            if let Some(free) = bucket.tags.iter().position(|t| *t == 0) {
                bucket.tags[free] = tag_of(hash);
                bucket.entries[free] = entry;
                for step in 0..probe {
                    let passed = &mut self.buckets.at_mut((home + step) & self.mask).passed;
                    *passed = passed.saturating_add(1);
                }
                return true;
            }
            at = (at + 1) & self.mask;
        }
        false
    }

    fn grow(&mut self, rehash: &impl Fn(u32) -> u64) -> io::Result<()> {
        let mut buckets = (self.mask + 1) * 4;
        loop {
            let mut larger =
                Self { buckets: Arena::new(buckets)?, mask: buckets - 1, len: self.len, limit: buckets * 5 };
            let fits = (0..=self.mask).all(|i| {
                let bucket = self.buckets.at(i);
                bucket
                    .tags
                    .iter()
                    .zip(bucket.entries)
                    .all(|(tag, entry)| *tag == 0 || larger.place(rehash(entry), entry))
            });
            if fits {
                *self = larger;
                return Ok(());
            }
            buckets *= 4;
        }
    }

    /// Takes `entry` out.
    pub(super) fn remove(&mut self, hash: u64, entry: u32) {
        let home = hash as usize & self.mask;
        let tag = tag_of(hash);
        let mut at = home;
        for probe in 0..=self.mask {
            let bucket = self.buckets.at_mut(at);
            if let Some(slot) = (0..SLOTS).find(|i| bucket.tags[*i] == tag && bucket.entries[*i] == entry) {
                bucket.tags[slot] = 0;
                self.len -= 1;
                for step in 0..probe {
                    let passed = &mut self.buckets.at_mut((home + step) & self.mask).passed;
                    // A stuck counter stays: it may only cause a probe too many.
                    if *passed != u16::MAX {
                        *passed -= 1;
                    }
                }
                return;
            }
            if bucket.passed == 0 {
                break;
            }
            at = (at + 1) & self.mask;
        }
        debug_assert!(false, "removed an entry that was not there");
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn tags_compared_at_once_are_those_compared_in_turn() {
        let mut seed = 9u32;
        for _ in 0..10_000 {
            let mut bucket = Bucket { tags: [0; SLOTS], entries: [0; SLOTS], passed: 0, pad: [0; 7] };
            for tag in &mut bucket.tags {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *tag = [0, 1, 0x7FFF, 0x8000, 0xFFFF, (seed >> 8) as u16][(seed >> 28) as usize % 6];
            }
            for tag in [0, 1, 0x7FFF, 0x8000, 0xFFFF, bucket.tags[3]] {
                assert_eq!(bucket.matches_at_once(tag), bucket.matches_in_turn(tag), "{:x?}", bucket.tags);
            }
        }
    }

    #[test]
    fn it_agrees_with_a_hash_map_over_random_insertions_and_removals() {
        // Hashes from few values so that buckets overflow and probing chains form and dissolve.
        let mut index = Index::with_capacity(64).expect("memory");
        let mut truth: HashMap<u32, u64> = HashMap::new();
        let mut x = 88_172_645_463_325_252_u64;
        for step in 0..60_000u32 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let hash = ((x % 97) << 48) | ((x >> 20) % 61);
            if x % 5 < 3 {
                truth.insert(step, hash);
                let hashes = truth.clone();
                index.insert(hash, step, |e| hashes[&e]).expect("memory");
            } else if let Some((entry, hash)) =
                truth.iter().min_by_key(|(e, _)| (**e).wrapping_mul(2_654_435_761))
            {
                let (entry, hash) = (*entry, *hash);
                truth.remove(&entry);
                index.remove(hash, entry);
                assert_eq!(index.find(hash, |e| e == entry), None);
            }
            if truth.len() > 300 {
                for (entry, hash) in truth.drain() {
                    assert_eq!(index.find(hash, |e| e == entry), Some(entry));
                    index.remove(hash, entry);
                }
                assert_eq!(index.len(), 0);
            }
        }
    }

    #[test]
    fn a_false_tag_hit_is_left_to_the_key_comparison() {
        let mut index = Index::with_capacity(64).expect("memory");
        index.insert(7 << 48, 1, |_| 7 << 48).expect("memory");
        assert_eq!(index.find(7 << 48, |_| false), None);
        assert_eq!(index.candidate(7 << 48), Some(1));
    }
}
