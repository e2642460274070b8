//! Inspection: the payload of undecided flows, through the analyzers, to a verdict.
//!
//! In: payloads of flows that are not decided yet. Out: verdicts, names learned, and a notice whenever a flow's label changes.
//! State is pooled: it is taken for a flow's first payload and given back once the flow is decided. The number of flows under
//! inspection is bounded a shard, and so are the payload bytes they hold: at a bound the flow that has been silent longest makes
//! way, with what is known of it.

mod catalogue;
mod device;
mod layers;
mod order;
mod stream;
pub mod watch;

pub use catalogue::{KINDS as CATALOGUE_KINDS, LookedUp, NAMED};
pub use device::Clue;
pub use layers::{ProbeTable, Verdict};

use crate::catalog::Catalogue;
use crate::flow::SHARDS;
use farend_analyzers::{Dir, Name, Transport};
use layers::{Layers, Piece};
use order::Order;
use stream::Half;

/// Number of a flow under inspection.
pub type Slot = u32;

/// A payload of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Which way it went, seen from the side taken as opener.
    pub dir: Dir,
    /// Its captured bytes.
    pub bytes: &'a [u8],
    /// Its length on the wire.
    pub wire_len: u32,
    /// TCP sequence number of the first byte; unused for datagrams.
    pub seq: u32,
    /// Number of its packet, 1-based.
    pub packet: u64,
    /// Time of its packet, ns since the epoch.
    pub ts_ns: i64,
}

/// Places in the pool that keep their buffers from flow to flow; the low numbers are used first, so in ordinary traffic these
/// are all that is in use.
const KEEPING: Slot = 4_096;
/// Bytes of a buffer that is kept: most openings fit.
const KEPT: usize = 2_048;

/// What a payload changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The flow's label is another one now.
    pub label_changed: bool,
    /// Something tells of a device that told nothing before.
    pub clue: bool,
    /// Nothing more is wanted of the flow.
    pub done: bool,
}

/// The flow that an inspection belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Number of its entry.
    pub at: u32,
    /// Its entry is in the table of IPv6 flows.
    pub v6: bool,
}

/// How a flow begins, for its inspection.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// Whose inspection it is.
    pub owner: Owner,
    /// What carries it.
    pub transport: Transport,
    /// Its ports.
    pub ports: [u16; 2],
    /// Its beginning was seen.
    pub from_start: bool,
    /// Sequence number of the first payload byte of each direction, where its SYN was seen.
    pub first_seq: [Option<u32>; 2],
}

#[derive(Debug, Default)]
struct Inspection {
    shard: u8,
    owner: Owner,
    layers: Layers,
    halves: [Half; 2],
    stream: bool,
    from_start: bool,
    held: usize,
}

/// Payload that a shard may hold at least: what one flow's first bytes come to while a segment is missing.
const LEAST_BYTES: usize = 32 << 10;

/// Bounds, the same for every shard.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows under inspection in a shard.
    pub flows: u32,
    /// Payload bytes held in a shard.
    pub bytes: usize,
}

impl Limits {
    /// The bounds of one of `n` workers that part the flows of every shard among them.
    #[must_use]
    pub fn share(self, n: u32) -> Self {
        let (flows, bytes) = (self.flows / n.max(1), self.bytes / (n.max(1) as usize));
        Self { flows: flows.max(1), bytes: bytes.max(LEAST_BYTES.min(self.bytes)) }
    }
}

/// All inspections of one worker.
#[derive(Debug)]
pub struct Inspector {
    table: ProbeTable,
    limits: Limits,
    pool: Vec<Inspection>,
    free: Vec<Slot>,
    order: Order,
    flows: [u32; SHARDS],
    bytes: [usize; SHARDS],
}

impl Inspector {
    /// An inspector with these bounds, to which names are what this catalogue says.
    #[must_use]
    pub fn new(limits: Limits, catalogue: &'static Catalogue) -> Self {
        Self {
            table: ProbeTable::new(catalogue),
            limits,
            pool: Vec::new(),
            free: Vec::new(),
            order: Order::default(),
            flows: [0; SHARDS],
            bytes: [0; SHARDS],
        }
    }

    /// From now on names are what this catalogue says.
    pub const fn set_catalogue(&mut self, catalogue: &'static Catalogue) {
        self.table.set_catalogue(catalogue);
    }

    /// Whether any analyzer reads this transport.
    #[must_use]
    pub fn reads(&self, transport: Transport) -> bool {
        self.table.reads(transport)
    }

    /// The flow of a shard that has to make way, while the shard is beyond its bounds.
    #[inline]
    #[must_use]
    pub fn crowded(&self, shard: u8) -> Option<Owner> {
        let s = usize::from(shard);
        if self.flows[s] <= self.limits.flows && self.bytes[s] <= self.limits.bytes {
            return None;
        }
        self.order.oldest(shard).map(|slot| self.pool[slot as usize].owner)
    }

    /// Takes up a flow.
    pub fn begin(&mut self, shard: u8, begin: Begin) -> Slot {
        self.flows[usize::from(shard)] += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.pool.push(Inspection::default());
            (self.pool.len() - 1) as Slot
        });
        let hinted = self.table.hinted(begin.ports[0], begin.ports[1]);
        let it = &mut self.pool[slot as usize];
        (it.shard, it.owner, it.held, it.stream, it.from_start) =
            (shard, begin.owner, 0, begin.transport.is_stream(), begin.from_start);
        it.layers.reset(&self.table, begin.transport, hinted, begin.from_start);
        for (half, first) in it.halves.iter_mut().zip(begin.first_seq) {
            half.reset();
            if let Some(seq) = first {
                half.start_at(seq);
            }
        }
        self.order.add(shard, slot);
        slot
    }

    /// Feeds a payload; `each_name` gets the names that answers in it gave to addresses.
    pub fn feed(&mut self, slot: Slot, payload: &Payload<'_>, each_name: impl FnMut(Name)) -> Progress {
        let Self { table, pool, .. } = self;
        let it = &mut pool[slot as usize];
        let dir = payload.dir;
        if it.stream {
            let half = &mut it.halves[dir.index()];
            if !half.started() {
                if it.from_start {
                    half.start_at(payload.seq);
                } else {
                    half.start_in_the_middle(payload.seq);
                }
            }
            let layers = &mut it.layers;
            half.push(payload.seq, payload.bytes, payload.packet, payload.ts_ns, |run| {
                layers.feed(
                    table,
                    Piece {
                        dir,
                        bytes: run.bytes,
                        wire_len: run.bytes.len(),
                        gap: run.gap,
                        packet: run.packet,
                        ts_ns: run.ts_ns,
                    },
                );
            });
        } else {
            it.layers.feed(
                table,
                Piece {
                    dir,
                    bytes: payload.bytes,
                    wire_len: payload.wire_len as usize,
                    gap: false,
                    packet: payload.packet,
                    ts_ns: payload.ts_ns,
                },
            );
        }
        it.layers.take_names(each_name);
        let held = it.layers.held_bytes() + it.halves[0].held_bytes() + it.halves[1].held_bytes();
        let total = &mut self.bytes[usize::from(it.shard)];
        *total = *total - it.held + held;
        it.held = held;
        self.order.fed(it.shard, slot);
        let (label_changed, clue) = (it.layers.label_changed(), it.layers.clue_came());
        Progress { label_changed, clue, done: it.layers.done() }
    }

    /// Whether a flow has a label so far.
    #[must_use]
    pub fn labelled(&self, slot: Slot) -> bool {
        self.pool[slot as usize].layers.labelled()
    }

    /// What is known of a flow so far.
    #[must_use]
    pub fn verdict(&self, slot: Slot) -> Verdict {
        self.pool[slot as usize].layers.verdict()
    }

    /// Lets a flow go: held segments are read, then its verdict is handed back.
    pub fn end(&mut self, slot: Slot, mut each_name: impl FnMut(Name)) -> Verdict {
        let Self { table, pool, .. } = self;
        let it = &mut pool[slot as usize];
        if it.stream && !it.layers.done() {
            for dir in [Dir::ToServer, Dir::ToClient] {
                let layers = &mut it.layers;
                it.halves[dir.index()].finish(|run| {
                    layers.feed(
                        table,
                        Piece {
                            dir,
                            bytes: run.bytes,
                            wire_len: run.bytes.len(),
                            gap: run.gap,
                            packet: run.packet,
                            ts_ns: run.ts_ns,
                        },
                    );
                });
            }
            it.layers.take_names(&mut each_name);
        }
        let verdict = it.layers.verdict();
        let shard = usize::from(it.shard);
        self.flows[shard] -= 1;
        self.bytes[shard] -= it.held;
        it.held = 0;
        self.order.remove(it.shard, slot);
        let keep = if slot < KEEPING { KEPT } else { 0 };
        it.layers.shed(keep);
        it.halves.iter_mut().for_each(|half| half.shed(keep));

        self.free.push(slot);
        verdict
    }
}
