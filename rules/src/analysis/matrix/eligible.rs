//! Which rules of a program may have an address on one side, without asking each of them.

use super::conditions::{ClassId, Classes, ConditionId};
use super::rules::{RuleId, Rules, Side};
use crate::net::Family;

/// Which rules may have an address on one side, a bit each.
#[derive(Clone, Debug)]
pub(super) struct Eligible(Vec<u64>);

/// The rules of a program by what one of their sides needs.
#[derive(Debug)]
pub(super) struct SideIndex {
    side: Side,
    /// Those that take any address, of each family.
    any: [Eligible; 2],
    /// Those that need a condition, by one that they need; sorted.
    needing: Vec<(ConditionId, usize)>,
    /// Those that only refuse some.
    refusing: Vec<usize>,
}

impl Eligible {
    fn none(rules: usize) -> Self {
        Eligible(vec![0; rules.div_ceil(64)])
    }

    fn insert(&mut self, rule: usize) {
        self.0[rule / 64] |= 1 << (rule % 64);
    }

    /// Those among these rules that are in both, in order.
    pub(super) fn both<'a>(
        &'a self,
        other: &'a Eligible,
        rules: &std::ops::Range<usize>,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let (first, end) = (rules.start, rules.end);
        (first / 64..end.div_ceil(64)).flat_map(move |word| {
            let mut bits = self.0[word] & other.0[word];
            if word == first / 64 {
                bits &= u64::MAX << (first % 64);
            }
            if end - word * 64 < 64 {
                bits &= (1 << (end - word * 64)) - 1;
            }
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(word * 64 + bit as usize)
            })
        })
    }
}

impl SideIndex {
    /// Sorts the rules of a program by what this side of them needs.
    pub(super) fn new(list: &Rules, rules: &[RuleId], side: Side) -> Self {
        let mut index = SideIndex {
            side,
            any: [Eligible::none(rules.len()), Eligible::none(rules.len())],
            needing: Vec::new(),
            refusing: Vec::new(),
        };
        for (place, &id) in rules.iter().enumerate() {
            let rule = list.get(id);
            if rule.has_any(side) {
                for family in Family::BOTH {
                    if rule.exists_for(family) {
                        index.any[family as usize].insert(place);
                    }
                }
            } else if let Some(condition) = rule.needs(side) {
                index.needing.push((condition, place));
            } else {
                index.refusing.push(place);
            }
        }
        index.needing.sort_unstable();
        index
    }

    /// The rules that may have addresses of a class on this side.
    pub(super) fn eligible(
        &self,
        list: &Rules,
        rules: &[RuleId],
        classes: &Classes,
        class: ClassId,
    ) -> Eligible {
        let mut eligible = self.any[classes.family(class) as usize].clone();
        let mut ask = |place: usize| {
            if list.get(rules[place]).may_have(self.side, classes, class) {
                eligible.insert(place);
            }
        };
        self.refusing.iter().copied().for_each(&mut ask);
        let met = classes.met(class);
        if met.len() < self.needing.len() {
            for condition in met {
                let first = self.needing.partition_point(|(needed, _)| needed < condition);
                self.needing[first..]
                    .iter()
                    .take_while(|(needed, _)| needed == condition)
                    .for_each(|&(_, place)| ask(place));
            }
        } else {
            self.needing.iter().for_each(|&(_, place)| ask(place));
        }
        eligible
    }
}
