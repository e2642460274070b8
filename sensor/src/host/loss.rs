//! Frames that were never captured, and how many of them over a span of time.
//!
//! In: what had been captured and what was lost, at ticks. Out: the share that was lost between two moments. What is
//! claimed of a session of which frames are missing is less sure: the missing ones might have said otherwise.

use std::collections::VecDeque;

use super::finding::{Finding, Line};
use super::weights::Weights;
use crate::clock::SECOND_NS;

/// Samples are this far apart at least.
const APART_NS: i64 = 10 * SECOND_NS;
/// Samples kept: a day's.
const KEPT: usize = 8_640;
/// Kinds of evidence, and the share from which on each holds, in thousandths.
const KINDS: [(u64, &str); 3] =
    [(100, "capture.loss_severe"), (10, "capture.loss_high"), (1, "capture.loss")];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sample {
    at_ns: i64,
    captured: u64,
    lost: u64,
}

/// How much was lost when.
#[derive(Clone, Debug, Default)]
pub struct Loss {
    /// The oldest first; what came before the first is in none.
    samples: VecDeque<Sample>,
    latest: Option<Sample>,
    /// Lost and all, of the whole of it, where that is known from the start and nothing else is.
    whole: Option<[u64; 2]>,
}

impl Loss {
    /// A loss of which nobody says when it was: it counts for everything.
    #[must_use]
    pub fn whole(losses: Option<[u64; 2]>) -> Self {
        Self { whole: losses.filter(|[_, all]| *all > 0), ..Self::default() }
    }

    /// At `at_ns` so many frames had been captured and lost since the beginning.
    pub fn observe(&mut self, at_ns: i64, captured: u64, lost: u64) {
        let sample = Sample { at_ns, captured, lost };
        if self.samples.back().is_none_or(|last| at_ns.saturating_sub(last.at_ns) >= APART_NS) {
            if self.samples.len() >= KEPT {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
        }
        self.latest = Some(sample);
    }

    /// Frames lost, and all there were, over a span of time at least as long as `first_ns..=last_ns`.
    #[must_use]
    pub fn over(&self, [first_ns, last_ns]: [i64; 2]) -> [u64; 2] {
        if let Some(whole) = self.whole {
            return whole;
        }
        let Some(latest) = self.latest else { return [0; 2] };
        let after = self.samples.partition_point(|s| s.at_ns <= first_ns);
        let from = after.checked_sub(1).and_then(|at| self.samples.get(at)).copied().unwrap_or_default();
        let beyond = self.samples.partition_point(|s| s.at_ns < last_ns);
        let to = self.samples.get(beyond).copied().unwrap_or(latest);
        let lost = to.lost.saturating_sub(from.lost);
        [lost, to.captured.saturating_sub(from.captured) + lost]
    }

    /// Lets the loss over the time of a finding count in it.
    pub(super) fn add_to(&self, finding: &mut Finding, weights: &Weights) {
        let [lost, all] = self.over(finding.seen_ns);
        let thousandths = (lost * 1_000).checked_div(all).unwrap_or(0);
        let holds = KINDS.iter().find(|(from, _)| thousandths >= *from).map(|(_, kind)| *kind);
        for (_, kind) in KINDS.iter().filter(|(_, kind)| Some(*kind) != holds) {
            finding.retract(kind);
        }
        let Some(kind) = holds else { return };
        let (decibans, family) = weights.of(kind);
        let line = Line {
            kind,
            family: family.to_owned(),
            decibans,
            packet: finding.flow.birth.number,
            input: finding.flow.birth.input,
            detail: match self.whole {
                None => format!("{lost} of {all} frames of that time were lost before they were captured"),
                Some(_) => format!(
                    "{lost} of {all} frames of the whole capture were lost before they were captured; it does not say when"
                ),
            },
        };
        if !finding.lines.contains(&line) {
            finding.put(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_a_span_is_that_between_the_samples_around_it() {
        let mut loss = Loss::default();
        assert_eq!(loss.over([0, 100]), [0, 0]);
        let s = |n: i64| n * SECOND_NS;
        loss.observe(s(100), 1_000, 0);
        loss.observe(s(105), 1_500, 0);
        loss.observe(s(110), 2_000, 50);
        loss.observe(s(120), 3_000, 50);
        assert_eq!(loss.over([s(100), s(109)]), [50, 1_050], "the sample after it is at 110 s");
        assert_eq!(loss.over([s(111), s(119)]), [0, 1_000]);
        assert_eq!(loss.over([s(90), s(200)]), [50, 3_050], "all there is");
    }

    #[test]
    fn a_day_of_samples_is_kept_and_no_more() {
        let mut loss = Loss::default();
        for n in 0..20_000 {
            loss.observe(n * APART_NS, 10, 0);
        }
        assert_eq!(loss.samples.len(), KEPT);
    }

    #[test]
    fn what_the_source_tells_at_the_end_alone_counts_for_all_of_it() {
        let mut loss = Loss::default();
        loss.observe(500 * SECOND_NS, 900, 100);
        assert_eq!(loss.over([100 * SECOND_NS, 200 * SECOND_NS]), [100, 1_000]);
    }
}
