//! The tiers that a packet meets up to one stage of an endpoint, and what of them can matter to one rule.

use std::collections::BTreeMap;

use super::reach::RuleKey;
use super::table::Table;
use crate::net::Direction;
use crate::resource::TierAction;
use crate::world::{EndpointId, PlacedPolicy, Stage, World, Worlds};

/// The tiers that a packet meets up to one stage of an endpoint, in one direction, without the safety nets.
pub(super) struct Way {
    tiers: Vec<Tier>,
    /// How many of them belong to earlier stages.
    early: usize,
    /// In which of the tiers each rule is, and where there.
    places: BTreeMap<usize, (usize, usize)>,
}

/// One tier on the way.
struct Tier {
    stage: Stage,
    /// Which tier of the world.
    index: usize,
    /// The last policy of the tier that governs the direction, by its index in the snapshot.
    last: usize,
    /// Its rules, in order.
    rules: Vec<usize>,
    /// What its end does; `None` at an early stage, where undecided packets go on.
    end: Option<TierAction>,
}

/// A rule as written, on a [`Way`].
pub(super) struct Target {
    /// Which one.
    pub(super) key: RuleKey,
    /// What it became: one rule, or several of a policy of Kubernetes.
    pub(super) rules: Vec<usize>,
    tier: usize,
    /// How many rules of its tier come before it.
    at: usize,
}

/// What can matter to a target of what stands before it: equal steps have equal results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Steps {
    /// Earlier tiers, those of earlier stages first.
    pub(super) tiers: Vec<TierSteps>,
    /// Earlier rules of the target's own tier, in order.
    pub(super) own: Vec<usize>,
}

impl Steps {
    /// Whether nothing in them could take a packet.
    pub(super) fn take_nothing(&self) -> bool {
        let takes = |tier: &TierSteps| !tier.rules.is_empty() || tier.denies.is_some();
        self.own.is_empty() && !self.tiers.iter().any(takes)
    }
}

/// The same of one tier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TierSteps {
    /// At which stage.
    pub(super) stage: Stage,
    /// Its rules, in order.
    pub(super) rules: Vec<usize>,
    /// The tier and its last policy, if its end denies.
    pub(super) denies: Option<(usize, usize)>,
}

impl Way {
    /// The way to `stage`.
    pub(super) fn of(
        worlds: &Worlds,
        table: &Table<'_>,
        world: &World,
        endpoint: EndpointId,
        direction: Direction,
        stage: Stage,
    ) -> Self {
        let mut way = Way {
            tiers: Vec::new(),
            early: 0,
            places: BTreeMap::new(),
        };
        // Past the untracked stage by the interface of a workload, where the host has an endpoint for all other interfaces.
        let is_by_workload = worlds.endpoint(endpoint).wildcard && stage != Stage::Forward;
        let early = stage.early(direction).iter();
        let early = early.filter(|&&at| at != Stage::Untracked || !is_by_workload);
        for &at in early.chain([&stage]) {
            way.early = way.tiers.len();
            let governing = world.governing(endpoint, direction, at);
            let policies: Vec<&PlacedPolicy> = governing.filter(|policy| !policy.safety_net).collect();
            for policies in policies.chunk_by(|a, b| a.tier == b.tier) {
                let (index, last) = policies.last().map_or((0, 0), |last| (last.tier, last.source));
                way.tiers.push(Tier {
                    stage: at,
                    index,
                    last,
                    rules: policies
                        .iter()
                        .flat_map(|policy| table.ids(policy, direction))
                        .collect(),
                    end: (!at.is_early()).then_some(world.tiers[index].default_action),
                });
            }
        }
        for (tier, rules) in way.tiers.iter().enumerate() {
            way.places
                .extend(rules.rules.iter().enumerate().map(|(at, &id)| (id, (tier, at))));
        }
        way
    }

    /// The written rules of the last stage. One that became several is one target.
    pub(super) fn targets(&self, table: &Table<'_>) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for (index, tier) in self.tiers.iter().enumerate().skip(self.early) {
            for (at, &id) in tier.rules.iter().enumerate() {
                let entry = table.get(id);
                let key = (entry.policy.source, entry.direction, entry.rule.index);
                match targets.last_mut() {
                    Some(target) if target.key == key => target.rules.push(id),
                    _ => targets.push(Target {
                        key,
                        rules: vec![id],
                        tier: index,
                        at,
                    }),
                }
            }
        }
        targets
    }

    /// What stands before a target, of these rules and of ends of tiers.
    pub(super) fn steps(&self, target: &Target, rules: &[usize]) -> Steps {
        let mut before: Vec<Vec<(usize, usize)>> = vec![Vec::new(); target.tier + 1];
        for &id in rules {
            if let Some(&(tier, at)) = self.places.get(&id)
                && (tier, at) < (target.tier, target.at)
            {
                before[tier].push((at, id));
            }
        }
        let mut in_order = before.into_iter().map(|mut rules| {
            rules.sort_unstable();
            rules.into_iter().map(|(_, id)| id).collect::<Vec<usize>>()
        });
        let tiers = self.tiers[..target.tier].iter().zip(in_order.by_ref());
        Steps {
            tiers: tiers.map(|(tier, rules)| tier.steps(rules)).collect(),
            own: in_order.next().unwrap_or_default(),
        }
    }

    /// Everything that stands before the end of a tier of the last stage.
    pub(super) fn steps_through(&self, table: &Table<'_>, index: usize) -> Steps {
        let terminal = |tier: &Tier| -> Vec<usize> {
            let rules = tier.rules.iter().copied();
            rules.filter(|&id| table.get(id).is_terminal()).collect()
        };
        let (early, last) = self.tiers.split_at(self.early);
        let earlier = early.iter().chain(last.iter().filter(|tier| tier.index < index));
        Steps {
            tiers: earlier.map(|tier| tier.steps(terminal(tier))).collect(),
            own: last
                .iter()
                .filter(|tier| tier.index == index)
                .flat_map(terminal)
                .collect(),
        }
    }
}

impl Tier {
    fn steps(&self, rules: Vec<usize>) -> TierSteps {
        TierSteps {
            stage: self.stage,
            rules,
            denies: (self.end == Some(TierAction::Deny)).then_some((self.index, self.last)),
        }
    }
}
