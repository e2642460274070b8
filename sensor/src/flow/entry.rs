//! What is kept of a flow: a hot line that every packet touches, and a record of its birth that only begin and end touch.

use super::arena::Zeroed;

/// Bits of [`Hot::flags`].
pub mod flag {
    /// The entry holds a flow.
    pub const LIVE: u16 = 1 << 0;
    /// The second end opened the flow (else the first).
    pub const OPENER_B: u16 = 1 << 1;
    /// No payload of it is wanted any more.
    pub const DECIDED: u16 = 1 << 2;
    /// [`super::Hot::cold`] names a flow under inspection.
    pub const INSPECTED: u16 = 1 << 3;
    /// [`super::Hot::cold`] names a finished verdict.
    pub const VERDICT: u16 = 1 << 4;
    /// First and second end have sent payload (TCP, UDP) or anything (others).
    pub const DATA_A: u16 = 1 << 5;
    /// See [`DATA_A`].
    pub const DATA_B: u16 = 1 << 6;
    /// The beginning was seen: a SYN, or for datagrams the first packet of a flow that opened after the capture had begun.
    pub const FROM_START: u16 = 1 << 7;
    /// Both sides sent FIN, or one sent RST.
    pub const CLOSED: u16 = 1 << 8;
    /// How the opener was chosen: three bits.
    pub const BASIS_SHIFT: u16 = 9;
    /// Mask of the basis, shifted down.
    pub const BASIS_MASK: u16 = 0b111;
    /// An operator would see an alert with this flow.
    pub const ALERTED: u16 = 1 << 12;
    /// The packet right after opening was counted (used to tell a SYN that opens anew from one sent twice).
    pub const BEYOND_SYN: u16 = 1 << 13;
    /// A SYN with ACK was seen.
    pub const SYN_ACK: u16 = 1 << 14;
    /// [`super::Hot::cold`] names a flow under watch.
    pub const WATCHED: u16 = 1 << 15;
}

/// Bits of a TCP header's flags (RFC 9293 3.1).
pub mod tcp {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
}

/// How the opener of a flow was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpenerBasis {
    /// It sent the first packet that was seen, and nothing better is known.
    First = 0,
    /// A SYN, or a SYN-ACK to it.
    Syn = 1,
    /// The protocol's own roles.
    Handshake = 2,
    /// One port is a service, the other is not.
    Ports = 3,
    /// The other side sent far more.
    Sizes = 4,
}

impl OpenerBasis {
    /// The contract's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first_packet",
            Self::Syn => "syn",
            Self::Handshake => "handshake",
            Self::Ports => "ports",
            Self::Sizes => "sizes",
        }
    }
}

/// Suricata's flow state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One side only.
    New,
    /// Both sides.
    Established,
    /// Torn down.
    Closed,
}

impl State {
    /// The contract's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Established => "established",
            Self::Closed => "closed",
        }
    }
}

/// Why a flow ended; the numbers index counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Both sides said goodbye, or one reset, and the linger time has passed.
    Closed = 0,
    /// A new connection took its ports.
    Reused = 1,
    /// Idle for too long.
    Idle = 2,
    /// Made way for another at the capacity.
    Evicted = 3,
    /// The input ended.
    Eof = 4,
}

impl End {
    /// All of them, in order of their numbers.
    pub const ALL: [Self; 5] = [Self::Closed, Self::Reused, Self::Idle, Self::Evicted, Self::Eof];

    /// Name of the counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reused => "reused",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Eof => "eof",
        }
    }

    /// Suricata's `flow.reason`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Closed | Self::Reused | Self::Idle => "timeout",
            Self::Evicted => "forced",
            Self::Eof => "shutdown",
        }
    }
}

/// The part of a flow that every packet touches. With an IPv4 key it fills one cache line. Index 0 of pairs is the first end.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Hot {
    /// Time of the last packet, ns since the epoch.
    pub last_ns: i64,
    /// Bytes sent by each end.
    pub bytes: [u64; 2],
    /// Packets sent by each end, low 32 bits.
    pub packets: [u32; 2],
    /// Inspection, watch or verdict, see [`flag`]; before that, sequence number of the called side's first payload byte ([`flag::SYN_ACK`]).
    pub cold: u32,
    /// See [`flag`].
    pub flags: u16,
    /// Print of the last packet of each end, for span-port duplicates; 0 = none.
    pub print: [[u8; 3]; 2],
    /// Packets sent by each end, bits 32 to 39.
    pub packets_high: [u8; 2],
    /// Union of the TCP flags sent by each end.
    pub tcp_flags: [u8; 2],
}

impl Hot {
    /// Whether all bits of `bits` are set.
    #[inline]
    #[must_use]
    pub const fn has(&self, bits: u16) -> bool {
        self.flags & bits == bits
    }

    /// Counts a packet of `bytes` bytes from end `side`.
    #[inline]
    pub fn count(&mut self, side: usize, bytes: u32) {
        self.bytes[side] += u64::from(bytes);
        let (sum, carry) = self.packets[side].overflowing_add(1);
        self.packets[side] = sum;
        if carry {
            self.packets_high[side] = self.packets_high[side].saturating_add(1);
        }
    }

    /// The print of the last packet of end `side`, 24 bits; 0 = none.
    #[inline]
    #[must_use]
    pub const fn print(&self, side: usize) -> u32 {
        let [low, middle, high] = self.print[side];
        u32::from_le_bytes([low, middle, high, 0])
    }

    /// Notes the print of a packet of end `side`.
    #[inline]
    pub const fn set_print(&mut self, side: usize, print: u32) {
        let [low, middle, high, _] = print.to_le_bytes();
        self.print[side] = [low, middle, high];
    }

    /// Packets sent by end `side`.
    #[must_use]
    pub const fn packets(&self, side: usize) -> u64 {
        (self.packets_high[side] as u64) << 32 | self.packets[side] as u64
    }

    /// The end that opened the flow: 0 or 1.
    #[inline]
    #[must_use]
    pub const fn opener(&self) -> usize {
        (self.flags & flag::OPENER_B != 0) as usize
    }

    /// Names the opener.
    pub fn set_opener(&mut self, side: usize, basis: OpenerBasis) {
        self.flags &= !(flag::OPENER_B | flag::BASIS_MASK << flag::BASIS_SHIFT);
        self.flags |= (side as u16) << 1 | (basis as u16) << flag::BASIS_SHIFT;
    }

    /// How the opener was chosen.
    #[must_use]
    pub const fn basis(&self) -> OpenerBasis {
        match self.flags >> flag::BASIS_SHIFT & flag::BASIS_MASK {
            1 => OpenerBasis::Syn,
            2 => OpenerBasis::Handshake,
            3 => OpenerBasis::Ports,
            4 => OpenerBasis::Sizes,
            _ => OpenerBasis::First,
        }
    }

    /// Suricata's state of the flow.
    #[must_use]
    pub const fn state(&self) -> State {
        if self.has(flag::CLOSED) {
            State::Closed
        } else if self.has(flag::SYN_ACK) || self.has(flag::DATA_A | flag::DATA_B) {
            State::Established
        } else {
            State::New
        }
    }
}

/// What is known of a flow since its first packet. 48 bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Birth {
    /// Time of the first packet, ns since the epoch.
    pub first_ns: i64,
    /// Number of the first packet in its file or interface, 1-based.
    pub number: u64,
    /// Peeled layers, outermost first.
    pub encap: crate::decode::Encap,
    /// VLAN ids, outer first; 0 = none.
    pub vlan: [u16; 2],
    /// Which input it came from.
    pub input: u16,
    /// Position among the flows that its first packet belongs to: 0 for the outermost.
    pub layer: u8,
    /// `isn` was taken from a SYN.
    pub isn_known: bool,
    /// ICMP type and code of the first packet.
    pub icmp: [u8; 2],
    /// Sequence number of the opener's first payload byte.
    pub isn: u32,
    /// Position in the shard's list of entries; kept by the table.
    pub place: u32,
}

// SAFETY: integers, arrays of integers and a `bool` whose zero is false; `Encap` is a plain `Copy` array of bytes whose zero is the empty list.
unsafe impl Zeroed for Birth {}
