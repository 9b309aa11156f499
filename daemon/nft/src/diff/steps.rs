//! The operations of a change in the order in which the kernel can take them.

use std::collections::BTreeSet;

use palisade_rules::ruleset::{Chain, Elements, Match, Name, Rule, Set, Statement, VerdictMap, Ways};

use super::element_changes;
use crate::abi::obj;
use crate::counters::Ledger;
use crate::dump::CounterValue;
use crate::kind::{MapKind, SetKind};
use crate::lower::lower;
use crate::transaction::{Operation, Transaction};
use crate::ways::{self, Way};

/// Operations, sorted by what has to come first: nothing goes while something holds on to it, and nothing comes before
/// what it holds on to.
#[derive(Default)]
pub(crate) struct Steps<'a> {
    table: Option<Operation>,
    rules_out: Vec<Operation>,
    ways_out: Vec<Operation>,
    sets_out: Vec<Operation>,
    objects_out: Vec<Operation>,
    chains_out: Vec<Operation>,
    counters_in: Vec<Operation>,
    sets_in: Vec<Operation>,
    chains_in: Vec<Operation>,
    ways_in: Vec<Operation>,
    rules_in: Vec<Operation>,
    /// What is to be looked at when the change is in force.
    touched: Touched<'a>,
}

/// What a change touches, as it is to be.
#[derive(Default)]
pub(crate) struct Touched<'a> {
    /// Chains that get rules.
    pub(crate) chains: Vec<&'a Chain>,
    /// Sets that come, or whose elements change.
    pub(crate) sets: Vec<(&'a Name, &'a Set)>,
    /// The same of maps.
    pub(crate) maps: Vec<(&'a Name, &'a VerdictMap)>,
}

impl<'a> Steps<'a> {
    /// The transaction, and what it touches.
    pub(crate) fn finish(self) -> (Transaction, Touched<'a>) {
        let steps = [
            self.rules_out,
            self.ways_out,
            self.sets_out,
            self.objects_out,
            self.chains_out,
            self.counters_in,
            self.sets_in,
            // All chains before all rules and elements of maps, which may lead to any chain.
            self.chains_in,
            self.ways_in,
            self.rules_in,
        ];
        let operations = self.table.into_iter().chain(steps.into_iter().flatten());
        (Transaction::new(operations.collect()), self.touched)
    }

    /// The table is made, or woken.
    pub(crate) fn add_table(&mut self) {
        self.table = Some(Operation::AddTable);
    }

    /// The rules of a chain go, and so does the chain if it `goes`, if only to come again.
    pub(crate) fn clear_chain(&mut self, name: &str, has_rules: bool, goes: bool) {
        if has_rules {
            self.rules_out.push(Operation::FlushChain(name.to_owned()));
        }
        if goes {
            self.chains_out.push(Operation::DeleteChain(name.to_owned()));
        }
    }

    pub(crate) fn delete_set(&mut self, name: &str) {
        self.sets_out.push(Operation::DeleteSet(name.to_owned()));
    }

    pub(crate) fn delete_map(&mut self, name: &str) {
        self.sets_out.push(Operation::DeleteMap(name.to_owned()));
    }

    pub(crate) fn delete_counter(&mut self, name: &str) {
        self.delete_object(name, obj::COUNTER);
    }

    pub(crate) fn delete_object(&mut self, name: &str, kind: u32) {
        let name = name.to_owned();
        self.objects_out.push(Operation::DeleteObject { name, kind });
    }

    /// A counter comes. The kernel has `held` in it now, or does not have it.
    pub(crate) fn add_counter(
        &mut self,
        name: &Name,
        comment: &str,
        held: Option<CounterValue>,
        ledger: &dyn Ledger,
    ) {
        self.counters_in.push(Operation::AddCounter {
            name: name.to_string(),
            value: ledger.total(name.as_str(), held),
            comment: comment.to_owned(),
        });
    }

    /// A set comes with all that it holds.
    pub(crate) fn add_set(&mut self, name: &'a Name, set: &'a Set) {
        self.sets_in.push(Operation::AddSet {
            name: name.to_string(),
            kind: SetKind::of(&set.elements),
            comment: set.comment.as_str().to_owned(),
        });
        self.add_elements(name, set.elements.clone());
        self.touched.sets.push((name, set));
    }

    /// A set that stays holds these, or something that palisade does not make.
    pub(crate) fn change_set(&mut self, name: &'a Name, have: Option<&Elements>, set: &'a Set) {
        let missing = if let Some(have) = have {
            let (surplus, missing) = element_changes(have, &set.elements);
            if surplus.is_empty() && missing.is_empty() {
                return;
            }
            if !surplus.is_empty() {
                self.sets_in.push(Operation::DeleteElements {
                    set: name.to_string(),
                    elements: surplus,
                });
            }
            missing
        } else {
            self.sets_in.push(Operation::FlushSet(name.to_string()));
            match &set.elements {
                // Somebody made the time endless. It is over.
                Elements::Families(_, timeout) => Elements::Families(Vec::new(), *timeout),
                elements => elements.clone(),
            }
        };
        self.add_elements(name, missing);
        self.touched.sets.push((name, set));
    }

    fn add_elements(&mut self, name: &Name, elements: Elements) {
        if !elements.is_empty() {
            let set = name.to_string();
            self.sets_in.push(Operation::AddElements { set, elements });
        }
    }

    /// A map comes with all that it holds.
    pub(crate) fn add_map(&mut self, name: &'a Name, map: &'a VerdictMap) {
        let kind = MapKind::of(&map.ways);
        self.sets_in.push(Operation::AddMap {
            name: name.to_string(),
            kind,
            comment: map.comment.as_str().to_owned(),
        });
        self.add_ways(name, kind, Way::all(&map.ways));
        self.touched.maps.push((name, map));
    }

    /// A map that stays holds these, or something that palisade does not make.
    pub(crate) fn change_map(
        &mut self,
        name: &'a Name,
        have: Option<&[Way]>,
        map: &'a VerdictMap,
        leaving: &Leaving<'_>,
    ) {
        let (kind, want) = (MapKind::of(&map.ways), Way::all(&map.ways));
        let missing = if let Some(have) = have {
            let (surplus, missing) = ways::changes(have, &want, |chain| leaving.is_chain(chain));
            if surplus.is_empty() && missing.is_empty() {
                return;
            }
            if !surplus.is_empty() {
                self.ways_out.push(Operation::DeleteWays {
                    map: name.to_string(),
                    kind,
                    ways: surplus,
                });
            }
            missing
        } else {
            self.ways_out.push(Operation::FlushMap(name.to_string()));
            want
        };
        self.add_ways(name, kind, missing);
        self.touched.maps.push((name, map));
    }

    /// A map that stays leads elsewhere: only what was, and only what is to be.
    pub(crate) fn follow_map(&mut self, name: &'a Name, was: &Ways, is: &Ways, map: &'a VerdictMap) {
        if was.is_empty() && is.is_empty() {
            return;
        }
        let kind = MapKind::of(&map.ways);
        if !was.is_empty() {
            self.ways_out.push(Operation::DeleteWays {
                map: name.to_string(),
                kind,
                ways: Way::all(was),
            });
        }
        self.add_ways(name, kind, Way::all(is));
        self.touched.maps.push((name, map));
    }

    fn add_ways(&mut self, name: &Name, kind: MapKind, ways: Vec<Way>) {
        if !ways.is_empty() {
            let map = name.to_string();
            self.ways_in.push(Operation::AddWays { map, kind, ways });
        }
    }

    /// A chain comes, its rules aside.
    pub(crate) fn add_chain(&mut self, chain: &Chain) {
        self.chains_in.push(Operation::AddChain {
            name: chain.name.to_string(),
            hook: chain.hook,
            comment: chain.comment.as_str().to_owned(),
        });
    }

    /// A base chain drops what no rule takes, and is not to.
    pub(crate) fn accept_by_policy(&mut self, name: &str) {
        self.chains_in.push(Operation::AcceptByPolicy(name.to_owned()));
    }

    /// An empty chain gets its rules.
    pub(crate) fn add_rules(&mut self, chain: &'a Chain) {
        let rules = (1..).zip(&chain.rules);
        self.rules_in
            .extend(rules.map(|(number, rule)| Operation::AddRule {
                chain: chain.name.to_string(),
                number,
                program: lower(rule),
                comment: rule.comment.as_str().to_owned(),
            }));
        self.touched.chains.push(chain);
    }
}

/// What stays by name and is deleted and made again: whatever refers to it goes with it.
#[derive(Default)]
pub(crate) struct Leaving<'a> {
    /// Chains.
    pub(crate) chains: BTreeSet<&'a str>,
    /// Sets and maps.
    pub(crate) sets: BTreeSet<&'a str>,
    /// Counters.
    pub(crate) counters: BTreeSet<&'a str>,
}

impl Leaving<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty() && self.counters.is_empty()
    }

    pub(crate) fn is_chain(&self, name: &str) -> bool {
        self.chains.contains(name)
    }

    /// Whether a rule holds on to something of it.
    pub(crate) fn is_held_by(&self, rule: &Rule) -> bool {
        let mut sets = rule.matches.iter().filter_map(Match::set);
        sets.any(|set| self.sets.contains(set.as_str()))
            || rule.statements.iter().any(|statement| match statement {
                Statement::Jump(chain) | Statement::Goto(chain) => self.chains.contains(chain.as_str()),
                Statement::Lookup(_, map) => self.sets.contains(map.as_str()),
                Statement::Counter(counter) => self.counters.contains(counter.as_str()),
                _ => false,
            })
    }
}
