//! pcapng: sections of blocks, each block between two copies of its length.
//!
//! Format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html>. In: a window of the file. Out: frames;
//! interfaces, comments and drop counters go to [`super::FileInfo`]. Blocks that are of no use here (name resolution,
//! decryption secrets, custom and unknown ones) are stepped over, however long they are. A block that contradicts itself
//! is reported; reading goes on as long as block lengths lead to blocks.

use super::{
    Frame,
    classic::linktype,
    clock::Clock,
    fields::{u16_at, u32_at},
    info::{Interface, Resolution, text},
    options::{COMMENT, options},
    parser::{MAX_CAPLEN, Step, Window},
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

/// Block types that may follow a block whose trailing length is wrong; another type there means that the length in front
/// was wrong too.
const KNOWN_BLOCKS: [u32; 11] = [
    SECTION_HEADER,
    INTERFACE_DESCRIPTION,
    OBSOLETE_PACKET,
    SIMPLE_PACKET,
    NAME_RESOLUTION,
    INTERFACE_STATISTICS,
    ENHANCED_PACKET,
    JOURNAL_EXPORT,
    DECRYPTION_SECRETS,
    CUSTOM,
    CUSTOM_NOT_COPIED,
];

/// The byte-order magic of a section header.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Bytes of a block without a body: type, length, length again.
const EMPTY_BLOCK: usize = 12;

/// Bytes of a section header block without options.
const MIN_SECTION_HEADER: usize = 28;

/// Most bytes of a block that has to be read as a whole: the largest frame with many long options.
const MAX_BLOCK: usize = 4 << 20;

/// Interfaces a section can have here; packets of others are reported.
const MAX_INTERFACES: usize = 1 << 16;

/// What a block header claims to describe when it is none.
const NOT_A_BLOCK: &str = "the rest of the file is not read";

const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const SHB_USERAPPL: u16 = 4;
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;

/// A pcapng file at the beginning of a block.
pub(super) struct Pcapng {
    big_endian: bool,
    in_section: bool,
    interfaces: Vec<Described>,
    /// Interfaces of the sections before.
    interfaces_before: usize,
    /// Bytes of a block without use that are still to be stepped over.
    skip: u64,
    /// Timestamp of the packet before, for simple packets, which have none.
    last_ns: i64,
    input: u16,
    number: u64,
}

/// What the packets of an interface need to know of it.
#[derive(Clone, Copy)]
struct Described {
    dlt: u16,
    snaplen: u32,
    clock: Clock,
}

/// What becomes of a block.
enum Block {
    /// It begins at the position and has this many bytes, padding included.
    Whole(u32, usize),
    /// Step over this many bytes without a look at them.
    Skip(u64),
    Stop(Step),
}

/// Whether the four bytes at offset 8 of a section header block are a byte-order magic.
pub(super) fn is_byte_order(bytes: &[u8]) -> bool {
    bytes == BYTE_ORDER.to_be_bytes() || bytes == BYTE_ORDER.to_le_bytes()
}

impl Pcapng {
    pub(super) fn new(input: u16) -> Self {
        Self {
            big_endian: false,
            in_section: false,
            interfaces: Vec::new(),
            interfaces_before: 0,
            skip: 0,
            last_ns: 0,
            input,
            number: 0,
        }
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
            let big_endian = self.big_endian;
            let step = if big_endian {
                self.blocks::<true>(window, at, frames, limit, log)
            } else {
                self.blocks::<false>(window, at, frames, limit, log)
            };
            // A section in the other byte order begins: the same position again, read the other way.
            if big_endian == self.big_endian {
                return step;
            }
        }
    }

    fn blocks<const BIG_ENDIAN: bool>(
        &mut self,
        window: &Window<'_>,
        at: &mut usize,
        frames: &mut Vec<Frame>,
        limit: usize,
        log: &mut Log<'_>,
    ) -> Step {
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min((window.bytes.len() - *at) as u64);
                *at += skipped as usize;
                self.skip -= skipped;
                if self.skip > 0 {
                    if window.last {
                        let missing = self.skip;
                        let at = window.base + window.bytes.len() as u64;
                        log.problem(
                            ProblemKind::Truncated,
                            at,
                            format!("ends {missing} bytes before its last block"),
                        );
                    }
                    return if window.last { Step::End } else { Step::NeedMore };
                }
            }
            if frames.len() >= limit {
                return Step::Full;
            }
            let rest = &window.bytes[*at..];
            let offset = window.base + *at as u64;
            if rest.starts_with(&SECTION_HEADER.to_be_bytes()) {
                let Some(order) = rest.get(8..12) else {
                    return cut(rest, MIN_SECTION_HEADER, offset, window.last, log);
                };
                match order {
                    order if order == BYTE_ORDER.to_be_bytes() => self.big_endian = true,
                    order if order == BYTE_ORDER.to_le_bytes() => self.big_endian = false,
                    _ => {
                        let detail = format!("section header without byte order: {NOT_A_BLOCK}");
                        log.problem(ProblemKind::Corrupt, offset, detail);
                        return Step::End;
                    }
                }
                if self.big_endian != BIG_ENDIAN {
                    return Step::NeedMore;
                }
            }
            match self.delimit::<BIG_ENDIAN>(rest, offset, window.last, log) {
                Block::Whole(kind, length) => {
                    self.block::<BIG_ENDIAN>(kind, &rest[..length], *at, offset, frames, log);
                    *at += length;
                }
                Block::Skip(bytes) => self.skip = bytes,
                Block::Stop(step) => return step,
            }
        }
    }

    /// Finds the end of the block at the beginning of `rest`.
    #[inline]
    fn delimit<const BIG_ENDIAN: bool>(
        &self,
        rest: &[u8],
        offset: u64,
        last: bool,
        log: &mut Log<'_>,
    ) -> Block {
        let Some(header) = rest.first_chunk::<8>() else {
            return Block::Stop(cut(rest, EMPTY_BLOCK, offset, last, log));
        };
        let kind = u32_at::<BIG_ENDIAN>(header, 0);
        let claimed = u32_at::<BIG_ENDIAN>(header, 4) as usize;
        // Some writers pad the block and leave the padding out of its length.
        let length = claimed.next_multiple_of(4);
        if claimed < EMPTY_BLOCK || (kind == SECTION_HEADER && claimed < MIN_SECTION_HEADER) {
            let detail = format!("block claims to have {claimed} bytes: {NOT_A_BLOCK}");
            log.problem(ProblemKind::Corrupt, offset, detail);
            return Block::Stop(Step::End);
        }
        if !self.in_section && kind != SECTION_HEADER {
            log.problem(ProblemKind::Corrupt, offset, format!("block outside of a section: {NOT_A_BLOCK}"));
            return Block::Stop(Step::End);
        }
        if length > MAX_BLOCK && is_read(kind) {
            let detail =
                format!("block claims to have {claimed} bytes, more than {MAX_BLOCK}: {NOT_A_BLOCK}");
            log.problem(ProblemKind::Corrupt, offset, detail);
            return Block::Stop(Step::End);
        }
        if length > rest.len() {
            if !is_read(kind) && !last {
                return Block::Skip(length as u64);
            }
            return Block::Stop(cut(rest, length, offset, last, log));
        }
        let trailer = u32_at::<BIG_ENDIAN>(rest, length - 4) as usize;
        if trailer != claimed {
            match leads_to_a_block::<BIG_ENDIAN>(&rest[length..], last) {
                None => return Block::Stop(Step::NeedMore),
                Some(chained) => {
                    let rest_is = if chained { "read as its first one says" } else { NOT_A_BLOCK };
                    let detail = format!("block lengths disagree ({claimed}, then {trailer}): {rest_is}");
                    log.problem(ProblemKind::Corrupt, offset, detail);
                    if !chained {
                        return Block::Stop(Step::End);
                    }
                }
            }
        }
        Block::Whole(kind, length)
    }

    /// Reads one block, whose length is known to be right.
    #[inline]
    fn block<const BIG_ENDIAN: bool>(
        &mut self,
        kind: u32,
        block: &[u8],
        at: usize,
        offset: u64,
        frames: &mut Vec<Frame>,
        log: &mut Log<'_>,
    ) {
        match kind {
            ENHANCED_PACKET | OBSOLETE_PACKET => {
                self.packet::<BIG_ENDIAN>(kind, block, at, offset, frames, log);
            }
            SIMPLE_PACKET => self.simple_packet::<BIG_ENDIAN>(block, at, offset, frames, log),
            SECTION_HEADER => {
                self.in_section = true;
                self.interfaces_before += self.interfaces.len();
                self.interfaces.clear();
                for (code, value) in options::<BIG_ENDIAN>(&block[24..block.len() - 4]) {
                    match code {
                        COMMENT => log.info.add_comment(value),
                        SHB_USERAPPL => log.info.application = Some(text(value)),
                        _ => {}
                    }
                }
            }
            INTERFACE_DESCRIPTION => self.interface::<BIG_ENDIAN>(block, offset, log),
            INTERFACE_STATISTICS => self.statistics::<BIG_ENDIAN>(block, log),
            _ => {}
        }
    }

    /// An enhanced packet block, or the obsolete one, which differs in the first four bytes of its body.
    #[inline]
    fn packet<const BIG_ENDIAN: bool>(
        &mut self,
        kind: u32,
        block: &[u8],
        at: usize,
        offset: u64,
        frames: &mut Vec<Frame>,
        log: &mut Log<'_>,
    ) {
        const DATA: usize = 28;
        self.number += 1;
        let Some(header) = block.first_chunk::<DATA>().filter(|_| block.len() >= DATA + 4) else {
            return self.bad_packet(offset, "has no room for its fields", log);
        };
        let interface = match kind {
            ENHANCED_PACKET => u32_at::<BIG_ENDIAN>(header, 8) as usize,
            _ => usize::from(u16_at::<BIG_ENDIAN>(header, 8)),
        };
        let ticks =
            u64::from(u32_at::<BIG_ENDIAN>(header, 12)) << 32 | u64::from(u32_at::<BIG_ENDIAN>(header, 16));
        let caplen = u32_at::<BIG_ENDIAN>(header, 20);
        let wirelen = u32_at::<BIG_ENDIAN>(header, 24);
        let room = block.len() - DATA - 4;
        if caplen as usize > room || caplen > MAX_CAPLEN {
            return self.bad_packet(offset, "claims more bytes than its block has", log);
        }
        let Some(described) = self.interfaces.get(interface) else {
            return self.bad_packet(offset, "names an interface that is not described", log);
        };
        let padded = (caplen as usize).next_multiple_of(4);
        if room > padded {
            for (_, comment) in options::<BIG_ENDIAN>(&block[DATA + padded..block.len() - 4])
                .filter(|&(code, _)| code == COMMENT)
            {
                log.info.add_packet_comment(self.number, comment);
            }
        }
        let (ts_ns, absurd) = described.clock.nanos(ticks);
        if absurd {
            log.absurd_timestamp(offset, self.number, "is before 1970 or after 2200");
        }
        self.last_ns = ts_ns;
        frames.push(Frame {
            at: at + DATA,
            caplen,
            wirelen,
            ts_ns,
            number: self.number,
            dlt: described.dlt,
            iface: self.interface_in_file(interface),
            input: self.input,
        });
    }

    /// A simple packet block: the first interface, as many bytes as its snap length allows, and no time.
    fn simple_packet<const BIG_ENDIAN: bool>(
        &mut self,
        block: &[u8],
        at: usize,
        offset: u64,
        frames: &mut Vec<Frame>,
        log: &mut Log<'_>,
    ) {
        const DATA: usize = 12;
        self.number += 1;
        if block.len() < DATA + 4 {
            return self.bad_packet(offset, "has no room for its fields", log);
        }
        let Some(&Described { dlt, snaplen, .. }) = self.interfaces.first() else {
            return self.bad_packet(offset, "has no interface that is described", log);
        };
        let wirelen = u32_at::<BIG_ENDIAN>(block, 8);
        let limit = if snaplen == 0 { u32::MAX } else { snaplen };
        let caplen = wirelen.min(limit);
        if caplen as usize > block.len() - DATA - 4 || caplen > MAX_CAPLEN {
            return self.bad_packet(offset, "claims more bytes than its block has", log);
        }
        frames.push(Frame {
            at: at + DATA,
            caplen,
            wirelen,
            ts_ns: self.last_ns,
            number: self.number,
            dlt,
            iface: self.interface_in_file(0),
            input: self.input,
        });
    }

    fn interface<const BIG_ENDIAN: bool>(&mut self, block: &[u8], offset: u64, log: &mut Log<'_>) {
        const OPTIONS: usize = 16;
        if block.len() < OPTIONS + 4 || self.interfaces.len() >= MAX_INTERFACES {
            let detail = if block.len() < OPTIONS + 4 {
                "interface description has no room for its fields: the block is not read".into()
            } else {
                format!("section has more than {MAX_INTERFACES} interfaces: the block is not read")
            };
            return log.problem(ProblemKind::Corrupt, offset, detail);
        }
        let dlt = linktype(u32::from(u16_at::<BIG_ENDIAN>(block, 8)));
        let snaplen = u32_at::<BIG_ENDIAN>(block, 12);
        let mut resolution = Resolution::default();
        let mut offset_seconds = 0;
        let (mut name, mut comment) = (String::new(), String::new());
        for (code, value) in options::<BIG_ENDIAN>(&block[OPTIONS..block.len() - 4]) {
            match (code, value) {
                (COMMENT, _) if comment.is_empty() => comment = text(value),
                (IF_NAME, _) => name = text(value),
                (IF_TSRESOL, &[exponent, ..]) => {
                    let n = exponent & 0x7f;
                    resolution =
                        if exponent & 0x80 == 0 { Resolution::Decimal(n) } else { Resolution::Binary(n) };
                }
                (IF_TSOFFSET, &[a, b, c, d, e, f, g, h, ..]) => {
                    let field = [a, b, c, d, e, f, g, h];
                    offset_seconds =
                        if BIG_ENDIAN { i64::from_be_bytes(field) } else { i64::from_le_bytes(field) };
                }
                _ => {}
            }
        }
        self.interfaces.push(Described { dlt, snaplen, clock: Clock::new(resolution, offset_seconds) });
        log.info.add_interface(Interface { name, dlt, snaplen, resolution, comment, dropped: None });
    }

    fn statistics<const BIG_ENDIAN: bool>(&self, block: &[u8], log: &mut Log<'_>) {
        const OPTIONS: usize = 20;
        if block.len() < OPTIONS + 4 {
            return;
        }
        let interface = u32_at::<BIG_ENDIAN>(block, 8) as usize;
        let mut dropped = None::<u64>;
        for (code, value) in options::<BIG_ENDIAN>(&block[OPTIONS..block.len() - 4]) {
            if let (ISB_IFDROP | ISB_OSDROP, &[a, b, c, d, e, f, g, h]) = (code, value) {
                let field = [a, b, c, d, e, f, g, h];
                let count = if BIG_ENDIAN { u64::from_be_bytes(field) } else { u64::from_le_bytes(field) };
                dropped = Some(dropped.unwrap_or(0).saturating_add(count));
            }
        }
        if let Some(dropped) = dropped
            && interface < self.interfaces.len()
        {
            log.info.set_dropped(self.interfaces_before + interface, dropped);
        }
    }

    /// Number of an interface of this section among all of the file.
    #[inline]
    fn interface_in_file(&self, interface: usize) -> u16 {
        u16::try_from(self.interfaces_before + interface).unwrap_or(u16::MAX)
    }

    #[cold]
    fn bad_packet(&self, offset: u64, why: &str, log: &mut Log<'_>) {
        let detail = format!("packet {} {why}: the packet is left out", self.number);
        log.problem(ProblemKind::Corrupt, offset, detail);
    }
}

/// Whether blocks of this type have to be in the window as a whole.
#[inline]
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
#[cold]
fn leads_to_a_block<const BIG_ENDIAN: bool>(rest: &[u8], last: bool) -> Option<bool> {
    match rest.first_chunk::<8>() {
        Some(header) => {
            let length = u32_at::<BIG_ENDIAN>(header, 4) as usize;
            let kind = u32_at::<BIG_ENDIAN>(header, 0);
            Some(kind == SECTION_HEADER || (KNOWN_BLOCKS.contains(&kind) && length >= EMPTY_BLOCK))
        }
        None => last.then_some(rest.is_empty()),
    }
}

/// The window ends inside a block, or exactly before it.
#[cold]
fn cut(rest: &[u8], need: usize, offset: u64, last: bool, log: &mut Log<'_>) -> Step {
    if !last {
        return Step::NeedMore;
    }
    if !rest.is_empty() {
        let detail = format!("ends inside a block ({} of {need} bytes)", rest.len());
        log.problem(ProblemKind::Truncated, offset, detail);
    }
    Step::End
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{ORDERS, Order, Reading, THEN, block, interface, option, packet, pcapng, section},
        super::parser::NANOS,
        *,
    };

    const THEN_MICROS: u64 = THEN as u64 * 1_000_000;
    const THEN_NANOS: i64 = THEN as i64 * NANOS;

    #[test]
    fn the_format_is_read_byte_by_byte() {
        #[rustfmt::skip]
        let file = [
            // Section header: big-endian, version 1.0, length unknown, comment "hi"
            0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 40, 0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 2, b'h', b'i', 0, 0, 0, 0, 0, 0, 0, 0, 0, 40,
            // Interface description: SLL2, snap length 96, name "eth0", nanoseconds
            0, 0, 0, 1, 0, 0, 0, 36, 1, 20, 0, 0, 0, 0, 0, 96,
            0, 2, 0, 4, b'e', b't', b'h', b'0', 0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 36,
            // Enhanced packet: 5 of 1,500 bytes, comment "ok"
            0, 0, 0, 6, 0, 0, 0, 52, 0, 0, 0, 0, 0x17, 0x97, 0x9c, 0xfe, 0x36, 0x2a, 0x00, 0x01,
            0, 0, 0, 5, 0, 0, 5, 0xdc, b'h', b'e', b'l', b'l', b'o', 0, 0, 0,
            0, 1, 0, 2, b'o', b'k', 0, 0, 0, 0, 0, 0, 0, 0, 0, 52,
        ];
        let reading = Reading::of(&file);
        let frame = Frame {
            at: 40 + 36 + 28,
            caplen: 5,
            wirelen: 1500,
            ts_ns: 1_700_000_000_000_000_001,
            number: 1,
            dlt: 276,
            iface: 0,
            input: 0,
        };
        assert_eq!(reading.frames, [(frame, b"hello".to_vec())]);
        let info = &reading.files()[0];
        assert_eq!(info.comments, ["hi"]);
        assert_eq!(info.packet_comments, [(1, "ok".to_owned())]);
        let interface = Interface {
            name: "eth0".into(),
            dlt: 276,
            snaplen: 96,
            resolution: Resolution::Decimal(9),
            ..Interface::default()
        };
        assert_eq!(info.interfaces, [interface]);
        assert_eq!(info.format.to_string(), "pcapng");
    }

    #[test]
    fn units_and_offsets_of_time_belong_to_the_interface() {
        for order in ORDERS {
            let nanos = option(order, IF_TSRESOL, &[9]);
            let binary =
                [option(order, IF_TSOFFSET, &order.u64(THEN.into())), option(order, IF_TSRESOL, &[0x81])];
            let file = [
                section(order, &[]),
                interface(order, 1, 0, &[]),
                interface(order, 1, 0, &nanos),
                interface(order, 1, 0, &binary.concat()),
                packet(order, 0, THEN_MICROS + 1, b"a", &[]),
                packet(order, 1, THEN_NANOS.unsigned_abs() + 1, b"b", &[]),
                packet(order, 2, 3, b"c", &[]),
            ]
            .concat();
            let times = Reading::of(&file).times();
            assert_eq!(times, [THEN_NANOS + 1000, THEN_NANOS + 1, THEN_NANOS + 1_500_000_000], "{order:?}");
        }
    }

    #[test]
    fn times_before_1970_and_after_2200_are_kept_counted_and_noted_once() {
        let order = Order::Little;
        let before = option(order, IF_TSOFFSET, &order.u64((-10i64).cast_unsigned()));
        let file = [
            section(order, &[]),
            interface(order, 1, 0, &before),
            interface(order, 1, 0, &[]),
            packet(order, 0, 9_000_000, b"a", &[]),
            packet(order, 1, u64::MAX, b"b", &[]),
            packet(order, 0, 10_000_000, b"c", &[]),
        ]
        .concat();
        let reading = Reading::of(&file);
        assert_eq!(reading.times(), [-NANOS, i64::MAX, 0]);
        assert_eq!(reading.kinds(), [ProblemKind::AbsurdTimestamp]);
        assert_eq!(reading.files()[0].absurd_timestamps, 2);
    }

    #[test]
    fn simple_and_obsolete_packets_are_packets_too() {
        for order in ORDERS {
            let obsolete = [
                &order.u16(1)[..],
                &order.u16(9),
                &order.u32((THEN_MICROS >> 32) as u32),
                &order.u32(THEN_MICROS as u32),
                &order.u32(3),
                &order.u32(60),
                b"old",
            ]
            .concat();
            let file = [
                section(order, &[]),
                interface(order, 101, 4, &[]),
                interface(order, 113, 0, &[]),
                block(order, OBSOLETE_PACKET, &obsolete),
                block(order, SIMPLE_PACKET, &[&order.u32(3)[..], b"all"].concat()),
                block(order, SIMPLE_PACKET, &[&order.u32(1500)[..], b"snap"].concat()),
            ]
            .concat();
            let reading = Reading::of(&file);
            assert_eq!(reading.bytes(), [&b"old"[..], b"all", b"snap"]);
            assert_eq!(reading.times(), [THEN_NANOS; 3], "a packet without time has that of the one before");
            let of_interface: Vec<_> =
                reading.frames.iter().map(|(frame, _)| (frame.iface, frame.dlt, frame.wirelen)).collect();
            assert_eq!(of_interface, [(1, 113, 60), (0, 101, 3), (0, 101, 1500)]);
        }
    }

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
    fn drops_are_taken_from_the_last_statistics_of_each_interface() {
        let order = Order::Little;
        let statistics = |interface: u32, dropped: u64, by_system: u64| {
            let options = [
                option(order, ISB_IFDROP, &order.u64(dropped)),
                option(order, ISB_OSDROP, &order.u64(by_system)),
            ];
            block(
                order,
                INTERFACE_STATISTICS,
                &[&order.u32(interface)[..], &[0; 8], &options.concat()].concat(),
            )
        };
        let file = [
            pcapng(order, &[]),
            statistics(0, 1, 0),
            statistics(0, 5, 2),
            pcapng(order, &[]),
            statistics(0, 10, 0),
            statistics(7, 1000, 0),
        ]
        .concat();
        let reading = Reading::of(&file);
        assert_eq!(reading.files()[0].dropped, Some(17));
        assert_eq!(Reading::of(&pcapng(order, &[])).files()[0].dropped, None);
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
    fn a_packet_that_contradicts_itself_is_left_out_and_keeps_its_number() {
        let order = Order::Big;
        let bad = [
            packet(order, 1, 0, b"no such interface", &[]),
            block(order, ENHANCED_PACKET, &[0; 16]),
            block(order, ENHANCED_PACKET, &[[0; 12], [0, 0, 0, 9, 0, 0, 0, 9, 1, 2, 3, 4]].concat()),
            block(order, SIMPLE_PACKET, &[]),
            block(order, SIMPLE_PACKET, &order.u32(5)),
        ];
        for bad in bad {
            let file = [pcapng(order, &[b"good"]), bad, packet(order, 0, 0, b"good", &[])].concat();
            let reading = Reading::of(&file);
            assert_eq!(reading.bytes(), [b"good", b"good"]);
            assert_eq!((reading.frames[1].0.number, reading.kinds()), (3, vec![ProblemKind::Corrupt]));
            assert_eq!(reading.problems()[0].at, Some(84));
        }
    }

    #[test]
    fn an_interface_that_is_cut_short_is_none() {
        let order = Order::Little;
        let file = [
            section(order, &[]),
            block(order, INTERFACE_DESCRIPTION, &[1, 0, 0, 0]),
            packet(order, 0, 0, b"x", &[]),
        ]
        .concat();
        let reading = Reading::of(&file);
        assert_eq!(reading.frames.len(), 0);
        assert_eq!(reading.kinds(), [ProblemKind::Corrupt; 2]);
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
