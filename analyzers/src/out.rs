//! What an analyzer says about its flow.

use crate::device::Said;
use crate::{Facts, Kind, Side};
use std::net::IpAddr;

/// Evidence kept of one flow: a bound on memory, more is counted.
pub const MAX_EVIDENCE: usize = 12;
/// Names kept between two calls: a bound on memory.
const MAX_NAMES: usize = 64;
/// Words of devices kept between two calls: a bound on memory.
const MAX_SAID: usize = 32;

/// What the recognition rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// The protocol's own opening was seen.
    #[default]
    Handshake,
    /// The capture began later: recognised from its data plane.
    Midstream,
    /// A name of the catalogue.
    Catalogue,
    /// Sizes, directions and times.
    Behaviour,
    /// An address list.
    Intel,
}

impl Basis {
    /// The contract's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Midstream => "midstream",
            Self::Catalogue => "catalogue",
            Self::Behaviour => "behaviour",
            Self::Intel => "intel",
        }
    }
}

/// One piece of evidence, tied to the packet that completed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was seen and what it weighs.
    pub kind: &'static Kind,
    /// The particulars, for a person: a version, a name, a size.
    pub detail: Box<str>,
    /// Number of the packet in its capture; set by the sensor.
    pub packet: u64,
}

/// A name that an answer gave to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The address.
    pub addr: IpAddr,
    /// The name asked for, lower case.
    pub name: Box<str>,
    /// Seconds the answer may be kept.
    pub ttl: u32,
}

/// What analyzers have said of one flow, and the channel by which a carrier hands on what rides in it.
#[derive(Debug, Default)]
pub struct Out {
    /// Metadata for the flow's record.
    pub facts: Facts,
    /// What was seen, in order; at most [`MAX_EVIDENCE`].
    pub evidence: Vec<Evidence>,
    /// Evidence beyond the bound.
    pub evidence_dropped: u32,
    /// The label the analyzer at work gives to its layer; unset until it is sure. May be more special than [`crate::Meta::label`].
    pub label: Option<&'static str>,
    /// Label of the service whose protocol this is, where the protocol itself tells: it stands beside `label`.
    pub brand: Option<&'static str>,
    /// What the label rests on.
    pub basis: Basis,
    /// The side that plays the protocol's client.
    pub client: Option<Side>,
    /// The side whose screen or shell is operated.
    pub controlled: Option<Side>,
    /// The catalogue name of the tool, where the protocol itself names it.
    pub tool: Option<&'static str>,
    /// Names learned since the sensor last took them.
    pub names: Vec<Name>,
    /// What devices said of themselves since the sensor last took it.
    pub said: Vec<Said>,
    /// Bytes of the inner stream, in the direction of the segment at work; taken by the sensor after each call.
    pub inner: Vec<u8>,
    /// What carries the inner bytes: a stream unless the carrier says that each call hands on one datagram.
    pub inner_is_datagram: bool,
    /// Number of the packet at work; set by the sensor.
    pub packet: u64,
}

impl Out {
    /// Records evidence seen in the packet at work.
    pub fn evidence(&mut self, kind: &'static Kind, detail: impl Into<Box<str>>) {
        if self.evidence.len() < MAX_EVIDENCE {
            self.evidence.push(Evidence { kind, detail: detail.into(), packet: self.packet });
        } else {
            self.evidence_dropped = self.evidence_dropped.saturating_add(1);
        }
    }

    /// Records that `addr` was given the name `name` for `ttl` seconds.
    pub fn name(&mut self, addr: IpAddr, name: &str, ttl: u32) {
        if self.names.len() < MAX_NAMES {
            self.names.push(Name { addr, name: name.into(), ttl });
        }
    }

    /// Records what a device says of itself.
    pub fn says(&mut self, said: Said) {
        if self.said.len() < MAX_SAID {
            self.said.push(said);
        }
    }

    /// Says that the flow carries `label`, seen by its opening.
    pub fn is(&mut self, label: &'static str) {
        self.label = Some(label);
    }
}
