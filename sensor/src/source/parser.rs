//! One parser for whatever capture format the bytes turn out to be.
//!
//! In: a window of a capture's bytes, which grows or moves on between calls. Out: frames, and whether more
//! bytes are needed. The same parsers serve mapped files (the window is the file) and streams (the window is
//! a chunk).

use super::{
    Frame,
    classic::{self, Classic},
    info::Container,
    pcapng::{self, Pcapng},
    problem::{Log, ProblemKind},
};

/// Most bytes a frame can have: that of tcpdump and Wireshark for all networks. What claims more is not a
/// frame.
pub(super) const MAX_CAPLEN: u32 = 256 << 10;

/// First timestamp that cannot be true: 2200-01-01T00:00:00Z, in seconds.
pub(super) const ABSURD_FROM_SECONDS: i64 = 7_258_118_400;

/// Nanoseconds in a second.
pub(super) const NANOS: i64 = 1_000_000_000;

/// The bytes that can be parsed now.
pub(super) struct Window<'a> {
    /// The bytes; parsers keep their position in them with the caller.
    pub(super) bytes: &'a [u8],
    /// Offset of the first byte in the capture.
    pub(super) base: u64,
    /// Whether the capture ends with them.
    pub(super) last: bool,
}

/// Why a parser stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The batch is full.
    Full,
    /// What follows the position is not complete in the window; never when the window is the last.
    NeedMore,
    /// Nothing more can come out of this capture.
    End,
}

/// A parser at some position of a capture.
pub(super) enum Parser {
    Start,
    Classic(Classic),
    Pcapng(Pcapng),
}

impl Parser {
    /// Parses frames from `bytes[*at..]` of the window and moves `at` behind what was parsed, until `frames`
    /// has `limit`.
    pub(super) fn read(
        &mut self,
        window: &Window<'_>,
        at: &mut usize,
        frames: &mut Vec<Frame>,
        limit: usize,
        log: &mut Log<'_>,
    ) -> Step {
        loop {
            match self {
                Self::Start => match self.start(window, at, log) {
                    None => {}
                    Some(step) => return step,
                },
                Self::Classic(classic) => return classic.read(window, at, frames, limit, log),
                Self::Pcapng(pcapng) => return pcapng.read(window, at, frames, limit, log),
            }
        }
    }

    /// Recognises the format; `None` when there is a parser now.
    fn start(&mut self, window: &Window<'_>, at: &mut usize, log: &mut Log<'_>) -> Option<Step> {
        let rest = &window.bytes[*at..];
        match detect(rest) {
            Detected::Short if !window.last => Some(Step::NeedMore),
            Detected::Short | Detected::Unknown => {
                log.problem(ProblemKind::NotACapture, None, not_a_capture(rest));
                Some(Step::End)
            }
            Detected::Known(container) => {
                log.info.format.container = container;
                if matches!(container, Container::PcapNg) {
                    *self = Self::Pcapng(Pcapng::new(log.input));
                    return None;
                }
                let Some(header) = rest.first_chunk::<{ classic::FILE_HEADER }>() else {
                    if !window.last {
                        return Some(Step::NeedMore);
                    }
                    let have = rest.len();
                    let detail =
                        format!("ends inside the file header ({have} of {} bytes)", classic::FILE_HEADER);
                    log.problem(ProblemKind::Truncated, window.base, detail);
                    return Some(Step::End);
                };
                match Classic::new(header, log) {
                    Ok(classic) => {
                        *at += classic::FILE_HEADER;
                        *self = Self::Classic(classic);
                        None
                    }
                    Err(detail) => {
                        log.problem(ProblemKind::Corrupt, window.base, detail);
                        Some(Step::End)
                    }
                }
            }
        }
    }
}

/// What the first bytes say about the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    Known(Container),
    /// Too few bytes to say.
    Short,
    Unknown,
}

/// Recognises a capture format by its magic number.
pub(super) fn detect(bytes: &[u8]) -> Detected {
    let Some(&magic) = bytes.first_chunk::<4>() else { return Detected::Short };
    if let Some(container) = classic::container(magic) {
        return Detected::Known(container);
    }
    if magic != pcapng::SECTION_HEADER.to_be_bytes() {
        return Detected::Unknown;
    }
    // Four line-ending characters alone would make captures of some text files.
    match bytes.get(8..12) {
        Some(order) if pcapng::is_byte_order(order) => Detected::Known(Container::PcapNg),
        Some(_) => Detected::Unknown,
        None => Detected::Short,
    }
}

/// Why bytes that are not recognised are no capture, in words.
pub(super) fn not_a_capture(bytes: &[u8]) -> String {
    match bytes {
        [] => "not a capture: it is empty".into(),
        &[a, b, c, d, ..] if bytes.len() >= 12 || [a, b, c, d] != pcapng::SECTION_HEADER.to_be_bytes() => {
            format!("not a capture: it begins with {a:02x} {b:02x} {c:02x} {d:02x}; pcap and pcapng are read")
        }
        short => format!("not a capture: it has only {} bytes", short.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::fixtures::{
            Order, Reading, THEN, block, gzip, interface, option, packet, pcap, pcapng, section, zstd,
        },
        *,
    };

    /// Captures of every kind, to be spoilt.
    fn captures() -> Vec<Vec<u8>> {
        let records = [(THEN, 1, &b"a packet"[..]), (THEN + 1, 2, b""), (THEN + 2, 3, &[0xff; 40])];
        let (little, big) = (Order::Little, Order::Big);
        let rich = [
            section(big, &option(big, 1, b"comment")),
            interface(big, 1, 96, &option(big, 9, &[9])),
            packet(big, 0, 1 << 60, b"first", &option(big, 1, b"packet comment")),
            block(big, 5, &[&[0; 12][..], &option(big, 5, &big.u64(7))].concat()),
            block(big, 3, &[&big.u32(4)[..], b"data"].concat()),
            block(big, 4, &[1; 20]),
            packet(big, 0, 1 << 60, b"second", &[]),
        ]
        .concat();
        let mut captures = vec![
            pcap(little, 0xa1b2_c3d4, 1, &records),
            pcap(big, 0xa1b2_3c4d, 101, &records),
            pcap(little, 0xa1b2_cd34, 113, &records),
            pcapng(little, &[b"one", b"two", b"three"]),
            [rich.clone(), pcapng(little, &[b"other order"]), pcapng(big, &[b"again"])].concat(),
        ];
        captures.push(gzip(&captures[0]));
        captures.push(gzip(&rich));
        captures.push(zstd(&rich));
        captures
    }

    /// One change of a file.
    #[derive(Clone, Debug)]
    enum Change {
        Set(prop::sample::Index, u8),
        /// Numbers of four bytes around which mistakes are made.
        SetWord(prop::sample::Index, u32),
        Cut(prop::sample::Index),
        Insert(prop::sample::Index, Vec<u8>),
        Remove(prop::sample::Index, usize),
        Repeat(prop::sample::Index, usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        use prop::sample::Index;
        let word = prop::sample::select(vec![
            0,
            1,
            11,
            12,
            16,
            0x7fff_ffff,
            0x8000_0000,
            u32::MAX,
            0x0004_0001,
            0x0040_0004,
            0x0100_0000,
            0x0a0d_0d0a,
            6 << 24,
            6,
        ]);
        prop_oneof![
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
            (any::<Index>(), word).prop_map(|(at, word)| Change::SetWord(at, word)),
            any::<Index>().prop_map(Change::Cut),
            (any::<Index>(), prop::collection::vec(any::<u8>(), 1..20))
                .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
            (any::<Index>(), 1usize..40).prop_map(|(at, count)| Change::Remove(at, count)),
            (any::<Index>(), 1usize..80).prop_map(|(at, count)| Change::Repeat(at, count)),
        ]
    }

    fn apply(change: Change, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let range = |at: &prop::sample::Index, count: usize, bytes: &Vec<u8>| {
            let at = at.index(bytes.len());
            at..(at + count).min(bytes.len())
        };
        match change {
            Change::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Change::SetWord(at, word) => {
                let range = range(&at, 4, bytes);
                let count = range.len();
                bytes[range].copy_from_slice(&word.to_le_bytes()[..count]);
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Change::Insert(at, inserted) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, inserted);
            }
            Change::Remove(at, count) => drop(bytes.drain(range(&at, count, bytes))),
            Change::Repeat(at, count) => {
                let range = range(&at, count, bytes);
                let (end, copy) = (range.end, bytes[range].to_vec());
                bytes.splice(end..end, copy);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// No panic, nothing out of bounds, numbers that rise, few words about it; and a pipe that trickles
        /// shows the same as a file (which [`Reading::of`] checks).
        #[test]
        fn spoilt_captures_are_read_as_far_as_they_make_sense(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec(change(), 0..6),
        ) {
            let captures = captures();
            let original = which.get(&captures);
            let mut bytes = original.clone();
            for change in changes {
                apply(change, &mut bytes);
            }
            let reading = Reading::of(&bytes);
            let numbers: Vec<u64> = reading.frames.iter().map(|(frame, _)| frame.number).collect();
            prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
            prop_assert!(reading.frames.iter().all(|(frame, _)| frame.caplen <= MAX_CAPLEN));
            prop_assert!(reading.problems().len() <= 8);
            if bytes == *original {
                prop_assert_eq!(reading.kinds(), []);
            }
        }
    }
}
