//! How the kernel's table differs from the desired one, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use palisade_rules::ruleset::{Chain, Elements, Name, Ruleset, TABLE, Ways};

use crate::diff::{
    attainable_order, element_changes, hangs_at, is_in_order, is_rule, is_same_map, is_same_set,
};
use crate::dump::{KernelChain, KernelRule, KernelTable};
use crate::kind::{MapKind, SetKind};
use crate::lower::lower;
use crate::ways::{self, Way};

/// The most differences that are listed; a table that somebody emptied has thousands.
const LISTED: usize = 20;

/// How the kernel's table differs from the desired one: at least one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// One sentence for each difference, without a full stop.
    pub differences: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table inet {TABLE} is not what palisade put there: ")?;
        let listed = self
            .differences
            .iter()
            .take(LISTED)
            .map(String::as_str)
            .collect::<Vec<_>>();
        f.write_str(&listed.join("; "))?;
        match self.differences.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The differences, or `Ok` exactly if [`crate::diff::diff`] has nothing to do.
pub(crate) fn compare(desired: &Ruleset, kernel: Option<&KernelTable>) -> Result<(), Mismatch> {
    let mut differences = Vec::new();
    match kernel {
        None => differences.push("the table is missing".to_owned()),
        Some(kernel) => {
            if kernel.dormant {
                differences.push("the table is switched off (flags dormant)".to_owned());
            }
            compare_chains(desired, kernel, &mut differences);
            compare_sets(desired, kernel, &mut differences);
            compare_maps(desired, kernel, &mut differences);
            compare_objects(desired, kernel, &mut differences);
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Mismatch { differences })
    }
}

fn compare_chains(desired: &Ruleset, kernel: &KernelTable, differences: &mut Vec<String>) {
    let wanted: BTreeSet<&str> = desired.chains.iter().map(|chain| chain.name.as_str()).collect();
    let by_name: BTreeMap<&str, &KernelChain> = kernel
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), chain))
        .collect();
    for chain in &kernel.chains {
        if !wanted.contains(chain.name.as_str()) {
            differences.push(format!("chain {} should not be there", chain.name));
        }
    }
    let staying: Vec<&KernelChain> = kernel
        .chains
        .iter()
        .filter(|chain| wanted.contains(chain.name.as_str()))
        .collect();
    let mut is_complete = true;
    for chain in &desired.chains {
        let name = &chain.name;
        let Some(have) = by_name.get(name.as_str()) else {
            is_complete = false;
            differences.push(format!("chain {name} is missing"));
            continue;
        };
        if !hangs_at(have.base.as_ref(), chain.hook) {
            differences.push(format!("chain {name} hangs at another hook or priority"));
        } else if have.base.as_ref().is_some_and(|base| !base.accepts) {
            differences.push(format!("the policy of base chain {name} is not accept"));
        }
        if have.comment != chain.comment.as_str() {
            differences.push(format!("chain {name} has another comment"));
        }
        differences.extend(rules_differ(&have.rules, chain));
    }
    if !is_complete || !is_in_order(desired) {
        return;
    }
    let order = attainable_order(desired, &staying);
    let wrong = staying
        .iter()
        .zip(&order)
        .find(|(have, want)| have.name != **want);
    if let Some((_, name)) = wrong {
        differences.push(format!("chain {name} is not in its place"));
    }
}

/// How the rules of a chain differ, in words.
pub(crate) fn rules_differ(have: &[KernelRule], chain: &Chain) -> Option<String> {
    let name = &chain.name;
    if have.len() != chain.rules.len() {
        let (have, want) = (have.len(), chain.rules.len());
        return Some(format!("chain {name} has {have} rules instead of {want}"));
    }
    let mut both = have.iter().zip(&chain.rules);
    let position = both.position(|(have, rule)| !is_rule(have, &lower(rule), rule.comment.as_str()))?;
    let number = position + 1;
    let rule = &chain.rules[position];
    Some(format!("rule {number} of chain {name} is not \"{rule}\""))
}

fn compare_sets(desired: &Ruleset, kernel: &KernelTable, differences: &mut Vec<String>) {
    let wanted: BTreeSet<&str> = desired.sets.keys().map(Name::as_str).collect();
    for name in kernel.sets.keys() {
        if !wanted.contains(name.as_str()) {
            differences.push(format!("set {name} should not be there"));
        }
    }
    for (name, set) in &desired.sets {
        let Some(have) = kernel.sets.get(name.as_str()) else {
            differences.push(format!("set {name} is missing"));
            continue;
        };
        if !is_same_set(have, SetKind::of(&set.elements), set.comment.as_str()) {
            differences.push(format!("set {name} has another type, flags or comment"));
            continue;
        }
        differences.extend(elements_differ(name, have.elements.as_ref(), &set.elements));
    }
}

/// How what a set holds differs, in words.
pub(crate) fn elements_differ(name: &Name, have: Option<&Elements>, want: &Elements) -> Option<String> {
    let Some(have) = have else {
        return Some(format!("set {name} holds elements that palisade does not make"));
    };
    let (surplus, missing) = element_changes(have, want);
    let (surplus, missing) = (surplus.len(), missing.len());
    (surplus + missing > 0).then(|| format!("set {name} lacks {missing} elements and has {surplus} too many"))
}

fn compare_maps(desired: &Ruleset, kernel: &KernelTable, differences: &mut Vec<String>) {
    let wanted: BTreeSet<&str> = desired.maps.keys().map(Name::as_str).collect();
    for name in kernel.maps.keys() {
        if !wanted.contains(name.as_str()) {
            differences.push(format!("map {name} should not be there"));
        }
    }
    for (name, map) in &desired.maps {
        let Some(have) = kernel.maps.get(name.as_str()) else {
            differences.push(format!("map {name} is missing"));
            continue;
        };
        if !is_same_map(have, MapKind::of(&map.ways), map.comment.as_str()) {
            differences.push(format!("map {name} has another type, flags or comment"));
            continue;
        }
        differences.extend(ways_differ(name, have.ways.as_deref(), &map.ways));
    }
}

/// How what a map holds differs, in words.
pub(crate) fn ways_differ(name: &Name, have: Option<&[Way]>, want: &Ways) -> Option<String> {
    let Some(have) = have else {
        return Some(format!("map {name} holds elements that palisade does not make"));
    };
    let (surplus, missing) = ways::changes(have, &Way::all(want), |_| false);
    let (surplus, missing) = (surplus.len(), missing.len());
    (surplus + missing > 0).then(|| format!("map {name} lacks {missing} elements and has {surplus} too many"))
}

fn compare_objects(desired: &Ruleset, kernel: &KernelTable, differences: &mut Vec<String>) {
    let wanted: BTreeSet<&str> = desired.counters.keys().map(Name::as_str).collect();
    for name in kernel.counters.keys() {
        if !wanted.contains(name.as_str()) {
            differences.push(format!("counter {name} should not be there"));
        }
    }
    for (kind, name) in &kernel.foreign_objects {
        differences.push(format!(
            "object {name} of nf_tables type {kind} should not be there"
        ));
    }
    for name in desired.counters.keys() {
        if !kernel.counters.contains_key(name.as_str()) {
            differences.push(format!("counter {name} is missing"));
        }
    }
}
