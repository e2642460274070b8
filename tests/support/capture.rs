//! A capture in memory: frames with their times, as a file or as a source.

use std::net::SocketAddr;

use super::frame::{self, Ip};
use farend::source::{Batch, Counters, FileInfo, Frame, Problem, Progress, Region, Source, Status};

/// 2026-01-01T00:00:00Z in ns: when captures begin.
pub const START_NS: i64 = 1_767_225_600_000_000_000;
pub const SECOND_NS: i64 = 1_000_000_000;

/// One frame.
#[derive(Clone, Debug)]
pub struct Taken {
    pub ts_ns: i64,
    pub bytes: Vec<u8>,
    /// Length on the wire where it is more than the bytes.
    pub wirelen: u32,
    pub dlt: u16,
}

/// Frames in capture order.
#[derive(Clone, Debug)]
pub struct Capture {
    pub frames: Vec<Taken>,
    /// Time of the next frame.
    pub now_ns: i64,
    /// Time between frames.
    pub step_ns: i64,
    /// VLAN tags of the frames to come, outer first.
    pub vlan: Vec<u16>,
    /// Datagrams added.
    pub datagrams: u16,
}

impl Default for Capture {
    fn default() -> Self {
        Self { frames: Vec::new(), now_ns: START_NS, step_ns: 2_000_000, vlan: Vec::new(), datagrams: 0 }
    }
}

impl Capture {
    /// Adds an IP packet in an Ethernet frame.
    pub fn packet(&mut self, packet: &[u8]) {
        let bytes = frame::ethernet(&self.vlan, packet);
        self.frame(bytes);
    }

    /// Adds a frame.
    pub fn frame(&mut self, bytes: Vec<u8>) {
        let wirelen = bytes.len() as u32;
        self.frames.push(Taken { ts_ns: self.now_ns, bytes, wirelen, dlt: 1 });
        self.now_ns += self.step_ns;
    }

    /// Adds a UDP datagram.
    pub fn datagram(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        // Ids differ as a real stack's do, or two datagrams would look like two copies of one.
        self.datagrams = self.datagrams.wrapping_add(1).max(1);
        let ip = Ip { id: self.datagrams, ..Ip::new(from.ip(), to.ip()) };
        self.packet(&frame::udp(ip, [from.port(), to.port()], payload));
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: f64) {
        self.now_ns += (seconds * SECOND_NS as f64) as i64;
    }

    /// Cuts every frame to `snaplen` captured bytes.
    pub fn cut(&mut self, snaplen: usize) {
        for f in &mut self.frames {
            f.bytes.truncate(snaplen);
        }
    }

    /// A classic pcap file with nanoseconds, little-endian.
    pub fn pcap(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let dlt = self.frames.first().map_or(1, |f| u32::from(f.dlt));
        for field in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, dlt] {
            file.extend(u32::to_le_bytes(field));
        }
        for f in &self.frames {
            let (s, ns) = (f.ts_ns.div_euclid(SECOND_NS), f.ts_ns.rem_euclid(SECOND_NS));
            for field in [s as u32, ns as u32, f.bytes.len() as u32, f.wirelen] {
                file.extend(field.to_le_bytes());
            }
            file.extend_from_slice(&f.bytes);
        }
        file
    }

    /// A pcapng file of one interface with nanoseconds, whose statistics at the end say that `lost` of `received` packets were lost.
    pub fn pcapng(&self, lost: u64, received: u64) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let dlt = self.frames.first().map_or(1, |f| u32::from(f.dlt));
        let mut file = words(&[0x0A0D_0D0A, 28, 0x1A2B_3C4D, 1, u32::MAX, u32::MAX, 28]);
        // if_tsresol: nanoseconds.
        file.extend(words(&[1, 32, dlt, 0, 1 << 16 | 9, 9, 0, 32]));
        for f in &self.frames {
            let padded = f.bytes.len().next_multiple_of(4);
            let (len, ts) = (32 + padded as u32, f.ts_ns.cast_unsigned());
            file.extend(words(&[6, len, 0, (ts >> 32) as u32, ts as u32, f.bytes.len() as u32, f.wirelen]));
            file.extend_from_slice(&f.bytes);
            file.resize(file.len() + padded - f.bytes.len(), 0);
            file.extend(len.to_le_bytes());
        }
        file.extend(words(&[5, 52, 0, 0, 0]));
        for (code, value) in [(4u16, received), (5, lost)] {
            file.extend(code.to_le_bytes());
            file.extend(8u16.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        file.extend(words(&[0, 52]));
        file
    }

    /// The frames as a source.
    pub fn source(&self) -> Given {
        Given::new(self)
    }

    /// The frames of a capture file in the order of the timeline.
    pub fn read(path: &std::path::Path) -> Self {
        let mut source = farend::source::open(&[path.to_owned()], &Default::default())
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut batch = Batch::default();
        let mut capture = Self::default();
        while source.next_batch(&mut batch, 4096) == Status::More {
            for (f, bytes) in batch.iter() {
                capture.frames.push(Taken {
                    ts_ns: f.ts_ns,
                    bytes: bytes.to_vec(),
                    wirelen: f.wirelen,
                    dlt: f.dlt,
                });
            }
        }
        capture
    }
}

/// A source that hands out given frames.
pub struct Given {
    frames: Vec<Frame>,
    region: Region,
    at: usize,
    files: Vec<FileInfo>,
}

impl Given {
    fn new(capture: &Capture) -> Self {
        let mut bytes = Vec::new();
        let mut frames = Vec::new();
        for (number, f) in (1..).zip(&capture.frames) {
            frames.push(Frame {
                at: bytes.len(),
                caplen: f.bytes.len() as u32,
                wirelen: f.wirelen,
                ts_ns: f.ts_ns,
                number,
                dlt: f.dlt,
                iface: 0,
                input: 0,
            });
            bytes.extend_from_slice(&f.bytes);
        }
        let files = vec![FileInfo { path: "given.pcap".into(), ..FileInfo::default() }];
        Self { frames, region: bytes.into(), at: 0, files }
    }
}

impl Source for Given {
    fn next_batch(&mut self, batch: &mut Batch, limit: usize) -> Status {
        batch.frames.clear();
        batch.region = self.region.clone();
        let to = (self.at + limit.max(1)).min(self.frames.len());
        batch.frames.extend_from_slice(&self.frames[self.at..to]);
        self.at = to;
        if batch.frames.is_empty() { Status::End } else { Status::More }
    }

    fn problems(&self) -> &[Problem] {
        &[]
    }

    fn files(&self) -> &[FileInfo] {
        &self.files
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn counters(&self) -> Counters {
        Counters { frames: self.at as u64, ..Counters::default() }
    }
}
