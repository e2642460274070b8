//! A worker: the flows of its shards, from packets to reports.
//!
//! In: units of the shards it owns, in order, and ticks. Out: a [`Report`] a tick. Nothing is shared with other workers.
//! Packets are taken in batches: hash and fetch every bucket, then fetch every entry, then update, so that a batch waits for
//! memory once and not once a packet.

mod ahead;
mod leave;
mod opener;
mod watch;

use std::io;

use farend_analyzers::{Dir, Transport};

use super::counters::{Counters, Untracked};
use super::neighbour::Pairs;
use super::report::{Ended, FlowId, Learned, Report, Sighting, volume};
use super::shed::Level;
use super::switch::InForce;
use super::unit::{Tick, Unit, Units};
use crate::catalog::Catalogue;
use crate::clock::SECOND_NS;
use crate::decode::{Addrs, Packet, proto};
use crate::flow::{
    Birth, Demand, End, Found, Hasher, Hot, Key, Key4, Key6, OpenerBasis, Orientation, Quotas, SHARDS, Table,
    flag, tcp,
};
use crate::home::Home;
use crate::host;
use crate::inspect::watch::Watch;
use crate::inspect::{Begin, Inspector, Limits, Owner, Payload, Verdict};
use ahead::{Ahead, key6};
use opener::{first_guess, last_word};

/// Every shard is swept for idle flows once in this many seconds.
const SPOKES: u64 = 16;
/// No print: see [`print_of`].
const NO_PRINT: u32 = 0;
/// Copies of a frame from a span port arrive within this.
const DUPLICATE_NS: i64 = 1_000_000;

/// Seconds without a packet after which a flow ends.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// After FIN from both or RST.
    pub closed: i64,
    /// TCP, one-sided.
    pub tcp_new: i64,
    /// TCP, both sides seen.
    pub tcp_established: i64,
    /// UDP and others, one-sided.
    pub other_new: i64,
    /// UDP and others, both sides seen.
    pub other_established: i64,
}

impl Default for Timeouts {
    /// Suricata's defaults (`flow-timeouts` of suricata.yaml), but for closed flows, which linger 10 s instead of 60 s.
    fn default() -> Self {
        Self { closed: 10, tcp_new: 60, tcp_established: 600, other_new: 30, other_established: 300 }
    }
}

/// What a worker is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Flows of all workers together.
    pub capacity: u32,
    /// See [`Timeouts`].
    pub timeouts: Timeouts,
    /// Bounds of inspection, a shard.
    pub limits: Limits,
    /// Whose names are whose.
    pub catalogue: &'static Catalogue,
    /// Report every flow that ends, not only those that matter to findings.
    pub all_flows: bool,
    /// A flow that goes on is reported whenever it is older by this, ns; `None`: only when it ends.
    pub flow_interval_ns: Option<i64>,
    /// Which addresses are inside.
    pub home: Home,
    /// Seed of the table hash; random where `None`.
    pub hash_seed: Option<u64>,
}

/// One worker.
pub struct Worker {
    v4: Table<Key4>,
    v6: Table<Key6>,
    core: Core,
}

/// Everything but the tables, so that both address families share one code.
struct Core {
    config: Config,
    inspector: Inspector,
    watch: Watch,
    /// A flow under watch that has fallen silent, whose place another one wants.
    silent: Option<Owner>,
    quotas: Quotas,
    demand: Box<[Demand; SHARDS]>,
    verdicts: Vec<Option<Box<Verdict>>>,
    free_verdicts: Vec<u32>,
    report: Report,
    counters: Counters,
    swept_to: Option<u64>,
    /// When each shard was swept last, ns since the epoch.
    swept_ns: Box<[i64; SHARDS]>,
    private_seen: bool,
    /// What is left out.
    shed: Level,
    /// With the packet at hand some flow may have to make way.
    fed: bool,
    /// Flows of a shard whose time has come; kept for the next sweep.
    due: Vec<(u32, End)>,
    neighbours: Pairs,
}

impl Worker {
    /// A worker with empty tables.
    pub fn new(config: Config) -> io::Result<Self> {
        let hasher = config.hash_seed.map_or_else(Hasher::random, Hasher::with_seed);
        let quotas = Quotas::new(config.capacity);
        Ok(Self {
            v4: Table::new(quotas.capacity(), hasher)?,
            v6: Table::new(quotas.capacity(), hasher)?,
            core: Core {
                inspector: Inspector::new(config.limits, config.catalogue),
                watch: Watch::default(),
                silent: None,
                quotas,
                demand: Box::new([Demand::default(); SHARDS]),
                verdicts: Vec::new(),
                free_verdicts: Vec::new(),
                report: Report::default(),
                counters: Counters::default(),
                swept_to: None,
                swept_ns: Box::new([i64::MIN; SHARDS]),
                private_seen: false,
                shed: Level::Nothing,
                fed: false,
                due: Vec::new(),
                neighbours: Pairs::default(),
                config,
            },
        })
    }

    #[inline]
    fn packet(&mut self, unit: &Unit, ahead: &Ahead, payload: &[u8], region: &[u8]) {
        let Ahead { hash, likely, key, from } = *ahead;
        match unit.packet.addrs {
            Addrs::V4 { .. } => {
                let found = self.v4.find_likely(likely, hash, &key);
                if !self.core.known(&mut self.v4, found, from, unit, payload) {
                    self.open(unit, region);
                    self.core.opened(&mut self.v4, hash, key, from, unit, payload);
                }
            }
            Addrs::V6 { src, dst } => {
                let (key, from) = key6(&unit.packet, src, dst);
                let found = self.v6.find_likely(likely, hash, &key);
                if !self.core.known(&mut self.v6, found, from, unit, payload) {
                    self.open(unit, region);
                    self.core.opened(&mut self.v6, hash, key, from, unit, payload);
                }
            }
        }
        if std::mem::take(&mut self.core.fed) {
            while let Some(owner) = self.core.inspector.crowded(unit.shard) {
                self.let_go(owner, unit);
            }
            match self.core.silent.take() {
                Some(Owner { at, v6: false }) => self.core.unwatch(&mut self.v4, at),
                Some(Owner { at, v6: true }) => self.core.unwatch(&mut self.v6, at),
                None => {}
            }
        }
    }

    /// Ends the inspection of a flow that makes way for others.
    #[cold]
    fn let_go(&mut self, owner: Owner, unit: &Unit) {
        self.core.counters.uninspected += 1;
        if owner.v6 {
            self.core.decide(&mut self.v6, owner.at, unit.seq, unit.ts_ns);
        } else {
            self.core.decide(&mut self.v4, owner.at, unit.seq, unit.ts_ns);
        }
    }

    /// Makes room for one more flow in the unit's shard, and notes who its ends are on the link.
    #[inline]
    fn open(&mut self, unit: &Unit, region: &[u8]) {
        self.core.neighbours.opened(unit, region, &self.core.config.home);
        if self.core.demand[usize::from(unit.shard)].live >= self.core.quotas.of(unit.shard) {
            self.evict(unit.shard);
        }
    }

    /// Expires flows, and hands out everything since the last tick.
    pub fn tick(&mut self, tick: &Tick) -> Report {
        self.core.private_seen = tick.private_seen;
        if tick.last {
            for shard in 0..=255u8 {
                self.core.end_all(&mut self.v4, shard, End::Eof);
                self.core.end_all(&mut self.v6, shard, End::Eof);
            }
        } else {
            let now_s = u64::try_from(tick.now_ns / SECOND_NS).unwrap_or(0);
            let from = self.core.swept_to.unwrap_or(now_s);
            for second in from.max(now_s.saturating_sub(SPOKES - 1).max(from)) + 1..=now_s {
                for shard in (0..=255u8).filter(|s| u64::from(*s) % SPOKES == second % SPOKES) {
                    self.core.sweep(&mut self.v4, shard, tick.now_ns);
                    self.core.sweep(&mut self.v6, shard, tick.now_ns);
                    self.core.swept_ns[usize::from(shard)] = tick.now_ns;
                }
            }
            self.core.swept_to = Some(now_s);
        }
        self.core.report(tick)
    }

    /// From now on this is left out.
    #[inline]
    pub fn shed(&mut self, level: Level) {
        if level != self.core.shed {
            self.core.shed = level;
            self.end_watches();
        }
    }

    /// From now on these settings count; flows that are under inspection keep the names they have.
    pub fn take_over(&mut self, settings: &InForce) {
        let config = &mut self.core.config;
        config.timeouts = settings.timeouts;
        config.flow_interval_ns = settings.flow_interval_ns;
        config.home.clone_from(&settings.home);
        config.catalogue = settings.catalogue;
        self.core.inspector.set_catalogue(settings.catalogue);
    }

    /// What each shard holds and wants; asked at ticks, and then counted anew.
    pub fn demand(&mut self) -> [Demand; SHARDS] {
        let demand = *self.core.demand;
        self.core.demand.iter_mut().for_each(|d| d.opened = 0);
        demand
    }

    /// Takes over new quotas.
    pub fn set_quotas(&mut self, quotas: &Quotas) {
        self.core.quotas.clone_from(quotas);
    }

    /// Counters so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.core.counters
    }
}

/// A print of the fields that two copies of one frame share; 0 = this packet cannot be told from another one. Of 24 bits, so that
/// of ten million neighbours within a millisecond less than one is taken for a copy.
#[inline]
fn print_of(p: &Packet) -> u32 {
    let tcp = p.proto == proto::TCP;
    // Without an IP id only a TCP payload is sure not to be sent twice within a millisecond.
    if p.ip_id == 0 && !(tcp && p.payload_wire > 0) {
        return NO_PRINT;
    }
    let a = u64::from(p.seq) << 32 | u64::from(p.ack);
    let b = u64::from(p.ip_id) << 48 | u64::from(p.payload_wire) << 16 | u64::from(p.tcp_flags) << 8 | 1;
    let mixed =
        (a ^ b.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    ((mixed >> 40) as u32).max(1)
}

impl Core {
    /// Updates the flow that was found, if one was.
    #[inline]
    fn known<K: Key>(
        &mut self,
        table: &mut Table<K>,
        found: Option<Found>,
        from: Orientation,
        unit: &Unit,
        payload: &[u8],
    ) -> bool {
        let Some(at) = found else { return false };
        let p = &unit.packet;
        let side = from.index();
        let hot = table.hot_mut(at);
        let print = print_of(p);
        if print != NO_PRINT
            && hot.print(side) == print
            && (0..DUPLICATE_NS).contains(&unit.ts_ns.saturating_sub(hot.last_ns))
        {
            self.counters.untracked[Untracked::Duplicate as usize] += 1;
            return true;
        }
        if p.proto == proto::TCP
            && p.tcp_flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN
            && (hot.has(flag::BEYOND_SYN) || hot.has(flag::CLOSED))
        {
            self.end(table, unit.shard, at, End::Reused);
            return false;
        }
        self.counters.tracked += 1;
        hot.set_print(side, print);
        self.update(table, at, side, unit, payload);
        true
    }

    /// Counts a packet to its flow and inspects its payload while the flow is undecided.
    #[inline]
    fn update<K: Key>(&mut self, table: &mut Table<K>, at: u32, side: usize, unit: &Unit, payload: &[u8]) {
        let p = &unit.packet;
        let hot = table.hot_mut(at);
        hot.last_ns = hot.last_ns.max(unit.ts_ns);
        hot.count(side, p.wire_len);
        if p.proto == proto::TCP {
            hot.tcp_flags[side] |= p.tcp_flags;
            if p.tcp_flags & tcp::SYN == 0 {
                hot.flags |= flag::BEYOND_SYN;
            } else {
                self.syn(table, at, side, p);
            }
            let hot = table.hot_mut(at);
            let both_fin = hot.tcp_flags[0] & hot.tcp_flags[1] & tcp::FIN != 0;
            if p.tcp_flags & tcp::RST != 0 || both_fin {
                hot.flags |= flag::CLOSED;
            }
            if p.payload_wire > 0 {
                hot.flags |= flag::DATA_A << side;
            }
        } else {
            hot.flags |= flag::DATA_A << side;
        }
        if table.hot_mut(at).flags & flag::DECIDED == 0 && !payload.is_empty() {
            if self.shed == Level::Payload {
                self.counters.shed[2] += 1;
            } else {
                self.inspect(table, at, side, unit, payload);
            }
        }
        if table.hot_mut(at).flags & (flag::VERDICT | flag::INSPECTED) != 0 {
            self.grown(table, at, unit);
        }
        self.follow(table, at, side, unit);
    }

    /// Opens a flow for `unit`.
    fn opened<K: Key>(
        &mut self,
        table: &mut Table<K>,
        hash: u64,
        key: K,
        from: Orientation,
        unit: &Unit,
        payload: &[u8],
    ) {
        let p = &unit.packet;
        let birth = Birth {
            first_ns: unit.ts_ns,
            number: unit.number,
            encap: p.encap,
            vlan: p.vlan,
            input: unit.input,
            layer: unit.layer,
            icmp: [p.icmp_type, p.icmp_code],
            isn: p.seq.wrapping_add(1),
            place: 0,
            isn_known: p.proto == proto::TCP && p.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN,
        };
        let side = from.index();
        let (opener, basis) = first_guess(p, side);
        // Made whole before it is written: reading back parts of a line that is still on its way would wait for it.
        let mut hot = Hot { last_ns: unit.ts_ns, ..Hot::default() };
        hot.set_opener(opener, basis);
        hot.set_print(side, print_of(p));
        if p.proto != proto::TCP || basis == OpenerBasis::Syn {
            hot.flags |= flag::FROM_START;
        }
        if !self.inspector.reads(transport_of(p.proto)) || is_notice(p) {
            hot.flags |= flag::DECIDED;
        } else if self.shed >= Level::NewFlows {
            hot.flags |= flag::DECIDED;
            self.counters.shed[1] += 1;
        }
        let Some(at) = table.open(unit.shard, hash, key, birth, hot) else {
            self.counters.untracked[Untracked::NoRoom as usize] += 1;
            return;
        };
        self.counters.tracked += 1;
        self.counters.opened += 1;
        self.counters.live += 1;
        let proto_index = match p.proto {
            proto::TCP => 0,
            proto::UDP => 1,
            proto::ICMP => 2,
            proto::ICMPV6 => 3,
            _ => 4,
        };
        self.counters.by_proto[proto_index] += 1;
        let demand = &mut self.demand[usize::from(unit.shard)];
        demand.live += 1;
        demand.opened += 1;
        self.update(table, at, side, unit, payload);
    }

    /// Notes from a SYN-ACK that both sides are there, and where the called side's payload begins.
    fn syn<K: Key>(&mut self, table: &mut Table<K>, at: u32, side: usize, p: &Packet) {
        let hot = table.hot_mut(at);
        if p.tcp_flags & tcp::ACK != 0 && side != hot.opener() {
            hot.flags |= flag::SYN_ACK;
            // Until inspection begins nothing else is in `cold`, and the record of birth is another line of memory.
            if hot.flags & (flag::INSPECTED | flag::VERDICT | flag::WATCHED) == 0 {
                hot.cold = p.seq.wrapping_add(1);
            }
        }
    }

    fn inspect<K: Key>(&mut self, table: &mut Table<K>, at: u32, side: usize, unit: &Unit, payload: &[u8]) {
        let p = &unit.packet;
        let hot = *table.hot_mut(at);
        let opener = hot.opener();
        let slot = if hot.has(flag::INSPECTED) {
            hot.cold
        } else {
            let birth = table.birth(at);
            let key = &table.entry(at).key;
            let begin = Begin {
                owner: Owner { at, v6: K::V6 },
                transport: transport_of(p.proto),
                ports: [key.a().1, key.b().1],
                from_start: hot.has(flag::FROM_START),
                first_seq: [birth.isn_known.then_some(birth.isn), called_seq(&hot, side, p)],
            };
            let slot = self.inspector.begin(unit.shard, begin);
            self.counters.inspected += 1;
            let hot = table.hot_mut(at);
            hot.flags |= flag::INSPECTED;
            hot.cold = slot;
            slot
        };
        self.fed = true;
        let piece = Payload {
            dir: if side == opener { Dir::ToServer } else { Dir::ToClient },
            bytes: payload,
            wire_len: p.payload_wire,
            seq: p.seq.wrapping_add(u32::from(p.tcp_flags & tcp::SYN != 0)),
            packet: unit.number,
            ts_ns: unit.ts_ns,
        };
        let names = &mut self.report.names;
        let progress = self.inspector.feed(slot, &piece, |name| {
            names.push(Learned { seq: unit.seq, ts_ns: unit.ts_ns, name });
        });
        if progress.label_changed || progress.clue {
            let verdict = self.inspector.verdict(slot);
            self.sight(table, at, unit, verdict);
        }
        if progress.done {
            self.decide(table, at, unit.seq, unit.ts_ns);
        }
    }

    /// Ends the inspection of a flow and keeps its verdict.
    fn decide<K: Key>(&mut self, table: &mut Table<K>, at: u32, seq: u64, ts_ns: i64) {
        let hot = table.hot_mut(at);
        let names = &mut self.report.names;
        let mut verdict = self.inspector.end(hot.cold, |name| names.push(Learned { seq, ts_ns, name }));
        if verdict.labels.label.is_none() {
            // What nobody answered operates nothing; the shape of the flow may still show that something does.
            verdict.controlled = None;
        }
        hot.flags &= !flag::INSPECTED;
        hot.flags |= flag::DECIDED;
        self.counters.evidence[0] += verdict.evidence.len() as u64;
        self.counters.evidence[1] += u64::from(verdict.evidence_dropped);
        if verdict.is_empty() {
            return;
        }
        hot.flags |= flag::VERDICT;
        hot.cold = self.keep(verdict);
    }

    /// Stores the verdict of a flow that lives on; returns where.
    fn keep(&mut self, verdict: Verdict) -> u32 {
        let slot = self.free_verdicts.pop().unwrap_or_else(|| {
            self.verdicts.push(None);
            (self.verdicts.len() - 1) as u32
        });
        self.verdicts[slot as usize] = Some(Box::new(verdict));
        slot
    }

    /// The verdict on a flow that is decided, where there is one.
    fn verdict_of(&self, hot: &Hot) -> Option<&Verdict> {
        let slot = if hot.has(flag::WATCHED) { self.watch.kept(hot.cold) } else { hot.cold };
        hot.has(flag::VERDICT).then(|| self.verdicts.get(slot as usize)).flatten()?.as_deref()
    }

    /// A labelled flow is sighted again whenever its packets have doubled, so that findings can tell a session from an attempt.
    #[inline]
    fn grown<K: Key>(&mut self, table: &mut Table<K>, at: u32, unit: &Unit) {
        let hot = &table.entry(at).hot;
        let total = hot.packets(0) + hot.packets(1);
        if total < 16 || !total.is_power_of_two() {
            return;
        }
        // An analyzer may want to read on long after the label is sure: alerts do not wait for it.
        let verdict = if hot.has(flag::INSPECTED) {
            Some(self.inspector.verdict(hot.cold))
        } else {
            self.verdict_of(hot).cloned()
        };
        if let Some(verdict) = verdict.filter(|v| v.labels.label.is_some()) {
            self.sight(table, at, unit, verdict);
        }
    }

    fn sight<K: Key>(&mut self, table: &Table<K>, at: u32, unit: &Unit, mut verdict: Verdict) {
        let entry = table.entry(at);
        let (opener, basis) = last_word(entry, Some(&mut verdict));
        self.report.sightings.push(Sighting {
            seq: unit.seq,
            ts_ns: unit.ts_ns,
            packet: unit.number,
            flow: flow_id(&entry.key, table.birth(at), opener, basis),
            volume: volume(&entry.hot, opener),
            verdict,
        });
    }

    /// Ends one flow: its verdict is completed, and it is reported where it matters.
    fn end<K: Key>(&mut self, table: &mut Table<K>, shard: u8, at: u32, end: End) {
        if table.entry(at).hot.has(flag::INSPECTED) {
            let last_ns = table.entry(at).hot.last_ns;
            self.decide(table, at, u64::MAX, last_ns);
        }
        if table.entry(at).hot.has(flag::WATCHED) {
            self.unwatch(table, at);
        }
        let (entry, birth) = table.close(shard, at);
        self.demand[usize::from(shard)].live -= 1;
        self.counters.live -= 1;
        self.counters.closed[end as usize] += 1;
        let mut verdict = entry
            .hot
            .has(flag::VERDICT)
            .then(|| {
                self.free_verdicts.push(entry.hot.cold);
                self.verdicts[entry.hot.cold as usize].take()
            })
            .flatten();
        let (opener, basis) = last_word(&entry, verdict.as_deref_mut());
        let hot = &entry.hot;
        if hot.packets(0) == 0 || hot.packets(1) == 0 {
            let spoke = hot.has(flag::DATA_A) || hot.has(flag::DATA_B) || hot.has(flag::SYN_ACK);
            self.counters.one_sided += u64::from(spoke && entry.key.proto() == proto::TCP);
        }
        let ends = [entry.key.a().0, entry.key.b().0];
        let home = &self.config.home;
        let inside = [home.holds(ends[0], self.private_seen), home.holds(ends[1], self.private_seen)];
        let over_the_border = |n: usize| inside[n] && home.is_outside(ends[1 - n]);
        let exchange = host::is_exchange(hot);
        let comes_in = exchange && over_the_border(1 - opener);
        let goes_out = exchange && over_the_border(opener);
        let told = verdict.as_deref().is_some_and(|v| v.labels.label.is_some() || !v.evidence.is_empty());
        let may_reach_a_relay = || goes_out && host::may_reach_a_relay(hot, verdict.as_deref());
        if self.config.all_flows || told || comes_in || may_reach_a_relay() {
            let flow = flow_id(&entry.key, &birth, opener, basis);
            self.report.ended.push(Ended { flow, hot: entry.hot, opener, end, verdict });
        } else if goes_out {
            // What share of a host's bytes leaves by a carrier needs the others' bytes, and nothing else of them.
            self.report.exchanged.push((ends[opener], hot.bytes[0] + hot.bytes[1]));
        }
    }

    fn report(&mut self, tick: &Tick) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.tick = tick.number;
        report.neighbours = self.neighbours.take();
        report.counters = self.counters.clone();
        report.shed = self.shed;
        for list in [&mut report.ended, &mut report.lasting] {
            list.sort_unstable_by_key(|e| (e.flow.birth.input, e.flow.birth.number, e.flow.birth.layer));
        }
        report
    }
}

/// Sequence number of the called side's first payload byte. Of several SYN-ACKs (middleboxes that answer, too) the opener has taken
/// the one that it acknowledges.
fn called_seq(hot: &Hot, side: usize, p: &Packet) -> Option<u32> {
    if !hot.has(flag::SYN_ACK) {
        return None;
    }
    let opener = hot.opener();
    let called_has_sent = hot.has(flag::DATA_A << (1 - opener));
    if side == opener && p.tcp_flags & tcp::ACK != 0 && !called_has_sent {
        // What it acknowledges beyond the SYN-ACK was sent and has not been captured (yet).
        let beyond = p.ack.wrapping_sub(hot.cold);
        return Some(if beyond <= u32::from(u16::MAX) { hot.cold } else { p.ack });
    }
    Some(hot.cold)
}

/// An ICMP message that is neither question nor answer: what it carries is the beginning of the packet that it is about.
const fn is_notice(p: &Packet) -> bool {
    match p.proto {
        proto::ICMP => !matches!(p.icmp_type, 0 | 8),
        proto::ICMPV6 => !matches!(p.icmp_type, 128 | 129),
        _ => false,
    }
}

const fn transport_of(number: u8) -> Transport {
    match number {
        proto::TCP => Transport::Tcp,
        proto::UDP => Transport::Udp,
        other => Transport::Ip(other),
    }
}

fn flow_id<K: Key>(key: &K, birth: &Birth, opener: usize, basis: OpenerBasis) -> FlowId {
    let ends = [key.a(), key.b()];
    let (src, dst) = (ends[opener], ends[1 - opener]);
    FlowId {
        id: number(key, birth),
        ip: [src.0, dst.0],
        port: [src.1, dst.1],
        proto: key.proto(),
        birth: *birth,
        basis,
    }
}

/// `flow_id` of records: 53 bits (what JSON readers hold exactly) of a fixed hash over the first packet's place and the key.
fn number<K: Key>(key: &K, birth: &Birth) -> u64 {
    let fixed = Hasher::with_seed(0x6661_7265_6e64_3031);
    let place = birth.number ^ u64::from(birth.input) << 48 ^ u64::from(birth.layer) << 40;
    let mixed = (key.hash(&fixed) ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(birth.first_ns.cast_unsigned())
        .wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ mixed >> 32) & ((1 << 53) - 1)
}
