//! Small counters for lags: histograms in fixed bins, the latest start times, and a logarithm without floats.
//!
//! In: lags and times. Out: the best 40 ms, the next start after a moment, log2. Nothing allocates; nothing depends on the machine.

/// Width of a lag bin, ns.
pub(super) const LAG_BIN: i64 = 20_000_000;
/// Lag bins: 520 ms, past the slowest round trip with a person behind it that was recorded (190 ms) and its jitter.
pub(super) const LAG_BINS: usize = 26;

/// How often each of `N` things was seen, up to 255.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bins<const N: usize>([u8; N]);

impl<const N: usize> Default for Bins<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Bins<N> {
    /// Counts one in `bin`; outside of the range nothing is counted. When a bin is full, all are halved and the answer is true.
    pub(super) fn add(&mut self, bin: usize) -> bool {
        let Some(count) = self.0.get_mut(bin) else { return false };
        *count = count.saturating_add(1);
        if *count < u8::MAX {
            return false;
        }
        for count in &mut self.0 {
            *count >>= 1;
        }
        true
    }

    /// Sum of `bin` and the one behind it.
    pub(super) fn pair(&self, bin: usize) -> u32 {
        let at = |i: usize| self.0.get(i).map_or(0, |count| u32::from(*count));
        at(bin).saturating_add(at(bin.saturating_add(1)))
    }

    /// The first pair of neighbours with the largest sum, and the sum.
    pub(super) fn best_pair(&self) -> (usize, u32) {
        let mut best = (0, 0);
        for (bin, pair) in self.0.windows(2).enumerate() {
            let sum = pair.iter().map(|count| u32::from(*count)).sum();
            if sum > best.1 {
                best = (bin, sum);
            }
        }
        best
    }

    /// `bin` or the one behind it, whichever was seen more often.
    pub(super) fn fuller(&self, bin: usize) -> usize {
        let behind = bin.saturating_add(1);
        if self.0.get(behind) > self.0.get(bin) { behind } else { bin }
    }

    /// Sum of all.
    pub(super) fn total(&self) -> u32 {
        self.0.iter().map(|count| u32::from(*count)).sum()
    }
}

/// The lag bin of `lag` ns, [`LAG_BINS`] or more if it lies outside.
pub(super) fn lag_bin(lag: i64) -> usize {
    usize::try_from(lag.wrapping_div(LAG_BIN)).unwrap_or(usize::MAX)
}

/// Lags of which the best 40 ms are always known, at O(1) a lag.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lags {
    bins: Bins<LAG_BINS>,
    best: u8,
}

impl Lags {
    /// Counts of the best 40 ms before a lag can be called one of them.
    const ENOUGH: u32 = 3;

    /// Counts `lag` ns and tells whether it lies in the best 40 ms of those before it.
    pub(super) fn add(&mut self, lag: i64) -> bool {
        let bin = lag_bin(lag);
        let mut best = usize::from(self.best);
        let inside = (bin == best || bin == best.saturating_add(1)) && self.bins.pair(best) >= Self::ENOUGH;
        if self.bins.add(bin) {
            best = self.bins.best_pair().0;
        } else if bin < LAG_BINS {
            for start in [bin.saturating_sub(1), bin] {
                if self.bins.pair(start) > self.bins.pair(best) {
                    best = start;
                }
            }
        }
        self.best = u8::try_from(best).unwrap_or(0);
        inside
    }
}

/// What is known about the first start after a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It came so many ns later.
    After(i64),
    /// There was none.
    Never,
    /// The moment lies before what is remembered.
    Unknown,
}

/// The latest 32 start times of a direction, in ticks of 65.536 µs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Starts {
    ticks: [u32; 32],
    /// Starts since the last clearing; the next one is stored at this number modulo 32.
    count: u32,
}

impl Starts {
    const LEN: u32 = 32;
    /// log2 of a tick in ns.
    const SHIFT: u32 = 16;
    /// Half of the range of a tick counter (39 h): differences above it are negative.
    const HALF: u32 = 1 << 31;

    fn tick(at: i64) -> u32 {
        u32::try_from((at >> Self::SHIFT) & 0xffff_ffff).unwrap_or(0)
    }

    fn get(&self, number: u32) -> u32 {
        let slot = usize::try_from(number % Self::LEN).unwrap_or(0);
        self.ticks.get(slot).copied().unwrap_or(0)
    }

    /// Remembers a start at `at` ns.
    pub(super) fn push(&mut self, at: i64) {
        let slot = usize::try_from(self.count % Self::LEN).unwrap_or(0);
        if let Some(tick) = self.ticks.get_mut(slot) {
            *tick = Self::tick(at);
        }
        // Past the first round only the position in it matters.
        self.count = self.count.checked_add(1).unwrap_or(Self::LEN);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// The first start at or after `at` ns, which must be within a day of the stored ones.
    pub(super) fn next_after(&self, at: i64) -> Next {
        let at = Self::tick(at);
        let first = self.count.saturating_sub(Self::LEN);
        let after = |number: u32| {
            let ahead = self.get(number).wrapping_sub(at);
            (ahead < Self::HALF).then_some(ahead)
        };
        if first > 0 && after(first).is_some() {
            return Next::Unknown;
        }
        let (mut low, mut high) = (first, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if after(middle).is_some() {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        if low == self.count {
            return Next::Never;
        }
        after(low).map_or(Next::Never, |ticks| Next::After(i64::from(ticks) << Self::SHIFT))
    }
}

/// 256 · log2(`x`), rounded down; 0 for 0. By repeated squaring: the same digits on every machine.
pub(super) fn log2_q8(x: u32) -> u32 {
    let Some(whole) = x.checked_ilog2() else { return 0 };
    let mut result = whole;
    // 1 ≤ mantissa < 2 as Q31.
    let mut mantissa = u64::from(x) << 31_u32.saturating_sub(whole);
    for _ in 0..8 {
        mantissa = mantissa.wrapping_mul(mantissa) >> 31;
        result <<= 1;
        if mantissa >= 1 << 32 {
            mantissa >>= 1;
            result |= 1;
        }
    }
    result
}

/// The commonest numbers, by the space-saving rule (Metwally, Agrawal, El Abbadi, 2005): counts are never too small.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Commonest([(u16, u16); 8]);

impl Commonest {
    /// Counts `value`.
    pub(super) fn add(&mut self, value: u16) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, count)| *known == value && *count > 0) {
            *count = count.saturating_add(1);
        } else if let Some(rarest) = self.0.iter_mut().min_by_key(|(_, count)| *count) {
            *rarest = (value, rarest.1.saturating_add(1));
        }
    }

    /// Counts of the three commonest.
    pub(super) fn three(&self) -> u32 {
        let mut counts = self.0.map(|(_, count)| u32::from(count));
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts.iter().take(3).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_to_one_256th() {
        assert_eq!(log2_q8(0), 0);
        for x in (1..5000).chain([8_000, 60_000, 1_000_000, u32::MAX]) {
            let exact = 256.0 * f64::from(x).log2();
            let error = exact - f64::from(log2_q8(x));
            assert!((-0.001..1.001).contains(&error), "{x}: off by {error}");
        }
    }

    #[test]
    fn the_next_start_is_found_across_the_wrap_of_the_ticks_and_not_beyond_memory() {
        let second = 1_000_000_000;
        let wrap = (1_i64 << 48) - 10 * second;
        let mut starts = Starts::default();
        assert_eq!(starts.next_after(0), Next::Never);
        for i in 0..20 {
            starts.push(wrap + i * second);
        }
        assert!(
            matches!(starts.next_after(wrap + 12 * second - 5_000_000), Next::After(lag) if (4_900_000..5_100_000).contains(&lag))
        );
        assert!(matches!(starts.next_after(wrap - second), Next::After(_)), "nothing was forgotten yet");
        assert_eq!(starts.next_after(wrap + 20 * second), Next::Never);
        for i in 20..40 {
            starts.push(wrap + i * second);
        }
        assert_eq!(starts.next_after(wrap + 7 * second), Next::Unknown, "8 is the oldest kept");
        assert!(matches!(starts.next_after(wrap + 8 * second + 1_000_000), Next::After(_)));
        starts.clear();
        assert_eq!(starts.next_after(wrap), Next::Never);
    }

    #[test]
    fn the_best_forty_milliseconds_follow_the_counts_also_through_halving() {
        let mut lags = Lags::default();
        let ms = 1_000_000;
        for _ in 0..3 {
            assert!(!lags.add(105 * ms), "too few to call it a habit");
        }
        assert!(lags.add(95 * ms) && lags.add(119 * ms));
        assert!(!lags.add(300 * ms));
        for _ in 0..400 {
            lags.add(300 * ms);
        }
        assert!(lags.add(300 * ms));
        assert!(!lags.add(105 * ms));
        assert!(!lags.add(10_000 * ms));
        assert!(!lags.add(-5 * ms));
    }

    #[test]
    fn the_commonest_sizes_are_never_undercounted() {
        let mut sizes = Commonest::default();
        for i in 0..100_u16 {
            sizes.add(48);
            sizes.add(if i % 2 == 0 { 64 } else { 1000 + i });
        }
        assert!(sizes.three() >= 150);
        let mut few = Commonest::default();
        for value in [0, 0, 7, 7, 9, 11] {
            few.add(value);
        }
        assert_eq!(few.three(), 5);
    }
}
