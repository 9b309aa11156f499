//! Chains of two generations that are the same, whatever they are called.
//!
//! A policy's chain is called after its order, and a tier's after its place, so that what only moves has another name.
//! What counts is what a chain does: its rules, and those of every chain that it leads to, by a map or without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ruleset::{Chain, Match, Name, Rule, Ruleset, Statement, VerdictMap};

/// Compares the chains of two generations.
pub(super) struct Twins<'a> {
    candidate: Side<'a>,
    previous: Side<'a>,
    /// The sets that are not the same in both.
    other_sets: BTreeSet<&'a Name>,
    /// What is known of a chain of the previous generation and one of the candidate.
    known: BTreeMap<(usize, usize), bool>,
}

/// The chains of one generation.
struct Side<'a> {
    chains: &'a [Arc<Chain>],
    by_name: BTreeMap<&'a Name, usize>,
    maps: &'a BTreeMap<Name, Arc<VerdictMap>>,
}

impl<'a> Side<'a> {
    fn new(ruleset: &'a Ruleset) -> Self {
        let chains = &ruleset.chains;
        let by_name = chains.iter().enumerate();
        Side {
            chains,
            by_name: by_name.map(|(index, chain)| (&chain.name, index)).collect(),
            maps: &ruleset.maps,
        }
    }
}

impl<'a> Twins<'a> {
    /// Nothing is compared yet.
    pub(super) fn new(candidate: &'a Ruleset, previous: &'a Ruleset) -> Self {
        let names = candidate.sets.keys().chain(previous.sets.keys());
        Twins {
            other_sets: names
                .filter(|name| candidate.sets.get(*name) != previous.sets.get(*name))
                .collect(),
            candidate: Side::new(candidate),
            previous: Side::new(previous),
            known: BTreeMap::new(),
        }
    }

    /// For each chain of the previous generation its twin among the candidate's, if it has one; no two have the same one.
    /// A base chain is called the same in both.
    pub(super) fn find(mut self) -> Vec<Option<usize>> {
        let mut twins = vec![None; self.previous.chains.len()];
        let mut lone = BTreeMap::new();
        for (candidate, chain) in self.candidate.chains.iter().enumerate() {
            match self.previous.by_name.get(&chain.name).copied() {
                Some(previous) if self.are_same(previous, candidate) => twins[previous] = Some(candidate),
                _ if chain.hook.is_some() => {}
                _ => lone.entry(look(chain)).or_insert_with(Vec::new).push(candidate),
            }
        }
        for (previous, chain) in self.previous.chains.iter().enumerate() {
            let Some(alike) = lone.get_mut(&look(chain)).filter(|_| twins[previous].is_none()) else {
                continue;
            };
            if let Some(place) = alike.iter().position(|&other| self.are_same(previous, other)) {
                twins[previous] = Some(alike.remove(place));
            }
        }
        twins
    }

    fn are_same(&mut self, previous: usize, candidate: usize) -> bool {
        if let Some(&known) = self.known.get(&(previous, candidate)) {
            return known;
        }
        // No chain leads to itself, and if one did, the question would still end.
        self.known.insert((previous, candidate), false);
        let (chain, other) = (&self.previous.chains[previous], &self.candidate.chains[candidate]);
        let is_same = chain.hook == other.hook
            && chain.comment == other.comment
            && chain.rules.len() == other.rules.len()
            && chain
                .rules
                .iter()
                .zip(&other.rules)
                .all(|(rule, other)| self.are_same_rules(rule, other));
        self.known.insert((previous, candidate), is_same);
        is_same
    }

    fn are_same_rules(&mut self, rule: &Rule, other: &Rule) -> bool {
        rule.comment == other.comment
            && rule.matches == other.matches
            && rule.statements.len() == other.statements.len()
            && !rule
                .matches
                .iter()
                .any(|condition| self.looks_elsewhere(condition))
            && rule
                .statements
                .iter()
                .zip(&other.statements)
                .all(|(statement, other)| match (statement, other) {
                    (Statement::Jump(target), Statement::Jump(other))
                    | (Statement::Goto(target), Statement::Goto(other)) => {
                        self.are_same_targets(target, other)
                    }
                    (Statement::Lookup(key, map), Statement::Lookup(other_key, other)) => {
                        key == other_key && self.are_same_maps(map, other)
                    }
                    _ => statement == other,
                })
    }

    fn are_same_targets(&mut self, target: &Name, other: &Name) -> bool {
        let previous = self.previous.by_name.get(target).copied();
        let candidate = self.candidate.by_name.get(other).copied();
        match (previous, candidate) {
            (Some(previous), Some(candidate)) => self.are_same(previous, candidate),
            _ => false,
        }
    }

    fn are_same_maps(&mut self, map: &Name, other: &Name) -> bool {
        let (Some(map), Some(other)) = (self.previous.maps.get(map), self.candidate.maps.get(other)) else {
            return false;
        };
        let mut ways = map.ways.chains().zip(other.ways.chains());
        map.comment == other.comment
            && map.ways.has_keys_of(&other.ways)
            && ways.all(|(target, other)| self.are_same_targets(target, other))
    }

    /// Whether a condition that reads the same looks into another set.
    fn looks_elsewhere(&self, condition: &Match) -> bool {
        condition.set().is_some_and(|set| self.other_sets.contains(set))
    }
}

/// What twins have in common at first glance.
fn look(chain: &Chain) -> (&str, usize) {
    (chain.comment.as_str(), chain.rules.len())
}
