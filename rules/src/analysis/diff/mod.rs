//! `diff`: what two directories, or the two worlds of one, allow that the other does not.
//!
//! Endpoints are compared by kind, namespace and name, and address by address where they kept theirs. One that only one
//! side has is compared with whoever has its addresses on the other, which is nobody in most cases: an address that no
//! endpoint has is not filtered. Addresses outside all endpoints are compared in blocks, as in the
//! [matrix](super::Matrix), cut where either side cuts them.
//!
//! Pairs that change alike are put together: every end in `from` with every other end in `to`.

mod compare;
mod markdown;
mod parties;
mod witness;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::compare::{Change as Changed, Comparison};
pub use self::witness::{Verdicts, Witness};
use super::matrix::{Allowed, Frame};
use crate::world::{WorldKind, Worlds};

/// One of two worlds that are compared, here and by [`connections`](super::connections).
#[derive(Clone, Copy, Debug)]
pub struct Side<'w> {
    /// A directory, as one host sees it.
    pub worlds: &'w Worlds,
    /// Which of its worlds.
    pub world: WorldKind,
}

/// What changes between two sides, in the shape of `diff -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Each with pairs that change alike; first those with everything in place, then those without safety nets.
    pub changes: Vec<Change>,
    /// Whether either side has a safety net: only then there are changes without one.
    pub has_safety_net: bool,
    /// The protocols that are told apart: `other` is any but these.
    pub protocols: Vec<String>,
    /// Every block of addresses outside endpoints.
    pub blocks: Vec<BlockNets>,
    /// What could not be compared.
    pub notes: Vec<String>,
}

/// A change of what is allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The names of the ends that connections come from.
    pub from: Vec<String>,
    /// The names of the ends that they go to. An end in both lists is meant with the others, not with itself, unless it
    /// is alone in both.
    pub to: Vec<String>,
    /// How many pairs that is.
    pub pairs: usize,
    /// Whether this is the change when safety nets are taken away from both sides.
    pub without_safety_net: bool,
    /// What the new side allows and the old one does not.
    pub added: Vec<Allowed>,
    /// What the old side allows and the new one does not.
    pub removed: Vec<Allowed>,
    /// The two of these in words.
    pub text: ChangeText,
    /// A packet that is added and one that is removed, if there are.
    pub witnesses: Vec<Witness>,
}

/// A change in words, such as `everything but tcp 22`; `None` where there is nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeText {
    /// What is added.
    pub added: Option<String>,
    /// What is removed.
    pub removed: Option<String>,
}

/// A block with all its nets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockNets {
    /// As changes name it.
    pub name: String,
    /// An address belongs to the block with the longest prefix around it.
    pub nets: Vec<String>,
}

/// What changes from the old side to the new one.
pub fn diff(old: Side<'_>, new: Side<'_>) -> Difference {
    let frame = Frame::of(&[old.worlds, new.worlds]);
    let has_net = |side: &Side<'_>| {
        let mut policies = side.worlds.world(side.world).policies.iter();
        policies.any(|policy| policy.safety_net)
    };
    let has_safety_net = has_net(&old) || has_net(&new);
    let mut comparison = Comparison::new(&frame, [old, new]);
    let groups = comparison.parties().groups();
    let mut found = Found::default();
    for from in 0..groups {
        for to in 0..groups {
            if let Some(change) = comparison.between(from, to) {
                found.add(change, from, to);
            }
        }
        if let Some(change) = comparison.with_itself(from) {
            found.with_itself.push((change, from));
        }
    }
    let mut changes = Vec::new();
    for without_safety_net in [false, true] {
        if without_safety_net && !has_safety_net {
            continue;
        }
        let mut of_view = found.changes(&comparison, without_safety_net);
        of_view.sort_by(|a, b| (&a.to, &a.from).cmp(&(&b.to, &b.from)));
        changes.extend(of_view);
    }
    let protocols = frame.protocols.told_apart();
    Difference {
        protocols: protocols.map(|protocol| protocol.to_string()).collect(),
        blocks: comparison.parties().blocks(),
        notes: comparison.parties().notes().to_vec(),
        changes,
        has_safety_net,
    }
}

/// The changes between groups.
#[derive(Debug, Default)]
struct Found {
    /// For each target and change, the sources.
    by_target: BTreeMap<(usize, usize), Vec<usize>>,
    with_itself: Vec<(usize, usize)>,
}

impl Found {
    fn add(&mut self, change: usize, from: usize, to: usize) {
        self.by_target.entry((change, to)).or_default().push(from);
    }

    /// The changes with safety nets or without, those alike put together.
    fn changes(&self, comparison: &Comparison<'_>, without_safety_net: bool) -> Vec<Change> {
        let view = usize::from(without_safety_net);
        let mut by_target: BTreeMap<(&Changed, usize), Vec<usize>> = BTreeMap::new();
        for (&(change, to), from) in &self.by_target {
            let change = &comparison.change(change)[view];
            if !change.is_none() {
                by_target.entry((change, to)).or_default().extend(from);
            }
        }
        let mut alike: BTreeMap<(&Changed, Vec<usize>), Vec<usize>> = BTreeMap::new();
        for ((change, to), mut from) in by_target {
            from.sort_unstable();
            alike.entry((change, from)).or_default().push(to);
        }
        let mut changes: Vec<Change> = alike
            .iter()
            .map(|((change, from), to)| comparison.describe(change, from, to, without_safety_net))
            .collect();
        for &(change, group) in &self.with_itself {
            let change = &comparison.change(change)[view];
            if !change.is_none() {
                changes.extend(comparison.describe_with_itself(change, group, without_safety_net));
            }
        }
        changes
    }
}

impl Difference {
    /// Whether nothing changes, with safety nets or without.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
