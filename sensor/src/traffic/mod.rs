//! Generated traffic: the same bytes from the same recipe and seed, for benchmarks and load tests.
//!
//! Out: classic pcap (little-endian, Ethernet). [`generate`] makes traffic up: addresses are from the benchmarking range
//! 198.18.0.0/15 (RFC 2544) and from 10/8; nothing there resembles a real host. [`mix`] multiplies captures.

use std::io::{self, Write};

mod frame;
mod hello;
pub mod mix;

use frame::{Ends, Segment, flag};

/// A recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// 60-byte TCP frames, 8 a flow (three-way handshake to FIN), 100,000 flows open at a time, a million packets a second.
    Small,
    /// 2,000 TLS 1.3 connections that carry 1,500-byte packets, an acknowledgment for every 16 of them.
    Elephant,
}

impl std::str::FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "small" => Ok(Self::Small),
            "elephant" => Ok(Self::Elephant),
            other => Err(format!("'{other}' is no workload (have: small, elephant)")),
        }
    }
}

/// xorshift64* (Vigna 2016): small, and the same everywhere.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

const START_S: u64 = 1_700_000_000;

/// First word of a classic pcap file with microseconds, and of one with nanoseconds.
const MICROS: u32 = 0xA1B2_C3D4;
const NANOS: u32 = 0xA1B2_3C4D;
/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;

/// Begins a classic pcap file of Ethernet frames.
fn begin(out: &mut impl Write, magic: u32) -> io::Result<()> {
    out.write_all(&magic.to_le_bytes())?;
    for half in [2u16, 4] {
        out.write_all(&half.to_le_bytes())?;
    }
    for word in [0u32, 0, 262_144, ETHERNET.into()] {
        out.write_all(&word.to_le_bytes())?;
    }
    Ok(())
}

struct Pcap<W> {
    out: W,
    frame: Vec<u8>,
}

impl<W: Write> Pcap<W> {
    fn new(mut out: W) -> io::Result<Self> {
        begin(&mut out, MICROS)?;
        Ok(Self { out, frame: Vec::with_capacity(1_600) })
    }

    fn write(&mut self, micros: u64, segment: &Segment<'_>) -> io::Result<()> {
        segment.frame(&mut self.frame);
        let len = self.frame.len() as u32;
        for word in [(START_S + micros / 1_000_000) as u32, (micros % 1_000_000) as u32, len, len] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(&self.frame)
    }
}

/// Writes a capture of `packets` packets (about: the last flows are completed) to `out`.
///
/// # Errors
/// What `out` says.
pub fn generate(workload: Workload, packets: u64, seed: u64, out: impl Write) -> io::Result<()> {
    let mut pcap = Pcap::new(out)?;
    let random = Random(seed | 1);
    match workload {
        Workload::Small => small(&mut pcap, packets, random)?,
        Workload::Elephant => elephant(&mut pcap, packets, random)?,
    }
    pcap.out.flush()
}

/// Flows open at a time in [`Workload::Small`].
const OPEN: usize = 100_000;

fn small<W: Write>(pcap: &mut Pcap<W>, packets: u64, mut random: Random) -> io::Result<()> {
    // Every open flow is at one of eight steps; each packet advances one of them, chosen at random.
    let mut flows: Vec<(u32, u8)> = (0..OPEN as u32).map(|n| (n, 0)).collect();
    let mut next = OPEN as u32;
    for i in 0..packets {
        let at = random.below(OPEN as u64) as usize;
        let (number, step) = flows[at];
        let ends = Ends::of(number);
        let (up, flags, seq, ack) = match step {
            0 => (true, flag::SYN, 0, 0),
            1 => (false, flag::SYN | flag::ACK, 0, 1),
            2 => (true, flag::ACK, 1, 1),
            6 => (true, flag::FIN | flag::ACK, 1, 1),
            7 => (false, flag::FIN | flag::ACK, 1, 2),
            s => (s % 2 == 0, flag::ACK, 1, 1),
        };
        pcap.write(i, &Segment { ends, up, flags, seq, ack, id: i as u16, payload: &[], fill: 0 })?;
        if step == 7 {
            flows[at] = (next, 0);
            next += 1;
        } else {
            flows[at].1 += 1;
        }
    }
    Ok(())
}

/// Connections in [`Workload::Elephant`].
const ELEPHANTS: usize = 2_000;
/// Data packets between two acknowledgments.
const ACK_EVERY: u64 = 16;
/// Payload of a full frame with TCP timestamps left out.
const FULL: u32 = 1_460;

fn elephant<W: Write>(pcap: &mut Pcap<W>, packets: u64, mut random: Random) -> io::Result<()> {
    struct Connection {
        step: u64,
        sent: u32,
    }
    let mut connections: Vec<Connection> = (0..ELEPHANTS).map(|_| Connection { step: 0, sent: 1 }).collect();
    let server_hello = hello::server_flight();
    let mut micros = 0;
    for i in 0..packets {
        let at = if i < 8 * ELEPHANTS as u64 {
            (i % ELEPHANTS as u64) as usize
        } else {
            random.below(ELEPHANTS as u64) as usize
        };
        let ends = Ends::of(at as u32);
        let client_hello = hello::client(at as u32);
        let hello_end = 1 + client_hello.len() as u32;
        let connection = &mut connections[at];
        micros += 12; // 1,514 bytes at 1 Gbit/s
        let mut segment = Segment {
            ends,
            up: true,
            flags: flag::ACK,
            seq: hello_end,
            ack: 1,
            id: i as u16,
            payload: &[],
            fill: 0,
        };
        match connection.step {
            0 => (segment.flags, segment.seq, segment.ack) = (flag::SYN, 0, 0),
            1 => (segment.up, segment.flags, segment.seq) = (false, flag::SYN | flag::ACK, 0),
            2 => segment.seq = 1,
            3 => (segment.seq, segment.payload) = (1, &client_hello),
            4 => {
                (segment.up, segment.seq, segment.ack, segment.payload) =
                    (false, 1, hello_end, &server_hello);
                connection.sent = 1 + server_hello.len() as u32;
            }
            n if n % ACK_EVERY == 0 => segment.ack = connection.sent,
            _ => {
                (segment.up, segment.seq, segment.ack, segment.fill) =
                    (false, connection.sent, hello_end, FULL);
                connection.sent = connection.sent.wrapping_add(FULL);
            }
        }
        connection.step += 1;
        pcap.write(micros, &segment)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        let make = |seed| {
            let mut out = Vec::new();
            generate(Workload::Small, 1_000, seed, &mut out).expect("memory");
            out
        };
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
        assert_eq!(make(7).len(), 24 + 1_000 * (16 + 60));
    }

    #[test]
    fn elephants_begin_with_a_handshake_and_fill_their_frames() {
        let mut out = Vec::new();
        generate(Workload::Elephant, 30_000, 1, &mut out).expect("memory");
        assert!(out.windows(12).any(|w| w == b"host7.bench."));
        assert!(out.len() > 20_000_000 / 2);
    }
}
