//! SSH from behind its key exchange on, for captures that began later: nothing but ciphertext and sizes.
//!
//! In: the segments of both directions, each mostly one write. Out: whether they are SSH's binary packets.
//!
//! Encrypt-then-MAC and AES-GCM leave the length in clear (RFC 5647 section 7.3; OpenSSH PROTOCOL, section 1.7): packets chain
//! exactly, which is a grammar. Everything else is encrypted, the length included, and shows only that packets are whole blocks and a
//! MAC: sizes in a lattice, the smallest as a key stroke or a window adjustment makes it, and first bytes without any framing.

use crate::{Dir, Probe, Reader, Short, Verdict};

/// Packets with lengths in clear, at least in each direction: each fixes some 30 bits.
const CHAIN_EACH: u16 = 3;
/// Bytes of a packet behind its length (RFC 4253 section 6.1), and the block it must be a multiple of.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=35_000;
const BLOCK: usize = 8;
/// MACs and tags: AES-GCM, hmac-md5 and umac-128 16; hmac-sha1 20; hmac-sha2-256 32; hmac-sha2-512 64; umac-64 8.
const MACS: [usize; 5] = [16, 32, 64, 20, 8];

/// Segments from this size on may be parts of a longer write: they are summed up with what follows.
const BULK: usize = 1_000;
/// A key stroke, its echo and a window adjustment with a length of 4, blocks of 8 or 16 and a tag of 16 (chacha20-poly1305), or with
/// hmac-sha1 behind one block.
const SMALLEST: usize = 36;
/// The same with blocks of 16 and the MACs hmac-md5 or umac-128, and hmac-sha2-256.
const SMALLEST_OF_16: [usize; 2] = [48, 64];
/// Writes checked: in each direction, and in both. Each has a chance of 1/8 (1/16) for sizes that are as they please.
const WRITES_EACH: u16 = 6;
const WRITES_BOTH: u16 = 24;
/// As many where the smallest size does not show.
const WRITES_BOTH_UNMARKED: u16 = 64;
/// Of the smallest size at least.
const SMALLEST_SEEN: u16 = 6;
/// Writes behind which the bytes must have told.
const WRITES_LOOKED_AT: u16 = 32;
/// Writes with another size (a segment that was captured in pieces) that are borne: one in this many.
const BORNE: u16 = 32;
/// Payload that a probe wants to see, and bytes in which it looks for disorder.
const PROBED: usize = 192;
const DISORDER: usize = 64;
/// Different values among 64 random bytes: 56.8 on average, below 46 in 1 of 100,000.
const DISORDER_MIN: u32 = 46;

/// What the segments came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Lengths in clear that chain, and the MAC's size.
    Chain { packets: u16, mac: usize },
    /// Sizes in SSH's lattice.
    Lattice { writes: u16, smallest: usize, block: usize },
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    On,
    Found(Found),
    Foreign,
}

/// Both directions so far.
#[derive(Debug, Default)]
pub(super) struct Midstream {
    sides: [Side; 2],
    chain_broken: bool,
    mac: Option<usize>,
}

#[derive(Debug, Default)]
struct Side {
    /// What may be the beginning of the capture in the midst of a write.
    begun: bool,
    /// Bytes of a write that is not over.
    run: usize,
    chained: u16,
    writes: Writes,
    first_bytes: [Values; 4],
    looked_at: u16,
}

/// Writes by how their sizes fit.
#[derive(Clone, Copy, Debug, Default)]
struct Writes {
    all: u16,
    /// 4 beyond a multiple of 8: one packet, or an odd number of them.
    odd: u16,
    /// Multiples of 8: several packets.
    even: u16,
    /// Multiples of 16.
    whole: u16,
    /// 12 beyond a multiple of 16; and 4.
    twelve: u16,
    four: u16,
    /// Of a size that a key stroke makes.
    smallest: u16,
    smallest_of_16: [u16; SMALLEST_OF_16.len()],
    least: usize,
}

impl Writes {
    fn push(&mut self, size: usize) {
        let one = |yes: bool| u16::from(yes);
        let add = |to: &mut u16, yes: bool| *to = to.saturating_add(one(yes));
        add(&mut self.all, true);
        add(&mut self.odd, size % 8 == 4);
        add(&mut self.even, size.is_multiple_of(8) && size >= 2 * SMALLEST);
        add(&mut self.whole, size.is_multiple_of(16));
        add(&mut self.twelve, size % 16 == 12);
        add(&mut self.four, size % 16 == 4);
        add(&mut self.smallest, size == SMALLEST);
        for (count, smallest) in self.smallest_of_16.iter_mut().zip(SMALLEST_OF_16) {
            add(count, size == smallest);
        }
        self.least = if self.all == 1 { size } else { self.least.min(size) };
    }
}

/// Byte values seen.
#[derive(Clone, Copy, Debug, Default)]
struct Values([u64; 4]);

impl Values {
    fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// Whether the beginning of `data` is disordered as ciphertext is.
fn is_disordered(data: &[u8]) -> bool {
    let mut values = Values::default();
    let head = data.get(..data.len().min(DISORDER)).unwrap_or(&[]);
    head.iter().for_each(|b| values.insert(*b));
    let few = DISORDER.saturating_sub(head.len());
    values.count() >= DISORDER_MIN.saturating_sub(u32::try_from(few).unwrap_or(DISORDER_MIN))
}

/// Packets with lengths in clear that `data` is made of to its last byte, with MACs of `mac` bytes; [`Short`] if it ends within one.
fn chain(data: &[u8], mac: usize) -> Result<Option<u16>, Short> {
    let mut r = Reader::new(data);
    let mut packets = 0_u16;
    while !r.is_empty() {
        let length = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        if !LENGTH.contains(&length) || !length.is_multiple_of(BLOCK) {
            return Ok(None);
        }
        r.skip(length.saturating_add(mac))?;
        packets = packets.saturating_add(1);
    }
    Ok(Some(packets))
}

/// Whether a length in clear stands at the start of `data`.
fn begins_with_length(data: &[u8]) -> bool {
    let length = Reader::new(data).u32().ok().and_then(|n| usize::try_from(n).ok());
    length.is_some_and(|n| LENGTH.contains(&n) && n.is_multiple_of(BLOCK))
}

/// Whether a direction of which nothing in clear was seen may be SSH's: cheap, and what it lets pass is looked at closely.
pub(super) fn probe(p: &Probe<'_>) -> Verdict {
    /// TLS records, the one other ciphertext that is everywhere.
    const TLS: &[u8] = &[0x17, 3];
    let both = [p.data, p.other];
    if both.iter().any(|data| data.starts_with(TLS) || data.starts_with(b"SSH-")) {
        return Verdict::No;
    }
    // Whole writes sum up to multiples of 4; within bulk anything may be cut.
    let fits = |data: &&[u8]| data.len() >= BULK || data.len().is_multiple_of(4);
    if !both.iter().all(fits) {
        return Verdict::No;
    }
    if both.iter().all(|data| begins_with_length(data)) {
        let whole = |data: &[u8]| MACS.iter().any(|mac| matches!(chain(data, *mac), Ok(Some(_))));
        return if both.iter().all(|data| whole(data)) { Verdict::Yes } else { Verdict::More };
    }
    if p.data.len() >= DISORDER && !is_disordered(p.data) {
        return Verdict::No;
    }
    let enough = both.iter().map(|data| data.len()).sum::<usize>() >= PROBED;
    let seen = both.iter().all(|data| data.len() >= SMALLEST && is_disordered(data));
    if enough && seen { Verdict::Yes } else { Verdict::More }
}

impl Midstream {
    /// Takes a segment's payload in.
    pub(super) fn segment(&mut self, dir: Dir, data: &[u8], gap: bool) -> Step {
        if data.is_empty() {
            return Step::On;
        }
        self.chain(dir, data);
        let [up, down] = &mut self.sides;
        let (here, there) = if dir == Dir::ToServer { (up, &*down) } else { (down, &*up) };
        if gap && here.begun {
            here.run = 0;
        }
        if here.run == 0 && here.looked_at < WRITES_LOOKED_AT && here.begun {
            here.looked_at = here.looked_at.saturating_add(1);
            for (values, byte) in here.first_bytes.iter_mut().zip(data) {
                values.insert(*byte);
            }
        }
        here.run = here.run.saturating_add(data.len());
        if data.len() < BULK {
            let size = std::mem::take(&mut here.run);
            // The first payload is what the probes saw, several segments of it, or the end of a write.
            if std::mem::replace(&mut here.begun, true) {
                here.writes.push(size);
            }
        } else if !here.begun {
            here.begun = true;
            here.run = 0;
        }
        let chained = (here.chained, there.chained);
        if let (false, Some(mac)) = (self.chain_broken, self.mac)
            && chained.0.min(chained.1) >= CHAIN_EACH
        {
            return Step::Found(Found::Chain { packets: chained.0.saturating_add(chained.1), mac });
        }
        self.judge()
    }

    /// Follows lengths in clear.
    fn chain(&mut self, dir: Dir, data: &[u8]) {
        if self.chain_broken {
            return;
        }
        let macs = MACS.iter().filter(|mac| self.mac.is_none_or(|known| known == **mac));
        let found = macs.copied().find_map(|mac| Some((mac, chain(data, mac).ok().flatten()?)));
        match (found, self.sides.get_mut(dir.index())) {
            (Some((mac, packets)), Some(side)) => {
                self.mac = Some(mac);
                side.chained = side.chained.saturating_add(packets);
            }
            _ => self.chain_broken = true,
        }
    }

    fn judge(&self) -> Step {
        let [a, b] = &self.sides;
        let sum = |count: fn(&Writes) -> u16| count(&a.writes).saturating_add(count(&b.writes));
        let all = sum(|w| w.all);
        let borne = |misfits: u16| misfits <= all / BORNE;
        let of_8 = borne(all.saturating_sub(sum(|w| w.odd)).saturating_sub(sum(|w| w.even)));
        let of_16 = borne(all.saturating_sub(sum(|w| w.whole)));
        if !of_8 && !of_16 {
            return Step::Foreign;
        }
        if all < WRITES_BOTH || a.writes.all.min(b.writes.all) < WRITES_EACH {
            return Step::On;
        }
        let unframed = [a, b].iter().all(|side| side.is_unframed());
        if !unframed {
            return if self.chain_broken { Step::Foreign } else { Step::On };
        }
        let smallest = sum(|w| w.smallest);
        let least = a.writes.least.min(b.writes.least);
        let odd = sum(|w| w.odd).saturating_mul(4) >= all.saturating_mul(3);
        let found = |smallest, block| Step::Found(Found::Lattice { writes: all, smallest, block });
        if of_8 && odd && least == SMALLEST && smallest >= SMALLEST_SEEN {
            return found(SMALLEST, 8);
        }
        // Telegram's packets are 12 beyond multiples of 16, always.
        let mixed = sum(|w| w.twelve).min(sum(|w| w.four)) >= all / 16;
        if of_8 && odd && mixed && least > SMALLEST && all >= WRITES_BOTH_UNMARKED {
            return found(least, 8);
        }
        let echoed = |i: usize| {
            let seen = |side: &Side| side.writes.smallest_of_16.get(i).copied().unwrap_or(0);
            SMALLEST_OF_16.get(i).filter(|size| **size == least && seen(a).min(seen(b)) >= SMALLEST_SEEN / 2)
        };
        match (0..SMALLEST_OF_16.len()).find_map(echoed) {
            Some(size) if of_16 => found(*size, 16),
            _ => Step::On,
        }
    }
}

impl Side {
    /// Whether the first bytes of its writes take all values: a length, a type or a counter in clear would not.
    fn is_unframed(&self) -> bool {
        let least = u32::from(self.looked_at.saturating_sub(self.looked_at / 4));
        self.first_bytes.iter().all(|values| values.count() >= least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transport;

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// Bytes without order.
    fn noise(seed: u32, len: usize) -> Vec<u8> {
        let mut x = seed.wrapping_mul(0x9E37_79B9) | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            (x >> 11) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    /// Feeds writes of these sizes, up and down in turn; what they came to.
    fn sizes(sizes: &[usize], rounds: usize) -> Step {
        let mut midstream = Midstream::default();
        for (i, size) in sizes.iter().cycle().take(sizes.len() * rounds).enumerate() {
            let dir = if i % 2 == 0 { UP } else { DOWN };
            match midstream.segment(dir, &noise(i as u32 + 7, *size), false) {
                Step::On => {}
                step => return step,
            }
        }
        Step::On
    }

    fn asked(data: &[u8], other: &[u8]) -> Verdict {
        let transport = Transport::Tcp;
        probe(&Probe {
            dir: UP,
            transport,
            data,
            wire_len: data.len(),
            other,
            earlier: &[],
            from_start: false,
            port_hint: true,
        })
    }

    #[test]
    fn keys_and_echoes_of_an_encrypted_length_are_found_by_their_sizes() {
        let found = sizes(&[36, 36, 36, 52, 36, 36, 36, 108, 36, 44], 10);
        assert!(matches!(found, Step::Found(Found::Lattice { smallest: 36, block: 8, .. })), "{found:?}");
        let found = sizes(&[48, 48, 48, 80, 48, 64], 12);
        assert!(matches!(found, Step::Found(Found::Lattice { smallest: 48, block: 16, .. })), "{found:?}");
    }

    #[test]
    fn a_write_of_several_segments_counts_as_one() {
        let found = sizes(&[36, 1_448, 36, 596, 36, 36], 10);
        assert!(matches!(found, Step::Found(Found::Lattice { smallest: 36, .. })), "{found:?}");
    }

    #[test]
    fn sizes_as_they_please_are_foreign_soon() {
        assert_eq!(sizes(&[36, 36, 41, 52, 90, 37], 2), Step::Foreign);
    }

    #[test]
    fn sizes_of_one_residue_of_16_without_a_key_stroke_are_not_enough() {
        // Telegram: 4 + 24 + 16k.
        assert_eq!(sizes(&[92, 108, 156, 76, 92, 124], 40), Step::On);
        assert_eq!(sizes(&[32, 64, 96, 128], 40), Step::On);
    }

    #[test]
    fn a_field_in_clear_before_each_write_is_foreign() {
        let mut midstream = Midstream::default();
        let last = (0..80_u32).map(|i| {
            let mut bytes = noise(i + 3, 36);
            bytes[1] = 7;
            midstream.segment(if i % 2 == 0 { UP } else { DOWN }, &bytes, false)
        });
        assert!(last.into_iter().any(|step| step == Step::Foreign));
    }

    /// A packet with its length in clear and a tag of 16.
    fn packet(seed: u32, len: u8) -> Vec<u8> {
        [vec![0, 0, 0, len], noise(seed, usize::from(len) + 16)].concat()
    }

    #[test]
    fn lengths_in_clear_that_chain_in_both_directions_are_found_after_few_packets() {
        let mut midstream = Midstream::default();
        let mut step = Step::On;
        for i in 0..3 {
            midstream.segment(UP, &packet(i, 16), false);
            step = midstream.segment(DOWN, &[packet(i + 50, 32), packet(i + 90, 16)].concat(), false);
        }
        assert_eq!(step, Step::Found(Found::Chain { packets: 9, mac: 16 }));
        assert_eq!(asked(&packet(1, 16), &packet(2, 16)), Verdict::Yes);
    }

    #[test]
    fn one_direction_alone_is_never_enough() {
        let mut midstream = Midstream::default();
        let steps = (0..200).map(|i| midstream.segment(UP, &packet(i, 16), false));
        assert!(steps.into_iter().all(|step| step == Step::On));
        let mut midstream = Midstream::default();
        let steps = (0..200).map(|i| midstream.segment(UP, &noise(i + 1, 36), false));
        assert!(steps.into_iter().all(|step| step == Step::On));
    }

    #[test]
    fn a_probe_passes_by_text_records_and_fields_in_clear() {
        let (a, b) = (noise(1, 108), noise(2, 108));
        assert_eq!(asked(&a, &b), Verdict::Yes);
        assert_eq!(asked(&a, &[]), Verdict::More);
        assert_eq!(asked(&a[..107], &b), Verdict::No);
        assert_eq!(
            asked(b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nAccept: text/html;\r\n\r\n", &b),
            Verdict::No
        );
        assert_eq!(asked(&[&[0x17, 3, 3, 0, 103][..], &a[5..]].concat(), &b), Verdict::No);
        assert_eq!(asked(&[0; 108], &b), Verdict::No);
    }
}
