//! Protocol analyzers: payload bytes in, evidence out.
//!
//! Pure code: no I/O, no clock, no threads, no `unsafe`. The sensor owns flows, reassembly and time and calls in here with
//! [`Segment`]s; an analyzer answers through [`Out`] (what it learned) and [`Next`] (how to go on).
//!
//! **An analyzer is one file in `src/proto/`**: wire format, probe, state machine, [`Meta`], fixtures and tests. `build.rs`
//! scans the folder and generates the registry ([`METAS`], [`probe`], [`Running`]), so adding one touches no other file.
//! Such a file holds a `pub struct State` that implements [`Analyzer`] and, under `#[cfg(test)]`, a
//! `pub(crate) const FIXTURES: &[Fixture]`, which the compliance test runs against every other analyzer.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::arithmetic_side_effects
    )
)]

pub mod certificate;
pub mod decibans;
pub mod device;
pub mod dns_message;
mod facts;
pub mod fingerprint;
pub mod http_head;
pub mod http_tool;
pub mod inside_tls;
mod label;
mod novnc;
mod out;
mod page;
pub mod pieces;
pub mod quic_initial;
mod reader;
pub mod shape;
pub mod tls_handshake;
pub mod tls_record;

#[cfg(test)]
mod compliance;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
pub(crate) mod test_vectors;

pub use facts::{Dns, DnsAnswer, DnsQuery, Facts, Hassh, Http, Ja3, Quic, Ssh, SshSide, Stun, Tls};
pub use label::{Category, LABELS, LabelInfo, Labels, Layer, MAX_LABELS, label_info, resolve};
pub use out::{Basis, Evidence, MAX_EVIDENCE, Name, Out};
pub use reader::{Reader, Short};

include!(concat!(env!("OUT_DIR"), "/registry.rs"));

/// What all analyzers and all rules for what is inside TLS say of themselves, sorted by name.
#[must_use]
pub fn metas() -> Vec<&'static Meta> {
    let mut all: Vec<_> = METAS.iter().chain(&inside_tls::METAS).copied().collect();
    all.sort_unstable_by_key(|meta| meta.name);
    all
}

/// Position of an analyzer in [`METAS`]. Internal to one build: outputs use [`Meta::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub usize);

/// What carries the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A byte stream: TCP, or the inside of another analyzer's stream.
    Tcp,
    /// Datagrams: one call is one UDP payload.
    Udp,
    /// Packets of another IP protocol, by its number: one call is one packet's payload behind the IP header.
    Ip(u8),
}

impl Transport {
    /// Whether it is a byte stream; all others come packet by packet.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp)
    }
}

/// Direction of a segment, seen from the side that opened the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// Sent by the opener.
    ToServer,
    /// Sent to the opener.
    ToClient,
}

impl Dir {
    /// 0 for to-server, 1 for to-client.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }

    /// The other direction.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// Who sends in this direction.
    #[must_use]
    pub const fn sender(self) -> Side {
        match self {
            Self::ToServer => Side::Src,
            Self::ToClient => Side::Dest,
        }
    }

    /// Who receives in this direction.
    #[must_use]
    pub const fn receiver(self) -> Side {
        self.reverse().sender()
    }
}

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that opened the flow.
    Src,
    /// The side that was called.
    Dest,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Src => Self::Dest,
            Self::Dest => Self::Src,
        }
    }
}

/// Bytes for an analyzer that was chosen for the flow.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Which way they went.
    pub dir: Dir,
    /// Stream or datagram.
    pub transport: Transport,
    /// Stream: every byte in order that was not consumed yet, the oldest first. Datagram: its whole payload (possibly cut by the
    /// snap length, see [`Segment::wire_len`]).
    pub data: &'a [u8],
    /// Payload length on the wire of a datagram; for a stream the length of `data`.
    pub wire_len: usize,
    /// Stream only: bytes before `data` were lost (dropped, or the capture began later). Set once, on the first segment after it.
    pub gap: bool,
    /// Time of the packet that completed `data`, in nanoseconds since the epoch. Only differences mean anything to an analyzer.
    pub ts_ns: i64,
}

/// A question: could this payload be yours?
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Which way `data` went.
    pub dir: Dir,
    /// Stream or datagram.
    pub transport: Transport,
    /// Payload of this direction so far, from its first byte (stream: up to 2 KiB; datagram: this one).
    pub data: &'a [u8],
    /// Payload length on the wire of a datagram; for a stream the length of `data`.
    pub wire_len: usize,
    /// Stream: what the other direction has sent so far. Datagram: the first datagram of the other direction; empty if none.
    pub other: &'a [u8],
    /// The first datagram of this direction, where `data` is a later one; empty if it is the first, and for a stream.
    pub earlier: &'a [u8],
    /// The flow's beginning was seen, so `data` is the first payload of its direction.
    pub from_start: bool,
    /// One of the flow's ports is in [`Meta::ports`]. A hint that may break a tie, never a reason by itself.
    pub port_hint: bool,
}

/// Answer to a [`Probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is mine: hand me the flow.
    Yes,
    /// It may be: ask again when more has come, in either direction.
    More,
    /// It is not.
    No,
}

/// How to go on after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// `consumed` bytes of `data` are done with (a datagram always is); the rest comes again with more behind it.
    Continue {
        /// At most `data.len()`.
        consumed: usize,
    },
    /// Nothing more is wanted of this flow.
    Done,
    /// It was not mine after all: forget what I said.
    NotMine,
}

/// Set of values that the first payload byte can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBytes(pub [u64; 4]);

impl FirstBytes {
    /// Any byte.
    pub const ANY: Self = Self([u64::MAX; 4]);

    /// Exactly these bytes.
    #[must_use]
    #[allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects)] // const fn; indices are < 4 and < len by construction
    pub const fn of(bytes: &[u8]) -> Self {
        let mut set = [0u64; 4];
        let mut i = 0;
        while i < bytes.len() {
            set[(bytes[i] >> 6) as usize] |= 1 << (bytes[i] & 63);
            i += 1;
        }
        Self(set)
    }

    /// The bytes `from..=to`.
    #[must_use]
    #[allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects)] // const fn; indices are < 4 by construction
    pub const fn range(from: u8, to: u8) -> Self {
        let mut set = [0u64; 4];
        let mut b = from as u16;
        while b <= to as u16 {
            set[(b >> 6) as usize] |= 1 << (b & 63);
            b += 1;
        }
        Self(set)
    }

    /// Whether `byte` is in the set.
    #[must_use]
    pub fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|w| w & (1 << (byte & 63)) != 0)
    }
}

/// One kind of evidence that an analyzer can give, for its documentation and for weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Dotted name, `analyzer.what`, as in the `evidence` array of records.
    pub name: &'static str,
    /// 10·log10(P(seen | label right) / P(seen | label wrong)).
    pub decibans: i16,
    /// What it means and where the figure comes from, in a sentence.
    pub says: &'static str,
}

/// What an analyzer is, for the registry, `analyzers list`, the docs and the probe table.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// The file's name.
    pub name: &'static str,
    /// The protocol's name as its authors write it.
    pub title: &'static str,
    /// The label of `config/labels.tsv` it gives; `None` for protocols that carry no label of their own (TLS, DNS, HTTP).
    pub label: Option<&'static str>,
    /// Suricata's `app_proto` name; `failed` where Suricata has none.
    pub app_proto: &'static str,
    /// What it can run on.
    pub transports: &'static [Transport],
    /// Usual server ports: a hint for the order of probing, never evidence by itself.
    pub ports: &'static [u16],
    /// Values of the first payload byte of the direction that [`Analyzer::probe`] can say `Yes` to.
    pub first: FirstBytes,
    /// Payload bytes a direction after which the sensor stops feeding it, at most 65,536.
    pub budget: u32,
    /// Other protocols ride in it: its own label yields to a desktop inside and leads before any other inner label.
    pub carrier: bool,
    /// The specification.
    pub reference: &'static str,
    /// All evidence it can give.
    pub evidence: &'static [Kind],
}

/// A protocol analyzer: one file in `src/proto/`.
pub trait Analyzer: Default {
    /// What it is.
    const META: Meta;
    /// Could this payload be mine? Must be cheap and hold for hostile bytes; called for the first payloads of an undecided flow
    /// (≤ 4 packets or 2 KiB a direction).
    fn probe(p: &Probe<'_>) -> Verdict;
    /// The next bytes of a flow that was given to this analyzer, from the first byte on.
    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next;
}
