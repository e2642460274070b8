//! What decoding yields: [`Packet`], one IP conversation unit with offsets into the bytes it lies in, and
//! [`Packets`], the few of them a frame can hold.

use super::encap::Encap;
use std::ops::Deref;

/// IP protocol numbers of the packets that decoding yields (IANA "Protocol Numbers").
pub mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// GRE: PPTP's, or GRE around something that is no IP packet.
    pub const GRE: u8 = 47;
    /// IPsec ESP.
    pub const ESP: u8 = 50;
    /// IPsec AH.
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// TCP flag bits of [`Packet::tcp_flags`] (RFC 9293 section 3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// Source and destination address of a packet, in network order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Addrs {
    /// IPv4.
    V4 {
        /// Sender.
        src: [u8; 4],
        /// Receiver.
        dst: [u8; 4],
    },
    /// IPv6.
    V6 {
        /// Sender.
        src: [u8; 16],
        /// Receiver.
        dst: [u8; 16],
    },
}

/// One IP conversation unit of a frame: the packet itself, what a tunnel carried, or the tunnel's own packet where
/// that is a flow to be reported too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Addresses of the innermost IP header.
    pub addrs: Addrs,
    /// IP protocol, one of [`proto`].
    pub proto: u8,
    /// Source port of TCP, UDP, SCTP; the identifier of an ICMP echo; else 0.
    pub src_port: u16,
    /// Destination port of TCP, UDP, SCTP; the identifier of an ICMP echo; else 0.
    pub dst_port: u16,
    /// Where the layer-4 payload begins in [`Decoder::bytes`](super::Decoder::bytes). GRE, ESP and AH have
    /// no payload of their own here: theirs begins at their header, so that its fields can be read.
    pub payload_at: u32,
    /// Payload bytes that were captured.
    pub payload_len: u32,
    /// Payload bytes the headers claim; more than `payload_len` when a snapshot length cut the frame.
    pub payload_wire: u32,
    /// Bytes to account to the flow: the frame's length on the wire (all frames' of a reassembled datagram), or the
    /// IP length of a packet that came inside another.
    pub wire_len: u32,
    /// IPv4 identification, the low half of an IPv6 fragment's, or 0.
    pub ip_id: u16,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// The three IPv4 flag bits (reserved 4, DF 2, MF 1); 0 for IPv6.
    pub ip_flags: u8,
    /// TCP flags, see [`tcp_flag`].
    pub tcp_flags: u8,
    /// TCP window as sent, unscaled.
    pub window: u16,
    /// TCP sequence number.
    pub seq: u32,
    /// TCP acknowledgment number.
    pub ack: u32,
    /// Where the layer-4 header begins; TCP options lie between `l4_at + 20` and `payload_at`.
    pub l4_at: u32,
    /// ICMP or ICMPv6 type.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code.
    pub icmp_code: u8,
    /// Overlay segment the addresses belong to, hashed: VXLAN, VXLAN-GPE and Geneve VNI, NVGRE VSID, LISP instance.
    /// 0 = none. Identifiers that differ by direction (VLAN, MPLS, TEID, GRE key, ERSPAN session) do not count.
    pub domain: u16,
    /// Layers peeled on the way, outermost first.
    pub encap: Encap,
    /// VLAN identifiers of the first two tags met, outermost first; 0 = none.
    pub vlan: [u16; 2],
    /// Whether the bytes lie in a reassembled datagram instead of the frame.
    pub reassembled: bool,
    /// Which reassembled datagram of this frame, counted from 1; 0 = the frame itself.
    pub buffer: u8,
    /// Whether a snapshot length cut the layer-4 header: what was not captured is 0, `payload_wire` assumes a header
    /// without options.
    pub cut: bool,
}

impl Packet {
    /// A packet with nothing in it, to be filled in.
    pub const EMPTY: Self = Self {
        addrs: Addrs::V4 { src: [0; 4], dst: [0; 4] },
        proto: 0,
        src_port: 0,
        dst_port: 0,
        payload_at: 0,
        payload_len: 0,
        payload_wire: 0,
        wire_len: 0,
        ip_id: 0,
        ttl: 0,
        ip_flags: 0,
        tcp_flags: 0,
        window: 0,
        seq: 0,
        ack: 0,
        l4_at: 0,
        icmp_type: 0,
        icmp_code: 0,
        domain: 0,
        encap: Encap::NONE,
        vlan: [0; 2],
        reassembled: false,
        buffer: 0,
        cut: false,
    };
}

impl Default for Packet {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The packets of one frame, at most [`Packets::CAPACITY`]; a slice to the reader.
///
/// The one being decoded is drafted in place behind them: written field by field on the stack and copied as a whole,
/// it would stall the processor's store forwarding.
#[derive(Clone, Debug)]
pub struct Packets {
    slots: [Packet; Self::CAPACITY + 1],
    len: usize,
}

impl Packets {
    /// How many packets one frame yields at most.
    pub const CAPACITY: usize = 4;

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Back to the first `len` packets.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The packet being decoded.
    #[inline]
    pub(super) fn draft(&mut self) -> &mut Packet {
        &mut self.slots[self.len]
    }

    /// Adds the draft to the packets; false if there is no room.
    #[inline]
    pub(super) fn commit(&mut self) -> bool {
        let room = self.len < Self::CAPACITY;
        self.len += usize::from(room);
        room
    }
}

impl Default for Packets {
    fn default() -> Self {
        Self { slots: [Packet::EMPTY; Self::CAPACITY + 1], len: 0 }
    }
}

impl Deref for Packets {
    type Target = [Packet];

    fn deref(&self) -> &[Packet] {
        self.slots.get(..self.len).unwrap_or_default()
    }
}

impl<'a> IntoIterator for &'a Packets {
    type Item = &'a Packet;
    type IntoIter = std::slice::Iter<'a, Packet>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Where a decoder puts what it found; one is used for all frames.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The packets of the last frame, outer before inner.
    pub packets: Packets,
}
