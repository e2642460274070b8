//! Counters that add up (the conservation equations).

use hdrhistogram::Histogram;

use crate::decode::{Ignored, Layer, Why};
use crate::flow::End;

/// Why a decoded packet belongs to no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Untracked {
    /// A second copy of a frame that a span port delivered twice.
    Duplicate = 0,
    /// No memory for one more flow.
    NoRoom = 1,
}

impl Untracked {
    /// All of them, in order of their numbers.
    pub const ALL: [Self; 2] = [Self::Duplicate, Self::NoRoom];

    /// Name of the counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::NoRoom => "no_room",
        }
    }
}

/// The splitter's counters: frames.
#[derive(Clone, Debug)]
pub struct DecodeCounters {
    /// Frames from the sources.
    pub delivered: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Frames with at least one packet of a flow.
    pub decoded: u64,
    /// Fragments held for the rest of their datagram.
    pub fragments_held: u64,
    /// Packets beyond the first of their frame: an inner flow beside its tunnel.
    pub inner: u64,
    /// By reason.
    pub ignored: [u64; Ignored::COUNT],
    /// By layer and reason.
    pub malformed: Vec<[u64; Why::COUNT]>,
    /// IPv4 packets, IPv6 packets (innermost of each flow).
    pub ip: [u64; 2],
    /// Frames longer than any Ethernet link carries: a card or the kernel joined them.
    pub oversize: u64,
}

impl Default for DecodeCounters {
    fn default() -> Self {
        Self {
            delivered: 0,
            bytes: 0,
            decoded: 0,
            fragments_held: 0,
            inner: 0,
            ignored: [0; Ignored::COUNT],
            malformed: vec![[0; Why::COUNT]; Layer::COUNT],
            ip: [0; 2],
            oversize: 0,
        }
    }
}

impl DecodeCounters {
    /// Adds another splitter's.
    pub fn add(&mut self, other: &Self) {
        let Self { delivered, bytes, decoded, fragments_held, inner, ignored, malformed, ip, oversize } =
            other;
        for (mine, theirs) in [
            (&mut self.delivered, delivered),
            (&mut self.bytes, bytes),
            (&mut self.decoded, decoded),
            (&mut self.fragments_held, fragments_held),
            (&mut self.inner, inner),
            (&mut self.oversize, oversize),
        ] {
            *mine += theirs;
        }
        self.ignored.iter_mut().zip(ignored).for_each(|(mine, theirs)| *mine += theirs);
        self.ip.iter_mut().zip(ip).for_each(|(mine, theirs)| *mine += theirs);
        let rows = self.malformed.iter_mut().zip(malformed);
        rows.for_each(|(mine, theirs)| mine.iter_mut().zip(theirs).for_each(|(m, t)| *m += t));
    }

    /// Malformed frames of all layers and reasons.
    #[must_use]
    pub fn malformed_total(&self) -> u64 {
        self.malformed.iter().flatten().sum()
    }

    /// Ignored frames of all reasons.
    #[must_use]
    pub fn ignored_total(&self) -> u64 {
        self.ignored.iter().sum()
    }

    /// delivered = decoded + held fragments + malformed + ignored.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.delivered == self.decoded + self.fragments_held + self.malformed_total() + self.ignored_total()
    }
}

/// What a source and its splitter have counted.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// Frames.
    pub decode: DecodeCounters,
    /// Steps back in time, jumps not believed, jumps believed.
    pub time: [u64; 3],
    /// Earliest and latest timestamp, ns since the epoch.
    pub span: Option<[i64; 2]>,
    /// Some packet had a private address.
    pub private_seen: bool,
    /// The source's own.
    pub source: crate::source::Counters,
    /// How full the room was in which frames wait, at most since the tick before, per cent.
    pub fullness: u8,
    /// Nanoseconds that batches took, one value a batch; where somebody tells it while the run goes on.
    pub latency: Option<Histogram<u64>>,
}

impl Front {
    /// Adds another one's: of a part of the same traffic.
    pub fn add(&mut self, other: &Self) {
        self.decode.add(&other.decode);
        self.time.iter_mut().zip(other.time).for_each(|(mine, theirs)| *mine += theirs);
        self.span = match (self.span, other.span) {
            (Some([a, b]), Some([c, d])) => Some([a.min(c), b.max(d)]),
            (mine, theirs) => mine.or(theirs),
        };
        self.private_seen |= other.private_seen;
        self.source.add(&other.source);
        self.fullness = self.fullness.max(other.fullness);
        if let Some(theirs) = &other.latency {
            match &mut self.latency {
                // Of equal bounds: they are made in one place.
                Some(mine) => drop(mine.add(theirs)),
                None => self.latency = Some(theirs.clone()),
            }
        }
    }
}

/// A worker's counters: packets and flows.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets received.
    pub received: u64,
    /// Packets counted to a flow.
    pub tracked: u64,
    /// Packets counted to none.
    pub untracked: [u64; Untracked::ALL.len()],
    /// Flows opened.
    pub opened: u64,
    /// Flows ended, by reason.
    pub closed: [u64; End::ALL.len()],
    /// Flows in the table.
    pub live: u64,
    /// Flows opened by protocol: TCP, UDP, ICMP, ICMPv6, others.
    pub by_proto: [u64; 5],
    /// Flows that were inspected.
    pub inspected: u64,
    /// Flows not inspected, or not to their end, since their shard held too much.
    pub uninspected: u64,
    /// Times that a flow was taken under watch for its shape, and that there was no place for it.
    pub watched: u64,
    /// See [`Self::watched`].
    pub unwatched: u64,
    /// Flows of which only one side was seen although it sent payload or got an answer's acknowledgment.
    pub one_sided: u64,
    /// Evidence found, and evidence beyond the bound of its flow.
    pub evidence: [u64; 2],
    /// Left out under overload: looks at a flow's shape, new flows' content, payloads of flows whose content was under way.
    pub shed: [u64; 3],
}

impl Counters {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        fn each<const N: usize>(mine: &mut [u64; N], theirs: &[u64; N]) {
            mine.iter_mut().zip(theirs).for_each(|(m, t)| *m += t);
        }
        self.received += other.received;
        self.tracked += other.tracked;
        self.opened += other.opened;
        self.live += other.live;
        self.inspected += other.inspected;
        self.uninspected += other.uninspected;
        self.watched += other.watched;
        self.unwatched += other.unwatched;
        self.one_sided += other.one_sided;
        each(&mut self.untracked, &other.untracked);
        each(&mut self.closed, &other.closed);
        each(&mut self.by_proto, &other.by_proto);
        each(&mut self.evidence, &other.evidence);
        each(&mut self.shed, &other.shed);
    }

    /// received = tracked + untracked; opened = closed + live.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.received == self.tracked + self.untracked.iter().sum::<u64>()
            && self.opened == self.closed.iter().sum::<u64>() + self.live
    }
}
