//! Which of many objects a selector selects, without asking each of them.

use std::ops::Range;

use super::Selector;
use super::node::{Comparison, Node};
use crate::resource::Labels;

/// The labels of many objects, sorted, so that a selector is asked only of objects that it may select.
///
/// Most selectors name a value of a label (`app == "web"`), and few objects have it: those alone are looked at.
/// A selector that says only what must not be, such as `!has(app)`, is still asked of every object.
#[derive(Clone, Debug, Default)]
pub struct LabelIndex<'a> {
    objects: Vec<&'a Labels>,
    /// Every label of every object. What has one key, or one key and value, or a value that begins in one way, stands
    /// together.
    entries: Vec<Entry<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<'a> {
    key: &'a str,
    value: &'a str,
    object: usize,
}

impl<'a> LabelIndex<'a> {
    /// The index of these objects, which are known by their place, from 0.
    pub fn new(objects: impl IntoIterator<Item = &'a Labels>) -> Self {
        let objects: Vec<&Labels> = objects.into_iter().collect();
        let mut entries: Vec<Entry<'_>> = objects
            .iter()
            .enumerate()
            .flat_map(|(object, labels)| {
                labels
                    .iter()
                    .map(move |(key, value)| Entry { key, value, object })
            })
            .collect();
        entries.sort_unstable();
        LabelIndex { objects, entries }
    }

    /// The objects that the selector selects, in order: those for which [`Selector::matches`] holds.
    ///
    /// The time grows with the objects that may be selected, as far as one condition on each side of `||` tells.
    pub fn matching(&self, selector: &Selector) -> Vec<usize> {
        let matches = |&object: &usize| selector.matches(self.objects[object]);
        let Some(candidates) = self.candidates(&selector.0, true) else {
            return (0..self.objects.len()).filter(matches).collect();
        };
        let mut candidates: Vec<usize> = candidates
            .into_iter()
            .flat_map(|range| &self.entries[range])
            .map(|entry| entry.object)
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(matches);
        candidates
    }

    /// Ranges of entries, among whose objects is every one for which `node` is `wanted`; `None` if that may be any
    /// object.
    fn candidates(&self, node: &Node, wanted: bool) -> Option<Vec<Range<usize>>> {
        use Comparison::{Contains, EndsWith, Is, IsNot, StartsWith};
        let ranges = match (node, wanted) {
            (Node::Not(node), _) => return self.candidates(node, !wanted),
            // All of them hold: the rarest says enough.
            (Node::And(nodes), true) | (Node::Or(nodes), false) => {
                let each = nodes.iter().filter_map(|node| self.candidates(node, wanted));
                return each.min_by_key(|ranges| size(ranges));
            }
            // One of them holds.
            (Node::Or(nodes), true) | (Node::And(nodes), false) => {
                let each = nodes.iter().map(|node| self.candidates(node, wanted));
                each.collect::<Option<Vec<_>>>()?.concat()
            }
            (Node::All | Node::Global, false) => Vec::new(),
            (Node::Has(label), true) => vec![self.with_key(label)],
            (Node::In { label, values }, true) | (Node::NotIn { label, values }, false) => {
                let each = values.iter().map(|value| self.with_value(label, value));
                each.collect()
            }
            (
                Node::Compare {
                    label,
                    comparison,
                    value,
                },
                _,
            ) => match (comparison, wanted) {
                (Is, true) | (IsNot, false) => vec![self.with_value(label, value)],
                (StartsWith, true) => vec![self.with_prefix(label, value)],
                (Contains | EndsWith, true) => vec![self.with_key(label)],
                (IsNot, true) | (Is | StartsWith | Contains | EndsWith, false) => return None,
            },
            (Node::All | Node::Global | Node::NotIn { .. }, true)
            | (Node::Has(_) | Node::In { .. }, false) => return None,
        };
        // Overlapping ranges can hold more than there is.
        (size(&ranges) < self.objects.len()).then_some(ranges)
    }

    fn with_key(&self, key: &str) -> Range<usize> {
        self.range(|entry| entry.key < key, |entry| entry.key == key)
    }

    fn with_value(&self, key: &str, value: &str) -> Range<usize> {
        self.range(
            |entry| (entry.key, entry.value) < (key, value),
            |entry| (entry.key, entry.value) == (key, value),
        )
    }

    fn with_prefix(&self, key: &str, prefix: &str) -> Range<usize> {
        self.range(
            |entry| (entry.key, entry.value) < (key, prefix),
            |entry| entry.key == key && entry.value.starts_with(prefix),
        )
    }

    /// The entries behind those for which `is_before` holds, as far as `is_in` does.
    fn range(
        &self,
        is_before: impl Fn(&Entry<'_>) -> bool,
        is_in: impl Fn(&Entry<'_>) -> bool,
    ) -> Range<usize> {
        let start = self.entries.partition_point(is_before);
        let length = self.entries[start..].partition_point(is_in);
        start..start + length
    }
}

/// How many entries the ranges hold.
fn size(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).sum()
}

#[cfg(test)]
mod tests;
