//! The splitter: frames in capture order, decoded, timed and dealt to the shards' owners.

use std::sync::Arc;

use super::counters::{DecodeCounters, Front};
use super::neighbour::Pairs;
use super::unit::{Tick, Unit, Units};
use crate::clock::{Clock, SECOND_NS};
use crate::decode::{Addrs, Decoded, Decoder, Ignored, Link, Outcome, Packet};
use crate::flow::shard_of;
use crate::home::{is_private_v4, is_private_v6};
use crate::source::{self, Frame};

/// A tick comes at the latest after this many packets, so that what workers hold for the next report is bounded whatever
/// the timestamps do.
pub(super) const BLOCK: u64 = 65_536;
/// No Ethernet frame with tags is longer, jumbo frames included: what is was joined by offloads of the capturing machine.
const LONGEST: u32 = 9_300;

/// When the second after that of `now_ns` begins.
const fn next_second(now_ns: i64) -> i64 {
    now_ns.div_euclid(SECOND_NS).saturating_add(1).saturating_mul(SECOND_NS)
}

/// Where the owner of a shard takes its units.
#[inline]
fn lane_of(lanes: &mut [Units], shard: u8) -> &mut Units {
    let n = if lanes.len() == 1 { 0 } else { usize::from(shard) % lanes.len() };
    &mut lanes[n]
}

/// Decodes and deals.
pub struct Splitter {
    decoder: Decoder,
    decoded: Decoded,
    clock: Clock,
    counters: DecodeCounters,
    seq: u64,
    tick: u64,
    /// From this time on another second has begun.
    tick_due_ns: i64,
    block_end: u64,
    private_seen: bool,
    link: (u16, Link),
    span: Option<[i64; 2]>,
    source: Option<source::Counters>,
    longest: u32,
    neighbours: Pairs,
}

impl Splitter {
    /// A splitter at the beginning of an input.
    #[must_use]
    pub fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            decoded: Decoded::default(),
            clock: Clock::default(),
            counters: DecodeCounters::default(),
            seq: 0,
            tick: 0,
            tick_due_ns: i64::MIN,
            block_end: BLOCK,
            private_seen: false,
            link: (1, Link::Ethernet),
            span: None,
            source: None,
            longest: LONGEST,
            neighbours: Pairs::default(),
        }
    }

    /// Takes a frame and deals its packets to `lanes` (the owner of shard s is lane s modulo their number). A tick that is due
    /// before these packets is handed to `tick` first, together with the lanes.
    #[inline]
    pub fn frame(
        &mut self,
        frame: &Frame,
        bytes: &[u8],
        lanes: &mut [Units],
        mut tick: impl FnMut(&mut [Units], Tick, bool),
    ) {
        if frame.dlt != self.link.0 {
            self.link = (frame.dlt, Link::from_dlt(u32::from(frame.dlt)));
        }
        if let Some(packet) = self.decoder.plain(self.link.1, bytes, frame.wirelen) {
            let shard = shard_of(&packet.addrs);
            self.time(frame, shard, lanes, &mut tick);
            self.count(frame);
            self.counters.decoded += 1;
            self.notice(&packet.addrs);
            let lane = lane_of(lanes, shard);
            let at = frame.at + packet.payload_at as usize;
            let unit = self.unit(frame, packet, at, shard);
            lane.add(unit);
            return;
        }
        match self.decoder.decode(self.link.1, bytes, frame.wirelen, frame.ts_ns, &mut self.decoded) {
            Outcome::Packets(_) => {}
            Outcome::Fragment => {
                self.count(frame);
                self.counters.fragments_held += 1;
                return;
            }
            Outcome::Ignored(why) => {
                self.count(frame);
                self.counters.ignored[why.index()] += 1;
                if why == Ignored::Arp && self.link.1 == Link::Ethernet {
                    self.neighbours.arp(bytes, frame.ts_ns, frame.input, frame.number);
                }
                return;
            }
            Outcome::Malformed(m) => {
                self.count(frame);
                self.counters.malformed[m.layer.index()][m.why.index()] += 1;
                return;
            }
        }
        self.packets(frame, bytes, lanes, tick);
    }

    /// Deals the packets that were found in a frame.
    fn packets(
        &mut self,
        frame: &Frame,
        bytes: &[u8],
        lanes: &mut [Units],
        mut tick: impl FnMut(&mut [Units], Tick, bool),
    ) {
        let Some(first) = self.decoded.packets.first() else { return };
        self.time(frame, shard_of(&first.addrs), lanes, &mut tick);
        self.count(frame);
        self.counters.decoded += 1;
        self.counters.inner += self.decoded.packets.len() as u64 - 1;
        for layer in 0..self.decoded.packets.len() {
            let packet = self.decoded.packets[layer];
            self.notice(&packet.addrs);
            let shard = shard_of(&packet.addrs);
            let lane = lane_of(lanes, shard);
            let at = if packet.reassembled {
                let at = lane.extra.len();
                lane.extra.extend_from_slice(self.decoder.bytes(bytes, &packet));
                at
            } else {
                frame.at + packet.payload_at as usize
            };
            let unit = self.unit(frame, packet, at, shard);
            lane.list.push(Unit { in_extra: packet.reassembled, layer: layer as u8, ..unit });
        }
    }

    /// Takes the time of a frame; a tick that is due tells of what was dealt before it, so it comes before counting.
    #[inline]
    fn time(
        &mut self,
        frame: &Frame,
        pair: u8,
        lanes: &mut [Units],
        tick: &mut impl FnMut(&mut [Units], Tick, bool),
    ) {
        let now_ns = self.clock.observe(frame.ts_ns, pair);
        let block = self.seq >= self.block_end;
        if now_ns >= self.tick_due_ns || block {
            if self.tick_due_ns != i64::MIN {
                let due = self.next_tick(now_ns, false);
                tick(lanes, due, block);
            }
            self.tick_due_ns = self.tick_due_ns.max(next_second(now_ns));
            if block {
                self.block_end = self.seq + BLOCK;
            }
        }
    }

    /// Counts a packet by its addresses.
    #[inline]
    fn notice(&mut self, addrs: &Addrs) {
        match *addrs {
            Addrs::V4 { src, dst } => {
                self.counters.ip[0] += 1;
                if !self.private_seen {
                    self.private_seen = is_private_v4(src.into()) || is_private_v4(dst.into());
                }
            }
            Addrs::V6 { src, dst } => {
                self.counters.ip[1] += 1;
                if !self.private_seen {
                    self.private_seen = is_private_v6(src.into()) || is_private_v6(dst.into());
                }
            }
        }
    }

    /// The next unit: a packet that is the first of its frame, with its payload in the frame's memory.
    #[inline]
    fn unit(&mut self, frame: &Frame, packet: Packet, at: usize, shard: u8) -> Unit {
        let seq = self.seq;
        self.seq += 1;
        Unit {
            packet,
            at,
            in_extra: false,
            shard,
            layer: 0,
            input: frame.input,
            joined: frame.wirelen > self.longest,
            seq,
            number: frame.number,
            ts_ns: frame.ts_ns,
        }
    }

    /// It is `now_ns` at least, by a clock that goes on without frames; a tick that is due is handed to `tick`.
    pub fn at(&mut self, now_ns: i64, lanes: &mut [Units], mut tick: impl FnMut(&mut [Units], Tick, bool)) {
        let now_ns = self.clock.advance(now_ns);
        if now_ns >= self.tick_due_ns {
            let due = self.next_tick(now_ns, false);
            tick(lanes, due, false);
            self.tick_due_ns = next_second(now_ns);
        }
    }

    /// The last tick: the input has ended.
    pub fn end(&mut self) -> Tick {
        let now_ns = self.clock.now_ns().unwrap_or(0);
        self.next_tick(now_ns, true)
    }

    #[inline]
    fn count(&mut self, frame: &Frame) {
        self.counters.delivered += 1;
        self.counters.bytes += u64::from(frame.wirelen);
        self.span = Some(match self.span {
            Some([first, last]) => [first.min(frame.ts_ns), last.max(frame.ts_ns)],
            None => [frame.ts_ns; 2],
        });
        self.counters.oversize += u64::from(frame.wirelen > self.longest);
    }

    fn next_tick(&mut self, now_ns: i64, last: bool) -> Tick {
        self.tick += 1;
        let front = self.source.is_some().then(|| Arc::new(self.front()));
        let neighbours = Some(self.neighbours.take()).filter(|seen| !seen.is_empty()).map(Arc::new);
        Tick { number: self.tick, now_ns, private_seen: self.private_seen, last, front, neighbours }
    }

    /// What has been counted so far, with the source's own as far as [`Splitter::source_counted`] told.
    #[must_use]
    pub fn front(&self) -> Front {
        Front {
            decode: self.counters.clone(),
            time: [self.clock.backward, self.clock.disbelieved, self.clock.jumps],
            span: self.span,
            private_seen: self.private_seen,
            source: self.source.unwrap_or_default(),
            ..Front::default()
        }
    }

    /// Longer frames are none of the link's.
    pub const fn set_longest(&mut self, bytes: u32) {
        self.longest = bytes;
    }

    /// What the source has counted before the frames that come next: from now on ticks carry a [`Front`].
    pub const fn source_counted(&mut self, source: source::Counters) {
        self.source = Some(source);
    }

    /// Counters so far.
    #[must_use]
    pub const fn counters(&self) -> &DecodeCounters {
        &self.counters
    }

    /// Earliest and latest timestamp, ns since the epoch.
    #[must_use]
    pub const fn span(&self) -> Option<[i64; 2]> {
        self.span
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Some packet had a private address.
    #[must_use]
    pub const fn private_seen(&self) -> bool {
        self.private_seen
    }
}
