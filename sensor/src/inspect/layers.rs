//! The protocol layers of one flow: probing, the analyzer at work on each, and the bytes between them.
//!
//! Layer 0 reads the flow itself; a carrier (WebSocket, RDP before its TLS, SOCKS…) hands the stream inside on to the next layer,
//! which is probed like a flow of its own.

use super::catalogue::{LookedUp, Matched};
use super::device::Clue;
use crate::catalog::Catalogue;
use crate::decode::proto;
use farend_analyzers::{
    Basis, Dir, Evidence, Facts, Id, Labels, Layer as LabelLayer, METAS, Meta, Name, Next, Out, Probe,
    Running, Segment, Side, Transport, Verdict as Answer, decibans, probe, resolve,
};

/// Layers of one flow (contract: four labels at most).
const MAX_LAYERS: usize = 4;
/// Payload bytes a direction within which an analyzer must be chosen.
const PROBE_BYTES: usize = 2_048;
/// Payload packets a direction that are probed.
const PROBE_PACKETS: u8 = 4;
/// Payload packets of both directions after which a flow that nobody took is let go.
const GIVE_UP_PACKETS: u8 = 12;

/// A bit for each analyzer.
type Set = u128;

/// Which analyzers to ask, by transport and first payload byte or port.
#[derive(Debug)]
pub struct ProbeTable {
    by_byte: Box<[[Set; 256]; KINDS]>,
    by_port: std::collections::HashMap<u16, Set>,
    all: [Set; KINDS],
    /// Whose names are whose.
    catalogue: &'static Catalogue,
}

impl ProbeTable {
    /// From now on names are what this catalogue says.
    pub(super) const fn set_catalogue(&mut self, catalogue: &'static Catalogue) {
        self.catalogue = catalogue;
    }

    /// A table of all analyzers, with this catalogue.
    pub fn new(catalogue: &'static Catalogue) -> Self {
        let mut table = Self {
            by_byte: Box::new([[0; 256]; KINDS]),
            by_port: Default::default(),
            all: [0; KINDS],
            catalogue,
        };
        for (i, meta) in METAS.iter().enumerate() {
            let bit: Set = 1 << i;
            for transport in meta.transports {
                let t = transport_index(*transport);
                table.all[t] |= bit;
                for byte in 0..=255u8 {
                    if meta.first.has(byte) {
                        table.by_byte[t][usize::from(byte)] |= bit;
                    }
                }
            }
            for port in meta.ports {
                *table.by_port.entry(*port).or_default() |= bit;
            }
        }
        table
    }
}

/// Transports that analyzers are told apart by.
const KINDS: usize = 7;

const fn transport_index(transport: Transport) -> usize {
    match transport {
        Transport::Tcp => 0,
        Transport::Udp => 1,
        Transport::Ip(proto::GRE) => 2,
        Transport::Ip(proto::ESP) => 3,
        Transport::Ip(proto::AH) => 4,
        Transport::Ip(proto::ICMP | proto::ICMPV6) => 5,
        Transport::Ip(_) => 6,
    }
}

impl ProbeTable {
    /// Analyzers that name one of these ports.
    pub fn hinted(&self, a: u16, b: u16) -> Set {
        let of = |port| self.by_port.get(&port).copied().unwrap_or(0);
        of(a) | of(b)
    }

    /// Whether any analyzer reads this transport.
    pub fn reads(&self, transport: Transport) -> bool {
        self.all[transport_index(transport)] != 0
    }
}

/// A payload on its way into a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) dir: Dir,
    pub(super) bytes: &'a [u8],
    pub(super) wire_len: usize,
    pub(super) gap: bool,
    pub(super) packet: u64,
    pub(super) ts_ns: i64,
}

#[derive(Debug, Default)]
struct Layer {
    transport: Option<Transport>,
    running: Option<Running>,
    out: Out,
    matched: Matched,
    /// Stream bytes not consumed yet; for datagrams the first one of each direction while nobody has been chosen.
    pending: [Vec<u8>; 2],
    fed: [u32; 2],
    candidates: Set,
    packets: [u8; 2],
    total: u8,
    /// Number and time of the last packet in `pending`.
    pending_at: [(u64, i64); 2],
    lost_start: [bool; 2],
    first: Option<Dir>,
    done: bool,
    /// The analyzer has read all it wants; whether the other side answers is still to be seen.
    overheard: bool,
}

impl Layer {
    fn reset(&mut self, transport: Transport, candidates: Set) {
        let (mut pending, mut inner) =
            (std::mem::take(&mut self.pending), std::mem::take(&mut self.out.inner));
        pending.iter_mut().for_each(Vec::clear);
        inner.clear();
        *self = Self { transport: Some(transport), candidates, pending, ..Self::default() };
        self.out.inner = inner;
    }

    /// Looks up in the catalogue what the facts show by now.
    fn look(&mut self, table: &ProbeTable) {
        self.matched.look(table.catalogue, &mut self.out, self.fed[0] > 0 && self.fed[1] > 0);
    }

    /// Counts a payload that the analyzer at work does not want: it has read all, but nobody has answered yet.
    fn overhear(&mut self, table: &ProbeTable, piece: &Piece<'_>) {
        let fed = &mut self.fed[piece.dir.index()];
        *fed = fed.saturating_add(u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX));
        self.total = self.total.saturating_add(1);
        self.look(table);
        self.done = !self.matched.waits() || self.total >= GIVE_UP_PACKETS;
    }

    /// The label that its analyzer gives, and that of the tool whose names it shows.
    fn labels(&self) -> [Option<&'static str>; 2] {
        [self.out.label, self.out.brand.or_else(|| self.matched.label().map(|info| info.label))]
    }

    fn meta(&self) -> Option<&'static Meta> {
        self.running.as_ref().and_then(|r| METAS.get(r.id().0)).copied()
    }
}

/// What inspection of a flow came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Labels of the layers.
    pub labels: Labels,
    /// What the label rests on.
    pub basis: Basis,
    /// Sum of the evidence for the label, in decibans.
    pub decibans: i32,
    /// Side that plays the protocol's client.
    pub client: Option<Side>,
    /// Side that is operated.
    pub controlled: Option<Side>,
    /// Catalogue name of the tool.
    pub tool: Option<&'static str>,
    /// Handshake metadata.
    pub facts: Facts,
    /// Evidence in order.
    pub evidence: Vec<Evidence>,
    /// Ports on which the outermost protocol is usually called; empty when none was recognised.
    pub usual_ports: &'static [u16],
    /// Session names of tools that were looked up.
    pub looked_up: Vec<LookedUp>,
    /// What tells devices.
    pub clues: Vec<Clue>,
    /// Pieces of evidence beyond the bound of a layer.
    pub evidence_dropped: u32,
    /// Suricata's name of the outermost protocol; empty when none was recognised.
    pub app_proto: &'static str,
}

impl Verdict {
    /// Probability that the label is right, in thousandths.
    #[must_use]
    pub fn confidence(&self) -> u16 {
        decibans::per_mille(self.decibans)
    }

    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.label.is_none() && self.evidence.is_empty() && self.app_proto.is_empty()
    }

    /// The other side opened the flow after all: swaps the sides.
    pub fn flip(&mut self) {
        self.client = self.client.map(Side::other);
        self.clues.iter_mut().for_each(|clue| clue.by = clue.by.map(Side::other));
        self.controlled = self.controlled.map(Side::other);
    }
}

/// The layers of one flow.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    used: usize,
    hinted: Set,
    from_start: bool,
    /// The label that was reported last.
    reported: Option<&'static str>,
    /// Clues to devices that were reported.
    clues: usize,
}

impl Layers {
    /// Begins anew with an unknown flow.
    pub(super) fn reset(&mut self, table: &ProbeTable, transport: Transport, hinted: Set, from_start: bool) {
        (self.used, self.hinted, self.from_start, self.reported) = (0, hinted, from_start, None);
        self.clues = 0;
        self.open_layer(table, transport);
    }

    fn open_layer(&mut self, table: &ProbeTable, transport: Transport) {
        if self.used == self.layers.len() {
            self.layers.push(Layer::default());
        }
        if let Some(layer) = self.layers.get_mut(self.used) {
            layer.reset(transport, table.all[transport_index(transport)]);
        }
        self.used += 1;
    }

    /// Nothing more is wanted of the flow.
    pub(super) fn done(&self) -> bool {
        self.layers.iter().take(self.used).all(|l| l.done) || self.layers.first().is_none_or(|l| l.done)
    }

    /// Payload bytes held: those waiting here, and what the analyzer at work may have kept of what it was fed. Of layers inside each
    /// other the one that was fed most counts: whoever hands bytes on keeps none.
    pub(super) fn held_bytes(&self) -> usize {
        let layers = || self.layers.iter().take(self.used);
        let waiting: usize = layers().map(|l| l.pending[0].len() + l.pending[1].len()).sum();
        let reading = layers().filter(|l| l.running.is_some() && !l.done);
        waiting + reading.map(|l| l.fed[0] as usize + l.fed[1] as usize).max().unwrap_or(0)
    }

    /// Gives back the memory of buffers that are larger than `keep` bytes; with 0 of everything.
    pub(super) fn shed(&mut self, keep: usize) {
        if keep == 0 {
            *self = Self::default();
        }
        for buffer in self.layers.iter_mut().flat_map(|l| l.pending.iter_mut().chain([&mut l.out.inner])) {
            if buffer.capacity() > keep {
                *buffer = Vec::new();
            }
        }
    }

    /// Feeds a payload to layer 0.
    pub(super) fn feed(&mut self, table: &ProbeTable, piece: Piece<'_>) {
        self.feed_layer(table, 0, piece);
    }

    fn feed_layer(&mut self, table: &ProbeTable, depth: usize, piece: Piece<'_>) {
        let Some(layer) = self.layers.get_mut(depth).filter(|l| !l.done) else { return };
        let d = piece.dir.index();
        layer.out.packet = piece.packet;
        if piece.gap {
            layer.pending[d].clear();
            layer.lost_start[d] = true;
        }
        if layer.overheard {
            layer.overhear(table, &piece);
            return;
        }
        if layer.running.is_some() {
            self.run(table, depth, piece);
            return;
        }
        layer.first.get_or_insert(piece.dir);
        layer.packets[d] = layer.packets[d].saturating_add(1);
        layer.total = layer.total.saturating_add(1);
        let stream = layer.transport.is_some_and(Transport::is_stream);
        let room = PROBE_BYTES.saturating_sub(layer.pending[d].len());
        let fits = piece.bytes.len().min(room);
        let whole = !stream || fits == piece.bytes.len();
        if stream {
            layer.pending[d].extend_from_slice(&piece.bytes[..fits]);
            layer.pending_at[d] = (piece.packet, piece.ts_ns);
        }
        let chosen = self.ask(table, depth, piece);
        let Some(layer) = self.layers.get_mut(depth) else { return };
        if let Some(id) = chosen {
            layer.running = Running::start(id);
            let order = [layer.first.unwrap_or(piece.dir), layer.first.unwrap_or(piece.dir).reverse()];
            for dir in order {
                let Some(layer) = self.layers.get_mut(depth) else { return };
                let mut bytes = std::mem::take(&mut layer.pending[dir.index()]);
                let (packet, ts_ns) = layer.pending_at[dir.index()];
                let gap = layer.lost_start[dir.index()];
                layer.out.packet = packet;
                let earlier = Piece { dir, bytes: &bytes, wire_len: bytes.len(), gap, packet, ts_ns };
                if !bytes.is_empty() {
                    self.run(table, depth, earlier);
                }
                if let Some(layer) = self.layers.get_mut(depth)
                    && layer.pending[dir.index()].is_empty()
                {
                    bytes.clear();
                    layer.pending[dir.index()] = bytes;
                }
            }
            if let Some(layer) = self.layers.get_mut(depth) {
                layer.out.packet = piece.packet;
            }
            if !stream {
                self.run(table, depth, piece);
            } else if !whole {
                self.run(table, depth, Piece { bytes: &piece.bytes[fits..], gap: false, ..piece });
            }
            return;
        }
        if !stream && layer.pending[d].is_empty() {
            layer.pending[d].extend_from_slice(&piece.bytes[..piece.bytes.len().min(PROBE_BYTES)]);
            layer.pending_at[d] = (piece.packet, piece.ts_ns);
        }
        let exhausted = |d: usize| layer.packets[d] >= PROBE_PACKETS || layer.pending[d].len() >= PROBE_BYTES;
        if layer.candidates == 0 || exhausted(0) && exhausted(1) || layer.total >= GIVE_UP_PACKETS {
            layer.done = true;
        }
    }

    /// Asks the analyzers that may own this payload.
    fn ask(&mut self, table: &ProbeTable, depth: usize, piece: Piece<'_>) -> Option<Id> {
        let (hinted, from_start) = (if depth == 0 { self.hinted } else { 0 }, self.from_start);
        let layer = self.layers.get_mut(depth)?;
        let transport = layer.transport?;
        let d = piece.dir.index();
        let data: &[u8] = if transport.is_stream() { &layer.pending[d] } else { piece.bytes };
        let first = *data.first()?;
        if layer.packets[d] > PROBE_PACKETS {
            return None;
        }
        let eligible = layer.candidates & table.by_byte[transport_index(transport)][usize::from(first)];
        // Content decides; only what it leaves open may go by a port.
        let rounds = [(eligible & hinted, false), (eligible & !hinted, false), (eligible & hinted, true)];
        for (group, port_hint) in rounds {
            let mut left = group;
            while left != 0 {
                let i = left.trailing_zeros();
                left &= left - 1;
                let question = Probe {
                    dir: piece.dir,
                    transport,
                    data,
                    wire_len: if transport.is_stream() { data.len() } else { piece.wire_len },
                    other: &layer.pending[1 - d],
                    earlier: if transport.is_stream() { &[] } else { &layer.pending[d] },
                    from_start: from_start && !layer.lost_start[d],
                    port_hint,
                };
                match probe(Id(i as usize), &question) {
                    Answer::Yes => return Some(Id(i as usize)),
                    Answer::More => {}
                    Answer::No if !port_hint && hinted & (1 << i) != 0 => {}
                    Answer::No => layer.candidates &= !(1 << i),
                }
            }
        }
        None
    }

    /// Hands a payload to the analyzer at work, and what it hands on to the next layer.
    fn run(&mut self, table: &ProbeTable, depth: usize, piece: Piece<'_>) {
        let Some(layer) = self.layers.get_mut(depth).filter(|l| !l.done) else { return };
        let (Some(transport), Some(meta)) = (layer.transport, layer.meta()) else { return };
        let Some(running) = layer.running.as_mut() else { return };
        let d = piece.dir.index();
        let mut pending = std::mem::take(&mut layer.pending[d]);
        let buffered = transport.is_stream() && !pending.is_empty();
        if buffered {
            pending.extend_from_slice(piece.bytes);
        }
        let data: &[u8] = if buffered { &pending } else { piece.bytes };
        let wire_len = if transport.is_stream() { data.len() } else { piece.wire_len };
        let segment =
            Segment { dir: piece.dir, transport, data, wire_len, gap: piece.gap, ts_ns: piece.ts_ns };
        let next = running.on_data(&segment, &mut layer.out);
        layer.fed[d] = layer.fed[d].saturating_add(u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX));
        let mut kept_from = data.len();
        match next {
            Next::Continue { consumed } if transport.is_stream() => kept_from = consumed.min(data.len()),
            Next::Continue { .. } => {}
            Next::Done => layer.done = true,
            Next::NotMine => {
                layer.done = true;
                layer.running = None;
                layer.out = Out { inner: std::mem::take(&mut layer.out.inner), ..Out::default() };
                layer.out.inner.clear();
                layer.matched = Matched::default();
            }
        }
        layer.look(table);
        if layer.done && layer.matched.waits() {
            (layer.done, layer.overheard) = (false, true);
        }
        if buffered {
            pending.drain(..kept_from);
        } else if kept_from < piece.bytes.len() {
            pending.extend_from_slice(&piece.bytes[kept_from..]);
        }
        if layer.fed[d] >= meta.budget {
            layer.done = true;
        }
        layer.pending[d] = pending;
        let mut inner = std::mem::take(&mut layer.out.inner);
        if !inner.is_empty() {
            let transport = if layer.out.inner_is_datagram { Transport::Udp } else { Transport::Tcp };
            if depth + 1 == self.used && self.used < MAX_LAYERS {
                self.open_layer(table, transport);
            }
            self.feed_layer(
                table,
                depth + 1,
                Piece { bytes: &inner, wire_len: inner.len(), gap: false, ..piece },
            );
            inner.clear();
        }
        if let Some(layer) = self.layers.get_mut(depth) {
            layer.out.inner = inner;
        }
    }

    /// Names learned since the last call.
    pub(super) fn take_names(&mut self, mut each: impl FnMut(Name)) {
        for layer in self.layers.iter_mut().take(self.used) {
            layer.out.names.drain(..).for_each(&mut each);
        }
    }

    /// Whether the label differs from the one at the last call.
    pub(super) fn label_changed(&mut self) -> bool {
        let label = self.labels().label;
        label != std::mem::replace(&mut self.reported, label)
    }

    /// Whether there are more clues to devices than at the last call.
    pub(super) fn clue_came(&mut self) -> bool {
        let clues = self.layers.iter().take(self.used).map(|l| l.matched.clues().len()).sum();
        clues > std::mem::replace(&mut self.clues, clues)
    }

    /// Whether there was a label at the last call of [`Layers::label_changed`].
    pub(super) const fn labelled(&self) -> bool {
        self.reported.is_some()
    }

    fn labels(&self) -> Labels {
        if self.layers.iter().take(self.used).all(|l| l.labels() == [None; 2]) {
            return Labels::default();
        }
        // A layer with a label of its own and a tool's gives two rows: the protocol, and inside it the brand.
        let mut rows = [LabelLayer { label: None, carrier: false, hiding: None }; 2 * MAX_LAYERS];
        let mut free = rows.iter_mut();
        for layer in self.layers.iter().take(self.used) {
            let meta = layer.meta().map(|meta| (meta.name, meta.carrier));
            let (name, carrier) = meta.unwrap_or_default();
            let given = match layer.labels() {
                [Some(own), brand @ Some(_)] => [Some(own), brand],
                [own, brand] => [own.or(brand), None],
            };
            if let Some(row) = free.next().filter(|_| meta.is_some()) {
                *row = LabelLayer::of(name, given[0], carrier);
            }
            if given[1].is_some()
                && let Some(row) = free.next()
            {
                *row = LabelLayer { label: given[1], carrier: false, hiding: None };
            }
        }
        resolve(&rows)
    }

    /// Whether some layer gave this label itself.
    fn gives(&self, label: Option<&'static str>) -> bool {
        self.layers.iter().take(self.used).any(|l| l.labels().contains(&label))
    }

    /// What has been learned so far.
    pub(super) fn verdict(&self) -> Verdict {
        let labels = self.labels();
        let mut verdict = Verdict { labels, ..Verdict::default() };
        for (depth, layer) in self.layers.iter().take(self.used).enumerate() {
            let Some(meta) = layer.meta() else { continue };
            if verdict.app_proto.is_empty() || verdict.app_proto == "failed" {
                verdict.app_proto = meta.app_proto;
            }
            if verdict.usual_ports.is_empty() {
                verdict.usual_ports = meta.ports;
            }
            verdict.facts.fill_from(&layer.out.facts);
            verdict.evidence.extend(layer.out.evidence.iter().cloned());
            verdict.looked_up.extend(layer.matched.looked_up().iter().cloned());
            verdict.clues.extend(layer.matched.clues().iter().cloned());
            verdict.evidence_dropped = verdict.evidence_dropped.saturating_add(layer.out.evidence_dropped);
            // Who called shows in the outermost layer: inside, roles are as they please (DTLS of a call, a desktop shown in reverse).
            if depth == 0 {
                verdict.client = layer.out.client;
            }
            verdict.controlled = verdict.controlled.or(layer.out.controlled);
            verdict.tool = verdict.tool.or(layer.out.tool).or(layer.matched.tool());
            // A carrier that is only a tunnel for what it hides is as sure as what was found inside.
            let given = layer.labels();
            let decisive = given.contains(&labels.label) || !self.gives(labels.label);
            if given != [None; 2] && decisive {
                let by_name = layer.out.brand.is_none() && given[1].is_some() && given[1] == labels.label;
                let named = given[0].is_none() || by_name;
                verdict.basis = if named { Basis::Catalogue } else { layer.out.basis };
                verdict.decibans = layer.out.evidence.iter().map(|e| i32::from(e.kind.decibans)).sum::<i32>();
            }
        }
        verdict
    }
}
