//! *mix*: captures multiplied into as many packets as are wanted, for benchmarks on traffic with real content.
//!
//! In: capture files, a number of packets, a seed. Out: one classic pcap (ns, little-endian, Ethernet), the same bytes from the
//! same files and seed, written as it is made: memory holds the captures once and some words for every copy under way.
//!
//! # Recipe
//! 1. **Copies.** In every round each capture is copied once, in an order that the seed shuffles, until the packets wanted are
//!    reached. A copy that was begun is completed, so every session has its beginning and its end.
//! 2. **Time.** A copy begins every millisecond on average ([`START_GAP_NS`], jittered by the seed) and keeps the gaps of its
//!    capture: keys, keep-alives and answers come as they came, and the shape of work stays one. Thousands of copies overlap and
//!    their packets interleave, so what was some packets a second becomes hundreds of thousands. Only silences of more than 25 s are
//!    shortened to that, and a capture ends after 300 s or 20,000 packets (`mix/load.rs`).
//! 3. **Addresses** of the outermost IP header, one to one within a copy (`mix/rewrite.rs`): every private /24 becomes a /24 of 10/8
//!    that no other copy has, and the last byte stays; any other IPv4 address keeps its first 20 bits, so it mostly stays in its
//!    network, and gets other last 12 bits. Global IPv6 addresses keep their /48, unique local and link-local ones stay such.
//!    Multicast, broadcast, loopback and unspecified addresses stay as they are.
//! 4. **Checksums** are carried along (RFC 1624), those over the pseudo header, too: what was right stays right, and what was
//!    wrong or left to a network card stays so.
//!
//! # What it is not
//! Addresses inside payloads stay: DNS answers, ICMP's quotes, the packets in a tunnel, FTP's PORT. So names from DNS belong to the
//! original addresses, and the inner flows of two copies of a tunnel are one. Frames without IP (ARP, LLDP) stay as they are,
//! and so do MAC addresses. Copies get the labels of their capture, and its findings but for some that hang on whose network an address
//! is: a neighbour in the /20 may be somebody else's. All copies behave alike: it shows the price of content, not the
//! variety of a network. Private /24s are given out again after 65,536 of them, a capture's public addresses after 4,095 copies.

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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use super::super::{Workload, generate};
    use super::*;
    use crate::source::{Batch, Inputs, Options, Source, Status};

    /// Two captures: one of the made-up ones each.
    fn captures() -> Captures {
        let mut captures = Captures::default();
        for workload in [Workload::Small, Workload::Elephant] {
            let mut file = Vec::new();
            generate(workload, 3_000, 1, &mut file).expect("memory");
            captures.join(Captures::read(&mut source(file)));
        }
        captures
    }

    fn source(file: Vec<u8>) -> Inputs {
        Inputs::from_stream("made", Box::new(io::Cursor::new(file)), &Options::default()).expect("no filter")
    }

    fn mixed(packets: u64, seed: u64) -> (Written, Vec<u8>) {
        let mut file = Vec::new();
        let written = write(&captures(), packets, seed, &mut file).expect("memory");
        (written, file)
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        let (written, file) = mixed(10_000, 7);
        assert_eq!(written, Written { packets: 12_000, copies: 4 }, "copies are completed");
        assert_eq!(mixed(10_000, 7).1, file);
        assert_ne!(mixed(10_000, 8).1, file);
    }

    #[test]
    fn copies_interleave_in_the_order_of_time_and_share_no_pair_of_addresses() {
        let (written, file) = mixed(30_000, 1);
        let mut source = source(file);
        let mut batch = Batch::default();
        let (mut last_ns, mut packets, mut pairs) = (i64::MIN, 0, BTreeMap::<_, u64>::new());
        while source.next_batch(&mut batch, 1_000) == Status::More {
            for (frame, bytes) in batch.iter() {
                assert!(frame.ts_ns >= last_ns, "packet {} steps back in time", frame.number);
                last_ns = frame.ts_ns;
                packets += 1;
                let mut pair = [&bytes[26..30], &bytes[30..34]];
                pair.sort_unstable();
                *pairs.entry(pair.concat()).or_default() += 1;
            }
        }
        assert!(source.problems().is_empty(), "{:?}", source.problems());
        assert_eq!(packets, written.packets);
        let originals: HashMap<usize, usize> = captures()
            .list
            .iter()
            .map(|capture| {
                let captures = captures();
                capture
                    .frames
                    .iter()
                    .map(|f| {
                        let bytes = captures.bytes(f);
                        let mut pair = [&bytes[26..30], &bytes[30..34]];
                        pair.sort_unstable();
                        pair.concat()
                    })
                    .collect::<HashSet<_>>()
                    .len()
            })
            .enumerate()
            .collect();
        assert_eq!(pairs.len(), 5 * (originals[&0] + originals[&1]), "ten copies, five of each capture");
    }

    #[test]
    fn nothing_to_multiply_gives_an_empty_capture() {
        let mut file = Vec::new();
        assert_eq!(write(&Captures::default(), 10, 1, &mut file).expect("memory"), Written::default());
        assert_eq!(file.len(), 24);
    }
}
