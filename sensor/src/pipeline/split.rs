//! The splitter: frames in capture order, decoded, timed and dealt to the shards' owners.

use std::sync::Arc;

use super::counters::{DecodeCounters, Front};
use super::unit::{Tick, Unit, Units};
use crate::clock::{Clock, SECOND_NS};
use crate::decode::{Addrs, Decoded, Decoder, Link, Outcome};
use crate::flow::shard_of;
use crate::home::{is_private_v4, is_private_v6};
use crate::source::{self, Frame};

/// A tick comes at the latest after this many packets, so that what workers hold for the next report is bounded whatever
/// the timestamps do.
pub(super) const BLOCK: u64 = 65_536;
/// No Ethernet frame with tags is longer, jumbo frames included: what is was joined by offloads of the capturing machine.
const LONGEST: u32 = 9_300;

/// Decodes and deals.
pub struct Splitter {
    decoder: Decoder,
    decoded: Decoded,
    clock: Clock,
    counters: DecodeCounters,
    seq: u64,
    tick: u64,
    tick_second: i64,
    block_end: u64,
    private_seen: bool,
    link: (u16, Link),
    span: Option<[i64; 2]>,
    source: Option<source::Counters>,
    longest: u32,
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
            tick_second: i64::MIN,
            block_end: BLOCK,
            private_seen: false,
            link: (1, Link::Ethernet),
            span: None,
            source: None,
            longest: LONGEST,
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
                return;
            }
            Outcome::Malformed(m) => {
                self.count(frame);
                self.counters.malformed[m.layer.index()][m.why.index()] += 1;
                return;
            }
        }
        let Some(first) = self.decoded.packets.first() else { return };
        let now_ns = self.clock.observe(frame.ts_ns, shard_of(&first.addrs));
        let second = now_ns.div_euclid(SECOND_NS);
        let block = self.seq >= self.block_end;
        if second > self.tick_second || block {
            if self.tick_second != i64::MIN {
                let due = self.next_tick(now_ns, false);
                tick(lanes, due, block);
            }
            self.tick_second = self.tick_second.max(second);
            if block {
                self.block_end = self.seq + BLOCK;
            }
        }
        // Behind the tick, which tells of what was dealt before it.
        self.count(frame);
        self.counters.decoded += 1;
        self.counters.inner += self.decoded.packets.len() as u64 - 1;
        for (layer, packet) in (0u8..).zip(self.decoded.packets.iter()) {
            match packet.addrs {
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
            let shard = shard_of(&packet.addrs);
            let lane_number = if lanes.len() == 1 { 0 } else { usize::from(shard) % lanes.len() };
            let lane = &mut lanes[lane_number];
            let (at, in_extra) = if packet.reassembled {
                let at = lane.extra.len();
                lane.extra.extend_from_slice(self.decoder.bytes(bytes, packet));
                (at, true)
            } else {
                (frame.at + packet.payload_at as usize, false)
            };
            lane.list.push(Unit {
                packet: *packet,
                at,
                in_extra,
                shard,
                layer,
                input: frame.input,
                joined: frame.wirelen > self.longest,
                seq: self.seq,
                number: frame.number,
                ts_ns: frame.ts_ns,
            });
            self.seq += 1;
        }
    }

    /// It is `now_ns` at least, by a clock that goes on without frames; a tick that is due is handed to `tick`.
    pub fn at(&mut self, now_ns: i64, lanes: &mut [Units], mut tick: impl FnMut(&mut [Units], Tick, bool)) {
        let now_ns = self.clock.advance(now_ns);
        let second = now_ns.div_euclid(SECOND_NS);
        if second > self.tick_second {
            let due = self.next_tick(now_ns, false);
            tick(lanes, due, false);
            self.tick_second = second;
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
        let front = self.source.map(|source| Arc::new(self.front(source)));
        Tick { number: self.tick, now_ns, private_seen: self.private_seen, last, front }
    }

    /// What has been counted so far, with the source's own.
    #[must_use]
    pub fn front(&self, source: source::Counters) -> Front {
        Front {
            decode: self.counters.clone(),
            time: [self.clock.backward, self.clock.disbelieved, self.clock.jumps],
            span: self.span,
            private_seen: self.private_seen,
            source,
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
