//! From what palisade has left in the kernel to what it is to hold.
//!
//! Two rulesets in a row share most of what they have. What is shared is told by its address, and not looked at: the work
//! follows what differs, but for one glance at the address of each chain, set and map.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr;
use std::sync::Arc;

use palisade_rules::ruleset::{Chain, Name, Ruleset, Set, VerdictMap};

use super::is_in_order;
use super::steps::{Leaving, Steps};
use crate::counters::Ledger;
use crate::kind::{MapKind, SetKind};
use crate::ways::Way;

/// What makes a table that holds `earlier` hold `desired`; `None` if only a dump can tell. A counter that is there keeps
/// what it has.
pub(crate) fn steps<'a>(
    earlier: &'a Ruleset,
    desired: &'a Ruleset,
    ledger: &dyn Ledger,
) -> Option<Steps<'a>> {
    if is_in_order(desired) && !is_in_order(earlier) {
        // In a table so large, chains have come to stand anywhere.
        return None;
    }
    let chains = Chains::between(earlier, desired);
    let sets = by_name(&earlier.sets, &desired.sets);
    let maps = by_name(&earlier.maps, &desired.maps);
    let leaving = Leaving {
        chains: chains.anew.iter().map(|chain| chain.name.as_str()).collect(),
        sets: replaced_sets(&sets).chain(replaced_maps(&maps)).collect(),
        counters: BTreeSet::new(),
    };

    let mut steps = Steps::default();
    chain_steps(desired, &chains, &leaving, &mut steps);
    for (name, had, has) in sets {
        match (had, has) {
            (Some(had), Some(has)) if !leaving.sets.contains(name.as_str()) => {
                steps.change_set(name, Some(&had.elements), has);
            }
            (had, has) => {
                if had.is_some() {
                    steps.delete_set(name.as_str());
                }
                if let Some(has) = has {
                    steps.add_set(name, has);
                }
            }
        }
    }
    map_steps(desired, maps, &leaving, &mut steps);
    for (name, had, has) in desired.counters.differences(&earlier.counters) {
        match (had, has) {
            (None, Some(comment)) => steps.add_counter(name, comment.as_str(), None, ledger),
            (Some(_), None) => steps.delete_counter(name.as_str()),
            // Only the comment is another.
            _ => {}
        }
    }
    Some(steps)
}

/// The chains that differ.
struct Chains<'a> {
    /// Those that go.
    gone: Vec<&'a Chain>,
    /// Those that stay, with other rules: as they were, and as they are to be.
    changed: Vec<(&'a Chain, &'a Chain)>,
    /// Those that come.
    coming: Vec<&'a Chain>,
    /// Those that are deleted and made again, as they were: what they hang at or their comment is another, or their place
    /// in the listing.
    anew: Vec<&'a Chain>,
}

impl<'a> Chains<'a> {
    fn between(earlier: &'a Ruleset, desired: &'a Ruleset) -> Self {
        let (had, has) = (addresses(earlier), addresses(desired));
        let only = |ruleset: &'a Ruleset, others: &[*const Chain]| -> Vec<&'a Chain> {
            let chains = ruleset.chains.iter().map(Arc::as_ref);
            chains
                .filter(|chain| others.binary_search(&ptr::from_ref(*chain)).is_err())
                .collect()
        };
        let mut chains = Chains {
            gone: Vec::new(),
            changed: Vec::new(),
            coming: Vec::new(),
            anew: Vec::new(),
        };
        let gone = only(earlier, &has).into_iter();
        let mut gone: BTreeMap<&Name, &Chain> = gone.map(|chain| (&chain.name, chain)).collect();
        for chain in only(desired, &had) {
            match gone.remove(&chain.name) {
                None => chains.coming.push(chain),
                Some(was) if was.hook != chain.hook || was.comment != chain.comment => chains.anew.push(was),
                Some(was) if was.rules != chain.rules => chains.changed.push((was, chain)),
                Some(_) => {}
            }
        }
        chains.gone = gone.into_values().collect();
        if is_in_order(desired) {
            chains.keep_order(earlier, desired);
        }
        chains
    }

    /// Has those made anew that stand in the wrong place of the listing otherwise. Base chains stay where they are.
    fn keep_order(&mut self, earlier: &'a Ruleset, desired: &'a Ruleset) {
        let plain = |ruleset: &'a Ruleset| {
            let chains = ruleset.chains.iter().map(Arc::as_ref);
            chains.filter(|chain| chain.hook.is_none())
        };
        let goes: BTreeSet<&Name> = self
            .gone
            .iter()
            .chain(&self.anew)
            .map(|chain| &chain.name)
            .collect();
        let comes_before = self
            .coming
            .iter()
            .chain(&self.anew)
            .any(|chain| chain.hook.is_some());
        let staying: Vec<&Chain> = plain(earlier)
            .filter(|chain| !goes.contains(&chain.name))
            .collect();
        let in_place = if comes_before {
            0
        } else {
            let both = staying.iter().zip(plain(desired));
            both.take_while(|(had, has)| had.name == has.name).count()
        };
        self.anew.extend(&staying[in_place..]);
        let moving: BTreeSet<&Name> = staying[in_place..].iter().map(|chain| &chain.name).collect();
        self.changed.retain(|(was, _)| !moving.contains(&was.name));
    }
}

/// Where the chains stand in memory, in order.
fn addresses(ruleset: &Ruleset) -> Vec<*const Chain> {
    let mut addresses: Vec<_> = ruleset.chains.iter().map(Arc::as_ptr).collect();
    addresses.sort_unstable();
    addresses
}

fn chain_steps<'a>(desired: &'a Ruleset, chains: &Chains<'a>, leaving: &Leaving<'_>, steps: &mut Steps<'a>) {
    for chain in &chains.gone {
        steps.clear_chain(chain.name.as_str(), !chain.rules.is_empty(), true);
    }
    for chain in &chains.anew {
        steps.clear_chain(chain.name.as_str(), !chain.rules.is_empty(), true);
    }
    for (was, _) in &chains.changed {
        steps.clear_chain(was.name.as_str(), !was.rules.is_empty(), false);
    }
    if leaving.is_empty() {
        chains.coming.iter().for_each(|chain| steps.add_chain(chain));
        let changed = chains.changed.iter().map(|(_, chain)| *chain);
        let filled = chains.coming.iter().copied().chain(changed);
        filled.for_each(|chain| steps.add_rules(chain));
        return;
    }
    // Any rule may hold on to what leaves.
    let named = |chains: &[&'a Chain]| -> BTreeSet<&'a str> {
        chains.iter().map(|chain| chain.name.as_str()).collect()
    };
    let (coming, anew) = (named(&chains.coming), named(&chains.anew));
    let changed: BTreeSet<&str> = chains
        .changed
        .iter()
        .map(|(_, chain)| chain.name.as_str())
        .collect();
    let (base, plain): (Vec<&Chain>, Vec<&Chain>) = desired
        .chains
        .iter()
        .map(Arc::as_ref)
        .partition(|chain| chain.hook.is_some());
    for chain in base.into_iter().chain(plain) {
        let name = chain.name.as_str();
        let comes = coming.contains(name) || anew.contains(name);
        if comes {
            steps.add_chain(chain);
        }
        if comes || changed.contains(name) {
            steps.add_rules(chain);
        } else if chain.rules.iter().any(|rule| leaving.is_held_by(rule)) {
            steps.clear_chain(name, true, false);
            steps.add_rules(chain);
        }
    }
}

fn map_steps<'a>(
    desired: &'a Ruleset,
    differing: Vec<Differing<'a, VerdictMap>>,
    leaving: &Leaving<'_>,
    steps: &mut Steps<'a>,
) {
    let mut done = BTreeSet::new();
    for (name, had, has) in differing {
        done.insert(name);
        match (had, has) {
            (Some(had), Some(has)) if !leaving.sets.contains(name.as_str()) => {
                // Whatever leads to a chain that leaves goes with it.
                match has
                    .ways
                    .differences(&had.ways)
                    .filter(|_| leaving.chains.is_empty())
                {
                    Some((was, is)) => steps.follow_map(name, &was, &is, has),
                    None => steps.change_map(name, Some(&Way::all(&had.ways)), has, leaving),
                }
            }
            (had, has) => {
                if had.is_some() {
                    steps.delete_map(name.as_str());
                }
                if let Some(has) = has {
                    steps.add_map(name, has);
                }
            }
        }
    }
    if leaving.chains.is_empty() {
        return;
    }
    for (name, map) in desired.maps.iter().filter(|(name, _)| !done.contains(name)) {
        if map.ways.chains().any(|chain| leaving.is_chain(chain.as_str())) {
            steps.change_map(name, Some(&Way::all(&map.ways)), map, leaving);
        }
    }
}

fn replaced_sets<'a>(sets: &[Differing<'a, Set>]) -> impl Iterator<Item = &'a str> {
    sets.iter().filter_map(|(name, had, has)| {
        let (had, has) = ((*had)?, (*has)?);
        let is_same = SetKind::of(&had.elements) == SetKind::of(&has.elements) && had.comment == has.comment;
        (!is_same).then_some(name.as_str())
    })
}

fn replaced_maps<'a>(maps: &[Differing<'a, VerdictMap>]) -> impl Iterator<Item = &'a str> {
    maps.iter().filter_map(|(name, had, has)| {
        let (had, has) = ((*had)?, (*has)?);
        let is_same = MapKind::of(&had.ways) == MapKind::of(&has.ways) && had.comment == has.comment;
        (!is_same).then_some(name.as_str())
    })
}

/// What differs at a name: as it was, and as it is to be.
type Differing<'a, V> = (&'a Name, Option<&'a V>, Option<&'a V>);

/// What differs between two maps, in order of the names.
fn by_name<'a, V: PartialEq>(
    earlier: &'a BTreeMap<Name, Arc<V>>,
    desired: &'a BTreeMap<Name, Arc<V>>,
) -> Vec<Differing<'a, V>> {
    let (mut had, mut has) = (earlier.iter().peekable(), desired.iter().peekable());
    let mut differing = Vec::new();
    loop {
        let order = match (had.peek(), has.peek()) {
            (None, None) => return differing,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((was, _)), Some((is, _))) => was.cmp(is),
        };
        let was = had.next_if(|_| order.is_le());
        let is = has.next_if(|_| order.is_ge());
        let (Some((name, _)), was, is) = (is.or(was), was, is) else {
            continue;
        };
        let (was, is) = (was.map(|(_, value)| value), is.map(|(_, value)| value));
        let same = |was: &Arc<V>| is.is_some_and(|is| Arc::ptr_eq(was, is) || was == is);
        if !was.is_some_and(same) {
            differing.push((name, was.map(Arc::as_ref), is.map(Arc::as_ref)));
        }
    }
}
