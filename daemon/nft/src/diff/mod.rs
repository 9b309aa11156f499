//! From what the kernel holds to what it is to hold, with as little change as possible.
//!
//! - Counters that stay are not touched: they keep their values. That their comment may be an older one is the price. A
//!   counter that somebody has set back is made anew at its total, and with it the rules that count in it.
//! - A base chain that stays is never deleted, only its rules are: the kernel is never without it. (Unless its hook or
//!   comment changes, which the kernel allows in no other way.)
//! - A set or map that stays loses and gains elements. Rules are not touched.
//! - A chain whose rules change gets all of them anew: the kernel checks what the base chains reach anyhow.
//! - `nft list` shows chains in the order of their creation, and people read it. So where the order is to change, the
//!   chains from the first difference on are deleted and created again in the same batch, under the same names. The
//!   rules and elements that lead to them are then added again as well, since they hold on to the chains that go. That
//!   is so in a table of up to [`ORDERED`] rules. In a larger one a chain stays where it is, and one that comes is last in
//!   the listing: names still sort in the order of evaluation.
//!
//! Removals come before additions. That is only an order of words: the batch comes into force as a whole.
//!
//! What the kernel holds is known from a dump ([`diff()`]), or because palisade put it there ([`held`]).

pub(crate) mod held;
mod steps;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade_rules::ruleset::{Chain, Elements, Hook, Name, Ruleset};

use crate::counters::Ledger;
use crate::dump::{KernelBase, KernelChain, KernelMap, KernelRule, KernelSet, KernelTable};
use crate::handle::hook_number;
use crate::kind::{MapKind, SetKind};
use crate::lower::lower;
use crate::program::Instruction;
use crate::transaction::Transaction;

use steps::Leaving;
pub(crate) use steps::{Steps, Touched};

/// The most rules of a table whose chains are created again where `nft list` would show them out of order. It takes the
/// kernel some 15 µs for each of them.
pub(crate) const ORDERED: usize = 500;

/// What makes the kernel's table into the desired one; empty if it is already. What counters begin at is in the ledger.
pub fn diff(desired: &Ruleset, kernel: Option<&KernelTable>, ledger: &dyn Ledger) -> Transaction {
    steps(desired, kernel, ledger).finish().0
}

/// As [`diff()`], with what is touched.
pub(crate) fn steps<'a>(
    desired: &'a Ruleset,
    kernel: Option<&KernelTable>,
    ledger: &dyn Ledger,
) -> Steps<'a> {
    let absent = KernelTable::default();
    let is_off = kernel.is_none_or(|table| table.dormant);
    let kernel = kernel.unwrap_or(&absent);
    let leaving = Leaving {
        chains: recreated_chains(desired, kernel),
        sets: replaced_sets(desired, kernel),
        counters: set_back_counters(desired, kernel, ledger),
    };

    let mut steps = Steps::default();
    if is_off {
        steps.add_table();
    }
    chain_steps(desired, kernel, &leaving, &mut steps);
    set_steps(desired, kernel, &leaving, &mut steps);
    map_steps(desired, kernel, &leaving, &mut steps);
    counter_steps(desired, kernel, &leaving, ledger, &mut steps);
    steps
}

/// Whether the base chain is the one that the hook asks for, its policy aside.
pub(crate) fn hangs_at(base: Option<&KernelBase>, hook: Option<Hook>) -> bool {
    match (base, hook) {
        (None, None) => true,
        (Some(base), Some(hook)) => {
            base.hook == hook_number(hook.point) && base.priority == hook.priority && base.kind == "filter"
        }
        _ => false,
    }
}

/// Whether the rule is the one that the program and comment make.
pub(crate) fn is_rule(rule: &KernelRule, program: &[Instruction], comment: &str) -> bool {
    rule.program == program && rule.comment == comment
}

/// The elements that a set has too many, and those that it lacks.
pub(crate) fn element_changes(have: &Elements, want: &Elements) -> (Elements, Elements) {
    fn split<T: Ord + Copy>(have: &[T], want: &[T], make: fn(Vec<T>) -> Elements) -> (Elements, Elements) {
        let (have, want) = (sorted(have), sorted(want));
        let (surplus, missing) = differences(&have, &want);
        (
            make(surplus.into_iter().copied().collect()),
            make(missing.into_iter().copied().collect()),
        )
    }
    match (have, want) {
        (Elements::Ipv4Addresses(have), Elements::Ipv4Addresses(want)) => {
            split(have, want, Elements::Ipv4Addresses)
        }
        (Elements::Ipv6Addresses(have), Elements::Ipv6Addresses(want)) => {
            split(have, want, Elements::Ipv6Addresses)
        }
        (Elements::Ipv4Nets(have), Elements::Ipv4Nets(want)) => split(have, want, Elements::Ipv4Nets),
        (Elements::Ipv6Nets(have), Elements::Ipv6Nets(want)) => split(have, want, Elements::Ipv6Nets),
        (Elements::Ports(have), Elements::Ports(want)) => split(have, want, Elements::Ports),
        (Elements::Ipv4NamedPorts(have), Elements::Ipv4NamedPorts(want)) => {
            split(have, want, Elements::Ipv4NamedPorts)
        }
        (Elements::Ipv6NamedPorts(have), Elements::Ipv6NamedPorts(want)) => {
            split(have, want, Elements::Ipv6NamedPorts)
        }
        // What the kernel has taken away by itself is not given back: that would begin the time anew.
        (Elements::Families(..), Elements::Families(_, timeout)) => {
            let none = Elements::Families(Vec::new(), *timeout);
            (none.clone(), none)
        }
        // Sets of different kinds have nothing in common.
        (have, want) => (have.clone(), want.clone()),
    }
}

fn sorted<T: Ord + Copy>(elements: &[T]) -> Cow<'_, [T]> {
    let mut elements = Cow::Borrowed(elements);
    if !elements.is_sorted() {
        elements.to_mut().sort_unstable();
    }
    elements
}

/// What only the first has of two sorted lists, and what only the second has.
pub(crate) fn differences<'a, T: Ord>(have: &'a [T], want: &'a [T]) -> (Vec<&'a T>, Vec<&'a T>) {
    let (mut surplus, mut missing) = (Vec::new(), Vec::new());
    let (mut had, mut wanted) = (have.iter().peekable(), want.iter().peekable());
    loop {
        let order = match (had.peek(), wanted.peek()) {
            (None, None) => return (surplus, missing),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(had), Some(wanted)) => had.cmp(wanted),
        };
        let (had, wanted) = (had.next_if(|_| order.is_le()), wanted.next_if(|_| order.is_ge()));
        if order.is_ne() {
            surplus.extend(had);
            missing.extend(wanted);
        }
    }
}

/// Whether a set can stay, whatever it holds.
pub(crate) fn is_same_set(kernel: &KernelSet, kind: SetKind, comment: &str) -> bool {
    kernel.kind == Some(kind) && kernel.comment == comment
}

/// Whether a map can stay, whatever it holds.
pub(crate) fn is_same_map(kernel: &KernelMap, kind: MapKind, comment: &str) -> bool {
    kernel.kind == Some(kind) && kernel.comment == comment
}

/// Whether the chains of a table are to be listed in order.
pub(crate) fn is_in_order(desired: &Ruleset) -> bool {
    let mut rules = 0;
    desired.chains.iter().all(|chain| {
        rules += chain.rules.len();
        rules <= ORDERED
    })
}

/// The desired order of chains, as far as it can be had: a base chain that stays cannot move.
pub(crate) fn attainable_order<'a>(desired: &'a Ruleset, staying: &[&'a KernelChain]) -> Vec<&'a str> {
    let staying_base: Vec<&str> = staying
        .iter()
        .filter(|chain| chain.base.is_some())
        .map(|chain| chain.name.as_str())
        .collect();
    let is_staying_base: BTreeSet<&str> = staying_base.iter().copied().collect();
    let (base, plain): (Vec<&Chain>, Vec<&Chain>) = desired
        .chains
        .iter()
        .map(Arc::as_ref)
        .partition(|chain| chain.hook.is_some());
    let coming_base = base
        .into_iter()
        .map(|chain| chain.name.as_str())
        .filter(|name| !is_staying_base.contains(name));
    let plain = plain.into_iter().map(|chain| chain.name.as_str());
    staying_base
        .iter()
        .copied()
        .chain(coming_base)
        .chain(plain)
        .collect()
}

/// The sets and maps that stay by name but not by kind or comment.
fn replaced_sets<'a>(desired: &'a Ruleset, kernel: &KernelTable) -> BTreeSet<&'a str> {
    let sets = desired.sets.iter().filter(|(name, set)| {
        let have = kernel.sets.get(name.as_str());
        have.is_some_and(|have| !is_same_set(have, SetKind::of(&set.elements), set.comment.as_str()))
    });
    let maps = desired.maps.iter().filter(|(name, map)| {
        let have = kernel.maps.get(name.as_str());
        have.is_some_and(|have| !is_same_map(have, MapKind::of(&map.ways), map.comment.as_str()))
    });
    sets.map(|(name, _)| name.as_str())
        .chain(maps.map(|(name, _)| name.as_str()))
        .collect()
}

/// The counters that do not hold their totals.
fn set_back_counters<'a>(
    desired: &'a Ruleset,
    kernel: &KernelTable,
    ledger: &dyn Ledger,
) -> BTreeSet<&'a str> {
    let names = desired.counters.keys().map(Name::as_str);
    names
        .filter(|name| {
            let held = kernel.counters.get(*name).map(|counter| counter.value);
            held.is_some_and(|value| ledger.total(name, held) != value)
        })
        .collect()
}

/// The chains that stay by name and are deleted and created again: those that hang elsewhere or have another comment,
/// and those that stand in the wrong place of the listing.
fn recreated_chains<'a>(desired: &'a Ruleset, kernel: &'a KernelTable) -> BTreeSet<&'a str> {
    let wanted: BTreeMap<&str, &Chain> = desired
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), &**chain))
        .collect();
    let (staying, mut recreated): (Vec<&KernelChain>, BTreeSet<&str>) = kernel.chains.iter().fold(
        (Vec::new(), BTreeSet::new()),
        |(mut staying, mut recreated), chain| {
            match wanted.get(chain.name.as_str()) {
                Some(want)
                    if hangs_at(chain.base.as_ref(), want.hook) && chain.comment == want.comment.as_str() =>
                {
                    staying.push(chain);
                }
                Some(_) => {
                    recreated.insert(chain.name.as_str());
                }
                None => {}
            }
            (staying, recreated)
        },
    );
    if !is_in_order(desired) {
        return recreated;
    }
    let order = attainable_order(desired, &staying);
    let in_place = staying
        .iter()
        .zip(&order)
        .take_while(|(chain, name)| chain.name == **name)
        .count();
    let moving = staying[in_place..].iter().filter(|chain| chain.base.is_none());
    recreated.extend(moving.map(|chain| chain.name.as_str()));
    recreated
}

fn chain_steps<'a>(desired: &'a Ruleset, kernel: &KernelTable, leaving: &Leaving<'_>, steps: &mut Steps<'a>) {
    let have: BTreeMap<&str, &KernelChain> = kernel
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), chain))
        .collect();
    let mut cleared = BTreeSet::new();
    let (base, plain): (Vec<&Chain>, Vec<&Chain>) = desired
        .chains
        .iter()
        .map(Arc::as_ref)
        .partition(|chain| chain.hook.is_some());
    for chain in base.iter().chain(&plain) {
        let name = chain.name.as_str();
        match have.get(name).filter(|_| !leaving.is_chain(name)) {
            None => steps.add_chain(chain),
            Some(have) => {
                if have.base.as_ref().is_some_and(|base| !base.accepts) {
                    steps.accept_by_policy(name);
                }
                if !holds(have, chain) || chain.rules.iter().any(|rule| leaving.is_held_by(rule)) {
                    cleared.insert(name);
                }
            }
        }
    }
    for chain in &desired.chains {
        let name = chain.name.as_str();
        if cleared.contains(name) || leaving.is_chain(name) || !have.contains_key(name) {
            steps.add_rules(chain);
        }
    }
    let wanted: BTreeSet<&str> = desired.chains.iter().map(|chain| chain.name.as_str()).collect();
    for chain in &kernel.chains {
        let name = chain.name.as_str();
        let goes = leaving.is_chain(name) || !wanted.contains(name);
        if goes || cleared.contains(name) {
            steps.clear_chain(name, !chain.rules.is_empty(), goes);
        }
    }
}

/// Whether the rules are those that the chain is to have.
fn holds(have: &KernelChain, chain: &Chain) -> bool {
    let mut both = have.rules.iter().zip(&chain.rules);
    have.rules.len() == chain.rules.len()
        && both.all(|(have, rule)| is_rule(have, &lower(rule), rule.comment.as_str()))
}

fn set_steps<'a>(desired: &'a Ruleset, kernel: &KernelTable, leaving: &Leaving<'_>, steps: &mut Steps<'a>) {
    let wanted: BTreeSet<&str> = desired.sets.keys().map(Name::as_str).collect();
    for name in kernel.sets.keys() {
        if !wanted.contains(name.as_str()) || leaving.sets.contains(name.as_str()) {
            steps.delete_set(name);
        }
    }
    for (name, set) in &desired.sets {
        let have = kernel.sets.get(name.as_str());
        match have.filter(|_| !leaving.sets.contains(name.as_str())) {
            None => steps.add_set(name, set),
            Some(have) => steps.change_set(name, have.elements.as_ref(), set),
        }
    }
}

fn map_steps<'a>(desired: &'a Ruleset, kernel: &KernelTable, leaving: &Leaving<'_>, steps: &mut Steps<'a>) {
    let wanted: BTreeSet<&str> = desired.maps.keys().map(Name::as_str).collect();
    for name in kernel.maps.keys() {
        if !wanted.contains(name.as_str()) || leaving.sets.contains(name.as_str()) {
            steps.delete_map(name);
        }
    }
    for (name, map) in &desired.maps {
        let have = kernel.maps.get(name.as_str());
        match have.filter(|_| !leaving.sets.contains(name.as_str())) {
            None => steps.add_map(name, map),
            Some(have) => steps.change_map(name, have.ways.as_deref(), map, leaving),
        }
    }
}

fn counter_steps(
    desired: &Ruleset,
    kernel: &KernelTable,
    leaving: &Leaving<'_>,
    ledger: &dyn Ledger,
    steps: &mut Steps<'_>,
) {
    let wanted: BTreeSet<&str> = desired.counters.keys().map(Name::as_str).collect();
    for name in kernel.counters.keys() {
        if !wanted.contains(name.as_str()) || leaving.counters.contains(name.as_str()) {
            steps.delete_counter(name);
        }
    }
    for (kind, name) in &kernel.foreign_objects {
        steps.delete_object(name, *kind);
    }
    for (name, comment) in &desired.counters {
        let held = kernel.counters.get(name.as_str()).map(|counter| counter.value);
        if held.is_none() || leaving.counters.contains(name.as_str()) {
            steps.add_counter(name, comment.as_str(), held, ledger);
        }
    }
}

#[cfg(test)]
mod tests;
