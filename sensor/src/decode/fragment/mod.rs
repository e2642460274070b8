//! Reassembly of IPv4 and IPv6 fragments in bounded memory. In: fragments in capture order with their packet time.
//! Out: the datagram once it is complete, in a buffer that lives until the next frame.
//!
//! The first bytes seen win where fragments overlap. Fragments that contradict each other take their datagram with
//! them. At a cap the datagram begun longest ago goes. Everything dropped is counted in [`FragmentStats`]. Time is the
//! packets' own, so the same capture always gives the same result.

mod store;

use super::outcome::Why;
use super::packet::Addrs;
use std::collections::HashMap;
use store::{Chain, NONE, Store};

/// Largest datagram that IP fragments can describe, in bytes: the offset field reaches 65,528, the total length of
/// IPv4 65,535 (RFC 791 section 3.1, RFC 8200 section 4.5).
const MAX_DATAGRAM: u32 = 65_535;

/// Most fragments of one datagram. A full one needs 119 over the 576-byte minimum link of IPv4 hosts; beyond twice
/// that the sender wants the list to be long.
const MAX_FRAGMENTS: u16 = 256;

/// How many reassembled datagrams of one frame can be looked into: each is a fragment inside the one before.
pub(super) const MAX_LENT: usize = 3;

/// Bounds of reassembly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentLimits {
    /// Incomplete datagrams held at most.
    pub datagrams: usize,
    /// Bytes of fragments held at most; address space is reserved at once, memory is used when fragments come.
    pub bytes: usize,
    /// How long after its first fragment an incomplete datagram is given up, in nanoseconds of packet time.
    pub timeout_ns: i64,
}

impl Default for FragmentLimits {
    /// 4,096 datagrams, 16 MiB, and the 30 s of Linux' `ipfrag_time`.
    fn default() -> Self {
        Self { datagrams: 4096, bytes: 16 << 20, timeout_ns: 30_000_000_000 }
    }
}

/// What became of fragments, since the decoder was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FragmentStats {
    /// Fragments seen.
    pub fragments: u64,
    /// Datagrams completed.
    pub reassembled: u64,
    /// Fragments that brought nothing new, as from the two copies of a frame a span port delivers.
    pub duplicates: u64,
    /// Fragments that partly overlapped earlier ones; the earlier bytes were kept.
    pub overlaps: u64,
    /// Fragments refused as malformed.
    pub rejected: u64,
    /// Datagrams given up because a fragment contradicted the others or the pieces were too many.
    pub abandoned: u64,
    /// Datagrams given up after the timeout.
    pub expired: u64,
    /// Datagrams given up because a cap was reached.
    pub evicted: u64,
    /// Datagrams incomplete now.
    pub pending: u64,
}

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub addrs: Addrs,
    pub id: u32,
    /// IPv4 protocol; 0 for IPv6, whose fragments need not agree on it (RFC 8200 section 4.5).
    pub proto: u8,
    pub domain: u16,
}

/// One fragment as it arrives.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'b> {
    pub key: Key,
    pub offset: u32,
    pub more: bool,
    /// The captured bytes of the fragment's payload…
    pub bytes: &'b [u8],
    /// … and how many there were on the wire.
    pub wire: usize,
    pub ts_ns: i64,
    /// Bytes to account for this fragment.
    pub account: u32,
    pub ttl: u8,
    /// Protocol of what was fragmented.
    pub next: u8,
}

/// A complete datagram.
pub(super) struct Whole {
    /// Its captured bytes; to be given back to [`Fragments::keep`].
    pub bytes: Vec<u8>,
    /// Which of the frame's reassembled datagrams it is, from 1.
    pub buffer: u8,
    pub wire: usize,
    /// Sum of the fragments' accounts.
    pub account: u32,
    /// Of the first fragment.
    pub ttl: u8,
    /// Of the first fragment.
    pub next: u8,
}

/// What a fragment led to.
pub(super) enum Reassembly {
    Held,
    Complete(Whole),
    Rejected(Why),
    /// More reassembled datagrams inside each other than [`MAX_LENT`].
    TooDeep,
}

struct Datagram {
    key: Key,
    first_ns: i64,
    chain: Chain,
    /// Bytes covered so far.
    covered: u32,
    /// Where the furthest fragment ends.
    reach: u32,
    /// Where the last fragment ends, once seen.
    total: Option<u32>,
    account: u32,
    fragments: u16,
    ttl: u8,
    next: u8,
    /// Neighbours in the order of arrival; `newer` also links the free list.
    older: u32,
    newer: u32,
}

/// The incomplete datagrams of one decoder.
pub(super) struct Fragments {
    limits: FragmentLimits,
    index: HashMap<Key, u32>,
    datagrams: Vec<Datagram>,
    free: u32,
    oldest: u32,
    newest: u32,
    store: Store,
    lent: [Vec<u8>; MAX_LENT],
    lent_len: usize,
    stats: FragmentStats,
}

impl Fragments {
    pub(super) fn new(limits: FragmentLimits) -> Self {
        let limits = FragmentLimits { datagrams: limits.datagrams.max(1), ..limits };
        Self {
            limits,
            // Twice the entries: a table at most half full is cleaned of tombstones in place and never grows.
            index: HashMap::with_capacity(2 * limits.datagrams),
            datagrams: Vec::with_capacity(limits.datagrams),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            store: Store::new(limits.bytes),
            lent: Default::default(),
            lent_len: 0,
            stats: FragmentStats::default(),
        }
    }

    pub(super) fn stats(&self) -> FragmentStats {
        FragmentStats { pending: self.index.len() as u64, ..self.stats }
    }

    /// Makes the buffers of the last frame's datagrams free again.
    #[inline]
    pub(super) fn reclaim(&mut self) {
        self.lent_len = 0;
    }

    /// The reassembled datagram `buffer` (from 1) of the last frame.
    pub(super) fn lent(&self, buffer: u8) -> &[u8] {
        usize::from(buffer).checked_sub(1).and_then(|i| self.lent.get(i)).map_or(&[], Vec::as_slice)
    }

    /// Keeps the bytes of a datagram that was looked into until [`Fragments::reclaim`].
    pub(super) fn keep(&mut self, buffer: u8, bytes: Vec<u8>) {
        if let Some(slot) = usize::from(buffer).checked_sub(1).and_then(|i| self.lent.get_mut(i)) {
            *slot = bytes;
        }
    }

    /// Takes one fragment in.
    pub(super) fn insert(&mut self, arrival: &Arrival<'_>) -> Reassembly {
        self.stats.fragments += 1;
        self.expire(arrival.ts_ns);
        let end = match end_of(arrival) {
            Ok(end) => end,
            Err(why) => {
                self.stats.rejected += 1;
                return Reassembly::Rejected(why);
            }
        };
        let at = match self.index.get(&arrival.key) {
            Some(&at) => at,
            None => self.begin(arrival),
        };
        match self.add(at, arrival, end) {
            Ok(false) => Reassembly::Held,
            Ok(true) if self.lent_len < MAX_LENT => Reassembly::Complete(self.complete(at)),
            Ok(true) => {
                self.drop_datagram(at);
                self.stats.abandoned += 1;
                Reassembly::TooDeep
            }
            Err(why) => {
                self.drop_datagram(at);
                self.stats.rejected += 1;
                self.stats.abandoned += 1;
                Reassembly::Rejected(why)
            }
        }
    }

    /// Adds the new bytes of `arrival`; true once its datagram is complete.
    fn add(&mut self, at: u32, arrival: &Arrival<'_>, end: u32) -> Result<bool, Why> {
        let datagram = &mut self.datagrams[at as usize];
        let beyond = datagram.total.is_some_and(|total| end > total);
        let moved =
            !arrival.more && (datagram.reach > end || datagram.total.is_some_and(|total| total != end));
        if beyond || moved {
            return Err(Why::Contradiction);
        }
        if datagram.fragments == MAX_FRAGMENTS {
            return Err(Why::TooManyPieces);
        }
        datagram.fragments += 1;
        datagram.reach = datagram.reach.max(end);
        if !arrival.more {
            datagram.total = Some(end);
        }
        let mut chain = datagram.chain;
        let mut new = 0;
        loop {
            let stored = self.store.add(&mut chain, arrival.offset, arrival.bytes, end, &mut new);
            self.datagrams[at as usize].chain = chain;
            if stored {
                break;
            }
            if !self.evict_other_than(at) {
                return Err(Why::TooManyPieces);
            }
        }
        let datagram = &mut self.datagrams[at as usize];
        datagram.covered += new;
        if new == 0 {
            self.stats.duplicates += 1;
        } else {
            datagram.account = datagram.account.saturating_add(arrival.account);
            if (new as usize) < arrival.wire {
                self.stats.overlaps += 1;
            }
            if arrival.offset == 0 {
                datagram.ttl = arrival.ttl;
                datagram.next = arrival.next;
            }
        }
        Ok(datagram.total == Some(datagram.covered))
    }

    fn begin(&mut self, arrival: &Arrival<'_>) -> u32 {
        if self.index.len() >= self.limits.datagrams {
            self.evict_other_than(NONE);
        }
        let datagram = Datagram {
            key: arrival.key,
            first_ns: arrival.ts_ns,
            chain: Chain::EMPTY,
            covered: 0,
            reach: 0,
            total: None,
            account: 0,
            fragments: 0,
            ttl: arrival.ttl,
            next: arrival.next,
            older: self.newest,
            newer: NONE,
        };
        let at = self.free;
        let at = if at == NONE {
            self.datagrams.push(datagram);
            (self.datagrams.len() - 1) as u32
        } else {
            self.free = self.datagrams[at as usize].newer;
            self.datagrams[at as usize] = datagram;
            at
        };
        match self.newest {
            NONE => self.oldest = at,
            newest => self.datagrams[newest as usize].newer = at,
        }
        self.newest = at;
        self.index.insert(arrival.key, at);
        at
    }

    fn complete(&mut self, at: u32) -> Whole {
        let datagram = &self.datagrams[at as usize];
        let mut bytes = std::mem::take(&mut self.lent[self.lent_len]);
        self.lent_len += 1;
        bytes.clear();
        bytes.reserve(MAX_DATAGRAM as usize);
        self.store.read(datagram.chain, &mut bytes);
        let whole = Whole {
            bytes,
            buffer: self.lent_len as u8,
            wire: datagram.covered as usize,
            account: datagram.account,
            ttl: datagram.ttl,
            next: datagram.next,
        };
        self.drop_datagram(at);
        self.stats.reassembled += 1;
        whole
    }

    fn expire(&mut self, now_ns: i64) {
        while self.oldest != NONE {
            let age = now_ns.saturating_sub(self.datagrams[self.oldest as usize].first_ns);
            if age <= self.limits.timeout_ns {
                break;
            }
            self.drop_datagram(self.oldest);
            self.stats.expired += 1;
        }
    }

    /// Gives the oldest datagram up, `spared` excepted; false if there is no other.
    fn evict_other_than(&mut self, spared: u32) -> bool {
        let mut victim = self.oldest;
        if victim == spared && victim != NONE {
            victim = self.datagrams[victim as usize].newer;
        }
        if victim == NONE {
            return false;
        }
        self.drop_datagram(victim);
        self.stats.evicted += 1;
        true
    }

    fn drop_datagram(&mut self, at: u32) {
        let datagram = &mut self.datagrams[at as usize];
        let (key, chain, older, newer) = (datagram.key, datagram.chain, datagram.older, datagram.newer);
        datagram.newer = self.free;
        self.free = at;
        self.index.remove(&key);
        self.store.release(chain);
        match older {
            NONE => self.oldest = newer,
            older => self.datagrams[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.datagrams[newer as usize].older = older,
        }
    }
}

/// Where a fragment ends in its datagram, or what is wrong with it by itself.
fn end_of(arrival: &Arrival<'_>) -> Result<u32, Why> {
    let wire = u32::try_from(arrival.wire).map_err(|_| Why::Overlarge)?;
    let end = arrival.offset.saturating_add(wire);
    if wire == 0 {
        Err(Why::TooShort)
    } else if end > MAX_DATAGRAM {
        Err(Why::Overlarge)
    } else if arrival.more && wire % 8 != 0 {
        Err(Why::Misaligned)
    } else {
        Ok(end)
    }
}

#[cfg(test)]
mod tests;
