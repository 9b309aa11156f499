//! Rules that lint calls unreachable wherever they govern: no packet may move their counters.

use std::collections::{BTreeMap, BTreeSet};

use palisade_rules::analysis::lint::unreachable;
use palisade_rules::compile::{Counted, CountedBy};
use palisade_rules::net::Direction;
use palisade_rules::world::{EndpointId, WorldKind, Worlds};

/// The rules of both worlds that nothing reaches.
pub(super) struct Unreachable(BTreeSet<Rule>);

/// A rule, as its counter names it: world, direction, kind, namespace, name and index.
type Rule = (WorldKind, Direction, &'static str, Option<String>, String, usize);

impl Unreachable {
    pub(super) fn of(worlds: &Worlds) -> Self {
        let mut at: BTreeMap<(WorldKind, usize, Direction, usize), usize> = BTreeMap::new();
        for found in unreachable(worlds) {
            *at.entry((found.world, found.policy, found.direction, found.rule_index))
                .or_default() += 1;
        }
        let mut rules = BTreeSet::new();
        for ((kind, source, direction, rule_index), covered) in at {
            let world = worlds.world(kind);
            let governed = (0..worlds.endpoints.len()).filter(|&index| {
                let stages = worlds.endpoint(EndpointId(index)).kind.stages();
                stages.iter().any(|&stage| {
                    let mut governing = world.governing(EndpointId(index), direction, stage);
                    governing.any(|policy| policy.source == source)
                })
            });
            let policy = world.policies.iter().find(|policy| policy.source == source);
            if let Some(policy) = policy.filter(|_| governed.count() == covered) {
                let named = &policy.named;
                rules.insert((
                    kind,
                    direction,
                    named.kind,
                    named.namespace.clone(),
                    named.name.clone(),
                    rule_index,
                ));
            }
        }
        Unreachable(rules)
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first of these counts that belongs to such a rule.
    pub(super) fn hit<'c>(&self, counted: &'c [Counted]) -> Option<&'c Counted> {
        counted.iter().find(|counted| {
            let CountedBy::Rule {
                policy, rule_index, ..
            } = &counted.by
            else {
                return false;
            };
            let rule = (
                counted.world,
                counted.direction,
                policy.kind,
                policy.namespace.clone(),
                policy.name.clone(),
                *rule_index,
            );
            self.0.contains(&rule)
        })
    }
}
