//! Flows whose shape may tell that somebody operates a machine across them: taken under watch, fed, judged.
//!
//! In: packets of decided flows. Out: evidence that somebody does, and where the content did not tell it the operated side, in the
//! flow's verdict.

use farend_analyzers::{Dir, Evidence, shape};

use super::{Core, Level, Unit, Worker};
use crate::decode::proto;
use crate::flow::{Hot, Key, Table, flag};
use crate::inspect::watch::{self, Outcome, Released, Seen};
use crate::inspect::{Owner, Verdict};

/// Flags of a flow whose content says no more and in which both ends have spoken.
const READY: u16 = flag::DECIDED | flag::DATA_A | flag::DATA_B;

impl Worker {
    /// Ends every watch: what it has seen so far is judged, and packets that are left out from now on do not count as pauses.
    #[cold]
    pub(super) fn end_watches(&mut self) {
        for owner in self.core.watch.owners() {
            if owner.v6 {
                self.core.unwatch(&mut self.v6, owner.at);
            } else {
                self.core.unwatch(&mut self.v4, owner.at);
            }
        }
    }
}

impl Core {
    /// Follows a flow beyond its content.
    #[inline]
    pub(super) fn follow<K: Key>(&mut self, table: &mut Table<K>, at: u32, side: usize, unit: &Unit) {
        let hot = table.hot_mut(at);
        if hot.has(flag::WATCHED) {
            if unit.packet.payload_wire > 0 && !unit.joined {
                self.watched(table, at, side, unit);
            }
        } else if hot.has(READY) && watch::turn(hot.packets(0) + hot.packets(1), unit.packet.payload_wire) {
            self.consider(table, at, unit);
        }
    }

    #[cold]
    fn consider<K: Key>(&mut self, table: &mut Table<K>, at: u32, unit: &Unit) {
        let hot = *table.hot_mut(at);
        let first_ns = table.birth(at).first_ns;
        let judged = self.verdict_of(&hot).is_some_and(shape_is_told);
        if judged || !watch::worth(hot.packets(0) + hot.packets(1), first_ns, unit.ts_ns) {
            return;
        }
        if self.shed >= Level::Shape {
            self.counters.shed[0] += 1;
            return;
        }
        match self.watch.makes_way(unit.shard, unit.ts_ns) {
            Ok(None) => {}
            Ok(Some(owner)) => {
                // It may lie in the other table; this flow takes the place at its next turn.
                (self.silent, self.fed) = (Some(owner), true);
                return;
            }
            Err(watch::Full) => {
                self.counters.unwatched += 1;
                return;
            }
        }
        let slot = self.watch.begin(unit.shard, Owner { at, v6: K::V6 }, hot.cold, first_ns, unit.ts_ns);
        self.counters.watched += 1;
        let hot = table.hot_mut(at);
        hot.flags |= flag::WATCHED;
        hot.cold = slot;
    }

    fn watched<K: Key>(&mut self, table: &mut Table<K>, at: u32, side: usize, unit: &Unit) {
        let hot = *table.hot_mut(at);
        let outcome = self.watch.packet(hot.cold, &seen(unit, &hot, side));
        if outcome == Outcome::Watching {
            return;
        }
        let Released { kept, .. } = self.watch.release(hot.cold);
        let hot = table.hot_mut(at);
        hot.flags &= !flag::WATCHED;
        hot.cold = kept;
        if let Outcome::Judged(judgement) = outcome {
            let verdict = self.judged(table, at, &judgement, unit.number);
            if verdict.labels.label.is_some() {
                let verdict = verdict.clone();
                self.sight(table, at, unit, verdict);
            }
        }
    }

    /// Ends the watch over a flow; what it has come to goes into the verdict.
    pub(super) fn unwatch<K: Key>(&mut self, table: &mut Table<K>, at: u32) {
        let hot = table.hot_mut(at);
        let Released { kept, judgement, packet } = self.watch.release(hot.cold);
        hot.flags &= !flag::WATCHED;
        hot.cold = kept;
        if let Some(judgement) = judgement {
            self.judged(table, at, &judgement, packet);
        }
    }

    fn judged<K: Key>(
        &mut self,
        table: &mut Table<K>,
        at: u32,
        judgement: &shape::Judgement,
        packet: u64,
    ) -> &Verdict {
        let first_ns = table.birth(at).first_ns;
        let hot = table.hot_mut(at);
        if !hot.has(flag::VERDICT) {
            hot.flags |= flag::VERDICT;
            hot.cold = self.keep(Verdict::default());
        }
        let verdict = self.verdicts[hot.cold as usize].get_or_insert_default();
        if verdict.controlled.is_some_and(|told| told != judgement.operated) {
            // What the content tells stands; a shape that contradicts it shows only that it can err.
            return verdict;
        }
        self.counters.evidence[0] += 1;
        verdict.controlled = Some(judgement.operated);
        verdict.evidence.push(Evidence {
            kind: &shape::OPERATED,
            detail: judgement.told(first_ns).into(),
            packet,
        });
        verdict
    }
}

/// Whether the shape of the flow has been judged.
fn shape_is_told(verdict: &Verdict) -> bool {
    verdict.evidence.iter().any(|e| e.kind.name == shape::OPERATED.name)
}

fn seen(unit: &Unit, hot: &Hot, side: usize) -> Seen {
    let p = &unit.packet;
    Seen {
        dir: if side == hot.opener() { Dir::ToServer } else { Dir::ToClient },
        wire_len: p.payload_wire,
        seq: (p.proto == proto::TCP).then_some(p.seq),
        packet: unit.number,
        ts_ns: unit.ts_ns,
    }
}
