//! Sets of numbers as ranges: protocols, ports, types of ICMP and addresses alike.

use std::sync::Arc;

/// A set of numbers: sorted, disjoint, non-adjacent inclusive ranges. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(Arc<[(u128, u128)]>);

impl Ranges {
    /// The numbers from `first` to `last`, both included.
    pub(super) fn one(first: u128, last: u128) -> Self {
        Ranges(Arc::from([(first, last)]))
    }

    /// What any of these ranges holds.
    pub(super) fn union(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut sorted: Vec<(u128, u128)> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged.into())
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest and the highest number.
    pub(super) fn hull(&self) -> Option<(u128, u128)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// The ranges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }

    /// Whether a number is in both.
    pub(super) fn overlaps(&self, other: &Ranges) -> bool {
        let (few, many) = if self.0.len() <= other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        let touches = |&(first, last): &(u128, u128)| {
            let candidate = many.0.get(many.first_at(first));
            candidate.is_some_and(|&(start, _)| start <= last)
        };
        few.0.iter().any(touches)
    }

    /// What is in both.
    pub(super) fn intersect(&self, other: &Ranges) -> Self {
        if Arc::ptr_eq(&self.0, &other.0) {
            return self.clone();
        }
        let (few, many) = if self.0.len() <= other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut common = Vec::new();
        for &(first, last) in few.0.iter() {
            let within = many.0[many.first_at(first)..].iter();
            let within = within.take_while(|&&(start, _)| start <= last);
            common.extend(within.map(|&(start, end)| (start.max(first), end.min(last))));
        }
        Ranges(common.into())
    }

    /// What is in this one and not in the other.
    pub(super) fn minus(&self, other: &Ranges) -> Self {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ranges(Arc::from([]));
        }
        let mut left = Vec::new();
        for &(first, last) in self.0.iter() {
            let mut next = Some(first);
            let holes = other.0[other.first_at(first)..].iter();
            for &(start, end) in holes.take_while(|&&(start, _)| start <= last) {
                if let Some(from) = next.filter(|&from| from < start) {
                    left.push((from, start - 1));
                }
                next = end.checked_add(1);
            }
            if let Some(from) = next.filter(|&from| from <= last) {
                left.push((from, last));
            }
        }
        Ranges(left.into())
    }

    /// The index of the first range that does not end before `number`.
    fn first_at(&self, number: u128) -> usize {
        self.0.partition_point(|&(_, last)| last < number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<(u128, u128)>> {
        let range = (0u128..40, 0u128..6).prop_map(|(first, length)| (first, first + length));
        vec(range, 0..5)
    }

    fn holds(ranges: &Ranges, number: u128) -> bool {
        ranges
            .0
            .iter()
            .any(|&(first, last)| (first..=last).contains(&number))
    }

    proptest! {
        #[test]
        fn they_are_sets_of_numbers(a in ranges(), b in ranges()) {
            let sets = [&a, &b].map(|ranges| Ranges::union(ranges.iter().copied()));
            let [left, right] = &sets;
            for set in [&sets[0], &sets[1], &left.intersect(right), &left.minus(right)] {
                prop_assert!(set.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{set:?}");
            }
            for number in 0..50 {
                let in_a = a.iter().any(|&(first, last)| (first..=last).contains(&number));
                let in_b = b.iter().any(|&(first, last)| (first..=last).contains(&number));
                prop_assert_eq!(holds(left, number), in_a);
                prop_assert_eq!(holds(&left.intersect(right), number), in_a && in_b);
                prop_assert_eq!(holds(&left.minus(right), number), in_a && !in_b);
            }
            prop_assert_eq!(left.overlaps(right), !left.intersect(right).is_empty());
        }
    }

    #[test]
    fn the_highest_number_is_one_like_any_other() {
        let all = Ranges::one(0, u128::MAX);
        assert!(all.minus(&Ranges::one(5, u128::MAX)) == Ranges::one(0, 4));
        assert!(all.minus(&all.clone()).is_empty() && all.minus(&Ranges::one(0, u128::MAX)).is_empty());
        assert_eq!(all.hull(), Some((0, u128::MAX)));
    }
}
