//! Flows under watch: those that might be somebody operating a machine, for as long as their shape may still show it.
//!
//! In: payload packets of flows that are decided. Out: a [`Judgement`] of
//! [`farend_analyzers::shape`]. The state of a flow is large and every packet of it costs, so few are watched: whoever sends bulk,
//! or nothing small, or shows nothing for a minute is let go and gets another chance when it has grown. Places are
//! bounded a shard; a newcomer takes one only from a flow that has fallen silent, so that crowds do not push each other out
//! before either can be judged.

use farend_analyzers::Dir;
use farend_analyzers::shape::{Judgement, Shape};

use super::Slot;
use super::order::Order;
use crate::clock::SECOND_NS;
use crate::flow::SHARDS;

/// Places of a shard; of all shards 22 MB.
const PLACES: u32 = 64;
/// A flow is not looked at before this age: most have ended by then.
const AGE_NS: i64 = 2 * SECOND_NS;
/// Packets a second, on average so far, beyond which a flow is bulk; a desktop showing video stays below.
const BULK_RATE: i64 = 500;
/// A flow's turn comes with its 16th packet and lasts so many packets; so does each later one.
const TURN: u64 = 16;
/// Payload packets after which it is asked whether a flow under watch is still worth it.
const ROUND: u16 = 128;
/// A round that took less is bulk.
const ROUND_NS: i64 = ROUND as i64 * SECOND_NS / (2 * BULK_RATE);
/// Whoever operates something sends messages up to this; [`Shape`] has the same bound on inputs.
const SMALL_BYTES: u32 = 300;
/// Small ones of a round, at least, in one direction; and of all packets of that direction at least three quarters.
const SMALL_MIN: u16 = 2;
/// Without a window that shows something among the latest, a flow is let go after this: time for two windows of [`Shape`].
const PATIENCE_NS: i64 = 75 * SECOND_NS;
/// A flow this long without payload gives its place to a newcomer.
const SILENT_NS: i64 = 60 * SECOND_NS;

/// Whether a flow of `packets` packets should be considered with one that carries `payload` bytes. Its turns come further and
/// further apart, each when it has grown by a third or a half; bulk has hardly a small packet in them and costs nothing more.
#[inline]
pub const fn turn(packets: u64, payload: u32) -> bool {
    if payload == 0 || payload > SMALL_BYTES || packets < TURN {
        return false;
    }
    let power = 1 << packets.ilog2();
    let beyond = packets - power;
    beyond % (power / 2) < TURN
}

/// Whether a flow of this many packets since `first_ns` may be worth watching at `now_ns`.
pub const fn worth(packets: u64, first_ns: i64, now_ns: i64) -> bool {
    let age = now_ns.saturating_sub(first_ns);
    age >= AGE_NS && packets as i64 <= age / SECOND_NS * BULK_RATE
}

/// One payload packet.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Which way it went, seen from the side taken as opener.
    pub dir: Dir,
    /// Its length on the wire.
    pub wire_len: u32,
    /// TCP sequence number of its first byte.
    pub seq: Option<u32>,
    /// Number of its packet, 1-based.
    pub packet: u64,
    /// Its time, ns since the epoch.
    pub ts_ns: i64,
}

/// What became of a flow with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays under watch.
    Watching,
    /// It is not worth it; its place is to be given back.
    Hopeless,
    /// It is judged; its place is to be given back.
    Judged(Judgement),
}

#[derive(Debug, Default)]
struct Watched {
    shape: Shape,
    /// What the flow's entry had in the field that now holds the number of this place.
    kept: u32,
    shard: u8,
    /// Number of the flow's entry, and whether that is of the IPv6 table.
    owner: super::Owner,
    since_ns: i64,
    last_ns: i64,
    /// Number of the latest packet with something new.
    last_packet: u64,
    /// Sequence number after the last new byte of each direction.
    next_seq: [Option<u32>; 2],
    round_ns: i64,
    packets: [u16; 2],
    small: [u16; 2],
}

/// All flows under watch of one worker.
#[derive(Debug)]
pub struct Watch {
    pool: Vec<Watched>,
    free: Vec<Slot>,
    order: Order,
    used: [u32; SHARDS],
}

impl Default for Watch {
    fn default() -> Self {
        Self { pool: Vec::new(), free: Vec::new(), order: Order::default(), used: [0; SHARDS] }
    }
}

impl Watch {
    /// The flow that must give up its place before another of its shard may be watched at `now_ns`: none while there is room; an
    /// error where nobody is silent enough.
    pub fn makes_way(&self, shard: u8, now_ns: i64) -> Result<Option<super::Owner>, Full> {
        if self.used[usize::from(shard)] < PLACES {
            return Ok(None);
        }
        let oldest = self.order.oldest(shard).map(|slot| &self.pool[slot as usize]).ok_or(Full)?;
        if now_ns.saturating_sub(oldest.last_ns) < SILENT_NS { Err(Full) } else { Ok(Some(oldest.owner)) }
    }

    /// Takes a flow under watch that began at `first_ns`; `kept` is handed back by [`Watch::release`].
    pub fn begin(&mut self, shard: u8, owner: super::Owner, kept: u32, first_ns: i64, now_ns: i64) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.pool.push(Watched::default());
            (self.pool.len() - 1) as Slot
        });
        self.pool[slot as usize] = Watched {
            shape: Shape::since(first_ns),
            kept,
            shard,
            owner,
            since_ns: now_ns,
            last_ns: now_ns,
            round_ns: now_ns,
            ..Watched::default()
        };
        self.used[usize::from(shard)] += 1;
        self.order.add(shard, slot);
        slot
    }

    /// What the flow's entry had in the field that holds `slot`.
    pub fn kept(&self, slot: Slot) -> u32 {
        self.pool[slot as usize].kept
    }

    /// Takes a packet that carries payload.
    pub fn packet(&mut self, slot: Slot, seen: &Seen) -> Outcome {
        let it = &mut self.pool[slot as usize];
        let d = seen.dir.index();
        if let Some(seq) = seen.seq {
            let end = seq.wrapping_add(seen.wire_len);
            // A copy of what was sent before, or a probe of a byte that was: no message of anybody.
            if it.next_seq[d].is_some_and(|next| end.wrapping_sub(next).cast_signed() <= 0) {
                return Outcome::Watching;
            }
            it.next_seq[d] = Some(end);
        }
        (it.last_ns, it.last_packet) = (it.last_ns.max(seen.ts_ns), seen.packet);
        if let Some(judgement) = it.shape.on_packet(seen.dir, seen.wire_len, seen.ts_ns) {
            return Outcome::Judged(judgement);
        }
        it.packets[d] += 1;
        it.small[d] += u16::from(seen.wire_len <= SMALL_BYTES);
        let outcome = if it.packets[0] + it.packets[1] < ROUND {
            Outcome::Watching
        } else if it.over(seen.ts_ns) {
            Outcome::Hopeless
        } else {
            (it.packets, it.small, it.round_ns) = ([0; 2], [0; 2], seen.ts_ns);
            Outcome::Watching
        };
        let shard = it.shard;
        self.order.fed(shard, slot);
        outcome
    }

    /// Everybody who is under watch.
    #[must_use]
    pub fn owners(&self) -> Vec<super::Owner> {
        let free: std::collections::HashSet<Slot> = self.free.iter().copied().collect();
        let taken = (0..).zip(&self.pool).filter(|(slot, _)| !free.contains(slot));
        taken.map(|(_, watched)| watched.owner).collect()
    }

    /// Gives a place back.
    pub fn release(&mut self, slot: Slot) -> Released {
        let it = &mut self.pool[slot as usize];
        let judgement = it.shape.on_end();
        self.used[usize::from(it.shard)] -= 1;
        self.order.remove(it.shard, slot);
        self.free.push(slot);
        Released { kept: it.kept, judgement, packet: it.last_packet }
    }
}

/// What is left of a flow whose watch has ended.
#[derive(Clone, Copy, Debug)]
pub struct Released {
    /// What the flow's entry had in the field that held the number of the place.
    pub kept: u32,
    /// The judgement that the end brings, of the latest, shorter window.
    pub judgement: Option<Judgement>,
    /// Number of the packet up to which it can be checked.
    pub packet: u64,
}

/// Every place of a shard is taken by a flow that is not silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Watched {
    /// Whether a round shows that nobody can be operating anything here.
    fn over(&self, now_ns: i64) -> bool {
        let someone = (0..2).any(|d| self.small[d] >= SMALL_MIN && self.small[d] * 4 >= self.packets[d] * 3);
        !someone
            || now_ns.saturating_sub(self.round_ns) < ROUND_NS
            || now_ns.saturating_sub(self.since_ns) > PATIENCE_NS && self.shape.leaning().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Owner;

    const MS: i64 = 1_000_000;
    /// Gaps of a person's keys, ms.
    const TYPED: [i64; 20] =
        [182, 131, 244, 97, 165, 309, 148, 203, 118, 427, 176, 88, 221, 1630, 154, 192, 268, 109, 2240, 351];

    fn owner(at: u32) -> Owner {
        Owner { at, v6: false }
    }

    fn seen(dir: Dir, wire_len: u32, seq: u32, at_ms: i64) -> Seen {
        Seen { dir, wire_len, seq: Some(seq), packet: 1, ts_ns: at_ms * MS }
    }

    /// Keys and echoes for `seconds`, every packet sent `copies` times; what became of it.
    fn typed(watch: &mut Watch, slot: Slot, seconds: i64, copies: u32) -> Outcome {
        let (mut at, mut seqs) = (0, [1u32, 1]);
        for (i, gap) in TYPED.iter().cycle().enumerate() {
            at += gap;
            if at > seconds * 1000 {
                break;
            }
            for (dir, len, delay) in [(Dir::ToServer, 36, 0), (Dir::ToClient, [36, 52, 140][i % 3], 45)] {
                for _ in 0..copies {
                    let outcome = watch.packet(slot, &seen(dir, len, seqs[dir.index()], at + delay));
                    if outcome != Outcome::Watching {
                        return outcome;
                    }
                }
                seqs[dir.index()] += len;
            }
        }
        Outcome::Watching
    }

    #[test]
    fn a_typed_session_is_judged_and_copies_of_its_packets_change_no_figure() {
        let judged = |copies| {
            let mut watch = Watch::default();
            let slot = watch.begin(0, owner(7), 42, 0, 0);
            let Outcome::Judged(judgement) = typed(&mut watch, slot, 80, copies) else {
                panic!("not judged")
            };
            assert_eq!(watch.release(slot).kept, 42);
            judgement
        };
        assert_eq!(judged(1).operated, farend_analyzers::Side::Dest);
        assert_eq!(judged(1), judged(3));
    }

    #[test]
    fn a_session_that_ends_in_its_second_window_is_judged_when_its_place_is_given_back() {
        let mut watch = Watch::default();
        let slot = watch.begin(0, owner(7), 0, 0, 0);
        assert_eq!(typed(&mut watch, slot, 55, 1), Outcome::Watching);
        assert_eq!(watch.release(slot).judgement.map(|j| j.windows), Some(2));
    }

    #[test]
    fn bulk_is_let_go_within_a_round_in_whichever_direction_it_goes() {
        for dir in [Dir::ToServer, Dir::ToClient] {
            let mut watch = Watch::default();
            let slot = watch.begin(0, owner(7), 0, 0, 0);
            let mut packets = (0..).map(|i| seen(dir, 1448, i * 1448, i64::from(i) * 20));
            let n = packets.position(|p| watch.packet(slot, &p) == Outcome::Hopeless);
            assert!(n.is_some_and(|n| n < usize::from(ROUND)), "{n:?}");
        }
    }

    #[test]
    fn small_packets_faster_than_any_desktop_are_let_go() {
        let mut watch = Watch::default();
        let slot = watch.begin(0, owner(7), 0, 0, 0);
        let mut packets = (0..).map(|i: u32| {
            seen(
                if i.is_multiple_of(2) { Dir::ToServer } else { Dir::ToClient },
                100,
                i / 2 * 100,
                i64::from(i) / 2,
            )
        });
        assert!(packets.position(|p| watch.packet(slot, &p) == Outcome::Hopeless).is_some_and(|n| n < 200));
    }

    #[test]
    fn a_clock_is_let_go_when_patience_ends() {
        let mut watch = Watch::default();
        let slot = watch.begin(0, owner(7), 0, 0, 0);
        let mut polls = (0..2_000u32).flat_map(|i| {
            let at = i64::from(i) * 500;
            [seen(Dir::ToServer, 60, i * 60, at), seen(Dir::ToClient, 90, i * 90, at + 20)]
        });
        let until = polls.find(|p| watch.packet(slot, p) != Outcome::Watching).unwrap().ts_ns;
        assert!((PATIENCE_NS..2 * PATIENCE_NS).contains(&until), "{until}");
    }

    #[test]
    fn a_full_shard_takes_a_newcomer_only_for_a_silent_one() {
        let mut watch = Watch::default();
        let slots: Vec<Slot> = (0..PLACES).map(|at| watch.begin(3, owner(at), 0, 0, 0)).collect();
        assert_eq!(watch.makes_way(4, 0), Ok(None), "another shard has room");
        assert_eq!(watch.makes_way(3, SILENT_NS - 1), Err(Full));
        for slot in &slots[1..] {
            watch.packet(*slot, &seen(Dir::ToServer, 30, 1, 10_000));
        }
        assert_eq!(watch.makes_way(3, SILENT_NS), Ok(Some(owner(0))));
        watch.release(slots[0]);
        assert_eq!(watch.makes_way(3, SILENT_NS), Ok(None));
        assert_eq!(watch.begin(3, owner(99), 0, 0, 0), slots[0], "its place is used again");
    }

    #[test]
    fn turns_come_further_and_further_apart_and_only_with_a_small_payload() {
        let turns: Vec<u64> = (0..5_000).filter(|n| turn(*n, 40)).collect();
        assert_eq!(turns[0], TURN);
        assert!(turns.iter().filter(|n| **n >= 1_000).count() <= 6 * TURN as usize, "{turns:?}");
        assert!((256..272).chain(384..400).all(|n| turns.contains(&n)));
        assert!(!(0..5_000).any(|n| turn(n, 0) || turn(n, SMALL_BYTES + 1)));
    }

    #[test]
    fn bulk_and_new_flows_are_not_worth_it() {
        assert!(!worth(20, 0, AGE_NS - 1), "too young");
        assert!(worth(20, 0, AGE_NS));
        assert!(worth(1_000, 0, AGE_NS) && !worth(1_001, 0, AGE_NS));
        assert!(!worth(20, 10 * SECOND_NS, 0), "a clock that went back");
    }
}
