//! Flows that leave: whose time has come, who makes way when a shard is full, and everybody at the end of the input.
//!
//! In: ticks and full shards. Out: calls of [`Core::end`], in an order that only the shard's own history makes.

use super::opener::last_word;
use super::{Core, Ended, Worker, flow_id};
use crate::clock::SECOND_NS;
use crate::decode::proto;
use crate::flow::{End, Key, Table, flag};

/// When a shard is full, this part of it makes way at once, so that the walk is paid by many new flows.
const EVICT_PART: u32 = 8;
/// Closing flows are fetched this many ahead.
const CLOSE_AHEAD: usize = 8;

impl Worker {
    /// Ends the least valuable flows of a full shard: torn down, then one-sided, then unlabelled ones; the longest idle first.
    #[cold]
    pub(super) fn evict(&mut self, shard: u8) {
        let mut rows: Vec<Rank> = Vec::new();
        rank(&self.v4, &self.core, shard, false, &mut rows);
        rank(&self.v6, &self.core, shard, true, &mut rows);
        let quota = self.core.quotas.of(shard);
        let over = u32::try_from(rows.len()).unwrap_or(u32::MAX).saturating_sub(quota);
        let count = ((quota / EVICT_PART).max(1) + over) as usize;
        if count < rows.len() {
            rows.select_nth_unstable(count - 1);
            rows.truncate(count);
        }
        rows.sort_unstable();
        for (i, row) in rows.iter().enumerate() {
            match rows.get(i + CLOSE_AHEAD) {
                Some(ahead) if ahead.v6 => self.v6.prefetch_close(ahead.at),
                Some(ahead) => self.v4.prefetch_close(ahead.at),
                None => {}
            }
            if row.v6 {
                self.core.end(&mut self.v6, shard, row.at, End::Evicted);
            } else {
                self.core.end(&mut self.v4, shard, row.at, End::Evicted);
            }
        }
    }
}

/// How much a flow is worth keeping: the smallest goes first. The order is the same in every run: flows of a shard are listed in an
/// order that only the shard's own history makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    value: u8,
    last_ns: i64,
    v6: bool,
    listed: u32,
    at: u32,
}

fn rank<K: Key>(table: &Table<K>, core: &Core, shard: u8, v6: bool, rows: &mut Vec<Rank>) {
    for (listed, at) in (0..).zip(table.slots(shard)) {
        let hot = &table.entry(at).hot;
        let labelled = if hot.has(flag::INSPECTED) {
            core.inspector.labelled(hot.cold)
        } else {
            core.verdict_of(hot).is_some_and(|v| v.labels.label.is_some())
        };
        let value = match (hot.has(flag::CLOSED), hot.has(flag::DATA_A | flag::DATA_B), labelled) {
            (true, _, false) => 0,
            (_, false, false) => 1,
            (_, true, false) => 2,
            (_, _, true) => 3,
        };
        rows.push(Rank { value, last_ns: hot.last_ns, v6, listed, at });
    }
}

impl Core {
    pub(super) fn sweep<K: Key>(&mut self, table: &mut Table<K>, shard: u8, now_ns: i64) {
        let t = self.config.timeouts;
        let mut due = std::mem::take(&mut self.due);
        due.extend(table.slots(shard).filter_map(|at| {
            let entry = table.entry(at);
            let hot = &entry.hot;
            let both = hot.has(flag::DATA_A | flag::DATA_B) || hot.has(flag::SYN_ACK);
            let (seconds, end) = match (hot.has(flag::CLOSED), entry.key.proto() == proto::TCP, both) {
                (true, ..) => (t.closed, End::Closed),
                (_, true, true) => (t.tcp_established, End::Idle),
                (_, true, false) => (t.tcp_new, End::Idle),
                (_, false, true) => (t.other_established, End::Idle),
                (_, false, false) => (t.other_new, End::Idle),
            };
            (now_ns.saturating_sub(hot.last_ns) > seconds * SECOND_NS).then_some((at, end))
        }));
        for (i, (at, end)) in due.iter().enumerate() {
            if let Some((ahead, _)) = due.get(i + CLOSE_AHEAD) {
                table.prefetch_close(*ahead);
            }
            self.end(table, shard, *at, *end);
        }
        due.clear();
        self.due = due;
        if let Some(interval_ns) = self.config.flow_interval_ns {
            self.tell_lasting(table, shard, now_ns, interval_ns.max(1));
        }
        table.trim(shard);
    }

    /// Reports the flows of a shard that have become older by a whole number of intervals since it was swept last.
    fn tell_lasting<K: Key>(&mut self, table: &Table<K>, shard: u8, now_ns: i64, interval_ns: i64) {
        let swept_ns = self.swept_ns[usize::from(shard)];
        for at in table.slots(shard) {
            let (entry, birth) = (table.entry(at), table.birth(at));
            let intervals = |ns: i64| ns.saturating_sub(birth.first_ns).max(0) / interval_ns;
            if intervals(now_ns) <= intervals(swept_ns) {
                continue;
            }
            let hot = &entry.hot;
            let mut verdict = if hot.has(flag::INSPECTED) {
                Some(self.inspector.verdict(hot.cold))
            } else {
                self.verdict_of(hot).cloned()
            };
            let (opener, basis) = last_word(entry, verdict.as_mut());
            let flow = flow_id(&entry.key, birth, opener, basis);
            let verdict = verdict.map(Box::new);
            self.report.lasting.push(Ended { flow, hot: *hot, opener, end: End::Idle, verdict });
        }
    }

    pub(super) fn end_all<K: Key>(&mut self, table: &mut Table<K>, shard: u8, end: End) {
        let live: Vec<u32> = table.slots(shard).collect();
        for (i, at) in live.iter().enumerate() {
            if let Some(ahead) = live.get(i + CLOSE_AHEAD) {
                table.prefetch_close(*ahead);
            }
            self.end(table, shard, *at, end);
        }
    }
}
