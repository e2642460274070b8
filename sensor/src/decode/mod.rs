//! From a frame to the packets in it. In: link type, captured bytes, length on the wire, packet time. Out: an
//! [`Outcome`] and, in [`Decoded`], up to four [`Packet`]s with offsets into the bytes they lie in.
//!
//! The walk goes down the layers by hand-kept offsets: link (`link`, `ethernet`, `ppp`, `mpls`), network (`ip`,
//! `fragment`), transport (`transport`), and into tunnels (`tunnel`) to a depth that [`Encap::CAPACITY`] bounds.
//! Three rules hold everywhere:
//!
//! - A frame that the snapshot length cut is decoded as far as it goes; only a length that contradicts the length on
//!   the wire is malformed.
//! - A tunnel that has an IP protocol or EtherType of its own is what it says. A UDP port is a hint: unless all that
//!   is inside makes sense, the packet stays a plain UDP packet. On any other port the content has to prove the tunnel.
//! - Network plumbing (VLAN, MPLS, GRE, VXLAN…) yields what is inside and notes the layers in [`Packet::encap`]; if no
//!   IP packet is inside, the carrier itself comes out, with the layers that were opened. A tunnel that is a flow to
//!   be reported (PPTP, L2TP, AH) comes out as well as what is inside, outer first.
//!
//! Nothing allocates per frame, nothing a frame contains can panic.

mod encap;
mod ethernet;
#[cfg(test)]
mod fixtures;
mod fragment;
#[cfg(test)]
mod hostile;
mod ip;
mod link;
mod mpls;
mod outcome;
mod packet;
mod plain;
mod ppp;
mod region;
mod transport;
mod tunnel;
mod wlan;

pub use encap::Encap;
pub use fragment::{FragmentLimits, FragmentStats};
pub use link::Link;
pub use outcome::{Ignored, Layer, Malformed, Outcome, Why};

pub use packet::{Addrs, Decoded, Packet, Packets, proto, tcp_flag};

use fragment::Fragments;
use outcome::Stop;
use plain::plain;
use region::Region;

/// No capture format or ring delivers longer frames; offsets are kept in 32 bits.
const MAX_FRAME: usize = 1 << 28;

/// Bounds of a [`Decoder`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DecodeConfig {
    /// Bounds of fragment reassembly.
    pub fragments: FragmentLimits,
}

/// Decodes frames, one after the other. It keeps the fragments of incomplete datagrams, so one decoder must see all
/// frames of a network in their order.
pub struct Decoder {
    fragments: Fragments,
}

impl Decoder {
    /// A decoder that holds no fragments yet.
    pub fn new(config: DecodeConfig) -> Self {
        Self { fragments: Fragments::new(config.fragments) }
    }

    /// Decodes one frame: `frame` are the captured bytes, `wire_len` the frame's length on the wire (taken as at least
    /// the captured length), `ts_ns` its time in nanoseconds since the epoch. What was in `out` is replaced; it is
    /// empty unless the outcome is [`Outcome::Packets`].
    pub fn decode(
        &mut self,
        link: Link,
        frame: &[u8],
        wire_len: u32,
        ts_ns: i64,
        out: &mut Decoded,
    ) -> Outcome {
        out.packets.clear();
        self.fragments.reclaim();
        let frame = frame.get(..MAX_FRAME).unwrap_or(frame);
        let wire_len = wire_len.max(frame.len() as u32);
        let mut walk = Walk {
            fragments: &mut self.fragments,
            packets: &mut out.packets,
            ts_ns,
            wire_len,
            fragmented: false,
        };
        let region = Region::new(frame, wire_len as usize);
        let walked = match link {
            Link::Ethernet => walk.ethernet(region, Context::FRAME),
            _ => walk.link(link, region),
        };
        match walked {
            Ok(()) => Outcome::Packets(out.packets.len()),
            Err(stop) => {
                debug_assert!(out.packets.is_empty(), "{stop:?} after {} packets", out.packets.len());
                stop.into()
            }
        }
    }

    /// What [`Decoder::decode`] would find in a frame that is like most: its only packet, in the frame itself, quicker. `None`: it
    /// has to be asked.
    #[inline(always)]
    pub fn plain(&self, link: Link, frame: &[u8], wire_len: u32) -> Option<Packet> {
        let frame = frame.get(..MAX_FRAME).unwrap_or(frame);
        if link == Link::Ethernet { plain(frame, wire_len.max(frame.len() as u32)) } else { None }
    }

    /// The captured layer-4 payload of a packet that the last call of [`Decoder::decode`] found in `frame`.
    pub fn bytes<'a>(&'a self, frame: &'a [u8], packet: &Packet) -> &'a [u8] {
        let at = packet.payload_at as usize;
        self.buffer(frame, packet).get(at..at + packet.payload_len as usize).unwrap_or_default()
    }

    /// The captured layer-4 header of that packet: TCP options are what follows its first 20 bytes.
    pub fn header<'a>(&'a self, frame: &'a [u8], packet: &Packet) -> &'a [u8] {
        let buffer = self.buffer(frame, packet);
        let end = buffer.len().min(packet.payload_at as usize);
        buffer.get(packet.l4_at as usize..end).unwrap_or_default()
    }

    /// Counters of fragment reassembly since the decoder was made.
    pub fn fragment_stats(&self) -> FragmentStats {
        self.fragments.stats()
    }

    fn buffer<'a>(&'a self, frame: &'a [u8], packet: &Packet) -> &'a [u8] {
        if packet.reassembled { self.fragments.lent(packet.buffer) } else { frame }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DecodeConfig::default())
    }
}

/// One frame on its way down. The methods that take it down a layer are in the layers' files; each returns `Ok` if a
/// packet came out, and leaves no packet behind otherwise.
struct Walk<'d> {
    fragments: &'d mut Fragments,
    packets: &'d mut Packets,
    ts_ns: i64,
    wire_len: u32,
    /// Whether a fragment header was met: what is left may be a piece of something longer.
    fragmented: bool,
}

/// How an IP packet has to lie in what carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    /// Bytes may follow: Ethernet padding, a trailer.
    Padded,
    /// Nothing may follow: raw IP in a tunnel that was guessed.
    Exact,
    /// It may be cut: mirrors shorten frames to fit their tunnel and need not say so.
    Mirror,
    /// The same where the tunnel has other uses too: only with a right IPv4 header checksum.
    MaybeMirror,
}

/// What the layers above leave to those below.
#[derive(Clone, Copy)]
struct Context {
    encap: Encap,
    vlan: [u16; 2],
    domain: u16,
    /// Reassembled datagram the walk is in; 0 = the frame.
    buffer: u8,
    /// Whether this is inside an IP packet.
    inner: bool,
    fit: Fit,
}

impl Context {
    const FRAME: Self =
        Self { encap: Encap::NONE, vlan: [0; 2], domain: 0, buffer: 0, inner: false, fit: Fit::Padded };

    /// Inside the payload of an IP packet.
    fn inside(packet: &Packet, fit: Fit) -> Self {
        Self {
            encap: packet.encap,
            vlan: packet.vlan,
            domain: packet.domain,
            buffer: packet.buffer,
            inner: true,
            fit,
        }
    }

    /// One layer further in.
    #[inline]
    fn entered(self, layer: Layer) -> Result<Self, Stop> {
        Ok(Self { encap: self.encap.with(layer).ok_or(Stop::Ignored(Ignored::TooDeep))?, ..self })
    }

    /// In the overlay segment `id` of the segment so far.
    fn in_segment(self, id: u32) -> Self {
        // Fibonacci hashing; the lowest bit set keeps a segment apart from none.
        let nested = (u64::from(self.domain) << 32) | u64::from(id);
        let mixed = (nested + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { domain: (mixed >> 48) as u16 | 1, ..self }
    }
}
