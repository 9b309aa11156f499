//! What one generation leaves to the next: unchanged policies keep their regions, long lists of regions what they are
//! tied to, sorted (`split/column.rs`), unchanged lists their chains, and maps what leads where it did. The tree itself is
//! made anew each time: for every choice in it depends on all regions, and once they are sorted it is quickly made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::region::Region;
use super::split::Moved;
use super::tree::{Key, Lookup, Node, Rest, Step, To, Tree};
use crate::ruleset::{Chain, Name, Rule, VerdictMap};
use crate::world::{PlacedPolicy, WorldPolicy};

/// What is remembered of every indexed tier of a generation, by the name of its chain.
#[derive(Clone, Debug, Default)]
pub(in crate::compile) struct Memo(BTreeMap<Name, Arc<TierMemo>>);

/// The memories of the previous generation, if there is one, and of the one that is being made.
#[derive(Debug)]
pub(in crate::compile) struct Memory<'m> {
    pub(in crate::compile) previous: Option<&'m Memo>,
    pub(in crate::compile) next: Memo,
}

impl<'m> Memory<'m> {
    /// What the previous generation left of a tier.
    pub(super) fn recall(&self, tier: &Name) -> Option<&'m Arc<TierMemo>> {
        self.previous?.0.get(tier)
    }

    /// Leaves a tier to the next generation.
    pub(super) fn keep(&mut self, tier: Name, memo: Arc<TierMemo>) {
        self.next.0.insert(tier, memo);
    }
}

/// One tier as it was made.
#[derive(Debug)]
pub(super) struct TierMemo {
    pub(super) policies: Vec<Arc<Remembered>>,
    /// What stands at the end of its lists.
    pub(super) end: Option<Rule>,
    pub(super) tree: Tree,
    /// The tier's own chain.
    pub(super) front: Arc<Chain>,
    /// The chain of each node.
    pub(super) chains: Vec<Arc<Chain>>,
    pub(super) maps: BTreeMap<Name, Arc<VerdictMap>>,
}

/// A policy as it was.
#[derive(Debug)]
pub(in crate::compile) struct Remembered {
    pub(super) policy: Arc<WorldPolicy>,
    /// The name of its chain.
    pub(super) chain: Name,
    pub(super) regions: Arc<[Region]>,
    /// Whether one of them has every packet.
    pub(super) matches_all: bool,
    /// A number that does not depend on other policies.
    pub(super) weight: u64,
    /// Whether the regions stay what they are as long as the policy does.
    pub(super) is_lasting: bool,
    /// Whether it can leave its tier undecided, or decided in the preview only, by a mark.
    pub(super) marks: bool,
}

/// How far apart two generations of a list may be, in either direction, to be recognised.
const WINDOW: usize = 32;

/// For each of some the place of its like among others, where both are in nearly the same order.
pub(super) fn aligned<N, O>(
    some: &[N],
    others: &[O],
    is_like: impl Fn(&N, &O) -> bool,
) -> Vec<Option<usize>> {
    let mut expected = 0usize;
    let places = some.iter().map(|one| {
        let ahead = expected..others.len().min(expected + WINDOW);
        let behind = expected.saturating_sub(WINDOW)..expected;
        let place = ahead
            .chain(behind.rev())
            .find(|&place| is_like(one, &others[place]))?;
        expected = place + 1;
        Some(place)
    });
    places.collect()
}

impl TierMemo {
    /// For each policy its place in the previous generation, if it is the same.
    pub(super) fn kept(&self, policies: &[&PlacedPolicy]) -> Vec<Option<usize>> {
        aligned(policies, &self.policies, |policy, old| {
            Arc::ptr_eq(&policy.policy, &old.policy)
        })
    }

    /// Where its policies are now, for each by its place: those that are the same, and keep their order.
    pub(super) fn moved(&self, kept: &[Option<usize>]) -> Option<Moved> {
        let mut places = vec![None; self.policies.len()];
        for (place, old) in (0..).zip(kept) {
            if let Some(old) = old.filter(|old| self.policies[*old].is_lasting) {
                places[old] = Some(place);
            }
        }
        Moved::new(places)
    }

    /// For each node its like in the previous generation, by what leads there.
    pub(super) fn nodes_like(&self, tree: &Tree, kept: &[Option<usize>]) -> Vec<Option<usize>> {
        let is_like_key = |key: &Key, old: &Key| match (key, old) {
            (Key::Around(policy), Key::Around(old)) => kept[*policy] == Some(*old),
            _ => key == old,
        };
        aligned(&tree.nodes, &self.tree.nodes, |node, old| {
            let mut keys = node.by.iter().zip(&old.by);
            node.by.len() == old.by.len() && keys.all(|(key, old)| is_like_key(key, old))
        })
    }
}

/// What a tier is and was, side by side.
pub(super) struct Comparison<'a> {
    pub(super) old: &'a TierMemo,
    pub(super) policies: &'a [Arc<Remembered>],
    pub(super) kept: &'a [Option<usize>],
    /// The names of the nodes' chains.
    pub(super) names: &'a [Name],
}

impl Comparison<'_> {
    /// Whether a node's chain, which is called like that of its old one, would say the same.
    pub(super) fn is_same_chain(&self, node: &Node, old: usize) -> bool {
        let old = &self.old.tree.nodes[old];
        let lookups = || {
            let mut lookups = node.lookups.iter().zip(&old.lookups);
            node.lookups.len() == old.lookups.len() && lookups.all(|(new, old)| is_by_the_same(new, old))
        };
        let rest = || match (&node.rest, &old.rest) {
            (Rest::Walk(new), Rest::Walk(old)) => self.are_same_steps(new, old),
            (Rest::Goto(new), Rest::Goto(old)) => self.names[new.0] == self.old.chains[old.0].name,
            _ => false,
        };
        lookups() && rest()
    }

    /// Whether a key leads where it did.
    pub(super) fn is_same_way(&self, new: To, old: To) -> bool {
        match (new, old) {
            (To::Policy(new), To::Policy(old)) => {
                self.kept[new] == Some(old) || self.policies[new].chain == self.old.policies[old].chain
            }
            (To::Node(new), To::Node(old)) => self.names[new.0] == self.old.chains[old.0].name,
            _ => false,
        }
    }

    /// Whether a list would say the same as one did.
    pub(super) fn are_same_steps(&self, new: &[Step], old: &[Step]) -> bool {
        let mut steps = new.iter().zip(old);
        new.len() == old.len() && steps.all(|(new, old)| self.is_same_step(*new, *old))
    }

    fn is_same_step(&self, new: Step, old: Step) -> bool {
        match (new, old) {
            (Step::Policy(new), Step::Policy(old)) => self.kept[new] == Some(old),
            (Step::Block(new, first, last), Step::Block(old, old_first, old_last)) => {
                let ends = [(first, old_first), (last, old_last)];
                let marks = |policies: &[Arc<Remembered>]| policies.iter().any(|policy| policy.marks);
                let before = &self.old.policies;
                self.names[new.0] == self.old.chains[old.0].name
                    && ends
                        .iter()
                        .all(|(new, old)| self.policies[*new].policy.id == before[*old].policy.id)
                    && marks(&self.policies[first..=last]) == marks(&before[old_first..=old_last])
            }
            _ => false,
        }
    }
}

/// Whether two lookups look at the same of a packet.
pub(super) fn is_by_the_same(new: &Lookup, old: &Lookup) -> bool {
    match (new, old) {
        (Lookup::Services(_), Lookup::Services(_)) | (Lookup::Protocols(_), Lookup::Protocols(_)) => true,
        (Lookup::Ports(new, _), Lookup::Ports(old, _)) => new == old,
        (Lookup::Addresses(new, family, _), Lookup::Addresses(old, other, _))
        | (Lookup::Ranges(new, family, _), Lookup::Ranges(old, other, _)) => new == old && family == other,
        _ => false,
    }
}
