//! The flow table of one worker: entries that never move, listed by shard, found through the index.
//!
//! A shard lists the numbers of its entries, so that expiry and eviction walk a shard's flows without following links: no list
//! or wheel is touched by a packet. Places are shared by all shards, so a shard that has shrunk holds nothing back from one that
//! grows. The worker sweeps every shard in turn.

use std::io;

use super::arena::{Arena, Zeroed};
use super::entry::{Birth, Hot, flag};
use super::index::Index;
use super::key::{Hasher, Key, Key4, Key6, SHARDS};

/// Walks fetch entries this many ahead.
const WALK_AHEAD: usize = 16;

/// A flow's key and hot part, aligned to cache lines: one line for IPv4, two for IPv6.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Entry<K> {
    /// Who talks to whom.
    pub key: K,
    /// Counters and state.
    pub hot: Hot,
}

// SAFETY: a key is valid as zeros (`Key` demands it), and `Hot` is integers and arrays of integers.
unsafe impl<K: Key> Zeroed for Entry<K> {}

const _: () =
    assert!(size_of::<Entry<Key4>>() == 64 && size_of::<Entry<Key6>>() == 128 && size_of::<Birth>() <= 48);

/// Number of an entry; stays the same for the flow's life.
pub type Found = u32;

/// The table.
pub struct Table<K: Key> {
    entries: Arena<Entry<K>>,
    births: Arena<Birth>,
    index: Index,
    hasher: Hasher,
    /// Entry numbers by shard; an entry's place in its list is in its record of birth.
    shards: Vec<Vec<u32>>,
    /// Entries never used so far begin here.
    next: u32,
    /// Entries that flows have left.
    free: Vec<u32>,
}

impl<K: Key> Table<K> {
    /// A table for at most `capacity` flows, which costs memory only as it fills.
    pub fn new(capacity: u32, hasher: Hasher) -> io::Result<Self> {
        // Quotas sum to the capacity, but a shard whose quota has just shrunk keeps its flows until it opens another.
        let slots = capacity as usize + capacity as usize / 2 + SHARDS;
        Ok(Self {
            entries: Arena::new(slots)?,
            births: Arena::new(slots)?,
            index: Index::with_capacity(4_096)?,
            hasher,
            shards: vec![Vec::new(); SHARDS],
            next: 0,
            free: Vec::new(),
        })
    }

    /// Hash of a key, to be handed to the other calls.
    #[inline]
    pub fn hash(&self, key: &K) -> u64 {
        key.hash(&self.hasher)
    }

    /// First step of a batch: fetch the bucket.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step of a batch: fetch the likely entry, whose number is handed to [`Table::find_likely`].
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) -> Option<Found> {
        let likely = self.index.candidate(hash)?;
        self.entries.prefetch(likely as usize);
        Some(likely)
    }

    /// The flow of `key`, which is most likely the one of this number.
    #[inline]
    pub fn find_likely(&self, likely: Option<Found>, hash: u64, key: &K) -> Option<Found> {
        if let Some(at) = likely {
            let entry = self.entries.at(at as usize);
            // What was there a moment ago may have left since.
            if entry.key == *key && entry.hot.has(flag::LIVE) {
                return likely;
            }
        }
        self.find(hash, key)
    }

    /// The flow of `key`.
    #[inline]
    pub fn find(&self, hash: u64, key: &K) -> Option<Found> {
        self.index.find(hash, |i| self.entries.at(i as usize).key == *key)
    }

    /// Opens a flow that is not in the table; `None` when no entry is left (the caller keeps shards within quotas that sum to the
    /// capacity, so this is a bug or a failed allocation).
    pub fn open(&mut self, shard: u8, hash: u64, key: K, birth: Birth, hot: Hot) -> Option<Found> {
        let slot = self.free.pop().or_else(|| {
            let fresh = self.next;
            ((fresh as usize) < self.entries.capacity()).then(|| {
                self.next += 1;
                fresh
            })
        })?;
        let (entries, hasher) = (&self.entries, self.hasher);
        if self.index.insert(hash, slot, |i| entries.at(i as usize).key.hash(&hasher)).is_err() {
            self.free.push(slot);
            return None;
        }
        *self.entries.at_mut(slot as usize) =
            Entry { key, hot: Hot { flags: hot.flags | flag::LIVE, ..hot } };
        let list = &mut self.shards[usize::from(shard)];
        *self.births.at_mut(slot as usize) = Birth { place: list.len() as u32, ..birth };
        list.push(slot);
        Some(slot)
    }

    /// Takes a flow out and hands back what was known of it.
    pub fn close(&mut self, shard: u8, at: Found) -> (Entry<K>, Birth) {
        let entry = *self.entries.at(at as usize);
        let birth = *self.births.at(at as usize);
        self.index.remove(entry.key.hash(&self.hasher), at);
        self.entries.at_mut(at as usize).hot.flags = 0;
        let list = &mut self.shards[usize::from(shard)];
        list.swap_remove(birth.place as usize);
        if let Some(moved) = list.get(birth.place as usize) {
            self.births.at_mut(*moved as usize).place = birth.place;
        }
        self.free.push(at);
        (entry, birth)
    }

    /// Fetches what closing `at` will touch.
    #[inline]
    pub fn prefetch_close(&self, at: Found) {
        self.births.prefetch(at as usize);
        self.index.prefetch(self.entries.at(at as usize).key.hash(&self.hasher));
    }

    /// A shard that has shrunk gives back the memory of its list.
    pub fn trim(&mut self, shard: u8) {
        let list = &mut self.shards[usize::from(shard)];
        if list.capacity() > 1_024 && list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
    }

    /// The entry numbers of a shard's flows.
    pub fn slots(&self, shard: u8) -> impl Iterator<Item = Found> + use<'_, K> {
        let list = &self.shards[usize::from(shard)];
        list.iter().enumerate().map(|(i, at)| {
            if let Some(ahead) = list.get(i + WALK_AHEAD) {
                self.entries.prefetch(*ahead as usize);
            }
            *at
        })
    }

    /// Key and hot part.
    #[inline]
    pub fn entry(&self, at: Found) -> &Entry<K> {
        self.entries.at(at as usize)
    }

    /// Hot part, to change.
    #[inline]
    pub fn hot_mut(&mut self, at: Found) -> &mut Hot {
        &mut self.entries.at_mut(at as usize).hot
    }

    /// The record of the first packet.
    pub fn birth(&self, at: Found) -> &Birth {
        self.births.at(at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key4 {
        Key4::of(n.to_be_bytes(), 1000, [203, 0, 113, 1], 443, 6, 0).0
    }

    #[test]
    fn a_flow_is_found_until_it_is_closed_and_its_place_is_used_again() {
        let mut t = Table::<Key4>::new(1_000, Hasher::with_seed(5)).expect("memory");
        let hash = t.hash(&key(7));
        assert_eq!(t.find(hash, &key(7)), None);
        let at =
            t.open(3, hash, key(7), Birth { number: 42, ..Birth::default() }, Hot::default()).expect("room");
        t.hot_mut(at).count(0, 60);
        assert_eq!(t.find(hash, &key(7)), Some(at));
        let (entry, birth) = t.close(3, at);
        assert_eq!((entry.hot.bytes, birth.number), ([60, 0], 42));
        assert_eq!(t.find(hash, &key(7)), None);
        assert_eq!(t.open(3, hash, key(7), Birth::default(), Hot::default()), Some(at));
        assert_eq!(t.slots(3).collect::<Vec<_>>(), [at]);
    }

    #[test]
    fn it_holds_its_whole_capacity_and_walks_it_by_shard() {
        let mut t = Table::<Key4>::new(20_000, Hasher::with_seed(9)).expect("memory");
        for n in 0..20_000u32 {
            let hash = t.hash(&key(n));
            assert!(
                t.open((n % 256) as u8, hash, key(n), Birth::default(), Hot::default()).is_some(),
                "flow {n}"
            );
        }
        for n in 0..20_000u32 {
            assert!(t.find(t.hash(&key(n)), &key(n)).is_some(), "flow {n}");
        }
        let live: usize =
            (0..=255u8).map(|s| t.slots(s).filter(|i| t.entry(*i).hot.has(flag::LIVE)).count()).sum();
        assert_eq!(live, 20_000);
    }

    #[test]
    fn places_that_one_shard_has_left_serve_another() {
        let mut t = Table::<Key4>::new(1_000, Hasher::with_seed(9)).expect("memory");
        let mut open = Vec::new();
        for n in 0..20_000u32 {
            let shard = (n / 900 % 256) as u8;
            let hash = t.hash(&key(n));
            open.push((
                shard,
                t.open(shard, hash, key(n), Birth::default(), Hot::default()).expect("a place"),
            ));
            if open.len() == 900 {
                // All but every seventh of the shard end, in an order of their own.
                let (stay, go): (Vec<_>, Vec<_>) = open.drain(..).enumerate().partition(|(i, _)| i % 97 == 0);
                for (_, (shard, at)) in go.iter().rev() {
                    t.close(*shard, *at);
                }
                for (_, (shard, at)) in stay {
                    assert!(t.slots(shard).any(|s| s == at));
                    t.close(shard, at);
                }
                t.trim(shard);
            }
        }
    }

    #[test]
    fn counters_carry_beyond_32_bits() {
        let mut hot = Hot { packets: [u32::MAX, 0], ..Hot::default() };
        hot.count(0, 1);
        assert_eq!(hot.packets(0), 1 << 32);
    }
}
