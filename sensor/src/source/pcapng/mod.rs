//! pcapng: sections of blocks, each block between two copies of its length.
//!
//! Format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html>. In: a window of the file. Out:
//! frames; interfaces, comments and drop counters go to [`super::FileInfo`]. This module finds where blocks
//! begin and end, [`section`] reads them. Blocks that are of no use here (name resolution, decryption
//! secrets, custom and unknown ones) are stepped over, however long they are. A block that contradicts itself
//! is reported; reading goes on as long as block lengths lead to blocks.

mod clock;
mod options;
mod section;
mod tail;

use std::fmt::Arguments;

use section::Section;
pub(super) use tail::losses;

use super::{
    Frame,
    fields::{u16_at, u32_at},
    parser::{Step, Window},
    problem::{Log, ProblemKind},
};

/// Section header block: a palindrome, so that it is recognised before the byte order is known.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;

const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const JOURNAL_EXPORT: u32 = 9;
const DECRYPTION_SECRETS: u32 = 10;
const CUSTOM: u32 = 0xbad;
const CUSTOM_NOT_COPIED: u32 = 0x4000_0bad;
/// Events of system calls, in their six versions.
const SYSDIG_EVENTS: [u32; 6] = [0x204, 0x208, 0x216, 0x217, 0x221, 0x222];

/// The byte-order magic of a section header.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Bytes of a block without a body: type, length, length again.
const EMPTY_BLOCK: usize = 12;

/// Bytes of a section header block without options.
const MIN_SECTION_HEADER: usize = 28;

/// Most bytes of a block that is looked at as a whole: the largest frame with many long options.
const MAX_BLOCK: usize = 4 << 20;

/// What is left when a block cannot be delimited.
const NOT_READ: &str = "the rest of the file is not read";

/// A pcapng file at the beginning of a block.
pub(super) struct Pcapng {
    big_endian: bool,
    in_section: bool,
    /// Bytes of a block without use that are still to be stepped over.
    skip: u64,
    /// Offset of that block.
    skipped_block: u64,
    section: Section,
}

/// What there is at the position.
enum Next {
    /// A block of this type and this many bytes, padding included.
    Block(u32, usize),
    /// A section header in the other byte order than the one before.
    OtherOrder,
    /// A block without use, too long to be looked at.
    Skip(u32, u64),
    Nothing(Step),
}

/// Whether the four bytes at offset 8 of a section header block are a byte-order magic.
pub(super) fn is_byte_order(bytes: &[u8]) -> bool {
    bytes == BYTE_ORDER.to_be_bytes() || bytes == BYTE_ORDER.to_le_bytes()
}

impl Pcapng {
    pub(super) fn new(input: u16) -> Self {
        Self { big_endian: false, in_section: false, skip: 0, skipped_block: 0, section: Section::new(input) }
    }

    /// See [`super::parser::Parser::read`].
    pub(super) fn read(
        &mut self,
        window: &Window<'_>,
        at: &mut usize,
        frames: &mut Vec<Frame>,
        limit: usize,
        log: &mut Log<'_>,
    ) -> Step {
        loop {
            if self.skip > 0
                && let Some(step) = self.step_over(window, at, log)
            {
                return step;
            }
            let next = if self.big_endian {
                self.blocks::<true>(window, at, frames, limit, log)
            } else {
                self.blocks::<false>(window, at, frames, limit, log)
            };
            match next {
                Next::Block(..) => {}
                Next::OtherOrder => self.big_endian = !self.big_endian,
                Next::Skip(kind, bytes) => {
                    self.section.pass(kind);
                    self.skip = bytes;
                    self.skipped_block = window.base + *at as u64;
                }
                Next::Nothing(step) => return step,
            }
        }
    }

    /// Reads blocks until one cannot be read here, or the batch is full.
    fn blocks<const BIG_ENDIAN: bool>(
        &mut self,
        window: &Window<'_>,
        at: &mut usize,
        frames: &mut Vec<Frame>,
        limit: usize,
        log: &mut Log<'_>,
    ) -> Next {
        let mut position = *at;
        let stopped_by = loop {
            if frames.len() >= limit {
                break Next::Nothing(Step::Full);
            }
            let rest = &window.bytes[position..];
            let offset = window.base + position as u64;
            let next = self.delimit::<BIG_ENDIAN>(rest, offset, window.last, log);
            let Next::Block(kind, length) = next else { break next };
            let block = &rest[..length];
            match kind {
                ENHANCED_PACKET => {
                    self.section.packet::<BIG_ENDIAN>(ENHANCED_PACKET, block, position, offset, frames, log);
                }
                SECTION_HEADER => {
                    self.in_section = true;
                    self.section.begin::<BIG_ENDIAN>(block, log);
                }
                _ => self.section.other::<BIG_ENDIAN>(kind, block, position, offset, frames, log),
            }
            position += length;
        };
        *at = position;
        stopped_by
    }

    /// Finds the end of the block at the beginning of `rest`.
    #[inline(always)]
    fn delimit<const BIG_ENDIAN: bool>(
        &self,
        rest: &[u8],
        offset: u64,
        last: bool,
        log: &mut Log<'_>,
    ) -> Next {
        if let Some(header) = rest.first_chunk::<8>() {
            let kind = u32_at::<BIG_ENDIAN>(header, 0);
            let length = u32_at::<BIG_ENDIAN>(header, 4) as usize;
            // Nearly all blocks: nothing but packets, and nothing wrong with them.
            if kind == ENHANCED_PACKET
                && length.is_multiple_of(4)
                && (EMPTY_BLOCK..=MAX_BLOCK.min(rest.len())).contains(&length)
                && u32_at::<BIG_ENDIAN>(rest, length - 4) as usize == length
                && self.in_section
            {
                return Next::Block(kind, length);
            }
        }
        self.delimit_any::<BIG_ENDIAN>(rest, offset, last, log)
    }

    #[inline(never)]
    fn delimit_any<const BIG_ENDIAN: bool>(
        &self,
        rest: &[u8],
        offset: u64,
        last: bool,
        log: &mut Log<'_>,
    ) -> Next {
        let mut corrupt = |detail: Arguments<'_>| {
            log.problem(ProblemKind::Corrupt, offset, detail);
            Next::Nothing(Step::End)
        };
        let Some(header) = rest.first_chunk::<EMPTY_BLOCK>() else {
            return Next::Nothing(cut(rest, EMPTY_BLOCK, offset, last, log));
        };
        let kind = u32_at::<BIG_ENDIAN>(header, 0);
        if kind == SECTION_HEADER {
            match u32_at::<BIG_ENDIAN>(header, 8) {
                BYTE_ORDER => {}
                other if other.swap_bytes() == BYTE_ORDER => return Next::OtherOrder,
                _ => return corrupt(format_args!("section header without byte order: {NOT_READ}")),
            }
            let Some(version) = rest.get(12..16) else {
                return Next::Nothing(cut(rest, MIN_SECTION_HEADER, offset, last, log));
            };
            // Minor version 2 is written by some programs, and means the same.
            let (major, minor) = (u16_at::<BIG_ENDIAN>(version, 0), u16_at::<BIG_ENDIAN>(version, 2));
            if !matches!((major, minor), (1, 0 | 2)) {
                return corrupt(format_args!(
                    "pcapng version {major}.{minor} is not known (1.0 is): {NOT_READ}"
                ));
            }
        } else if !self.in_section {
            return corrupt(format_args!("block outside of a section: {NOT_READ}"));
        }
        let claimed = u32_at::<BIG_ENDIAN>(header, 4) as usize;
        // Some writers pad the block and leave the padding out of its length.
        let length = claimed.next_multiple_of(4);
        if claimed < EMPTY_BLOCK || (kind == SECTION_HEADER && claimed < MIN_SECTION_HEADER) {
            return corrupt(format_args!("block claims to have {claimed} bytes: {NOT_READ}"));
        }
        if length > MAX_BLOCK {
            return if is_read(kind) {
                corrupt(format_args!(
                    "block claims to have {claimed} bytes, more than {MAX_BLOCK}: {NOT_READ}"
                ))
            } else {
                Next::Skip(kind, length as u64)
            };
        }
        if length > rest.len() {
            return Next::Nothing(cut(rest, length, offset, last, log));
        }
        let trailer = u32_at::<BIG_ENDIAN>(rest, length - 4) as usize;
        if trailer != claimed {
            let what_follows = leads_to_a_block::<BIG_ENDIAN>(&rest[length..], last);
            let consequence = match what_follows {
                None => return Next::Nothing(Step::NeedMore),
                Some(true) => "read as the first one says",
                Some(false) => NOT_READ,
            };
            let end =
                corrupt(format_args!("block lengths disagree ({claimed}, then {trailer}): {consequence}"));
            if what_follows == Some(false) {
                return end;
            }
        }
        Next::Block(kind, length)
    }

    /// Steps over a block, window by window; `None` when it is behind.
    fn step_over(&mut self, window: &Window<'_>, at: &mut usize, log: &mut Log<'_>) -> Option<Step> {
        let here = self.skip.min((window.bytes.len() - *at) as u64);
        *at += here as usize;
        self.skip -= here;
        match self.skip {
            0 => None,
            _ if !window.last => Some(Step::NeedMore),
            missing => {
                let detail = format_args!("ends inside a block ({missing} bytes are missing)");
                log.problem(ProblemKind::Truncated, self.skipped_block, detail);
                Some(Step::End)
            }
        }
    }
}

/// Whether blocks of this type are of use.
fn is_read(kind: u32) -> bool {
    matches!(
        kind,
        ENHANCED_PACKET
            | OBSOLETE_PACKET
            | SIMPLE_PACKET
            | SECTION_HEADER
            | INTERFACE_DESCRIPTION
            | INTERFACE_STATISTICS
    )
}

/// Whether a block follows, or the end of the file; `None` if that cannot be seen yet.
fn leads_to_a_block<const BIG_ENDIAN: bool>(rest: &[u8], last: bool) -> Option<bool> {
    let Some(header) = rest.first_chunk::<8>() else { return last.then_some(rest.is_empty()) };
    let kind = u32_at::<BIG_ENDIAN>(header, 0);
    let length = u32_at::<BIG_ENDIAN>(header, 4) as usize;
    let known = is_read(kind)
        || matches!(kind, NAME_RESOLUTION | JOURNAL_EXPORT | DECRYPTION_SECRETS | CUSTOM | CUSTOM_NOT_COPIED);
    Some(kind == SECTION_HEADER || (known && length >= EMPTY_BLOCK))
}

/// The window ends inside a block, or exactly before it.
#[cold]
fn cut(rest: &[u8], need: usize, offset: u64, last: bool, log: &mut Log<'_>) -> Step {
    if !last {
        return Step::NeedMore;
    }
    if !rest.is_empty() {
        let detail = format_args!("ends inside a block ({} of {need} bytes)", rest.len());
        log.problem(ProblemKind::Truncated, offset, detail);
    }
    Step::End
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{ORDERS, Order, Reading, THEN, block, interface, packet, pcapng, section},
        *,
    };

    const THEN_MICROS: u64 = THEN as u64 * 1_000_000;

    #[test]
    fn sections_have_their_own_byte_order_and_interfaces() {
        let file = [
            pcapng(Order::Little, &[b"one"]),
            pcapng(Order::Big, &[b"two", b"three"]),
            pcapng(Order::Little, &[b"four"]),
        ]
        .concat();
        let reading = Reading::of(&file);
        assert_eq!(reading.bytes(), [&b"one"[..], b"two", b"three", b"four"]);
        let numbers: Vec<_> = reading.frames.iter().map(|(frame, _)| (frame.number, frame.iface)).collect();
        assert_eq!(numbers, [(1, 0), (2, 1), (3, 1), (4, 2)]);
        assert_eq!(reading.files()[0].interfaces.len(), 3);
        assert_eq!(reading.kinds(), []);
    }

    #[test]
    fn blocks_without_frames_are_stepped_over_however_long_they_are() {
        let order = Order::Big;
        let long = vec![0xff; 2 * MAX_BLOCK];
        let file = [
            section(order, &[]),
            block(order, NAME_RESOLUTION, &[0; 8]),
            block(order, DECRYPTION_SECRETS, &long),
            interface(order, 1, 0, &[]),
            block(order, CUSTOM, b"12345678"),
            packet(order, 0, THEN_MICROS, b"here", &[]),
            block(order, 0x8000_1234, &long),
        ]
        .concat();
        let reading = Reading::of(&file);
        assert_eq!(reading.bytes(), [b"here"]);
        assert_eq!(reading.kinds(), []);
        let cut = Reading::of(&file[..file.len() - 5]);
        assert_eq!((cut.frames.len(), cut.kinds()), (1, vec![ProblemKind::Truncated]));
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_the_packets_before_and_says_where_it_ends() {
        for order in ORDERS {
            let file = [pcapng(order, &[b"abcde", b""]), pcapng(order, &[b"fgh"])].concat();
            let (header, sizes) = (28, [28, 20, 40, 32, 28, 20, 36]);
            let ends: Vec<usize> = sizes
                .iter()
                .scan(0, |end, size| {
                    *end += size;
                    Some(*end)
                })
                .collect();
            assert_eq!(ends.last(), Some(&file.len()));
            for cut in 0..=file.len() {
                let reading = Reading::of(&file[..cut]);
                let packets = [ends[2], ends[3], ends[6]].iter().filter(|&&end| end <= cut).count();
                assert_eq!(reading.frames.len(), packets, "cut at {cut}");
                let block = ends.iter().rev().find(|&&end| end <= cut).copied().unwrap_or(0);
                let expected = match cut {
                    0..12 => vec![(ProblemKind::NotACapture, None)],
                    _ if cut < header || !ends.contains(&cut) => {
                        vec![(ProblemKind::Truncated, Some(block as u64))]
                    }
                    _ => vec![],
                };
                let problems: Vec<_> =
                    reading.problems().iter().map(|problem| (problem.kind, problem.at)).collect();
                assert_eq!(problems, expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_section_of_an_unknown_version_ends_the_file() {
        for (major, minor, known) in [(1, 0, true), (1, 2, true), (1, 1, false), (0, 1, false), (2, 0, false)]
        {
            let mut file = pcapng(Order::Big, &[b"one"]);
            file[12..16].copy_from_slice(&[0, major, 0, minor]);
            let reading = Reading::of(&[pcapng(Order::Little, &[b"zero"]), file].concat());
            assert_eq!(reading.frames.len(), if known { 2 } else { 1 }, "version {major}.{minor}");
            assert_eq!(reading.kinds(), if known { vec![] } else { vec![ProblemKind::Corrupt] });
        }
    }

    #[test]
    fn a_wrong_second_length_is_told_and_the_block_read_if_blocks_follow() {
        let order = Order::Little;
        let whole = pcapng(order, &[b"one!", b"two!"]);
        let second_length = 28 + 20 + 32;
        let mut file = whole.clone();
        file[second_length] ^= 0x40;
        let reading = Reading::of(&file);
        assert_eq!(reading.bytes(), [b"one!", b"two!"]);
        assert_eq!(reading.problems()[0].at, Some(48));
        assert_eq!(reading.kinds(), [ProblemKind::Corrupt]);
        // The same at the end of the file, where nothing has to follow.
        let mut file = whole;
        let last = file.len() - 4;
        file[last] = 0;
        let reading = Reading::of(&file);
        assert_eq!((reading.frames.len(), reading.kinds()), (2, vec![ProblemKind::Corrupt]));
    }

    #[test]
    fn a_block_length_that_leads_nowhere_ends_the_file_at_its_offset() {
        let order = Order::Little;
        for (length, kind) in [
            (0u32, ProblemKind::Corrupt),
            (11, ProblemKind::Corrupt),
            (16, ProblemKind::Corrupt),
            (10_000, ProblemKind::Truncated),
            (MAX_BLOCK as u32 + 1, ProblemKind::Corrupt),
            (u32::MAX, ProblemKind::Corrupt),
        ] {
            let mut file = pcapng(order, &[b"one!", b"two!", b"tri!"]);
            let second = 28 + 20 + 36;
            file[second + 4..second + 8].copy_from_slice(&length.to_le_bytes());
            let reading = Reading::of(&file);
            assert_eq!(reading.bytes(), [b"one!"], "length {length}");
            assert_eq!(reading.problems()[0].at, Some(second as u64), "length {length}");
            assert_eq!(reading.kinds(), [kind], "length {length}");
        }
    }

    #[test]
    fn padding_may_be_missing_from_the_block_length() {
        let order = Order::Little;
        let mut file = pcapng(order, &[b"odd", b"next"]);
        let block = 48;
        for length in [block + 4, block + 32] {
            assert_eq!(file[length], 36);
            file[length] = 35;
        }
        let reading = Reading::of(&file);
        assert_eq!(reading.bytes(), [&b"odd"[..], b"next"]);
        assert_eq!(reading.kinds(), []);
    }
}
