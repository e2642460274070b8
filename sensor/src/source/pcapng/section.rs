//! The blocks of a pcapng section: its interfaces, their packets and their statistics.
//!
//! In: whole blocks. Out: frames, and what describes them. A packet that contradicts itself is left out,
//! reported, and keeps its number.

use super::{
    super::{
        Frame,
        classic::linktype,
        fields::{u16_at, u32_at},
        info::{Interface, Resolution, text},
        parser::MAX_CAPLEN,
        problem::{Log, ProblemKind},
    },
    CUSTOM, CUSTOM_NOT_COPIED, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, JOURNAL_EXPORT, OBSOLETE_PACKET,
    SIMPLE_PACKET, SYSDIG_EVENTS,
    clock::Clock,
    options::{COMMENT, options},
};

/// Interfaces a section can have here; packets of others are reported.
const MAX_INTERFACES: usize = 1 << 16;

const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
pub(super) const ISB_IFRECV: u16 = 4;
pub(super) const ISB_IFDROP: u16 = 5;
pub(super) const ISB_OSDROP: u16 = 7;

/// The section being read, and what the file has counted before it.
pub(super) struct Section {
    interfaces: Vec<Described>,
    /// Interfaces of the sections before.
    interfaces_before: usize,
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

impl Section {
    pub(super) fn new(input: u16) -> Self {
        Self { interfaces: Vec::new(), interfaces_before: 0, last_ns: 0, input, number: 0 }
    }

    /// A section header block begins the next section.
    pub(super) fn begin<const BIG_ENDIAN: bool>(&mut self, block: &[u8], log: &mut Log<'_>) {
        const OPTIONS: usize = 24;
        self.interfaces_before += self.interfaces.len();
        self.interfaces.clear();
        for (code, value) in options::<BIG_ENDIAN>(&block[OPTIONS..block.len() - 4]) {
            match code {
                COMMENT => log.info.add_comment(value),
                SHB_USERAPPL => log.info.application = Some(text(value)),
                _ => {}
            }
        }
    }

    /// An enhanced packet block, or the obsolete one, which differs in the first four bytes of its body.
    #[inline(always)]
    pub(super) fn packet<const BIG_ENDIAN: bool>(
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
        let Some((header, [data @ .., _, _, _, _])) = block.split_first_chunk::<DATA>() else {
            return self.bad_packet(offset, "has no room for its fields", log);
        };
        let interface = match kind {
            OBSOLETE_PACKET => usize::from(u16_at::<BIG_ENDIAN>(header, 8)),
            _ => u32_at::<BIG_ENDIAN>(header, 8) as usize,
        };
        let high = u64::from(u32_at::<BIG_ENDIAN>(header, 12));
        let ticks = high << 32 | u64::from(u32_at::<BIG_ENDIAN>(header, 16));
        let caplen = u32_at::<BIG_ENDIAN>(header, 20);
        let wirelen = u32_at::<BIG_ENDIAN>(header, 24);
        if caplen as usize > data.len() || caplen > MAX_CAPLEN {
            return self.bad_packet(offset, "claims more bytes than its block has", log);
        }
        let Some(described) = self.interfaces.get(interface) else {
            return self.bad_packet(offset, "names an interface that is not described", log);
        };
        let padded = (caplen as usize).next_multiple_of(4);
        if data.len() > padded {
            self.comments::<BIG_ENDIAN>(&data[padded..], log);
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

    /// Any other block.
    #[inline(never)]
    pub(super) fn other<const BIG_ENDIAN: bool>(
        &mut self,
        kind: u32,
        block: &[u8],
        at: usize,
        offset: u64,
        frames: &mut Vec<Frame>,
        log: &mut Log<'_>,
    ) {
        match kind {
            OBSOLETE_PACKET => self.packet::<BIG_ENDIAN>(kind, block, at, offset, frames, log),
            SIMPLE_PACKET => self.simple_packet::<BIG_ENDIAN>(block, at, offset, frames, log),
            INTERFACE_DESCRIPTION => self.interface::<BIG_ENDIAN>(block, offset, log),
            INTERFACE_STATISTICS => self.statistics::<BIG_ENDIAN>(block, log),
            other => self.pass(other),
        }
    }

    /// A block that is not read. Those that Wireshark lists among the packets take a number as they do there.
    pub(super) fn pass(&mut self, kind: u32) {
        if matches!(kind, CUSTOM | CUSTOM_NOT_COPIED | JOURNAL_EXPORT) || SYSDIG_EVENTS.contains(&kind) {
            self.number += 1;
        }
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
        let Some((header, [data @ .., _, _, _, _])) = block.split_first_chunk::<DATA>() else {
            return self.bad_packet(offset, "has no room for its fields", log);
        };
        let Some(&Described { dlt, snaplen, .. }) = self.interfaces.first() else {
            return self.bad_packet(offset, "has no interface that is described", log);
        };
        let wirelen = u32_at::<BIG_ENDIAN>(header, 8);
        let limit = if snaplen == 0 { u32::MAX } else { snaplen };
        let caplen = wirelen.min(limit);
        if caplen as usize > data.len() || caplen > MAX_CAPLEN {
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
        let Some((header, [fields @ .., _, _, _, _])) = block.split_first_chunk::<OPTIONS>() else {
            let detail = "interface description has no room for its fields: it is not read";
            return log.problem(ProblemKind::Corrupt, offset, detail);
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            let detail =
                format_args!("section has more than {MAX_INTERFACES} interfaces: this one is not read");
            return log.problem(ProblemKind::Corrupt, offset, detail);
        }
        let dlt = linktype(u32::from(u16_at::<BIG_ENDIAN>(header, 8)));
        let snaplen = u32_at::<BIG_ENDIAN>(header, 12);
        let mut resolution = Resolution::default();
        let mut offset_seconds = 0;
        let (mut name, mut comment) = (String::new(), String::new());
        for (code, value) in options::<BIG_ENDIAN>(fields) {
            match (code, value) {
                (COMMENT, _) if comment.is_empty() => comment = text(value),
                (IF_NAME, _) => name = text(value),
                (IF_TSRESOL, &[exponent, ..]) => {
                    let n = exponent & 0x7f;
                    resolution =
                        if exponent & 0x80 == 0 { Resolution::Decimal(n) } else { Resolution::Binary(n) };
                }
                (IF_TSOFFSET, _) => {
                    offset_seconds = u64_of::<BIG_ENDIAN>(value).map_or(0, u64::cast_signed);
                }
                _ => {}
            }
        }
        self.interfaces.push(Described { dlt, snaplen, clock: Clock::new(resolution, offset_seconds) });
        log.info.add_interface(Interface { name, dlt, snaplen, resolution, comment, dropped: None });
    }

    fn statistics<const BIG_ENDIAN: bool>(&self, block: &[u8], log: &mut Log<'_>) {
        const OPTIONS: usize = 20;
        let Some((header, [fields @ .., _, _, _, _])) = block.split_first_chunk::<OPTIONS>() else { return };
        let interface = u32_at::<BIG_ENDIAN>(header, 8) as usize;
        let dropped = options::<BIG_ENDIAN>(fields)
            .filter(|(code, _)| matches!(*code, ISB_IFDROP | ISB_OSDROP))
            .filter_map(|(_, value)| u64_of::<BIG_ENDIAN>(value))
            .reduce(u64::saturating_add);
        if let Some(dropped) = dropped
            && interface < self.interfaces.len()
        {
            log.info.set_dropped(self.interfaces_before + interface, dropped);
        }
    }

    fn comments<const BIG_ENDIAN: bool>(&self, fields: &[u8], log: &mut Log<'_>) {
        for (code, value) in options::<BIG_ENDIAN>(fields) {
            if code == COMMENT {
                log.info.add_packet_comment(self.number, value);
            }
        }
    }

    /// Number of an interface of this section among all of the file.
    #[inline]
    fn interface_in_file(&self, interface: usize) -> u16 {
        u16::try_from(self.interfaces_before + interface).unwrap_or(u16::MAX)
    }

    #[cold]
    #[inline(never)]
    fn bad_packet(&self, offset: u64, why: &str, log: &mut Log<'_>) {
        let detail = format_args!("packet {} {why}: it is left out", self.number);
        log.problem(ProblemKind::Corrupt, offset, detail);
    }
}

/// The value of an option that is a 64-bit number.
pub(super) fn u64_of<const BIG_ENDIAN: bool>(value: &[u8]) -> Option<u64> {
    let &bytes = value.first_chunk::<8>()?;
    Some(if BIG_ENDIAN { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::{
                fixtures::{ORDERS, Order, Reading, THEN, block, interface, option, packet, pcapng, section},
                parser::NANOS,
            },
            ENHANCED_PACKET,
        },
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
    fn packets_have_the_numbers_that_wireshark_shows() {
        let order = Order::Little;
        let long = vec![0; 5 << 20];
        for (kind, body, number) in [
            (4, &[0; 4][..], 2),
            (10, b"secrets!", 2),
            (0x1234, b"unknown", 2),
            (9, b"__REALTIME_TIMESTAMP=1", 3),
            (0xbad, b"customised", 3),
            (0x4000_0bad, b"customised", 3),
            (0x4000_0bad, &long, 3),
            (0x204, &[0; 24], 3),
            (0x222, &[0; 28], 3),
        ] {
            let file =
                [pcapng(order, &[b"1"]), block(order, kind, body), packet(order, 0, 0, b"2", &[])].concat();
            assert_eq!(Reading::of(&file).frames[1].0.number, number, "after a block of type {kind:#x}");
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
}
