//! Classic pcap: a file header, then records of a 16-byte header and the captured bytes.
//!
//! Format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>. In: a window of the file. Out:
//! frames. Every packet of every replay passes through [`Classic::records`]; it reads four fields and writes
//! one [`Frame`].

use super::{
    Frame,
    fields::{u16_at, u32_at},
    info::{Container, Interface, Resolution},
    parser::{MAX_CAPLEN, NANOS, Step, Window},
    problem::{Log, ProblemKind},
};

/// Bytes of the file header.
pub(super) const FILE_HEADER: usize = 24;

/// Timestamps in microseconds.
const MAGIC_MICROS: u32 = 0xa1b2_c3d4;

/// Timestamps in nanoseconds.
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;

/// The records of Alexey Kuznetsov's patched libpcap, still written by some appliances.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

/// Bytes of a record header: seconds, fraction, captured length, length on the wire.
const RECORD_HEADER: usize = 16;

/// Bytes of a record header of the modified format: interface index, protocol and packet type follow.
const MODIFIED_RECORD_HEADER: usize = 24;

/// Last format version in which the two lengths of a record were the other way round, in some files.
const LAST_SWAPPED_MINOR: u16 = 3;

/// What a record header claims to describe when it is none.
const NOT_A_RECORD: &str = "this is no record header; the rest of the file is not read";

/// A classic pcap file behind its header.
pub(super) struct Classic {
    big_endian: bool,
    record_header: usize,
    /// Fractions in a second, and nanoseconds in a fraction.
    fractions: u32,
    nanos_per_fraction: u32,
    lengths_may_be_swapped: bool,
    dlt: u16,
    input: u16,
    number: u64,
}

/// The format that a magic number announces.
pub(super) fn container(magic: [u8; 4]) -> Option<Container> {
    let (value, big_endian) = match u32::from_be_bytes(magic) {
        value @ (MAGIC_MICROS | MAGIC_NANOS | MAGIC_MODIFIED) => (value, true),
        _ => (u32::from_le_bytes(magic), false),
    };
    match value {
        MAGIC_MICROS => Some(Container::Pcap { nanos: false, big_endian, modified: false }),
        MAGIC_NANOS => Some(Container::Pcap { nanos: true, big_endian, modified: false }),
        MAGIC_MODIFIED => Some(Container::Pcap { nanos: false, big_endian, modified: true }),
        _ => None,
    }
}

/// The LINKTYPE_ number of a link-layer field.
///
/// Only the lower 16 bits are the type (the upper ones may hold the length of a frame check sequence). 12 and
/// 14 are what BSD systems call raw IP in memory, and some programs wrote them into files.
pub(super) fn linktype(field: u32) -> u16 {
    const RAW: u16 = 101;
    match (field & 0xffff) as u16 {
        12 | 14 => RAW,
        other => other,
    }
}

impl Classic {
    /// Reads the file header.
    ///
    /// # Errors
    /// In words, when the magic number or the version is none that is known.
    pub(super) fn new(header: &[u8; FILE_HEADER], log: &mut Log<'_>) -> Result<Self, String> {
        let [a, b, c, d, ..] = *header;
        let Some(Container::Pcap { nanos, big_endian, modified }) = container([a, b, c, d]) else {
            return Err("no pcap magic number".into());
        };
        if big_endian {
            Self::with_order::<true>(header, nanos, modified, log)
        } else {
            Self::with_order::<false>(header, nanos, modified, log)
        }
    }

    fn with_order<const BIG_ENDIAN: bool>(
        header: &[u8; FILE_HEADER],
        nanos: bool,
        modified: bool,
        log: &mut Log<'_>,
    ) -> Result<Self, String> {
        let (major, minor) = (u16_at::<BIG_ENDIAN>(header, 4), u16_at::<BIG_ENDIAN>(header, 6));
        if !matches!((major, minor), (2, 0..=4) | (543, 0)) {
            return Err(format!("pcap version {major}.{minor} does not exist (2.4 is the last)"));
        }
        let snaplen = u32_at::<BIG_ENDIAN>(header, 16);
        let dlt = linktype(u32_at::<BIG_ENDIAN>(header, 20));
        let resolution = Resolution::Decimal(if nanos { 9 } else { 6 });
        log.info.add_interface(Interface { dlt, snaplen, resolution, ..Interface::default() });
        Ok(Self {
            big_endian: BIG_ENDIAN,
            record_header: if modified { MODIFIED_RECORD_HEADER } else { RECORD_HEADER },
            fractions: if nanos { 1_000_000_000 } else { 1_000_000 },
            nanos_per_fraction: if nanos { 1 } else { 1000 },
            lengths_may_be_swapped: minor <= LAST_SWAPPED_MINOR,
            dlt,
            input: log.input,
            number: 0,
        })
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
        if self.big_endian {
            self.records::<true>(window, at, frames, limit, log)
        } else {
            self.records::<false>(window, at, frames, limit, log)
        }
    }

    #[inline]
    fn records<const BIG_ENDIAN: bool>(
        &mut self,
        window: &Window<'_>,
        at: &mut usize,
        frames: &mut Vec<Frame>,
        limit: usize,
        log: &mut Log<'_>,
    ) -> Step {
        let bytes = window.bytes;
        let mut record = *at;
        let mut number = self.number;
        let step = loop {
            if frames.len() >= limit {
                break Step::Full;
            }
            let Some(header) = bytes[record..].first_chunk::<RECORD_HEADER>() else {
                break self.short(window, record, None, log);
            };
            let seconds = u32_at::<BIG_ENDIAN>(header, 0);
            let fraction = u32_at::<BIG_ENDIAN>(header, 4);
            let mut caplen = u32_at::<BIG_ENDIAN>(header, 8);
            let mut wirelen = u32_at::<BIG_ENDIAN>(header, 12);
            if caplen > wirelen && self.lengths_may_be_swapped {
                (caplen, wirelen) = (wirelen, caplen);
            }
            if caplen > MAX_CAPLEN {
                let detail =
                    format!("record claims {caplen} captured bytes, more than {MAX_CAPLEN}: {NOT_A_RECORD}");
                log.problem(ProblemKind::Corrupt, window.base + record as u64, detail);
                break Step::End;
            }
            let frame = record + self.record_header;
            let next = frame + caplen as usize;
            if next > bytes.len() {
                break self.short(window, record, Some(caplen), log);
            }
            number += 1;
            if fraction >= self.fractions {
                log.absurd_timestamp(
                    window.base + record as u64,
                    number,
                    "has a fraction of more than a second",
                );
            }
            let ts_ns = i64::from(seconds) * NANOS + i64::from(fraction) * i64::from(self.nanos_per_fraction);
            frames.push(Frame {
                at: frame,
                caplen,
                wirelen,
                ts_ns,
                number,
                dlt: self.dlt,
                iface: 0,
                input: self.input,
            });
            record = next;
        };
        *at = record;
        self.number = number;
        step
    }

    /// The window ends inside the record at `record`, or exactly before it.
    #[cold]
    fn short(&self, window: &Window<'_>, record: usize, caplen: Option<u32>, log: &mut Log<'_>) -> Step {
        if !window.last {
            return Step::NeedMore;
        }
        let have = window.bytes.len() - record;
        if have > 0 {
            let detail = match caplen {
                Some(caplen) => {
                    let need = self.record_header + caplen as usize;
                    format!("ends inside a record ({have} of {need} bytes)")
                }
                None => format!("ends inside a record header ({have} of {} bytes)", self.record_header),
            };
            log.problem(ProblemKind::Truncated, window.base + record as u64, detail);
        }
        Step::End
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{ORDERS, Order, Reading, THEN, pcap, pcap_at},
        *,
    };

    #[test]
    fn the_format_is_read_byte_by_byte() {
        #[rustfmt::skip]
        let file = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 113, 0, 0, 0,
            0x00, 0xf1, 0x53, 0x65, 0x01, 0, 0, 0, 3, 0, 0, 0, 0xdc, 5, 0, 0, b'a', b'b', b'c',
            0x01, 0xf1, 0x53, 0x65, 0x3f, 0x42, 0x0f, 0, 0, 0, 0, 0, 60, 0, 0, 0,
        ];
        let reading = Reading::of(&file);
        let first = Frame {
            at: 40,
            caplen: 3,
            wirelen: 1500,
            ts_ns: 1_700_000_000_000_001_000,
            number: 1,
            dlt: 113,
            iface: 0,
            input: 0,
        };
        let second =
            Frame { at: 59, caplen: 0, wirelen: 60, ts_ns: 1_700_000_001_999_999_000, number: 2, ..first };
        assert_eq!(reading.frames, [(first, b"abc".to_vec()), (second, vec![])]);
        let info = &reading.files()[0];
        assert_eq!((info.packets, info.bytes, info.interfaces[0].snaplen), (2, 3, 64));
        assert_eq!(info.format.to_string(), "pcap µs little-endian");
    }

    #[test]
    fn every_byte_order_and_resolution_gives_the_same_times() {
        for order in ORDERS {
            for (magic, fraction, name) in [
                (MAGIC_MICROS, 123_456, "pcap µs"),
                (MAGIC_NANOS, 123_456_000, "pcap ns"),
                (MAGIC_MODIFIED, 123_456, "modified pcap µs"),
            ] {
                let reading =
                    Reading::of(&pcap(order, magic, 1, &[(THEN, fraction, b"one"), (0, 0, b"two")]));
                assert_eq!(reading.bytes(), [b"one", b"two"], "{order:?} {name}");
                assert_eq!(reading.times(), [1_700_000_000_123_456_000, 0], "{order:?} {name}");
                let format = reading.files()[0].format.to_string();
                assert!(format.starts_with(name), "{format} is not {name}");
                assert_eq!(format.ends_with("big-endian"), order == Order::Big);
            }
        }
    }

    #[test]
    fn only_the_lower_half_of_the_link_type_field_is_the_link_type() {
        for (field, dlt) in [(0x1400_0001, 1), (113, 113), (12, 101), (14, 101), (101, 101), (276, 276)] {
            let reading = Reading::of(&pcap(Order::Big, MAGIC_MICROS, field, &[(THEN, 0, b"x")]));
            assert_eq!(reading.frames[0].0.dlt, dlt, "{field:#x}");
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_the_packets_before_and_says_where_it_ends() {
        for magic in [MAGIC_MICROS, MAGIC_MODIFIED] {
            let file =
                pcap(Order::Little, magic, 1, &[(THEN, 0, b"abcde"), (THEN, 1, b""), (THEN, 2, b"fgh")]);
            let header = if magic == MAGIC_MODIFIED { 24 } else { 16 };
            let ends = [24, 24 + header + 5, 24 + 2 * header + 5, 24 + 3 * header + 8];
            assert_eq!(ends[3], file.len());
            for cut in 0..=file.len() {
                let reading = Reading::of(&file[..cut]);
                let whole = ends.iter().filter(|&&end| end <= cut).count().saturating_sub(1);
                assert_eq!(reading.frames.len(), whole, "cut at {cut}");
                let expected = match cut {
                    0..4 => vec![(ProblemKind::NotACapture, None)],
                    4..24 => vec![(ProblemKind::Truncated, Some(0))],
                    _ if ends.contains(&cut) => vec![],
                    _ => vec![(ProblemKind::Truncated, Some(ends[whole] as u64))],
                };
                let problems: Vec<_> =
                    reading.problems().iter().map(|problem| (problem.kind, problem.at)).collect();
                assert_eq!(problems, expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_record_of_absurd_length_ends_the_file_at_its_offset() {
        let mut file = pcap_at(&[1, 2, 3]);
        let second = 24 + 17;
        file[second + 8..second + 12].copy_from_slice(&(MAX_CAPLEN + 1).to_le_bytes());
        file[second + 12..second + 16].copy_from_slice(&(MAX_CAPLEN + 1).to_le_bytes());
        let reading = Reading::of(&file);
        assert_eq!(reading.bytes(), [[1]]);
        assert_eq!(reading.problems()[0].kind, ProblemKind::Corrupt);
        assert_eq!(reading.problems()[0].at, Some(second as u64));
    }

    #[test]
    fn a_frame_larger_than_the_snap_length_is_a_frame() {
        let large = vec![7; MAX_CAPLEN as usize];
        let reading =
            Reading::of(&pcap(Order::Little, MAGIC_MICROS, 1, &[(THEN, 0, &large), (THEN, 0, b"x")]));
        assert_eq!(reading.frames.len(), 2);
        assert!(reading.frames[0].1 == large);
        assert_eq!(reading.kinds(), []);
    }

    #[test]
    fn a_fraction_of_more_than_a_second_is_carried_counted_and_noted_once() {
        let records = [(THEN, 1_000_000, &b"a"[..]), (THEN, u32::MAX, b"b"), (THEN, 999_999, b"c")];
        let reading = Reading::of(&pcap(Order::Big, MAGIC_MICROS, 1, &records));
        let then = i64::from(THEN) * NANOS;
        assert_eq!(reading.times(), [then + NANOS, then + 4_294_967_295_000, then + 999_999_000]);
        assert_eq!(reading.kinds(), [ProblemKind::AbsurdTimestamp]);
        assert_eq!(reading.files()[0].absurd_timestamps, 2);
    }

    #[test]
    fn files_of_the_first_versions_may_have_their_lengths_swapped() {
        let mut file = pcap_at(&[1]);
        file[6] = 2;
        file[32..40].copy_from_slice(&[60, 0, 0, 0, 1, 0, 0, 0]);
        let reading = Reading::of(&file);
        assert_eq!((reading.frames[0].0.caplen, reading.frames[0].0.wirelen), (1, 60));
    }

    #[test]
    fn a_version_that_does_not_exist_is_corrupt() {
        let mut file = pcap_at(&[1]);
        file[4] = 3;
        let reading = Reading::of(&file);
        assert_eq!((reading.frames.len(), reading.kinds()), (0, vec![ProblemKind::Corrupt]));
    }
}
