//! Two lists of policies as one, in order, where one of the two is long and the same for many others.
//!
//! M policies that each ask for a port and N that ask for addresses only would take M x N entries, if each port listed
//! all of the N. Instead the N are cut in two, and each half again, at places that all ports have in common. What lies
//! between two policies of a port is then a few blocks, that have their own lookups and are there once.

use std::collections::BTreeMap;

use super::builder::{Best, Builder, policies};
use super::{Key, NodeId, Step};
use crate::compile::index::split::{Dimension, Item};

/// A list of regions that many lists have in common.
pub(super) struct Base {
    pub(super) items: Vec<Item>,
    /// The policies that the regions are of, in order.
    pub(super) policies: Vec<usize>,
    dimensions: Vec<Dimension>,
    /// What leads to them.
    pub(super) by: Vec<Key>,
    /// The nodes of stretches of its policies, from the first one to behind the last.
    blocks: BTreeMap<(usize, usize), NodeId>,
}

impl Base {
    pub(super) fn of(items: Vec<Item>, dimensions: &[Dimension], by: Vec<Key>) -> Self {
        Base {
            policies: policies(&items).collect(),
            items,
            dimensions: dimensions.to_vec(),
            by,
            blocks: BTreeMap::new(),
        }
    }
}

impl Builder<'_> {
    /// These policies among those that are always there: policies one by one where they meet, blocks elsewhere.
    pub(super) fn weave(&mut self, base: &mut Base, policies: &[usize]) -> Vec<Step> {
        let mut steps = Vec::new();
        self.weave_into(&mut steps, base, (0, base.policies.len()), policies);
        steps
    }

    fn weave_into(
        &mut self,
        steps: &mut Vec<Step>,
        base: &mut Base,
        within: (usize, usize),
        policies: &[usize],
    ) {
        let (begin, end) = within;
        if end - begin <= self.limits.walked.max(1) {
            let mut all: Vec<usize> = base.policies[begin..end]
                .iter()
                .chain(policies)
                .copied()
                .collect();
            all.sort_unstable();
            all.dedup();
            steps.extend(all.into_iter().map(Step::Policy));
        } else if policies.is_empty() {
            let node = self.block(base, within);
            steps.push(Step::Block(node, base.policies[begin], base.policies[end - 1]));
        } else {
            let cut = self.cut(base, within);
            let there = policies.partition_point(|policy| *policy < base.policies[cut]);
            self.weave_into(steps, base, (begin, cut), &policies[..there]);
            self.weave_into(steps, base, (cut, end), &policies[there..]);
        }
    }

    /// A list that is too long for lookups, as parts that are not.
    pub(super) fn stretches(&mut self, base: &Base) -> Vec<Step> {
        let mut steps = Vec::new();
        self.stretch_into(&mut steps, base, (0, base.policies.len()), true);
        steps
    }

    fn stretch_into(&mut self, steps: &mut Vec<Step>, base: &Base, within: (usize, usize), is_whole: bool) {
        let (begin, end) = within;
        let policies = &base.policies[begin..end];
        if policies.len() <= self.limits.walked.max(1) {
            steps.extend(policies.iter().copied().map(Step::Policy));
            return;
        }
        let items = Self::items(base, within);
        let left = self.left;
        let best = if is_whole {
            Best::TooLong
        } else {
            self.best(items, policies.len(), &base.dimensions, None)
        };
        // The node spends it.
        self.left = left;
        match best {
            Best::Split(..) => {
                let by = self.by(base, within);
                let node = self.node(items.to_vec(), &base.dimensions, &by);
                steps.push(Step::Block(node, policies[0], policies[policies.len() - 1]));
            }
            Best::TooLong => {
                let cut = self.cut(base, within);
                self.stretch_into(steps, base, (begin, cut), false);
                self.stretch_into(steps, base, (cut, end), false);
            }
            Best::Nothing => steps.extend(policies.iter().copied().map(Step::Policy)),
        }
    }

    /// The node of a stretch of policies.
    fn block(&mut self, base: &mut Base, within: (usize, usize)) -> NodeId {
        if let Some(&node) = base.blocks.get(&within) {
            return node;
        }
        let by = self.by(base, within);
        let items = Self::items(base, within).to_vec();
        let node = self.node(items, &base.dimensions, &by);
        base.blocks.insert(within, node);
        node
    }

    fn by(&self, base: &Base, within: (usize, usize)) -> Vec<Key> {
        let around = Key::Around(base.policies[self.cut(base, within)]);
        base.by.iter().copied().chain([around]).collect()
    }

    fn items(base: &Base, (begin, end): (usize, usize)) -> &[Item] {
        let policy = |item: &Item| item.policy as usize;
        let first = base
            .items
            .partition_point(|item| policy(item) < base.policies[begin]);
        let behind = base
            .items
            .partition_point(|item| policy(item) <= base.policies[end - 1]);
        &base.items[first..behind]
    }

    /// Where a stretch of at least two policies is cut: in its middle half, before the policy of most weight.
    fn cut(&self, base: &Base, (begin, end): (usize, usize)) -> usize {
        let quarter = (end - begin) / 4;
        let middle = (begin + quarter).max(begin + 1)..(end - quarter);
        let weight = |place: &usize| self.regions.policies[base.policies[*place]].weight;
        middle.max_by_key(weight).unwrap_or(end - 1)
    }
}
