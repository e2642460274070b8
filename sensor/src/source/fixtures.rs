//! Captures for tests, byte by byte, in every format, byte order and resolution.

use std::io::Write;

use super::{Batch, FileInfo, Frame, Inputs, Options, Problem, ProblemKind, Source, Status};

/// Byte order of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

pub(super) const ORDERS: [Order; 2] = [Order::Little, Order::Big];

impl Order {
    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(super) fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// 2023-11-14T22:13:20Z: the time of most packets here.
pub(super) const THEN: u32 = 1_700_000_000;

/// A classic file: magic, link type, and records of seconds, fraction and bytes.
pub(super) fn pcap(order: Order, magic: u32, dlt: u32, records: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(order.u32(magic));
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    file.extend([0; 8]);
    file.extend(order.u32(65535));
    file.extend(order.u32(dlt));
    for &(seconds, fraction, bytes) in records {
        let length = bytes.len() as u32;
        for field in [seconds, fraction, length, length + 4] {
            file.extend(order.u32(field));
        }
        if magic == 0xa1b2_cd34 {
            file.extend([0; 8]);
        }
        file.extend(bytes);
    }
    file
}

/// A little-endian file in microseconds with one packet of one byte (its second) at each of the seconds after
/// [`THEN`].
pub(super) fn pcap_at(seconds: &[u8]) -> Vec<u8> {
    let bytes: Vec<[u8; 1]> = seconds.iter().map(|&second| [second]).collect();
    let records: Vec<_> =
        bytes.iter().map(|byte| (THEN + u32::from(byte[0]), 0, &byte[..])).collect::<Vec<_>>();
    pcap(Order::Little, 0xa1b2_c3d4, 1, &records)
}

/// A pcapng block: the body is padded, the lengths are right.
pub(super) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let length = order.u32(12 + body.len().next_multiple_of(4) as u32);
    let mut block = Vec::new();
    block.extend(order.u32(kind));
    block.extend(length);
    block.extend(body);
    block.resize(block.len().next_multiple_of(4), 0);
    block.extend(length);
    block
}

pub(super) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut option = Vec::new();
    option.extend(order.u16(code));
    option.extend(order.u16(value.len() as u16));
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

pub(super) fn section(order: Order, options: &[u8]) -> Vec<u8> {
    let body = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8], options].concat();
    block(order, 0x0a0d_0d0a, &body)
}

pub(super) fn interface(order: Order, dlt: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
    block(order, 1, &[&order.u16(dlt)[..], &[0, 0], &order.u32(snaplen), options].concat())
}

pub(super) fn packet(order: Order, interface: u32, ticks: u64, bytes: &[u8], options: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let length = bytes.len() as u32;
    for field in [interface, (ticks >> 32) as u32, ticks as u32, length, length + 4] {
        body.extend(order.u32(field));
    }
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options);
    block(order, 6, &body)
}

/// A section, an interface in microseconds, and packets at [`THEN`] with these bytes.
pub(super) fn pcapng(order: Order, packets: &[&[u8]]) -> Vec<u8> {
    let mut file = [section(order, &[]), interface(order, 1, 0, &[])].concat();
    for bytes in packets {
        file.extend(packet(order, 0, u64::from(THEN) * 1_000_000, bytes, &[]));
    }
    file
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that cannot be compressed.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut x = 1u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

/// Everything a source had to say.
pub(super) struct Reading {
    pub(super) frames: Vec<(Frame, Vec<u8>)>,
    pub(super) source: Inputs,
}

impl Reading {
    /// Reads to the end in batches of `limit`.
    pub(super) fn new(mut source: Inputs, limit: usize) -> Self {
        let mut frames = Vec::new();
        let mut batch = Batch::default();
        while source.next_batch(&mut batch, limit) == Status::More {
            assert!(batch.frames.len() <= limit, "a batch of {} frames, limit {limit}", batch.frames.len());
            frames.extend(batch.iter().map(|(frame, bytes)| (*frame, bytes.to_vec())));
        }
        assert!(batch.frames.is_empty(), "frames at the end would be lost");
        Self { frames, source }
    }

    /// Reads a file of these bytes, and the same bytes as a stream in small pieces; both must come out the
    /// same.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mapped = Self::new(Inputs::open(&[file.path().into()], &Options::default()).unwrap(), 7);
        let pieces = Pieces { bytes: bytes.to_vec(), at: 0 };
        let streamed = Self::new(Inputs::from_stream("-", Box::new(pieces), &Options::default()).unwrap(), 3);
        let without_place = |reading: &Self| -> Vec<_> {
            reading.frames.iter().map(|(frame, bytes)| (Frame { at: 0, ..*frame }, bytes.clone())).collect()
        };
        assert_eq!(mapped.frames.len(), streamed.frames.len(), "a file and a pipe differ in frames");
        assert!(without_place(&mapped) == without_place(&streamed), "a file and a pipe differ in frames");
        let both = format!("{:?} and {:?}", mapped.problems(), streamed.problems());
        assert!(mapped.whats() == streamed.whats(), "a file and a pipe differ in problems: {both}");
        mapped
    }

    /// The captured bytes of each frame.
    pub(super) fn bytes(&self) -> Vec<&[u8]> {
        self.frames.iter().map(|(_, bytes)| &bytes[..]).collect()
    }

    pub(super) fn times(&self) -> Vec<i64> {
        self.frames.iter().map(|(frame, _)| frame.ts_ns).collect()
    }

    pub(super) fn kinds(&self) -> Vec<ProblemKind> {
        self.source.problems().iter().map(|problem| problem.kind).collect()
    }

    pub(super) fn problems(&self) -> &[Problem] {
        self.source.problems()
    }

    pub(super) fn files(&self) -> &[FileInfo] {
        self.source.files()
    }

    fn whats(&self) -> Vec<(ProblemKind, Option<u64>)> {
        self.source.problems().iter().map(|&Problem { kind, at, .. }| (kind, at)).collect()
    }
}

/// A pipe that gives three bytes at a time, later more.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
}

impl std::io::Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let piece = if self.at < 1000 { 3 } else { 5000 };
        let count = (self.bytes.len() - self.at).min(piece).min(into.len());
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
