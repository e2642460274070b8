//! One direction of a flow, taken for the inputs and for the screen at once: messages, their figures, and the judgement of a window.
//!
//! In: payload packets and, at each message start, the other direction. Out: [`Tally`]s, and whether one looks like a person's inputs.

use super::bins::{Bins, Commonest, LAG_BINS, Lags, Next, Starts, lag_bin, log2_q8};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;

/// Packets of one direction with gaps up to this are one message: longer than a burst at 10 Mbit/s, shorter than a key.
const MESSAGE_GAP: i64 = 8 * MS;
/// An input after so much silence of its direction is an onset: the screen's answer to it is not mixed with that to the one before.
const ONSET_SILENCE: i64 = 150 * MS;
/// Starts further apart are not remembered together: bounds the age of a remembered start.
const MEMORY: i64 = 60 * SECOND;
/// How far before an onset chance is measured: not multiples of each other nor of usual clocks.
const DECOYS: [i64; 4] = [1_300 * MS, 2_300 * MS, 3_700 * MS, 5_100 * MS];
/// Bounds of the gaps looked at for a beat: below is a pointer at 60 Hz, which is regular.
const BEAT_GAPS_US: core::ops::Range<u32> = 60_000..1_920_000;
/// Eighths of an octave in [`BEAT_GAPS_US`].
const BEAT_BINS: usize = 40;

/// A direction: the message under way, what is remembered over windows, and the tally of this window.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// Start and latest packet of the latest message, ns.
    latest: Option<(i64, i64)>,
    /// Bytes of the latest message.
    bytes: u32,
    /// Start of the latest message that answered nothing.
    spontaneous: Option<i64>,
    starts: Starts,
    /// Onsets that the other direction has not followed yet, the oldest first; 0 is none. More than 520 ms back they are of no use.
    waiting: [i64; 4],
    pub(super) tally: Tally,
}

impl Way {
    /// Takes a packet of `len` bytes at `now`; `first` is when the flow was first seen, `from` when this window opened (ns).
    pub(super) fn packet(&mut self, other: &mut Self, len: u32, now: i64, first: i64, from: i64) {
        self.tally.packets = self.tally.packets.saturating_add(1);
        if len >= FULL_BYTES {
            self.tally.full = self.tally.full.saturating_add(1);
        }
        let before = self.latest;
        if let Some((start, last)) = before {
            if now.saturating_sub(last) <= MESSAGE_GAP {
                self.latest = Some((start, now));
                self.bytes = self.bytes.saturating_add(len);
                return;
            }
            self.tally.message(self.bytes);
        }
        self.latest = Some((now, now));
        self.bytes = len;
        self.start(before, other, now, first, from);
    }

    /// A message starts at `now`; `before` are start and end of the one before.
    fn start(&mut self, before: Option<(i64, i64)>, other: &mut Self, now: i64, first: i64, from: i64) {
        let tally = &mut self.tally;
        tally.messages = tally.messages.saturating_add(1);
        if let Some((start, _)) = before {
            tally.gap(now.saturating_sub(start), now.saturating_sub(from));
        }
        if before.is_none_or(|(start, _)| now.saturating_sub(start) > MEMORY) {
            self.starts.clear();
        }
        self.starts.push(now);
        for onset in core::mem::take(&mut other.waiting) {
            if onset > 0 {
                other.tally.onset_lags.add(lag_bin(now.saturating_sub(onset)));
            }
        }

        let lag = other.latest.map(|(start, _)| now.saturating_sub(start));
        if lag.is_none_or(|lag| lag > QUIET) {
            tally.quiet = tally.quiet.saturating_add(1);
        }
        if !lag.is_some_and(|lag| tally.lags.add(lag)) {
            tally.spontaneous = tally.spontaneous.saturating_add(1);
            if self.spontaneous.is_some_and(|last| PACE.contains(&now.saturating_sub(last))) {
                tally.paced = tally.paced.saturating_add(1);
            }
            self.spontaneous = Some(now);
        }

        if before.is_none_or(|(_, last)| now.saturating_sub(last) >= ONSET_SILENCE) {
            tally.onsets = tally.onsets.saturating_add(1);
            self.waiting.rotate_left(1);
            if let Some(latest) = self.waiting.last_mut() {
                *latest = now;
            }
            let stale = lag.is_none_or(|lag| lag > MEMORY);
            for (decoy, bins) in DECOYS.into_iter().zip(&mut tally.decoy_lags) {
                let at = now.saturating_sub(decoy);
                if at < first {
                    continue;
                }
                match if stale { Next::Never } else { other.starts.next_after(at) } {
                    Next::After(lag) => {
                        bins.add(lag_bin(lag));
                    }
                    Next::Never => {}
                    Next::Unknown => continue,
                }
                tally.decoys = tally.decoys.saturating_add(1);
            }
        }
    }
}

/// At most this is an input, bytes: keys and pointer events of every recorded tool, with their encryption.
const SMALL_BYTES: u32 = 300;
/// From here on a packet is full: data is being sent, not inputs.
const FULL_BYTES: u32 = 1000;
/// A message so long after the last one of the other direction was not called for by it.
const QUIET: i64 = 250 * MS;
/// Distances between a person's inputs that count for the pace.
const PACE: core::ops::RangeInclusive<i64> = 50 * MS..=SECOND;
/// Gaps below this do not come from keys but from key-up events, pointers and answers to frames.
const FAST_GAP_US: u32 = 60_000;
/// Longer gaps are pauses.
const PAUSE_US: u32 = 1_000_000;

/// What one direction did in a window. Messages are at most 125 a second, 3750 a window: `u16` holds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    packets: u32,
    full: u32,
    /// Messages that started, and those of them that ended.
    pub(super) messages: u16,
    sized: u16,
    small: u16,
    sizes: Commonest,
    size_log: Spread,
    gap_log: Spread,
    pub(super) fast_gaps: u16,
    beat: Bins<BEAT_BINS>,
    pause_us: u32,
    quiet: u16,
    lags: Lags,
    pub(super) spontaneous: u16,
    paced: u16,
    pub(super) onsets: u16,
    onset_lags: Bins<LAG_BINS>,
    /// Onsets asked about at some [`DECOYS`] that lies in memory.
    decoys: u16,
    decoy_lags: [Bins<LAG_BINS>; 4],
}

impl Tally {
    fn message(&mut self, bytes: u32) {
        self.sized = self.sized.saturating_add(1);
        if bytes <= SMALL_BYTES {
            self.small = self.small.saturating_add(1);
        }
        self.sizes.add(u16::try_from(bytes).unwrap_or(u16::MAX));
        self.size_log.add(log2_q8(bytes.saturating_add(1)));
    }

    /// A start came `gap` ns after the one before and `since` ns after the window opened.
    fn gap(&mut self, gap: i64, since: i64) {
        let us = |ns: i64| u32::try_from(ns.wrapping_div(1000)).unwrap_or(u32::MAX);
        let gap_us = us(gap);
        self.gap_log.add(log2_q8(gap_us.max(us(MESSAGE_GAP))));
        if gap_us < FAST_GAP_US {
            self.fast_gaps = self.fast_gaps.saturating_add(1);
        }
        if BEAT_GAPS_US.contains(&gap_us) {
            let eighths = log2_q8(gap_us).saturating_sub(log2_q8(BEAT_GAPS_US.start)) >> 5;
            self.beat.add(usize::try_from(eighths).unwrap_or(usize::MAX));
        }
        if gap_us > PAUSE_US {
            self.pause_us = self.pause_us.saturating_add(us(gap.min(since)));
        }
    }

    /// How the other direction follows the onsets.
    pub(super) fn answers(&self) -> Answers {
        let (first, answered) = self.onset_lags.best_pair();
        let bin = self.onset_lags.fuller(first);
        let by_chance: u32 = self.decoy_lags.iter().map(|bins| bins.best_pair().1).sum();
        let count = |sum: u32| u16::try_from(sum).unwrap_or(u16::MAX);
        Answers {
            bin: u8::try_from(bin).unwrap_or(u8::MAX),
            onsets: self.onsets,
            answered: count(answered),
            decoys: self.decoys,
            by_chance: count(by_chance),
        }
    }

    /// Whether these are a person's inputs and `screen` is what they operate, in a window of `length_ms`: the number of soft gates
    /// that fail, or nothing if a hard one or more than [`SOFT_FAILURES`] do.
    pub(super) fn operates(&self, screen: &Self, length_ms: u64) -> Option<u8> {
        if !self.speaks_with(screen) || self.hard_failure(screen, length_ms) {
            return None;
        }
        let failures = self.soft_failures(length_ms);
        (failures <= SOFT_FAILURES).then_some(failures)
    }

    /// Whether there is enough to judge if these were inputs and `screen` what they operate.
    pub(super) const fn speaks_with(&self, screen: &Self) -> bool {
        self.messages >= INPUTS_MIN && screen.messages >= SCREENS_MIN
    }

    fn hard_failure(&self, screen: &Self, length_ms: u64) -> bool {
        let rate = u64::from(self.messages).saturating_mul(10_000);
        let pace = u64::from(self.paced).saturating_mul(60_000);
        rate < RATE_PER_10_S.saturating_mul(length_ms)
            || below(self.small, self.sized, SMALL_PERCENT)
            || above(self.full, self.packets, FULL_PERCENT)
            || pace < PACED_PER_MINUTE.saturating_mul(length_ms)
            || below(self.sizes.three(), self.sized, COMMONEST_PERCENT)
            || self.gap_log.variance_below(GAP_VARIANCE_Q16)
            || screen.size_log.variance_below(SCREEN_VARIANCE_Q16)
    }

    fn soft_failures(&self, length_ms: u64) -> u8 {
        let length_us = length_ms.saturating_mul(1000);
        let pause = u64::from(self.pause_us).saturating_mul(100);
        let gaps = self.beat.total();
        let pauses = PAUSE_PERCENT.0.saturating_mul(length_us)..=PAUSE_PERCENT.1.saturating_mul(length_us);
        [
            below(self.quiet, self.messages, QUIET_PERCENT),
            gaps < BEAT_GAPS_MIN || above(self.beat.best_pair().1, gaps, BEAT_PERCENT),
            !pauses.contains(&pause),
            !self.answers().beats_chance(),
        ]
        .into_iter()
        .map(u8::from)
        .sum()
    }
}

// The gates. All were set on 65 windows of desktops and 58 of terminals of 22 recorded tools, operated by scripted typing with
// log-normal gaps, against 954 windows of other traffic (browsing, calls, tunnels, polls, transfers), 30 s each; with the tool under
// test left out of the setting, 56 and 56 still pass, at 5 false ones. Thresholds are therefore kept round.

/// Messages without which a window says nothing: idle sessions send fewer.
const INPUTS_MIN: u16 = 6;
const SCREENS_MIN: u16 = 4;
/// Inputs in 10 s, at least.
const RATE_PER_10_S: u64 = 4;
/// Share of small messages among the inputs, at least.
const SMALL_PERCENT: u32 = 90;
/// Share of full packets among the inputs, at most.
const FULL_PERCENT: u32 = 15;
/// Spontaneous inputs at a person's pace in a minute, at least: a slow typist; with 18, human-paced name look-ups pass.
const PACED_PER_MINUTE: u64 = 24;
/// Share of the three commonest sizes of inputs, at least.
const COMMONEST_PERCENT: u32 = 50;
/// Variance of log2(gap) between inputs, at least: a standard deviation of 0.5 in natural logarithms, which clocks do not reach.
const GAP_VARIANCE_Q16: u64 = 34_102;
/// Variance of log2(bytes + 1) of the screen's messages, at least: 0.1 in natural logarithms. Alone it stops a watcher who only
/// looks on, whose update requests have the rhythm of the typist.
const SCREEN_VARIANCE_Q16: u64 = 1_364;

/// Soft gates that may fail.
const SOFT_FAILURES: u8 = 1;
/// Share of inputs that came while the screen was still, at least; fails when something moves all the time.
const QUIET_PERCENT: u32 = 8;
/// Share of the commonest quarter octave among the gaps, at most. At 40, eight desktop windows of 65 are lost.
const BEAT_PERCENT: u32 = 60;
const BEAT_GAPS_MIN: u32 = 5;
/// Share of the window spent in pauses.
const PAUSE_PERCENT: (u64, u64) = (5, 85);
/// Share of onsets answered in the best 40 ms beyond that by chance, at least, in percent.
const EXCESS_PERCENT: i128 = 7;
/// Standard deviations by which it exceeds chance, at least, in halves.
const EXCESS_HALF_DEVIATIONS: i128 = 3;

fn below(part: impl Into<u64>, whole: impl Into<u64>, percent: u32) -> bool {
    part.into().saturating_mul(100) < whole.into().saturating_mul(u64::from(percent))
}

fn above(part: impl Into<u64>, whole: impl Into<u64>, percent: u32) -> bool {
    part.into().saturating_mul(100) > whole.into().saturating_mul(u64::from(percent))
}

/// Onsets followed by the other direction in the best 40 ms, and the same for moments in the past, which cannot have caused it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    /// The fuller half of the best 40 ms, in [`super::bins::LAG_BIN`]s.
    pub(super) bin: u8,
    pub(super) onsets: u16,
    pub(super) answered: u16,
    pub(super) decoys: u16,
    pub(super) by_chance: u16,
}

impl Answers {
    /// (answered share − share by chance) · onsets · decoys.
    fn excess(self) -> i128 {
        let product = |a: u16, b: u16| i128::from(a).saturating_mul(i128::from(b));
        product(self.answered, self.decoys).saturating_sub(product(self.onsets, self.by_chance))
    }

    /// excess ≥ 7 % of the onsets and ≥ 1.5 · √(variance of the number by chance + 1).
    fn beats_chance(self) -> bool {
        let (n, m, b) = (i128::from(self.onsets), i128::from(self.decoys), i128::from(self.by_chance));
        let excess = self.excess();
        if excess <= 0 {
            return false;
        }
        // All multiplied by m², to stay whole.
        let variance =
            n.saturating_mul(b).saturating_mul(m.saturating_sub(b)).saturating_add(m.saturating_mul(m));
        let limit = EXCESS_HALF_DEVIATIONS.saturating_mul(EXCESS_HALF_DEVIATIONS).saturating_mul(variance);
        let share = EXCESS_PERCENT.saturating_mul(n).saturating_mul(m);
        excess.saturating_mul(100) >= share && excess.saturating_mul(excess).saturating_mul(4) >= limit
    }

    /// Whether its excess share is larger than that of `than`.
    pub(super) fn exceeds(self, than: Self) -> bool {
        let scale = |of: Self| i128::from(of.onsets).saturating_mul(i128::from(of.decoys)).max(1);
        self.excess().saturating_mul(scale(than)) > than.excess().saturating_mul(scale(self))
    }
}

/// Count, sum and sum of squares of logarithms.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: u16,
    sum: u32,
    squares: u64,
}

impl Spread {
    fn add(&mut self, log_q8: u32) {
        let log = u64::from(log_q8);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(log_q8);
        self.squares = self.squares.saturating_add(log.saturating_mul(log));
    }

    /// Whether the variance is less than `variance_q16`.
    fn variance_below(self, variance_q16: u64) -> bool {
        let count = u128::from(self.count);
        let scaled = count.saturating_mul(u128::from(self.squares));
        let spread = scaled.saturating_sub(u128::from(self.sum).saturating_mul(u128::from(self.sum)));
        spread < count.saturating_mul(count).saturating_mul(u128::from(variance_q16))
    }
}
