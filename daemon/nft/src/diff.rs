//! From what the kernel holds to what it is to hold, with as little change as possible.
//!
//! - Counters that stay are not touched: they keep their values. That their comment may be an older one is the price. A
//!   counter that somebody has set back is made anew at its total, and with it the rules that count in it.
//! - A base chain that stays is never deleted, only its rules are: the kernel is never without it. (Unless its hook or
//!   comment changes, which the kernel allows in no other way.)
//! - A set that stays loses and gains elements. Rules are not touched, and the kernel checks none again.
//! - A chain whose rules change gets all of them anew: the kernel checks what the base chains reach anyhow.
//! - `nft list` shows chains in the order of their creation, and people read it. So where the order is to change, the
//!   chains from the first difference on are deleted and created again in the same batch, under the same names. The
//!   rules that jump to them are then added again as well, since they hold on to the chains that go.
//!
//! Removals come before additions. That is only an order of words: the batch comes into force as a whole.

use std::collections::{BTreeMap, BTreeSet};

use palisade_rules::ruleset::{Chain, Elements, Hook, Name, Ruleset};

use crate::counters::Ledger;
use crate::dump::{KernelBase, KernelChain, KernelRule, KernelSet, KernelTable};
use crate::handle::hook_number;
use crate::lower::lower;
use crate::program::{Instruction, Verdict};
use crate::transaction::{Operation, SetKind, Transaction};

/// What makes the kernel's table into the desired one; empty if it is already. What counters begin at is in the ledger.
pub fn diff(desired: &Ruleset, kernel: Option<&KernelTable>, ledger: &dyn Ledger) -> Transaction {
    let absent = KernelTable::default();
    let is_off = kernel.is_none_or(|table| table.dormant);
    let kernel = kernel.unwrap_or(&absent);

    let programs = lower_all(desired);
    let replaced_sets = replaced_sets(desired, kernel);
    let recreated = recreated_chains(desired, kernel);
    let set_back = set_back_counters(desired, kernel, ledger);
    let leaving = Leaving {
        chains: &recreated,
        sets: &replaced_sets,
        counters: &set_back,
    };
    let changed = changed_chains(desired, kernel, &programs, &leaving);

    let mut operations = Vec::new();
    if is_off {
        operations.push(Operation::AddTable);
    }
    remove(desired, kernel, &leaving, &changed, &mut operations);
    add_counters(desired, kernel, &set_back, ledger, &mut operations);
    add_sets(desired, kernel, &replaced_sets, &mut operations);
    add_chains(desired, kernel, &recreated, &mut operations);
    add_rules(desired, kernel, programs, &recreated, &changed, &mut operations);
    Transaction::new(operations)
}

/// What stays by name and is deleted and made again: whatever refers to it goes with it.
struct Leaving<'a> {
    chains: &'a BTreeSet<&'a str>,
    sets: &'a BTreeSet<&'a str>,
    counters: &'a BTreeSet<&'a str>,
}

impl Leaving<'_> {
    fn is_held_by(&self, instruction: &Instruction) -> bool {
        match instruction {
            Instruction::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => {
                self.chains.contains(chain.as_str())
            }
            Instruction::Lookup { set, .. } => self.sets.contains(set.as_str()),
            Instruction::Counter(counter) => self.counters.contains(counter.as_str()),
            _ => false,
        }
    }
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
        let (have, want): (BTreeSet<T>, BTreeSet<T>) =
            (have.iter().copied().collect(), want.iter().copied().collect());
        (
            make(have.difference(&want).copied().collect()),
            make(want.difference(&have).copied().collect()),
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

/// Whether a set can stay, whatever it holds.
pub(crate) fn is_same_set(kernel: &KernelSet, kind: SetKind, comment: &str) -> bool {
    kernel.kind == Some(kind) && kernel.comment == comment
}

/// The desired order of chains, as far as it can be had: a base chain that stays cannot move.
pub(crate) fn attainable_order<'a>(desired: &'a Ruleset, staying: &[&'a KernelChain]) -> Vec<&'a str> {
    let staying_base: Vec<&str> = staying
        .iter()
        .filter(|chain| chain.base.is_some())
        .map(|chain| chain.name.as_str())
        .collect();
    let is_staying_base: BTreeSet<&str> = staying_base.iter().copied().collect();
    let (base, plain): (Vec<&Chain>, Vec<&Chain>) =
        desired.chains.iter().partition(|chain| chain.hook.is_some());
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

fn lower_all(desired: &Ruleset) -> Vec<Vec<Vec<Instruction>>> {
    desired
        .chains
        .iter()
        .map(|chain| chain.rules.iter().map(lower).collect())
        .collect()
}

/// The sets that stay by name but not by kind or comment.
fn replaced_sets<'a>(desired: &'a Ruleset, kernel: &KernelTable) -> BTreeSet<&'a str> {
    desired
        .sets
        .iter()
        .filter(|(name, set)| {
            kernel
                .sets
                .get(name.as_str())
                .is_some_and(|have| !is_same_set(have, SetKind::of(&set.elements), set.comment.as_str()))
        })
        .map(|(name, _)| name.as_str())
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
        .map(|chain| (chain.name.as_str(), chain))
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

/// The chains that stay and get their rules anew: because they differ, or because they hold on to what is deleted.
fn changed_chains<'a>(
    desired: &'a Ruleset,
    kernel: &KernelTable,
    programs: &[Vec<Vec<Instruction>>],
    leaving: &Leaving<'_>,
) -> BTreeSet<&'a str> {
    let have: BTreeMap<&str, &KernelChain> = by_name(kernel);
    let mut changed = BTreeSet::new();
    for (chain, programs) in desired.chains.iter().zip(programs) {
        let name = chain.name.as_str();
        let Some(have) = have.get(name).filter(|_| !leaving.chains.contains(name)) else {
            continue;
        };
        let is_same = have.rules.len() == chain.rules.len()
            && have
                .rules
                .iter()
                .zip(programs.iter().zip(&chain.rules))
                .all(|(have, (program, rule))| is_rule(have, program, rule.comment.as_str()));
        let mut instructions = programs.iter().flatten();
        if !is_same || instructions.any(|instruction| leaving.is_held_by(instruction)) {
            changed.insert(name);
        }
    }
    changed
}

fn remove(
    desired: &Ruleset,
    kernel: &KernelTable,
    leaving: &Leaving<'_>,
    changed: &BTreeSet<&str>,
    operations: &mut Vec<Operation>,
) {
    let wanted: BTreeSet<&str> = desired.chains.iter().map(|chain| chain.name.as_str()).collect();
    let goes = |chain: &&KernelChain| {
        !wanted.contains(chain.name.as_str()) || leaving.chains.contains(chain.name.as_str())
    };
    for chain in &kernel.chains {
        if !chain.rules.is_empty() && (goes(&chain) || changed.contains(chain.name.as_str())) {
            operations.push(Operation::FlushChain(chain.name.clone()));
        }
    }
    let wanted_sets: BTreeSet<&str> = desired.sets.keys().map(Name::as_str).collect();
    for name in kernel.sets.keys() {
        if !wanted_sets.contains(name.as_str()) || leaving.sets.contains(name.as_str()) {
            operations.push(Operation::DeleteSet(name.clone()));
        }
    }
    let wanted_counters: BTreeSet<&str> = desired.counters.keys().map(Name::as_str).collect();
    let gone_counters = kernel
        .counters
        .keys()
        .filter(|name| !wanted_counters.contains(name.as_str()) || leaving.counters.contains(name.as_str()))
        .map(|name| (crate::abi::obj::COUNTER, name));
    let foreign_objects = kernel.foreign_objects.iter().map(|(kind, name)| (*kind, name));
    operations.extend(gone_counters.chain(foreign_objects).map(|(kind, name)| {
        let name = name.clone();
        Operation::DeleteObject { name, kind }
    }));
    operations.extend(
        kernel
            .chains
            .iter()
            .filter(goes)
            .map(|chain| Operation::DeleteChain(chain.name.clone())),
    );
}

fn add_counters(
    desired: &Ruleset,
    kernel: &KernelTable,
    set_back: &BTreeSet<&str>,
    ledger: &dyn Ledger,
    operations: &mut Vec<Operation>,
) {
    for (name, comment) in &desired.counters {
        let held = kernel.counters.get(name.as_str()).map(|counter| counter.value);
        if held.is_none() || set_back.contains(name.as_str()) {
            operations.push(Operation::AddCounter {
                name: name.to_string(),
                value: ledger.total(name.as_str(), held),
                comment: comment.as_str().to_owned(),
            });
        }
    }
}

fn add_sets(
    desired: &Ruleset,
    kernel: &KernelTable,
    replaced_sets: &BTreeSet<&str>,
    operations: &mut Vec<Operation>,
) {
    for (name, set) in &desired.sets {
        let have = kernel
            .sets
            .get(name.as_str())
            .filter(|_| !replaced_sets.contains(name.as_str()));
        let (surplus, missing) = match have {
            None => {
                operations.push(Operation::AddSet {
                    name: name.to_string(),
                    kind: SetKind::of(&set.elements),
                    comment: set.comment.as_str().to_owned(),
                });
                (None, set.elements.clone())
            }
            Some(KernelSet { elements: None, .. }) => {
                operations.push(Operation::FlushSet(name.to_string()));
                let missing = match &set.elements {
                    // Somebody made the time endless. It is over.
                    Elements::Families(_, timeout) => Elements::Families(Vec::new(), *timeout),
                    elements => elements.clone(),
                };
                (None, missing)
            }
            Some(KernelSet {
                elements: Some(elements),
                ..
            }) => {
                let (surplus, missing) = element_changes(elements, &set.elements);
                (Some(surplus), missing)
            }
        };
        if let Some(elements) = surplus.filter(|elements| !elements.is_empty()) {
            operations.push(Operation::DeleteElements {
                set: name.to_string(),
                elements,
            });
        }
        if !missing.is_empty() {
            operations.push(Operation::AddElements {
                set: name.to_string(),
                elements: missing,
            });
        }
    }
}

/// All chains before all rules: a rule may jump to any chain.
fn add_chains(
    desired: &Ruleset,
    kernel: &KernelTable,
    recreated: &BTreeSet<&str>,
    operations: &mut Vec<Operation>,
) {
    let have = by_name(kernel);
    let (base, plain): (Vec<&Chain>, Vec<&Chain>) =
        desired.chains.iter().partition(|chain| chain.hook.is_some());
    for chain in base.into_iter().chain(plain) {
        let name = chain.name.as_str();
        match have.get(name).filter(|_| !recreated.contains(name)) {
            None => operations.push(Operation::AddChain {
                name: name.to_owned(),
                hook: chain.hook,
                comment: chain.comment.as_str().to_owned(),
            }),
            Some(have) if have.base.as_ref().is_some_and(|base| !base.accepts) => {
                operations.push(Operation::AcceptByPolicy(name.to_owned()));
            }
            Some(_) => {}
        }
    }
}

fn add_rules(
    desired: &Ruleset,
    kernel: &KernelTable,
    programs: Vec<Vec<Vec<Instruction>>>,
    recreated: &BTreeSet<&str>,
    changed: &BTreeSet<&str>,
    operations: &mut Vec<Operation>,
) {
    let have = by_name(kernel);
    for (chain, programs) in desired.chains.iter().zip(programs) {
        let name = chain.name.as_str();
        if have.contains_key(name) && !recreated.contains(name) && !changed.contains(name) {
            continue;
        }
        for (number, (program, rule)) in (1..).zip(programs.into_iter().zip(&chain.rules)) {
            operations.push(Operation::AddRule {
                chain: name.to_owned(),
                number,
                program,
                comment: rule.comment.as_str().to_owned(),
            });
        }
    }
}

fn by_name(kernel: &KernelTable) -> BTreeMap<&str, &KernelChain> {
    kernel
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), chain))
        .collect()
}

#[cfg(test)]
mod tests;
