//! What all kinds of findings look at, reckoned once.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::reach::{Reach, RuleKey, Walker};
use super::table::{Entry, Table, policies};
use crate::diagnostic::quoted;
use crate::net::{Direction, Family};
use crate::resource::Rule;
use crate::snapshot::Snapshot;
use crate::world::{Endpoint, EndpointId, PlacedPolicy, World, WorldKind, WorldRule, Worlds};

/// The resources and what they come to.
pub(super) struct Input<'a> {
    /// As they were read.
    pub(super) snapshot: &'a Snapshot,
    /// As they are in force, and would be.
    pub(super) worlds: &'a Worlds,
    /// Every rule with the packets that it matches.
    pub(super) table: Table<'a>,
    /// Where packets get to, in both worlds, the enforced one first.
    pub(super) reach: [BTreeMap<RuleKey, Reach>; 2],
    /// For each policy, by its index in the snapshot, the endpoints that it governs in either world.
    governed: BTreeMap<usize, BTreeSet<EndpointId>>,
}

/// A rule, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// Its policy.
    pub(super) policy: &'a PlacedPolicy,
    /// Its direction.
    pub(super) direction: Direction,
    /// The rule.
    pub(super) rule: &'a WorldRule,
}

impl<'a> Input<'a> {
    /// Of a snapshot and its worlds.
    pub(super) fn new(snapshot: &'a Snapshot, worlds: &'a Worlds) -> Self {
        let table = Table::new(worlds);
        let mut walker = Walker::new(worlds, &table);
        let reach = WorldKind::BOTH.map(|kind| walker.reach(worlds.world(kind)));
        let mut governed: BTreeMap<usize, BTreeSet<EndpointId>> = BTreeMap::new();
        for world in WorldKind::BOTH.map(|kind| worlds.world(kind)) {
            for endpoint in (0..worlds.endpoints.len()).map(EndpointId) {
                for &policy in world.selecting(endpoint) {
                    let source = world.policies[policy as usize].source;
                    governed.entry(source).or_default().insert(endpoint);
                }
            }
        }
        Input {
            snapshot,
            worlds,
            table,
            reach,
            governed,
        }
    }

    /// Every policy of either world, once.
    pub(super) fn policies(&self) -> impl Iterator<Item = &'a PlacedPolicy> {
        policies(self.worlds)
    }

    /// Every rule of a policy, as it is written and as the worlds have it.
    pub(super) fn rules(&self) -> impl Iterator<Item = (Place<'a>, &'a Rule)> {
        let (snapshot, worlds) = (self.snapshot, self.worlds);
        policies(worlds).flat_map(move |policy| {
            Direction::BOTH.into_iter().flat_map(move |direction| {
                let written = snapshot.policies[policy.source].rules(direction);
                let rules = policy.rules(direction).unwrap_or_default();
                let place = move |rule| Place {
                    policy,
                    direction,
                    rule,
                };
                rules
                    .iter()
                    .zip(written)
                    .map(move |(rule, written)| (place(rule), written))
            })
        })
    }

    /// The endpoints that a policy governs in either world.
    pub(super) fn governed(&self, policy: &PlacedPolicy) -> impl Iterator<Item = (EndpointId, &'a Endpoint)> {
        let ids = self.governed.get(&policy.source);
        ids.into_iter()
            .flatten()
            .map(|&id| (id, self.worlds.endpoint(id)))
    }

    /// Whether a policy governs an endpoint with an address of a family.
    pub(super) fn governs_family(&self, policy: &PlacedPolicy, family: Family) -> bool {
        let mut governed = self.governed(policy);
        governed.any(|(_, endpoint)| {
            endpoint
                .addresses
                .iter()
                .any(|&address| Family::of(address) == family)
        })
    }

    /// Both worlds.
    pub(super) fn both_worlds(&self) -> [(WorldKind, &'a World); 2] {
        WorldKind::BOTH.map(|kind| (kind, self.worlds.world(kind)))
    }

    /// The endpoints in a few words.
    pub(super) fn endpoints(&self, ids: &[EndpointId]) -> String {
        let names = ids.iter().map(|&id| self.worlds.endpoint(id).to_string());
        listed(&names.collect::<Vec<_>>())
    }
}

impl<'a> Place<'a> {
    /// The place of a rule in the table.
    pub(super) fn of(entry: &Entry<'a>) -> Self {
        Place {
            policy: entry.policy,
            direction: entry.direction,
            rule: entry.rule,
        }
    }

    /// A finding about the rule.
    pub(super) fn finding(&self, code: &'static str, message: impl Into<String>) -> Finding {
        let mut finding = Finding::new(code, message).of_policy(self.policy);
        finding.position = Some(self.rule.position.clone());
        finding.path = Some(format!("spec.{}[{}]", self.direction, self.rule.index));
        finding
    }
}

/// `ingress rule 2 of ``web`` `.
impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (direction, index) = (self.direction, self.rule.index);
        write!(
            f,
            "{direction} rule {index} of {}",
            quoted(&self.policy.id.to_string())
        )
    }
}

/// `a`, `a and b`, `a, b and c`; of many only the first, and how many more.
pub(super) fn listed(items: &[String]) -> String {
    const MOST: usize = 4;
    match items {
        [] => String::new(),
        [one] => one.clone(),
        _ if items.len() > MOST => {
            let shown = items[..MOST - 1].join(", ");
            format!("{shown} and {} more", items.len() - (MOST - 1))
        }
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// In which worlds something holds, said only where it does not hold in every world that has what it is about.
pub(super) fn in_worlds(holds: [bool; 2], exists: [bool; 2]) -> &'static str {
    match (holds, exists) {
        ([true, false], [_, true]) => " as things are, before what is staged is promoted",
        ([false, true], [true, _]) => " once what is staged is promoted",
        _ => "",
    }
}
