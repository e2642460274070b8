//! What makes way when hosts or findings are as many as may be kept.
//!
//! In: all rows of a full table. Out: the keys of the least valuable ones, an eighth of the table at once, so that choosing is
//! paid by many newcomers. What an alert was given for stays; of the rest the lowest score goes first, then what was seen
//! longest ago. A crowd of scanners must not push out the one who came in.

use super::finding::Finding;
use super::weights::Weights;

/// This part of a full table makes way at once.
const PART: usize = 8;

/// What a row is worth: whether it must stay, its score, when it was last seen.
pub(super) type Worth = (bool, i32, i64);

/// What a finding is worth.
pub(super) fn worth(finding: &Finding, weights: &Weights) -> Worth {
    (finding.raised, finding.score(weights), finding.seen_ns[1])
}

/// The keys that make way; none if all must stay.
pub(super) fn least<K: Ord + Copy>(rows: impl Iterator<Item = (Worth, K)>) -> Vec<K> {
    let mut rows: Vec<(Worth, K)> = rows.collect();
    let count = rows.len().div_ceil(PART);
    rows.sort_unstable();
    rows.into_iter().take(count).take_while(|((stays, ..), _)| !stays).map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_goes_the_lowest_score_first_and_alerts_stay() {
        let rows = [
            ((false, -3, 10), 'a'),
            ((true, -30, 0), 'b'),
            ((false, -20, 9), 'c'),
            ((false, -20, 5), 'd'),
            ((false, 4, 1), 'e'),
        ];
        assert_eq!(least(rows.into_iter()), ['d']);
        let twice = (0..16).map(|n| ((n % 2 == 0, -n, 0), n));
        assert_eq!(least(twice), [15, 13]);
        assert_eq!(least([((true, 0, 0), 1)].into_iter()), [] as [i32; 0]);
    }
}
