//! Sorted, disjoint address ranges: made from any set of ranges, looked up, and laid over each other.

/// Addresses `first..=last` of the shared number space and what is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range<T> {
    pub(super) first: u128,
    pub(super) last: u128,
    pub(super) value: T,
}

/// Ranges in ascending order that share no address.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges<T> {
    sorted: Vec<Range<T>>,
    /// Input ranges that had to give addresses to a narrower or later-starting one.
    pub(super) clipped: usize,
}

impl<T: Copy + PartialEq> Ranges<T> {
    /// Sorts and clips: where ranges overlap, the one that starts later (at the same start: the shorter one; of two
    /// equal ones the later in the input) keeps the addresses and the other keeps what is left on both sides.
    pub(super) fn from_unsorted(mut input: Vec<Range<T>>) -> Self {
        // Stable, and reversed within equal ranges by opening them in order: the last one opened is on top.
        input.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        let mut out = Self { sorted: Vec::with_capacity(input.len()), clipped: 0 };
        // Ranges that contain the sweep position, the one that wins on top, and where its next piece begins: `None`
        // once the last address of the space is given away.
        let mut open: Vec<Range<T>> = Vec::new();
        let mut at = Some(0);
        for next in input {
            while let Some(done) = open.pop_if(|top| top.last < next.first) {
                at = out.close(done, at);
            }
            if let Some(covered) = open.last() {
                out.clipped += 1;
                if let Some(at) = at.filter(|&at| at < next.first) {
                    out.push(at, next.first - 1, covered.value);
                }
            }
            at = Some(next.first);
            open.push(next);
        }
        while let Some(done) = open.pop() {
            at = out.close(done, at);
        }
        out
    }

    /// Gives `done` what is left of it from `at` on; returns where the one below it goes on.
    fn close(&mut self, done: Range<T>, at: Option<u128>) -> Option<u128> {
        let at = at?;
        if at > done.last {
            return Some(at);
        }
        self.push(at, done.last, done.value);
        done.last.checked_add(1)
    }

    fn push(&mut self, first: u128, last: u128, value: T) {
        match self.sorted.last_mut() {
            Some(before) if before.value == value && before.last.checked_add(1) == Some(first) => {
                before.last = last;
            }
            _ => self.sorted.push(Range { first, last, value }),
        }
    }

    /// The range that contains `number`.
    pub(super) fn find(&self, number: u128) -> Option<&Range<T>> {
        let after = self.sorted.partition_point(|r| r.first <= number);
        self.sorted.get(after.checked_sub(1)?).filter(|r| number <= r.last)
    }

    pub(super) fn as_slice(&self) -> &[Range<T>] {
        &self.sorted
    }
}

/// Cuts the number space at every border of `a`, `b` and `c` and returns the pieces where at least one of them says
/// something, in order; `combine` sees what each says, and adjacent pieces with the same outcome become one.
pub(super) fn overlay<A: Copy, B: Copy, C: Copy, T: Copy + PartialEq>(
    a: &[Range<A>],
    b: &[Range<B>],
    c: &[Range<C>],
    mut combine: impl FnMut(Option<A>, Option<B>, Option<C>) -> Option<T>,
) -> Vec<Range<T>> {
    let mut out: Vec<Range<T>> = Vec::with_capacity(a.len() + b.len() / 2);
    let mut cursors = (Cursor(a), Cursor(b), Cursor(c));
    let mut at = 0_u128;
    loop {
        let (va, ea) = cursors.0.at(at);
        let (vb, eb) = cursors.1.at(at);
        let (vc, ec) = cursors.2.at(at);
        let end = ea.min(eb).min(ec);
        if let Some(value) = combine(va, vb, vc) {
            match out.last_mut() {
                Some(before) if before.value == value && before.last.checked_add(1) == Some(at) => {
                    before.last = end;
                }
                _ => out.push(Range { first: at, last: end, value }),
            }
        }
        match end.checked_add(1) {
            Some(next) => at = next,
            None => return out,
        }
    }
}

/// A walk along sorted ranges.
struct Cursor<'a, T>(&'a [Range<T>]);

impl<T: Copy> Cursor<'_, T> {
    /// What is said of `number` and the last address up to which that holds; `number` never goes back.
    fn at(&mut self, number: u128) -> (Option<T>, u128) {
        while self.0.first().is_some_and(|r| r.last < number) {
            self.0 = &self.0[1..];
        }
        match self.0.first() {
            Some(head) if head.first <= number => (Some(head.value), head.last),
            Some(head) => (None, head.first - 1),
            None => (None, u128::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range<T>(first: u128, last: u128, value: T) -> Range<T> {
        Range { first, last, value }
    }

    #[test]
    fn a_range_that_runs_into_the_next_is_clipped_at_its_start() {
        // 215.0/9-like rows of the ASN table: AS749 until the middle of AS721's block.
        let ranges = Ranges::from_unsorted(vec![range(10, 29, 749), range(20, 39, 721)]);
        assert_eq!(ranges.as_slice(), [range(10, 19, 749), range(20, 39, 721)]);
        assert_eq!(ranges.clipped, 1);
    }

    #[test]
    fn a_range_inside_another_wins_and_the_outer_goes_on_behind_it() {
        let ranges = Ranges::from_unsorted(vec![range(0, 99, 'a'), range(40, 49, 'b'), range(45, 45, 'c')]);
        assert_eq!(
            ranges.as_slice(),
            [
                range(0, 39, 'a'),
                range(40, 44, 'b'),
                range(45, 45, 'c'),
                range(46, 49, 'b'),
                range(50, 99, 'a')
            ]
        );
    }

    #[test]
    fn the_last_address_of_the_space_can_end_a_range() {
        let ranges = Ranges::from_unsorted(vec![range(5, u128::MAX, 1), range(9, u128::MAX, 2)]);
        assert_eq!(ranges.as_slice(), [range(5, 8, 1), range(9, u128::MAX, 2)]);
        assert_eq!(ranges.find(u128::MAX).map(|r| r.value), Some(2));
        assert!(ranges.find(4).is_none());
    }

    #[test]
    fn adjacent_ranges_that_say_the_same_become_one() {
        let ranges = Ranges::from_unsorted(vec![range(4, 7, 1), range(0, 3, 1), range(8, 9, 2)]);
        assert_eq!(ranges.as_slice(), [range(0, 7, 1), range(8, 9, 2)]);
    }

    #[test]
    fn an_overlay_cuts_at_every_border_and_joins_equal_neighbours() {
        let asn = [range(0, 9, 1), range(10, 19, 2)];
        let country = [range(0, 14, 'd')];
        let class = [range(3, 3, 'x'), range(30, u128::MAX, 'y')];
        let pieces = overlay(&asn, &country, &class, |a, b, c| {
            (a.is_some() || b.is_some() || c.is_some()).then_some((a, b, c == Some('y')))
        });
        assert_eq!(
            pieces,
            [
                range(0, 9, (Some(1), Some('d'), false)),
                range(10, 14, (Some(2), Some('d'), false)),
                range(15, 19, (Some(2), None, false)),
                range(30, u128::MAX, (None, None, true)),
            ]
        );
    }

    proptest! {
        #[test]
        fn clipping_gives_every_address_the_value_of_its_latest_starting_range(
            input in proptest::collection::vec((0_u128..60, 0_u128..30), 0..20)
        ) {
            let input: Vec<_> =
                input.iter().enumerate().map(|(i, &(first, len))| range(first, first + len, i)).collect();
            let ranges = Ranges::from_unsorted(input.clone());
            for number in 0..100 {
                let expected = input
                    .iter()
                    .filter(|r| (r.first..=r.last).contains(&number))
                    .max_by_key(|r| (r.first, std::cmp::Reverse(r.last), r.value))
                    .map(|r| r.value);
                prop_assert_eq!(ranges.find(number).map(|r| r.value), expected, "address {}", number);
            }
            prop_assert!(ranges.as_slice().windows(2).all(|w| w[0].last < w[1].first));
        }
    }
}
