//! Every rule of every policy, once, with the packets that it matches.

use std::collections::BTreeMap;
use std::ops::Range;

use super::region::{Hull, Region, Regions};
use crate::net::Direction;
use crate::resource::Action;
use crate::world::{PlacedPolicy, WorldKind, WorldRule, Worlds};

/// The rules of all policies of both worlds.
pub(super) struct Table<'w> {
    entries: Vec<Entry<'w>>,
    /// Where those of one direction of a policy are, by its index in the snapshot.
    places: BTreeMap<(usize, Direction), Range<usize>>,
}

/// One rule.
pub(super) struct Entry<'w> {
    /// Its policy. One that is in both worlds has the same rules in both.
    pub(super) policy: &'w PlacedPolicy,
    /// Its direction.
    pub(super) direction: Direction,
    /// The rule.
    pub(super) rule: &'w WorldRule,
    /// What it matches; `None` if that is too much to reckon with.
    pub(super) region: Option<Region>,
    hull: Hull,
}

impl<'w> Table<'w> {
    /// Of these worlds.
    pub(super) fn new(worlds: &'w Worlds) -> Self {
        let mut regions = Regions::new(worlds);
        let mut entries: Vec<Entry<'w>> = Vec::new();
        let mut places = BTreeMap::new();
        for policy in policies(worlds) {
            for direction in Direction::BOTH {
                let start = entries.len();
                for rule in policy.rules(direction).unwrap_or_default() {
                    let region = regions.of_rule(rule);
                    let hull = Hull::of(region.as_deref().unwrap_or_default());
                    entries.push(Entry {
                        policy,
                        direction,
                        rule,
                        region,
                        hull,
                    });
                }
                places.insert((policy.source, direction), start..entries.len());
            }
        }
        Table { entries, places }
    }

    /// The rules of one direction of a policy.
    pub(super) fn ids(&self, policy: &PlacedPolicy, direction: Direction) -> Range<usize> {
        let place = self.places.get(&(policy.source, direction));
        place.cloned().unwrap_or_default()
    }

    /// How many rules there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// One rule.
    pub(super) fn get(&self, id: usize) -> &Entry<'w> {
        &self.entries[id]
    }

    /// All rules, by policy, as they were read.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<'w>> {
        self.entries.iter()
    }
}

impl Entry<'_> {
    /// Whether a packet that matches goes no further in the tier.
    pub(super) fn is_terminal(&self) -> bool {
        self.rule.action != Action::Log
    }

    /// Whether a packet may match both.
    pub(super) fn may_overlap(&self, other: &Entry<'_>) -> bool {
        let known = self.region.is_some() && other.region.is_some();
        !known || self.hull.may_overlap(&other.hull)
    }
}

/// Every policy of either world, once, as they were read.
pub(super) fn policies(worlds: &Worlds) -> impl Iterator<Item = &PlacedPolicy> {
    let all = WorldKind::BOTH
        .into_iter()
        .flat_map(|kind| worlds.world(kind).policies.iter());
    let by_source: BTreeMap<usize, &PlacedPolicy> = all.map(|policy| (policy.source, policy)).collect();
    by_source.into_values()
}
