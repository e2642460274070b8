//! *mix*: captures multiplied into as many packets as are wanted, for benchmarks on traffic with real content.
//!
//! In: capture files, a number of packets, a seed. Out: one classic pcap (ns, little-endian, Ethernet), the same bytes from the
//! same files and seed, written as it is made: memory holds the captures once ([`load`]) and a few words for every copy under way.
//!
//! # Recipe
//! 1. **Copies.** In every round each capture is copied once, in an order that the seed shuffles, until the packets wanted are
//!    reached; a copy that was begun is completed, so every session has its beginning and its end.
//! 2. **Time.** A copy begins every millisecond on average ([`START_GAP_NS`], jittered by the seed) and keeps the gaps of its
//!    capture: typing, keep-alives and answers come as they came. So thousands of copies overlap and their packets interleave, and
//!    what was a few packets a second becomes hundreds of thousands. Only what is longer than a benchmark can wait for is
//!    shortened: see [`load`].
//! 3. **Addresses** of the outer IP header, one to one within a copy ([`rewrite`]): every private /24 becomes a /24 of 10/8
//!    that no other copy has (the last byte stays, and with it the broadcast address); any other IPv4 address keeps its first 20 bits, so its
//!    network stays what it was to the address database, and gets other last 12 bits. IPv6 likewise: global addresses keep their /48, unique local
//!    and link-local ones stay such. Multicast, broadcast, loopback and unspecified addresses stay.
//! 4. **Checksums** are carried along (RFC 1624): what was right stays right, what was wrong or left to a network card stays so.
//!
//! # What it is not
//! Addresses inside payloads stay: DNS answers, ICMP's quotes, what a tunnel carries, FTP's PORT. Names from DNS therefore belong to the
//! original addresses, and inner flows of two copies of a tunnel are one. Frames that are not IP (ARP, LLDP) stay as they are.
//! All copies behave alike, so it shows the price of content, not the variety of a network.
//! Private /24s are given out again after 65,536 of them, and a capture's public addresses after 4,095 copies.

mod load;
mod rewrite;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io::{self, Write};

pub use load::{Captures, Left};
use rewrite::Addresses;

use super::{NANOS, Random, START_S, begin};

/// Nanoseconds between the starts of two copies, on average: with captures of 800 packets, 0.8 million packets a second once as many
/// copies end as begin, about what 10 Gbit/s of office traffic come to.
pub const START_GAP_NS: u64 = 1_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Packets.
    pub packets: u64,
    /// Copies of captures, all captures together.
    pub copies: u64,
}

/// Writes at least `packets` packets, and to its end every copy that was begun; nothing where `captures` is empty.
///
/// # Errors
/// What `out` says.
pub fn write(captures: &Captures, packets: u64, seed: u64, mut out: impl Write) -> io::Result<Written> {
    begin(&mut out, NANOS)?;
    let mut written = Written::default();
    let mut frame = Vec::with_capacity(2_048);
    let mut starts = Starts::new(captures, packets, seed).peekable();
    let mut under_way = BinaryHeap::new();
    loop {
        let now_ns = under_way.peek().map(|Reverse(copy): &Reverse<Copy>| copy.at_ns);
        if let Some(copy) = starts.next_if(|next| now_ns.is_none_or(|now_ns| next.at_ns <= now_ns)) {
            written.copies += 1;
            under_way.push(Reverse(copy));
            continue;
        }
        let Some(mut first) = under_way.peek_mut() else { break };
        let Reverse(copy) = &mut *first;
        let capture = &captures.list[copy.capture];
        let taken = &capture.frames[copy.next];
        frame.clear();
        frame.extend_from_slice(captures.bytes(taken));
        copy.addresses.rewrite(capture, taken.place, &mut frame);
        let (s, ns) = (START_S + copy.at_ns / SECOND_NS, copy.at_ns % SECOND_NS);
        for word in [s as u32, ns as u32, frame.len() as u32, taken.wirelen] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&frame)?;
        written.packets += 1;
        copy.next += 1;
        if let Some(next) = capture.frames.get(copy.next) {
            copy.at_ns = copy.start_ns + next.after_ns;
        } else {
            PeekMut::pop(first);
        }
    }
    out.flush()?;
    Ok(written)
}

/// A copy under way. Ordered by the time of its next packet, then by its number.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    at_ns: u64,
    number: u64,
    start_ns: u64,
    capture: usize,
    next: usize,
    addresses: Addresses,
}

/// The copies in the order they begin.
struct Starts<'a> {
    captures: &'a Captures,
    random: Random,
    seed: u64,
    /// Captures still to be copied in this round.
    round: Vec<usize>,
    rounds: u32,
    number: u64,
    nets: u64,
    /// Packets still wanted.
    wanted: u64,
}

impl<'a> Starts<'a> {
    fn new(captures: &'a Captures, packets: u64, seed: u64) -> Self {
        let wanted = if captures.list.is_empty() { 0 } else { packets };
        let random = Random(scatter(seed) | 1);
        Self { captures, random, seed, round: Vec::new(), rounds: 0, number: 0, nets: 0, wanted }
    }
}

impl Iterator for Starts<'_> {
    type Item = Copy;

    fn next(&mut self) -> Option<Copy> {
        if self.wanted == 0 {
            return None;
        }
        if self.round.is_empty() {
            self.round = (0..self.captures.list.len()).collect();
            self.rounds += 1;
        }
        let pick = self.random.below(self.round.len() as u64) as usize;
        let index = self.round.swap_remove(pick);
        let capture = &self.captures.list[index];
        let start_ns = self.number * START_GAP_NS + self.random.below(START_GAP_NS);
        self.number += 1;
        self.wanted = self.wanted.saturating_sub(capture.frames.len() as u64);
        let addresses = Addresses::new(self.seed, self.number, self.rounds, index, self.nets);
        self.nets += capture.nets.len() as u64;
        Some(Copy { at_ns: start_ns, number: self.number, start_ns, capture: index, next: 0, addresses })
    }
}

/// Spreads a number over all 64 bits (the finalizer of splitmix64, Steele et al. 2014).
const fn scatter(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
